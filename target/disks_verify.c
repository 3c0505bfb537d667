/* Verifying every copy of an object. */
#include "target/disks_own.h"

#include "target/local_verify.h"

struct copies_op {
    struct op op;
    struct local *local;
    struct disk_use *use;
    const struct local_verify_req *req;
    struct local_verify_res *res, one;
    struct call *whole;
    size_t copies, count, at, seen;
    uint8_t order[MOUNTPATHS_MAX];
    uint64_t bytes;
    enum err err; /* the first */
};

static step_fn copies_begin, copies_next, copies_done, copies_end; /* in order */

/* Where the key belongs, then, while objects move, everyone else. */
static enum step_next copies_begin(struct op *op)
{
    struct copies_op *v = OP(op, struct copies_op);
    const struct disk_set *s = v->use->set;
    uint64_t ranked = 0;

    v->copies = disk_copies(v->req->bucket.redundancy);
    v->count = disk_rank(s, v->req->bucket.uid, v->req->key, v->copies, v->order);
    for (size_t k = 0; k < v->count; k++)
        ranked |= UINT64_C(1) << v->order[k];
    for (size_t i = 0; i < s->count && !s->calm; i++)
        if (!(ranked & UINT64_C(1) << i))
            v->order[v->count++] = (uint8_t)i;
    return op_go(op, copies_next);
}

static enum step_next copies_next(struct op *op)
{
    struct copies_op *v = OP(op, struct copies_op);
    const struct disk_set *s = v->use->set;

    while (v->at < v->count && !s->disks[v->order[v->at]].mountpath)
        v->at++;
    if (v->at == v->count)
        return op_go(op, copies_end);
    local_verify_at(v->local, s->disks[v->order[v->at]].mountpath, v->req, &v->one, op_try(op, copies_done));
    return STEP_WAIT;
}

static enum step_next copies_done(struct op *op)
{
    struct copies_op *v = OP(op, struct copies_op);
    const struct disk *d = &v->use->set->disks[v->order[v->at++]];
    enum err e = op->call.err;

    if (e == ERR_NO_SUCH_KEY)
        return op_go(op, copies_next);
    if (e == ERR_CANCELLED)
        return op_fail(op, e);
    v->seen++;
    v->bytes += v->one.bytes;
    if (v->err == ERR_OK) {
        v->err = e;
        *v->res = v->one;
    }
    if (e != ERR_OK && v->copies > 1)
        disks_repair(v->local->disks, &v->req->bucket, v->req->key, &d->uuid);
    return op_go(op, copies_next);
}

static enum step_next copies_end(struct op *op)
{
    struct copies_op *v = OP(op, struct copies_op);
    const struct local_verify_req *req = v->req;
    bool doubt = disk_doubt(v->use->set, req->bucket.uid, req->key, v->copies);
    enum err e = op->err != ERR_OK ? op->err : v->err;

    if (e == ERR_OK && v->seen == 0)
        e = doubt ? ERR_UNAVAILABLE : ERR_NO_SUCH_KEY;
    v->res->bytes = v->bytes;
    disks_let_go(v->local->disks, v->use);
    call_finish(v->whole, e);
    return STEP_DONE;
}

static void copies_cancel(void *arg)
{
    op_cancel(&((struct copies_op *)arg)->op, ERR_CANCELLED);
}

void local_verify(struct local *l, const struct local_verify_req *req, struct local_verify_res *res, struct call *call)
{
    struct copies_op *v = ARENA_NEW(req->arena, struct copies_op);

    *res = (struct local_verify_res){0};
    *v = (struct copies_op){.local = l, .use = disks_hold(l->disks), .req = req, .res = res, .whole = call};
    op_start(&v->op, call->loop, "verify_copies", copies_begin, copies_end);
    call_on_cancel(call, copies_cancel, v);
}
