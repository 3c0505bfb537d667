/* loop.h - one event loop per thread: descriptors, timers, messages from other threads, deferred work.
 *
 * Shape    a loop owns a libh2o evloop; callbacks run on its thread only, never nested into one another.
 * Units    times: nanoseconds of CLOCK_MONOTONIC; delays: milliseconds.
 * Owns     the loop owns its descriptors wrapped by io_open() until io_close(), which closes them.
 * Errors   a failing epoll is a bug of ours and ends the process.
 * Thread   loop_post() and loop_stop() from any; all else from the loop's own thread (or before it runs).
 * Source   facts about libh2o 2.2.5: an fd must never be closed behind the loop's back; write notifications are one-shot.
 */
#ifndef SLUICE_BASE_LOOP_H
#define SLUICE_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct loop;

/* A unit of work queued to a loop; embedded in what it is about, so queueing never allocates. Queue it once at a time. */
struct post {
    struct post *next;
    void (*fn)(struct post *);
};

struct timer {
    uint64_t deadline_ns; /* when it is due; 0 = not set */
    uint64_t heap_ns;     /* where it sits in the heap: not after deadline_ns */
    uint32_t slot;        /* heap position + 1; 0 = not in the heap */
    void (*fn)(struct timer *);
};

struct loop *loop_new(void);
/* After loop_run() has returned and every io is closed. */
void loop_free(struct loop *);
/* Runs until loop_stop(). Binds the loop to the calling thread. */
void loop_run(struct loop *);
void loop_stop(struct loop *);
/* One turn: waits at most max_wait_ms for events, then runs what is due. For tests and for draining. */
void loop_turn(struct loop *, int max_wait_ms);
/* The loop that runs on this thread, NULL on other threads. */
struct loop *loop_current(void);
/* Makes the calling thread the loop's, for set-up before loop_run(). */
void loop_adopt(struct loop *);
/* The turn's start; cheap. */
uint64_t loop_now_ns(const struct loop *);
/* Longest time the loop spent in callbacks between two waits since the last call with `reset`; nanoseconds.
 * Any thread. Exported as the metric sluice_loop_stall_seconds_max. */
uint64_t loop_longest_turn_ns(struct loop *, bool reset);

/* Runs p->fn(p) later on this loop, after the callback that is running now. Own thread. */
void loop_defer(struct loop *, struct post *p);
/* The same from any thread. */
void loop_post(struct loop *, struct post *p);

/* (Re-)arms `t`, a zeroed struct with fn set, to fire once in after_ms; moving it later costs nothing. */
void timer_set(struct loop *, struct timer *t, uint64_t after_ms);
void timer_cancel(struct loop *, struct timer *t);
static inline bool timer_is_set(const struct timer *t)
{
    return t->deadline_ns != 0;
}

/* A polled descriptor. The loop never reads or writes it: callbacks do. */
struct io;
typedef void io_fn(struct io *, void *owner);
/* Takes fd, which must be non-blocking. `owner` is handed to the callbacks. */
struct io *io_open(struct loop *, int fd, void *owner);
/* Stops all callbacks, closes the descriptor. Legal from its own callbacks. */
void io_close(struct io *);
int io_fd(const struct io *);
/* Calls cb whenever the descriptor is readable (or at its end, or broken), until io_stop_read(). */
void io_want_read(struct io *, io_fn *cb);
/* Takes effect without a system call; the descriptor is really dropped from the poll set when it is next readable. */
void io_stop_read(struct io *);
/* Calls cb once when writable (or broken). */
void io_want_write(struct io *, io_fn *cb);
void io_stop_write(struct io *);

#endif
