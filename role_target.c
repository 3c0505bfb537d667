/* `sluice target`: the disks of one machine as a part of a cluster. Speaks with other nodes only, never S3. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/mem.h"
#include "cli/identity.h"
#include "role_jobs.h"
#include "role_notify.h"
#include "s3api/limits.h"
#include "s3api/settings.h"
#include "target/rpc.h"
#include "target/rpc_etl.h"

enum { INDEXES_MAX = 16 << 20 }; /* bytes; few views look into archives here */

struct target {
    struct role role;
    struct str id;
    struct local *local;
    struct moving *moving;
    struct redundant *redundant;
    struct role_cluster cluster;
    struct buckets *buckets;
    struct bucket_confs *confs; /* their documents */
    struct role_notify notify;
    struct quotas *quotas;
    struct backends *backends;
    struct arc_cache *archives; /* of views' members */
    struct role_etl etl;
    struct role_stores_env stores;
    struct role_jobs jobs;
};

/* One loop's part. */
struct lane {
    struct http_handler handler;
    struct target *target;
    struct control *control;
    struct role_stores stores;
    struct store *member; /* what leads ask of the disks */
    struct rpc *rpc;
    struct rpc_etl *rpc_etl; /* NULL: no ETLs here */
};

static void on_request(struct http_handler *h, struct http_req *req)
{
    struct lane *l = CONTAINER(h, struct lane, handler);
    struct http_handler *rpc = l->rpc_etl && rpc_etl_takes(req) ? rpc_etl_handler(l->rpc_etl) : rpc_handler(l->rpc);

    if (control_takes(l->control, req))
        control_request(l->control, req);
    else
        rpc->on_request(rpc, req);
}

static void *lane_open(void *arg, struct loop *loop, struct control *control, struct http_handler **handler)
{
    struct target *t = arg;
    struct str key = t->role.settings.cluster_secret;
    struct lane *l = NEW(struct lane);

    l->handler.on_request = on_request;
    l->target = t;
    l->control = control;
    role_stores_open(&l->stores, &t->stores, loop);
    l->member = redundant_member(
        t->redundant, &(struct redundant_env){.mine = l->stores.mine, .remote = l->stores.remote, .cpu = t->role.cpu});
    l->rpc = rpc_new(&(struct rpc_env){.loop = loop,
                                       .mine = l->stores.wide,
                                       .member = l->member,
                                       .member_at = redundant_member_at,
                                       .members = t->cluster.members,
                                       .cluster_key = key});
    if (l->stores.door)
        l->rpc_etl = rpc_etl_new(&(struct rpc_etl_env){loop, l->stores.door, key});
    *handler = &l->handler;
    return l;
}

static void lane_close(void *lane)
{
    struct lane *l = lane;

    rpc_etl_free(l->rpc_etl);
    rpc_free(l->rpc);
    store_close(l->member);
    role_stores_close(&l->stores);
    free(l);
}

/* ---- joining ---- */

/* Of all disks, in GiB. Data directories that share one count once. */
static uint32_t capacity(const struct config_list *data)
{
    enum { GIB_SHIFT = 30 };
    uint64_t bytes = 0;
    struct statvfs fs;
    struct stat st, other;

    for (size_t i = 0; i < data->count; i++) {
        bool shared = false;
        if (statvfs(data->items[i].p, &fs) != 0 || stat(data->items[i].p, &st) != 0)
            continue; /* it was open a moment ago; what remains counts */
        for (size_t k = 0; k < i && !shared; k++)
            shared = stat(data->items[k].p, &other) == 0 && other.st_dev == st.st_dev;
        bytes += shared ? 0 : (uint64_t)fs.f_blocks * fs.f_frsize;
    }
    bytes >>= GIB_SHIFT;
    return bytes == 0 ? 1 : bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
}

static enum err join(struct target *t, char why[ROLE_WHY_MAX])
{
    const struct settings *s = &t->role.settings;
    struct str bound = str_z(front_bound(t->role.front, 0));
    struct map_node self = {.id = t->id,
                            .zone = s->cluster_zone,
                            .address = s->cluster_advertise.n ? s->cluster_advertise : bound,
                            .public_address = s->cluster_public_address,
                            .weight = s->cluster_weight ? s->cluster_weight : capacity(&s->data),
                            .state = NODE_ACTIVE};

    return members_join(t->cluster.members, &self, why);
}

/* ---- life ---- */

static enum err open_data(struct target *t, char why[ROLE_WHY_MAX])
{
    struct role *r = &t->role;
    struct local_conf conf = r->settings.store;
    enum err e;

    conf.mountpaths = r->settings.data.items;
    conf.mountpath_count = r->settings.data.count;
    conf.io = r->io;
    conf.cpu = r->cpu;
    if ((e = role_read_keys(r, &conf.keys, why)) != ERR_OK)
        return e;
    if ((e = local_open(&conf, &t->local, why)) != ERR_OK)
        return e;
    return identity_get(&r->arena, r->settings.data.items[0], &t->id, why);
}

static enum err open_front(struct target *t, char why[ROLE_WHY_MAX])
{
    struct role *r = &t->role;
    const struct settings *s = &r->settings;
    struct front_conf conf = {.threads = s->threads,
                              .limits = s->limits,
                              .io = r->io,
                              .cpu = r->cpu,
                              .role = {lane_open, lane_close, t},
                              .control = role_cluster_control(&t->cluster)};
    enum err e;

