#include "unit.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "gateway/front.h"
#include "gateway/gateway.h"
#include "store/memstore.h"

static struct offload *io, *cpu;
static struct creds *creds;
static struct front *front;
static bool with_role, ready;
static const struct str domains[] = {{"s3.test", 7}};
static const struct s3api_conf s3 = {.region = {"us-east-1", 9}, .domains = domains, .domain_count = 1};
static const struct native_conf native = {.cluster_id = {"c", 1}, .node_id = {"n", 1}};
static char why[FRONT_WHY_MAX];

struct lane {
    struct store *store;
    struct gateway *gateway;
};

static void *lane_open(void *arg, struct loop *loop, struct control *control, struct http_handler **handler)
{
    struct lane *l = NEW(struct lane);

    (void)arg;
    l->store = memstore_new(loop);
    l->gateway = gateway_new(
        &(struct gateway_env){.s3 = {.loop = loop, .store = l->store, .creds = creds, .cpu = cpu, .conf = &s3},
                              .native = {.conf = &native},
                              .control = control});
    *handler = gateway_handler(l->gateway);
    return l;
}

static void lane_close(void *lane)
{
    struct lane *l = lane;

    gateway_free(l->gateway);
    store_close(l->store);
    free(l);
}

static bool role_ready(void *arg, char role_why[CONTROL_WHY_MAX])
{
    (void)arg;
    if (!ready)
        snprintf(role_why, CONTROL_WHY_MAX, "nobody is there");
    return ready;
}

static void role_cluster(void *arg, struct buf *json)
{
    (void)arg;
    buf_add_z(json, "{\"epoch\":7}");
}

static void role_metrics(void *arg, struct buf *out)
{
    (void)arg;
    buf_add_z(out, "role_metric 1\n");
}

static enum err open_front(const char *address, struct front **out)
{
    struct front_conf conf = {.threads = 2,
                              .listen = {{str_z(address), NULL}, {STR_NONE, NULL}},
                              .limits = HTTP_LIMITS_DEFAULT,
                              .io = io,
                              .cpu = cpu,
                              .role = {lane_open, lane_close, NULL}};

    if (with_role)
        conf.control = (struct control_role){role_ready, role_cluster, role_metrics, NULL};
    return front_open(&conf, out, why);
}

static int begin(void **state)
{
    (void)state;
    io = offload_new("io", 2, 100);
    cpu = offload_new("cpu", 1, 100);
    creds = creds_new();
    assert_int_equal(open_front("127.0.0.1:0", &front), ERR_OK);
    front_run(front);
    return 0;
}

static int begin_role(void **state)
{
    with_role = true;
    begin(state);
    with_role = false;
    return 0;
}

static bool ended_within(int ms)
{
    struct pollfd fd = {front_fd(front), POLLIN, 0};

    return poll(&fd, 1, ms) == 1;
}

static int end(void **state)
{
    (void)state;
    if (!ended_within(0))
        front_drain(front, 1000);
    assert_true(ended_within(5000));
    front_close(front);
    creds_free(creds);
    offload_free(cpu);
    offload_free(io);
    return 0;
}

