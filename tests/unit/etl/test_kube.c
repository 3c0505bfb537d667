/* The kubernetes runtime against an API server that says what a real one says, and against one that does not. */
#include "unit.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "http/cert.h"
#include "kube_box.h"

static struct etl_runtime *runtime;
static char why[ETL_WHY_MAX];

static int set_up(void **state)
{
    (void)state;
    log_setup(LOG_ERROR, false);
    kube_box_start();
    why[0] = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kube_box_stop();
    return 0;
}

static void open_it(void)
{
    if (etl_kube_open(&kube_conf, &runtime, why) != ERR_OK)
        fail_msg("%s", why);
}

static void close_it(void)
{
    runtime->ops->close(runtime);
}

static const struct etl_spec plain = {.name = STR("upper-case"),
                                      .init_timeout_ms = 1000,
                                      .image = STR("upper:1"),
                                      .port = 8000,
                                      .health = STR("/health")};

static enum err start(const struct etl_spec *spec, struct etl_instance **i)
{
    const struct etl_env more = {STR("DIRECT_PUT"), STR("false")};
    const struct etl_start_req req = {
        .spec = spec, .id = STR("upper-case-1"), .env = &more, .env_count = 1, .target_path = STR("/v1/x")};

    return runtime->ops->start(runtime, &req, i, why);
}

static struct etl_instance *good_start(const struct etl_spec *spec)
{
    struct etl_instance *i = NULL;

    if (start(spec, &i) != ERR_OK)
        fail_msg("%s", why);
    return i;
}

/* Until it says so; false: it never does. */
static bool becomes(struct etl_instance *i, bool alive, const char *says)
{
    for (int k = 0; k < 2000; k++) {
        if (runtime->ops->alive(i, why) == alive && strstr(why, says))
            return true;
        usleep(5000);
    }
    return false;
}

#define BECOMES(i, alive, says)                                                                                        \
    do {                                                                                                               \
        if (!becomes(i, alive, says))                                                                                  \
            fail_msg("not %s, but %s", says, why);                                                                     \
    } while (0)

/* ---- a life ---- */

static int listen_here(uint16_t *port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    *port = ntohs(sa.sin_port);
    return fd;
}

static void a_pod_is_made_followed_and_removed(void **state)
{
    (void)state;
    struct etl_spec spec = plain;
    struct etl_usage u, former;
    struct buf log = BUF_INIT(2 * ETL_LOG_MAX);
    int server = listen_here(&spec.port), fd = -1, listener;

    open_it();
    struct etl_instance *i = good_start(&spec);
    BECOMES(i, true, "its Pod is Pending");
    assert_int_equal(runtime->ops->dial(i, &fd), ERR_UNAVAILABLE);
    kube_box_status("{\"phase\":\"Running\",\"podIP\":\"127.0.0.1\",\"containerStatuses\":[{\"name\":\"upper-case\","
                    "\"state\":{\"running\":{}}}]}");
    for (int k = 0; k < 2000 && runtime->ops->dial(i, &fd) != ERR_OK; k++)
        usleep(5000);
    assert_true(fd >= 0);
    close(fd);
    assert_true(runtime->ops->alive(i, why));
    assert_string_equal(why, "");
    listener = runtime->ops->listener(i);
    assert_true(listener >= 0 && runtime->ops->listener(i) == -1);
    close(listener);
    runtime->ops->logs(i, &log);
    assert_true(str_eq(buf_str(&log), STR("serving\n")));
    assert_int_equal(runtime->ops->usage(i, &former), ERR_OK);
    assert_int_equal(former.memory, 2 << 20);
    assert_int_equal(runtime->ops->usage(i, &u), ERR_OK);
    assert_true(u.cpu_seconds > former.cpu_seconds); /* half a second each second */
    runtime->ops->stop(i, 1000);
    assert_int_equal(kube_box_asked(ASK_DELETE), 1);
    close_it();
    buf_release(&log);
    close(server);
}

static void of_ipv6_too(void **state)
{
    (void)state;
    struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    socklen_t len = sizeof(sa);
    int server = socket(AF_INET6, SOCK_STREAM, 0), fd = -1;
    struct etl_spec spec = plain;

    if (server < 0 || bind(server, (struct sockaddr *)&sa, len) != 0) {
        close(server);
        skip();
    }
    assert_true(listen(server, 4) == 0 && getsockname(server, (struct sockaddr *)&sa, &len) == 0);
    spec.port = ntohs(sa.sin6_port);
    kube_conf.address = STR("::1");
    kube_box_status("{\"phase\":\"Running\",\"podIP\":\"::1\"}");
    open_it();
    struct etl_instance *i = good_start(&spec);
    assert_int_equal(runtime->ops->dial(i, &fd), ERR_OK);
    assert_non_null(strstr(kube_box_order().p, "{\"name\":\"AIS_TARGET_URL\",\"value\":\"http://[::1]:"));
    close(fd);
    close_it();
    close(server);
}

