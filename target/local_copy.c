#include "target/engine.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "target/gated.h"

/* A copy on the same mountpath is one more record over the same body. A body in segments also gets a description on the disk,
 * so that the copy, too, can be rebuilt when the index is lost. */
enum { COPY_TRIES = 8 };

static const struct cond no_cond = COND_INIT;

struct copy_op {
    struct op op;
    struct store *store;
    struct local *local;
    struct mountpath *mountpath;
    const struct obj_copy_req *req;
    struct obj_copy_res *res;
    struct call *whole;
    unsigned tries;
    struct lookup lookup;
    struct hot *from; /* the source */
    struct sealing sealing;
    struct offload_task task;
    struct hot *hot;            /* what is to be committed */
    struct object_info changed; /* its attrs, with change_attrs */
    struct gated gated;
    struct index_key src_key, key;
    struct commit commit;
    bool submitted, streams, moved;
};

static step_fn copy_start, copy_found, copy_stream, copy_prepared, copy_held, copy_gated, copy_commit, copy_decided,
    copy_end; /* in order */

static enum step_next copy_start(struct op *op)
{
    struct copy_op *c = OP(op, struct copy_op);
    const struct obj_copy_req *req = c->req;
    enum err e;

    if ((e = committer_check_bucket(c->mountpath->committer, req->bucket.uid)) != ERR_OK)
        return op_fail(op, e);
    if (atomic_load_explicit(&c->mountpath->full, memory_order_relaxed))
        return op_fail(op, ERR_NO_SPACE);
    lookup_init(&c->lookup, c->local, c->mountpath, req->src_bucket.uid, req->src_key,
                req->gate ? WANT_BODY : WANT_MANIFEST);
    e = lookup_now(&c->lookup);
    if (e == ERR_OK)
        return op_go(op, copy_found);
    if (e != ERR_AGAIN)
        return op_fail(op, e);
    lookup_run(&c->lookup, op_call(op, copy_found));
    return STEP_WAIT;
}

/* ---- the new record ---- */

static bool relabels(const struct copy_op *c)
{
    return c->req->keep_mtime && str_eq(index_key_str(&c->src_key), index_key_str(&c->key));
}

static void describe_copy(const struct copy_op *c, struct record *r)
{
    const struct obj_copy_req *req = c->req;

    *r = c->from->rec;
    if (!req->keep_mtime) {
        r->info.mtime_ns = clock_wall_ns();
        r->info.upload_id = STR_NONE; /* no Complete made this one */
    }
    r->has_desc = false;
    if (!relabels(c))
        r->info.versioned = req->bucket.versions == VERSIONS_ON;
    if (req->replace_attrs) {
        r->info.attrs = req->info.attrs;
        r->info.attr_count = req->info.attr_count;
    }
    if (req->change_attrs) {
        r->info.attrs = c->changed.attrs;
        r->info.attr_count = c->changed.attr_count;
    }
    if (req->replace_tags)
        r->info.tags = req->info.tags;
}

/* BLOCKING. Writes what a rebuild needs to know about a record over shared segments. */
static enum err seal_description(struct copy_op *c, struct record *r, struct buf *raw)
{
    struct description d = {.kind = DESCRIBES_OBJECT, .bucket = c->req->bucket, .key = c->req->key};
    enum err e = sealing_stage_empty(&c->sealing, c->mountpath);

    if (e != ERR_OK)
        return e;
    r->has_desc = true;
    r->desc = c->sealing.own.id;
    if ((e = record_encode(raw, r)) != ERR_OK)
        return e;
    d.record = buf_str(raw);
    if (r->kind == BODY_MANIFEST)
        d.manifest = c->from->body;
    if ((e = sealing_describe(&c->sealing, &d)) != ERR_OK)
        return e;
    return sealing_seal_empty(&c->sealing);
}

static enum err prepare(struct copy_op *c)
{
    struct buf raw = BUF_INIT(RECORD_MAX);
    struct record r;
    enum err e;

    describe_copy(c, &r);
    if (r.kind == BODY_SEGMENT || r.kind == BODY_MANIFEST)
        e = seal_description(c, &r, &raw);
    else
        e = record_encode(&raw, &r);
    if (e == ERR_OK)
        e = hot_new(index_key_str(&c->key), buf_str(&raw), c->from->has_body ? c->from->body : STR_NONE, &c->hot);
    buf_release(&raw);
    return e;
}

static enum err prepare_task(struct offload_task *t)
{
    return prepare(CONTAINER(t, struct copy_op, task));
}