    if ((e = role_open_tls(r, 1, s->cluster_tls_cert, s->cluster_tls_key, why)) != ERR_OK)
        return e;
    conf.listen[0] = (struct front_listen){s->cluster_internal_listen, r->tls[1]};
    if (conf.limits.head_max < WIRE_HEAD_MAX)
        conf.limits.head_max = WIRE_HEAD_MAX;
    return front_open(&conf, &r->front, why);
}

static bool has_wide_buckets(void *buckets)
{
    return buckets_any_wide(buckets);
}

/* ETLs, then the jobs that may use them. */
static enum err open_work(struct target *t, char why[ROLE_WHY_MAX])
{
    struct role *r = &t->role;
    enum err e;

    if ((e = role_notify_open(&t->notify, r, r->settings.data.items[0], t->confs, t->buckets, why)) != ERR_OK)
        return e;
    t->quotas = quotas_new(&(struct quotas_conf){t->confs, limits_quota});
    t->backends = backends_new(t->buckets, r->io, r->cpu);
    t->archives = arc_cache_new(INDEXES_MAX);
    t->stores = (struct role_stores_env){.role = r,
                                         .local = t->local,
                                         .backends = t->backends,
                                         .buckets = t->buckets,
                                         .archives = t->archives,
                                         .etl = &t->etl,
                                         .cluster = &t->cluster,
                                         .moving = t->moving,
                                         .redundant = t->redundant,
                                         .announcer = role_notify_announcer(&t->notify),
                                         .quotas = t->quotas};
    if ((e = role_etl_open(&t->etl, r, t->cluster.meta, t->buckets, why)) != ERR_OK ||
        (e = role_etl_run(&t->etl, &t->stores, t->buckets, t->id, why)) != ERR_OK)
        return e;
    return role_jobs_open(&t->jobs, &(struct role_jobs_env){&t->stores, t->id, t->cluster.meta, t->buckets, t->confs},
                          why);
}

static enum err target_open(struct role *r, char why[ROLE_WHY_MAX])
{
    struct target *t = CONTAINER(r, struct target, role);
    enum err e;

    if ((e = open_data(t, why)) != ERR_OK || (e = role_cluster_open(&t->cluster, r, t->id, why)) != ERR_OK ||
        (e = open_front(t, why)) != ERR_OK)
        return e;
    t->moving = moving_new(t->cluster.members, t->id);
    t->redundant = redundant_new(t->cluster.members, t->id);
    if ((e = buckets_open(t->cluster.meta, &t->buckets)) != ERR_OK) {
        snprintf(why, ROLE_WHY_MAX, "cannot read the buckets of the cluster (%s)", err_name(e));
        return e;
    }
    if ((e = bucket_confs_open(t->cluster.meta, s3_doc_kinds, s3_doc_kind_count, &t->confs)) != ERR_OK) {
        snprintf(why, ROLE_WHY_MAX, "cannot read the documents of buckets (%s)", err_name(e));
        return e;
    }
    /* requests that come at once wait in the listener's queue for the loops to start */
    if ((e = join(t, why)) != ERR_OK)
        return e;
    members_watch_sync(t->cluster.members, has_wide_buckets, t->buckets);
    return open_work(t, why);
}

static void target_serving(const struct role *r)
{
    const struct target *t = (const struct target *)r;
    const struct settings *s = &r->settings;
    const char *bound = front_bound(r->front, 0);

    printf("sluice %s target " STR_FMT " serves nodes at %s\n", SLUICE_VERSION, STR_ARG(t->id), bound);
    fflush(stdout);
    log_info(STR_NONE, "serving", "version=%s role=target id=" STR_FMT " listen=%s advertise=%s threads=%u disks=%zu",
             SLUICE_VERSION, STR_ARG(t->id), log_quote(str_z(bound)), log_quote(s->cluster_advertise), s->threads,
             s->data.count);
    if (s->store.durability == DURABILITY_ASYNC)
        log_warn(STR_NONE, "durability is async: a power cut may lose the last seconds of answered writes", "%s", "");
}

static void target_leave(struct role *r)
{
    members_leave(CONTAINER(r, struct target, role)->cluster.members);
}

static void target_close(struct role *r)
{
    struct target *t = CONTAINER(r, struct target, role);

    role_jobs_close(&t->jobs);
    role_etl_stop(&t->etl);
    if (t->redundant)
        redundant_free(t->redundant);
    if (t->moving)
        moving_free(t->moving);
    role_cluster_close(&t->cluster);
    role_notify_close(&t->notify);
    quotas_free(t->quotas);
    role_etl_close(&t->etl);
    backends_free(t->backends);
    arc_cache_free(t->archives);
    if (t->confs)
        bucket_confs_close(t->confs);
    if (t->buckets)
        buckets_close(t->buckets);
    if (t->local)
        local_close(t->local);
}

int role_target(int argc, char **argv)
{
    static const struct role_kind kind = {settings_check_target, target_open, target_serving, target_leave,
                                          target_close};
    struct target t = {.local = NULL};

    return role_main(&t.role, &kind, argc, argv);
}