static void how_it_ends_is_told(void **state)
{
    (void)state;
    open_it();
    struct etl_instance *i = good_start(&plain);

    kube_box_status("{\"phase\":\"Failed\",\"containerStatuses\":[{\"name\":\"upper-case\",\"state\":{\"terminated\":"
                    "{\"exitCode\":137,\"reason\":\"OOMKilled\"}}}]}");
    BECOMES(i, false, "OOMKilled: it needed more memory than its limit");
    runtime->ops->stop(i, 0);
    i = good_start(&plain);
    kube_box_remove();
    BECOMES(i, false, "somebody has removed its Pod");
    runtime->ops->stop(i, 1000);
    close_it();
}

static void an_image_of_root_is_run_as_nobody(void **state)
{
    (void)state;
    kube_box_status("{\"phase\":\"Pending\",\"containerStatuses\":[{\"name\":\"upper-case\",\"state\":{\"waiting\":{"
                    "\"reason\":\"CreateContainerConfigError\",\"message\":\"container has runAsNonRoot and image will "
                    "run as root\"}}}]}");
    open_it();
    struct etl_instance *i = good_start(&plain);
    assert_null(strstr(kube_box_order().p, "\"runAsUser\""));
    (void)runtime->ops->alive(i, why);
    assert_int_equal(kube_box_asked(ASK_MAKE), 2);
    assert_non_null(strstr(kube_box_order().p, "\"runAsUser\":65534"));
    BECOMES(i, false, "image will run as root"); /* once is enough */
    assert_int_equal(kube_box_asked(ASK_MAKE), 2);
    runtime->ops->stop(i, 0);
    i = good_start(&plain); /* the next one knows */
    assert_non_null(strstr(kube_box_order().p, "\"runAsUser\":65534"));
    assert_int_equal(kube_box_asked(ASK_MAKE), 3);
    close_it();
}

static void a_broken_watch_is_made_up_for(void **state)
{
    (void)state;
    static const struct str gone =
        STR("HTTP/1.1 200 OK\r\n\r\n{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"message\":\"too old resource "
            "version: 1 (554)\",\"reason\":\"Expired\",\"code\":410}}\n");

    kube_box_mad(ASK_WATCH, gone);
    open_it();
    struct etl_instance *i = good_start(&plain);
    kube_box_status("{\"phase\":\"Running\",\"reason\":\"\"}");
    BECOMES(i, true, "its Pod is Running"); /* a list tells */
    kube_box_remove();
    BECOMES(i, false, "somebody has removed its Pod");
    runtime->ops->stop(i, 1000);
    close_it();
}

/* ---- waiting ---- */

static void *quit_soon(void *arg)
{
    (void)arg;
    while (kube_box_asked(ASK_MAKE) == 0)
        usleep(1000);
    runtime->ops->quit(runtime);
    return NULL;
}

static void quit_ends_a_start(void **state)
{
    (void)state;
    pthread_t thread;
    struct etl_instance *i;

    kube_box_mad(ASK_MAKE, STR("\xfd"));
    open_it();
    uint64_t began = clock_mono_ns();
    assert_int_equal(pthread_create(&thread, NULL, quit_soon, NULL), 0);
    assert_int_equal(start(&plain, &i), ERR_CANCELLED);
    assert_true(clock_mono_ns() - began < UINT64_C(5000000000));
    pthread_join(thread, NULL);
    assert_int_equal(kube_box_asked(ASK_DELETE), 1); /* it may have been made */
    close_it();
}

/* ---- what can't be ---- */

