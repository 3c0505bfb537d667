#include "unit.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ask.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "cert.h"
#include "relay.h"
#include "serve.h"

static const struct http_limits limits = {
    .connections_max = 2000,
    .head_max = 16384,
    .headers_max = 100,
    .head_timeout_ms = 5000,
    .body_timeout_ms = 10000,
    .idle_timeout_ms = 20000,
    .send_timeout_ms = 10000,
    .drain_body_max = 65536,
};

static struct serve server, secure;
static struct tls_context *tls;
static struct tls_client *trust;
static char dir[] = "/tmp/sluice-peer-XXXXXX", cert_file[64], key_file[64];

static int start(void **state)
{
    char why[256];
    struct tls_client_conf conf = {.ca_file = cert_file};

    ask_setup(state);
    assert_non_null(mkdtemp(dir));
    snprintf(cert_file, sizeof(cert_file), "%s/cert.pem", dir);
    snprintf(key_file, sizeof(key_file), "%s/key.pem", dir);
    cert_write("node", cert_file, key_file);
    assert_int_equal(tls_context_new(cert_file, key_file, &tls, why), ERR_OK);
    assert_int_equal(tls_client_new(&conf, &trust, why), ERR_OK);
    serve_start(&server, &limits, NULL);
    serve_start(&secure, &limits, tls);
    return 0;
}

static int stop(void **state)
{
    serve_stop(&server);
    serve_stop(&secure);
    tls_context_free(tls);
    tls_client_free(trust);
    unlink(cert_file);
    unlink(key_file);
    rmdir(dir);
    return ask_teardown(state);
}

/* Descriptors once those of former tests are gone. */
static unsigned quiet_fds(void)
{
    for (int i = 0; i < 1000; i++) {
        if (!http_server_connections(server.server) && !http_server_connections(secure.server))
            break;
        ask_turn_ms(5);
    }
    ask_turn_ms(5);
    return fd_count();
}

/* ---- requests ---- */

static void get_and_reuse(void **state)
{
    struct peer_pool *p = ask_pool((struct peer_conf){0});
    struct ask a = {0};

    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(ask_get(p, &a, server.bound, "/hello"), ERR_OK);
        assert_int_equal(a.res.status, 200);
        assert_true(str_eq(peer_header(&a.res, STR("server")), STR("sluice")));
        assert_null(peer_header(&a.res, STR("x-none")).p);
        assert_int_equal(a.body_n, 5);
        assert_memory_equal(a.body, "hello", 5);
        ask_end(&a);
        assert_int_equal(http_server_connections(server.server), 1);
    }
    ask_pool_end(p);
}

static void check_pattern(const struct ask *a, size_t n)
{
    assert_int_equal(a->body_n, n);
    for (size_t i = 0; i < n; i++)
        assert_true(a->body[i] == serve_pattern(i % SERVE_FILE_SIZE));
}

static void every_framing_from(struct peer_pool *p, const char *address)
{
    static const struct {
        const char *target;
        size_t n;
    } cases[] = {{"/file?3000000", 3000000},
                 {"/lazy?100000", 100000},
                 {"/chunked?500000", 500000},
                 {"/chunkedfile?70000", 70000},
                 {"/204", 0},
                 {"/file?1", 1}};
    struct ask a = {0};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(ask_get(p, &a, address, cases[i].target), ERR_OK);
        check_pattern(&a, cases[i].n);
        ask_end(&a);
    }
    ask_begin(p, &a, address, "HEAD", "/head");
    assert_int_equal(ask_wait(&a), ERR_OK);
    assert_null(a.res.body);
    assert_true(str_eq(peer_header(&a.res, STR("content-length")), STR("1234")));
    ask_end(&a);
}

static void bodies_of_every_framing(void **state)
{
    struct peer_pool *p = ask_pool((struct peer_conf){0});

    (void)state;
    every_framing_from(p, server.bound);
    assert_int_equal(http_server_connections(server.server), 1);
    ask_pool_end(p);
}

static void post_sizes(struct peer_pool *p, const char *address)
{
    enum { SIZE = 3000000 };
    static const size_t sizes[] = {0, 1, 5000, 65536, 65537, SIZE};
    struct ask a = {0};
    char *bytes = mem_alloc(SIZE);

    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = serve_pattern(i);
    for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t n = sizes[i / 2];
        a.req.body = source_memory(str_n(bytes, n), NULL, NULL);
        a.req.expect = i % 2;
        ask_begin(p, &a, address, "POST", n ? "/echo" : "/hello");
        assert_int_equal(ask_wait(&a), ERR_OK);
        assert_int_equal(a.res.status, 200);
        assert_true(a.res.sent);
        assert_true(a.res.body_taken == (n > 0));
        assert_int_equal(ask_body(&a), ERR_OK);
        assert_int_equal(a.body_n, n ? n : 5);
        if (n)
            assert_memory_equal(a.body, bytes, n);
        ask_end(&a);
    }
    free(bytes);
}

