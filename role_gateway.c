/* `sluice gateway`: S3 for clients over the targets of a cluster. Keeps nothing but events that wait for their webhooks: any number of them answer alike. */
#include <stdlib.h>

#include "base/mem.h"
#include "cli/bucket.h"
#include "etl/nodes.h"
#include "role_cluster.h"
#include "role_etl.h"
#include "role_s3.h"
#include "store/quota.h"
#include "store/shard.h"

struct gate {
    struct role role;
    struct role_cluster cluster;
    struct role_s3 s3;
    struct role_etl etl;
};

/* One loop's part. */
struct lane {
    struct peer_pool *peers;
    struct store *shard;
    struct store *kept;
    struct store *views;
    struct store *told; /* NULL: no webhooks */
    struct store *bounded;
    struct etl_door *door;
    struct arcs *below; /* over `kept`, for views' members */
    struct arcs *arcs;
    struct gateway *gateway;
};

static void *lane_open(void *arg, struct loop *loop, struct control *control, struct http_handler **handler)
{
    struct gate *g = arg;
    struct lane *l = NEW(struct lane);

    l->peers = role_cluster_peers(&g->cluster, loop);
    struct remote_env remote = role_cluster_remote(&g->cluster, loop, l->peers);
    l->shard = shard_store_new(&(struct shard_env){.remote = remote});
    l->kept = backend_store_new(&(struct backend_env){g->s3.backends, loop, l->shard, false});
    l->door = etl_nodes_door(&remote);
    l->below = role_s3_arcs(&g->s3, &g->role, loop, l->kept);
    l->views = role_etl_views(
        &g->etl,
        &(struct view_env){.loop = loop, .inner = l->kept, .door = l->door, .arcs = l->below, .cpu = g->role.cpu});
    if (role_notify_announcer(&g->s3.notify))
        l->told = announce_store_new(role_notify_announcer(&g->s3.notify), loop, l->views);
    l->bounded = quota_store_new(g->s3.quotas, loop, l->told ? l->told : l->views);
    l->arcs = role_s3_arcs(&g->s3, &g->role, loop, l->bounded);
    l->gateway = role_s3_gateway(&g->s3, &g->role, loop, l->arcs, l->door, control);
    *handler = gateway_handler(l->gateway);
    return l;
}

static void lane_close(void *lane)
{
    struct lane *l = lane;

    gateway_free(l->gateway);
    arcs_free(l->arcs);
    store_close(l->bounded);
    if (l->told)
        store_close(l->told);
    store_close(l->views);
    arcs_free(l->below);
    etl_door_close(l->door);
    store_close(l->kept);
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

/* Targets that are in the placement and alive. */
static size_t sidecar_nodes(void *arg, struct arena *arena, const struct str **ids)
{
    struct members *members = ((struct gate *)arg)->cluster.members;
    const struct map *map = members_map(members);
    struct str *list = arena_new(arena, (map->node_count + 1) * sizeof(*list));
    size_t n = 0;

    for (size_t i = 0; i < map->node_count; i++)
        if (map->nodes[i].state == NODE_ACTIVE && members_alive(members, map->nodes[i].id))
            list[n++] = arena_str(arena, map->nodes[i].id);
    map_release(map);
    *ids = list;
    return n;
}

static enum err gate_open(struct role *r, char why[ROLE_WHY_MAX])
{
    struct gate *g = CONTAINER(r, struct gate, role);
    const struct front_role role = {lane_open, lane_close, g};
    struct control_role control;
    enum err e;

    if ((e = role_cluster_open(&g->cluster, r, STR_NONE, why)) != ERR_OK ||
        (e = role_s3_open(&g->s3, r, g->cluster.meta, STR_NONE, why)) != ERR_OK ||
        (e = role_etl_open(&g->etl, r, g->cluster.meta, g->s3.buckets, why)) != ERR_OK)
        return e;
    g->etl.native.nodes = sidecar_nodes;
    g->etl.native.arg = g;
    g->s3.etl = &g->etl.native;
    g->s3.etl_names = g->etl.names;
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
    role_etl_close(&g->etl);
    role_s3_close(&g->s3); /* nothing is told to the bucket directory any more */
}

int role_gateway(int argc, char **argv)
{
    static const struct role_kind kind = {settings_check_gateway, gate_open, gate_serving, NULL, gate_close};
    struct gate g = {.s3 = {.creds = NULL}};

    return role_main(&g.role, &kind, argc, argv);
}
