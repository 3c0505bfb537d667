#include "target/engine.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "target/gated.h"

/* A put: the body comes in, large ones are sealed as a segment, then the record is committed. */
struct put_op {
    struct op op;
    struct local *local;
    struct mountpath *mountpath;
    const struct obj_put_req *req;
    struct obj_put_res *res;
    struct call *whole;
    struct lookup lookup;    /* for an early answer to a condition */
    struct object_info info; /* the request's, and what the bucket adds */
    struct ingest ingest;
    struct sealing sealing;
    struct hot *hot; /* what is to be committed */
    struct gated gated;
    struct commit commit;
    bool submitted;
    struct index_key key;
};

static step_fn put_start, put_checked, put_ingest, put_seal, put_sealed, put_gated, put_commit, put_end; /* in order */

static enum step_next put_start(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);
    enum err e;

    if ((e = committer_check_bucket(p->mountpath->committer, p->req->bucket.uid)) != ERR_OK)
        return op_fail(op, e);
    if (atomic_load_explicit(&p->mountpath->full, memory_order_relaxed))
        return op_fail(op, ERR_NO_SPACE);
    if (committer_is_broken(p->mountpath->committer))
        return op_fail(op, ERR_IO);
    if (cond_is_empty(&p->req->cond))
        return op_go(op, put_ingest);
    lookup_init(&p->lookup, p->local, p->mountpath, p->req->bucket.uid, p->req->key, WANT_RECORD);
    op->call.err = lookup_now(&p->lookup);
    if (op->call.err != ERR_AGAIN)
        return op_go(op, put_checked);
    lookup_run(&p->lookup, op_try(op, put_checked));
    return STEP_WAIT;
}

/* A condition that fails now is told before the body is read (S3: 412 without 100 Continue); the commit decides. */
static enum step_next put_checked(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);
    struct hot *h = p->lookup.found;
    enum err e = op->call.err;

    if (e == ERR_OK || e == ERR_NO_SUCH_KEY)
        e = cond_check_write(&p->req->cond, h ? &h->rec.info : NULL);
    return e == ERR_OK ? op_go(op, put_ingest) : op_fail(op, e);
}

static enum step_next put_ingest(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);
    struct ingest *in = &p->ingest;

    p->info = p->req->info;
    object_encrypt_as(p->req->arena, &p->req->bucket, &p->info);
    in->encrypt = object_is_encrypted(&p->info);
    in->io = p->local->conf.io;
    in->cpu = p->local->conf.cpu;
    in->dir = p->mountpath->segments;
    in->body = p->req->body;
    in->check = p->req->check;
    in->inline_max = p->local->conf.inline_max;
    in->size_max = p->req->size_max;
    if (!in->body)
        in->body = p->sealing.empty = source_memory(STR(""), NULL, NULL);
    ingest_run(in, op_call(op, put_seal));
    return STEP_WAIT;
}

/* What the object will say about itself, and its cache entry. */
static enum err make_record(struct put_op *p, struct buf *raw)
{
    const struct ingest *in = &p->ingest;
    struct record r = {.info = p->info};
    struct str bytes = STR_NONE;
    enum err e = ERR_OK;

    r.info.size = in->size;
    r.info.mtime_ns = clock_wall_ns();
    r.info.parts = 0;
    r.info.upload_id = STR_NONE;
    r.info.versioned = p->req->bucket.versions == VERSIONS_ON;
    etag_from_md5(&r.info.etag, in->md5.b);
    r.info.checksum = (struct checksum){.digest = in->checksum, .type = CHECKSUM_FULL_OBJECT};
    if (in->staged.fd >= 0) {
        r.kind = BODY_SEGMENT;
        r.body = in->staged.id;
    } else if (in->size) {
        e = local_keep_inline(p->mountpath, in, p->req->arena, &r, &bytes);
    }
    if (e == ERR_OK)
        e = record_encode(raw, &r);
    if (e == ERR_OK)
        e = hot_new(index_key_str(&p->key), buf_str(raw), bytes, &p->hot);
    return e;
}

static enum step_next put_seal(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);
    struct buf raw = BUF_INIT(RECORD_MAX);
    enum err e = make_record(p, &raw);

    buf_release(&raw);
    if (e != ERR_OK)
        return op_fail(op, e);
    if (p->ingest.staged.fd < 0)
        return op_go(op, put_sealed);
    const struct description d = {
        .kind = DESCRIBES_OBJECT, .bucket = p->req->bucket, .key = p->req->key, .record = p->hot->raw};
    if ((e = sealing_describe(&p->sealing, &d)) != ERR_OK)
        return op_fail(op, e);
    sealing_run(&p->sealing, p->mountpath, &p->ingest.staged, p->local->conf.io, op_call(op, put_sealed));
    return STEP_WAIT;
}

static enum step_next put_sealed(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);

    if (!p->req->gate)
        return op_go(op, put_commit);
    p->gated = (struct gated){.local = p->local,
                              .mountpath = p->mountpath,
                              .bucket = p->req->bucket,
                              .key = p->req->key,
                              .arena = p->req->arena};
    gated_enter(&p->gated, p->req->gate, &p->hot, op_call(op, put_gated));
    return STEP_WAIT;
}

static enum step_next put_gated(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);

    gated_take(&p->gated, op_call(op, put_commit));
    return STEP_WAIT;
}

static enum err put_apply(struct commit *m, struct txn *t)
{
    struct put_op *p = CONTAINER(m, struct put_op, commit);

    return txn_replace(t, &p->req->bucket, &p->req->cond, p->hot,
                       p->req->gate && !p->gated.visit.follows ? TXN_KEEPS_MTIME : 0);
}

static enum step_next put_commit(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);

    p->submitted = true;
    commit_submit(p->mountpath->committer, &p->commit, put_apply, op_call(op, put_end));
    return STEP_WAIT;
}

/* Cancelled while it was committed, it is committed nevertheless: whoever passed a gate must know. */
static enum step_next put_end(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);
    bool committed = p->submitted && p->commit.committed;

    if (committed) {
        p->res->info = p->hot->rec.info;
        arena_defer(p->req->arena, hot_unref, hot_ref(p->hot));
        local_count_written(p->gated.bare ? 0 : p->hot->rec.info.size);
    }
    hot_unref(p->lookup.found);
    sealing_end(&p->sealing, committed && !p->gated.bare);
    gated_end(&p->gated, committed);
    ingest_release(&p->ingest);
    hot_unref(p->hot);
    call_finish(p->whole, committed ? ERR_OK : op->err);
    return STEP_DONE;
}

static void put_cancel(void *arg)
{
    op_cancel(&((struct put_op *)arg)->op, ERR_CANCELLED);
}

void local_obj_put(struct store *s, const struct obj_put_req *req, struct obj_put_res *res, struct call *c)
{
    struct put_op *p = ARENA_NEW(req->arena, struct put_op);

    p->local = local_of(s);
    p->mountpath = local_at(s);
    p->req = req;
    p->res = res;
    p->whole = c;
    ingest_init(&p->ingest);
    index_object(&p->key, req->bucket.uid, req->key);
    op_start(&p->op, c->loop, "local_put", put_start, put_end);
    call_on_cancel(c, put_cancel, p);
}
