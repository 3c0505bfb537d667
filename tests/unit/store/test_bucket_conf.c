#include "unit.h"

#include <stdlib.h>

#include "base/mem.h"
#include "store/bucket_conf.h"
#include "store/buckets.h"
#include "store/memstore.h"

static struct loop *loop;
static struct meta *meta;
static struct bucket_confs *confs;
static struct arena arena;
static int parsed;

/* Its length; NULL for "bad". */
static const void *count_bytes(struct arena *a, struct str text)
{
    size_t *n = ARENA_NEW(a, size_t);

    parsed++;
    *n = text.n;
    return str_eq(text, STR("bad")) ? NULL : n;
}

static const struct bucket_doc_kind kinds[] = {{{"cors", 4}, count_bytes}};

static int setup(void **state)
{
    (void)state;
    parsed = 0;
    meta = meta_memory_new();
    assert_int_equal(bucket_confs_open(meta, kinds, 1, &confs), ERR_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    meta_close(meta); /* tells the table nothing more */
    bucket_confs_close(confs);
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

static enum err put(uint64_t uid, const char *name, struct str text)
{
    struct bucket_conf_put_req req = {&arena, uid, str_z(name), text};
    struct bucket_conf_put_res res;
    struct wait w;

    bucket_conf_put(confs, &req, &res, begin(&w));
    return end(&w);
}

static enum err put_meta(const char *key, struct str value, bool removed)
{
    struct meta_put_req req = {.key = str_z(key), .value = value, .revision = META_ANY, .remove = removed};
    struct meta_put_res res;
    struct wait w;

    meta_put(meta, &req, &res, begin(&w));
    return end(&w);
}

static const struct bucket_doc *find(uint64_t uid, const char *name)
{
    return bucket_conf_find(confs, &arena, uid, str_z(name));
}

static void what_is_put_is_found_at_once(void **state)
{
    (void)state;
    assert_null(find(1, "cors"));
    assert_int_equal(put(1, "cors", STR("abc")), ERR_OK);
    assert_int_equal(put(1, "tagging", STR("tags")), ERR_OK);
    assert_int_equal(put(2, "cors", STR("")), ERR_OK);
    assert_true(str_eq(find(1, "cors")->text, STR("abc")));
    assert_true(str_eq(find(1, "tagging")->text, STR("tags")));
    assert_true(find(2, "cors")->text.n == 0);
    assert_null(find(2, "tagging"));
    assert_null(find(3, "cors"));
}

static void finding_parses_nothing(void **state)
{
    (void)state;
    assert_int_equal(put(1, "cors", STR("abc")), ERR_OK);
    parsed = 0;
    for (int i = 0; i < 10; i++)
        assert_int_equal(*(const size_t *)find(1, "cors")->parsed, 3);
    assert_int_equal(parsed, 0);
    assert_int_equal(put(1, "other", STR("abc")), ERR_OK);
    assert_null(find(1, "other")->parsed);
    assert_int_equal(put(1, "cors", STR("bad")), ERR_OK);
    assert_null(find(1, "cors")->parsed);
}

static void who_looks_at_it_keeps_it(void **state)
{
    const struct bucket_doc *d;

    (void)state;
    assert_int_equal(put(1, "cors", STR("old")), ERR_OK);
    d = find(1, "cors");
    assert_int_equal(put(1, "cors", STR("new")), ERR_OK);
    assert_int_equal(put(1, "cors", STR_NONE), ERR_OK);
    assert_true(str_eq(d->text, STR("old")) && *(const size_t *)d->parsed == 3);
    assert_null(find(1, "cors"));
    assert_int_equal(put(1, "cors", STR_NONE), ERR_OK); /* there is none any more */
}

static void changes_of_others_are_followed(void **state)
{
    (void)state;
    assert_int_equal(put_meta("bucketconf/00000000000000ff/cors", STR("theirs"), false), ERR_OK);
    assert_true(str_eq(find(255, "cors")->text, STR("theirs")));
    assert_int_equal(put(255, "cors", STR("ours")), ERR_OK);
    assert_int_equal(put_meta("bucketconf/00000000000000ff/cors", STR("theirs again"), false), ERR_OK);
    assert_true(str_eq(find(255, "cors")->text, STR("theirs again")));
    assert_int_equal(put_meta("bucketconf/00000000000000ff/cors", STR_NONE, true), ERR_OK);
    assert_null(find(255, "cors"));
    assert_int_equal(put_meta("bucketconf/what", STR("x"), false), ERR_OK); /* logged, no more */
}

static void opening_loads_what_is_there(void **state)
{
    (void)state;
    for (uint64_t uid = 40; uid > 0; uid--)
        assert_int_equal(put(uid, "cors", STR("abc")), ERR_OK);
    struct bucket_confs *again;
    assert_int_equal(bucket_confs_open(meta, kinds, 1, &again), ERR_OK);
    for (uint64_t uid = 1; uid <= 40; uid++)
        assert_non_null(bucket_conf_find(again, &arena, uid, STR("cors")));
    assert_null(bucket_conf_find(again, &arena, 41, STR("cors")));
    meta_close(meta); /* watchers go before what they tell */
    bucket_confs_close(again);
    meta = meta_memory_new();
}

static void too_large_is_refused(void **state)
{
    char *text = mem_alloc(BUCKET_DOC_MAX + 1);

    (void)state;
    memset(text, 'x', BUCKET_DOC_MAX + 1);
    assert_int_equal(put(1, "cors", str_n(text, BUCKET_DOC_MAX)), ERR_OK);
    assert_int_equal(put(1, "cors", str_n(text, BUCKET_DOC_MAX + 1)), ERR_TOO_LARGE);
    assert_int_equal(find(1, "cors")->text.n, BUCKET_DOC_MAX);
    free(text);
}

static void they_go_with_their_bucket(void **state)
{
    struct store *store = memstore_new(loop);
    struct buckets *buckets;
    struct bucket_create_req make = {.arena = &arena, .name = STR("one"), .owner = STR("me")};
    struct bucket_create_res made = {0};
    struct bucket_delete_req drop = {&arena, store, STR("one")};
    struct bucket_delete_res dropped;
    struct wait w;

    (void)state;
    assert_int_equal(buckets_open(meta, &buckets), ERR_OK);
    buckets_create(buckets, &make, &made, begin(&w));
    assert_int_equal(end(&w), ERR_OK);
    uint64_t uid = made.bucket.id.uid;
    assert_int_equal(put(uid, "cors", STR("abc")), ERR_OK);
    assert_int_equal(put(uid, "tagging", STR("abc")), ERR_OK);
    assert_int_equal(put(uid + 1, "cors", STR("another's")), ERR_OK);
    buckets_delete(buckets, &drop, &dropped, begin(&w));
    assert_int_equal(end(&w), ERR_OK);
    assert_null(find(uid, "cors"));
    assert_null(find(uid, "tagging"));
    assert_non_null(find(uid + 1, "cors"));
    meta_close(meta);
    buckets_close(buckets);
    store_close(store);
    meta = meta_memory_new();
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(what_is_put_is_found_at_once),   T(finding_parses_nothing),      T(who_looks_at_it_keeps_it),
        T(changes_of_others_are_followed), T(opening_loads_what_is_there), T(too_large_is_refused),
        T(they_go_with_their_bucket),
    };

    loop = loop_new();
    loop_adopt(loop);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(loop);
    return failed;
}
