#include "shard.h"

#include <stdlib.h>

#include "base/log.h"
#include "store/shard_own.h"

enum { LOG_EVERY_S = 10 };

/* ---- the nodes ---- */

static void node_free(struct shard_node *n)
{
    if (!n->is_mine)
        store_close(n->store);
    free(n);
}

static void node_leave(struct shard_node *n)
{
    n->gone = true;
    if (n->users == 0)
        node_free(n);
}

void shard_node_done(struct shard_node *n)
{
    if (--n->users == 0 && n->gone)
        node_free(n);
}

/* Takes `map`. Those who stay keep their stores. */
static void follow(struct shard *s, const struct map *map)
{
    struct shard_node **nodes = mem_new((map->node_count + 1) * sizeof(struct shard_node *));

    for (uint16_t i = 0; s->map && i < s->map->node_count; i++) {
        int at = map_find(map, s->map->nodes[i].id);
        if (!s->nodes[i])
            continue;
        if (at >= 0)
            nodes[at] = s->nodes[i];
        else
            node_leave(s->nodes[i]);
    }
    free(s->nodes);
    map_release(s->map);
    s->nodes = nodes;
    s->map = map;
}

const struct map *shard_map(struct shard *s)
{
    const struct map *newest = members_map(s->env.remote.members);

    if (newest == s->map)
        map_release(newest);
    else
        follow(s, newest);
    return s->map;
}

bool shard_map_changed(struct shard *s, uint64_t epoch)
{
    return shard_map(s)->epoch != epoch;
}

bool shard_try_again(struct shard *s, uint64_t epoch, enum err e)
{
    return e == ERR_STALE_EPOCH || (e == ERR_UNAVAILABLE && shard_map_changed(s, epoch));
}

static struct shard_node *node_new(struct shard *s, struct str id)
{
    struct shard_node *n = NEW(struct shard_node);

    n->is_mine = s->env.mine && str_eq(id, s->env.self);
    if (n->is_mine) {
        n->store = s->env.mine;
    } else if (s->env.node_store) {
        n->store = s->env.node_store(s->env.node_store_arg, id);
    } else {
        n->store = remote_store_new(&s->env.remote, id);
        n->carries_epoch = true;
    }
    return n;
}

/* Whether it is time to say something again that was last said then. */
static bool is_time(const struct shard *s, uint64_t *logged_ns)
{
    uint64_t now = loop_now_ns(s->store.loop);

    if (*logged_ns && now - *logged_ns < (uint64_t)LOG_EVERY_S * 1000000000)
        return false;
    *logged_ns = now;
    return true;
}

enum err shard_no_nodes(struct shard *s)
{
    if (is_time(s, &s->logged_ns))
        log_warn(STR_NONE, "no target has joined", "epoch=%llu", (unsigned long long)s->map->epoch);
    return ERR_UNAVAILABLE;
}

static enum err refuse(struct shard *s, struct shard_node *n, const struct map_node *node)
{
    n->unsaid++;
    if (!is_time(s, &n->logged_ns))
        return ERR_UNAVAILABLE;
    log_warn(STR_NONE, "target is not available", "target=" STR_FMT " reason=%s calls=%llu", STR_ARG(node->id),
             node->state == NODE_MAINTENANCE ? "maintenance" : "silent", (unsigned long long)n->unsaid);
    n->unsaid = 0;
    return ERR_UNAVAILABLE;
}

static bool is_self(const struct shard *s, const struct map_node *node)
{
    return s->env.mine && str_eq(node->id, s->env.self);
}

bool shard_node_usable(const struct shard *s, uint16_t at)
{
    const struct map_node *node = &s->map->nodes[at];

    return node->state != NODE_MAINTENANCE && (is_self(s, node) || members_alive(s->env.remote.members, node->id));
}

enum err shard_node_use(struct shard *s, uint16_t at, struct shard_node **out)
{
    const struct map_node *node = &s->map->nodes[at];
    struct shard_node *n = s->nodes[at];

