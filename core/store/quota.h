/* quota.h - how much a bucket may hold: a store around the store that refuses writes beyond it.
 *
 * Shape    What a bucket with a quota holds is found by listing it: objects, older versions, parts of open uploads. Between counts, what is
 *          written through this process is added. A write that would not fit waits for a new count, if there is a reason for one, and is
 *          then refused, before its body is read. So the bound is exact for who writes through one process; of what others write it knows
 *          with the next count, QUOTA_FRESH_MS later or QUOTA_REST times as long as a count takes.
 * Units    bytes of content and names, as they are listed; replicas count once.
 * Owns     nothing it is given; store_close() leaves the inner store open, and ends its counts (the loop turns for that).
 * Errors   ERR_QUOTA_EXCEEDED; those of the inner store. When the first count takes longer than QUOTA_WAIT_MS, writes go on until it is there.
 * Thread   the store: its loop's; struct quotas is shared.
 * Source   docs/limits.md
 */
#ifndef SLUICE_STORE_QUOTA_H
#define SLUICE_STORE_QUOTA_H

#include "store/bucket_conf.h"
#include "store/store.h"

enum { QUOTA_FRESH_MS = 5000, QUOTA_PAUSE_MS = 200, QUOTA_REST = 20, QUOTA_WAIT_MS = 5000 };

struct quota_limits {
    uint64_t bytes, objects; /* 0: any */
};
struct quotas_conf {
    struct bucket_confs *confs;
    /* What a bucket's "tagging" document, as it was parsed, says. False: nothing. */
    bool (*limits)(const void *parsed, struct quota_limits *out);
};
struct quotas;
struct quotas *quotas_new(const struct quotas_conf *conf);
/* After its stores. NULL is legal. */
void quotas_free(struct quotas *);

struct store *quota_store_new(struct quotas *, struct loop *loop, struct store *inner);

#endif
