#include "unit.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../http/cert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "etcd_kit.h"
#include "etcd_proxy.h"
#include "store/meta.h"

/* What etcd, the network and other processes do to the etcd backend; the contract itself is test_meta.c's. */
enum { TIMEOUT_MS = 2000 };

static struct etcd_server etcd;
static struct loop *loop;
static unsigned tests;
static char prefix[32];

/* ---- calls ---- */

struct wait {
    struct call call;
    bool done;
};

static void done(struct call *c)
{
    CONTAINER(c, struct wait, call)->done = true;
}

static enum err end(struct wait *w, struct loop *l)
{
    while (!w->done)
        loop_turn(l, 1000);
    return w->call.err;
}

static struct meta *open_at(struct str url)
{
    struct meta_etcd_conf conf = {
        .endpoints = &url, .endpoint_count = 1, .prefix = str_z(prefix), .timeout_ms = TIMEOUT_MS};
    struct meta *m = NULL;
    char why[256] = "";
    enum err e = meta_etcd_open(&conf, &m, why);

    if (e != ERR_OK)
        print_message("%s\n", why);
    assert_int_equal(e, ERR_OK);
    return m;
}

static enum err put_on(struct loop *l, struct meta *m, struct str key, struct str value, uint64_t revision,
                       uint64_t *out)
{
    struct meta_put_req req = {.key = key, .value = value, .revision = revision, .remove = !value.p};
    struct meta_put_res res = {0};
    struct wait w = {0};

    call_begin(&w.call, l, done);
    meta_put(m, &req, &res, &w.call);
    enum err e = end(&w, l);
    if (e == ERR_OK && out)
        *out = res.revision;
    return e;
}

static enum err put(struct meta *m, struct str key, struct str value, uint64_t revision, uint64_t *out)
{
    return put_on(loop, m, key, value, revision, out);
}

/* The value goes to `out` (32 bytes) with its end. */
static enum err get_on(struct loop *l, struct meta *m, struct str key, char *out, uint64_t *revision)
{
    struct arena arena = ARENA_INIT;
    struct meta_get_req req = {&arena, key};
    struct meta_get_res res = {0};
    struct wait w = {0};

    call_begin(&w.call, l, done);
    meta_get(m, &req, &res, &w.call);
    enum err e = end(&w, l);
    if (e == ERR_OK && out)
        snprintf(out, 32, STR_FMT, STR_ARG(res.value));
    if (e == ERR_OK && revision)
        *revision = res.revision;
    arena_release(&arena);
    return e;
}

/* ---- what a watch tells ---- */

struct told {
    pthread_mutex_t lock;
    struct buf text;
    uint64_t revision;
    bool disorder;
};

static struct told told;

static void tell(void *arg, struct str key, struct str value, uint64_t revision, bool removed)
{
    (void)arg;
    pthread_mutex_lock(&told.lock);
    buf_addf(&told.text, STR_FMT "%s" STR_FMT ";", STR_ARG(key), removed ? "-" : "=", STR_ARG(value));
    told.disorder |= revision < told.revision;
    told.revision = revision;
    pthread_mutex_unlock(&told.lock);
}

static void expect_told(const char *expected)
{
    bool same = false;

    for (int i = 0; i < 1500 && !same; i++) {
        pthread_mutex_lock(&told.lock);
        same = str_eq(buf_str(&told.text), str_z(expected));
        pthread_mutex_unlock(&told.lock);
        if (!same)
            usleep(10000);
    }
    pthread_mutex_lock(&told.lock);
    if (!same)
        print_message("told: " STR_FMT "\nexpected: %s\n", STR_ARG(buf_str(&told.text)), expected);
    assert_false(told.disorder);
    pthread_mutex_unlock(&told.lock);
    assert_true(same);
}

static void wait_reachable(struct meta *m, bool wanted)
{
    for (int i = 0; i < 1500 && meta_reachable(m) != wanted; i++)
        usleep(10000);
    assert_int_equal(meta_reachable(m), wanted);
}

