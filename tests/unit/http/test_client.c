#include "unit.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "cert.h"
#include "http/client.h"
#include "serve.h"

static const struct http_limits limits = {
    .connections_max = 1000,
    .head_max = 16384,
    .headers_max = 100,
    .head_timeout_ms = 20000,
    .body_timeout_ms = 20000,
    .idle_timeout_ms = 20000,
    .send_timeout_ms = 20000,
    .drain_body_max = 65536,
};

static struct serve server;
static struct loop *loop;
static struct http_client *client;

static int start(void **state)
{
    (void)state;
    serve_start(&server, &limits, NULL);
    loop = loop_new();
    loop_adopt(loop);
    client = http_client_new(loop);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    http_client_free(client);
    loop_free(loop);
    serve_stop(&server);
    return 0;
}

struct ask {
    struct http_client_req req;
    struct http_client_res res;
    struct call call;
    char url[128];
    bool done;
};

static void on_done(struct call *call)
{
    CONTAINER(call, struct ask, call)->done = true;
}

static void ask_start(struct ask *a, const char *method, const char *path, struct str body)
{
    a->done = false;
    snprintf(a->url, sizeof(a->url), "%s://127.0.0.1:%u%s", server.tls ? "https" : "http", server.port, path);
    a->req.method = method;
    a->req.url = a->url;
    a->req.body = body;
    if (!a->req.body_max)
        a->req.body_max = 1 << 20;
    call_begin(&a->call, loop, on_done);
    http_client_send(client, &a->req, &a->res, &a->call);
}

static enum err ask_end(struct ask *a)
{
    while (!a->done)
        loop_turn(loop, 1000);
    return a->call.err;
}

static enum err ask(struct ask *a, const char *method, const char *path, struct str body)
{
    ask_start(a, method, path, body);
    return ask_end(a);
}

static void assert_body(const struct ask *a, const char *want)
{
    assert_true(str_eq(buf_str(&a->res.body), str_z(want)));
}

static void answers_come_with_status_headers_and_body(void **state)
{
    struct ask a = {0};

    (void)state;
    assert_int_equal(ask(&a, "GET", "/hello", STR_NONE), ERR_OK);
    assert_int_equal(a.res.status, 200);
    assert_body(&a, "hello");
    assert_true(str_eq(http_client_header(&a.res, STR("server")), STR("sluice")));
    assert_null(http_client_header(&a.res, STR("absent")).p);
    http_client_res_release(&a.res);
    assert_int_equal(ask(&a, "HEAD", "/head", STR_NONE), ERR_OK);
    assert_true(str_eq(http_client_header(&a.res, STR("content-length")), STR("1234")));
    assert_int_equal(a.res.body.n, 0);
    http_client_res_release(&a.res);
    assert_int_equal(ask(&a, "PUT", "/echo", STR("to and fro")), ERR_OK);
    assert_body(&a, "to and fro");
    http_client_res_release(&a.res);
    assert_int_equal(ask(&a, "POST", "/deny", STR("x")), ERR_OK);
    assert_int_equal(a.res.status, 403);
    http_client_res_release(&a.res);
    assert_int_equal(ask(&a, "GET", "/chunked?100000", STR_NONE), ERR_OK);
    assert_int_equal(a.res.body.n, 100000);
    http_client_res_release(&a.res);
}

static void many_run_at_once_and_connections_are_reused(void **state)
{
    enum { AT_ONCE = 40 };
    struct ask *a = mem_new(AT_ONCE * sizeof(*a));

    (void)state;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < AT_ONCE; i++)
            ask_start(&a[i], "GET", i % 2 ? "/hello" : "/lazy?70000", STR_NONE);
        for (int i = 0; i < AT_ONCE; i++) {
            assert_int_equal(ask_end(&a[i]), ERR_OK);
            assert_int_equal(a[i].res.body.n, i % 2 ? 5 : 70000);
            http_client_res_release(&a[i].res);
        }
    }
    assert_true(http_server_connections(server.server) <= AT_ONCE + 1);
    free(a);
}

static void answers_over_the_bound_are_refused(void **state)
{
    struct ask a = {.req.body_max = 1000};

    (void)state;
    assert_int_equal(ask(&a, "GET", "/lazy?1001", STR_NONE), ERR_TOO_LARGE);
    http_client_res_release(&a.res);
    assert_int_equal(ask(&a, "GET", "/lazy?1000", STR_NONE), ERR_OK);
    assert_int_equal(a.res.body.n, 1000);
    http_client_res_release(&a.res);
}

static bool count_piece(void *arg, struct str piece)
{
    *(size_t *)arg += piece.n;
    return *(size_t *)arg < 5000000;
}

static void pieces_are_handed_on(void **state)
{
    size_t n = 0;
    struct ask a = {.req.on_piece = count_piece, .req.on_piece_arg = &n};

    (void)state;
    assert_int_equal(ask(&a, "GET", "/file?3000000", STR_NONE), ERR_OK);
    assert_int_equal(n, 3000000);
    http_client_res_release(&a.res);
    assert_int_equal(ask(&a, "GET", "/file?90000000", STR_NONE), ERR_TOO_LARGE);
    http_client_res_release(&a.res);
}

