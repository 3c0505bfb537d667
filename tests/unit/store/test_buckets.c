#include "unit.h"

#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/buckets.h"
#include "store/memstore.h"

static struct loop *loop;
static struct meta *meta;
static struct store *store;
static struct buckets *buckets;
static struct arena arena;
static struct offload *pool;
static char dir[64];

static int setup(void **state)
{
    (void)state;
    meta = meta_memory_new();
    store = memstore_new(loop);
    assert_int_equal(buckets_open(meta, &buckets), ERR_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    meta_close(meta); /* tells the directory nothing more */
    buckets_close(buckets);
    store_close(store);
    arena_release(&arena);
    return 0;
}

struct wait {
    struct call call;
    bool done;
};

static void done(struct call *c)
{
    CONTAINER(c, struct wait, call)->done = true;
}

static struct call *begin(struct wait *w)
{
    *w = (struct wait){0};
    call_begin(&w->call, loop, done);
    return &w->call;
}

static enum err end(struct wait *w)
{
    while (!w->done)
        loop_turn(loop, 1000);
    return w->call.err;
}

static enum err create(const char *name, const char *owner, struct bucket *out)
{
    struct bucket_create_req req = {
        .arena = &arena, .name = str_z(name), .region = STR("eu-west-1"), .owner = str_z(owner)};
    struct bucket_create_res res = {0};
    struct wait w;

    buckets_create(buckets, &req, &res, begin(&w));
    assert_false(w.done);
    enum err e = end(&w);
    *out = res.bucket;
    return e;
}

static enum err delete_bucket(const char *name)
{
    struct bucket_delete_req req = {&arena, store, str_z(name)};
    struct bucket_delete_res res;
    struct wait w;

    buckets_delete(buckets, &req, &res, begin(&w));
    return end(&w);
}

static enum err put_object(const struct bucket *b)
{
    struct body_check check = {0};
    struct obj_put_req req = {
        .arena = &arena, .bucket = b->id, .key = STR("key"), .cond = COND_INIT, .check = &check, .size_max = 1};
    struct obj_put_res res;
    struct wait w;

    store_obj_put(store, &req, &res, begin(&w));
    return end(&w);
}

static void created_bucket_is_found_at_once(void **state)
{
    struct bucket made, found;

    (void)state;
    assert_int_equal(buckets_find(buckets, &arena, STR("one"), &found), ERR_NO_SUCH_BUCKET);
    assert_int_equal(create("one", "me", &made), ERR_OK);
    assert_int_equal(buckets_find(buckets, &arena, STR("one"), &found), ERR_OK);
    assert_true(found.id.uid != 0 && found.id.uid == made.id.uid);
    assert_true(str_eq(found.id.name, STR("one")));
    assert_true(str_eq(found.region, STR("eu-west-1")));
    assert_true(str_eq(found.owner, STR("me")));
    assert_true(found.created_ns == made.created_ns && found.created_ns > 0);
}

static void second_creation_tells_whose_it_is(void **state)
{
    struct bucket first, again;

    (void)state;
    assert_int_equal(create("one", "me", &first), ERR_OK);
    assert_int_equal(create("one", "me", &again), ERR_BUCKET_OWNED);
    assert_true(again.id.uid == first.id.uid);
    assert_true(str_eq(again.region, STR("eu-west-1")));
    assert_int_equal(create("one", "you", &again), ERR_BUCKET_EXISTS);
    assert_true(str_eq(again.owner, STR("me")));
}

static enum err rename_bucket(const char *name, const char *to, struct bucket *out)
{
    struct bucket_rename_req req = {&arena, str_z(name), str_z(to)};
    struct bucket_rename_res res = {0};
    struct wait w;

    buckets_rename(buckets, &req, &res, begin(&w));
    enum err e = end(&w);
    *out = res.bucket;
    return e;
}

static void a_renamed_bucket_keeps_all_but_its_name(void **state)
{
    struct bucket made, other, found;
    struct buckets *reader;

    (void)state;
    assert_int_equal(buckets_open(meta, &reader), ERR_OK);
    assert_int_equal(create("old", "me", &made), ERR_OK);
    assert_int_equal(create("taken", "me", &other), ERR_OK);
    assert_int_equal(put_object(&made), ERR_OK);
    assert_int_equal(rename_bucket("old", "taken", &found), ERR_BUCKET_EXISTS);
    assert_int_equal(rename_bucket("old", "old", &found), ERR_BUCKET_EXISTS);
    assert_int_equal(rename_bucket("none", "new", &found), ERR_NO_SUCH_BUCKET);
    assert_int_equal(rename_bucket("old", "new", &found), ERR_OK);
    assert_true(found.id.uid == made.id.uid && str_eq(found.id.name, STR("new")));
    assert_int_equal(buckets_find(reader, &arena, STR("old"), &found), ERR_NO_SUCH_BUCKET);
    assert_int_equal(buckets_find(reader, &arena, STR("new"), &found), ERR_OK);
    assert_true(found.id.uid == made.id.uid && str_eq(found.owner, STR("me")) && found.created_ns == made.created_ns);
    assert_int_equal(buckets_find(buckets, &arena, STR("old"), &found), ERR_NO_SUCH_BUCKET);
    assert_int_equal(put_object(&made), ERR_OK); /* whoever knew it by its old name still writes into it */
    assert_int_equal(delete_bucket("new"), ERR_BUCKET_NOT_EMPTY);
    assert_int_equal(create("old", "me", &other), ERR_OK); /* the name is free, and another bucket's now */
    assert_true(other.id.uid != made.id.uid);
    assert_int_equal(rename_bucket("new", "old", &found), ERR_BUCKET_EXISTS);
    assert_int_equal(delete_bucket("old"), ERR_OK);
    assert_int_equal(buckets_find(buckets, &arena, STR("new"), &found), ERR_OK);
    meta_close(meta);
    buckets_close(reader);
    meta = meta_memory_new(); /* teardown closes one */
}

/* The delete had sealed it already: the bucket that goes on must not stay so. */
static void a_bucket_renamed_while_it_is_deleted_takes_writes(void **state)
{
    struct bucket_delete_req del = {.arena = &arena, .store = store, .name = STR("old")};
    struct bucket_rename_req move = {&arena, STR("old"), STR("new")};
    struct bucket_delete_res deleted;
    struct bucket_rename_res moved;
    struct bucket made, found;
    struct wait a, b;

    (void)state;
    assert_int_equal(create("old", "me", &made), ERR_OK);
    buckets_rename(buckets, &move, &moved, begin(&b));
    buckets_delete(buckets, &del, &deleted, begin(&a));
    enum err e = end(&a);
    enum err f = end(&b);
    assert_true((e == ERR_OK) != (f == ERR_OK));
    if (f == ERR_OK) {
        assert_int_equal(e, ERR_NO_SUCH_BUCKET);
        assert_int_equal(buckets_find(buckets, &arena, STR("new"), &found), ERR_OK);
        assert_int_equal(put_object(&found), ERR_OK);
    }
}

static enum err set_props(struct bucket_set_props_req req, struct bucket *out)
{
    struct bucket_set_props_res res = {0};
    struct wait w;

    req.arena = &arena;
    req.name = STR("b");
    buckets_set_props(buckets, &req, &res, begin(&w));
    enum err e = end(&w);
    *out = res.bucket;
    return e;
}

static void settings_change_only_as_they_were_read(void **state)
{
    struct bucket b, now;

    (void)state;
    assert_int_equal(create("b", "me", &b), ERR_OK);
    assert_int_equal(set_props((struct bucket_set_props_req){.change = STR("{\"a\":1}"), .only_if = STR("")}, &now),
                     ERR_OK);
    assert_true(str_eq(now.props, STR("{\"a\":1}")));
    assert_int_equal(set_props((struct bucket_set_props_req){.change = STR("{\"a\":2}"), .only_if = STR("")}, &now),
                     ERR_CONFLICT);
    assert_int_equal(buckets_find(buckets, &arena, STR("b"), &now), ERR_OK);
    assert_int_equal(
        set_props((struct bucket_set_props_req){.change = STR("{\"a\":null,\"members\":true}"), .only_if = now.props},
                  &now),
        ERR_OK);
    assert_true(str_eq(now.props, STR("{\"members\":true}")) && now.members);
    assert_int_equal(set_props((struct bucket_set_props_req){.change = STR("[]")}, &now), ERR_INVALID_ARGUMENT);
}

static enum err create_wide(const char *name, struct redundancy r)
{
    struct bucket_create_req req = {.arena = &arena, .name = str_z(name), .owner = STR("me"), .redundancy = r};
    struct bucket_create_res res = {0};
    struct wait w;

    buckets_create(buckets, &req, &res, begin(&w));
    return end(&w);
}

static void expect_redundancy(struct buckets *t, const char *name, struct redundancy r)
{
    struct bucket b = {0};

    assert_int_equal(buckets_find(t, &arena, str_z(name), &b), ERR_OK);
    assert_memory_equal(&r, &b.id.redundancy, sizeof(r));
}

static void redundancy_is_kept_and_travels(void **state)
{
    const struct redundancy ec = {REDUNDANCY_EC, 4, 2}, mirror = {REDUNDANCY_MIRROR, 2, 0};
    struct bucket_page page;
    struct buckets *other;

    (void)state;
    assert_false(buckets_any_wide(buckets));
    assert_int_equal(create_wide("mirrored", mirror), ERR_OK);
    assert_false(buckets_any_wide(buckets));
    assert_int_equal(create_wide("wide", ec), ERR_OK);
    assert_true(buckets_any_wide(buckets));
    expect_redundancy(buckets, "wide", ec);
    expect_redundancy(buckets, "mirrored", mirror);
    buckets_list(buckets, &arena, STR(""), STR(""), 10, &page);
    assert_int_equal(page.buckets[1].id.redundancy.kind, REDUNDANCY_EC);

    assert_int_equal(buckets_open(meta, &other), ERR_OK); /* as others read it */
    expect_redundancy(other, "wide", ec);
    assert_true(buckets_any_wide(other));
    assert_int_equal(delete_bucket("wide"), ERR_OK);
    assert_false(buckets_any_wide(buckets));
    assert_false(buckets_any_wide(other));
    buckets_close(other);
}

static void only_an_empty_bucket_is_deleted(void **state)
{
    struct bucket b, next;

    (void)state;
    assert_int_equal(create("one", "me", &b), ERR_OK);
    assert_int_equal(put_object(&b), ERR_OK);
    assert_int_equal(delete_bucket("one"), ERR_BUCKET_NOT_EMPTY);
    assert_int_equal(put_object(&b), ERR_OK);
    struct obj_delete_req req = {.arena = &arena, .bucket = b.id, .key = STR("key"), .cond = COND_INIT};
    struct obj_delete_res res;
    struct wait w;
    store_obj_delete(store, &req, &res, begin(&w));
    assert_int_equal(end(&w), ERR_OK);
    assert_int_equal(delete_bucket("one"), ERR_OK);
    assert_int_equal(buckets_find(buckets, &arena, STR("one"), &next), ERR_NO_SUCH_BUCKET);
    assert_int_equal(put_object(&b), ERR_NO_SUCH_BUCKET); /* who still holds the old one can't write */
    assert_int_equal(delete_bucket("one"), ERR_NO_SUCH_BUCKET);
    assert_int_equal(create("one", "me", &next), ERR_OK);
    assert_true(next.id.uid != b.id.uid);
    assert_int_equal(put_object(&next), ERR_OK);
}

static void racing_deletes_agree(void **state)
{
    struct bucket_delete_req req = {&arena, store, STR("one")};
    struct bucket_delete_res res;
    struct wait w[3];
    struct bucket b;
    int won = 0;

    (void)state;
    assert_int_equal(create("one", "me", &b), ERR_OK);
    for (int i = 0; i < 3; i++)
        buckets_delete(buckets, &req, &res, begin(&w[i]));
    for (int i = 0; i < 3; i++) {
        enum err e = end(&w[i]);
        won += e == ERR_OK;
        assert_true(e == ERR_OK || e == ERR_NO_SUCH_BUCKET);
    }
    assert_int_equal(won, 1);
    assert_int_equal(put_object(&b), ERR_NO_SUCH_BUCKET);
}

static enum err put_record(struct str key, struct str value, bool removed)
{
    struct meta_put_req req = {.key = key, .value = value, .revision = META_ANY, .remove = removed};
    struct meta_put_res res;
    struct wait w;

    meta_put(meta, &req, &res, begin(&w));
    return end(&w);
}

static void refused_removal_unseals(void **state)
{
    struct bucket_delete_req req = {&arena, store, STR("one")};
    struct bucket_delete_res res;
    struct meta_get_req get = {&arena, STR("bucket/one")};
    struct meta_get_res record;
    struct wait w;
    struct bucket b;

    (void)state;
    assert_int_equal(create("one", "me", &b), ERR_OK);
    meta_get(meta, &get, &record, begin(&w));
    assert_int_equal(end(&w), ERR_OK);
    buckets_delete(buckets, &req, &res, begin(&w));
    struct meta_put_req put = {.key = get.key, .value = record.value, .revision = META_ANY};
    struct meta_put_res written;
    struct wait other;
    meta_put(meta, &put, &written, begin(&other)); /* the record changes under the delete */
    assert_int_equal(end(&other), ERR_OK);
    assert_int_equal(end(&w), ERR_CONFLICT);
    assert_int_equal(buckets_find(buckets, &arena, STR("one"), &b), ERR_OK);
    assert_int_equal(put_object(&b), ERR_OK);
}

static void changes_of_others_are_followed(void **state)
{
    struct bucket b;

    (void)state;
    assert_int_equal(put_record(STR("bucket/theirs"),
                                STR("{\"format\":1,\"uid\":\"00000000000000ff\",\"created_ns\":5,\"new\":[1]}"), false),
                     ERR_OK);
    assert_int_equal(buckets_find(buckets, &arena, STR("theirs"), &b), ERR_OK);
    assert_true(b.id.uid == 255 && b.created_ns == 5 && b.owner.n == 0);
    assert_int_equal(put_record(STR("bucket/theirs"), STR_NONE, true), ERR_OK);
    assert_int_equal(buckets_find(buckets, &arena, STR("theirs"), &b), ERR_NO_SUCH_BUCKET);
}

static void unreadable_records_are_passed_over(void **state)
{
    static const char *const bad[] = {"",
                                      "[]",
                                      "{",
                                      "{\"format\":2,\"uid\":\"1\",\"created_ns\":1}",
                                      "{\"format\":1,\"uid\":\"0\",\"created_ns\":1}",
                                      "{\"format\":1,\"uid\":\"1\",\"created_ns\":-1}"};
    struct bucket b;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(put_record(STR("bucket/bad"), str_z(bad[i]), false), ERR_OK);
        assert_int_equal(buckets_find(buckets, &arena, STR("bad"), &b), ERR_NO_SUCH_BUCKET);
    }
}

