#include "target/engine.h"

#include <stdlib.h>

#include "base/log.h"
#include "store/import.h"
#include "target/described.h"

/* An object as another node has it. A single PUT's body comes in as that of a put; the parts of a multipart object become
 * segments one after the other, then a manifest puts them together, as a Complete would. */
struct import_op {
    struct op op;
    struct local *local;
    struct mountpath *mountpath;
    const struct obj_import_req *req;
    struct obj_import_res *res;
    struct call *whole;
    struct lookup lookup;
    struct offload_task task;
    struct source *empty;
    struct ingest ingest;
    struct body_check check; /* of a part */
    struct import_window window;
    uint32_t at;                 /* the piece that is read */
    struct sealing **sealed;     /* of pieces with content, [0 .. sealed_count) */
    struct segment_id *segments; /* of all pieces; zero: empty */
    uint32_t sealed_count;
    char past;
    size_t got;
    struct sealing desc;
    struct hot *hot; /* what is to be committed */
    struct commit commit;
    bool submitted, kept;
    struct index_key key;
};

/* in order; import_end always runs */
static step_fn import_start, import_found, import_checked, import_ingest, import_ingested, import_next, import_ended,
    import_built, import_done, import_end;

static enum step_next import_start(struct op *op)
{
    struct import_op *i = OP(op, struct import_op);
    enum err e;

    if ((e = committer_check_bucket(i->mountpath->committer, i->req->bucket.uid)) != ERR_OK)
        return op_fail(op, e);
    if (atomic_load_explicit(&i->mountpath->full, memory_order_relaxed))
        return op_fail(op, ERR_NO_SPACE);
    if (committer_is_broken(i->mountpath->committer))
        return op_fail(op, ERR_IO);
    lookup_init(&i->lookup, i->local, i->mountpath, i->req->bucket.uid, i->req->key, WANT_RECORD);
    op->call.err = lookup_now(&i->lookup);
    if (op->call.err != ERR_AGAIN)
        return op_go(op, import_found);
    lookup_run(&i->lookup, op_try(op, import_found));
    return STEP_WAIT;
}

static enum err check_task(struct offload_task *t)
{
    return import_check(CONTAINER(t, struct import_op, task)->req);
}

static enum step_next import_found(struct op *op)
{
    struct import_op *i = OP(op, struct import_op);
    enum err e = op->call.err;

    if (e != ERR_OK && e != ERR_NO_SUCH_KEY)
        return op_fail(op, e);
    if (import_keeps(i->lookup.found ? &i->lookup.found->rec.info : NULL, i->req)) {
        i->kept = true;
        return op_go(op, import_end);
    }
    offload_run(i->local->conf.cpu, &i->task, check_task, op_call(op, import_checked));
    return STEP_WAIT;
}

static enum err build_task(struct offload_task *t);

static enum step_next import_checked(struct op *op)
{
    struct import_op *i = OP(op, struct import_op);
    uint32_t n = import_pieces(i->req);

    i->sealed = arena_new(i->req->arena, n * sizeof(*i->sealed));
    i->segments = arena_new(i->req->arena, n * sizeof(*i->segments));
    if (i->req->info.layout.n) { /* the content is somebody else's */
        offload_run(i->local->conf.io, &i->task, build_task, op_call(op, import_built));
        return STEP_WAIT;
    }
    if (!i->req->body)
        i->empty = source_memory(STR(""), NULL, NULL);
    return op_go(op, import_ingest);
}

/* ---- the content, piece by piece ---- */

static struct source *body_of(const struct import_op *i)
{
    return i->empty ? i->empty : i->req->body;
}

static enum step_next import_ingest(struct op *op)
{
    struct import_op *i = OP(op, struct import_op);
    struct import_piece piece = import_piece(i->req, i->at);
    struct ingest *in = &i->ingest;
    bool parts = i->req->info.parts > 0;

    ingest_init(in);
    i->check = (struct body_check){0};
    in->io = i->local->conf.io;
    in->cpu = i->local->conf.cpu;
    in->dir = i->mountpath->segments;
    in->body = parts ? import_window(&i->window, body_of(i), piece.size) : body_of(i);
    in->check = parts ? &i->check : i->req->check;
    if (in->check->checksum != piece.checksum.alg)
        in->check->also |= 1u << in->check->checksum;
    in->check->checksum = piece.checksum.alg;
    in->encrypt = object_is_encrypted(&i->req->info);
    in->inline_max = parts ? 0 : i->local->conf.inline_max;
    in->size_max = piece.size;
    ingest_run(in, op_call(op, import_ingested));
    return STEP_WAIT;
}

static enum err describe_part(struct import_op *i, struct sealing *s)
{
    const struct part_info *from = &i->req->parts[i->at];
    struct part_record p = {.size = from->size,
                            .mtime_ns = from->mtime_ns,
                            .checksum = from->checksum.digest,
                            .segment = i->segments[i->at]};
    struct description d = {.kind = DESCRIBES_PART, .bucket = i->req->bucket, .key = i->req->key};
    struct buf raw = BUF_INIT(RECORD_MAX);
    enum err e;

    memcpy(p.md5, i->ingest.md5.b, sizeof(p.md5));
    part_record_encode(&raw, &p);
    if ((e = buf_err(&raw)) == ERR_OK) {
        d.record = buf_str(&raw);
        e = sealing_describe(s, &d);
    }
    buf_release(&raw);
    return e;
}

/* The record of a single PUT's object, and its cache entry. */
static enum err make_single(struct import_op *i, struct sealing *s)
{
    const struct ingest *in = &i->ingest;
    struct record r = {.info = i->req->info};
    struct description d = {.kind = DESCRIBES_OBJECT, .bucket = i->req->bucket, .key = i->req->key};
    struct buf raw = BUF_INIT(RECORD_MAX);
    struct str bytes = STR_NONE;
    enum err e = ERR_OK;