static void failures_say_why(void **state)
{
    struct ask a = {0};
    struct http_header bad[] = {{STR("x"), STR("a\r\nb: c")}};

    (void)state;
    assert_int_equal(ask(&a, "GET", "/broken?1", STR_NONE), ERR_UNAVAILABLE);
    assert_true(a.res.why[0]);
    http_client_res_release(&a.res);
    a.req.timeout_ms = 100;
    assert_int_equal(ask(&a, "GET", "/wait", STR_NONE), ERR_TIMEOUT);
    http_client_res_release(&a.res);
    a.req.timeout_ms = 0;
    a.req.headers = bad;
    a.req.header_count = 1;
    assert_int_equal(ask(&a, "GET", "/hello", STR_NONE), ERR_INVALID_ARGUMENT);
    http_client_res_release(&a.res);
    a.req.header_count = 0;
    a.done = false;
    a.req.url = "http://127.0.0.1:1/";
    call_begin(&a.call, loop, on_done);
    http_client_send(client, &a.req, &a.res, &a.call);
    assert_int_equal(ask_end(&a), ERR_UNAVAILABLE);
    http_client_res_release(&a.res);
    a.done = false;
    a.req.url = "file:///etc/passwd";
    call_begin(&a.call, loop, on_done);
    http_client_send(client, &a.req, &a.res, &a.call);
    assert_int_equal(ask_end(&a), ERR_INVALID_ARGUMENT);
    http_client_res_release(&a.res);
}

static void cancel_ends_an_exchange(void **state)
{
    struct ask a = {0};

    (void)state;
    ask_start(&a, "GET", "/wait", STR_NONE);
    for (int i = 0; i < 20; i++)
        loop_turn(loop, 5);
    call_cancel(&a.call);
    assert_int_equal(ask_end(&a), ERR_CANCELLED);
    http_client_res_release(&a.res);
    ask_start(&a, "GET", "/hello", STR_NONE);
    call_cancel(&a.call); /* before anything was sent */
    assert_int_equal(ask_end(&a), ERR_CANCELLED);
    http_client_res_release(&a.res);
    assert_int_equal(ask(&a, "GET", "/hello", STR_NONE), ERR_OK);
    http_client_res_release(&a.res);
}

/* Names are resolved in threads of libcurl's, which wake it through a socket of theirs. */
static void names_are_resolved(void **state)
{
    struct ask a = {0};

    (void)state;
    snprintf(a.url, sizeof(a.url), "http://localhost:%u/hello", server.port);
    a.req.method = "GET";
    a.req.url = a.url;
    a.req.body_max = 100;
    call_begin(&a.call, loop, on_done);
    http_client_send(client, &a.req, &a.res, &a.call);
    assert_int_equal(ask_end(&a), ERR_OK);
    assert_body(&a, "hello");
    http_client_res_release(&a.res);
}

static void server_that_ends_is_survived(void **state)
{
    struct ask a = {0};

    (void)state;
    assert_int_equal(ask(&a, "GET", "/hello", STR_NONE), ERR_OK);
    http_client_res_release(&a.res);
    serve_stop(&server);
    for (int i = 0; i < 10; i++)
        loop_turn(loop, 2);
    assert_int_equal(ask(&a, "GET", "/hello", STR_NONE), ERR_UNAVAILABLE);
    http_client_res_release(&a.res);
    serve_start(&server, &limits, NULL);
    assert_int_equal(ask(&a, "GET", "/hello", STR_NONE), ERR_OK);
    http_client_res_release(&a.res);
}

static void servers_are_verified(void **state)
{
    char dir[] = "/tmp/sluice-client-XXXXXX", cert[64], key[64], why[256];
    struct tls_context *tls = NULL;
    struct ask a = {0};

    (void)state;
    serve_stop(&server);
    assert_non_null(mkdtemp(dir));
    snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
    snprintf(key, sizeof(key), "%s/key.pem", dir);
    cert_write("test", cert, key);
    assert_int_equal(tls_context_new(cert, key, &tls, why), ERR_OK);
    serve_start(&server, &limits, tls);
    assert_int_equal(ask(&a, "GET", "/hello", STR_NONE), ERR_UNAVAILABLE);
    http_client_res_release(&a.res);
    a.req.ca_file = cert;
    assert_int_equal(ask(&a, "GET", "/file?3000000", STR_NONE), ERR_TOO_LARGE);
    http_client_res_release(&a.res);
    assert_int_equal(ask(&a, "GET", "/file?1000000", STR_NONE), ERR_OK);
    assert_int_equal(a.res.body.n, 1000000);
    http_client_res_release(&a.res);
    serve_stop(&server);
    tls_context_free(tls);
    serve_start(&server, &limits, NULL);
    unlink(cert);
    unlink(key);
    rmdir(dir);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_with_status_headers_and_body),
        cmocka_unit_test(many_run_at_once_and_connections_are_reused),
        cmocka_unit_test(answers_over_the_bound_are_refused),
        cmocka_unit_test(pieces_are_handed_on),
        cmocka_unit_test(failures_say_why),
        cmocka_unit_test(cancel_ends_an_exchange),
        cmocka_unit_test(names_are_resolved),
        cmocka_unit_test(server_that_ends_is_survived),
        cmocka_unit_test(servers_are_verified),
    };

    signal(SIGPIPE, SIG_IGN); /* as main.c does */
    log_setup(LOG_ERROR, false);
    return cmocka_run_group_tests(tests, start, stop);
}