static void post_generated(struct peer_pool *p, const struct serve *s)
{
    static const uint64_t sizes[] = {0, 1, 70000, 70001, 5000000};
    struct ask a = {0};
    struct gen g;

    for (size_t i = 0; i < 4 * sizeof(sizes) / sizeof(sizes[0]); i++) {
        char want[32];
        gen_init(&g, sizes[i / 4], i & 1);
        a.req.body = &g.source;
        a.req.expect = i & 2;
        ask_begin(p, &a, s->bound, "PUT", "/discard");
        assert_int_equal(ask_wait(&a), ERR_OK);
        assert_int_equal(ask_body(&a), ERR_OK);
        int n = snprintf(want, sizeof(want), "%llu", (unsigned long long)sizes[i / 4]);
        assert_int_equal(a.body_n, n);
        assert_memory_equal(a.body, want, a.body_n);
        ask_end(&a);
    }
    assert_int_equal(atomic_load(&s->mismatches), 0);
}

static void posted_bodies_arrive(void **state)
{
    struct peer_pool *p = ask_pool((struct peer_conf){0});

    (void)state;
    post_sizes(p, server.bound);
    post_generated(p, &server);
    assert_int_equal(http_server_connections(server.server), 1);
    ask_pool_end(p);
}

static void everything_over_tls(void **state)
{
    struct peer_pool *p = ask_pool((struct peer_conf){.tls = trust});

    (void)state;
    every_framing_from(p, secure.bound);
    post_sizes(p, secure.bound);
    post_generated(p, &secure);
    assert_int_equal(http_server_connections(secure.server), 1);
    ask_pool_end(p);
}

static void tls_to_an_impostor_fails(void **state)
{
    struct tls_client_conf system = {0};
    struct tls_client *other = NULL;
    struct ask a = {0};
    char name[64], why[256];

    (void)state;
    assert_int_equal(tls_client_new(&system, &other, why), ERR_OK);
    struct peer_pool *p = ask_pool((struct peer_conf){.tls = other});
    assert_int_equal(ask_get(p, &a, secure.bound, "/hello"), ERR_UNAVAILABLE); /* not signed by whom we trust */
    assert_false(a.res.sent);
    ask_end(&a);
    ask_pool_end(p);
    tls_client_free(other);

    p = ask_pool((struct peer_conf){.tls = trust});
    snprintf(name, sizeof(name), "localhost:%u", secure.port);
    assert_int_equal(ask_get(p, &a, name, "/hello"), ERR_UNAVAILABLE); /* the certificate is for 127.0.0.1 */
    ask_end(&a);
    assert_int_equal(ask_get(p, &a, server.bound, "/hello"), ERR_UNAVAILABLE); /* plain */
    ask_end(&a);
    ask_pool_end(p);

    struct tls_client_conf any = {.ca_file = cert_file, .any_host = true};
    assert_int_equal(tls_client_new(&any, &other, why), ERR_OK);
    p = ask_pool((struct peer_conf){.tls = other});
    assert_int_equal(ask_get(p, &a, name, "/hello"), ERR_OK);
    ask_end(&a);
    ask_pool_end(p);
    tls_client_free(other);
    any.ca_file = "/nonexistent.pem";
    assert_int_equal(tls_client_new(&any, &other, why), ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(why, "/nonexistent.pem"));
}

static void a_failing_body_is_never_complete(void **state)
{
    static const uint64_t fail_at[] = {0, 1, 60000, 1000000};
    struct peer_pool *p = ask_pool((struct peer_conf){0});
    struct ask a = {0};
    struct gen g;

    (void)state;
    /* at its very end too, when every byte has been given */
    for (size_t i = 0; i < 2 * sizeof(fail_at) / sizeof(fail_at[0]); i++) {
        bool small = i / 2 < 3;
        int complete = atomic_load(&server.requests) - atomic_load(&server.body_errors);
        gen_init(&g, small ? 60000 : 1000000, i % 2);
        g.fail_at = fail_at[i / 2];
        a.req.body = &g.source;
        ask_begin(p, &a, server.bound, "PUT", "/discard");
        assert_int_equal(ask_wait(&a), ERR_CORRUPT);
        ask_end(&a);
        (void)quiet_fds();
        assert_int_equal(atomic_load(&server.requests) - atomic_load(&server.body_errors), complete);
    }
    gen_init(&g, 1000, true);
    g.end = 1001; /* longer than it says */
    a.req.body = &g.source;
    ask_begin(p, &a, server.bound, "PUT", "/discard");
    assert_int_equal(ask_wait(&a), ERR_INCOMPLETE_BODY);
    ask_end(&a);
    gen_init(&g, 1000, true);
    g.end = 999;
    a.req.body = &g.source;
    ask_begin(p, &a, server.bound, "PUT", "/discard");
    assert_int_equal(ask_wait(&a), ERR_INCOMPLETE_BODY);
    ask_end(&a);
    ask_pool_end(p);
}

