/* barrier.h - waits until all work that has begun before it has ended, while new work goes on.
 *
 * Shape    two counters take turns: the barrier lets new work count with the other one and waits for the first to be empty.
 * Owns     embedded in its owner, zeroed to begin with.
 * Errors   ERR_CANCELLED.
 * Thread   any; waiting: the call's loop. One waits at a time per process, or they wait for each other's work as well.
 */
#ifndef SLUICE_TARGET_BARRIER_H
#define SLUICE_TARGET_BARRIER_H

#include <stdatomic.h>

#include "base/call.h"

struct barrier {
    atomic_uint turn, let[2];
};
/* What barrier_let_out() wants back. */
unsigned barrier_let_in(struct barrier *b);
void barrier_let_out(struct barrier *b, unsigned turn);
/* Finishes when all that was let in before has been let out. */
void barrier_wait(struct barrier *b, struct call *call);

#endif
