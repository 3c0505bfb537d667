/* keeper.h - a mountpath's housekeeping thread: removes dead segments, watches the free space.
 *
 * Shape    wakes when there is something to remove, and every second. With durability async it also writes back what
 *          the page cache holds before it removes anything, so that a power cut can't take the old and the new
 *          content of an object.
 * Owns     its queue. More than KEEPER_QUEUE_MAX waiting ids are dropped: garbage collection finds those files later.
 * Thread   any.
 */
#ifndef SLUICE_TARGET_KEEPER_H
#define SLUICE_TARGET_KEEPER_H

#include "target/local.h"
#include "target/segment.h"

enum { KEEPER_QUEUE_MAX = 1 << 18 };

struct mountpath;
struct keeper;
struct keeper *keeper_new(struct mountpath *m, const struct local_conf *conf);
/* Removes what is queued, ends the thread. NULL is legal. */
void keeper_free(struct keeper *k);
void keeper_unlink(struct keeper *k, const struct segment_id *ids, size_t n);
/* BLOCKING until the queue was worked off. */
void keeper_drain(struct keeper *k);

#endif
