#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/multipart.h"
#include "target/gated.h"
#include "target/upload.h"

/* CompleteMultipartUpload: everything that takes time (reading the parts, checksums, the manifest, its description on the disk)
 * is prepared on the io pool; the commit only checks that nothing changed meanwhile, and otherwise it is prepared again. */
enum { COMPLETE_TRIES = 8 };

struct listed_part {
    uint32_t number;
    bool wanted;
    struct part_record rec;
};

struct complete_op {
    struct op op;
    struct local *local;
    struct mountpath *mountpath;
    const struct upload_complete_req *req;
    struct upload_complete_res *res;
    struct call *whole;
    struct offload_task task;
    unsigned tries;
    /* prepared */
    struct upload_find upload;
    uint64_t changes;
    struct listed_part *parts;
    size_t count, cap;
    struct part_info bad;
    struct sealing sealing;
    struct hot *hot; /* what is to be committed, or what an earlier Complete made */
    bool repeated;
    struct index_key key, upload_key;
    struct gated gated;
    bool in_gate;
    struct commit commit;
    bool submitted;
};

static step_fn complete_prepare, complete_prepared, complete_gated, complete_commit, complete_decided,
    complete_end; /* in order */

/* ---- on the io pool ---- */

static bool note_part(void *arg, uint32_t number, const struct part_record *p)
{
    struct complete_op *c = arg;

    if (c->count == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 64;
        c->parts = mem_realloc(c->parts, c->cap * sizeof(*c->parts));
    }
    c->parts[c->count++] = (struct listed_part){number, false, *p};
    return true;
}

static struct listed_part *part_find(struct complete_op *c, uint32_t number)
{
    size_t lo = 0, hi = c->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (c->parts[mid].number < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < c->count && c->parts[lo].number == number ? &c->parts[lo] : NULL;
}

/* Checks what was asked against what there is, computes size, ETag and checksum. */
static enum err check_parts(struct complete_op *c, struct object_info *info)
{
    const struct upload_complete_req *req = c->req;
    struct multipart mp;
    enum err e = ERR_OK;

    multipart_init(&mp, c->upload.alg, c->upload.type);
    for (uint32_t i = 0; i < req->part_count && e == ERR_OK; i++) {
        struct listed_part *p = part_find(c, req->parts[i].number);
        struct part_info stored;
        if (p)
            part_record_info(&p->rec, p->number, &stored);
        e = multipart_add(&mp, &req->parts[i], p ? &stored : NULL, req->any_size || i + 1 == req->part_count, &c->bad);
        if (e == ERR_OK)
            p->wanted = true;
    }
    if (e == ERR_OK)
        e = multipart_finish(&mp, req, info);
    multipart_drop(&mp);
    return e;
}

static void build_manifest(struct complete_op *c, struct buf *out)
{
    size_t checksum_len = hash_len(c->upload.alg);
    uint64_t end = 0;

    manifest_begin(out, c->req->part_count, checksum_len);
    for (size_t i = 0; i < c->count; i++) {
        const struct part_record *r = &c->parts[i].rec;
        if (!c->parts[i].wanted)
            continue;
        struct manifest_part p = {.number = c->parts[i].number,
                                  .end = end += r->size,
                                  .mtime_ns = r->mtime_ns,
                                  .segment = r->segment,
                                  .checksum = str_n(r->checksum.b, checksum_len)};
        memcpy(p.md5, r->md5, sizeof(p.md5));
        manifest_add(out, &p);
    }
}

/* The record's own segment holds no content but says what the parts' segments are together. */
static enum err seal_description(struct complete_op *c, const struct record *r, struct buf *raw, struct str manifest)
{
    struct description d = {
        .kind = DESCRIBES_OBJECT, .bucket = c->req->bucket, .key = c->req->key, .manifest = manifest};
    enum err e;

    if ((e = record_encode(raw, r)) != ERR_OK)
        return e;
    d.record = buf_str(raw);
    if ((e = sealing_describe(&c->sealing, &d)) != ERR_OK)
        return e;
    return sealing_seal_empty(&c->sealing);
}

static enum err build(struct complete_op *c, struct record *r)
{
    struct buf raw = BUF_INIT(RECORD_MAX), manifest = BUF_INIT(SEGMENT_DESC_MAX);
    enum err e;

