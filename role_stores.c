#include "role_stores.h"

#include "store/shard.h"

static struct store *open_cluster(struct role_stores *s, const struct role_stores_env *env, struct loop *loop)
{
    s->peers = role_cluster_peers(env->cluster, loop);
    s->remote = role_cluster_remote(env->cluster, loop, s->peers);
    s->moving = moving_store(env->moving, &(struct moving_env){.mine = s->mine, .remote = s->remote});
    s->wide = redundant_store(
        env->redundant,
        &(struct redundant_env){.mine = s->mine, .single = s->moving, .remote = s->remote, .cpu = env->role->cpu});
    s->shard =
        shard_store_new(&(struct shard_env){.remote = s->remote, .self = env->cluster->view.self, .mine = s->wide});
    return s->shard;
}

static void open_views(struct role_stores *s, const struct role_stores_env *env, struct loop *loop)
{
    s->door = role_etl_door(env->etl, loop, s->kept);
    s->arcs = arcs_new(&(struct arcs_env){loop, s->kept, env->buckets, env->role->cpu, env->archives});
    s->all = s->views = role_etl_views(
        env->etl,
        &(struct view_env){.loop = loop, .inner = s->kept, .door = s->door, .arcs = s->arcs, .cpu = env->role->cpu});
}

void role_stores_open(struct role_stores *s, const struct role_stores_env *env, struct loop *loop)
{
    struct store *inner;

    s->mine = local_store(env->local, loop);
    inner = env->cluster ? open_cluster(s, env, loop) : s->mine;
    s->kept = backend_store_new(&(struct backend_env){env->backends, loop, inner, !env->cluster});
    s->all = s->kept;
    if (env->etl)
        open_views(s, env, loop);
    if (env->announcer)
        s->all = s->told = announce_store_new(env->announcer, loop, s->all);
    s->all = s->bounded = quota_store_new(env->quotas, loop, s->all);
}

static void close_store(struct store *s)
{
    if (s)
        store_close(s);
}

void role_stores_close(struct role_stores *s)
{
    close_store(s->bounded);
    close_store(s->told);
    close_store(s->views);
    if (s->arcs)
        arcs_free(s->arcs);
    etl_door_close(s->door);
    close_store(s->kept);
    close_store(s->shard);
    close_store(s->wide);
    close_store(s->moving);
    close_store(s->mine);
    if (s->peers)
        peer_pool_free(s->peers);
    *s = (struct role_stores){.mine = NULL};
}