static void unprepare(struct copy_op *c)
{
    bool committed = c->submitted && c->commit.committed;

    sealing_end(&c->sealing, committed && !c->gated.bare);
    gated_end(&c->gated, committed);
    hot_unref(c->hot);
    hot_unref(c->from);
    hot_unref(c->lookup.found);
    c->hot = c->from = c->lookup.found = NULL;
    c->submitted = c->moved = false;
}

/* ---- steps ---- */

/* Whether the copy is to be encrypted and isn't, or doesn't say that it is. Who only changes what an object says gets what there is. */
static bool must_encrypt(const struct copy_op *c)
{
    const struct obj_copy_req *req = c->req;
    const struct object_info *from = &c->from->rec.info, *says = req->replace_attrs ? &req->info : from;

    if (req->change_attrs || req->keep_mtime)
        return false;
    return (req->bucket.encrypted || object_is_encrypted(says)) &&
           !(object_is_encrypted(from) && object_is_encrypted(says));
}

static bool can_share(const struct copy_op *c)
{
    enum hash_alg wanted = c->req->checksum;

    return c->lookup.mountpath == c->mountpath && !must_encrypt(c) &&
           (wanted == HASH_NONE || wanted == c->from->rec.info.checksum.digest.alg);
}

/* Of what is there now: who asked may have seen less. */
static bool weakens(const struct copy_op *c)
{
    enum lock_change change = version_lock_change(&c->from->rec.info, &c->req->info, clock_wall_ns() / NS_PER_S);

    return change == LOCK_NEVER || (change == LOCK_WANTS_BYPASS && !c->req->bypass);
}

static enum step_next copy_found(struct op *op)
{
    struct copy_op *c = OP(op, struct copy_op);
    enum err e;

    c->from = c->lookup.found;
    c->lookup.found = NULL;
    if ((e = cond_check_copy_source(&c->req->src_cond, &c->from->rec.info, clock_wall_ns() / NS_PER_S)) != ERR_OK)
        return op_fail(op, e);
    if (c->from->rec.info.size > c->req->size_max)
        return op_fail(op, ERR_INVALID_REQUEST);
    if (c->from->rec.info.layout.n) /* nobody here has its content */
        return op_fail(op, ERR_NOT_IMPLEMENTED);
    if (!can_share(c))
        return op_go(op, copy_stream);
    if (c->req->change_attrs && weakens(c))
        return op_fail(op, ERR_OBJECT_LOCKED);
    if (c->req->change_attrs)
        object_change_attrs(c->req->arena, &c->from->rec.info, &c->req->info, &c->changed);
    if (c->from->rec.kind == BODY_SEGMENT || c->from->rec.kind == BODY_MANIFEST) {
        offload_run(c->local->conf.io, &c->task, prepare_task, op_call(op, copy_prepared));
        return STEP_WAIT;
    }
    return (e = prepare(c)) == ERR_OK ? op_go(op, copy_prepared) : op_fail(op, e);
}

static enum step_next copy_stream(struct op *op)
{
    struct copy_op *c = OP(op, struct copy_op);

    c->streams = true;
    store_copy_by_stream(c->store, c->req, c->res, op_call(op, copy_end));
    return STEP_WAIT;
}

/* With versions the source stays, as an older one: its deletion is another commit. */
static bool moves(const struct copy_op *c)
{
    return c->req->move && !c->req->src_bucket.versions && !str_eq(index_key_str(&c->src_key), index_key_str(&c->key));
}

/* Too late to fail: a count that can't be read any more stays too high, and garbage collection goes by what refers to the body. */
static void drop_source(struct copy_op *c, struct txn *t, const struct record *now)
{
    struct str key = index_key_str(&c->src_key);

    if (txn_release_body(t, now) != ERR_OK)
        log_warn(STR_NONE, "body of a moved object is counted once too often", "bucket=" STR_FMT,
                 STR_ARG(c->req->src_bucket.name));
    txn_delete(t, key);
    txn_cache(t, key, NULL);
    c->moved = true;
}

/* The source must still have the body that was shared; if not, it has another one now. */
static enum err copy_apply(struct commit *m, struct txn *t)
{
    struct copy_op *c = CONTAINER(m, struct copy_op, commit);
    const struct record *from = &c->from->rec;
    struct record now;
    enum err e;

