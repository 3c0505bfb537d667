/* role_jobs.h - a target's jobs: their loop, and the stores they work with on it.
 *
 * Owns     all of it but what it is given.
 * Errors   a sentence for a person in `why`.
 * Thread   main.
 */
#ifndef SLUICE_ROLE_JOBS_H
#define SLUICE_ROLE_JOBS_H

#include "role_cluster.h"
#include "target/job.h"
#include "target/moving.h"
#include "target/redundant.h"

struct role_jobs {
    struct loop *loop;
    struct peer_pool *peers;
    struct store *mine, *moving, *wide, *all;
    struct jobs *jobs;
};
/* Once the target has joined. */
MUST_USE enum err role_jobs_open(struct role_jobs *j, struct role_cluster *c, struct local *local,
                                 struct moving *moving, struct redundant *redundant, struct buckets *buckets,
                                 char why[ROLE_WHY_MAX]);
/* Before the cluster is closed. Harmless when it was not opened. */
void role_jobs_close(struct role_jobs *j);

#endif
