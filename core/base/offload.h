/* offload.h - a bounded pool of threads for work that blocks or takes long; the answer comes back as a call.
 *
 * Shape    one queue, N threads. A task is embedded in its owner's struct, so queueing never allocates.
 * Owns     the task is the pool's from offload_run() until its call is done.
 * Errors   ERR_BUSY through the call when the queue is at its bound.
 * Thread   offload_run() from any thread; the task's function touches only its own task struct.
 */
#ifndef SLUICE_BASE_OFFLOAD_H
#define SLUICE_BASE_OFFLOAD_H

#include <stddef.h>

#include "call.h"

struct offload;
struct offload_task {
    enum err (*run)(struct offload_task *); /* on a pool thread; its result ends the call */
    struct call *call;
    struct offload_task *next;
};

/* `name` (static, <= 12 chars) names the threads and the metrics. */
struct offload *offload_new(const char *name, unsigned threads, size_t queue_max);
/* Runs what is queued, ends the threads. */
void offload_free(struct offload *);
/* Queues task->run; `call` finishes with its result. */
void offload_run(struct offload *, struct offload_task *task, enum err (*run)(struct offload_task *),
                 struct call *call);
/* Whether tasks wait for a thread: a long task asks between its pieces and makes room. Any thread, cheap. */
bool offload_crowded(const struct offload *);
/* Tasks queued or running now. Any thread. */
size_t offload_depth(struct offload *);

#endif