static void names_are_resolved(void **state)
{
    struct peer_pool *p = ask_pool((struct peer_conf){0});
    struct ask a = {0};
    char name[64];

    (void)state;
    snprintf(name, sizeof(name), "localhost:%u", server.port);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask_get(p, &a, name, "/hello"), ERR_OK);
        ask_end(&a);
    }
    assert_int_equal(ask_get(p, &a, "no-such-host.invalid:80", "/"), ERR_UNAVAILABLE);
    ask_end(&a);
    assert_int_equal(ask_get(p, &a, "127.0.0.1:1", "/"), ERR_UNAVAILABLE);
    assert_false(a.res.sent);
    ask_end(&a);
    ask_pool_end(p);
}

static void what_can_t_be_sent_is_refused(void **state)
{
    static const char *addresses[] = {"", "host", "host:", ":80", "host:0", "host:65536", "a b:80", "::1:80", "h:80x"};
    struct peer_pool *p = ask_pool((struct peer_conf){0});
    struct http_header bad[] = {{STR("a"), STR("b\r\nc: d")}, {STR("a b"), STR("c")}, {STR(""), STR("c")}};
    struct ask a = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        assert_int_equal(ask_get(p, &a, addresses[i], "/"), ERR_INVALID_ARGUMENT);
        ask_end(&a);
    }
    for (size_t i = 0; i < 3; i++) {
        a.req.headers = &bad[i];
        a.req.header_count = 1;
        assert_int_equal(ask_get(p, &a, server.bound, "/"), ERR_INVALID_ARGUMENT);
        ask_end(&a);
    }
    assert_int_equal(ask_get(p, &a, server.bound, "/a b"), ERR_INVALID_ARGUMENT);
    ask_end(&a);
    ask_pool_end(p);
}

static void connections_are_bounded_and_shared(void **state)
{
    enum { MANY = 40, MOST = 3 };
    struct peer_pool *p = ask_pool((struct peer_conf){.connections_max = MOST});
    struct ask *a = mem_new(MANY * sizeof(*a));
    unsigned before = quiet_fds();

    (void)state;
    for (int i = 0; i < MANY; i++)
        ask_begin(p, &a[i], server.bound, "GET", i % 2 ? "/hello" : "/file?200000");
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(ask_wait(&a[i]), ERR_OK);
        assert_true(http_server_connections(server.server) <= MOST);
        assert_int_equal(ask_body(&a[i]), ERR_OK);
        if (i % 2 == 0)
            check_pattern(&a[i], 200000);
        ask_end(&a[i]);
    }
    free(a);
    ask_pool_end(p);
    assert_true(fd_count_becomes(before));
}

static void too_many_waiting_are_refused(void **state)
{
    enum { MANY = 1024 + 1 + 3 };
    struct peer_pool *p = ask_pool((struct peer_conf){.connections_max = 1});
    struct ask *a = mem_new(MANY * sizeof(*a));
    int busy = 0, cancelled = 0;

    (void)state;
    for (int i = 0; i < MANY; i++)
        ask_begin(p, &a[i], server.bound, "GET", "/wait");
    ask_turn_ms(20);
    for (int i = MANY - 1; i >= 0; i--)
        call_cancel(&a[i].call);
    for (int i = 0; i < MANY; i++) {
        enum err e = ask_wait(&a[i]);
        busy += e == ERR_BUSY;
        cancelled += e == ERR_CANCELLED;
        ask_end(&a[i]);
    }
    assert_int_equal(busy, 3);
    assert_int_equal(cancelled, MANY - 3);
    free(a);
    ask_pool_end(p);
}

/* ---- relays ---- */