    if (!n)
        n = s->nodes[at] = node_new(s, node->id);
    if (!shard_node_usable(s, at))
        return refuse(s, n, node);
    n->users++;
    *out = n;
    return ERR_OK;
}

struct store *shard_node_at(struct shard_node *n, uint64_t epoch)
{
    if (n->carries_epoch)
        remote_store_at(n->store, epoch);
    return n->store;
}

size_t shard_parts(struct shard *s, struct arena *arena, struct shard_part **out)
{
    const struct map *m = s->map;
    struct shard_part *parts = arena_new(arena, (m->node_count + 1) * sizeof(*parts));
    size_t n = 0;

    for (uint16_t i = 0; i < m->share_count; i++)
        parts[m->shares[i].node].weight = m->shares[i].weight;
    for (uint16_t i = 0; i < m->previous_count; i++)
        parts[m->previous[i].node].weight_before = m->previous[i].weight;
    for (uint16_t i = 0; i < m->node_count; i++) {
        struct shard_part part = parts[i];
        part.at = i;
        if (part.weight || part.weight_before)
            parts[n++] = part;
    }
    *out = parts;
    return n;
}

/* ---- methods of one key ---- */

typedef void ask_fn(struct store *, const void *req, void *res, struct call *);

struct keyed {
    struct call call;
    struct call *whole;
    struct shard *shard;
    struct shard_node *node; /* NULL: a copy between nodes */
    ask_fn *ask;
    const void *req;
    void *res;
    const struct bucket_id *bucket;
    struct str key;
    const struct obj_copy_req *copy; /* there is a source to be placed, too */
    bool is_read;
    uint64_t epoch;
    unsigned tries;
};

static bool same_redundancy(struct redundancy a, struct redundancy b)
{
    return a.kind == b.kind && a.data == b.data && a.parity == b.parity;
}

/* Whether the content has to go from one node to another, or becomes something else. */
static bool is_between_nodes(const struct keyed *k, uint16_t owner)
{
    const struct obj_copy_req *copy = k->copy;
    uint16_t from;

    if (!copy)
        return false;
    if (!same_redundancy(copy->src_bucket.redundancy, copy->bucket.redundancy))
        return true;
    return shard_lead(k->shard, &copy->src_bucket, copy->src_key, &from) == ERR_OK && from != owner;
}

static enum err keyed_ask(struct keyed *k)
{
    const struct map *m = shard_map(k->shard);
    uint16_t owner;
    enum err e;

    if ((e = shard_lead(k->shard, k->bucket, k->key, &owner)) != ERR_OK)
        return e;
    if (is_between_nodes(k, owner)) {
        k->tries = SHARD_TRIES; /* its halves place themselves */
        store_copy_by_stream(&k->shard->store, k->req, k->res, &k->call);
        return ERR_OK;
    }
    if ((e = shard_node_use(k->shard, owner, &k->node)) != ERR_OK)
        return e;
    k->tries++;
    k->epoch = m->epoch;
    k->ask(shard_node_at(k->node, m->epoch), k->req, k->res, &k->call);
    return ERR_OK;
}

static void keyed_cancel(void *arg)
{
    call_cancel(&((struct keyed *)arg)->call);
}

static void keyed_done(struct call *c);

static void keyed_begin(struct keyed *k)
{
    k->node = NULL;
    call_begin(&k->call, k->whole->loop, keyed_done);
    call_on_cancel(k->whole, keyed_cancel, k);
    enum err e = keyed_ask(k);
    if (e != ERR_OK)
        call_finish(k->whole, e);
}

/* ERR_STALE_EPOCH: the node did nothing and nothing of a body was taken (remote.h), so that another may be asked. So it may for a read from
 * a node that went silent, when others have its keys by now. */
static bool may_ask_again(const struct keyed *k, enum err e)
{
    if (k->tries >= SHARD_TRIES || k->whole->cancelled)
        return false;
    return e == ERR_STALE_EPOCH || (k->is_read && k->node && shard_try_again(k->shard, k->epoch, e));
}

