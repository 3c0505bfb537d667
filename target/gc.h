/* gc.h - removes what nothing refers to: segments of crashed writes, parts of uploads that are gone.
 *
 * Shape    a thread: one pass at start-up, then one every hour. A segment is garbage when it was on the disk, was not
 *          on its way into the index, and is in no record of a snapshot taken after both was looked at: no clock
 *          decides. The grace period is a second belt.
 * Owns     its thread.
 * Thread   start/stop: main thread.
 */
#ifndef SLUICE_TARGET_GC_H
#define SLUICE_TARGET_GC_H

#include "target/engine.h"

struct gc *gc_start(struct local *l);
/* NULL is legal. BLOCKING until the pass under way has noticed. */
void gc_stop(struct gc *g);
/* BLOCKING until the pass at start-up is over; for tests. */
void gc_settle(struct gc *g);
/* One pass over a mountpath. BLOCKING. `grace_s`: younger files stay; *removed (may be NULL) counts segments. */
MUST_USE enum err gc_pass(struct local *l, struct mountpath *m, uint32_t grace_s, const _Atomic bool *stop,
                          uint64_t *removed);

#endif
