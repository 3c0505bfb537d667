#include "role_jobs.h"

#include <stdio.h>

#include "base/clock.h"
#include "store/shard.h"
#include "target/job_socket.h"

const struct jobs_ops role_jobs_ops = {job_start, job_stop, job_look};

static struct job_space space(const struct settings *s)
{
    return (struct job_space){s->data.items, s->data.count, s->space_low, s->space_high};
}

enum { INDEXES_MAX = 64 << 20 }; /* bytes of indexes of archives; jobs look into few */

static void open_archives(struct role_jobs *j, const struct role *r, struct buckets *buckets)
{
    j->archives = arc_cache_new(INDEXES_MAX);
    j->arcs = arcs_new(&(struct arcs_env){j->loop, j->all, buckets, r->cpu, j->archives});
}

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
    j->shard = shard_store_new(&(struct shard_env){.remote = remote, .self = c->view.self, .mine = j->wide});
    j->backends = backends_new(buckets, r->io, r->cpu);
    j->all = backend_store_new(&(struct backend_env){j->backends, j->loop, j->shard, false});
    open_archives(j, r, buckets);
    e = jobs_open(&(struct job_env){.loop = j->loop,
                                    .mine = j->mine,
                                    .moving = j->moving,
                                    .redundant = j->wide,
                                    .engine = redundant,
                                    .all = arcs_store(j->arcs),
                                    .remote = remote,
                                    .local = local,
                                    .members = c->members,
                                    .arcs = j->arcs,
                                    .buckets = buckets,
                                    .meta = c->meta,
                                    .io = r->io,
                                    .cpu = r->cpu,
                                    .self = c->view.self,
                                    .began_ms = (uint64_t)clock_wall_ns() / 1000000,
                                    .promote_dirs = r->settings.promote_dirs,
                                    .bytes_per_s = r->settings.jobs_bandwidth,
                                    .space = space(&r->settings),
                                    .download_private = r->settings.download_private},
                  &j->jobs);
    if (e != ERR_OK)
        snprintf(why, ROLE_WHY_MAX, "cannot follow the jobs of the cluster (%s)", err_name(e));
    return e;
}

enum err role_jobs_open_alone(struct role_jobs *j, const struct role_jobs_alone *alone, char why[ROLE_WHY_MAX])
{
    struct role *r = alone->role;
    enum err e;

    j->loop = loop_new();
    j->mine = local_store(alone->local, j->loop);
    j->all = backend_store_new(&(struct backend_env){alone->backends, j->loop, j->mine, true});
    open_archives(j, r, alone->buckets);
    e = jobs_open(&(struct job_env){.loop = j->loop,
                                    .mine = j->mine,
                                    .all = arcs_store(j->arcs),
                                    .local = alone->local,
                                    .arcs = j->arcs,
                                    .buckets = alone->buckets,
                                    .meta = alone->meta,
                                    .io = r->io,
                                    .cpu = r->cpu,
                                    .self = alone->self,
                                    .began_ms = (uint64_t)clock_wall_ns() / 1000000,
                                    .promote_dirs = r->settings.promote_dirs,
                                    .bytes_per_s = r->settings.jobs_bandwidth,
                                    .space = space(&r->settings),
                                    .download_private = r->settings.download_private},
                  &j->jobs);
    if (e != ERR_OK)
        snprintf(why, ROLE_WHY_MAX, "cannot follow the jobs (%s)", err_name(e));
    else
        j->socket = job_socket_start(alone->meta, r->settings.data.items[0]);
    return e;
}

static void close_store(struct store *s)
{
    if (s)
        store_close(s);
}

void role_jobs_close(struct role_jobs *j)
{
    job_socket_stop(j->socket);
    if (j->jobs)
        jobs_close(j->jobs);
    if (!j->loop)
        return;
    loop_adopt(j->loop); /* whose thread has ended */
    if (j->arcs)
        arcs_free(j->arcs);
    arc_cache_free(j->archives);
    close_store(j->all);
    close_store(j->shard);
    backends_free(j->backends);
    close_store(j->wide);
    close_store(j->moving);
    store_close(j->mine);
    if (j->peers)
        peer_pool_free(j->peers);
    loop_free(j->loop);
}
