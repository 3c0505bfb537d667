#include "unit.h"

#include <ftw.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "etcd_kit.h"
#include "store/meta.h"

/* All stores run the same tests. */
enum kind { MEMORY, LOCAL, ETCD, KINDS };
struct env {
    struct loop *loop;
    struct offload *pool;
    struct meta *meta;
    struct arena arena;
    enum kind kind;
    char dir[64];
    struct etcd_server etcd;
    unsigned tests; /* each has keys of its own in etcd */
};

static struct env env;

static int remove_file(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static void open_meta(void)
{
    char prefix[32], why[256] = "";
    struct str endpoint = str_z(env.etcd.url);

    snprintf(prefix, sizeof(prefix), "/sluice/%u/", env.tests);
    struct meta_etcd_conf conf = {.endpoints = &endpoint, .endpoint_count = 1, .prefix = str_z(prefix)};
    if (env.kind == LOCAL)
        assert_int_equal(meta_local_open(str_z(env.dir), env.pool, &env.meta), ERR_OK);
    else if (env.kind == ETCD)
        assert_int_equal(meta_etcd_open(&conf, &env.meta, why), ERR_OK);
    else
        env.meta = meta_memory_new();
}

static int setup(void **state)
{
    (void)state;
    env.tests++;
    env.pool = offload_new("test", 2, 64);
    snprintf(env.dir, sizeof(env.dir), "/tmp/sluice-meta-XXXXXX");
    assert_non_null(mkdtemp(env.dir));
    open_meta();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    meta_close(env.meta);
    offload_free(env.pool);
    arena_release(&env.arena);
    nftw(env.dir, remove_file, 16, FTW_DEPTH | FTW_PHYS);
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
    call_begin(&w->call, env.loop, done);
    return &w->call;
}

static enum err end(struct wait *w)
{
    while (!w->done)
        loop_turn(env.loop, 1000);
    return w->call.err;
}

static enum err put(struct str key, struct str value, uint64_t revision, uint64_t *out)
{
    struct meta_put_req req = {.key = key, .value = value, .revision = revision};
    struct meta_put_res res = {0};
    struct wait w;

    meta_put(env.meta, &req, &res, begin(&w));
    assert_false(w.done);
    enum err e = end(&w);
    if (e == ERR_OK && out)
        *out = res.revision;
    return e;
}

static enum err drop(struct str key, uint64_t revision)
{
    struct meta_put_req req = {.key = key, .revision = revision, .remove = true};
    struct meta_put_res res;
    struct wait w;

    meta_put(env.meta, &req, &res, begin(&w));
    return end(&w);
}

static struct meta_get_res get(struct str key, enum err expected)
{
    struct meta_get_req req = {&env.arena, key};
    struct meta_get_res res = {STR_NONE, 0};
    struct wait w;

    meta_get(env.meta, &req, &res, begin(&w));
    assert_int_equal(end(&w), expected);
    return res;
}

static void expect(struct str key, struct str value, uint64_t revision)
{
    struct meta_get_res res = get(key, ERR_OK);

    assert_true(str_eq(res.value, value));
    assert_true(res.revision == revision);
}

static void writes_state_what_they_replace(void **state)
{
    uint64_t first, second, third;

    (void)state;
    get(STR("a"), ERR_NOT_FOUND);
    assert_int_equal(put(STR("a"), STR("1"), 7, NULL), ERR_CONFLICT);
    assert_int_equal(put(STR("a"), STR("1"), 0, &first), ERR_OK);
    assert_true(first != 0);
    expect(STR("a"), STR("1"), first);
    assert_int_equal(put(STR("a"), STR("2"), 0, NULL), ERR_CONFLICT);
    assert_int_equal(put(STR("a"), STR("2"), first, &second), ERR_OK);
    assert_true(second > first);
    assert_int_equal(put(STR("a"), STR("3"), first, NULL), ERR_CONFLICT);
    assert_int_equal(put(STR("a"), STR(""), META_ANY, &third), ERR_OK);
    expect(STR("a"), STR(""), third);
    assert_int_equal(drop(STR("a"), second), ERR_CONFLICT);
    assert_int_equal(drop(STR("a"), third), ERR_OK);
    get(STR("a"), ERR_NOT_FOUND);
    assert_int_equal(drop(STR("a"), META_ANY), ERR_OK);
    assert_int_equal(put(STR("a"), STR("4"), 0, &first), ERR_OK);
    assert_true(first > third); /* no revision comes back */
}

static void writes_can_depend_on_the_absence_of_another_key(void **state)
{
    struct meta_put_req req = {.key = STR("map"), .value = STR("1"), .revision = META_ANY, .absent = STR("alive/1")};
    struct meta_put_res res;
    uint64_t alive;
    struct wait w;

    (void)state;
    assert_int_equal(put(STR("alive/1"), STR("x"), 0, &alive), ERR_OK);
    meta_put(env.meta, &req, &res, begin(&w));
    assert_int_equal(end(&w), ERR_CONFLICT);
    get(STR("map"), ERR_NOT_FOUND);
    assert_int_equal(drop(STR("alive/1"), alive), ERR_OK);
    meta_put(env.meta, &req, &res, begin(&w));
    assert_int_equal(end(&w), ERR_OK);
    expect(STR("map"), STR("1"), res.revision);
    req.revision = res.revision - 1;
    meta_put(env.meta, &req, &res, begin(&w));
    assert_int_equal(end(&w), ERR_CONFLICT); /* the key's own revision counts as ever */
    req.absent = str_n("\0x", 2);
    meta_put(env.meta, &req, &res, begin(&w));
    assert_int_equal(end(&w), ERR_INVALID_ARGUMENT);
}

static void of_racing_writers_one_wins(void **state)
{
    enum { RACERS = 8 };
    struct meta_put_req req[RACERS];
    struct meta_put_res res[RACERS];
    struct wait w[RACERS];
    int won = 0;

    (void)state;
    for (int i = 0; i < RACERS; i++) {
        req[i] = (struct meta_put_req){.key = STR("race"), .value = str_n("01234567" + i, 1)};
        meta_put(env.meta, &req[i], &res[i], begin(&w[i]));
    }
    for (int i = 0; i < RACERS; i++) {
        enum err e = end(&w[i]);
        if (e == ERR_OK) {
            won++;
            expect(STR("race"), req[i].value, res[i].revision);
        } else {
            assert_int_equal(e, ERR_CONFLICT);
        }
    }
    assert_int_equal(won, 1);
}

static void keys_and_values_have_limits(void **state)
{
    static char big[META_VALUE_MAX + 1];

    (void)state;
    memset(big, 'k', sizeof(big));
    assert_int_equal(put(STR(""), STR("x"), 0, NULL), ERR_INVALID_ARGUMENT);
    assert_int_equal(put(STR("\0x"), STR("x"), 0, NULL), ERR_INVALID_ARGUMENT);
    assert_int_equal(put(str_n(big, META_KEY_MAX + 1), STR("x"), 0, NULL), ERR_INVALID_ARGUMENT);
    assert_int_equal(put(STR("a"), str_n(big, META_VALUE_MAX + 1), 0, NULL), ERR_TOO_LARGE);
    assert_int_equal(put(str_n(big, META_KEY_MAX), str_n(big, META_VALUE_MAX), 0, NULL), ERR_OK);
    assert_int_equal(get(str_n(big, META_KEY_MAX), ERR_OK).value.n, META_VALUE_MAX);
}

static struct meta_list_res list(struct str prefix, struct str after, uint32_t max)
{
    struct meta_list_req req = {&env.arena, prefix, after, max};
    struct meta_list_res res = {0};
    struct wait w;

    meta_list(env.meta, &req, &res, begin(&w));
    assert_int_equal(end(&w), ERR_OK);
    return res;
}

static void lists_are_ordered_pages(void **state)
{
    static const char *const keys[] = {"a/1", "a/2", "a/3", "b", "b/1"};
    uint64_t revision[5];

    (void)state;
    for (int i = 4; i >= 0; i--)
        assert_int_equal(put(str_z(keys[i]), str_z(keys[i]), 0, &revision[i]), ERR_OK);
    struct meta_list_res res = list(STR(""), STR(""), 100);
    assert_int_equal(res.count, 5);
    assert_false(res.truncated);
    for (int i = 0; i < 5; i++) {
        assert_true(str_eq(res.entries[i].key, str_z(keys[i])));
        assert_true(str_eq(res.entries[i].value, str_z(keys[i])));
        assert_true(res.entries[i].revision == revision[i]);
    }
    res = list(STR("a/"), STR("a/1"), 1);
    assert_int_equal(res.count, 1);
    assert_true(res.truncated);
    assert_true(str_eq(res.entries[0].key, STR("a/2")));
    res = list(STR("a/"), STR("a/2"), 1);
    assert_int_equal(res.count, 1);
    assert_false(res.truncated);
    assert_int_equal(list(STR("a/"), STR("b"), 10).count, 0);
    assert_int_equal(list(STR("c"), STR(""), 10).count, 0);
}

static struct buf told;
static pthread_mutex_t told_lock = PTHREAD_MUTEX_INITIALIZER;

static void tell(void *arg, struct str key, struct str value, uint64_t revision, bool removed)
{
    assert_ptr_equal(arg, &told);
    assert_true(revision != 0);
    pthread_mutex_lock(&told_lock);
    buf_addf(&told, STR_FMT "%s" STR_FMT ";", STR_ARG(key), removed ? "-" : "=", STR_ARG(value));
    pthread_mutex_unlock(&told_lock);
}

/* The embedded stores have told by now, etcd does soon. Ends the buffer's life: the store is closed first. */
static void expect_told(struct str expected)
{
    bool same = false;

    for (int i = 0; i < 500 && !same; i++) {
        pthread_mutex_lock(&told_lock);
        same = str_eq(buf_str(&told), expected);
        pthread_mutex_unlock(&told_lock);
        if (!same && env.kind != ETCD)
            break;
        if (!same)
            usleep(10000);
    }
    meta_close(env.meta);
    if (!same)
        print_message("told: " STR_FMT "\n", STR_ARG(buf_str(&told)));
    buf_release(&told);
    open_meta();
    assert_true(same);
}

static void watchers_are_told_in_order(void **state)
{
    (void)state;
    buf_init(&told, 1000);
    assert_int_equal(put(STR("w/2"), STR("b"), 0, NULL), ERR_OK);
    assert_int_equal(put(STR("w/1"), STR("a"), 0, NULL), ERR_OK);
    assert_int_equal(put(STR("x/1"), STR("no"), 0, NULL), ERR_OK);
    assert_int_equal(meta_watch(env.meta, STR("w/"), tell, &told), ERR_OK);
    assert_int_equal(put(STR("w/1"), STR("c"), META_ANY, NULL), ERR_OK);
    assert_int_equal(put(STR("w/1"), STR("d"), 0, NULL), ERR_CONFLICT);
    assert_int_equal(put(STR("x/1"), STR("no"), META_ANY, NULL), ERR_OK);
    assert_int_equal(drop(STR("w/2"), META_ANY), ERR_OK);
    assert_int_equal(drop(STR("w/2"), META_ANY), ERR_OK);
    expect_told(STR("w/1=a;w/2=b;w/1=c;w/2-;"));
}

static void one_write_moves_a_value_to_another_key(void **state)
{
    struct meta_put_req req = {.key = STR("move/b"), .value = STR("v"), .vacates = STR("move/a")};
    struct meta_put_res res;
    struct wait w;
    uint64_t a, b;

    (void)state;
    buf_init(&told, 1000);
    meta_put(env.meta, &req, &res, begin(&w));
    assert_int_equal(end(&w), ERR_INVALID_ARGUMENT); /* a revision must be stated */
    assert_int_equal(put(STR("move/a"), STR("v"), 0, &a), ERR_OK);
    req.vacates_revision = a + 1000;
    meta_put(env.meta, &req, &res, begin(&w));
    assert_int_equal(end(&w), ERR_CONFLICT);
    get(STR("move/b"), ERR_NOT_FOUND);
    expect(STR("move/a"), STR("v"), a);
    assert_int_equal(put(STR("move/b"), STR("other"), 0, &b), ERR_OK);
    req.vacates_revision = a;
    meta_put(env.meta, &req, &res, begin(&w));
    assert_int_equal(end(&w), ERR_CONFLICT); /* the new key is taken */
    expect(STR("move/a"), STR("v"), a);
    assert_int_equal(drop(STR("move/b"), b), ERR_OK);
    assert_int_equal(meta_watch(env.meta, STR("move/"), tell, &told), ERR_OK);
    meta_put(env.meta, &req, &res, begin(&w));
    assert_int_equal(end(&w), ERR_OK);
    expect(STR("move/b"), STR("v"), res.revision);
    get(STR("move/a"), ERR_NOT_FOUND);
    meta_put(env.meta, &req, &res, begin(&w));
    assert_int_equal(end(&w), ERR_CONFLICT); /* nothing to move any more */
    expect_told(STR("move/a=v;move/a-;move/b=v;"));
}

static void a_leased_key_goes_with_its_lease(void **state)
{
    struct meta_lease_req req = {STR("alive/1"), STR("me"), 5};
    struct meta_lease *lease = NULL, *other = NULL;

    (void)state;
    assert_true(meta_reachable(env.meta));
    meta_lease_end(env.meta, NULL);
    buf_init(&told, 1000);
    assert_int_equal(meta_watch(env.meta, STR("alive/"), tell, &told), ERR_OK);
    assert_int_equal(put(STR("alive/1"), STR("left"), 0, NULL), ERR_OK);
    assert_int_equal(meta_lease(env.meta, &req, &lease), ERR_OK);
    assert_true(str_eq(get(STR("alive/1"), ERR_OK).value, STR("me")));
    meta_lease_end(env.meta, lease);
    get(STR("alive/1"), ERR_NOT_FOUND);
    req.key = STR("alive/2");
    assert_int_equal(meta_lease(env.meta, &req, &other), ERR_OK);
    req.key = STR("");
    assert_int_equal(meta_lease(env.meta, &req, &lease), ERR_INVALID_ARGUMENT);
    expect_told(STR("alive/1=left;alive/1=me;alive/1-;alive/2=me;"));
    get(STR("alive/2"), ERR_NOT_FOUND); /* closing ended it */
}

/* This program again, by itself: ends without closing anything. */
static int crash_with_lease(const char *dir)
{
    struct offload *pool = offload_new("test", 2, 64);
    struct meta_lease *lease;
    struct meta *m;

    if (meta_local_open(str_z(dir), pool, &m) != ERR_OK ||
        meta_lease(m, &(struct meta_lease_req){STR("alive/1"), STR("me"), 5}, &lease) != ERR_OK)
        return 1;
    _exit(0);
}

static void a_crash_leaves_no_leased_key(void **state)
{
    (void)state;
    if (env.kind != LOCAL)
        skip();
    meta_close(env.meta);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "test", env.dir, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    open_meta();
    get(STR("alive/1"), ERR_NOT_FOUND);
}

static void reopened_it_goes_on(void **state)
{
    uint64_t kept, gone, next;

    (void)state;
    if (env.kind == MEMORY)
        skip();
    assert_int_equal(put(STR("a"), STR("kept"), 0, &kept), ERR_OK);
    assert_int_equal(put(STR("b"), STR("gone"), 0, &gone), ERR_OK);
    assert_int_equal(drop(STR("b"), gone), ERR_OK);
    meta_close(env.meta);
    open_meta();
    expect(STR("a"), STR("kept"), kept);
    get(STR("b"), ERR_NOT_FOUND);
    assert_int_equal(put(STR("b"), STR("new"), 0, &next), ERR_OK);
    assert_true(next > gone + 1); /* the delete had one too */
    buf_init(&told, 1000);
    assert_int_equal(meta_watch(env.meta, STR(""), tell, &told), ERR_OK);
    expect_told(STR("a=kept;b=new;")); /* none of the store's own */
}

static void second_opener_is_refused(void **state)
{
    struct meta *other = NULL;

    (void)state;
    if (env.kind != LOCAL)
        skip();
    assert_int_not_equal(meta_local_open(str_z(env.dir), env.pool, &other), ERR_OK);
    assert_null(other);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        T(writes_state_what_they_replace),
        T(of_racing_writers_one_wins),
        T(keys_and_values_have_limits),
        T(lists_are_ordered_pages),
        T(watchers_are_told_in_order),
        T(a_leased_key_goes_with_its_lease),
        T(a_crash_leaves_no_leased_key),
        T(reopened_it_goes_on),
        T(second_opener_is_refused),
        T(writes_can_depend_on_the_absence_of_another_key),
        T(one_write_moves_a_value_to_another_key),
    };
    int failed = 0;

    if (argc == 2)
        return crash_with_lease(argv[1]);
    env.loop = loop_new();
    loop_adopt(env.loop);
    for (env.kind = MEMORY; env.kind < KINDS; env.kind++) {
        if (env.kind == ETCD) {
            if (!etcd_is_installed())
                break;
            etcd_server_init(&env.etcd, "one");
            etcd_server_start(&env.etcd);
            etcd_server_wait(&env.etcd);
        }
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    etcd_server_release(&env.etcd);
    loop_free(env.loop);
    return failed;
}
