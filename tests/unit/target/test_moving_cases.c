/* What a target does for keys, uploads and conditions while they move: one case at a time. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/memdata.h"
#include "target/moving.h"

enum { NODES = 2, A = 0, B = 1 };

/* ---- a cluster in one loop: all nodes know the newest map ---- */

struct members {
    char unused;
};
struct node {
    char id[NODE_ID_LEN + 1];
    struct store *memory, *serves;
    struct moving *moving;
    bool down;
};
struct handle {
    struct store store;
    struct node *to;
};
static struct loop *loop;
static struct node nodes[NODES];
static const struct map *newest;
static struct members all;
static struct arena arena;
static char moved[16]; /* a key that goes from A to B */
static char stays[16];
static unsigned deletes_until_down = 100;
static const struct bucket_id bucket = {7, {"b", 1}};

const struct map *members_map(struct members *m)
{
    (void)m;
    return map_hold(newest);
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

#define M(m)                                                                                                           \
    static void hop_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)               \
    {                                                                                                                  \
        struct node *to = CONTAINER(s, struct handle, store)->to;                                                      \
        if (#m[4] == 'd' && #m[5] == 'e' && deletes_until_down-- == 0)                                                 \
            to->down = true; /* obj_delete: the end of settling */                                                     \
        if (to->down)                                                                                                  \
            call_finish(c, ERR_UNAVAILABLE);                                                                           \
        else                                                                                                           \
            store_##m(to->serves, req, res, c);                                                                        \
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

    (void)arg;
    for (int i = 0; i < NODES; i++)
        if (str_eq(str_z(nodes[i].id), id))
            h->to = &nodes[i];
    h->store = (struct store){.ops = &ops, .loop = loop};
    return &h->store;
}

static void publish(enum err e, const struct map *map)
{
    assert_string_equal(err_name(e), "OK");
    map_release(newest);
    newest = map;
}

static void add_node(int i)
{
    struct map_node n = {.id = str_z(nodes[i].id), .address = STR("127.0.0.1:1"), .weight = 100};
    const struct map *next = NULL;
    enum err e = map_add(newest, &n, &next);

    publish(e, next);
}

static void settle_map(void)
{
    const struct map *next = NULL;
    enum err e = map_settled(newest, &next);

    publish(e, next);
}

static void name_keys(void)
{
    uint16_t at;

    moved[0] = stays[0] = 0;
    for (int i = 0; !moved[0] || !stays[0]; i++) {
        char name[16];
        snprintf(name, sizeof(name), "key-%d", i);
        map_place(newest, bucket.uid, str_z(name), 1, &at);
        memcpy(str_eq(newest->nodes[at].id, str_z(nodes[B].id)) ? moved : stays, name, sizeof(name));
    }
}

static int open_cluster(void **state)
{
    (void)state;
    newest = map_none();
    deletes_until_down = 100;
    for (int i = 0; i < NODES; i++) {
        struct node *n = &nodes[i];
        snprintf(n->id, sizeof(n->id), "%0*d", NODE_ID_LEN, i + 1);
        n->down = false;
        n->memory = memstore_new(loop);
        n->moving = moving_new(&all, str_z(n->id));
        struct moving_env env = {.mine = n->memory, .remote = {.loop = loop}, .node_store = node_store};
        n->serves = moving_store(n->moving, &env);
    }
    add_node(A);
    const struct map *first = map_hold(newest);
    add_node(B);
    name_keys();
    publish(ERR_OK, first); /* a test joins B when it is ready */
    return 0;
}

static int close_cluster(void **state)
{
    (void)state;
    for (int i = 0; i < NODES; i++) {
        store_close(nodes[i].serves);
        store_close(nodes[i].memory);
        moving_free(nodes[i].moving);
    }
    map_release(newest);
    arena_release(&arena);
    return 0;
}

/* ---- calls that wait ---- */

static void on_done(struct call *c)
{
    (void)c;
}

static struct call *begin(struct call *c)
{
    call_begin(c, loop, on_done);
    return c;
}

static const char *end(struct call *c)
{
    for (int i = 0; call_is_pending(c) && i < 1000; i++)
        loop_turn(loop, 1);
    assert_false(call_is_pending(c));
    return err_name(c->err);
}

static struct obj_put_req put_req(const char *key, struct str text, struct body_check *check)
{
    *check = (struct body_check){0};
    return (struct obj_put_req){.arena = &arena,
                                .bucket = bucket,
                                .key = str_z(key),
                                .cond = COND_INIT,
                                .body = source_memory(text, NULL, NULL),
                                .check = check,
                                .size_max = 1 << 20};
}

static const char *put_if(int node, const char *key, struct str text, struct str if_match, struct str if_none_match)
{
    struct body_check check;
    struct obj_put_req req = put_req(key, text, &check);
    struct obj_put_res res;
    struct call c = {0};

    req.cond.if_match = if_match;
    req.cond.if_none_match = if_none_match;
    store_obj_put(nodes[node].serves, &req, &res, begin(&c));
    const char *e = end(&c);
    source_close(req.body);
    return e;
}

static const char *put(int node, const char *key, struct str text)
{
    return put_if(node, key, text, STR_NONE, STR_NONE);
}

/* The text, or the error's name. */
static const char *get(int node, const char *key)
{
    static char text[64];
    struct obj_get_req req = {{.arena = &arena, .bucket = bucket, .key = str_z(key), .cond = COND_INIT}};
    struct obj_get_res res = {0};
    struct source_fill fill;
    struct call c = {0};
    size_t n = 0;

    store_obj_get(nodes[node].serves, &req, &res, begin(&c));
    const char *e = end(&c);
    if (c.err != ERR_OK)
        return e;
    source_fill(&fill, res.body, text, sizeof(text) - 1, &n, begin(&c));
    assert_string_equal(end(&c), "OK");
    source_close(res.body);
    text[n] = 0;
    return text;
}

static const char *delete_if(int node, const char *key, struct str if_match)
{
    struct obj_delete_req req = {.arena = &arena, .bucket = bucket, .key = str_z(key), .cond = COND_INIT};
    struct obj_delete_res res;
    struct call c = {0};

    req.cond.if_match = if_match;
    store_obj_delete(nodes[node].serves, &req, &res, begin(&c));
    return end(&c);
}

static const char *copy(int node, const char *from, const char *to)
{
    struct obj_copy_req req = {.arena = &arena,
                               .src_bucket = bucket,
                               .src_key = str_z(from),
                               .src_cond = COND_INIT,
                               .bucket = bucket,
                               .key = str_z(to),
                               .cond = COND_INIT,
                               .size_max = 1 << 20};
    struct obj_copy_res res;
    struct call c = {0};

    store_obj_copy(nodes[node].serves, &req, &res, begin(&c));
    return end(&c);
}

static const char *settle(int node, const char *key, struct moving_settle_res *res)
{
    struct moving_settle_req req = {.arena = &arena, .bucket = bucket, .key = str_z(key)};
    struct call c = {0};

    moving_settle(nodes[node].serves, &req, res, begin(&c));
    return end(&c);
}

static bool has(int node, const char *key)
{
    return membucket_find(memstore_bucket(MEMSTORE(nodes[node].memory), bucket.uid), str_z(key)) != NULL;
}

static struct str upload(int node, const char *key)
{
    struct upload_create_req req = {.arena = &arena, .bucket = bucket, .key = str_z(key)};
    struct upload_create_res res;
    struct call c = {0};

    store_upload_create(nodes[node].serves, &req, &res, begin(&c));
    assert_string_equal(end(&c), "OK");
    return res.upload_id;
}

static const char *part(int node, const char *key, struct str id, struct str text, struct complete_part *out)
{
    struct body_check check = {0};
    struct upload_part_req req = {.arena = &arena,
                                  .bucket = bucket,
                                  .key = str_z(key),
                                  .upload_id = id,
                                  .number = 1,
                                  .body = source_memory(text, NULL, NULL),
                                  .check = &check,
                                  .size_max = 1 << 20};
    struct upload_part_res res;
    struct call c = {0};

    store_upload_part(nodes[node].serves, &req, &res, begin(&c));
    const char *e = end(&c);
    source_close(req.body);
    if (c.err == ERR_OK)
        *out = (struct complete_part){.number = 1, .etag = arena_str(&arena, etag_str(&res.part.etag))};
    return e;
}

static const char *complete(int node, const char *key, struct str id, const struct complete_part *p,
                            struct str if_none_match)
{
    struct upload_complete_req req = {.arena = &arena,
                                      .bucket = bucket,
                                      .key = str_z(key),
                                      .upload_id = id,
                                      .parts = p,
                                      .part_count = 1,
                                      .cond = COND_INIT,
                                      .want_size = UINT64_MAX};
    struct upload_complete_res res;
    struct call c = {0};

    req.cond.if_none_match = if_none_match;
    store_upload_complete(nodes[node].serves, &req, &res, begin(&c));
    return end(&c);
}

/* ---- cases ---- */

static void a_former_owner_refuses_clients_and_serves_the_owner(void **state)
{
    (void)state;
    assert_string_equal(put(A, moved, STR("old")), "OK");
    add_node(B);
    assert_string_equal(put(A, moved, STR("late")), "STALE_EPOCH");
    assert_string_equal(delete_if(A, moved, STR_NONE), "STALE_EPOCH");
    assert_string_equal(delete_if(A, moved, STR("\"0123\"")), "STALE_EPOCH"); /* a client's condition */
    assert_string_equal(copy(A, moved, stays), "STALE_EPOCH");
    assert_string_equal(get(A, moved), "old");
    assert_string_equal(get(B, moved), "old");
    settle_map();
    assert_string_equal(get(A, moved), "STALE_EPOCH");
    assert_string_equal(put(A, moved, STR("late")), "STALE_EPOCH");
    assert_string_equal(get(B, stays), "STALE_EPOCH");
}

static void conditions_see_the_object_that_has_not_moved_yet(void **state)
{
    (void)state;
    assert_string_equal(put(A, moved, STR("old")), "OK");
    add_node(B);
    assert_string_equal(put_if(B, moved, STR("new"), STR_NONE, STR("*")), "PRECONDITION");
    assert_string_equal(put_if(B, moved, STR("new"), STR("\"00000000000000000000000000000000\""), STR_NONE),
                        "PRECONDITION");
    assert_string_equal(get(B, moved), "old");
    assert_true(has(B, moved) && !has(A, moved)); /* the refused write has settled it */
    assert_string_equal(put_if(B, moved, STR("new"), STR("\"149603e6c03516362a8da23f624db945\""), STR_NONE), "OK");
    assert_string_equal(get(B, moved), "new");
    assert_string_equal(delete_if(B, moved, STR("\"149603e6c03516362a8da23f624db945\"")), "PRECONDITION");
}

static void a_copy_takes_its_source_from_the_former_owner(void **state)
{
    char other[16] = "";
    uint16_t at;

    (void)state;
    assert_string_equal(put(A, moved, STR("source")), "OK");
    add_node(B);
    for (int i = 1000; !other[0]; i++) {
        snprintf(other, sizeof(other), "key-%d", i);
        map_place(newest, bucket.uid, str_z(other), 1, &at);
        if (!str_eq(newest->nodes[at].id, str_z(nodes[B].id)))
            other[0] = 0;
    }
    assert_string_equal(copy(B, moved, other), "OK");
    assert_string_equal(get(B, other), "source");
    assert_string_equal(get(B, moved), "source");
    assert_true(has(B, moved) && !has(A, moved));
}

static void a_former_owner_that_is_down_makes_keys_unavailable(void **state)
{
    struct moving_settle_res res;

    (void)state;
    assert_string_equal(put(A, moved, STR("old")), "OK");
    add_node(B);
    nodes[A].down = true;
    assert_string_equal(get(B, moved), "UNAVAILABLE");
    assert_string_equal(put(B, moved, STR("new")), "UNAVAILABLE");
    assert_string_equal(settle(B, moved, &res), "UNAVAILABLE");
    assert_false(has(B, moved));
    nodes[A].down = false;
    assert_string_equal(settle(B, moved, &res), "OK");
    assert_true(res.moved && res.bytes == 3);
    nodes[A].down = true;
    assert_string_equal(get(B, moved), "old");
}

static void a_move_that_broke_between_import_and_delete_is_finished(void **state)
{
    struct moving_settle_res res;

    (void)state;
    assert_string_equal(put(A, moved, STR("old")), "OK");
    add_node(B);
    deletes_until_down = 1; /* the second one, after the import */
    assert_string_equal(settle(B, moved, &res), "UNAVAILABLE");
    assert_true(has(A, moved) && has(B, moved));
    deletes_until_down = 100;
    nodes[A].down = false;
    assert_string_equal(get(B, moved), "old");
    assert_string_equal(delete_if(B, moved, STR_NONE), "OK"); /* takes the rest at A with it */
    assert_false(has(A, moved) || has(B, moved));
    assert_string_equal(get(B, moved), "NO_SUCH_KEY");
}

static void an_upload_goes_on_at_its_target_and_its_object_moves(void **state)
{
    struct complete_part p;
    struct str id;

    (void)state;
    assert_string_equal(put(A, moved, STR("old")), "OK");
    id = upload(A, moved);
    add_node(B);
    assert_string_equal(part(B, moved, id, STR("in parts"), &p), "OK");
    assert_string_equal(complete(B, moved, id, &p, STR("*")), "PRECONDITION");
    assert_string_equal(complete(A, moved, id, &p, STR_NONE), "STALE_EPOCH");
    assert_string_equal(complete(B, moved, id, &p, STR_NONE), "OK");
    assert_string_equal(get(B, moved), "in parts");
    assert_true(has(B, moved) && !has(A, moved));
    assert_string_equal(complete(B, moved, id, &p, STR_NONE), "OK"); /* repeated: the same answer */
    assert_string_equal(part(B, moved, STR("0123456789abcdef0123456789abcdef"), STR("x"), &p), "NO_SUCH_UPLOAD");
    nodes[A].down = true;
    assert_string_equal(part(B, moved, STR("0123456789abcdef0123456789abcdef"), STR("x"), &p), "UNAVAILABLE");
}

static void an_upload_outlives_the_move(void **state)
{
    struct upload_abort_req abort_req = {.arena = &arena, .bucket = bucket, .key = str_z(moved)};
    struct upload_abort_res abort_res;
    struct complete_part p;
    struct call c = {0};

    (void)state;
    struct str id = upload(A, moved), other = upload(A, moved);
    add_node(B);
    assert_string_equal(put(B, moved, STR("old")), "OK");
    settle_map();
    assert_string_equal(part(B, moved, id, STR("in parts"), &p), "OK");
    assert_string_equal(complete(B, moved, id, &p, STR_NONE), "OK");
    assert_string_equal(get(B, moved), "in parts");
    assert_false(has(A, moved));
    abort_req.upload_id = other;
    store_upload_abort(nodes[B].serves, &abort_req, &abort_res, begin(&c));
    assert_string_equal(end(&c), "OK");
    assert_string_equal(part(B, moved, other, STR("x"), &p), "NO_SUCH_UPLOAD");
}

/* A body that stops half-way. */
struct slow {
    struct source source;
    struct call *call;
};

static void slow_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct slow *w = CONTAINER(s, struct slow, source);

    (void)buf, (void)len;
    *n = 0;
    w->call = call;
}

