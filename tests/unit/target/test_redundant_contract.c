#include "redundant_kit.h"
#include "store_contract.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/shard.h"

/* The whole contract on a gateway's shard over four nodes that keep three copies. */

/* ---- every bucket of the suite keeps copies ---- */

struct wide {
    struct store store;
    struct store *shard;
};

#define WIDE(m, arena_, ...)                                                                                           \
    static void wide_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)              \
    {                                                                                                                  \
        const struct redundancy copies = {REDUNDANCY_REPLICAS, 3, 0};                                                  \
        struct m##_req *own = ARENA_NEW(req->arena_, struct m##_req);                                                  \
        *own = *req;                                                                                                   \
        __VA_ARGS__;                                                                                                   \
        store_##m(CONTAINER(s, struct wide, store)->shard, own, res, c);                                               \
    }
#define BUCKET own->bucket.redundancy = copies
WIDE(obj_head, arena, BUCKET)
WIDE(obj_get, head.arena, own->head.bucket.redundancy = copies)
WIDE(obj_put, arena, BUCKET)
WIDE(obj_delete, arena, BUCKET)
WIDE(obj_copy, arena, BUCKET; own->src_bucket.redundancy = copies)
WIDE(obj_list, arena, BUCKET)
WIDE(upload_create, arena, BUCKET)
WIDE(upload_part, arena, BUCKET)
WIDE(upload_complete, arena, BUCKET)
WIDE(upload_abort, arena, BUCKET)
WIDE(upload_list, arena, BUCKET)
WIDE(part_list, arena, BUCKET)
WIDE(bucket_purge, arena, BUCKET)

static void close_wide(struct store *s)
{
    struct wide *w = CONTAINER(s, struct wide, store);

    store_close(w->shard);
    free(w);
}

/* ---- what the shard's gateway reaches ---- */

struct way {
    struct store store;
    struct store *to;
};

#define M(m)                                                                                                           \
    static void way_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)               \
    {                                                                                                                  \
        store_##m(CONTAINER(s, struct way, store)->to, req, res, c);                                                   \
    }
STORE_METHODS(M)
#undef M

static void close_way(struct store *s)
{
    free(CONTAINER(s, struct way, store));
}

static struct store *way_to(void *arg, struct str id)
{
    static const struct store_ops ops = {.name = "way",
#define M(m) .m = way_##m,
                                         STORE_METHODS(M)
#undef M
                                             .close = close_way};
    struct way *w = NEW(struct way);

    (void)arg;
    w->store = (struct store){.ops = &ops, .loop = red.loop};
    w->to = red_node(id)->serves;
    return &w->store;
}

static struct store *open_store(struct contract_env *env)
{
    static const struct store_ops ops = {.name = "wide",
                                         .obj_head = wide_obj_head,
                                         .obj_get = wide_obj_get,
                                         .obj_put = wide_obj_put,
                                         .obj_delete = wide_obj_delete,
                                         .obj_copy = wide_obj_copy,
                                         .obj_list = wide_obj_list,
                                         .upload_create = wide_upload_create,
                                         .upload_part = wide_upload_part,
                                         .upload_complete = wide_upload_complete,
                                         .upload_abort = wide_upload_abort,
                                         .upload_list = wide_upload_list,
                                         .part_list = wide_part_list,
                                         .bucket_purge = wide_bucket_purge,
                                         .close = close_wide};
    struct wide *w = NEW(struct wide);

    red_open(env->loop, 4, 4, (struct redundancy){REDUNDANCY_REPLICAS, 3, 0}, 1);
    for (unsigned i = 0; i < red.count; i++)
        redundant_clean(red.nodes[i].redundant, red.newest->term);
    w->store = (struct store){.ops = &ops, .loop = env->loop};
    w->shard = shard_store_new(
        &(struct shard_env){.remote = {.loop = env->loop, .members = &red.nodes[0].members}, .node_store = way_to});
    return &w->store;
}

static void close_store(struct contract_env *env, struct store *s)
{
    (void)env;
    store_close(s);
    red_close();
}

int main(void)
{
    struct loop *loop = loop_new();
    struct contract_env env = {.name = "redundant",
                               .loop = loop,
                               .open = open_store,
                               .close = close_store,
                               .skip = CONTRACT_NO_GATE | CONTRACT_NO_IMPORT,
                               .copies = 3};

    hash_setup();
    log_setup(LOG_WARN, false);
    loop_adopt(loop);
    int failed = store_contract_run(&env);
    loop_free(loop);
    return failed;
}
