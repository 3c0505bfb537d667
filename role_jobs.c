#include "role_jobs.h"

#include <stdio.h>

#include "base/clock.h"
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
    j->arcs = arcs_new(&(struct arcs_env){j->loop, j->stores.all, buckets, r->cpu, j->archives});
}

enum err role_jobs_open(struct role_jobs *j, const struct role_jobs_env *env, char why[ROLE_WHY_MAX])
{
    const struct role_stores_env *with = env->stores;
    struct role *r = with->role;
    enum err e;

    j->loop = loop_new();
    role_stores_open(&j->stores, with, j->loop);
    open_archives(j, r, env->buckets);
    e = jobs_open(&(struct job_env){.loop = j->loop,
                                    .mine = j->stores.mine,
                                    .moving = j->stores.moving,
                                    .redundant = j->stores.wide,
                                    .engine = with->redundant,
                                    .all = arcs_store(j->arcs),
                                    .remote = j->stores.remote,
                                    .local = with->local,
                                    .members = with->cluster ? with->cluster->members : NULL,
                                    .arcs = j->arcs,
                                    .door = j->stores.door,
                                    .buckets = env->buckets,
                                    .confs = env->confs,
                                    .meta = env->meta,
                                    .io = r->io,
                                    .cpu = r->cpu,
                                    .self = env->self,
                                    .began_ms = (uint64_t)clock_wall_ns() / 1000000,
                                    .promote_dirs = r->settings.promote_dirs,
                                    .bytes_per_s = r->settings.jobs_bandwidth,
                                    .space = space(&r->settings),
                                    .lifecycle_day_s = (int64_t)r->settings.lifecycle_day_s,
                                    .download_private = r->settings.download_private},
                  &j->jobs);
    if (e != ERR_OK)
        snprintf(why, ROLE_WHY_MAX, "cannot follow the jobs (%s)", err_name(e));
    else if (!with->cluster)
        j->socket = job_socket_start(env->meta, r->settings.data.items[0]);
    return e;
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
    role_stores_close(&j->stores);
    loop_free(j->loop);
}