static void slow_close(struct source *s)
{
    (void)s;
}

static void a_barrier_waits_for_the_writes_before_it(void **state)
{
    static const struct source_ops ops = {.name = "slow", .read = slow_read, .close = slow_close};
    struct slow body = {.source = {.ops = &ops, .size = SOURCE_SIZE_UNKNOWN}};
    struct body_check check;
    struct obj_put_req req = put_req(moved, STR(""), &check);
    struct obj_put_res res;
    struct call write = {0}, quiet = {0};

    (void)state;
    moving_quiet(nodes[A].serves, begin(&quiet));
    assert_string_equal(end(&quiet), "OK");
    source_close(req.body);
    req.body = &body.source;
    store_obj_put(nodes[A].serves, &req, &res, begin(&write));
    while (!body.call)
        loop_turn(loop, 1);
    add_node(B);
    moving_quiet(nodes[A].serves, begin(&quiet));
    for (int i = 0; i < 50; i++)
        loop_turn(loop, 1);
    assert_true(call_is_pending(&quiet));
    assert_string_equal(put(A, stays, STR("a later one is not waited for")), "OK");
    call_finish(body.call, ERR_OK);
    assert_string_equal(end(&write), "OK");
    assert_string_equal(end(&quiet), "OK");
    moving_quiet(nodes[A].serves, begin(&quiet));
    call_cancel(&quiet);
    assert_string_equal(end(&quiet), "CANCELLED");
    moving_quiet(nodes[A].serves, begin(&quiet));
    assert_string_equal(end(&quiet), "OK");
    assert_string_equal(get(B, moved), "");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, open_cluster, close_cluster)
    static const struct CMUnitTest tests[] = {
        CASE(a_former_owner_refuses_clients_and_serves_the_owner),
        CASE(conditions_see_the_object_that_has_not_moved_yet),
        CASE(a_copy_takes_its_source_from_the_former_owner),
        CASE(a_former_owner_that_is_down_makes_keys_unavailable),
        CASE(a_move_that_broke_between_import_and_delete_is_finished),
        CASE(an_upload_goes_on_at_its_target_and_its_object_moves),
        CASE(an_upload_outlives_the_move),
        CASE(a_barrier_waits_for_the_writes_before_it),
    };

    hash_setup();
    loop = loop_new();
    loop_adopt(loop);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(loop);
    return failed;
}