static int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {10, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint64_t port;

    assert_true(str_to_u64(str_z(strrchr(front_bound(front, 0), ':') + 1), 65535, &port));
    to.sin_port = htons((uint16_t)port);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* One request on a connection of its own; the whole answer. */
static const char *ask(const char *request)
{
    static char answer[1 << 20];
    size_t got = 0;
    int fd = dial();

    assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
    for (ssize_t n; (n = recv(fd, answer + got, sizeof(answer) - 1 - got, 0)) > 0;)
        got += (size_t)n;
    answer[got] = 0;
    close(fd);
    return answer;
}

static void holds(const char *answer, const char *text)
{
    if (!strstr(answer, text))
        fail_msg("no \"%s\" in \"%.2000s\"", text, answer);
}

static void health_tells_status_version_and_uptime(void **state)
{
    const char *answer = ask("GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

    (void)state;
    holds(answer, "HTTP/1.1 200 ");
    holds(answer, "application/json");
    holds(answer, "{\"status\":\"ok\",\"version\":\"" SLUICE_VERSION "\",\"uptime_seconds\":");
}

static void head_has_the_length_and_no_body(void **state)
{
    const char *answer = ask("HEAD /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

    (void)state;
    holds(answer, "HTTP/1.1 200 ");
    assert_null(strstr(answer, "ontent-Length: 0"));
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
}

static void metrics_are_prometheus_text(void **state)
{
    static const char *const names[] = {
        "\nsluice_build_info{version=",     "\nsluice_uptime_seconds ", "\nsluice_loop_stall_seconds_max{loop=\"1\"} ",
        "\nprocess_resident_memory_bytes ", "\nprocess_open_fds ",      "\nsluice_offload_tasks{pool=\"io\"} "};
    const char *answer = ask("GET /v1/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

    (void)state;
    holds(answer, "text/plain; version=0.0.4");
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        holds(answer, names[i]);
}

static void other_methods_are_refused(void **state)
{
    const char *answer = ask("PUT /v1/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nxx");

    (void)state;
    holds(answer, "HTTP/1.1 405 ");
    holds(answer, "Allow: GET, HEAD\r\n");
}

static void everything_else_is_s3(void **state)
{
    (void)state;
    holds(ask("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "<Code>AccessDenied</Code>");
    holds(ask("GET /v1/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "\"status\":401}");
    /* an object of that name in a bucket that is named by the host; there are no buckets here to be looked for */
    holds(ask("GET /v1/health HTTP/1.1\r\nHost: bucket.s3.test\r\nAuthorization: x\r\nConnection: close\r\n\r\n"),
          "<Error>");
}

static void a_role_says_when_it_is_ready(void **state)
{
    (void)state;
    ready = false;
    holds(ask("GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "HTTP/1.1 200 ");
    holds(ask("GET /v1/health?ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "HTTP/1.1 503 ");
    holds(ask("GET /v1/health?x=1&ready=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
          "{\"status\":\"not ready\",\"why\":\"nobody is there\",\"version\"");
    holds(ask("GET /v1/health?already HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "HTTP/1.1 200 ");
    ready = true;
    holds(ask("GET /v1/health?ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
          "{\"status\":\"ok\",\"version\"");
}

static void a_role_adds_metrics_and_the_cluster(void **state)
{
    (void)state;
    holds(ask("GET /v1/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "\nrole_metric 1\n");
    holds(ask("GET /v1/cluster HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "\r\n\r\n{\"epoch\":7}\n");
}

static void without_a_cluster_its_path_is_s3(void **state)
{
    (void)state;
    holds(ask("GET /v1/cluster HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "\"status\":401}");
    holds(ask("GET /v1/health?ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "HTTP/1.1 200 ");
}

static void a_drain_ends_idle_connections_and_all_loops(void **state)
{
    int idle = dial();
    char byte;

    (void)state;
    ask("GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_false(ended_within(0));
    front_drain(front, 3000);
    assert_true(ended_within(2000));
    assert_true(recv(idle, &byte, 1, 0) <= 0);
    close(idle);
}

static void an_address_that_cannot_be_had_is_told(void **state)
{
    struct front *other;

    (void)state;
    assert_int_not_equal(open_front("nowhere", &other), ERR_OK);
    holds(why, "nowhere");
    assert_int_not_equal(open_front("192.0.2.1:9000", &other), ERR_OK); /* TEST-NET-1: not ours */
    holds(why, "192.0.2.1:9000");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    static const struct CMUnitTest tests[] = {
        TEST(health_tells_status_version_and_uptime),
        TEST(head_has_the_length_and_no_body),
        TEST(metrics_are_prometheus_text),
        TEST(other_methods_are_refused),
        TEST(everything_else_is_s3),
        cmocka_unit_test_setup_teardown(a_role_says_when_it_is_ready, begin_role, end),
        cmocka_unit_test_setup_teardown(a_role_adds_metrics_and_the_cluster, begin_role, end),
        TEST(without_a_cluster_its_path_is_s3),
        TEST(a_drain_ends_idle_connections_and_all_loops),
        TEST(an_address_that_cannot_be_had_is_told),
    };

    hash_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