    if (c->gated.bare)
        return txn_replace(t, &c->req->bucket, &c->req->cond, c->hot, TXN_KEEPS_MTIME);
    e = txn_object(t, index_key_str(&c->src_key), &now);
    if (e != ERR_OK)
        return e == ERR_NOT_FOUND ? ERR_NO_SUCH_KEY : e;
    if (now.kind != from->kind || (now.kind != BODY_EMPTY && segment_id_cmp(&now.body, &from->body) != 0))
        return ERR_AGAIN;
    if ((relabels(c) || moves(c)) &&
        (e = txn_check_same(t, index_key_str(&c->src_key), &no_cond, c->from->raw)) != ERR_OK)
        return e == ERR_CONFLICT ? ERR_AGAIN : e; /* its tags, say: they would be lost */
    e = txn_replace(t, &c->req->bucket, &c->req->cond, c->hot,
                    TXN_SHARES_BODY | (relabels(c) ? TXN_SAME_VERSION : 0) |
                        (c->req->gate && !c->gated.visit.follows ? TXN_KEEPS_MTIME : 0));
    if (e == ERR_OK && moves(c))
        drop_source(c, t, &now);
    return e;
}

static enum step_next copy_prepared(struct op *op)
{
    struct copy_op *c = OP(op, struct copy_op);

    if (!c->req->gate)
        return op_go(op, copy_commit);
    c->gated = (struct gated){.local = c->local,
                              .mountpath = c->mountpath,
                              .bucket = c->req->bucket,
                              .key = c->req->key,
                              .arena = c->req->arena};
    gated_hold(&c->gated, c->from);
    lookup_check(&c->lookup, c->from, op_try(op, copy_held));
    return STEP_WAIT;
}

/* Still the source's content, it is there for the visit. */
static enum step_next copy_held(struct op *op)
{
    struct copy_op *c = OP(op, struct copy_op);

    if (op->call.err == ERR_CONFLICT)
        op->call.err = ERR_AGAIN;
    if (op->call.err != ERR_OK)
        return op_go(op, copy_decided);
    gated_enter(&c->gated, c->req->gate, &c->hot, op_try(op, copy_gated));
    return STEP_WAIT;
}

static enum step_next copy_gated(struct op *op)
{
    struct copy_op *c = OP(op, struct copy_op);

    if (op->call.err != ERR_OK)
        return op_go(op, copy_decided);
    gated_take(&c->gated, op_call(op, copy_commit));
    return STEP_WAIT;
}

static enum step_next copy_commit(struct op *op)
{
    struct copy_op *c = OP(op, struct copy_op);

    c->submitted = true;
    commit_submit(c->mountpath->committer, &c->commit, copy_apply, op_try(op, copy_decided));
    return STEP_WAIT;
}

static enum step_next copy_decided(struct op *op)
{
    struct copy_op *c = OP(op, struct copy_op);
    enum err e = op->call.err;

    if (e == ERR_AGAIN && ++c->tries < COPY_TRIES) {
        unprepare(c);
        return op_go(op, copy_start);
    }
    if (e != ERR_OK)
        return op_fail(op, e == ERR_AGAIN ? ERR_CONFLICT : e);
    return op_go(op, copy_end);
}

/* Cancelled while it was committed, it is committed nevertheless. */
static enum step_next copy_end(struct op *op)
{
    struct copy_op *c = OP(op, struct copy_op);
    bool committed = c->submitted && c->commit.committed;

    if (committed) {
        c->res->info = c->hot->rec.info;
        c->res->moved = c->moved;
        arena_defer(c->req->arena, hot_unref, hot_ref(c->hot));
    }
    if (c->streams && op->call.err == ERR_OK)
        committed = true;
    unprepare(c);
    call_finish(c->whole, committed ? ERR_OK : op->err);
    return STEP_DONE;
}

static void copy_cancel(void *arg)
{
    op_cancel(&((struct copy_op *)arg)->op, ERR_CANCELLED);
}

void local_obj_copy(struct store *s, const struct obj_copy_req *req, struct obj_copy_res *res, struct call *call)
{
    struct copy_op *c = ARENA_NEW(req->arena, struct copy_op);

    c->store = s;
    c->local = local_of(s);
    c->mountpath = local_at(s);
    c->req = req;
    c->res = res;
    c->whole = call;
    index_object(&c->src_key, req->src_bucket.uid, req->src_key);
    index_object(&c->key, req->bucket.uid, req->key);
    op_start(&c->op, call->loop, "local_copy", copy_start, copy_end);
    call_on_cancel(call, copy_cancel, c);
}
