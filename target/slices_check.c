#include "target/slices_own.h"

enum { CHECK_STEP = 64 << 10 }; /* read and hashed at a time: what a loop may do in one go */

static step_fn check_open, check_begin, check_read, check_take, check_end;

static enum step_next check_open(struct op *op)
{
    struct slice_check *c = OP(op, struct slice_check);

    store_obj_get(c->store, &c->req, &c->res, op_call(op, check_begin));
    return STEP_WAIT;
}

static enum step_next check_begin(struct op *op)
{
    struct slice_check *c = OP(op, struct slice_check);
    const struct checksum *sum = &c->res.head.info.checksum;

    if (sum->type != CHECKSUM_FULL_OBJECT || sum->digest.n == 0)
        return op_fail(op, ERR_CORRUPT); /* none of ours */
    hash_init(&c->hash, sum->digest.alg);
    c->buf = arena_alloc(c->req.head.arena, CHECK_STEP);
    return op_go(op, check_read);
}

static enum step_next check_read(struct op *op)
{
    struct slice_check *c = OP(op, struct slice_check);

    source_fill(&c->fill, c->res.body, c->buf, CHECK_STEP, &c->got, op_call(op, check_take));
    return STEP_WAIT;
}

static enum step_next check_take(struct op *op)
{
    struct slice_check *c = OP(op, struct slice_check);
    struct digest now;

    hash_update(&c->hash, c->buf, c->got);
    if (c->got == CHECK_STEP)
        return op_go(op, check_read);
    hash_final(&c->hash, &now);
    return digest_eq(&now, &c->res.head.info.checksum.digest) ? op_go(op, check_end) : op_fail(op, ERR_CORRUPT);
}

static enum step_next check_end(struct op *op)
{
    struct slice_check *c = OP(op, struct slice_check);

    hash_drop(&c->hash);
    source_close(c->res.body);
    call_finish(c->whole, op->err);
    return STEP_DONE;
}

static void check_cancel(void *arg)
{
    op_cancel(&((struct slice_check *)arg)->op, ERR_CANCELLED);
}

void slice_check_run(struct slice_check *c, struct call *whole)
{
    c->whole = whole;
    op_start(&c->op, whole->loop, "slice_check", check_open, check_end);
    call_on_cancel(whole, check_cancel, c);
}
