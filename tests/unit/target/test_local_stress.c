#include "unit.h"

#include "local_fixture.h"

#include <pthread.h>

#include "base/clock.h"
#include "target/gc.h"

/* Several loops over one engine put, get, list, copy, complete and delete a few keys at random, while garbage collection runs
 * all the time. Contents describe themselves: every byte of a body says who wrote it, and a body is never mixed, torn or of
 * another size than its record says. */
enum { LOOPS = 3, KEYS = 6, RUN_MS = 2500, PART = 5 << 20 };

struct worker {
    struct local_fixture f; /* a view of its own on the engine */
    pthread_t thread;
    uint64_t seed;
    int id;
    unsigned puts, gets, bad;
    enum err unexpected;
    char *buf;
};

static _Atomic bool stop;

static unsigned rnd(struct worker *w, unsigned n)
{
    w->seed = w->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(w->seed >> 40) % n;
}

static void expect(struct worker *w, enum err e, enum err other)
{
    if (e != ERR_OK && e != other && w->unexpected == ERR_OK)
        w->unexpected = e;
}

static void put(struct worker *w, const char *key)
{
    static const size_t sizes[] = {1, 4096, 16384, 16385, 100000, 2 << 20};
    size_t n = sizes[rnd(w, 6)];

    memset(w->buf, (int)rnd(w, 256), n);
    expect(w, t_put(&w->f, 1, key, str_n(w->buf, n)), ERR_OK);
    w->puts++;
}

static void multipart(struct worker *w, const char *key)
{
    static const size_t sizes[] = {PART, 1000};

    memset(w->buf, (int)rnd(w, 256), PART + 1000);
    expect(w, t_multipart(&w->f, 1, key, w->buf, sizes, 2), ERR_OK);
}

static void get(struct worker *w, const char *key)
{
    struct str got = STR_NONE;
    struct obj_get_req req = {
        .head = {.arena = &w->f.arena, .bucket = {1, STR("bucket")}, .key = str_z(key), .cond = cond_none()}};
    struct obj_get_res res = {0};
    struct waiting wait;

    store_obj_get(w->f.store, &req, &res, wait_begin(&w->f, &wait));
    enum err e = wait_end(&w->f, &wait);
    expect(w, e, ERR_NO_SUCH_KEY);
    if (e != ERR_OK)
        return;
    e = t_read(&w->f, res.body, res.head.len, &got);
    expect(w, e, ERR_OK);
    if (e != ERR_OK)
        return;
    w->gets++;
    if (got.n != res.head.info.size || (got.n && memcmp(got.p, got.p + 1, got.n - 1) != 0))
        w->bad++;
}

static void list(struct worker *w)
{
    struct obj_list_req req = {.arena = &w->f.arena, .bucket = {1, STR("bucket")}, .max = 100};
    struct obj_list_res res;
    struct waiting wait;

    store_obj_list(w->f.store, &req, &res, wait_begin(&w->f, &wait));
    expect(w, wait_end(&w->f, &wait), ERR_OK);
}

static void step(struct worker *w)
{
    static const char *const keys[KEYS] = {"a", "b", "c", "d", "e", "f"};
    const char *key = keys[rnd(w, KEYS)];
    unsigned what = rnd(w, 100);

    if (what < 30)
        put(w, key);
    else if (what < 75)
        get(w, key);
    else if (what < 83)
        expect(w, t_copy(&w->f, 1, keys[rnd(w, KEYS)], key), ERR_NO_SUCH_KEY);
    else if (what < 86)
        multipart(w, key);
    else if (what < 92)
        expect(w, t_delete(&w->f, 1, key, NULL), ERR_OK);
    else
        list(w);
    arena_release(&w->f.arena);
}

static void *work(void *arg)
{
    struct worker *w = arg;

    w->f.loop = loop_new();
    loop_adopt(w->f.loop);
    w->f.store = local_store(w->f.local, w->f.loop);
    w->buf = mem_alloc(PART + 1000);
    while (!atomic_load(&stop))
        step(w);
    free(w->buf);
    store_close(w->f.store);
    loop_free(w->f.loop);
    return NULL;
}

static void *collect(void *arg)
{
    struct local_fixture *f = arg;

    while (!atomic_load(&stop))
        for (size_t i = 0; i < f->conf.mountpath_count; i++)
            (void)!gc_pass(f->local, fixture_disk(f, i), 0, NULL, NULL);
    return NULL;
}

static void nothing_is_mixed_lost_or_left(void **state)
{
    struct local_fixture *f = *state;
    struct worker workers[LOOPS];
    pthread_t collector;
    char path[400];
    int files = 0;

    atomic_store(&stop, false);
    memset(workers, 0, sizeof(workers));
    for (int i = 0; i < LOOPS; i++) {
        workers[i] = (struct worker){.f = {.local = f->local}, .seed = (uint64_t)i + 1, .id = i};
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    }
    pthread_create(&collector, NULL, collect, f);
    usleep(RUN_MS * 1000);
    atomic_store(&stop, true);
    pthread_join(collector, NULL);
    for (int i = 0; i < LOOPS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_string_equal(err_name(workers[i].unexpected), "OK");
        assert_int_equal(workers[i].bad, 0);
        assert_int_not_equal(workers[i].gets, 0);
    }
    for (char key[2] = "a"; key[0] < 'a' + KEYS; key[0]++)
        assert_int_equal(t_delete(f, 1, key, NULL), ERR_OK);
    for (size_t i = 0; i < f->conf.mountpath_count; i++) {
        struct mountpath *m = fixture_disk(f, i);
        mountpath_drain(m);
        extent_cache_reap(f->local->extents, m->segments);
        snprintf(path, sizeof(path), "%s/segments", f->paths[i]);
        files += test_files_below(path);
    }
    assert_int_equal(files, 0);
}

static int setup(void **state)
{
    struct local_fixture *f = fixture_new(2);

    f->conf.cache_bytes = 4 << 20; /* small, so that records come and go */
    f->conf.open_files_max = 8;
    fixture_open(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct local_fixture *f = *state;

    fixture_close(f);
    fixture_free(f);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_mixed_lost_or_left, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