static int setup(void **state)
{
    (void)state;
    snprintf(prefix, sizeof(prefix), "/sluice/%u/", ++tests);
    pthread_mutex_lock(&told.lock);
    buf_init(&told.text, 10000);
    told.revision = 0;
    told.disorder = false;
    pthread_mutex_unlock(&told.lock);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_release(&told.text);
    return 0;
}

/* etcd forgets all that is older than the key's last write. */
static void compact(struct meta *m, struct str key)
{
    char command[256];
    uint64_t revision = 0;

    assert_int_equal(get_on(loop, m, key, NULL, &revision), ERR_OK);
    snprintf(command, sizeof(command), "ETCDCTL_API=3 etcdctl --endpoints=%s compact %llu >/dev/null", etcd.url,
             (unsigned long long)revision);
    assert_int_equal(system(command), 0);
}

/* ---- tests ---- */

static void a_lost_answer_is_no_conflict(void **state)
{
    struct etcd_proxy *proxy = etcd_proxy_new(etcd.url);
    struct meta *m = open_at(str_z(etcd_proxy_url(proxy)));
    uint64_t first, second, found;
    char value[32];

    (void)state;
    assert_int_equal(put(m, STR("n"), STR("5"), 0, &first), ERR_OK);
    etcd_proxy_swallow(proxy, 1);
    assert_int_equal(put(m, STR("n"), STR("6"), first, &second), ERR_OK);
    assert_int_equal(etcd_proxy_swallows_left(proxy), 0);
    assert_int_equal(get_on(loop, m, STR("n"), value, &found), ERR_OK);
    assert_string_equal(value, "6");
    assert_true(found == second); /* written once */
    etcd_proxy_swallow(proxy, 1);
    assert_int_equal(put(m, STR("n"), STR("7"), META_ANY, &second), ERR_OK);
    assert_int_equal(get_on(loop, m, STR("n"), NULL, &found), ERR_OK);
    assert_true(found == second);
    etcd_proxy_swallow(proxy, 1);
    assert_int_equal(put(m, STR("n"), STR_NONE, found, NULL), ERR_OK);
    assert_int_equal(get_on(loop, m, STR("n"), NULL, NULL), ERR_NOT_FOUND);
    meta_close(m);
    etcd_proxy_free(proxy);
}

/* The same value by another is not ours: what comparing the values would get wrong. */
static void the_same_value_of_another_is_a_conflict(void **state)
{
    struct etcd_proxy *proxy = etcd_proxy_new(etcd.url);
    struct meta *m = open_at(str_z(etcd_proxy_url(proxy))), *other = open_at(str_z(etcd.url));
    uint64_t first;

    (void)state;
    assert_int_equal(put(m, STR("n"), STR("5"), 0, &first), ERR_OK);
    assert_int_equal(put(other, STR("n"), STR("6"), first, NULL), ERR_OK);
    etcd_proxy_swallow(proxy, 1); /* our try is answered, but we don't hear how */
    assert_int_equal(put(m, STR("n"), STR("6"), first, NULL), ERR_CONFLICT);
    assert_int_equal(etcd_proxy_swallows_left(proxy), 0);
    meta_close(other);
    meta_close(m);
    etcd_proxy_free(proxy);
}

static void a_kill_is_survived(void **state)
{
    struct meta *m = open_at(str_z(etcd.url));
    uint64_t revision;

    (void)state;
    assert_int_equal(put(m, STR("w/a"), STR("1"), 0, &revision), ERR_OK);
    assert_int_equal(meta_watch(m, STR("w/"), tell, NULL), ERR_OK);
    etcd_server_kill(&etcd);
    uint64_t began = clock_mono_ns();
    assert_int_equal(put(m, STR("w/a"), STR("2"), revision, NULL), ERR_UNAVAILABLE);
    assert_true(clock_mono_ns() - began < (TIMEOUT_MS + 1500) * UINT64_C(1000000));
    wait_reachable(m, false);
    expect_told("w/a=1;"); /* what was watched stays known */
    etcd_server_start(&etcd);
    etcd_server_wait(&etcd);
    wait_reachable(m, true);
    assert_int_equal(put(m, STR("w/a"), STR("3"), revision, NULL), ERR_OK);
    expect_told("w/a=1;w/a=3;");
    meta_close(m);
}