static void opening_loads_what_is_there(void **state)
{
    struct buckets *other;
    struct bucket b;

    (void)state;
    assert_int_equal(create("two", "me", &b), ERR_OK);
    assert_int_equal(create("one", "me", &b), ERR_OK);
    assert_int_equal(buckets_open(meta, &other), ERR_OK);
    assert_int_equal(buckets_find(other, &arena, STR("one"), &b), ERR_OK);
    assert_int_equal(buckets_find(other, &arena, STR("two"), &b), ERR_OK);
    buckets_close(buckets);
    buckets = other;
    meta_close(meta); /* before the closed directory is told anything */
    meta = meta_memory_new();
}

/* A store whose watch tells nothing: as one of several gateways sees what another has just done. */
struct late {
    struct meta meta;
    bool reachable;
};

static void late_get(struct meta *m, const struct meta_get_req *req, struct meta_get_res *res, struct call *c)
{
    (void)m;
    meta_get(meta, req, res, c);
}

static enum err late_watch(struct meta *m, struct str prefix, meta_watch_fn *fn, void *arg)
{
    (void)m, (void)prefix, (void)fn, (void)arg;
    return ERR_OK;
}

static bool late_reachable(struct meta *m)
{
    return CONTAINER(m, struct late, meta)->reachable;
}

