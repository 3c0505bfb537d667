#include "unit.h"

#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "serve.h"

static struct serve server;

static const struct http_limits quick = {
    .connections_max = 100,
    .head_max = 16384,
    .headers_max = 100,
    .head_timeout_ms = 300,
    .body_timeout_ms = 300,
    .idle_timeout_ms = 600,
    .send_timeout_ms = 400,
    .drain_body_max = 65536,
};

static const struct http_limits patient = {
    .connections_max = 1000,
    .head_max = 16384,
    .headers_max = 100,
    .head_timeout_ms = 20000,
    .body_timeout_ms = 20000,
    .idle_timeout_ms = 20000,
    .send_timeout_ms = 20000,
    .drain_body_max = 65536,
};

#define HOST "Host: t\r\n"

static int start_patient(void **state)
{
    (void)state;
    serve_start(&server, &patient, NULL);
    return 0;
}

static int start_quick(void **state)
{
    (void)state;
    serve_start(&server, &quick, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    serve_stop(&server);
    return 0;
}

static void wait_for(atomic_int *value, int want)
{
    for (int i = 0; i < 5000 && atomic_load(value) != want; i++)
        usleep(1000);
    assert_int_equal(atomic_load(value), want);
}

/* The connection ends (in order or by reset) within ms, measured from `from`. */
static void assert_ends_within(int fd, int ms)
{
    char sink[4096];
    struct pollfd p = {fd, POLLIN, 0};
    uint64_t end = clock_mono_ns() + (uint64_t)ms * 1000000u;

    for (;;) {
        uint64_t now = clock_mono_ns();
        assert_true(now < end);
        assert_true(poll(&p, 1, (int)((end - now) / 1000000u) + 1) >= 0);
        if (p.revents && recv(fd, sink, sizeof(sink), MSG_DONTWAIT) <= 0)
            return;
    }
}

static void assert_pattern(const struct answer *a, size_t n)
{
    assert_int_equal(a->body_n, n);
    for (size_t i = 0; i < n; i++)
        if (a->body[i] != serve_pattern(i % SERVE_FILE_SIZE))
            fail_msg("byte %zu of %zu differs", i, n);
}

static void keep_alive_serves_many(void **state)
{
    int fd = client_open(&server);

    (void)state;
    for (int i = 0; i < 200; i++)
        assert_int_equal(client_ask(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n"), 200);
    close(fd);
    wait_for(&server.requests, 200);
}

static void head_may_come_byte_by_byte(void **state)
{
    static const char text[] = "\r\nPUT /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc";
    int fd = client_open(&server);
    struct answer a;

    (void)state;
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        client_send(fd, text + i, 1);
        usleep(500);
    }
    assert_true(client_answer(fd, false, &a));
    assert_int_equal(a.status, 200);
    assert_memory_equal(a.body, "abc", 3);
    assert_null(strstr(a.head, "\r\nb: c"));
    answer_release(&a);
    close(fd);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    char text[8192];
    size_t n = 0;
    int fd = client_open(&server);
    struct answer a;

    (void)state;
    for (int i = 0; i < 50; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "GET /lazy?%d HTTP/1.1\r\n" HOST "\r\n", i);
    client_send(fd, text, n);
    for (size_t i = 0; i < 50; i++) {
        assert_true(client_answer(fd, false, &a));
        assert_pattern(&a, i);
        answer_release(&a);
    }
    close(fd);
}

static void pipelined_bodies_do_not_mix(void **state)
{
    int fd = client_open(&server);
    struct answer a;
    static const char *const want[] = {"abcd", "hello world", "denied", "hello"};

    (void)state;
    client_send_z(fd, "PUT /echo HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nabcd"
                      "PUT /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                      "6;ext=1\r\nhello \r\n5\r\nworld\r\n0\r\nx-trailer: 1\r\n\r\n"
                      "PUT /deny HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nabcd"
                      "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    for (int i = 0; i < 4; i++) {
        assert_true(client_answer(fd, false, &a));
        assert_int_equal(a.body_n, strlen(want[i]));
        assert_memory_equal(a.body, want[i], a.body_n);
        answer_release(&a);
    }
    close(fd);
}

static void sources_of_every_kind_arrive_whole(void **state)
{
    static const char *const paths[] = {"file", "lazy", "chunked", "chunkedfile"};
    static const size_t sizes[] = {0, 1, 30000, 30001, 300000, SERVE_FILE_SIZE + 5};
    int fd = client_open(&server);

    (void)state;
    for (size_t p = 0; p < 4; p++)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            char text[128];
            struct answer a;
            snprintf(text, sizeof(text), "GET /%s?%zu HTTP/1.1\r\n" HOST "\r\n", paths[p], sizes[i]);
            client_send_z(fd, text);
            assert_true(client_answer(fd, false, &a));
            if (strcmp(paths[p], "lazy") != 0 && strcmp(paths[p], "chunked") != 0)
                assert_pattern(&a, sizes[i]);
            assert_int_equal(a.body_n, sizes[i]);
            answer_release(&a);
        }
    close(fd);
}

static void uploads_arrive_whole(void **state)
{
    enum { SIZE = 9 * 1024 * 1024 + 7 };
    char *bytes = mem_alloc(SIZE), text[128];
    int fd = client_open(&server);
    struct answer a;

    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = serve_pattern(i);
    snprintf(text, sizeof(text), "PUT /discard HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n", SIZE);
    client_send_z(fd, text);
    client_send(fd, bytes, SIZE);
    assert_true(client_answer(fd, false, &a));
    assert_int_equal(a.body_n, 7);
    assert_memory_equal(a.body, "9437191", 7);
    answer_release(&a);
    client_send_z(fd, "PUT /discard HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0, step = 1; at < SIZE; at += step, step = (step * 7 + 3) % 150001) {
        if (step == 0)
            step = 1;
        if (step > SIZE - at)
            step = SIZE - at;
        snprintf(text, sizeof(text), "%zx\r\n", step);
        client_send_z(fd, text);
        client_send(fd, bytes + at, step);
        client_send_z(fd, "\r\n");
    }
    client_send_z(fd, "0\r\n\r\nGET /hello HTTP/1.1\r\n" HOST "\r\n");
    assert_true(client_answer(fd, false, &a));
    assert_memory_equal(a.body, "9437191", 7);
    answer_release(&a);
    assert_true(client_answer(fd, false, &a));
    assert_int_equal(a.body_n, 5);
    assert_int_equal(atomic_load(&server.mismatches), 0);
    answer_release(&a);
    free(bytes);
    close(fd);
}

static void continue_is_sent_when_the_body_is_wanted(void **state)
{
    int fd = client_open(&server);
    struct answer a;

    (void)state;
    for (int i = 0; i < 3; i++) {
        client_send_z(fd, "PUT /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
        assert_true(client_answer(fd, false, &a));
        assert_int_equal(a.status, 100);
        client_send_z(fd, "hi");
        assert_true(client_answer(fd, false, &a));
        assert_int_equal(a.status, 200);
        assert_null(strstr(a.head, "Connection: close"));
        answer_release(&a);
    }
    close(fd);
}

static void refusal_without_continue_closes(void **state)
{
    static const char *const lengths[] = {"0", "5", "100000000"};
    struct answer a;

    (void)state;
    for (int i = 0; i < 3; i++) {
        char text[200];
        int fd = client_open(&server);
        snprintf(text, sizeof(text), "PUT /deny HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: %s\r\n\r\n",
                 lengths[i]);
        client_send_z(fd, text);
        assert_true(client_answer(fd, false, &a));
        assert_int_equal(a.status, 403);
        assert_non_null(strstr(a.head, "Connection: close"));
        answer_release(&a);
        assert_ends_within(fd, 4000);
        close(fd);
    }
    int fd = client_open(&server);
    assert_int_equal(client_ask(fd, "PUT /x HTTP/1.1\r\n" HOST "Expect: 200-ok\r\nContent-Length: 1\r\n\r\n"), 417);
    close(fd);
}

/* The client sends for as long as it can and must still find the answer. */
static void early_refusal_reaches_a_client_that_sends(void **state)
{
    int fd = client_open(&server);
    char *block = mem_new(1 << 20);
    struct answer a;

    (void)state;
    client_send_z(fd, "PUT /deny HTTP/1.1\r\n" HOST "Content-Length: 1000000000\r\n\r\n");
    for (int i = 0; i < 20; i++)
        client_send(fd, block, 1 << 20);
    assert_true(client_answer(fd, false, &a));
    assert_int_equal(a.status, 403);
    assert_non_null(strstr(a.head, "Connection: close"));
    answer_release(&a);
    free(block);
    close(fd);
}

static void small_unread_rest_keeps_the_connection(void **state)
{
    int fd = client_open(&server);
    char *rest = mem_new(60000);

    (void)state;
    client_send_z(fd, "PUT /half HTTP/1.1\r\n" HOST "Content-Length: 50001\r\n\r\n");
    memset(rest, serve_pattern(0), 60000);
    client_send(fd, rest, 1);
    usleep(20000);
    client_send(fd, rest, 50000);
    assert_int_equal(client_ask(fd, ""), 200);
    assert_int_equal(client_ask(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n"), 200);
    free(rest);
    close(fd);
}

static void head_requests_have_no_body(void **state)
{
    int fd = client_open(&server);
    struct answer a;

    (void)state;
    for (int i = 0; i < 2; i++) {
        client_send_z(fd, i ? "HEAD /hello HTTP/1.1\r\n" HOST "\r\n" : "HEAD /head HTTP/1.1\r\n" HOST "\r\n");
        assert_true(client_answer(fd, true, &a));
        assert_non_null(strstr(a.head, i ? "Content-Length: 5\r\n" : "Content-Length: 1234\r\n"));
    }
    client_send_z(fd, "GET /204 HTTP/1.1\r\n" HOST "\r\n");
    assert_true(client_answer(fd, false, &a));
    assert_null(strstr(a.head, "Content-Length"));
    assert_int_equal(client_ask(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n"), 200);
    close(fd);
}

static void http_1_0_closes_unless_asked(void **state)
{
    int fd = client_open(&server);
    struct answer a;
    char sink[64];

    (void)state;
    client_send_z(fd, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_true(client_answer(fd, false, &a));
    assert_non_null(strstr(a.head, "Connection: keep-alive"));
    answer_release(&a);
    client_send_z(fd, "GET /chunked?70000 HTTP/1.0\r\n\r\n");
    assert_true(client_answer(fd, false, &a));
    assert_null(strstr(a.head, "chunked"));
    assert_int_equal(a.body_n, 70000);
    answer_release(&a);
    assert_int_equal(client_read_all(fd, sink, sizeof(sink)), 0);
    close(fd);
}

static void ambiguous_requests_are_refused(void **state)
{
    static const struct {
        int status;
        const char *text;
    } bad[] = {
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\nabc"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\nabc"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n"},
        {400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" HOST "X-A: 1\r\n folded\r\n\r\n"},
        {400, "GET / HTTP/1.1\n" HOST "\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: t\n\r\n"},
        {400, "GET / HTTP/1.1\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" HOST HOST "\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" HOST "X-A : 1\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" HOST "X-A: \x01\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" HOST "X\x01-A: 1\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" HOST ": empty\r\n\r\n"},
        {400, "GET /a b HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET x HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /#f HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET ftp://h/x HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET http://u@h/x HTTP/1.1\r\n" HOST "\r\n"},
        {400, "CONNECT h:80 HTTP/1.1\r\n" HOST "\r\n"},
        {400, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
        {400, "GET / HTTP/2.0\r\n" HOST "\r\n"},
        {400, "G(T / HTTP/1.1\r\n" HOST "\r\n"},
        {400, "\x16\x03\x01\x02"},
        {400, "PUT /discard HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n"},
        {400, "PUT /discard HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"},
        {400, "PUT /discard HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n-1\r\nabcd\r\n0\r\n\r\n"},
        {400, "PUT /discard HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n"},
        {400, "PUT /discard HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc"},
        {400, "PUT /discard HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\nabc"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int fd = client_open(&server);
        int status = client_ask(fd, bad[i].text);
        if (status != bad[i].status)
            fail_msg("%d instead of %d for %s", status, bad[i].status, bad[i].text);
        shutdown(fd, SHUT_WR);
        assert_ends_within(fd, 4000);
        close(fd);
    }
}

static void oversized_heads_are_refused(void **state)
{
    char *text = mem_alloc(40000);
    size_t n;
    int fd = client_open(&server);

    (void)state;
    n = (size_t)snprintf(text, 40000, "GET /hello HTTP/1.1\r\n" HOST "X: ");
    memset(text + n, 'x', 30000);
    text[n + 30000] = 0;
    assert_int_equal(client_ask(fd, text), 431);
    close(fd);
    fd = client_open(&server);
    for (int i = 0; i < 101; i++)
        n += (size_t)snprintf(text + n, 40000 - n, i ? "X-%d: 1\r\n" : "\r\n", i);
    snprintf(text + n, 40000 - n, "\r\n");
    assert_int_equal(client_ask(fd, text), 431);
    close(fd);
    fd = client_open(&server);
    n = (size_t)snprintf(text, 40000, "GET /hello HTTP/1.1\r\n" HOST "X: ");
    memset(text + n, 'x', 12000); /* the buffer grows */
    snprintf(text + n + 12000, 100, "\r\n\r\n");
    assert_int_equal(client_ask(fd, text), 200);
    close(fd);
    free(text);
}

static void absolute_form_is_reduced(void **state)
{
    int fd = client_open(&server);

    (void)state;
    assert_int_equal(client_ask(fd, "GET http://other/lazy?3 HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_int_equal(client_ask(fd, "GET HTTPS://other?3 HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_int_equal(client_ask(fd, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), 200);
    close(fd);
}

static void reset(int fd)
{
    struct linger now = {1, 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}

static void handler_learns_of_a_reset(void **state)
{
    int fd = client_open(&server);

    (void)state;
    client_send_z(fd, "GET /wait HTTP/1.1\r\n" HOST "\r\n");
    wait_for(&server.waiting, 1);
    reset(fd);
    wait_for(&server.aborts, 1);
    wait_for(&server.responds_failed, 1);
}

static void half_closed_client_gets_its_response(void **state)
{
    int fd = client_open(&server);
    struct answer a;

    (void)state;
    client_send_z(fd, "GET /wait HTTP/1.1\r\n" HOST "\r\n");
    shutdown(fd, SHUT_WR);
    wait_for(&server.waiting, 1);
    usleep(50000);
    serve_release(&server);
    assert_true(client_answer(fd, false, &a));
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.head, "Connection: close"));
    answer_release(&a);
    assert_ends_within(fd, 3000);
    close(fd);
}

/* Where the handler wants it so: whether the end comes before or after. */
static void an_end_that_means_leaving(void **state)
{
    (void)state;
    for (int early = 0; early < 2; early++) {
        int aborts = server.aborts, failed = server.responds_failed;
        int fd = client_open(&server);
        client_send_z(fd, "GET /wait?gone HTTP/1.1\r\n" HOST "\r\n");
        if (!early)
            wait_for(&server.waiting, 1);
        shutdown(fd, SHUT_WR);
        wait_for(&server.aborts, aborts + 1);
        wait_for(&server.responds_failed, failed + 1);
        close(fd);
    }
}

static void broken_uploads_leave_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        int fd = client_open(&server);
        client_send_z(fd, i % 2 ? "PUT /discard HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\nabcdefg"
                                : "PUT /discard HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n500\r\nabc");
        if (i % 4 < 2)
            usleep(2000);
        if (i % 3)
            reset(fd);
        else
            close(fd);
    }
    for (int i = 0; i < 5000 && atomic_load(&server.body_errors) < atomic_load(&server.requests); i++)
        usleep(1000);
    assert_int_equal(atomic_load(&server.body_errors), atomic_load(&server.requests));
}

static void broken_downloads_leave_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        static const char *const paths[] = {"file", "lazy", "chunked", "chunkedfile"};
        int fd = client_open(&server);
        char text[100], sink[5000];
        snprintf(text, sizeof(text), "GET /%s?90000000 HTTP/1.1\r\n" HOST "\r\n", paths[i % 4]);
        client_send_z(fd, text);
        assert_true(recv(fd, sink, sizeof(sink), 0) > 0);
        if (i % 3)
            reset(fd);
        else
            close(fd);
    }
    wait_for(&server.responds_failed, 40);
}

static void failing_source_cuts_the_connection(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        int fd = client_open(&server);
        struct answer a;
        client_send_z(fd, i ? "GET /broken HTTP/1.1\r\n" HOST "\r\n" : "GET /broken?1 HTTP/1.1\r\n" HOST "\r\n");
        assert_false(client_answer(fd, false, &a));
        answer_release(&a);
        close(fd);
    }
    wait_for(&server.responds_failed, 2);
}

/* ---- with short time limits ---- */

static void slow_heads_are_cut(void **state)
{
    int fd = client_open(&server), slow = client_open(&server);
    uint64_t end = clock_mono_ns() + 3 * UINT64_C(1000000000);

    (void)state;
    client_send_z(fd, "GET /hello HT");
    assert_ends_within(fd, 3500);
    close(fd);
    client_send_z(slow, "GET /hello HTTP/1.1\r\nX: ");
    struct pollfd p = {slow, POLLIN, 0};
    while (poll(&p, 1, 50) == 0 && clock_mono_ns() < end)
        client_send(slow, "x", 1);
    assert_true(clock_mono_ns() < end); /* trickling doesn't help */
    close(slow);
}

static void idle_connections_end(void **state)
{
    int fresh = client_open(&server), used = client_open(&server);

    (void)state;
    assert_int_equal(client_ask(used, "GET /hello HTTP/1.1\r\n" HOST "\r\n"), 200);
    assert_ends_within(fresh, 2000);
    assert_ends_within(used, 2000);
    close(fresh);
    close(used);
}

static void slow_bodies_time_out(void **state)
{
    int fd = client_open(&server);
    struct answer a;

    (void)state;
    client_send_z(fd, "PUT /discard HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\na");
    assert_true(client_answer(fd, false, &a));
    assert_int_equal(a.status, 400);
    assert_memory_equal(a.body, "RequestTimeout", 14);
    answer_release(&a);
    close(fd);
    fd = client_open(&server);
    client_send_z(fd, "PUT /discard HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n");
    struct pollfd p = {fd, POLLIN, 0};
    int sent = 0;
    while (sent < 900 && poll(&p, 1, 20) == 0) {
        char byte = serve_pattern((uint64_t)sent++);
        client_send(fd, &byte, 1);
    }
    assert_true(sent < 200); /* a trickle is not progress */
    close(fd);
}

static void steady_slow_upload_works(void **state)
{
    int fd = client_open(&server);
    char block[4096];
    struct answer a;

    (void)state;
    client_send_z(fd, "PUT /discard HTTP/1.1\r\n" HOST "Content-Length: 81920\r\n\r\n");
    for (int i = 0; i < 20; i++) {
        for (size_t k = 0; k < sizeof(block); k++)
            block[k] = serve_pattern((uint64_t)i * 4096 + k);
        client_send(fd, block, sizeof(block));
        usleep(50000);
    }
    assert_true(client_answer(fd, false, &a));
    assert_int_equal(a.status, 200);
    answer_release(&a);
    close(fd);
}

/* Windows of every size: with some of them the socket is full just where a turn of the loop ends, and no write has said
 * so. */
static void stuck_readers_are_cut(void **state)
{
    int fds[24], n = sizeof(fds) / sizeof(fds[0]);

    (void)state;
    for (int i = 0; i < n; i++) {
        int window = (i + 1) * 16384;
        fds[i] = client_open(&server);
        setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &window, sizeof(window));
        client_send_z(fds[i], "GET /file?200000000 HTTP/1.1\r\n" HOST "\r\n");
    }
    wait_for(&server.responds_failed, n);
    for (int i = 0; i < n; i++)
        close(fds[i]);
}

/* The socket buffers hold more than the client takes within a time limit: only what it acknowledges tells that it is
 * alive. */
static void slow_steady_reader_is_kept(void **state)
{
    int fd = client_open(&server), small = 8192;
    uint64_t end = clock_mono_ns() + 2 * UINT64_C(1000000000);
    char sink[20000];

    (void)state;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    client_send_z(fd, "GET /file?6000000 HTTP/1.1\r\n" HOST "\r\n");
    while (clock_mono_ns() < end) {
        assert_true(recv(fd, sink, sizeof(sink), 0) > 0);
        usleep(3000);
    }
    assert_int_equal(atomic_load(&server.responds_failed), 0);
    close(fd);
}

/* ---- drain and limits ---- */

static void drain_lets_the_busy_finish(void **state)
{
    int idle, busy;
    struct answer a;

    (void)state;
    serve_start(&server, &patient, NULL);
    idle = client_open(&server);
    busy = client_open(&server);
    assert_int_equal(client_ask(idle, "GET /hello HTTP/1.1\r\n" HOST "\r\n"), 200);
    client_send_z(busy, "GET /wait HTTP/1.1\r\n" HOST "\r\n");
    wait_for(&server.waiting, 1);
    serve_drain(&server, 10000);
    assert_ends_within(idle, 3000);
    assert_false(atomic_load(&server.drain_done));
    serve_release(&server);
    assert_true(client_answer(busy, false, &a));
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.head, "Connection: close"));
    answer_release(&a);
    close(busy);
    close(idle);
    serve_stop(&server);
    assert_true(atomic_load(&server.drain_done));
}

static void drain_cuts_after_its_time(void **state)
{
    int busy, stuck;

    (void)state;
    serve_start(&server, &patient, NULL);
    busy = client_open(&server);
    stuck = client_open(&server);
    client_send_z(busy, "GET /wait HTTP/1.1\r\n" HOST "\r\n");
    client_send_z(stuck, "GET /file?200000000 HTTP/1.1\r\n" HOST "\r\n");
    wait_for(&server.waiting, 1);
    wait_for(&server.requests, 2);
    serve_drain(&server, 100);
    assert_ends_within(busy, 3000);
    serve_stop(&server);
    assert_int_equal(atomic_load(&server.aborts), 1);
    assert_int_equal(atomic_load(&server.responds_failed), 2);
    close(busy);
    close(stuck);
}

static void accepting_pauses_at_the_limit(void **state)
{
    struct http_limits few = patient;
    int fds[4];

    (void)state;
    few.connections_max = 3;
    serve_start(&server, &few, NULL);
    for (int i = 0; i < 3; i++) {
        fds[i] = client_open(&server);
        assert_int_equal(client_ask(fds[i], "GET /hello HTTP/1.1\r\n" HOST "\r\n"), 200);
    }
    fds[3] = client_open(&server); /* sits in the backlog */
    client_send_z(fds[3], "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    struct pollfd p = {fds[3], POLLIN, 0};
    assert_int_equal(poll(&p, 1, 100), 0);
    close(fds[0]);
    assert_int_equal(client_ask(fds[3], ""), 200);
    for (int i = 1; i < 4; i++)
        close(fds[i]);
    serve_stop(&server);
}

static void accepting_survives_used_up_descriptors(void **state)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    struct rlimit old, low;
    struct pollfd p = {.events = POLLIN};

    (void)state;
    serve_start(&server, &patient, NULL);
    sa.sin_port = htons(server.port);
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    getrlimit(RLIMIT_NOFILE, &old);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    low = old;
    low.rlim_cur = (rlim_t)fd + 1; /* the server, in this process too, can't have another */
    setrlimit(RLIMIT_NOFILE, &low);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    client_send_z(fd, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    p.fd = fd;
    int early = poll(&p, 1, 250);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(early, 0);
    assert_int_equal(client_ask(fd, ""), 200);
    close(fd);
    serve_stop(&server);
}

int main(void)
{
#define WITH(limits, test) cmocka_unit_test_setup_teardown(test, start_##limits, stop)
    static const struct CMUnitTest tests[] = {
        WITH(patient, keep_alive_serves_many),
        WITH(patient, head_may_come_byte_by_byte),
        WITH(patient, pipelined_requests_are_answered_in_order),
        WITH(patient, pipelined_bodies_do_not_mix),
        WITH(patient, sources_of_every_kind_arrive_whole),
        WITH(patient, uploads_arrive_whole),
        WITH(patient, continue_is_sent_when_the_body_is_wanted),
        WITH(patient, refusal_without_continue_closes),
        WITH(patient, early_refusal_reaches_a_client_that_sends),
        WITH(patient, small_unread_rest_keeps_the_connection),
        WITH(patient, head_requests_have_no_body),
        WITH(patient, http_1_0_closes_unless_asked),
        WITH(patient, ambiguous_requests_are_refused),
        WITH(patient, oversized_heads_are_refused),
        WITH(patient, absolute_form_is_reduced),
        WITH(patient, handler_learns_of_a_reset),
        WITH(patient, half_closed_client_gets_its_response),
        WITH(patient, an_end_that_means_leaving),
        WITH(patient, broken_uploads_leave_nothing),
        WITH(patient, broken_downloads_leave_nothing),
        WITH(patient, failing_source_cuts_the_connection),
        WITH(quick, slow_heads_are_cut),
        WITH(quick, idle_connections_end),
        WITH(quick, slow_bodies_time_out),
        WITH(quick, steady_slow_upload_works),
        WITH(quick, stuck_readers_are_cut),
        WITH(quick, slow_steady_reader_is_kept),
        cmocka_unit_test(drain_lets_the_busy_finish),
        cmocka_unit_test(drain_cuts_after_its_time),
        cmocka_unit_test(accepting_pauses_at_the_limit),
        cmocka_unit_test(accepting_survives_used_up_descriptors),
    };

    signal(SIGPIPE, SIG_IGN); /* as main.c does */
    log_setup(LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