    if (in->staged.fd >= 0) {
        r.kind = BODY_SEGMENT;
        r.body = in->staged.id;
    } else if (in->size) {
        e = local_keep_inline(i->mountpath, in, i->req->arena, &r, &bytes);
    }
    if (e == ERR_OK)
        e = record_encode(&raw, &r);
    if (e == ERR_OK)
        e = hot_new(index_key_str(&i->key), buf_str(&raw), bytes, &i->hot);
    if (e == ERR_OK && s) {
        d.record = i->hot->raw;
        e = sealing_describe(s, &d);
    }
    buf_release(&raw);
    return e;
}

static enum step_next import_ingested(struct op *op)
{
    struct import_op *i = OP(op, struct import_op);
    struct import_piece piece = import_piece(i->req, i->at);
    struct ingest *in = &i->ingest;
    struct sealing *s = in->staged.fd >= 0 ? ARENA_NEW(i->req->arena, struct sealing) : NULL;
    enum err e = import_compare(&piece, in->size, &in->md5, &in->checksum);

    if (e != ERR_OK)
        return op_fail(op, e);
    if (s) {
        i->sealed[i->sealed_count++] = s;
        i->segments[i->at] = in->staged.id;
    }
    if (i->req->info.parts == 0)
        e = make_single(i, s);
    else if (s)
        e = describe_part(i, s);
    if (e != ERR_OK)
        return op_fail(op, e);
    if (!s)
        return op_go(op, import_next);
    sealing_run(s, i->mountpath, &in->staged, i->local->conf.io, op_call(op, import_next));
    return STEP_WAIT;
}

static enum step_next import_next(struct op *op)
{
    struct import_op *i = OP(op, struct import_op);

    if (i->req->info.parts == 0)
        return op_go(op, import_built);
    ingest_release(&i->ingest);
    if (i->sealed_count) /* written: 10,000 of them need not be kept */
        buf_release(&i->sealed[i->sealed_count - 1]->desc);
    if (++i->at < i->req->part_count)
        return op_go(op, import_ingest);
    source_read(body_of(i), &i->past, 1, &i->got, op_call(op, import_ended));
    return STEP_WAIT;
}

/* ---- the record ---- */

/* On the io pool: the record's own segment, as that of a Complete. */
static enum err build_task(struct offload_task *t)
{
    struct import_op *i = CONTAINER(t, struct import_op, task);
    const struct described d = {.bucket = &i->req->bucket,
                                .key = i->req->key,
                                .info = &i->req->info,
                                .parts = i->req->parts,
                                .part_count = i->req->part_count,
                                .segments = i->segments};

    return described_build(&d, i->mountpath, &i->desc, &i->hot);
}

/* The parts' bytes were there: the body must end cleanly as well. */
static enum step_next import_ended(struct op *op)
{
    struct import_op *i = OP(op, struct import_op);

    if (i->got)
        return op_fail(op, ERR_BAD_DIGEST);
    offload_run(i->local->conf.io, &i->task, build_task, op_call(op, import_built));
    return STEP_WAIT;
}

/* ---- the commit ---- */

static enum err import_apply(struct commit *m, struct txn *t)
{
    static const struct cond none = COND_INIT;
    struct import_op *i = CONTAINER(m, struct import_op, commit);
    struct bucket_id raw = i->req->bucket;
    struct record now;
    enum err e = txn_object(t, i->hot->key, &now);

    if (!i->req->as_new)
        raw.versions = VERSIONS_OFF; /* it is a version of elsewhere, not a new one */
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return e;
    i->kept = import_keeps(e == ERR_OK ? &now.info : NULL, i->req);
    return i->kept ? ERR_OK : txn_replace(t, &raw, &none, i->hot, TXN_KEEPS_MTIME);
}

static enum step_next import_built(struct op *op)
{
    struct import_op *i = OP(op, struct import_op);

    i->submitted = true;
    commit_submit(i->mountpath->committer, &i->commit, import_apply, op_call(op, import_done));
    return STEP_WAIT;
}

static enum step_next import_done(struct op *op)
{
    struct import_op *i = OP(op, struct import_op);

    if (!i->kept && i->req->info.layout.n == 0)
        local_count_written(i->req->info.size);
    return op_go(op, import_end);
}

static enum step_next import_end(struct op *op)
{
    struct import_op *i = OP(op, struct import_op);
    bool committed = i->submitted && i->commit.committed && !i->kept;

    if (op->err == ERR_OK || committed)
        i->res->kept = i->kept;
    hot_unref(i->lookup.found);
    ingest_release(&i->ingest);
    for (uint32_t n = 0; n < i->sealed_count; n++)
        sealing_end(i->sealed[n], committed);
    sealing_end(&i->desc, committed);
    source_close(i->empty);
    hot_unref(i->hot);
    call_finish(i->whole, committed ? ERR_OK : op->err); /* even if it was cancelled meanwhile */
    return STEP_DONE;
}

static void import_cancel(void *arg)
{
    op_cancel(&((struct import_op *)arg)->op, ERR_CANCELLED);
}

void local_obj_import(struct store *s, const struct obj_import_req *req, struct obj_import_res *res, struct call *c)
{
    struct import_op *i = ARENA_NEW(req->arena, struct import_op);

    i->local = local_of(s);
    i->mountpath = local_at(s);
    i->req = req;
    i->res = res;
    i->whole = c;
    ingest_init(&i->ingest);
    index_object(&i->key, req->bucket.uid, req->key);
    op_start(&i->op, c->loop, "local_import", import_start, import_end);
    call_on_cancel(c, import_cancel, i);
}