static enum err look(struct buckets *t, const char *name, struct bucket *out)
{
    struct bucket_look_req req = {&arena, str_z(name)};
    struct bucket_look_res res = {0};
    struct wait w;

    buckets_look(t, &req, &res, begin(&w));
    assert_false(w.done);
    enum err e = end(&w);
    *out = res.bucket;
    return e;
}

static void a_bucket_made_elsewhere_is_looked_for(void **state)
{
    static const struct meta_ops ops = {
        .name = "late", .shared = true, .get = late_get, .watch = late_watch, .reachable = late_reachable};
    struct late late = {{&ops}, true};
    struct buckets *other;
    struct bucket made, found;

    (void)state;
    assert_int_equal(buckets_open(&late.meta, &other), ERR_OK);
    assert_int_equal(look(other, "one", &found), ERR_NO_SUCH_BUCKET);
    assert_int_equal(create("one", "me", &made), ERR_OK);
    assert_int_equal(buckets_find(other, &arena, STR("one"), &found), ERR_NO_SUCH_BUCKET);
    late.reachable = false;
    assert_int_equal(look(other, "one", &found), ERR_UNAVAILABLE);
    late.reachable = true;
    assert_int_equal(look(other, "one", &found), ERR_OK);
    assert_true(found.id.uid == made.id.uid && str_eq(found.owner, STR("me")));
    late.reachable = false; /* known from now on */
    assert_int_equal(look(other, "one", &found), ERR_OK);
    assert_int_equal(buckets_find(other, &arena, STR("one"), &found), ERR_OK);
    assert_int_equal(look(buckets, "none", &found), ERR_NO_SUCH_BUCKET); /* an embedded store is not asked again */
    buckets_close(other);
}

