/* role_jobs.h - the jobs of a target or of one server: their loop, and the stores they work with on it.
 *
 * Owns     all of it but what it is given.
 * Errors   a sentence for a person in `why`.
 * Thread   main.
 */
#ifndef SLUICE_ROLE_JOBS_H
#define SLUICE_ROLE_JOBS_H

#include "role_stores.h"
#include "target/job.h"

struct role_jobs {
    struct loop *loop;
    struct role_stores stores;
    struct arc_cache *archives;
    struct arcs *arcs;
    struct jobs *jobs;
    struct job_socket *socket; /* of one server: where `sluice job` speaks to it */
};
/* Of a target once it has joined; of one server before requests are served. */
struct role_jobs_env {
    const struct role_stores_env *stores;
    struct str self; /* what this node's part of a job is called */
    struct meta *meta;
    struct buckets *buckets;
    struct bucket_confs *confs;
};
MUST_USE enum err role_jobs_open(struct role_jobs *j, const struct role_jobs_env *env, char why[ROLE_WHY_MAX]);
/* For front ends: start, stop, look. */
extern const struct jobs_ops role_jobs_ops;
/* Before the cluster or meta is closed. Harmless when it was not opened. */
void role_jobs_close(struct role_jobs *j);

#endif
