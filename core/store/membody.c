#include <stdlib.h>

#include "base/op.h"
#include "store/digests.h"
#include "store/memdata.h"

enum { BODY_STEP = 64 * 1024 }; /* read and hashed at a time: what a loop may do in one go */

static step_fn body_read, body_take, body_check, body_end;

static enum step_next body_read(struct op *op)
{
    struct membody *b = OP(op, struct membody);

    if (!b->source)
        return op_go(op, body_check);
    source_fill(&b->fill, b->source, memblob_reserve(b->blob, BODY_STEP), BODY_STEP, &b->got, op_call(op, body_take));
    return STEP_WAIT;
}

static enum step_next body_take(struct op *op)
{
    struct membody *b = OP(op, struct membody);

    if (b->got > b->size_max - b->blob->n)
        return op_fail(op, ERR_ENTITY_TOO_LARGE);
    digests_update(b->digests, b->blob->p + b->blob->n, b->got);
    b->blob->n += b->got;
    return b->got == BODY_STEP ? op_go(op, body_read) : op_go(op, body_check);
}

static enum step_next body_check(struct op *op)
{
    struct membody *b = OP(op, struct membody);

    digests_final(b->digests);
    memblob_shrink(b->blob);
    enum err e = digests_check(b->digests, b->check);
    return e != ERR_OK ? op_fail(op, e) : op_go(op, body_end);
}

static enum step_next body_end(struct op *op)
{
    call_finish(OP(op, struct membody)->whole, op->err);
    return STEP_DONE;
}

static void body_cancel(void *arg)
{
    op_cancel(&((struct membody *)arg)->op, ERR_CANCELLED);
}

void membody_read(struct membody *b, struct call *whole)
{
    b->whole = whole;
    b->blob = memblob_new();
    b->digests = NEW(struct digests);
    digests_init(b->digests, b->check, b->checksum);
    op_start(&b->op, whole->loop, "body", body_read, body_end);
    call_on_cancel(whole, body_cancel, b); /* harmless when the op has ended already: b is the caller's until done */
}

void membody_release(struct membody *b)
{
    if (b->digests)
        digests_drop(b->digests);
    free(b->digests);
    memblob_unref(b->blob);
}