static void lists_are_ordered_pages(void **state)
{
    static const char *const names[] = {"a1", "a2", "a3", "b1", "b2"};
    static const int order[] = {3, 0, 4, 2, 1};
    struct bucket_page page;
    struct bucket b;

    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(create(names[order[i]], "me", &b), ERR_OK);
    buckets_list(buckets, &arena, STR_NONE, STR_NONE, 100, &page);
    assert_int_equal(page.count, 5);
    assert_false(page.truncated);
    for (int i = 0; i < 5; i++)
        assert_true(str_eq(page.buckets[i].id.name, str_z(names[i])));
    buckets_list(buckets, &arena, STR("a"), STR("a1"), 1, &page);
    assert_int_equal(page.count, 1);
    assert_true(page.truncated);
    assert_true(str_eq(page.buckets[0].id.name, STR("a2")));
    buckets_list(buckets, &arena, STR("a"), STR("a2"), 1, &page);
    assert_int_equal(page.count, 1);
    assert_false(page.truncated);
    buckets_list(buckets, &arena, STR("b"), STR("c"), 1, &page);
    assert_int_equal(page.count, 0);
    buckets_list(buckets, &arena, STR_NONE, STR_NONE, 0, &page);
    assert_int_equal(page.count, 0);
    assert_false(page.truncated);
}

