/* `sluice gateway`: S3 for clients over the targets of a cluster. Keeps nothing: any number of them answer alike. */
#include <stdlib.h>

#include "base/mem.h"
#include "cli/bucket.h"
#include "role_cluster.h"
#include "role_s3.h"
#include "store/shard.h"

struct gate {
    struct role role;
    struct role_cluster cluster;
    struct role_s3 s3;
};

/* One loop's part. */
struct lane {
    struct peer_pool *peers;
    struct store *shard;
    struct store *store;
    struct arcs *arcs;
    struct gateway *gateway;
};

static void *lane_open(void *arg, struct loop *loop, struct control *control, struct http_handler **handler)
{
    struct gate *g = arg;
    struct lane *l = NEW(struct lane);

    l->peers = role_cluster_peers(&g->cluster, loop);
    l->shard = shard_store_new(&(struct shard_env){.remote = role_cluster_remote(&g->cluster, loop, l->peers)});
    l->store = role_s3_backend(&g->s3, loop, l->shard, false);
    l->arcs = role_s3_arcs(&g->s3, &g->role, loop, l->store);
    l->gateway = role_s3_gateway(&g->s3, &g->role, loop, l->arcs, control);
    *handler = gateway_handler(l->gateway);
    return l;
}

static void lane_close(void *lane)
{
    struct lane *l = lane;

    gateway_free(l->gateway);
    arcs_free(l->arcs);
    store_close(l->store);
    store_close(l->shard);
    peer_pool_free(l->peers);
    free(l);
}

static enum err redundancy_fits(void *arg, struct redundancy r, char why[S3_WHY_MAX])
{
    const struct map *map = members_map(((struct gate *)arg)->cluster.members);
    enum err e = bucket_fits_cluster(map, r, why);

    map_release(map);
    return e;
}

static enum err gate_open(struct role *r, char why[ROLE_WHY_MAX])
{
    struct gate *g = CONTAINER(r, struct gate, role);
    const struct front_role role = {lane_open, lane_close, g};
    struct control_role control;
    enum err e;

    if ((e = role_cluster_open(&g->cluster, r, STR_NONE, why)) != ERR_OK ||
        (e = role_s3_open(&g->s3, r, g->cluster.meta, STR_NONE, why)) != ERR_OK)
        return e;
    g->s3.members = g->cluster.members;
    g->s3.conf.redundancy_fits = redundancy_fits;
    g->s3.conf.redundancy_arg = g;
    if (r->settings.cluster_share_listen)
        http_listen_share();
    control = role_cluster_control(&g->cluster);
    return role_s3_listen(r, &role, &control, why);
}

static void gate_serving(const struct role *r)
{
    role_s3_tell(&((const struct gate *)r)->s3, r);
}

static void gate_close(struct role *r)
{
    struct gate *g = CONTAINER(r, struct gate, role);

    role_cluster_close(&g->cluster);
    role_s3_close(&g->s3); /* nothing is told to the bucket directory any more */
}

int role_gateway(int argc, char **argv)
{
    static const struct role_kind kind = {settings_check_gateway, gate_open, gate_serving, NULL, gate_close};
    struct gate g = {.s3 = {.creds = NULL}};

    return role_main(&g.role, &kind, argc, argv);
}