static void a_pause_ends_in_time_or_by_cancel(void **state)
{
    struct meta *m = open_at(str_z(etcd.url));
    struct arena arena = ARENA_INIT;
    struct meta_get_req req = {&arena, STR("a")};
    struct meta_get_res res;
    struct wait w = {0};

    (void)state;
    assert_int_equal(put(m, STR("a"), STR("1"), 0, NULL), ERR_OK);
    etcd_server_pause(&etcd);
    uint64_t began = clock_mono_ns();
    call_begin(&w.call, loop, done);
    meta_get(m, &req, &res, &w.call);
    loop_turn(loop, 50);
    call_cancel(&w.call);
    assert_int_equal(end(&w, loop), ERR_CANCELLED);
    assert_true(clock_mono_ns() - began < UINT64_C(1000000000));
    assert_int_equal(get_on(loop, m, STR("a"), NULL, NULL), ERR_UNAVAILABLE);
    wait_reachable(m, false);
    etcd_server_resume(&etcd);
    wait_reachable(m, true);
    assert_int_equal(get_on(loop, m, STR("a"), NULL, NULL), ERR_OK);
    meta_close(m);
}

static void after_a_compaction_the_difference_is_told(void **state)
{
    struct etcd_proxy *proxy = etcd_proxy_new(etcd.url);
    struct meta *m = open_at(str_z(etcd_proxy_url(proxy))), *other = open_at(str_z(etcd.url));

    (void)state;
    assert_int_equal(put(other, STR("w/a"), STR("1"), 0, NULL), ERR_OK);
    assert_int_equal(put(other, STR("w/b"), STR("1"), 0, NULL), ERR_OK);
    assert_int_equal(put(other, STR("w/c"), STR("1"), 0, NULL), ERR_OK);
    assert_int_equal(meta_watch(m, STR("w/"), tell, NULL), ERR_OK);
    etcd_proxy_refuse(proxy, 1);
    wait_reachable(m, false);
    assert_int_equal(put(other, STR("w/d"), STR("1"), 0, NULL), ERR_OK);
    assert_int_equal(put(other, STR("w/a"), STR("2"), META_ANY, NULL), ERR_OK);
    assert_int_equal(put(other, STR("w/a"), STR("3"), META_ANY, NULL), ERR_OK);
    assert_int_equal(put(other, STR("w/b"), STR_NONE, META_ANY, NULL), ERR_OK);
    assert_int_equal(put(other, STR("z"), STR("1"), 0, NULL), ERR_OK);
    compact(other, STR("z"));
    etcd_proxy_refuse(proxy, 0);
    expect_told("w/a=1;w/b=1;w/c=1;w/d=1;w/a=3;w/b-;");
    assert_int_equal(put(other, STR("w/c"), STR("2"), META_ANY, NULL), ERR_OK);
    expect_told("w/a=1;w/b=1;w/c=1;w/d=1;w/a=3;w/b-;w/c=2;");
    meta_close(other);
    meta_close(m);
    etcd_proxy_free(proxy);
}

static void a_deaf_stream_is_noticed(void **state)
{
    struct etcd_proxy *proxy = etcd_proxy_new(etcd.url);
    struct meta *m = open_at(str_z(etcd_proxy_url(proxy))), *other = open_at(str_z(etcd.url));

    (void)state;
    assert_int_equal(meta_watch(m, STR("w/"), tell, NULL), ERR_OK);
    assert_int_equal(put(other, STR("w/a"), STR("1"), 0, NULL), ERR_OK);
    expect_told("w/a=1;");
    etcd_proxy_deafen(proxy);
    usleep(50000);
    assert_int_equal(put(other, STR("w/a"), STR_NONE, META_ANY, NULL), ERR_OK);
    expect_told("w/a=1;w/a-;");
    meta_close(other);
    meta_close(m);
    etcd_proxy_free(proxy);
}

