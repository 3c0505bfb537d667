/* `sluice serve`: a whole server in one process, gateway and target side by side, with nothing else installed. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/bucket.h"
#include "cli/identity.h"
#include "role_jobs.h"
#include "role_s3.h"

struct serve {
    struct role role;
    struct str id; /* of this machine, kept in its first data directory */
    struct local *local;
    struct meta *meta;
    struct role_s3 s3;
    struct role_etl etl;
    struct role_stores_env stores;
    struct role_jobs jobs;
};

/* One loop's part. */
struct lane {
    struct role_stores stores;
    struct arcs *arcs;
    struct gateway *gateway;
};

static void *lane_open(void *arg, struct loop *loop, struct control *control, struct http_handler **handler)
{
    struct serve *v = arg;
    struct lane *l = NEW(struct lane);

    role_stores_open(&l->stores, &v->stores, loop);
    l->arcs = role_s3_arcs(&v->s3, &v->role, loop, l->stores.all);
    l->gateway = role_s3_gateway(&v->s3, &v->role, loop, l->arcs, l->stores.door, control);
    *handler = gateway_handler(l->gateway);
    return l;
}

static void lane_close(void *lane)
{
    struct lane *l = lane;

    gateway_free(l->gateway);
    arcs_free(l->arcs);
    role_stores_close(&l->stores);
    free(l);
}

static enum err open_data(struct serve *v, char why[ROLE_WHY_MAX])
{
    struct role *r = &v->role;
    struct local_conf conf = r->settings.store;
    struct str meta = arena_printf(&r->arena, STR_FMT "/meta", STR_ARG(r->settings.data.items[0]));
    enum err e;

    conf.mountpaths = r->settings.data.items;
    conf.mountpath_count = r->settings.data.count;
    conf.io = r->io;
    conf.cpu = r->cpu;
    if ((e = role_read_keys(r, &conf.keys, why)) != ERR_OK)
        return e;
    if ((e = local_open(&conf, &v->local, why)) != ERR_OK ||
        (e = identity_get(&r->arena, r->settings.data.items[0], &v->id, why)) != ERR_OK)
        return e;
    if ((e = meta_local_open(meta, r->io, &v->meta)) != ERR_OK)
        snprintf(why, ROLE_WHY_MAX, STR_FMT ": cannot open the bucket records (%s)", STR_ARG(meta), err_name(e));
    return e;
}

static enum err redundancy_fits(void *arg, struct redundancy r, char why[S3_WHY_MAX])
{
    return bucket_fits_machine(((struct serve *)arg)->role.settings.data.count, r, why);
}

static size_t sidecar_nodes(void *arg, struct arena *arena, const struct str **ids)
{
    *ids = &((const struct serve *)arg)->id;
    (void)arena;
    return 1;
}

/* ETLs, then the jobs that may use them. */
static enum err open_work(struct serve *v, char why[ROLE_WHY_MAX])
{
    struct role *r = &v->role;
    enum err e;

    v->stores = (struct role_stores_env){.role = r,
                                         .local = v->local,
                                         .backends = v->s3.backends,
                                         .buckets = v->s3.buckets,
                                         .archives = v->s3.archives,
                                         .etl = &v->etl,
                                         .announcer = role_notify_announcer(&v->s3.notify),
                                         .quotas = v->s3.quotas};
    if ((e = role_etl_open(&v->etl, r, v->meta, v->s3.buckets, why)) != ERR_OK ||
        (e = role_etl_run(&v->etl, &v->stores, v->s3.buckets, v->id, why)) != ERR_OK)
        return e;
    v->etl.native.nodes = sidecar_nodes;
    v->etl.native.arg = v;
    v->s3.etl = &v->etl.native;
    v->s3.etl_names = v->etl.names;
    return role_jobs_open(&v->jobs, &(struct role_jobs_env){&v->stores, v->id, v->meta, v->s3.buckets, v->s3.confs},
                          why);
}

static enum err serve_open(struct role *r, char why[ROLE_WHY_MAX])
{
    struct serve *v = CONTAINER(r, struct serve, role);
    const struct front_role role = {lane_open, lane_close, v};
    enum err e;

    if ((e = open_data(v, why)) != ERR_OK ||
        (e = role_s3_open(&v->s3, r, v->meta, r->settings.data.items[0], why)) != ERR_OK ||
        (e = open_work(v, why)) != ERR_OK)
        return e;
    v->s3.conf.redundancy_fits = redundancy_fits;
    v->s3.conf.redundancy_arg = v;
    return role_s3_listen(r, &role, &(struct control_role){0}, why);
}

static void serve_serving(const struct role *r)
{
    role_s3_tell(&((const struct serve *)r)->s3, r);
}

static void serve_close(struct role *r)
{
    struct serve *v = CONTAINER(r, struct serve, role);

    role_jobs_close(&v->jobs);
    role_etl_stop(&v->etl);
    if (v->meta)
        meta_close(v->meta);
    role_etl_close(&v->etl);
    role_s3_close(&v->s3);
    if (v->local)
        local_close(v->local);
}

int role_serve(int argc, char **argv)
{
    static const struct role_kind kind = {settings_check_serve, serve_open, serve_serving, NULL, serve_close};
    struct serve v = {.local = NULL};

    return role_main(&v.role, &kind, argc, argv);
}
