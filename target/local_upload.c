#include "target/upload.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

bool upload_id_parse(struct str text, struct segment_id *out)
{
    return text.n == UPLOAD_ID_LEN && segment_id_parse(text, out);
}

/* ---- create ---- */

struct create_op {
    struct op op;
    struct mountpath *mountpath;
    const struct upload_create_req *req;
    struct upload_create_res *res;
    struct call *whole;
    struct segment_id id;
    struct buf raw;
    struct index_key key;
    struct commit commit;
};

static step_fn create_start, create_done, create_end;

static enum err create_apply(struct commit *m, struct txn *t)
{
    struct create_op *c = CONTAINER(m, struct create_op, commit);
    enum err e = txn_check_bucket(t, c->req->bucket.uid);

    if (e == ERR_OK)
        txn_put(t, index_key_str(&c->key), buf_str(&c->raw));
    return e;
}

static enum step_next create_start(struct op *op)
{
    struct create_op *c = OP(op, struct create_op);
    struct upload_record u = {.created_ns = clock_wall_ns(),
                              .alg = c->req->checksum,
                              .type = c->req->type,
                              .initiator = c->req->initiator,
                              .object = {.info = c->req->info}};
    enum err e;

    if (!upload_checksum(&u.alg, &u.type))
        return op_fail(op, ERR_INVALID_REQUEST);
    object_encrypt_as(c->req->arena, &c->req->bucket, &u.object.info);
    u.object.info.upload_id = STR_NONE;
    if ((e = upload_record_encode(&c->raw, &u)) != ERR_OK)
        return op_fail(op, e);
    if (atomic_load_explicit(&c->mountpath->full, memory_order_relaxed))
        return op_fail(op, ERR_NO_SPACE);
    segment_id_new(&c->id);
    index_upload(&c->key, c->req->bucket.uid, c->req->key, &c->id);
    commit_submit(c->mountpath->committer, &c->commit, create_apply, op_call(op, create_done));
    return STEP_WAIT;
}

static enum step_next create_done(struct op *op)
{
    struct create_op *c = OP(op, struct create_op);
    char *hex = arena_alloc(c->req->arena, UPLOAD_ID_LEN);

    segment_id_hex(&c->id, hex);
    c->res->upload_id = str_n(hex, UPLOAD_ID_LEN);
    return op_go(op, create_end);
}

static enum step_next create_end(struct op *op)
{
    struct create_op *c = OP(op, struct create_op);

    buf_release(&c->raw);
    call_finish(c->whole, op->err);
    return STEP_DONE;
}

void local_upload_create(struct store *s, const struct upload_create_req *req, struct upload_create_res *res,
                         struct call *call)
{
    struct create_op *c = ARENA_NEW(req->arena, struct create_op);

    c->mountpath = local_at(s);
    c->req = req;
    c->res = res;
    c->whole = call;
    buf_init(&c->raw, RECORD_MAX + INITIATOR_MAX);
    op_start(&c->op, call->loop, "local_upload_create", create_start, create_end);
}

/* ---- finding an upload ---- */

static enum err takes_attrs(struct record *r, bool *encrypted)
{
    struct attr *attrs = mem_alloc((r->info.attr_count + 1) * sizeof(*attrs));
    bool ok = r->info.attr_count <= RECORD_ATTRS_MAX && record_attrs(r, attrs);

    r->info.attrs = attrs;
    *encrypted = ok && object_is_encrypted(&r->info);
    free(attrs);
    return ok ? ERR_OK : ERR_CORRUPT;
}

/* Copies what is asked for often out of the record's bytes. */
static enum err take_upload(struct upload_find *f, struct str raw)
{
    struct upload_record u;
    enum err e = upload_record_decode(raw, &u);

    if (e != ERR_OK)
        return e;
    f->alg = u.alg;
    f->type = u.type;
    if ((e = takes_attrs(&u.object, &f->encrypted)) != ERR_OK)
        return e;
    f->raw = (struct buf)BUF_INIT(RECORD_MAX + INITIATOR_MAX);
    buf_add_str(&f->raw, raw);
    return buf_err(&f->raw);
}

