/* op.h - an operation as a row of steps over asynchronous calls.
 *
 * Shape    a step does one thing and returns op_go(op, next), STEP_WAIT (after op_call/op_try) or STEP_DONE (last step only).
 * Owns     the op is embedded in the operation's own struct; the last step releases it and is the only place that does.
 * Errors   op_fail() or a failed op_call() jump to the last step with op->err set; op_try() lets the step look at op->call.err.
 * Thread   the op's loop.
 */
#ifndef SLUICE_BASE_OP_H
#define SLUICE_BASE_OP_H

#include "call.h"
#include "mem.h"

struct op;
enum step_next { STEP_WAIT, STEP_GO, STEP_DONE };
typedef enum step_next step_fn(struct op *);

struct op {
    const char *name; /* "get", for logs */
    const char *step; /* name of the step that runs or waits */
    struct loop *loop;
    step_fn *next, *last;
    struct call call; /* the one outstanding */
    enum err err;     /* first failure */
    bool tries;       /* the next step looks at call.err itself */
    bool cancelled;
    bool ending; /* the last step has begun */
};

#define OP(op, type) CONTAINER(op, type, op)

/* Begins at once with `first`; `last` always runs, exactly once to its STEP_DONE. `op` may be gone on return. */
void op_start(struct op *op, struct loop *loop, const char *name, step_fn *first, step_fn *last);
/* Ends the operation soon: cancels the outstanding call; the op still ends in its last step with ERR_CANCELLED,
 * or the given error. Harmless once the last step has begun. */
void op_cancel(struct op *op, enum err why);
/* return op_fail(op, e); */
enum step_next op_fail(struct op *op, enum err e);

enum step_next op_go_named(struct op *op, step_fn *next, const char *name);
struct call *op_call_named(struct op *op, step_fn *next, const char *name, bool tries);
#define op_go(op, next) op_go_named((op), (next), #next)
/* The call to hand to an asynchronous function; wakes in `next`, or in the last step when it failed. */
#define op_call(op, next) op_call_named((op), (next), #next, false)
/* The same, but `next` always runs and looks at op->call.err. */
#define op_try(op, next) op_call_named((op), (next), #next, true)

#endif
