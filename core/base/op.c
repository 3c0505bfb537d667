#include "op.h"

#include <assert.h>

static void run(struct op *op)
{
    enum step_next next;

    do {
        if (op->next == op->last)
            op->ending = true;
        next = op->next(op);
        /* after STEP_DONE the op is gone */
    } while (next == STEP_GO);
}

static void wake(struct call *c)
{
    struct op *op = CONTAINER(c, struct op, call);

    if (!op->ending) {
        if (op->cancelled)
            op_fail(op, op->err != ERR_OK ? op->err : ERR_CANCELLED);
        else if (c->err != ERR_OK && !op->tries)
            op_fail(op, c->err);
    }
    run(op);
}

void op_start(struct op *op, struct loop *loop, const char *name, step_fn *first, step_fn *last)
{
    *op = (struct op){.name = name, .step = "start", .loop = loop, .next = first, .last = last};
    run(op);
}

void op_cancel(struct op *op, enum err why)
{
    if (op->ending || op->cancelled)
        return;
    op->cancelled = true;
    if (op->err == ERR_OK)
        op->err = why;
    call_cancel(&op->call);
}

enum step_next op_fail(struct op *op, enum err e)
{
    assert(e != ERR_OK);
    if (op->err == ERR_OK)
        op->err = e;
    op->next = op->last;
    op->step = "last";
    return STEP_GO;
}

enum step_next op_go_named(struct op *op, step_fn *next, const char *name)
{
    if (op->cancelled && !op->ending)
        return op_fail(op, op->err);
    op->next = next;
    op->step = name;
    return STEP_GO;
}

struct call *op_call_named(struct op *op, step_fn *next, const char *name, bool tries)
{
    op->next = next;
    op->step = name;
    op->tries = tries;
    call_begin(&op->call, op->loop, wake);
    return &op->call;
}