    build_manifest(c, &manifest);
    if ((e = buf_err(&manifest)) != ERR_OK || (e = sealing_stage_empty(&c->sealing, c->mountpath)) != ERR_OK)
        goto out;
    r->kind = BODY_MANIFEST;
    segment_id_new(&r->body);
    r->has_desc = true;
    r->desc = c->sealing.own.id;
    if ((e = seal_description(c, r, &raw, buf_str(&manifest))) == ERR_OK)
        e = hot_new(index_key_str(&c->key), buf_str(&raw), buf_str(&manifest), &c->hot);
out:
    buf_release(&raw);
    buf_release(&manifest);
    return e;
}

static enum err prepare_new(struct complete_op *c)
{
    struct upload_record u;
    enum err e;

    if ((e = upload_parts_each(c->mountpath, &c->upload.id, 0, note_part, c)) != ERR_OK ||
        (e = upload_record_decode(buf_str(&c->upload.raw), &u)) != ERR_OK)
        return e;
    struct record *r = &u.object;
    struct attr *attrs = mem_alloc((r->info.attr_count + 1) * sizeof(*attrs));
    if (!record_attrs(r, attrs)) {
        free(attrs);
        return ERR_CORRUPT;
    }
    r->info.attrs = attrs;
    r->info.upload_id = c->req->upload_id;
    r->info.versioned = c->req->bucket.versions == VERSIONS_ON;
    r->info.mtime_ns = clock_wall_ns();
    if ((e = check_parts(c, &r->info)) == ERR_OK)
        e = build(c, r);
    free(attrs);
    return e;
}

/* The upload is gone: maybe because it was completed and the answer got lost. */
static enum err prepare_repeat(struct complete_op *c)
{
    struct kv_value raw = {0};
    enum err e = kv_get(c->mountpath->kv, index_key_str(&c->key), KV_DISK, &raw);

    if (e == ERR_OK)
        e = hot_new(index_key_str(&c->key), raw.bytes, STR_NONE, &c->hot);
    kv_value_release(&raw);
    if (e == ERR_NOT_FOUND || (e == ERR_OK && !str_eq(c->hot->rec.info.upload_id, c->req->upload_id)))
        return ERR_NO_SUCH_UPLOAD;
    c->repeated = e == ERR_OK;
    return e;
}

/* What was read may be of two times: when parts came or went meanwhile, not even a failure says anything. */
static enum err prepare(struct offload_task *t)
{
    struct complete_op *c = CONTAINER(t, struct complete_op, task);
    enum err e;

    c->changes = committer_changes(c->mountpath->committer, &c->upload.id);
    if ((e = upload_find_on_disk(&c->upload)) == ERR_NO_SUCH_UPLOAD)
        return prepare_repeat(c);
    if (e == ERR_OK)
        e = prepare_new(c);
    if (e != ERR_OK && committer_changes(c->mountpath->committer, &c->upload.id) != c->changes)
        e = ERR_AGAIN;
    return e;
}

/* Back to nothing prepared. */
static void unprepare(struct complete_op *c)
{
    bool committed = c->submitted && c->commit.committed;

    sealing_end(&c->sealing, committed && !c->gated.bare);
    gated_end(&c->gated, committed);
    upload_find_release(&c->upload);
    hot_unref(c->hot);
    c->hot = NULL;
    free(c->parts);
    c->parts = NULL;
    c->count = c->cap = 0;
}

/* ---- steps ---- */

static enum step_next complete_prepare(struct op *op)
{
    struct complete_op *c = OP(op, struct complete_op);
    const struct upload_complete_req *req = c->req;
    enum err e;

    if (req->part_count == 0 || req->part_count > PARTS_MAX)
        return op_fail(op, ERR_MALFORMED_XML);
    if ((e = committer_check_bucket(c->mountpath->committer, req->bucket.uid)) != ERR_OK ||
        (e = upload_find_init(&c->upload, c->local, c->mountpath, req->bucket.uid, req->key, req->upload_id)) != ERR_OK)
        return op_fail(op, e);
    index_object(&c->key, req->bucket.uid, req->key);
    index_upload(&c->upload_key, req->bucket.uid, req->key, &c->upload.id);
    offload_run(c->local->conf.io, &c->task, prepare, op_try(op, complete_prepared));
    return STEP_WAIT;
}

static enum err complete_apply(struct commit *m, struct txn *t)
{
    struct complete_op *c = CONTAINER(m, struct complete_op, commit);
    enum err e;

