#include "redundant_kit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

struct red_test red;
static const struct map *maps[20000]; /* by epoch */

uint64_t red_random(uint64_t below)
{
    uint64_t *s = &red.seed;

    *s ^= *s << 13, *s ^= *s >> 7, *s ^= *s << 17;
    return (*s >> 11) % below;
}

struct red_test_node *red_node(struct str id)
{
    for (unsigned i = 0; i < red.count; i++)
        if (memcmp(red.nodes[i].id, id.p, NODE_ID_LEN) == 0)
            return &red.nodes[i];
    return NULL;
}

struct red_test_node *red_at(uint16_t position)
{
    return red_node(red.newest->nodes[position].id);
}

/* ---- members.h ---- */

const struct map *members_map(struct members *m)
{
    return map_hold(m->map);
}

bool members_alive(struct members *m, struct str id)
{
    (void)m;
    return red_node(id)->alive;
}

bool members_confirmed(struct members *m)
{
    return m->node->confirmed;
}

enum err members_fence(struct members *m, uint64_t epoch, const struct map **out)
{
    if (epoch < m->map->epoch || epoch < m->fence)
        return ERR_STALE_EPOCH;
    m->fence = epoch;
    if (epoch > m->map->epoch)
        return ERR_UNAVAILABLE;
    *out = map_hold(m->map);
    return ERR_OK;
}

static void learn(struct red_test_node *n, const struct map *map)
{
    if (n->members.map->epoch >= map->epoch)
        return;
    map_release(n->members.map);
    n->members.map = map_hold(map);
}

/* ---- the switch ---- */

struct hop {
    struct call call;
    struct call *whole;
    struct red_test_node *from, *to; /* from NULL: a client */
    uint64_t epoch;
    red_ask_fn *ask;
    const void *req;
    void *res;
    struct source **body;
    struct post post;
    unsigned turns;
    enum err err;
};
struct handle {
    struct store store;
    struct red_test_node *from, *to;
    uint64_t at;
};

static bool is_parted(const struct hop *h)
{
    return h->from && h->from != h->to && (h->from->cut || h->to->cut);
}

static void hop_done(struct call *c)
{
    struct hop *h = CONTAINER(c, struct hop, call);
    enum err e = c->err;

    if (h->to->lost && e == ERR_OK) {
        h->to->lost--;
        e = ERR_UNAVAILABLE;
    }
    if (is_parted(h))
        e = ERR_UNAVAILABLE;
    if (e != ERR_OK && c->err == ERR_OK && h->body) { /* it was there */
        source_close(*h->body);
        *h->body = NULL;
    }
    if (e == ERR_STALE_EPOCH && h->from && !h->from->cut)
        learn(h->from, h->to->members.map);
    call_finish(h->whole, e);
}

static enum err hop_fence(struct hop *h)
{
    const struct map *map = NULL;
    enum err e = members_fence(&h->to->members, h->epoch, &map);

    if (e == ERR_UNAVAILABLE && !h->to->cut) {
        learn(h->to, red.newest);
        e = members_fence(&h->to->members, h->epoch, &map);
    }
    map_release(map);
    return e;
}

static void hop_cancel(void *arg)
{
    call_cancel(&((struct hop *)arg)->call);
}

static void hop_run(struct post *p)
{
    struct hop *h = CONTAINER(p, struct hop, post);
    enum err e = ERR_OK;

    if (h->turns > 0) {
        h->turns--;
        loop_defer(red.loop, &h->post);
        return;
    }
    call_begin(&h->call, red.loop, hop_done);
    if (is_parted(h))
        e = ERR_UNAVAILABLE;
    else if (h->from && h->to->refuse)
        h->to->refuse--, e = ERR_UNAVAILABLE;
    else
        e = hop_fence(h);
    if (e != ERR_OK) {
        call_finish(&h->call, e);
        return;
    }
    if (h->from) {
        h->to->calls++;
        redundant_member_at(h->to->member, h->epoch);
    }
    h->ask(h->from ? h->to->member : h->to->serves, h->req, h->res, &h->call);
    call_on_cancel(h->whole, hop_cancel, h);
}

#define M(m)                                                                                                           \
    void red_ask_##m(struct store *s, const void *req, void *res, struct call *c)                                      \
    {                                                                                                                  \
        store_##m(s, req, res, c);                                                                                     \
    }
STORE_METHODS(M)
#undef M

static void hop(struct hop what)
{
    struct hop *h = ARENA_NEW(*(struct arena *const *)what.req, struct hop);

    *h = what;
    if (h->ask == red_ask_obj_get)
        h->body = &((struct obj_get_res *)h->res)->body;
    h->turns = red.delays ? (unsigned)red_random(RED_TURNS) : 0;
    h->post.fn = hop_run;
    loop_defer(red.loop, &h->post);
}