static void a_lost_lease_is_regained(void **state)
{
    struct etcd_proxy *proxy = etcd_proxy_new(etcd.url);
    struct meta *m = open_at(str_z(etcd_proxy_url(proxy))), *other = open_at(str_z(etcd.url));
    struct meta_lease *lease;

    (void)state;
    assert_int_equal(meta_watch(other, STR("alive/"), tell, NULL), ERR_OK);
    assert_int_equal(meta_lease(m, &(struct meta_lease_req){STR("alive/1"), STR("me"), 3}, &lease), ERR_OK);
    expect_told("alive/1=me;");
    usleep(4000000); /* kept alive beyond its time */
    expect_told("alive/1=me;");
    etcd_proxy_refuse(proxy, 1);
    expect_told("alive/1=me;alive/1-;");
    etcd_proxy_refuse(proxy, 0);
    expect_told("alive/1=me;alive/1-;alive/1=me;");
    meta_lease_end(m, lease);
    expect_told("alive/1=me;alive/1-;alive/1=me;alive/1-;");
    meta_close(m);
    meta_close(other);
    etcd_proxy_free(proxy);
}

/* This program again, by itself: `prefix URL`. */
static int hold_lease(char **argv)
{
    struct str url = str_z(argv[1]);
    struct meta_etcd_conf conf = {
        .endpoints = &url, .endpoint_count = 1, .prefix = str_z(argv[0]), .timeout_ms = TIMEOUT_MS};
    struct meta_lease *lease;
    struct meta *m;
    char why[256];

    if (meta_etcd_open(&conf, &m, why) != ERR_OK ||
        meta_lease(m, &(struct meta_lease_req){STR("alive/2"), STR("it"), 2}, &lease) != ERR_OK)
        return 1;
    raise(SIGSTOP); /* not sooner: a first put that gets no answer in time is given up */
    for (;;)
        pause();
}

static void a_stopped_holder_loses_its_key(void **state)
{
    struct meta *other = open_at(str_z(etcd.url));

    (void)state;
    assert_int_equal(meta_watch(other, STR("alive/"), tell, NULL), ERR_OK);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "test", prefix, etcd.url, (char *)NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    expect_told("alive/2=it;alive/2-;");
    kill(pid, SIGCONT);
    expect_told("alive/2=it;alive/2-;alive/2=it;");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    expect_told("alive/2=it;alive/2-;alive/2=it;alive/2-;");
    meta_close(other);
}

struct counter {
    pthread_t thread;
    struct meta *meta;
    unsigned done, unknown;
};

enum { COUNTERS = 4, COUNTS = 40 };

static void *count(void *arg)
{
    struct counter *c = arg;
    struct loop *l = loop_new();
    char value[32];
    uint64_t revision;

    loop_adopt(l);
    while (c->done + c->unknown < COUNTS) {
        if (get_on(l, c->meta, STR("n"), value, &revision) != ERR_OK)
            continue;
        int n = snprintf(value, sizeof(value), "%ld", strtol(value, NULL, 10) + 1);
        enum err e = put_on(l, c->meta, STR("n"), str_n(value, (size_t)n), revision, NULL);
        c->done += e == ERR_OK;
        c->unknown += e == ERR_UNAVAILABLE;
    }
    loop_free(l);
    return NULL;
}

/* Two members, two threads each; answers get lost meanwhile. */
static void racing_increments_lose_nothing(void **state)
{
    struct etcd_proxy *proxy = etcd_proxy_new(etcd.url);
    struct meta *members[2] = {open_at(str_z(etcd.url)), open_at(str_z(etcd_proxy_url(proxy)))};
    struct counter counters[COUNTERS] = {0};
    unsigned sum = 0, unknown = 0;
    char value[32];

    (void)state;
    assert_int_equal(put(members[0], STR("n"), STR("0"), 0, NULL), ERR_OK);
    for (int i = 0; i < COUNTERS; i++) {
        counters[i].meta = members[i % 2];
        assert_int_equal(pthread_create(&counters[i].thread, NULL, count, &counters[i]), 0);
    }
    for (int i = 0; i < 10; i++) {
        etcd_proxy_swallow(proxy, 1);
        usleep(20000);
    }
    etcd_proxy_swallow(proxy, 0);
    for (int i = 0; i < COUNTERS; i++) {
        pthread_join(counters[i].thread, NULL);
        sum += counters[i].done;
        unknown += counters[i].unknown;
    }
    assert_int_equal(get_on(loop, members[0], STR("n"), value, NULL), ERR_OK);
    long n = strtol(value, NULL, 10);
    print_message("%ld increments, %u acknowledged, %u unknown\n", n, sum, unknown);
    assert_true(n >= (long)sum && n <= (long)(sum + unknown));
    meta_close(members[0]);
    meta_close(members[1]);
    etcd_proxy_free(proxy);
}

