#include "role_etl.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "role_stores.h"

enum err role_etl_open(struct role_etl *e, struct role *r, struct meta *meta, struct buckets *buckets,
                       char why[ROLE_WHY_MAX])
{
    enum err err = etl_names_open(meta, &e->names);

    if (err != ERR_OK) {
        snprintf(why, ROLE_WHY_MAX, "cannot read the records of ETLs (%s)", err_name(err));
        return err;
    }
    e->views = views_new(buckets, e->names);
    e->native = (struct native_etl){
        .meta = meta, .admins = r->settings.etl_admins.items, .admin_count = r->settings.etl_admins.count};
    return ERR_OK;
}

static enum err open_process(const struct settings *s, struct str dir, struct etl_runtime **out, char why[ETL_WHY_MAX])
{
    const struct etl_process_conf conf = {.dir = dir,
                                          .isolation = s->etl_isolation,
                                          .uid = s->etl_uid,
                                          .gid = s->etl_uid,
                                          .images = s->etl_images.items,
                                          .image_count = s->etl_images.count,
                                          .path = s->etl_path,
                                          .hidden = s->data.items,
                                          .hidden_count = s->data.count,
                                          .memory_max = s->etl_memory_max};

    return etl_process_open(&conf, out, why);
}

static enum err open_kube(const struct settings *s, struct str self, struct str dir, struct etl_runtime **out,
                          char why[ETL_WHY_MAX])
{
    const struct etl_kube_conf conf = {.server = s->kube_server,
                                       .token_file = s->kube_token_file,
                                       .ca_file = s->kube_ca_file,
                                       .namespace = s->kube_namespace,
                                       .node = s->kube_node,
                                       .pod = s->kube_pod,
                                       .address = s->kube_address,
                                       .label = self,
                                       .dir = dir,
                                       .memory_max = s->etl_memory_max,
                                       .user = s->etl_uid};

    return etl_kube_open(&conf, out, why);
}

static enum err open_runtime(struct role *r, struct str self, struct etl_runtime **out, char why[ROLE_WHY_MAX])
{
    const struct settings *s = &r->settings;
    struct str dir = s->etl_dir.n ? s->etl_dir : arena_printf(&r->arena, STR_FMT "/etl", STR_ARG(s->data.items[0]));
    char reason[ETL_WHY_MAX] = "";
    enum err e;

    if (s->etl_runtime == ETL_RUNTIME_DOCKER)
        e = etl_docker_open(
            &(struct etl_docker_conf){.socket = s->etl_docker_socket,
                                      .label = arena_printf(&r->arena, "sluice-" STR_FMT, STR_ARG(s->data.items[0])),
                                      .dir = dir,
                                      .memory_max = s->etl_memory_max},
            out, reason);
    else if (s->etl_runtime == ETL_RUNTIME_KUBERNETES)
        e = open_kube(s, self, dir, out, reason);
    else
        e = open_process(s, dir, out, reason);
    if (e != ERR_OK)
        snprintf(why, ROLE_WHY_MAX, "etl.runtime: %s", reason);
    return e;
}

enum err role_etl_run(struct role_etl *e, const struct role_stores_env *env, struct buckets *buckets, struct str self,
                      char why[ROLE_WHY_MAX])
{
    struct role_stores_env own = *env;
    struct etl_runtime *runtime = NULL;
    struct etls_conf conf;
    char reason[ETL_WHY_MAX] = "";
    enum err err;

    if (env->role->settings.etl_runtime != ETL_RUNTIME_OFF &&
        (err = open_runtime(env->role, self, &runtime, why)) != ERR_OK)
        return err;
    own.etl = NULL; /* what sidecars ask for is what they were handed: never a view */
    e->loop = loop_new();
    e->stores = NEW(struct role_stores);
    role_stores_open(e->stores, &own, e->loop);
    conf = (struct etls_conf){.meta = e->native.meta,
                              .io = env->role->io,
                              .cpu = env->role->cpu,
                              .runtime = runtime,
                              .self = self,
                              .loop = e->loop,
                              .all = e->stores->all,
                              .buckets = buckets};
    if ((err = etls_open(&conf, &e->engine, reason)) != ERR_OK) {
        if (runtime)
            runtime->ops->close(runtime);
        snprintf(why, ROLE_WHY_MAX, "ETLs: %s", reason);
    }
    return err;
}

void role_etl_stop(struct role_etl *e)
{
    if (e->engine)
        etls_close(e->engine);
    e->engine = NULL;
    if (!e->loop)
        return;
    loop_adopt(e->loop); /* whose thread has ended */
    role_stores_close(e->stores);
    free(e->stores);
    loop_free(e->loop);
    e->loop = NULL;
}

void role_etl_close(struct role_etl *e)
{
    views_free(e->views);
    etl_names_free(e->names);
}

struct etl_door *role_etl_door(struct role_etl *e, struct loop *loop, struct store *store)
{
    return e->engine ? etls_lane(e->engine, loop, store) : NULL;
}

struct store *role_etl_views(struct role_etl *e, const struct view_env *env)
{
    struct view_env with = *env;

    with.views = e->views;
    return view_store_new(&with);
}
