#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/peer.h"
#include "serve.h"

static const struct http_limits limits = {
    .connections_max = 500,
    .head_max = 16384,
    .headers_max = 100,
    .head_timeout_ms = 5000,
    .body_timeout_ms = 5000,
    .idle_timeout_ms = 20000,
    .send_timeout_ms = 5000,
    .drain_body_max = 65536,
};

static struct serve server;
static struct loop *loop;
static struct offload *io;

static int start(void **state)
{
    (void)state;
    loop = loop_new();
    loop_adopt(loop);
    io = offload_new("io", 1, 16);
    serve_start(&server, &limits, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    serve_stop(&server);
    offload_free(io);
    loop_adopt(loop);
    loop_turn(loop, 0);
    loop_free(loop);
    return 0;
}

/* ---- one request ---- */

struct ask {
    struct peer_req req;
    struct peer_res res;
    struct arena arena;
    struct call call;
    bool done;
    struct call read;
    bool read_done;
    char *body; /* malloc */
    size_t body_n;
};

static void asked(struct call *call)
{
    CONTAINER(call, struct ask, call)->done = true;
}

static void was_read(struct call *call)
{
    CONTAINER(call, struct ask, read)->read_done = true;
}

static void ask_begin(struct peer_pool *p, struct ask *a, struct str address, const char *method, const char *target)
{
    a->req.arena = &a->arena;
    a->req.address = address;
    a->req.method = str_z(method);
    a->req.target = str_z(target);
    call_begin(&a->call, loop, asked);
    peer_send(p, &a->req, &a->res, &a->call);
}

static void turn_until(const bool *done)
{
    uint64_t limit = loop_now_ns(loop) + UINT64_C(20000000000);

    while (!*done) {
        loop_turn(loop, 100);
        assert_true(loop_now_ns(loop) < limit);
    }
}

static enum err ask_wait(struct ask *a)
{
    turn_until(&a->done);
    return a->call.err;
}

/* Reads the body to its end. */
static enum err ask_body(struct ask *a)
{
    size_t cap = 0, n;

    while (a->res.body) {
        if (a->body_n + 100000 > cap)
            a->body = mem_realloc(a->body, cap = cap * 2 + 200000);
        a->read_done = false;
        call_begin(&a->read, loop, was_read);
        source_read(a->res.body, a->body + a->body_n, 100000, &n, &a->read);
        turn_until(&a->read_done);
        if (a->read.err != ERR_OK || n == 0)
            return a->read.err;
        a->body_n += n;
    }
    return ERR_OK;
}

static void ask_end(struct ask *a)
{
    source_close(a->res.body);
    free(a->body);
    arena_release(&a->arena);
    *a = (struct ask){0};
}

static struct peer_pool *pool_new(struct peer_conf conf)
{
    conf.loop = loop;
    conf.io = io;
    return peer_pool_new(&conf);
}

static void pool_end(struct peer_pool *p)
{
    peer_pool_free(p);
    for (int i = 0; i < 3; i++)
        loop_turn(loop, 0);
}

/* ---- tests ---- */

static void get_and_reuse(void **state)
{
    struct peer_pool *p = pool_new((struct peer_conf){0});
    struct ask a = {0};

    (void)state;
    for (int i = 0; i < 20; i++) {
        ask_begin(p, &a, str_z(server.bound), "GET", "/hello");
        assert_int_equal(ask_wait(&a), ERR_OK);
        assert_int_equal(a.res.status, 200);
        assert_true(str_eq(peer_header(&a.res, STR("server")), STR("sluice")));
        assert_int_equal(ask_body(&a), ERR_OK);
        assert_int_equal(a.body_n, 5);
        assert_memory_equal(a.body, "hello", 5);
        ask_end(&a);
        assert_int_equal(http_server_connections(server.server), 1);
    }
    pool_end(p);
}

static void bodies_of_every_framing(void **state)
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
    struct peer_pool *p = pool_new((struct peer_conf){0});
    struct ask a = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ask_begin(p, &a, str_z(server.bound), "GET", cases[i].target);
        assert_int_equal(ask_wait(&a), ERR_OK);
        assert_int_equal(ask_body(&a), ERR_OK);
        assert_int_equal(a.body_n, cases[i].n);
        for (size_t k = 0; k < a.body_n; k++)
            assert_true(a.body[k] == serve_pattern(k));
        ask_end(&a);
    }
    assert_int_equal(http_server_connections(server.server), 1);
    pool_end(p);
}

static void posted_bodies_arrive(void **state)
{
    enum { SIZE = 3000000 };
    static const size_t sizes[] = {0, 1, 5000, 65536, 65537, SIZE};
    struct peer_pool *p = pool_new((struct peer_conf){0});
    struct ask a = {0};
    char *bytes = mem_alloc(SIZE);

    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = serve_pattern(i);
    for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t n = sizes[i / 2];
        a.req.body = source_memory(str_n(bytes, n), NULL, NULL);
        a.req.expect = i % 2;
        ask_begin(p, &a, str_z(server.bound), "POST", n ? "/echo" : "/hello");
        assert_int_equal(ask_wait(&a), ERR_OK);
        assert_int_equal(a.res.status, 200);
        assert_true(a.res.sent);
        assert_true(a.res.body_taken == (n > 0));
        assert_int_equal(ask_body(&a), ERR_OK);
        if (n) {
            assert_int_equal(a.body_n, n);
            assert_memory_equal(a.body, bytes, n);
        }
        source_close((struct source *)a.req.body);
        ask_end(&a);
    }
    free(bytes);
    pool_end(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(get_and_reuse),
        cmocka_unit_test(bodies_of_every_framing),
        cmocka_unit_test(posted_bodies_arrive),
    };

    signal(SIGPIPE, SIG_IGN);
    log_setup(LOG_ERROR, false);
    return cmocka_run_group_tests_name("peer", tests, start, stop);
}