static void a_cluster_bears_the_loss_of_one(void **state)
{
    struct etcd_server servers[3];
    struct str urls[3];
    struct meta *m = NULL;
    char why[256] = "", all[256];
    uint64_t revision;

    (void)state;
    for (int i = 0; i < 3; i++)
        etcd_server_init(&servers[i], (const char *[]){"m0", "m1", "m2"}[i]);
    snprintf(all, sizeof(all), "m0=%s,m1=%s,m2=%s", servers[0].peer_url, servers[1].peer_url, servers[2].peer_url);
    for (int i = 0; i < 3; i++) {
        snprintf(servers[i].cluster, sizeof(servers[i].cluster), "%s", all);
        urls[i] = str_z(servers[i].url);
        etcd_server_start(&servers[i]);
    }
    for (int i = 0; i < 3; i++)
        etcd_server_wait(&servers[i]);
    struct meta_etcd_conf conf = {.endpoints = urls, .endpoint_count = 3, .prefix = STR("/c/"), .timeout_ms = 5000};
    assert_int_equal(meta_etcd_open(&conf, &m, why), ERR_OK);
    assert_int_equal(meta_watch(m, STR(""), tell, NULL), ERR_OK);
    assert_int_equal(put(m, STR("a"), STR("1"), 0, &revision), ERR_OK);
    etcd_server_kill(&servers[0]); /* the one that is asked first */
    assert_int_equal(put(m, STR("a"), STR("2"), revision, &revision), ERR_OK);
    expect_told("a=1;a=2;");
    etcd_server_pause(&servers[1]); /* no majority any more */
    assert_int_equal(put(m, STR("a"), STR("3"), revision, NULL), ERR_UNAVAILABLE);
    etcd_server_resume(&servers[1]);
    meta_close(m);
    for (int i = 0; i < 3; i++)
        etcd_server_release(&servers[i]);
}

static int control(const struct etcd_server *s, const char *command)
{
    char line[512];

    snprintf(line, sizeof(line),
             "ETCDCTL_API=3 etcdctl --endpoints=%s --cacert=%s/s.pem --cert=%s/c.pem --key=%s/c.key %s >/dev/null 2>&1",
             s->url, s->dir, s->dir, s->dir, command);
    return system(line);
}

