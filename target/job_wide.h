/* job_wide.h - a rebalance's keys in buckets with copies on several targets: what it does for each of them.
 *
 * Shape    for job_scan: `wanted` and `each` by the map of the round. A key that this target leads is settled, with its slices; one that it has
 *          though it is no member is dropped (redundant_settle()).
 * Thread   the engine's loop.
 */
#ifndef SLUICE_TARGET_JOB_WIDE_H
#define SLUICE_TARGET_JOB_WIDE_H

#include "store/map.h"
#include "target/job_scan.h"

struct job_wide {
    const struct job_env *env;
    const struct map *map;
    bool own; /* it is this target's own keys that are looked at */
};
bool job_wide_wanted(void *wide, struct bucket_id bucket, struct str key);
void job_wide_each(void *wide, struct job_scan_key *key, struct call *call);

#endif
