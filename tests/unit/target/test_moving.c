/* Keys move between nodes while clients write, read and delete them: no answer may be one that a single store could not give. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/memdata.h"
#include "target/moving.h"

enum { NODES = 3, KEYS = 16, CLIENTS = 8, EVENTS_MAX = 20000 };

/* ---- a cluster in one loop; every node has a view of the map of its own ---- */

struct members {
    const struct map *map;
};
struct node {
    char id[NODE_ID_LEN + 1];
    struct members members;
    struct store *memory, *serves;
    struct moving *moving;
    bool down;
    unsigned lost; /* so many answers get lost */
};
static struct loop *loop;
static struct node nodes[NODES];
static const struct map *newest;
static uint64_t seed, now;
static const struct bucket_id bucket = {7, {"b", 1}};

const struct map *members_map(struct members *m)
{
    return map_hold(m->map);
}

struct store *remote_store_new(const struct remote_env *env, struct str id)
{
    (void)env, (void)id;
    abort();
}

void remote_store_at(struct store *s, uint64_t at)
{
    (void)s, (void)at;
    abort();
}

static uint64_t rnd(uint64_t below)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return (seed >> 11) % below;
}

static struct node *node_by(struct str id)
{
    for (int i = 0; i < NODES; i++)
        if (str_eq(str_z(nodes[i].id), id))
            return &nodes[i];
    return NULL;
}

/* As members_fence(): the older map is refused, the newer one learned. */
static bool fence(struct node *n, const struct map *theirs)
{
    if (theirs->epoch < n->members.map->epoch)
        return false;
    if (theirs->epoch > n->members.map->epoch) {
        map_release(n->members.map);
        n->members.map = map_hold(theirs);
    }
    return true;
}

/* A call on its way from one node, or a client, to another. */
typedef void ask_fn(struct store *, const void *req, void *res, struct call *);
struct hop {
    struct call call;
    struct call *whole;
    struct node *to;
    const struct map *map; /* of the sender */
    ask_fn *ask;
    const void *req;
    void *res;
    struct source **body;
    struct post post;
    unsigned turns;
};
struct handle {
    struct store store;
    struct node *from, *to;
};

static void hop_done(struct call *c)
{
    struct hop *h = CONTAINER(c, struct hop, call);
    enum err e = c->err;

    if (h->to->lost && e == ERR_OK) {
        h->to->lost--;
        e = ERR_UNAVAILABLE;
        if (h->body)
            source_close(*h->body), *h->body = NULL;
    }
    map_release(h->map);
    call_finish(h->whole, e);
}

static void hop_run(struct post *p)
{
    struct hop *h = CONTAINER(p, struct hop, post);
    enum err e = ERR_OK;

    if (h->turns-- > 0) {
        loop_defer(loop, &h->post);
        return;
    }
    if (h->to->down)
        e = ERR_UNAVAILABLE;
    else if (!fence(h->to, h->map))
        e = ERR_STALE_EPOCH;
    if (e != ERR_OK) {
        map_release(h->map);
        call_finish(h->whole, e);
        return;
    }
    call_begin(&h->call, loop, hop_done);
    h->ask(h->to->serves, h->req, h->res, &h->call);
}

#define M(m)                                                                                                           \
    static void ask_##m(struct store *s, const void *req, void *res, struct call *c)                                   \
    {                                                                                                                  \
        store_##m(s, req, res, c);                                                                                     \
    }
STORE_METHODS(M)
#undef M

static void hop(struct node *to, const struct map *map, ask_fn *ask, const void *req, void *res, struct call *c)
{
    struct hop *h = ARENA_NEW(*(struct arena *const *)req, struct hop);

    *h = (struct hop){.whole = c, .to = to, .map = map_hold(map), .ask = ask, .req = req, .res = res};
    if (ask == ask_obj_get)
        h->body = &((struct obj_get_res *)res)->body;
    h->turns = (unsigned)rnd(6);
    h->post.fn = hop_run;
    loop_defer(loop, &h->post);
}