static enum err find(struct upload_find *f, enum kv_tier tier)
{
    struct kv_value v = {0};
    struct index_key k;
    enum err e;

    index_upload(&k, f->bucket_uid, f->key, &f->id);
    e = kv_get(f->mountpath->kv, index_key_str(&k), tier, &v);
    if (e == ERR_OK)
        e = take_upload(f, v.bytes);
    kv_value_release(&v);
    return e == ERR_NOT_FOUND ? ERR_NO_SUCH_UPLOAD : e;
}

enum err upload_find_init(struct upload_find *f, struct local *l, struct mountpath *m, uint64_t bucket_uid,
                          struct str key, struct str id)
{
    *f = (struct upload_find){.local = l, .mountpath = m, .bucket_uid = bucket_uid, .key = key};
    return upload_id_parse(id, &f->id) ? ERR_OK : ERR_NO_SUCH_UPLOAD;
}

enum err upload_find_now(struct upload_find *f)
{
    return find(f, KV_CACHED);
}

enum err upload_find_on_disk(struct upload_find *f)
{
    return find(f, KV_DISK);
}

static enum err find_task(struct offload_task *t)
{
    return find(CONTAINER(t, struct upload_find, task), KV_DISK);
}

void upload_find_run(struct upload_find *f, struct call *call)
{
    offload_run(f->local->conf.io, &f->task, find_task, call);
}

void upload_find_release(struct upload_find *f)
{
    buf_release(&f->raw);
}

enum err txn_check_upload(struct txn *t, const struct upload_find *f)
{
    struct index_key k;
    struct str raw;
    enum err e;

    if ((e = txn_check_bucket(t, f->bucket_uid)) != ERR_OK)
        return e;
    index_upload(&k, f->bucket_uid, f->key, &f->id);
    e = txn_get(t, index_key_str(&k), &raw);
    return e == ERR_NOT_FOUND ? ERR_NO_SUCH_UPLOAD : e;
}

/* ---- a part ---- */

struct part_op {
    struct op op;
    struct local *local;
    struct mountpath *mountpath;
    const struct upload_part_req *req;
    struct upload_part_res *res;
    struct call *whole;
    struct upload_find upload;
    struct source *empty;
    struct ingest ingest;
    struct sealing sealing;
    struct part_record part;
    struct buf raw;
    struct index_key key;
    struct commit commit;
    bool submitted;
};

static step_fn part_start, part_found, part_ingest, part_seal, part_commit, part_done, part_end; /* in order */

static enum step_next part_start(struct op *op)
{
    struct part_op *p = OP(op, struct part_op);
    const struct upload_part_req *req = p->req;
    enum err e;

    if ((e = committer_check_bucket(p->mountpath->committer, req->bucket.uid)) != ERR_OK)
        return op_fail(op, e);
    if ((e = upload_find_init(&p->upload, p->local, p->mountpath, req->bucket.uid, req->key, req->upload_id)) != ERR_OK)
        return op_fail(op, e);
    e = upload_find_now(&p->upload);
    if (e == ERR_OK)
        return op_go(op, part_found);
    if (e != ERR_AGAIN)
        return op_fail(op, e);
    upload_find_run(&p->upload, op_call(op, part_found));
    return STEP_WAIT;
}

static enum step_next part_found(struct op *op)
{
    struct part_op *p = OP(op, struct part_op);
    enum hash_alg asked = p->req->check->checksum;

    if (!upload_takes_checksum(p->upload.alg, asked))
        return op_fail(op, ERR_CHECKSUM_TYPE);
    if (p->req->number == 0 || p->req->number > PARTS_MAX)
        return op_fail(op, ERR_INVALID_ARGUMENT);
    if (atomic_load_explicit(&p->mountpath->full, memory_order_relaxed))
        return op_fail(op, ERR_NO_SPACE);
    if (committer_is_broken(p->mountpath->committer))
        return op_fail(op, ERR_IO);
    return op_go(op, part_ingest);
}

static enum step_next part_ingest(struct op *op)
{
    struct part_op *p = OP(op, struct part_op);
    struct ingest *in = &p->ingest;