    if ((e = txn_check_upload(t, &c->upload)) != ERR_OK)
        return e == ERR_NO_SUCH_UPLOAD ? ERR_AGAIN : e; /* perhaps completed by a twin: see what it made */
    if (txn_changes(t, &c->upload.id) != c->changes)
        return ERR_AGAIN;
    if ((e = txn_replace(t, &c->req->bucket, &c->req->cond, c->hot,
                         c->req->gate && !c->gated.visit.follows ? TXN_KEEPS_MTIME : 0)) != ERR_OK)
        return e;
    txn_delete(t, index_key_str(&c->upload_key));
    txn_delete_parts(t, &c->upload.id);
    txn_changed(t, &c->upload.id);
    for (size_t i = 0; i < c->count; i++)
        if ((!c->parts[i].wanted || c->gated.bare) && !segment_id_is_zero(&c->parts[i].rec.segment))
            txn_unlink(t, &c->parts[i].rec.segment);
    return ERR_OK;
}

static enum step_next complete_prepared(struct op *op)
{
    struct complete_op *c = OP(op, struct complete_op);

    if (op->call.err != ERR_OK || c->repeated)
        return op_go(op, complete_decided);
    if (!c->req->gate)
        return op_go(op, complete_commit);
    if (c->whole->cancelled)
        return op_fail(op, ERR_CANCELLED);
    c->gated = (struct gated){.local = c->local,
                              .mountpath = c->mountpath,
                              .bucket = c->req->bucket,
                              .key = c->req->key,
                              .upload = &c->upload.id,
                              .changes = c->changes,
                              .arena = c->req->arena};
    c->in_gate = true;
    gated_enter(&c->gated, c->req->gate, &c->hot, op_try(op, complete_gated));
    return STEP_WAIT;
}

static enum step_next complete_gated(struct op *op)
{
    struct complete_op *c = OP(op, struct complete_op);

    c->in_gate = false;
    if (op->call.err != ERR_OK)
        return op_go(op, complete_decided);
    gated_take(&c->gated, op_call(op, complete_commit));
    return STEP_WAIT;
}

static enum step_next complete_commit(struct op *op)
{
    struct complete_op *c = OP(op, struct complete_op);

    c->submitted = true;
    commit_submit(c->mountpath->committer, &c->commit, complete_apply, op_try(op, complete_decided));
    return STEP_WAIT;
}

static enum step_next complete_decided(struct op *op)
{
    struct complete_op *c = OP(op, struct complete_op);
    enum err e = op->call.err;

    if (e == ERR_AGAIN && ++c->tries < COMPLETE_TRIES) {
        unprepare(c);
        c->submitted = false;
        return op_go(op, complete_prepare);
    }
    if (e != ERR_OK)
        return op_fail(op, e == ERR_AGAIN ? ERR_CONFLICT : e);
    c->res->info = c->hot->rec.info;
    arena_defer(c->req->arena, hot_unref, hot_ref(c->hot));
    return op_go(op, complete_end);
}

static enum step_next complete_end(struct op *op)
{
    struct complete_op *c = OP(op, struct complete_op);

    if (op->err != ERR_OK)
        c->res->bad = c->bad;
    unprepare(c);
    call_finish(c->whole, op->err);
    return STEP_DONE;
}

/* One that is under way by itself runs to its end: the client that is gone will ask again for what it made. */
static void complete_cancel(void *arg)
{
    struct complete_op *c = arg;

    if (c->in_gate)
        op_cancel(&c->op, ERR_CANCELLED);
}

void local_upload_complete(struct store *s, const struct upload_complete_req *req, struct upload_complete_res *res,
                           struct call *call)
{
    struct complete_op *c = ARENA_NEW(req->arena, struct complete_op);

    c->local = local_of(s);
    c->mountpath = local_at(s);
    c->req = req;
    c->res = res;
    c->whole = call;
    op_start(&c->op, call->loop, "local_upload_complete", complete_prepare, complete_end);
    call_on_cancel(call, complete_cancel, c);
}
