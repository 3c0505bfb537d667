#include "role_jobs.h"

#include <stdio.h>

#include "base/clock.h"
#include "store/shard.h"

enum err role_jobs_open(struct role_jobs *j, struct role_cluster *c, struct local *local, struct moving *moving,
                        struct redundant *redundant, struct buckets *buckets, char why[ROLE_WHY_MAX])
{
    struct role *r = c->role;
    enum err e;

    j->loop = loop_new();
    j->peers = role_cluster_peers(c, j->loop);
    struct remote_env remote = role_cluster_remote(c, j->loop, j->peers);
    j->mine = local_store(local, j->loop);
    j->moving = moving_store(moving, &(struct moving_env){.mine = j->mine, .remote = remote});
    j->wide = redundant_store(
        redundant, &(struct redundant_env){.mine = j->mine, .single = j->moving, .remote = remote, .cpu = r->cpu});
    j->all = shard_store_new(&(struct shard_env){.remote = remote, .self = c->view.self, .mine = j->wide});
    e = jobs_open(&(struct job_env){.loop = j->loop,
                                    .mine = j->mine,
                                    .moving = j->moving,
                                    .redundant = j->wide,
                                    .engine = redundant,
                                    .all = j->all,
                                    .remote = remote,
                                    .local = local,
                                    .members = c->members,
                                    .buckets = buckets,
                                    .meta = c->meta,
                                    .io = r->io,
                                    .cpu = r->cpu,
                                    .self = c->view.self,
                                    .began_ms = (uint64_t)clock_wall_ns() / 1000000,
                                    .bytes_per_s = r->settings.jobs_bandwidth},
                  &j->jobs);
    if (e != ERR_OK)
        snprintf(why, ROLE_WHY_MAX, "cannot follow the jobs of the cluster (%s)", err_name(e));
    return e;
}

void role_jobs_close(struct role_jobs *j)
{
    if (j->jobs)
        jobs_close(j->jobs);
    if (!j->loop)
        return;
    loop_adopt(j->loop); /* whose thread has ended */
    store_close(j->all);
    store_close(j->wide);
    store_close(j->moving);
    store_close(j->mine);
    peer_pool_free(j->peers);
    loop_free(j->loop);
}
