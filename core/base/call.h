/* call.h - the one shape of every asynchronous function: (self, const req *, res *, struct call *).
 *
 * Shape    the caller owns all four until `done`; done runs exactly once, later, on the caller's loop, also after cancel.
 * Owns     nothing.
 * Errors   call->err holds the outcome in done.
 * Thread   call_finish() from any; everything else on the call's loop.
 */
#ifndef SLUICE_BASE_CALL_H
#define SLUICE_BASE_CALL_H

#include "loop.h"

enum call_state { CALL_IDLE, CALL_PENDING, CALL_FINISHED };

struct call {
    struct loop *loop;
    void (*done)(struct call *);
    enum err err;
    enum call_state state;
    bool cancelled;
    void (*on_cancel)(void *arg); /* the callee's; NULL = runs to its end */
    void *on_cancel_arg;
    struct post post;
};

/* The caller: arms `c` before it is handed to an asynchronous function. */
void call_begin(struct call *c, struct loop *loop, void (*done)(struct call *));
/* The callee: ends the call. Queues done(), never runs it. Exactly once per call_begin(); any thread. */
void call_finish(struct call *c, enum err e);
/* The callee: what to do when the caller wants out; it must lead to call_finish() soon. Replaces the former hook.
 * When the call was cancelled already, fn runs at once. It may still run after another thread has called call_finish()
 * but before done(). */
void call_on_cancel(struct call *c, void (*fn)(void *), void *arg);
/* The caller: asks the callee to end soon. done still runs, with whatever came first. Harmless when not pending. */
void call_cancel(struct call *c);
static inline bool call_is_pending(const struct call *c)
{
    return c->state != CALL_IDLE;
}

/* Waits for several calls: begin each member with group_call(); `whole` finishes with the first error when all have ended. */
struct call_group {
    struct call *whole;
    unsigned open; /* members not yet ended, plus one until call_group_seal() */
    enum err err;
};
struct group_call {
    struct call call;
    struct call_group *group;
};
void call_group_init(struct call_group *g, struct call *whole);
struct call *group_call(struct call_group *g, struct group_call *member);
/* No more members will be added. */
void call_group_seal(struct call_group *g);

#endif