static void what_can_not_be_started_says_why(void **state)
{
    (void)state;
    struct etl_spec spec = plain;
    struct etl_instance *i;

    open_it();
    spec.comm = ETL_IO;
    assert_int_equal(start(&spec, &i), ERR_NOT_IMPLEMENTED);
    assert_non_null(strstr(why, "io:// is not supported where sidecars are Pods"));
    spec = plain;
    spec.image = STR_NONE;
    assert_int_equal(start(&spec, &i), ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(why, "runtime.image: is missing"));
    kube_box_mad(
        ASK_MAKE,
        STR("HTTP/1.1 403 Forbidden\r\n\r\n{\"kind\":\"Status\",\"message\":\"pods is forbidden: User \\\"u\\\" "
            "cannot create resource \\\"pods\\\" in API group \\\"\\\" in the namespace \\\"ns\\\"\"}"));
    assert_int_equal(start(&plain, &i), ERR_ACCESS_DENIED);
    assert_non_null(strstr(why, "the Role of this server lacks the rule \"create pods\" (docs/etl.md): pods is"));
    kube_box_mad(ASK_MAKE, STR("HTTP/1.1 403 Forbidden\r\n\r\n{\"kind\":\"Status\",\"message\":\"pods \\\"x\\\" is "
                               "forbidden: exceeded quota: q\"}"));
    assert_int_equal(start(&plain, &i), ERR_ACCESS_DENIED);
    assert_string_equal(why, "the Kubernetes API server says: pods \"x\" is forbidden: exceeded quota: q");
    kube_box_mad(ASK_MAKE,
                 STR("HTTP/1.1 422 Unprocessable Entity\r\n\r\n{\"kind\":\"Status\",\"message\":\"Pod \\\"x\\\" "
                     "is invalid\"}"));
    assert_int_equal(start(&plain, &i), ERR_INVALID_ARGUMENT);
    kube_box_mad(ASK_MAKE, STR_NONE);
    runtime->ops->quit(runtime);
    close_it();
}

static enum err try_open(void)
{
    enum err e = etl_kube_open(&kube_conf, &runtime, why);

    if (e == ERR_OK)
        close_it();
    return e;
}

static void where_it_can_not_be_opened_that_is_told(void **state)
{
    (void)state;
    const struct etl_kube_conf good = kube_conf;
    char other[96], key[96];

    snprintf(other, sizeof(other), "%s/other.pem", kube_top);
    snprintf(key, sizeof(key), "%s/other.key", kube_top);
    kube_box_token("bad");
    assert_int_equal(try_open(), ERR_ACCESS_DENIED);
    assert_non_null(strstr(why, "does not accept the token in"));
    kube_box_token("a b\r\nX: y");
    assert_int_equal(try_open(), ERR_UNAVAILABLE);
    assert_non_null(strstr(why, "holds no token"));
    kube_box_token("good");
    kube_conf.server = STR("http://127.0.0.1:1");
    assert_int_equal(try_open(), ERR_INVALID_ARGUMENT);
    kube_conf.server = STR("https://127.0.0.1:1");
    assert_int_equal(try_open(), ERR_UNAVAILABLE);
    assert_non_null(strstr(why, "Connection refused"));
    kube_conf = good;
    kube_conf.node = STR_NONE;
    assert_int_equal(try_open(), ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(why, "etl.kube_node"));
    kube_conf = good;
    kube_conf.namespace = STR("a/../b");
    assert_int_equal(try_open(), ERR_INVALID_ARGUMENT);
    kube_conf = good;
    kube_conf.address = STR("nowhere");
    assert_int_equal(try_open(), ERR_INVALID_ARGUMENT);
    kube_conf = good;
    cert_write("other", other, key);
    kube_conf.ca_file = str_z(other);
    assert_int_equal(try_open(), ERR_UNAVAILABLE);
    assert_non_null(strstr(why, "can't be trusted"));
    kube_conf = good;
    assert_int_equal(try_open(), ERR_OK);
}

static void what_our_own_pod_has_is_handed_on(void **state)
{
    (void)state;
    static const struct str own =
        STR("HTTP/1.1 200 "
            "OK\r\n\r\n{\"metadata\":{\"name\":\"sluice-0\",\"uid\":\"12-34\"},\"spec\":{\"nodeName\":\"node-7\","
            "\"imagePullSecrets\":[{\"name\":\"mine\"}],\"tolerations\":[{\"key\":\"disks\",\"operator\":\"Exists\"}]},"
            "\"status\":{\"podIP\":\"127.0.0.1\"}}");

    kube_conf.pod = STR("sluice-0");
    kube_conf.node = kube_conf.address = STR_NONE;
    kube_box_mad(ASK_GET, own);
    open_it();
    (void)good_start(&plain);
    const char *order = kube_box_order().p;
    assert_non_null(strstr(order, "\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"sluice-0\","
                                  "\"uid\":\"12-34\"}]"));
    assert_non_null(strstr(order, "\"imagePullSecrets\":[{\"name\":\"mine\"}]"));
    assert_non_null(strstr(order, "\"tolerations\":[{\"key\":\"disks\",\"operator\":\"Exists\"}]"));
    assert_non_null(strstr(order, "\"values\":[\"node-7\"]"));
    close_it();
}

/* ---- nonsense ---- */

#define OK "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"

