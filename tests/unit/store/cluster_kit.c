#include "cluster_kit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

struct cluster cluster;

uint64_t cluster_random(uint64_t below)
{
    uint64_t x = cluster.random;

    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    cluster.random = x;
    return (x >> 11) % below;
}

/* ---- a node as the shard sees it ---- */

struct handle {
    struct store store;
    struct cluster_node *node;
};

typedef void ask_fn(struct store *, const void *req, void *res, struct call *);

/* A call on its way. */
struct hop {
    struct call call;
    struct call *whole;
    struct cluster_node *node;
    ask_fn *ask;
    const void *req;
    void *res;
    struct post post;
    unsigned turns;
};

static enum err node_fail(struct cluster_node *n)
{
    enum err e = n->fail;

    if (n->fail_times && --n->fail_times == 0)
        n->fail = ERR_OK;
    return e;
}

static void hop_done(struct call *c)
{
    struct hop *h = CONTAINER(c, struct hop, call);

    call_finish(h->whole, c->err == ERR_OK && h->node->fail_after ? node_fail(h->node) : c->err);
}

static void hop_cancel(void *arg)
{
    call_cancel(&((struct hop *)arg)->call);
}

static void hop_run(struct post *p)
{
    struct hop *h = CONTAINER(p, struct hop, post);
    struct cluster_node *n = h->node;

    if (h->turns-- > 0) {
        loop_post(cluster.loop, &h->post); /* the next turn's */
        return;
    }
    if (cluster.on_call)
        cluster.on_call(n);
    n->calls++;
    if (h->whole->cancelled || n->stale || (n->fail != ERR_OK && !n->fail_after)) {
        call_finish(h->whole, h->whole->cancelled ? ERR_CANCELLED : n->stale ? ERR_STALE_EPOCH : node_fail(n));
        n->stale -= n->stale > 0;
        return;
    }
    call_begin(&h->call, cluster.loop, hop_done);
    call_on_cancel(h->whole, hop_cancel, h);
    h->ask(n->memory, h->req, h->res, &h->call);
}

static void hop(struct store *s, ask_fn *ask, const void *req, void *res, struct call *c, struct arena *arena)
{
    struct hop *h = ARENA_NEW(arena, struct hop);

    *h = (struct hop){.whole = c, .node = CONTAINER(s, struct handle, store)->node, .ask = ask, .req = req, .res = res};
    h->turns = h->node->turns ? (unsigned)cluster_random(h->node->turns + 1) : 0;
    h->post.fn = hop_run;
    loop_defer(cluster.loop, &h->post);
}

/* The arena comes first in every request. */
#define M(m)                                                                                                           \
    static void ask_##m(struct store *s, const void *req, void *res, struct call *c)                                   \
    {                                                                                                                  \
        store_##m(s, req, res, c);                                                                                     \
    }                                                                                                                  \
    static void hop_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)               \
    {                                                                                                                  \
        hop(s, ask_##m, req, res, c, *(struct arena *const *)(const void *)req);                                       \
    }
STORE_METHODS(M)
#undef M

static void count_obj_list(struct store *s, const struct obj_list_req *req, struct obj_list_res *res, struct call *c)
{
    struct cluster_node *n = CONTAINER(s, struct handle, store)->node;

    n->lists++;
    n->asked += req->max;
    hop_obj_list(s, req, res, c);
}

static void handle_close(struct store *s)
{
    struct handle *h = CONTAINER(s, struct handle, store);

    h->node->handles--;
    free(h);
}

struct store *cluster_node_store(void *arg, struct str id)
{
    static struct store_ops ops = {
        .name = "node",
#define M(m) .m = hop_##m,
        STORE_METHODS(M)
#undef M
            .close = handle_close,
    };
    struct handle *h = NEW(struct handle);

    (void)arg;
    ops.obj_list = count_obj_list;
    for (unsigned i = 0; i < cluster.count; i++)
        if (str_eq(id, str_z(cluster.nodes[i].id)))
            h->node = &cluster.nodes[i];
    assert_non_null(h->node);
    h->node->handles++;
    h->store = (struct store){.ops = &ops, .loop = cluster.loop};
    return &h->store;
}

/* ---- the cluster ---- */

void cluster_open(struct loop *loop, unsigned nodes, unsigned in_map)
{
    cluster = (struct cluster){.loop = loop, .count = nodes, .random = 88172645463325252u};
    for (unsigned i = 0; i < nodes; i++) {
        struct cluster_node *n = &cluster.nodes[i];
        snprintf(n->id, sizeof(n->id), "%0*u", NODE_ID_LEN, i + 1);
        n->memory = memstore_new(loop);
        n->weight = i < in_map ? 100 : 0;
        n->alive = true;
    }
    cluster_remap();
}

void cluster_move_begin(void)
{
    for (unsigned i = 0; i < cluster.count; i++)
        cluster.nodes[i].weight_before = cluster.nodes[i].weight;
}

void cluster_move_end(void)
{
    for (unsigned i = 0; i < cluster.count; i++)
        cluster.nodes[i].weight_before = 0;
    cluster_remap();
}

struct store *cluster_shard(void)
{
    struct shard_env env = {.remote = {.loop = cluster.loop}, .node_store = cluster_node_store};

    return shard_store_new(&env);
}

struct membucket *cluster_bucket(struct cluster_node *n, struct bucket_id bucket)
{
    return memstore_bucket(MEMSTORE(n->memory), bucket.uid);
}