static int64_t metric_value(const char *name)
{
    struct buf b = BUF_INIT(1 << 20);
    char line[128];

    metrics_print(&b);
    buf_add_char(&b, 0);
    int n = snprintf(line, sizeof(line), "\n%s ", name);
    const char *at = strstr(b.p, line);
    int64_t v = at ? strtoll(at + n, NULL, 10) : 0;
    buf_release(&b);
    return v;
}

static void relay_get(struct relay *r, uint64_t size, unsigned pause_us)
{
    char *buf = mem_alloc(1 << 20), text[128], head[512] = "";
    int fd = relay_open(r);
    uint64_t at = 0;
    size_t n = 0;

    client_send(
        fd, text,
        (size_t)snprintf(text, sizeof(text), "GET /file?%llu HTTP/1.1\r\nHost: t\r\n\r\n", (unsigned long long)size));
    while (!strstr(head, "\r\n\r\n"))
        assert_true(n < sizeof(head) - 1 && recv(fd, head + n++, 1, 0) == 1);
    snprintf(text, sizeof(text), "Content-Length: %llu\r\n", (unsigned long long)size);
    assert_non_null(strstr(head, text));
    while (at < size) {
        ssize_t got = recv(fd, buf, 1 << 20, 0);
        assert_true(got > 0);
        bool same = true;
        for (ssize_t i = 0; i < got; i++)
            same &= buf[i] == serve_pattern((at + (uint64_t)i) % SERVE_FILE_SIZE);
        assert_true(same);
        at += (uint64_t)got;
        if (pause_us)
            usleep(pause_us);
    }
    close(fd);
    free(buf);
}

static void large_bodies_are_spliced(void **state)
{
    static const uint64_t sizes[] = {1, 4096, 65536, 65537, 200000, 1048576, 1048577, 50000000};
    struct relay r = {.upstream = server.bound};
    unsigned before = quiet_fds();

    (void)state;
    relay_start(&r, &limits);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (int k = 0; k < 3; k++)
            relay_get(&r, sizes[i], 0);
    assert_true(metric_value("sluice_http_spliced_bytes_total") > 140000000);
    relay_stop(&r);
    assert_true(fd_count_becomes(before + 1)); /* libh2o forgets to close the epoll descriptor of a freed loop */
}

static long rss_kb(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long size = 0, pages = 0;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &size, &pages), 2);
    fclose(f);
    return pages * 4;
}

static void a_slow_reader_costs_no_memory(void **state)
{
    struct relay r = {.upstream = server.bound};
    int fd[8];
    char byte;

    (void)state;
    relay_start(&r, &limits);
    relay_get(&r, 3000000, 1000);
    long before = rss_kb();
    for (int i = 0; i < 8; i++) {
        fd[i] = relay_open(&r);
        client_send_z(fd[i], "GET /file?1000000000 HTTP/1.1\r\nHost: t\r\n\r\n");
    }
    usleep(300000);
    assert_true(rss_kb() - before < 8192); /* pipes and sockets hold it, and not much of it */
    for (int i = 0; i < 8; i++) {
        assert_int_equal(recv(fd[i], &byte, 1, 0), 1);
        close(fd[i]);
    }
    relay_stop(&r);
}

static void relays_under_tls_copy(void **state)
{
    /* a handshake takes long on a busy machine */
    struct relay r = {.upstream = secure.bound, .conf = {.tls = trust, .connect_timeout_ms = 15000}};
    int64_t before = metric_value("sluice_http_spliced_bytes_total");

    (void)state;
    relay_start(&r, &limits);
    relay_get(&r, 4096, 0);
    relay_get(&r, 5000000, 0);
    assert_int_equal(metric_value("sluice_http_spliced_bytes_total"), before);
    relay_stop(&r);

    struct peer_pool *p = ask_pool((struct peer_conf){.tls = trust, .connect_timeout_ms = 15000});
    struct ask a = {0};
    struct relay to_tls = {.upstream = server.bound, .tls = tls};
    relay_start(&to_tls, &limits);
    assert_int_equal(ask_get(p, &a, to_tls.bound, "/file?5000000"), ERR_OK);
    check_pattern(&a, 5000000);
    ask_end(&a);
    ask_pool_end(p);
    relay_stop(&to_tls);
}

static void uploads_through_a_relay(void **state)
{
    struct peer_pool *p = ask_pool((struct peer_conf){0});

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct relay r = {.upstream = server.bound, .expect = i};
        relay_start(&r, &limits);
        struct serve at_relay = {0};
        snprintf(at_relay.bound, sizeof(at_relay.bound), "%s", r.bound);
        post_sizes(p, r.bound);
        int64_t spliced = metric_value("sluice_peer_spliced_bytes_total");
        post_generated(p, &at_relay);
        assert_int_equal(atomic_load(&server.mismatches), 0);
        assert_true(metric_value("sluice_peer_spliced_bytes_total") - spliced >
                    2 * 4000000); /* with and without Expect */
        relay_stop(&r);
    }
    ask_pool_end(p);
}