    if (p->req->check->checksum != HASH_NONE) /* verified even if it isn't the one that is kept */
        p->req->check->also |= 1u << p->req->check->checksum;
    p->req->check->checksum = p->upload.alg; /* the source may still add its wants to the caller's */
    in->io = p->local->conf.io;
    in->cpu = p->local->conf.cpu;
    in->dir = p->mountpath->segments;
    in->body = p->req->body ? p->req->body : (p->empty = source_memory(STR(""), NULL, NULL));
    in->check = p->req->check;
    in->encrypt = p->upload.encrypted;
    in->inline_max = 0; /* parts are shared by reference when they become an object */
    in->size_max = p->req->size_max;
    ingest_run(in, op_call(op, part_seal));
    return STEP_WAIT;
}

static enum step_next part_seal(struct op *op)
{
    struct part_op *p = OP(op, struct part_op);
    const struct ingest *in = &p->ingest;
    enum err e;

    p->part = (struct part_record){.size = in->size, .mtime_ns = clock_wall_ns(), .checksum = in->checksum};
    memcpy(p->part.md5, in->md5.b, sizeof(p->part.md5));
    if (in->staged.fd >= 0)
        p->part.segment = in->staged.id;
    part_record_encode(&p->raw, &p->part);
    if ((e = buf_err(&p->raw)) != ERR_OK)
        return op_fail(op, e);
    if (in->staged.fd < 0)
        return op_go(op, part_commit);
    const struct description d = {
        .kind = DESCRIBES_PART, .bucket = p->req->bucket, .key = p->req->key, .record = buf_str(&p->raw)};
    if ((e = sealing_describe(&p->sealing, &d)) != ERR_OK)
        return op_fail(op, e);
    sealing_run(&p->sealing, p->mountpath, &p->ingest.staged, p->local->conf.io, op_call(op, part_commit));
    return STEP_WAIT;
}

/* The last finisher wins. */
static enum err part_apply(struct commit *m, struct txn *t)
{
    struct part_op *p = CONTAINER(m, struct part_op, commit);
    struct part_record old;
    struct str raw;
    enum err e;

    if ((e = txn_check_upload(t, &p->upload)) != ERR_OK)
        return e;
    e = txn_get(t, index_key_str(&p->key), &raw);
    if (e == ERR_OK && (e = part_record_decode(raw, &old)) != ERR_OK)
        return e;
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return e;
    if (e == ERR_OK && !segment_id_is_zero(&old.segment))
        txn_unlink(t, &old.segment);
    txn_put(t, index_key_str(&p->key), buf_str(&p->raw));
    txn_changed(t, &p->upload.id);
    return ERR_OK;
}

static enum step_next part_commit(struct op *op)
{
    struct part_op *p = OP(op, struct part_op);

    p->submitted = true;
    index_part(&p->key, &p->upload.id, p->req->number);
    commit_submit(p->mountpath->committer, &p->commit, part_apply, op_call(op, part_done));
    return STEP_WAIT;
}

static enum step_next part_done(struct op *op)
{
    struct part_op *p = OP(op, struct part_op);

    part_record_info(&p->part, p->req->number, &p->res->part);
    local_count_written(p->part.size);
    return op_go(op, part_end);
}

static enum step_next part_end(struct op *op)
{
    struct part_op *p = OP(op, struct part_op);

    sealing_end(&p->sealing, p->submitted && p->commit.committed);
    ingest_release(&p->ingest);
    source_close(p->empty);
    upload_find_release(&p->upload);
    buf_release(&p->raw);
    call_finish(p->whole, op->err);
    return STEP_DONE;
}

static void part_cancel(void *arg)
{
    op_cancel(&((struct part_op *)arg)->op, ERR_CANCELLED);
}

void local_upload_part(struct store *s, const struct upload_part_req *req, struct upload_part_res *res, struct call *c)
{
    struct part_op *p = ARENA_NEW(req->arena, struct part_op);

    p->local = local_of(s);
    p->mountpath = local_at(s);
    p->req = req;
    p->res = res;
    p->whole = c;
    buf_init(&p->raw, RECORD_MAX);
    ingest_init(&p->ingest);
    op_start(&p->op, c->loop, "local_upload_part", part_start, part_end);
    call_on_cancel(c, part_cancel, p);
}