void red_hop(struct red_test_node *to, const struct map *map, red_ask_fn *ask, const void *req, void *res,
             struct call *c)
{
    hop((struct hop){.whole = c, .to = to, .epoch = map->epoch, .ask = ask, .req = req, .res = res});
}

/* ---- remote.h ---- */

#define M(m)                                                                                                           \
    static void hop_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)               \
    {                                                                                                                  \
        struct handle *h = CONTAINER(s, struct handle, store);                                                         \
        uint64_t epoch = h->at ? h->at : h->from->members.map->epoch;                                                  \
        hop((struct hop){                                                                                              \
            .whole = c, .from = h->from, .to = h->to, .epoch = epoch, .ask = red_ask_##m, .req = req, .res = res});    \
    }
STORE_METHODS(M)
#undef M

static void handle_close(struct store *s)
{
    free(CONTAINER(s, struct handle, store));
}

struct store *remote_store_new(const struct remote_env *env, struct str id)
{
    static const struct store_ops ops = {.name = "hop",
#define M(m) .m = hop_##m,
                                         STORE_METHODS(M)
#undef M
                                             .close = handle_close};
    struct handle *h = NEW(struct handle);

    assert_true(env->member);
    h->from = env->members->node;
    h->to = red_node(id);
    h->store = (struct store){.ops = &ops, .loop = red.loop};
    return &h->store;
}

void remote_store_at(struct store *s, uint64_t epoch)
{
    CONTAINER(s, struct handle, store)->at = epoch;
}

/* ---- a disk that can be held ---- */

struct slow {
    struct post post;
    struct red_test_node *node;
    red_ask_fn *ask;
    const void *req;
    void *res;
    struct call *whole;
    /* a gate that is held behind the true one */
    struct commit_gate gate, *inner;
    struct call entered;
    struct call *visit;
};

static void slow_gate_wait(struct post *p)
{
    struct slow *s = CONTAINER(p, struct slow, post);

    if (s->node->hold_gates) {
        loop_defer(red.loop, &s->post);
        return;
    }
    s->node->gates--;
    call_finish(s->visit, s->entered.err);
}

static void slow_entered(struct call *c)
{
    struct slow *s = CONTAINER(c, struct slow, entered);

    s->node->gates++;
    s->post.fn = slow_gate_wait;
    loop_defer(red.loop, &s->post);
}

static void slow_cancel(void *arg)
{
    call_cancel(&((struct slow *)arg)->entered);
}

static void slow_enter(struct commit_gate *gate, struct gate_visit *v, struct call *c)
{
    struct slow *s = CONTAINER(gate, struct slow, gate);

    s->visit = c;
    call_begin(&s->entered, red.loop, slow_entered);
    s->inner->enter(s->inner, v, &s->entered);
    call_on_cancel(c, slow_cancel, s);
}

static void slow_run(struct post *p)
{
    struct slow *s = CONTAINER(p, struct slow, post);

    if (s->node->held)
        loop_defer(red.loop, &s->post);
    else
        s->ask(s->node->memory, s->req, s->res, s->whole);
}

static struct slow *slow_new(struct store *store, red_ask_fn *ask, const void *req, void *res, struct call *c)
{
    struct slow *s = ARENA_NEW(*(struct arena *const *)req, struct slow);

    *s = (struct slow){.post.fn = slow_run,
                       .node = CONTAINER(store, struct red_test_node, slow),
                       .ask = ask,
                       .req = req,
                       .res = res,
                       .whole = c};
    return s;
}

#define M(m)                                                                                                           \
    static void slow_##m(struct store *store, const struct m##_req *req, struct m##_res *res, struct call *c)          \
    {                                                                                                                  \
        struct slow *s = slow_new(store, red_ask_##m, req, res, c);                                                    \
        loop_defer(red.loop, &s->post);                                                                                \
    }
/* clang-format off */
M(obj_head) M(obj_get) M(obj_delete) M(obj_import) M(obj_list) M(upload_create) M(upload_part) M(upload_abort)
M(upload_list) M(part_list) M(bucket_purge)
/* clang-format on */
#undef M
#define M(m)                                                                                                           \
    static void slow_##m(struct store *store, const struct m##_req *req, struct m##_res *res, struct call *c)          \
    {                                                                                                                  \
        struct m##_req *own = ARENA_NEW(req->arena, struct m##_req);                                                   \
        struct slow *s = slow_new(store, red_ask_##m, req, res, c);                                                    \
        *own = *req;                                                                                                   \
        s->req = own;                                                                                                  \
        s->inner = own->gate;                                                                                          \
        s->gate.enter = slow_enter;                                                                                    \
        own->gate = s->inner ? &s->gate : NULL;                                                                        \
        loop_defer(red.loop, &s->post);                                                                                \
    }
    /* clang-format off */
M(obj_put) M(obj_copy) M(obj_splice) M(upload_complete)
/* clang-format on */
#undef M

        static const struct store_ops slow_ops = {.name = "slow",
#define M(m) .m = slow_##m,
                                                  STORE_METHODS(M)
#undef M
};

/* ---- maps ---- */

void red_publish(const struct map *map)
{
    assert_true(map->epoch < sizeof(maps) / sizeof(maps[0]));
    maps[map->epoch] = map;
    red.newest = map;
}

void red_learn(struct red_test_node *n)
{
    learn(n, red.newest);
}

void red_learn_all(void)
{
    for (unsigned i = 0; i < red.count; i++)
        if (!red.nodes[i].cut)
            red_learn(&red.nodes[i]);
}

bool red_out(struct red_test_node *n)
{
    const struct map *next;
    enum err e;

    n->alive = n->confirmed = false;
    e = map_set_sync(red.newest, str_z(n->id), SYNC_OUT, &next);
    if (e == ERR_OK)
        red_publish(next);
    return e == ERR_OK || e == ERR_EXISTS;
}

/* It learns the map before it trusts its lease. */
void red_back(struct red_test_node *n)
{
    const struct map *next;

    n->cut = false;
    n->alive = true;
    red_learn(n);
    n->confirmed = true;
    if (map_set_sync(red.newest, str_z(n->id), SYNC_CATCHING, &next) == ERR_OK) {
        red_publish(next);
        red_learn(n);
    }
}

void red_add(unsigned node)
{
    struct map_node n = {.id = str_z(red.nodes[node].id), .address = STR("127.0.0.1:1"), .weight = 100};
    const struct map *next;

    assert_string_equal(err_name(map_add(red.newest, &n, &next)), "OK");
    red_publish(next);
    red_learn(&red.nodes[node]);
    red.nodes[node].alive = red.nodes[node].confirmed = true;
    red.nodes[node].cut = false;
}

struct map_members red_members(struct str key)
{
    struct map_members s;

    map_members(red.newest, red.bucket.uid, key, redundancy_width(red.bucket.redundancy), &s);
    return s;
}

struct red_test_node *red_lead(struct str key)
{
    struct map_members s = red_members(key);

    assert_true(s.lead >= 0);
    return red_at(s.nodes[s.lead]);
}

/* ---- life ---- */

static void node_open(struct red_test_node *n)
{
    struct redundant_env env;

    n->members = (struct members){.map = map_hold(red.newest), .node = n};
    n->memory = memstore_new(red.loop);
    n->slow = (struct store){.ops = &slow_ops, .loop = red.loop};
    n->redundant = redundant_new(&n->members, str_z(n->id));
    env = (struct redundant_env){
        .mine = &n->slow, .single = n->memory, .remote = {.loop = red.loop, .members = &n->members}};
    n->serves = redundant_store(n->redundant, &env);
    env.single = NULL;
    n->member = redundant_member(n->redundant, &env);
}

void red_open(struct loop *loop, unsigned nodes, unsigned in_map, struct redundancy r, uint64_t seed)
{
    const struct map *next;

    red = (struct red_test){.loop = loop, .count = nodes, .seed = seed * UINT64_C(0x9e3779b97f4a7c15) + 1};
    red.bucket = (struct bucket_id){.uid = 7, .name = STR("b"), .redundancy = r};
    red_publish(map_none());
    for (unsigned i = 0; i < nodes; i++)
        snprintf(red.nodes[i].id, sizeof(red.nodes[i].id), "%0*u", NODE_ID_LEN, i + 1);
    for (unsigned i = 0; i < in_map; i++) {
        struct map_node n = {.id = str_z(red.nodes[i].id), .address = STR("127.0.0.1:1"), .weight = 100};
        assert_string_equal(err_name(map_gather(red.newest, &n, &next)), "OK");
        red_publish(next);
    }
    assert_string_equal(err_name(map_form(red.newest, &next)), "OK");
    red_publish(next);
    for (unsigned i = 0; i < nodes; i++) {
        node_open(&red.nodes[i]);
        red.nodes[i].alive = red.nodes[i].confirmed = i < in_map;
        red.nodes[i].cut = i >= in_map;
    }
}

void red_close(void)
{
    for (unsigned i = 0; i < red.count; i++) {
        struct red_test_node *n = &red.nodes[i];
        store_close(n->serves);
        store_close(n->member);
        store_close(n->memory);
        redundant_free(n->redundant);
        map_release(n->members.map);
    }
    for (uint64_t e = red.newest->epoch + 1; e-- > 0;)
        map_release(maps[e]);
    red.newest = NULL;
}

/* ---- blocking calls ---- */

static void wait_done(struct call *c)
{
    CONTAINER(c, struct red_wait, call)->done = true;
}

struct call *red_begin(struct red_wait *w)
{
    *w = (struct red_wait){.done = false};
    call_begin(&w->call, red.loop, wait_done);
    return &w->call;
}

enum err red_end(struct red_wait *w)
{
    for (unsigned n = 0; !w->done; n++) {
        loop_turn(red.loop, 0);
        assert_true(n < 2000000); /* it hangs */
    }
    return w->call.err;
}

void red_turns(int n)
{
    while (n-- > 0)
        loop_turn(red.loop, 0);
}

void red_put_start(struct red_put *p, struct red_test_node *at, struct str key, const char *content,
                   const struct cond *cond)
{
    *p = (struct red_put){.body = source_memory(str_z(content), NULL, NULL)};
    p->req = (struct obj_put_req){.arena = &p->arena,
                                  .bucket = red.bucket,
                                  .key = key,
                                  .cond = COND_INIT,
                                  .body = p->body,
                                  .check = &p->check,
                                  .size_max = 1 << 20};
    if (cond)
        p->req.cond = *cond;
    at = at ? at : red_lead(key);
    red_hop(at, at->members.map, red_ask_obj_put, &p->req, &p->res, red_begin(&p->wait));
}

enum err red_put_end(struct red_put *p)
{
    enum err e = red_end(&p->wait);

    source_close(p->body);
    arena_release(&p->arena);
    return e;
}

enum err red_put(struct red_test_node *at, struct str key, const char *content)
{
    struct red_put p;

    red_put_start(&p, at, key, content, NULL);
    return red_put_end(&p);
}

enum err red_delete(struct red_test_node *at, struct str key)
{
    struct arena arena = ARENA_INIT;
    struct obj_delete_req req = {.arena = &arena, .bucket = red.bucket, .key = key, .cond = COND_INIT};
    struct obj_delete_res res;
    struct red_wait w;

    at = at ? at : red_lead(key);
    red_hop(at, at->members.map, red_ask_obj_delete, &req, &res, red_begin(&w));
    enum err e = red_end(&w);
    arena_release(&arena);
    return e;
}

static const char *text_of(enum err e, struct source *body)
{
    static char text[64];
    struct source_fill fill;
    struct red_wait w;
    size_t n = 0;

    if (e == ERR_OK) {
        source_fill(&fill, body, text, sizeof(text) - 1, &n, red_begin(&w));
        e = red_end(&w);
        source_close(body);
        text[n] = 0;
    }
    if (e == ERR_NO_SUCH_KEY)
        return "";
    if (e != ERR_OK)
        snprintf(text, sizeof(text), "!%s", err_name(e));
    return text;
}

const char *red_get(struct red_test_node *at, struct str key)
{
    struct arena arena = ARENA_INIT;
    struct obj_get_req req = {{.arena = &arena, .bucket = red.bucket, .key = key, .cond = COND_INIT}};
    struct obj_get_res res = {0};
    struct red_wait w;

    at = at ? at : red_lead(key);
    red_hop(at, at->members.map, red_ask_obj_get, &req, &res, red_begin(&w));
    enum err e = red_end(&w);
    const char *text = text_of(e, res.body);
    arena_release(&arena);
    return text;
}

const char *red_has(struct red_test_node *n, struct str key)
{
    struct arena arena = ARENA_INIT;
    struct obj_get_req req = {{.arena = &arena, .bucket = red.bucket, .key = key, .cond = COND_INIT}};
    struct obj_get_res res = {0};
    struct red_wait w;

    store_obj_get(n->memory, &req, &res, red_begin(&w));
    enum err e = red_end(&w);
    const char *text = text_of(e, res.body);
    arena_release(&arena);
    return text;
}

enum err red_settle(struct red_test_node *at, struct str key)
{
    struct arena arena = ARENA_INIT;
    struct redundant_settle_req req = {.arena = &arena, .bucket = red.bucket, .key = key};
    struct redundant_settle_res res;
    struct red_wait w;

    redundant_settle(at->serves, &req, &res, red_begin(&w));
    enum err e = red_end(&w);
    arena_release(&arena);
    return e;
}

bool red_scan(const struct str *keys, unsigned n)
{
    const struct map *next;

    red_learn_all();
    for (unsigned i = 0; i < red.count; i++)
        for (unsigned k = 0; k < n && !red.nodes[i].cut; k++)
            if (red_settle(&red.nodes[i], keys[k]) != ERR_OK)
                return false;
    for (unsigned i = 0; i < red.count; i++)
        if (!red.nodes[i].cut)
            redundant_clean(red.nodes[i].redundant, red.newest->term);
    if (map_settled(red.newest, &next) == ERR_OK)
        red_publish(next);
    red_learn_all();
    return true;
}