static void keyed_done(struct call *c)
{
    struct keyed *k = CONTAINER(c, struct keyed, call);

    if (k->node)
        shard_node_done(k->node);
    if (may_ask_again(k, c->err))
        keyed_begin(k);
    else
        call_finish(k->whole, c->err);
}

static void keyed_start(struct store *s, ask_fn *ask, const struct keyed *what, struct arena *arena)
{
    struct keyed *k = ARENA_NEW(arena, struct keyed);

    *k = *what;
    k->shard = SHARD(s);
    k->ask = ask;
    keyed_begin(k);
}

/* All methods of a key look alike but for the place of the key in the request. */
#define KEYED(m, at, read)                                                                                             \
    static void ask_##m(struct store *s, const void *req, void *res, struct call *c)                                   \
    {                                                                                                                  \
        store_##m(s, req, res, c);                                                                                     \
    }                                                                                                                  \
    static void shard_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)             \
    {                                                                                                                  \
        keyed_start(                                                                                                   \
            s, ask_##m,                                                                                                \
            &(struct keyed){                                                                                           \
                .whole = c, .req = req, .res = res, .bucket = &req->at bucket, .key = req->at key, .is_read = read},   \
            req->at arena);                                                                                            \
    }
#define HERE
KEYED(obj_head, HERE, true)
KEYED(obj_get, head., true)
KEYED(obj_put, HERE, false)
KEYED(obj_delete, HERE, false)
KEYED(obj_import, HERE, false)
KEYED(obj_splice, HERE, false)
KEYED(upload_create, HERE, false)
KEYED(upload_part, HERE, false)
KEYED(upload_complete, HERE, false)
KEYED(upload_abort, HERE, false)
KEYED(part_list, HERE, true)

/* ---- copies ---- */

static void ask_obj_copy(struct store *s, const void *req, void *res, struct call *c)
{
    store_obj_copy(s, req, res, c);
}

/* A node copies what is its own at both ends; between nodes the content passes through here. */
static void shard_obj_copy(struct store *s, const struct obj_copy_req *req, struct obj_copy_res *res, struct call *c)
{
    keyed_start(
        s, ask_obj_copy,
        &(struct keyed){.whole = c, .req = req, .res = res, .bucket = &req->bucket, .key = req->key, .copy = req},
        req->arena);
}

/* ---- the store ---- */

static void close_store(struct store *store)
{
    struct shard *s = SHARD(store);

    for (uint16_t i = 0; s->map && i < s->map->node_count; i++)
        if (s->nodes[i])
            node_free(s->nodes[i]);
    free(s->nodes);
    map_release(s->map);
    free((void *)(uintptr_t)s->env.self.p);
    free(s);
}

static const struct store_ops shard_ops = {
    .name = "shard",
    .obj_head = shard_obj_head,
    .obj_get = shard_obj_get,
    .obj_put = shard_obj_put,
    .obj_delete = shard_obj_delete,
    .obj_copy = shard_obj_copy,
    .obj_import = shard_obj_import,
    .obj_splice = shard_obj_splice,
    .obj_list = shard_obj_list,
    .upload_create = shard_upload_create,
    .upload_part = shard_upload_part,
    .upload_complete = shard_upload_complete,
    .upload_abort = shard_upload_abort,
    .upload_list = shard_upload_list,
    .part_list = shard_part_list,
    .bucket_purge = shard_bucket_purge,
    .close = close_store,
};

struct store *shard_store_new(const struct shard_env *env)
{
    struct shard *s = NEW(struct shard);
    char *self = mem_alloc(env->self.n + 1);

    if (env->self.n)
        memcpy(self, env->self.p, env->self.n);
    s->store.ops = &shard_ops;
    s->store.loop = env->remote.loop;
    s->env = *env;
    s->env.self = str_n(self, env->self.n);
    return &s->store;
}
