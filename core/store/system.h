/* system.h - the bucket that the system keeps its own objects in.
 *
 * Shape    one bucket, ".sluice", made when first needed, with a record in meta as any other: so it is rebalanced, scrubbed and repaired
 *          as the others are. Clients can't name it. Keys: "index/<bucket uid hex>/..." indexes of archives (arcs.h), "jobs/<id>/..." reports
 *          and long lists of jobs.
 * Errors   those of buckets_create().
 * Thread   the loop's.
 */
#ifndef SLUICE_STORE_SYSTEM_H
#define SLUICE_STORE_SYSTEM_H

#include "store/buckets.h"

#define SYSTEM_BUCKET STR(".sluice")

/* res->bucket is filled on success; nearly always at once, from the cache. */
struct system_bucket_res {
    struct bucket bucket; /* lives in `arena` */
};
void system_bucket(struct buckets *b, struct arena *arena, struct system_bucket_res *res, struct call *call);
/* Without waiting. False: there is none yet, so nothing is in it. */
bool system_bucket_find(struct buckets *b, struct arena *arena, struct bucket_id *out);

#endif