/* Several loops create and delete the same names while others look: each creation has one winner. */
enum { LOOPS = 3, NAMES = 40 };

struct racer {
    pthread_t thread;
    struct loop *loop;
    int won;
};

static atomic_int racing;

static void race_once(struct racer *r, struct store *own, int i)
{
    struct arena mine = ARENA_INIT;
    struct str name = arena_printf(&mine, "name-%d", i / 2);
    struct bucket_create_req create_req = {.arena = &mine, .name = name, .owner = STR("me")};
    struct bucket_create_res created = {0};
    struct bucket_delete_req delete_req = {&mine, own, name};
    struct bucket_delete_res deleted;
    struct bucket_page page;
    struct wait w = {0};

    call_begin(&w.call, r->loop, done);
    if (i % 2)
        buckets_delete(buckets, &delete_req, &deleted, &w.call);
    else
        buckets_create(buckets, &create_req, &created, &w.call);
    while (!w.done) {
        buckets_list(buckets, &mine, STR("name-1"), STR_NONE, 5, &page);
        loop_turn(r->loop, 1);
    }
    r->won += w.call.err == ERR_OK;
    arena_release(&mine);
}

static void *race(void *arg)
{
    struct racer *r = arg;

    r->loop = loop_new();
    loop_adopt(r->loop);
    struct store *own = memstore_new(r->loop);
    for (int i = 0; i < 2 * NAMES; i += 2)
        race_once(r, own, i);
    atomic_fetch_sub(&racing, 1);
    while (atomic_load(&racing) > 0)
        loop_turn(r->loop, 1);
    for (int i = 1; i < 2 * NAMES; i += 2)
        race_once(r, own, i);
    store_close(own);
    loop_free(r->loop);
    return NULL;
}

