/* The record of a bucket moves to another key of meta in one write: there is no state in between to recover from. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/op.h"
#include "store/buckets_own.h"

enum { TRIES_MAX = 16 };

struct rename_op {
    struct op op;
    struct buckets *t;
    const struct bucket_rename_req *req;
    struct bucket_rename_res *res;
    struct call *whole;
    struct meta_get_req get;
    struct meta_get_res got;
    struct meta_put_req put;
    struct meta_put_res written;
    struct bucket bucket; /* as it will be */
    unsigned tries;
};

static step_fn rename_read, rename_write, rename_written, rename_look, rename_end;

static enum step_next rename_read(struct op *op)
{
    struct rename_op *n = OP(op, struct rename_op);

    n->get = (struct meta_get_req){n->req->arena, bucket_key(n->req->arena, n->req->name)};
    meta_get(n->t->meta, &n->get, &n->got, op_try(op, rename_write));
    return STEP_WAIT;
}

static enum step_next rename_write(struct op *op)
{
    struct rename_op *n = OP(op, struct rename_op);
    enum err e = op->call.err;

    if (e == ERR_OK)
        e = bucket_parse(n->req->arena, n->req->to, n->got.value, &n->bucket);
    if (e != ERR_OK)
        return op_fail(op, e == ERR_NOT_FOUND ? ERR_NO_SUCH_BUCKET : e);
    /* the record doesn't name its bucket: it moves as it is, with members that this version doesn't know */
    n->put = (struct meta_put_req){.key = bucket_key(n->req->arena, n->req->to),
                                   .value = n->got.value,
                                   .vacates = n->get.key,
                                   .vacates_revision = n->got.revision};
    meta_put(n->t->meta, &n->put, &n->written, op_try(op, rename_written));
    return STEP_WAIT;
}

static enum step_next rename_written(struct op *op)
{
    struct rename_op *n = OP(op, struct rename_op);

    if (op->call.err == ERR_OK) {
        buckets_apply(n->t, n->req->name, NULL, n->written.revision, false);
        buckets_apply(n->t, n->req->to, &n->bucket, n->written.revision, false);
        n->res->bucket = n->bucket;
        return op_go(op, rename_end);
    }
    if (op->call.err != ERR_CONFLICT)
        return op_fail(op, op->call.err);
    n->get.key = n->put.key;
    meta_get(n->t->meta, &n->get, &n->got, op_try(op, rename_look));
    return STEP_WAIT;
}

/* Is the new name taken, or did the old record change? */
static enum step_next rename_look(struct op *op)
{
    struct rename_op *n = OP(op, struct rename_op);

    if (op->call.err == ERR_OK)
        return op_fail(op, ERR_BUCKET_EXISTS);
    if (op->call.err != ERR_NOT_FOUND)
        return op_fail(op, op->call.err);
    return ++n->tries < TRIES_MAX ? op_go(op, rename_read) : op_fail(op, ERR_CONFLICT);
}

static enum step_next rename_end(struct op *op)
{
    struct rename_op *n = OP(op, struct rename_op);

    call_finish(n->whole, op->err);
    free(n);
    return STEP_DONE;
}

void buckets_rename(struct buckets *t, const struct bucket_rename_req *req, struct bucket_rename_res *res,
                    struct call *whole)
{
    struct rename_op *n;

    if (str_eq(req->name, req->to)) {
        call_finish(whole, ERR_BUCKET_EXISTS);
        return;
    }
    n = NEW(struct rename_op);
    /* no cancel hook: a write that was begun takes effect, and its answer belongs into the table */
    *n = (struct rename_op){.t = t, .req = req, .res = res, .whole = whole};
    op_start(&n->op, whole->loop, "bucket_rename", rename_read, rename_end);
}
