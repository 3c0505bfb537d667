/* role_jobs.h - the jobs of a target or of one server: their loop, and the stores they work with on it.
 *
 * Owns     all of it but what it is given.
 * Errors   a sentence for a person in `why`.
 * Thread   main.
 */
#ifndef SLUICE_ROLE_JOBS_H
#define SLUICE_ROLE_JOBS_H

#include "role_cluster.h"
#include "store/backend.h"
#include "target/job.h"
#include "target/moving.h"
#include "target/redundant.h"

struct role_jobs {
    struct loop *loop;
    struct peer_pool *peers;
    struct store *mine, *moving, *wide, *shard, *all;
    struct backends *backends; /* of a target: its own */
    struct arc_cache *archives;
    struct arcs *arcs;
    struct jobs *jobs;
    struct job_socket *socket; /* of one server: where `sluice job` speaks to it */
};
/* Once the target has joined. */
MUST_USE enum err role_jobs_open(struct role_jobs *j, struct role_cluster *c, struct local *local,
                                 struct moving *moving, struct redundant *redundant, struct buckets *buckets,
                                 char why[ROLE_WHY_MAX]);
/* The same for one server, without a cluster. Before requests are served. */
struct role_jobs_alone {
    struct role *role;
    struct str self; /* what its part of a job is called */
    struct meta *meta;
    struct local *local;
    struct buckets *buckets;
    struct backends *backends;
};
MUST_USE enum err role_jobs_open_alone(struct role_jobs *j, const struct role_jobs_alone *alone,
                                       char why[ROLE_WHY_MAX]);
/* For front ends: start, stop, look. */
extern const struct jobs_ops role_jobs_ops;
/* Before the cluster or meta is closed. Harmless when it was not opened. */
void role_jobs_close(struct role_jobs *j);

#endif