#define M(m)                                                                                                           \
    static void hop_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)               \
    {                                                                                                                  \
        struct handle *h = CONTAINER(s, struct handle, store);                                                         \
        hop(h->to, h->from->members.map, ask_##m, req, res, c);                                                        \
    }
STORE_METHODS(M)
#undef M

static void handle_close(struct store *s)
{
    free(CONTAINER(s, struct handle, store));
}

static struct store *node_store(void *arg, struct str id)
{
    static const struct store_ops ops = {.name = "hop",
#define M(m) .m = hop_##m,
                                         STORE_METHODS(M)
#undef M
                                             .close = handle_close};
    struct handle *h = NEW(struct handle);

    h->from = arg;
    h->to = node_by(id);
    h->store = (struct store){.ops = &ops, .loop = loop};
    return &h->store;
}

static void publish(const struct map *map)
{
    map_release(newest);
    newest = map;
}

static void add_node(int i)
{
    static const struct map none;
    struct map_node n = {.id = str_z(nodes[i].id), .address = STR("127.0.0.1:1"), .weight = 100};
    const struct map *next;

    assert_string_equal(err_name(map_add(newest ? newest : &none, &n, &next)), "OK");
    publish(next);
}

static void settle_map(void)
{
    const struct map *next;

    assert_string_equal(err_name(map_settled(newest, &next)), "OK");
    publish(next);
    for (int i = 0; i < NODES; i++)
        fence(&nodes[i], newest);
}

/* ---- clients, and what they saw ---- */

struct event {
    bool is_read;
    uint64_t value;      /* 0: nothing there */
    uint64_t begin, end; /* end UINT64_MAX: its outcome is not known */
};
static struct event *history[KEYS];
static unsigned counts[KEYS];
static uint64_t last_value;
static unsigned running, unavailable, began, moved;

struct client {
    struct call call;
    struct arena arena;
    const struct map *map;
    unsigned left, key, kind, tries;
    uint64_t value, begin;
    struct body_check check;
    struct source *body;
    struct obj_put_req put_req;
    struct obj_put_res put;
    struct obj_get_req get_req;
    struct obj_get_res get;
    struct obj_delete_req delete_req;
    struct obj_delete_res delete;
    struct source_fill fill;
    char bytes[64];
    size_t n;
};

static struct str key_of(unsigned key)
{
    static char text[KEYS][8];

    snprintf(text[key], sizeof(text[key]), "key-%u", key);
    return str_z(text[key]);
}

static void grow(void);
static void client_next(struct client *c);
static void client_send(struct client *c);

static void client_note(struct client *c, enum err e)
{
    bool is_read = c->kind == 1;
    unsigned i = counts[c->key];

    if (is_read && e != ERR_OK && e != ERR_NO_SUCH_KEY)
        return; /* no answer at all */
    assert_true(i < EVENTS_MAX);
    history[c->key][i] = (struct event){is_read, is_read && e == ERR_NO_SUCH_KEY ? 0 : c->value, c->begin,
                                        is_read || e == ERR_OK ? ++now : UINT64_MAX};
    counts[c->key]++;
}

static void client_end(struct client *c, enum err e)
{
    if (e == ERR_UNAVAILABLE)
        unavailable++;
    else if (e != ERR_NO_SUCH_KEY)
        assert_string_equal(err_name(e), "OK");
    client_note(c, e);
    source_close(c->body);
    c->body = NULL;
    arena_release(&c->arena);
    client_next(c);
}

static void client_read(struct call *call)
{
    struct client *c = CONTAINER(call, struct client, call);

    source_close(c->get.body);
    if (call->err == ERR_OK) {
        c->bytes[c->n < sizeof(c->bytes) ? c->n : 0] = 0;
        c->value = strtoull(c->bytes, NULL, 10);
    }
    client_end(c, call->err);
}

static void client_done(struct call *call)
{
    struct client *c = CONTAINER(call, struct client, call);

    if (call->err == ERR_STALE_EPOCH && c->tries++ < 50) {
        map_release(c->map);
        c->map = map_hold(newest);
        client_send(c);
        return;
    }
    if (c->kind == 1 && call->err == ERR_OK) {
        call_begin(&c->call, loop, client_read);
        source_fill(&c->fill, c->get.body, c->bytes, sizeof(c->bytes), &c->n, &c->call);
        return;
    }
    client_end(c, call->err == ERR_STALE_EPOCH ? ERR_UNAVAILABLE : call->err);
}

static void client_send(struct client *c)
{
    struct str key = key_of(c->key);
    uint16_t at;

    assert_int_equal(map_place(c->map, bucket.uid, key, 1, &at), 1);
    struct node *to = node_by(c->map->nodes[at].id);
    call_begin(&c->call, loop, client_done);
    if (c->kind == 0) {
        source_close(c->body);
        c->body = source_memory(str_z(c->bytes), NULL, NULL);
        c->check = (struct body_check){0};
        c->put_req = (struct obj_put_req){.arena = &c->arena,
                                          .bucket = bucket,
                                          .key = key,
                                          .cond = COND_INIT,
                                          .body = c->body,
                                          .check = &c->check,
                                          .size_max = 1000};
        hop(to, c->map, ask_obj_put, &c->put_req, &c->put, &c->call);
    } else if (c->kind == 1) {
        c->get_req = (struct obj_get_req){{.arena = &c->arena, .bucket = bucket, .key = key, .cond = COND_INIT}};
        hop(to, c->map, ask_obj_get, &c->get_req, &c->get, &c->call);
    } else {
        c->delete_req = (struct obj_delete_req){.arena = &c->arena, .bucket = bucket, .key = key, .cond = COND_INIT};
        hop(to, c->map, ask_obj_delete, &c->delete_req, &c->delete, &c->call);
    }
}

static void client_next(struct client *c)
{
    if (c->left == 0) {
        running--;
        return;
    }
    c->left--;
    grow();
    c->tries = 0;
    c->key = (unsigned)rnd(KEYS);
    c->kind = (unsigned)rnd(5) < 2 ? 1 : rnd(3) ? 0 : 2;
    c->value = c->kind == 0 ? ++last_value : 0;
    snprintf(c->bytes, sizeof(c->bytes), "%llu", (unsigned long long)c->value);
    c->begin = ++now;
    if (rnd(4) == 0) {
        map_release(c->map);
        c->map = map_hold(newest);
    }
    client_send(c);
}

/* ---- the judge: for each read, a write that may be the last before it ---- */

static bool explains(const struct event *h, unsigned n, const struct event *r, const struct event *w)
{
    if (w->begin > r->end)
        return false;
    for (unsigned i = 0; i < n; i++) {
        const struct event *x = &h[i];
        if (!x->is_read && x->begin > w->end && x->end < r->begin)
            return false; /* overwritten for certain */
        if (x->is_read && x->value != w->value && x->end < r->begin && x->begin > w->end && w->end != UINT64_MAX) {
            /* another value was seen in between: its write must be able to come before w, or there is a rewrite */
            bool can = false;
            for (unsigned j = 0; j < n && !can; j++)
                can = !h[j].is_read && h[j].value == x->value && h[j].begin < w->end;
            if (!can)
                return false;
        }
    }
    return true;
}

static void judge(void)
{
    for (unsigned k = 0; k < KEYS; k++) {
        const struct event *h = history[k];
        for (unsigned i = 0; i < counts[k]; i++) {
            bool fine = false;
            if (!h[i].is_read)
                continue;
            for (unsigned j = 0; j < counts[k] && !fine; j++)
                fine = !h[j].is_read && h[j].value == h[i].value && explains(h, counts[k], &h[i], &h[j]);
            if (!fine)
                fail_msg("key %u: value %llu read at %llu..%llu is wrong", k, (unsigned long long)h[i].value,
                         (unsigned long long)h[i].begin, (unsigned long long)h[i].end);
        }
    }
}

/* ---- the run ---- */

static void open_cluster(uint64_t with)
{
    seed = with * UINT64_C(0x9e3779b97f4a7c15) + 1;
    now = 1;
    newest = NULL;
    add_node(0);
    for (int i = 0; i < NODES; i++) {
        struct node *n = &nodes[i];
        n->members.map = map_hold(newest);
        n->memory = memstore_new(loop);
        n->moving = moving_new(&n->members, str_z(n->id));
        struct moving_env env = {
            .mine = n->memory, .remote = {.loop = loop}, .node_store = node_store, .node_store_arg = n};
        n->serves = moving_store(n->moving, &env);
    }
    for (int k = 0; k < KEYS; k++) {
        history[k] = mem_new(EVENTS_MAX * sizeof(*history[k]));
        history[k][0] = (struct event){false, 0, 0, 0};
        counts[k] = 1;
    }
}

static void close_cluster(void)
{
    for (int i = 0; i < NODES; i++) {
        store_close(nodes[i].serves);
        store_close(nodes[i].memory);
        moving_free(nodes[i].moving);
        map_release(nodes[i].members.map);
    }
    for (int k = 0; k < KEYS; k++)
        free(history[k]);
    map_release(newest);
}

/* Settles key by key on every node, beside the clients; then the map has settled. */
static struct mover {
    struct call call;
    struct arena arena;
    struct moving_settle_req req;
    struct moving_settle_res res;
    unsigned at, failed, moved, joined, joined_at;
    bool faults, pending, active;
} mover;

static void check_places(void);
static void mover_go(void);

static void mover_done(struct call *c)
{
    mover.moved += mover.res.moved;
    arena_release(&mover.arena);
    mover.failed += c->err != ERR_OK;
    mover.at += c->err == ERR_OK;
    if (mover.at < NODES * KEYS) {
        mover_go();
        return;
    }
    mover.active = false;
    check_places();
    settle_map();
}

static void mover_go(void)
{
    struct node *n = &nodes[mover.at / KEYS];

    fence(n, newest);
    if (mover.faults && mover.failed < 20 && rnd(6) == 0)
        nodes[rnd(NODES)].lost = 1;
    mover.req = (struct moving_settle_req){.arena = &mover.arena, .bucket = bucket, .key = key_of(mover.at % KEYS)};
    call_begin(&mover.call, loop, mover_done);
    moving_settle(n->serves, &mover.req, &mover.res, &mover.call);
}

/* A node joins when so many operations have begun; the mover comes a while later. */
static void grow(void)
{
    began++;
    if (mover.pending && began >= mover.joined_at + 20) {
        mover.pending = false;
        mover.active = true;
        mover.at = mover.failed = 0;
        mover_go();
    } else if (!mover.pending && !mover.active && mover.joined + 1 < NODES && began >= mover.joined_at + 500) {
        add_node((int)++mover.joined);
        mover.joined_at = began;
        mover.pending = true;
    }
}

/* After the move every key is at its owner only. */
static void check_places(void)
{
    for (unsigned k = 0; k < KEYS; k++) {
        uint16_t at;
        map_place(newest, bucket.uid, key_of(k), 1, &at);
        for (int i = 0; i < NODES; i++)
            if (&nodes[i] != node_by(newest->nodes[at].id))
                assert_null(membucket_find(memstore_bucket(MEMSTORE(nodes[i].memory), bucket.uid), key_of(k)));
    }
}

static void run(uint64_t with, bool faults)
{
    static struct client clients[CLIENTS];

    open_cluster(with);
    running = CLIENTS;
    began = 0;
    mover = (struct mover){.faults = faults};
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.left = 600, .map = map_hold(newest)};
        client_next(&clients[i]);
    }
    while (running || mover.active)
        loop_turn(loop, 1);
    assert_int_equal(mover.joined, NODES - 1);
    moved += mover.moved;
    judge();
    for (int i = 0; i < CLIENTS; i++)
        map_release(clients[i].map);
    close_cluster();
}

static void every_answer_is_right_while_keys_move(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 30; i++)
        run(i, false);
    assert_int_equal(unavailable, 0);
    assert_true(moved > 10); /* by the mover, not by writers */
}

static void every_answer_is_right_when_answers_get_lost(void **state)
{
    (void)state;
    for (uint64_t i = 100; i <= 130; i++)
        run(i, true);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer_is_right_while_keys_move),
        cmocka_unit_test(every_answer_is_right_when_answers_get_lost),
    };

    hash_setup();
    loop = loop_new();
    loop_adopt(loop);
    for (int i = 0; i < NODES; i++)
        snprintf(nodes[i].id, sizeof(nodes[i].id), "%0*d", NODE_ID_LEN, i + 1);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(loop);
    return failed;
}