static const struct str bad[] = {
    STR(""),
    STR("SSH-2.0-OpenSSH\r\n"),
    STR("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}"),
    STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
    STR("HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n"),
    STR("HTTP/1.1 500 No\r\n\r\n{\"message\":\"bad\\u0007 \\n day\"}"),
    STR("HTTP/1.1 503 No\r\n\r\n{\"message\":{\"a\":1}}"),
    STR("HTTP/1.1 404 No\r\n\r\n"),
    STR("HTTP/1.1 409 No\r\n\r\n{\"reason\":\"AlreadyExists\"}"),
    STR("HTTP/1.1 409 No\r\n\r\n{}"),
    STR("HTTP/1.1 410 Gone\r\n\r\n{}"),
    STR(OK),
    STR(OK "null"),
    STR(OK "[[]]"),
    STR(OK "{"),
    STR(OK "{\"items\":{\"a\":1},\"metadata\":7}"),
    STR(OK "{\"items\":[7,[],{},{\"metadata\":{\"name\":\"../x y\"}},{\"metadata\":{\"name\":[]}}]}"),
    STR(OK "{\"metadata\":{\"continue\":\"a b\\r\\n\",\"resourceVersion\":\"1 HTTP/1.1\\r\\nX: y\"}}"),
    STR(OK "{\"type\":\"MODIFIED\"}\n{\"type\":7,\"object\":[]}\n\n\n{}\n"),
    STR(OK "{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":{}}}}\nnonsense\n"),
    STR(OK "{\"status\":{\"podIP\":\"1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20.21.22.23.24\",\"phase\":[],"
           "\"containerStatuses\":{\"name\":\"upper-case\"},\"initContainerStatuses\":[1,{\"state\":{\"terminated\":{}}"
           "}]}}"),
    STR(OK "{\"status\":{\"podIP\":\"x\",\"phase\":\"Failed\",\"message\":\"\\u001b[0m\",\"reason\":\"\\u0001\"}}"),
    STR(OK "{\"containers\":[{\"usage\":{\"cpu\":\"n\",\"memory\":\"-1\"}},{\"usage\":{\"cpu\":"
           "\"99999999999999999999999n\"}}]}"),
    STR("\xff"),
    STR("\xfe"),
};

static void check_why(int kind, size_t row)
{
    for (const char *p = why; *p; p++)
        if ((unsigned char)*p < 0x20)
            fail_msg("question %d answered with row %zu makes a bad sentence", kind, row);
}

static void live(void)
{
    struct buf log = BUF_INIT(2 * ETL_LOG_MAX);
    struct etl_usage u;
    struct etl_instance *i;
    int fd = -1;

    why[0] = 0;
    if (start(&plain, &i) == ERR_OK) {
        (void)runtime->ops->alive(i, why);
        if (runtime->ops->dial(i, &fd) == ERR_OK)
            close(fd);
        runtime->ops->logs(i, &log);
        (void)!runtime->ops->usage(i, &u);
        runtime->ops->stop(i, 1000);
    }
    buf_release(&log);
}

static void nonsense_does_no_harm(void **state)
{
    static const enum kube_ask_kind kinds[] = {ASK_MAKE, ASK_DELETE, ASK_LOG, ASK_METRICS, ASK_GET};

    (void)state;
    open_it();
    for (size_t n = 0; n < sizeof(kinds) / sizeof(kinds[0]); n++) {
        for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
            kube_box_mad(kinds[n], bad[k]);
            live();
            check_why(kinds[n], k);
        }
        kube_box_mad(kinds[n], STR_NONE);
    }
    close_it();
}

static void nonsense_of_all_pods_does_no_harm(void **state)
{
    (void)state;
    for (int kind = ASK_WATCH; kind <= ASK_LIST; kind++)
        for (size_t k = kind == ASK_WATCH ? 10 : 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
            kube_box_mad((enum kube_ask_kind)kind, bad[k]);
            if (etl_kube_open(&kube_conf, &runtime, why) == ERR_OK) {
                live();
                close_it();
            }
            check_why(kind, k);
        }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pod_is_made_followed_and_removed),
        TEST(of_ipv6_too),
        TEST(how_it_ends_is_told),
        TEST(an_image_of_root_is_run_as_nobody),
        TEST(a_broken_watch_is_made_up_for),
        TEST(quit_ends_a_start),
        TEST(what_can_not_be_started_says_why),
        TEST(where_it_can_not_be_opened_that_is_told),
        TEST(what_our_own_pod_has_is_handed_on),
        TEST(nonsense_does_no_harm),
        TEST(nonsense_of_all_pods_does_no_harm),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