static void certificates_and_passwords_are_used(void **state)
{
    struct etcd_server s;
    char sc[96], sk[96], cc[96], ck[96], ca[96], line[300], why[256] = "";
    struct meta *m = NULL;

    (void)state;
    etcd_server_init(&s, "tls");
    memmove(s.url + 5, s.url + 4, strlen(s.url + 4) + 1);
    s.url[4] = 's';
    snprintf(sc, sizeof(sc), "%s/s.pem", s.dir);
    snprintf(sk, sizeof(sk), "%s/s.key", s.dir);
    snprintf(cc, sizeof(cc), "%s/c.pem", s.dir);
    snprintf(ck, sizeof(ck), "%s/c.key", s.dir);
    snprintf(ca, sizeof(ca), "%s/ca.pem", s.dir);
    cert_write("server", sc, sk);
    cert_write("", cc, ck); /* etcd's gateway wants no common name */
    snprintf(line, sizeof(line), "cat %s %s >%s", sc, cc, ca);
    assert_int_equal(system(line), 0);
    const char *extra[] = {"--cert-file", sc, "--key-file", sk, "--client-cert-auth", "--trusted-ca-file", ca};
    memcpy(s.extra, extra, sizeof(extra));
    etcd_server_start(&s);
    etcd_server_wait(&s);
    for (int i = 0; i < 100 && control(&s, "endpoint health") != 0; i++)
        usleep(50000);
    assert_int_equal(control(&s, "user add root:secret"), 0);
    assert_int_equal(control(&s, "user grant-role root root"), 0);
    assert_int_equal(control(&s, "auth enable"), 0);
    struct str url = str_z(s.url);
    struct meta_etcd_conf conf = {.endpoints = &url,
                                  .endpoint_count = 1,
                                  .prefix = STR("/t/"),
                                  .user = STR("root"),
                                  .password = STR("wrong"),
                                  .ca_file = str_z(sc),
                                  .cert_file = str_z(cc),
                                  .key_file = str_z(ck),
                                  .timeout_ms = 5 * TIMEOUT_MS};
    assert_int_equal(meta_etcd_open(&conf, &m, why), ERR_UNAVAILABLE);
    assert_non_null(strstr(why, "authentication failed"));
    assert_null(strstr(why, "wrong"));
    conf.password = STR("secret");
    conf.cert_file = str_z(sc);
    conf.key_file = str_z(sk);
    assert_int_equal(meta_etcd_open(&conf, &m, why), ERR_UNAVAILABLE);
    assert_non_null(strstr(why, "CommonName")); /* and says so */
    conf.cert_file = conf.key_file = STR_NONE;
    assert_int_equal(meta_etcd_open(&conf, &m, why), ERR_UNAVAILABLE);
    conf.cert_file = str_z(cc);
    conf.key_file = str_z(ck);
    assert_int_equal(meta_etcd_open(&conf, &m, why), ERR_OK);
    assert_int_equal(meta_watch(m, STR(""), tell, NULL), ERR_OK);
    assert_int_equal(put(m, STR("a"), STR("1"), 0, NULL), ERR_OK);
    expect_told("a=1;");
    etcd_server_kill(&s); /* it forgets its tokens */
    etcd_server_start(&s);
    etcd_server_wait(&s);
    assert_int_equal(put(m, STR("a"), STR("2"), META_ANY, NULL), ERR_OK);
    expect_told("a=1;a=2;");
    meta_close(m);
    etcd_server_release(&s);
}

static void open_says_why_it_fails(void **state)
{
    struct str nobody = STR("http://127.0.0.1:1"), nonsense = STR("etcd:2379");
    struct meta_etcd_conf conf = {.endpoints = &nobody, .endpoint_count = 1, .timeout_ms = 300};
    struct meta *m = NULL;
    char why[256] = "";

    (void)state;
    assert_int_equal(meta_etcd_open(&conf, &m, why), ERR_UNAVAILABLE);
    assert_non_null(strstr(why, "127.0.0.1:1"));
    conf.endpoints = &nonsense;
    assert_int_equal(meta_etcd_open(&conf, &m, why), ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(why, "etcd:2379"));
    assert_null(m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    static const struct CMUnitTest list[] = {
        T(open_says_why_it_fails),
        T(a_lost_answer_is_no_conflict),
        T(the_same_value_of_another_is_a_conflict),
        T(racing_increments_lose_nothing),
        T(a_kill_is_survived),
        T(a_pause_ends_in_time_or_by_cancel),
        T(after_a_compaction_the_difference_is_told),
        T(a_deaf_stream_is_noticed),
        T(a_lost_lease_is_regained),
        T(a_stopped_holder_loses_its_key),
        T(a_cluster_bears_the_loss_of_one),
        T(certificates_and_passwords_are_used),
    };

    if (argc == 3)
        return hold_lease(argv + 1);
    if (!etcd_is_installed())
        return 0;
    pthread_mutex_init(&told.lock, NULL);
    loop = loop_new();
    loop_adopt(loop);
    etcd_server_init(&etcd, "one");
    etcd_server_start(&etcd);
    etcd_server_wait(&etcd);
    int failed = cmocka_run_group_tests(list, NULL, NULL);
    etcd_server_release(&etcd);
    loop_free(loop);
    return failed;
}