static void loops_share_the_directory(void **state)
{
    struct racer racers[LOOPS] = {0};
    struct bucket_page page;
    int won = 0;

    (void)state;
    atomic_store(&racing, LOOPS);
    for (int i = 0; i < LOOPS; i++)
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    for (int i = 0; i < LOOPS; i++) {
        pthread_join(racers[i].thread, NULL);
        won += racers[i].won;
    }
    assert_int_equal(won, 2 * NAMES); /* made once, removed once */
    buckets_list(buckets, &arena, STR_NONE, STR_NONE, 10, &page);
    assert_int_equal(page.count, 0);
}

static int setup_local(void **state)
{
    (void)state;
    pool = offload_new("test", 2, 64);
    snprintf(dir, sizeof(dir), "/tmp/sluice-buckets-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(meta_local_open(str_z(dir), pool, &meta), ERR_OK);
    store = memstore_new(loop);
    assert_int_equal(buckets_open(meta, &buckets), ERR_OK);
    return 0;
}

static int remove_file(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static int teardown_local(void **state)
{
    teardown(state);
    offload_free(pool);
    nftw(dir, remove_file, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(created_bucket_is_found_at_once),
        T(second_creation_tells_whose_it_is),
        T(settings_change_only_as_they_were_read),
        T(a_renamed_bucket_keeps_all_but_its_name),
        T(a_bucket_renamed_while_it_is_deleted_takes_writes),
        T(redundancy_is_kept_and_travels),
        T(only_an_empty_bucket_is_deleted),
        T(racing_deletes_agree),
        T(refused_removal_unseals),
        T(changes_of_others_are_followed),
        T(unreadable_records_are_passed_over),
        T(opening_loads_what_is_there),
        T(a_bucket_made_elsewhere_is_looked_for),
        T(lists_are_ordered_pages),
        T(loops_share_the_directory),
        cmocka_unit_test_setup_teardown(loops_share_the_directory, setup_local, teardown_local),
    };

    loop = loop_new();
    loop_adopt(loop);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(loop);
    return failed;
}
