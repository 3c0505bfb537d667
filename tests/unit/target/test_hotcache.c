#include "unit.h"

#include <pthread.h>
#include <stdio.h>

#include "target/hotcache.h"

static struct hot *entry(const char *key, uint64_t version, size_t body)
{
    static char zeros[1 << 20];
    struct record r = {.kind = BODY_INLINE, .info = {.size = version}};
    struct buf raw = BUF_INIT(RECORD_MAX);
    struct hot *h = NULL;

    assert_int_equal(record_encode(&raw, &r), ERR_OK);
    assert_int_equal(hot_new(str_z(key), buf_str(&raw), str_n(zeros, body), &h), ERR_OK);
    buf_release(&raw);
    return h;
}

/* -1: not there. */
static int body_version(struct hotcache *c, const char *key)
{
    struct hot_ticket t;
    struct hot *h = hot_find(c, str_z(key), &t);
    int v = h ? (int)h->rec.info.size : -1;

    hot_unref(h);
    return v;
}

static void install(struct hotcache *c, const struct hot_ticket *t, const char *key, uint64_t version)
{
    struct hot *h = entry(key, version, 10);

    hot_install(c, t, h);
    hot_unref(h);
}

static void what_is_read_is_kept(void **state)
{
    struct hotcache *c = hotcache_new(1 << 20);
    struct hot_ticket t;

    (void)state;
    assert_null(hot_find(c, STR("k"), &t));
    install(c, &t, "k", 1);
    assert_int_equal(body_version(c, "k"), 1);
    hotcache_free(c);
}

static void a_reader_of_the_old_state_can_not_install_it(void **state)
{
    struct hotcache *c = hotcache_new(1 << 20);
    struct hot_ticket before, during, after;

    (void)state;
    assert_null(hot_find(c, STR("k"), &before));
    hot_write_begin(c, STR("k"));
    install(c, &before, "k", 1);
    assert_int_equal(body_version(c, "k"), -1);
    assert_null(hot_find(c, STR("k"), &during));
    install(c, &during, "k", 1);
    assert_int_equal(body_version(c, "k"), -1);
    hot_write_end(c, STR("k"), entry("k", 2, 10));
    assert_int_equal(body_version(c, "k"), 2);
    install(c, &before, "k", 1);
    install(c, &during, "k", 1);
    assert_int_equal(body_version(c, "k"), 2);
    hot_write_begin(c, STR("k"));
    assert_int_equal(body_version(c, "k"), -1); /* gone before the write can be seen */
    hot_write_end(c, STR("k"), NULL);
    install(c, &during, "k", 1);
    assert_null(hot_find(c, STR("k"), &after));
    install(c, &after, "k", 3);
    assert_int_equal(body_version(c, "k"), 3);
    hotcache_free(c);
}

static void it_stays_within_its_bounds(void **state)
{
    struct hotcache *c = hotcache_new(1 << 20);
    struct hot_ticket t;
    int there = 0;

    (void)state;
    for (int i = 0; i < 2000; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        assert_null(hot_find(c, str_z(key), &t));
        struct hot *h = entry(key, (uint64_t)i, 1500);
        hot_install(c, &t, h);
        hot_unref(h);
        assert_int_not_equal(body_version(c, "k0") == -1 && i < 10, 1);
    }
    for (int i = 0; i < 2000; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        there += body_version(c, key) != -1;
    }
    assert_in_range(there, 300, (1 << 20) / 1500);
    assert_int_not_equal(body_version(c, "k1999"), -1);
    assert_int_equal(body_version(c, "k0"), 0); /* asked for all the time */
    hotcache_free(c);
}

static void too_large_an_entry_is_not_kept(void **state)
{
    struct hotcache *c = hotcache_new(1 << 20);
    struct hot_ticket t;

    (void)state;
    assert_null(hot_find(c, STR("k"), &t));
    struct hot *h = entry("k", 1, 1 << 19);
    hot_install(c, &t, h);
    assert_int_equal(body_version(c, "k"), -1);
    hot_write_begin(c, STR("k"));
    hot_write_end(c, STR("k"), h);
    assert_int_equal(body_version(c, "k"), -1);
    hotcache_free(c);
}

/* One writer moves a key's version on, in the "index" (an atomic) and the cache; readers must never go back in time. */
enum { WRITES = 20000 };
struct race {
    struct hotcache *cache;
    _Atomic uint64_t index;
    _Atomic bool stop;
    _Atomic int stale;
};

static void *read_on(void *arg)
{
    struct race *r = arg;
    uint64_t last = 0;

    while (!atomic_load(&r->stop)) {
        struct hot_ticket t;
        struct hot *h = hot_find(r->cache, STR("k"), &t);
        if (!h) {
            h = entry("k", atomic_load(&r->index), 1);
            hot_install(r->cache, &t, h);
        }
        if (h->rec.info.size < last)
            atomic_fetch_add(&r->stale, 1);
        last = h->rec.info.size;
        hot_unref(h);
    }
    return NULL;
}

static void readers_never_go_back_in_time(void **state)
{
    struct race r = {.cache = hotcache_new(1 << 20)};
    pthread_t readers[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        pthread_create(&readers[i], NULL, read_on, &r);
    for (uint64_t v = 1; v < WRITES; v++) {
        hot_write_begin(r.cache, STR("k"));
        atomic_store(&r.index, v);
        hot_write_end(r.cache, STR("k"), v % 3 ? entry("k", v, 1) : NULL);
    }
    atomic_store(&r.stop, true);
    for (int i = 0; i < 3; i++)
        pthread_join(readers[i], NULL);
    assert_int_equal(atomic_load(&r.stale), 0);
    hotcache_free(r.cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_is_kept),          cmocka_unit_test(a_reader_of_the_old_state_can_not_install_it),
        cmocka_unit_test(it_stays_within_its_bounds),    cmocka_unit_test(too_large_an_entry_is_not_kept),
        cmocka_unit_test(readers_never_go_back_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
