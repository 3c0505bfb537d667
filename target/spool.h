/* spool.h - sorts more than fits into memory: runs of sorted items, kept as objects, then merged.
 *
 * Shape    spool_add() any number of times, spool_sort() once, then spool_next() gives them by key (bytewise; equal keys as they were
 *          added; all the other way round with `backwards`). What fits into one run never leaves memory.
 * Units    bytes.
 * Owns     the objects "<prefix>-<n>" in the bucket, which spool_close() removes.
 * Errors   ERR_TOO_LARGE: an item of more than SPOOL_ITEM_MAX, or more than SPOOL_RUNS_MAX runs; those of the store.
 * Thread   the loop's; sorting is done on the pool.
 */
#ifndef SLUICE_TARGET_SPOOL_H
#define SLUICE_TARGET_SPOOL_H

#include "base/offload.h"
#include "store/store.h"

enum { SPOOL_RUNS_MAX = 1024, SPOOL_ITEM_MAX = 1 << 20, SPOOL_RUN_DEFAULT = 32 << 20, SPOOL_READ = 128 << 10 };

struct spool_conf {
    struct loop *loop;
    struct store *store;
    struct bucket_id bucket;
    struct str prefix; /* copied */
    struct offload *cpu;
    size_t run_bytes; /* of items in memory; 0 = SPOOL_RUN_DEFAULT. Sorting takes as much again */
    bool backwards;
};
struct spool_item {
    struct str key, value;
};
struct spool;
struct spool *spool_new(const struct spool_conf *conf);
/* Copies both. Waits while a full run is sorted and written. */
void spool_add(struct spool *s, struct str key, struct str value, struct call *call);
void spool_sort(struct spool *s, struct call *call);
/* The next; its strs are valid until the next call. */
void spool_next(struct spool *s, struct spool_item *out, bool *end, struct call *call);
/* Frees `s`; no call is outstanding. Objects that can't be removed now are logged and left to the job's end. */
void spool_close(struct spool *s, struct call *call);
uint64_t spool_count(const struct spool *s);

#endif