/* What follows the body in the client's socket is not the upload's. */
static void a_request_behind_an_upload_stays_there(void **state)
{
    enum { SIZE = 700000 };
    struct relay r = {.upstream = server.bound};
    char *bytes = mem_alloc(SIZE + 200);
    struct answer a;

    (void)state;
    relay_start(&r, &limits);
    int fd = relay_open(&r);
    for (int i = 0; i < 10; i++) {
        int n = snprintf(bytes, 100, "PUT /discard HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n", SIZE);
        for (int k = 0; k < SIZE; k++)
            bytes[n + k] = serve_pattern((uint64_t)k);
        int more = snprintf(bytes + n + SIZE, 90, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n");
        client_send(fd, bytes, (size_t)(n + SIZE + more));
        assert_true(client_answer(fd, false, &a));
        assert_int_equal(a.status, 200);
        assert_memory_equal(a.body, "700000", 6);
        answer_release(&a);
        assert_true(client_answer(fd, false, &a));
        assert_memory_equal(a.body, "hello", 5);
        answer_release(&a);
    }
    assert_int_equal(atomic_load(&server.mismatches), 0);
    free(bytes);
    close(fd);
    relay_stop(&r);
}

static void a_body_that_breaks_off_is_cut(void **state)
{
    struct relay r = {.upstream = server.bound};
    struct answer a;

    (void)state;
    relay_start(&r, &limits);
    for (int i = 0; i < 2; i++) {
        int fd = relay_open(&r);
        client_send_z(fd, i ? "GET /broken HTTP/1.1\r\nHost: t\r\n\r\n" : "GET /broken?1 HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_false(client_answer(fd, false, &a));
        answer_release(&a);
        close(fd);
    }
    relay_stop(&r);
}

static void clients_that_go_away_leave_nothing(void **state)
{
    static const char *requests[] = {
        "GET /file?100000000 HTTP/1.1\r\nHost: t\r\n\r\n", "GET /lazy?100000000 HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /wait HTTP/1.1\r\nHost: t\r\n\r\n",
        "PUT /discard HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000000\r\n\r\nabc",
        "PUT /discard HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"};
    struct relay r = {.upstream = server.bound};
    unsigned before = quiet_fds();
    struct linger reset = {.l_onoff = 1};
    char buf[5000], *much = mem_new(400000);

    (void)state;
    relay_start(&r, &limits);
    for (int i = 0; i < 100; i++) {
        int fd = relay_open(&r);
        client_send_z(fd, requests[i % 5]);
        if (i % 5 == 3 && i > 50)
            client_send(fd, much, (size_t)i * 4000);
        usleep((unsigned)(i % 7) * 300);
        if (i % 5 < 2)
            (void)!recv(fd, buf, (size_t)(i * 50 + 1), 0);
        if (i % 5 == 2) /* a mere end could be that of a client that still reads */
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        close(fd);
    }
    for (int i = 0; i < 1000 && http_server_connections(r.server); i++)
        usleep(5000);
    assert_int_equal(http_server_connections(r.server), 0);
    free(much);
    relay_stop(&r);
    assert_true(fd_count_becomes(before + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(get_and_reuse),
        cmocka_unit_test(bodies_of_every_framing),
        cmocka_unit_test(posted_bodies_arrive),
        cmocka_unit_test(everything_over_tls),
        cmocka_unit_test(tls_to_an_impostor_fails),
        cmocka_unit_test(a_failing_body_is_never_complete),
        cmocka_unit_test(names_are_resolved),
        cmocka_unit_test(what_can_t_be_sent_is_refused),
        cmocka_unit_test(connections_are_bounded_and_shared),
        cmocka_unit_test(too_many_waiting_are_refused),
        cmocka_unit_test(large_bodies_are_spliced),
        cmocka_unit_test(a_slow_reader_costs_no_memory),
        cmocka_unit_test(relays_under_tls_copy),
        cmocka_unit_test(uploads_through_a_relay),
        cmocka_unit_test(a_request_behind_an_upload_stays_there),
        cmocka_unit_test(a_body_that_breaks_off_is_cut),
        cmocka_unit_test(clients_that_go_away_leave_nothing),
    };

    return cmocka_run_group_tests_name("peer", tests, start, stop);
}
