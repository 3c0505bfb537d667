#include "unit.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "ask.h"
#include "base/mem.h"
#include "serve.h"

/* ---- a server that does what a test says, one connection after the other ---- */

struct rogue {
    int listener;
    char bound[64];
    pthread_t thread;
    void (*script)(struct rogue *, int fd, int n); /* n: connections before */
    const char *answer;
    atomic_int accepted;
    atomic_ulong got; /* bytes of bodies */
    atomic_bool stop;
};

static void *rogue_run(void *arg)
{
    struct rogue *r = arg;
    struct pollfd p = {.fd = r->listener, .events = POLLIN};
    struct timeval limit = {.tv_sec = 10};

    while (!atomic_load(&r->stop)) {
        if (poll(&p, 1, 20) != 1)
            continue;
        int fd = accept(r->listener, NULL, NULL);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        r->script(r, fd, atomic_fetch_add(&r->accepted, 1));
        close(fd);
    }
    return NULL;
}

static void rogue_listen(struct rogue *r, int backlog)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t len = sizeof(sa);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (r->listener < 0 || bind(r->listener, (struct sockaddr *)&sa, sizeof(sa)) != 0 ||
        listen(r->listener, backlog) != 0 || getsockname(r->listener, (struct sockaddr *)&sa, &len) != 0)
        abort();
    snprintf(r->bound, sizeof(r->bound), "127.0.0.1:%u", ntohs(sa.sin_port));
}

static void rogue_start(struct rogue *r, void (*script)(struct rogue *, int, int), const char *answer)
{
    *r = (struct rogue){.script = script, .answer = answer};
    rogue_listen(r, 50);
    if (pthread_create(&r->thread, NULL, rogue_run, r) != 0)
        abort();
}

static void rogue_stop(struct rogue *r)
{
    atomic_store(&r->stop, true);
    pthread_join(r->thread, NULL);
    close(r->listener);
}

/* One head, byte by byte; false at the end. */
static bool take_head(int fd, char *head, size_t cap)
{
    size_t n = 0;

    memset(head, 0, cap);
    while (!strstr(head, "\r\n\r\n"))
        if (n + 1 >= cap || recv(fd, head + n++, 1, 0) != 1)
            return false;
    return true;
}

static void take_body(struct rogue *r, int fd, size_t most)
{
    char buf[65536];

    while (most) {
        ssize_t n = recv(fd, buf, most < sizeof(buf) ? most : sizeof(buf), 0);
        if (n <= 0)
            return;
        atomic_fetch_add(&r->got, (unsigned long)n);
        most -= (size_t)n;
    }
}

static void until_closed(int fd)
{
    char buf[4096];

    while (recv(fd, buf, sizeof(buf), 0) > 0)
        ;
}

#define OK_HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

/* Answers every request with r->answer, and ends. */
static void answer_once(struct rogue *r, int fd, int n)
{
    char head[4096];

    (void)n;
    if (take_head(fd, head, sizeof(head)))
        client_send_z(fd, r->answer);
}

static void answer_and_stay(struct rogue *r, int fd, int n)
{
    char head[4096];

    (void)n;
    if (!take_head(fd, head, sizeof(head)))
        return;
    client_send_z(fd, r->answer);
    until_closed(fd);
}

/* ---- kept connections that are dead ---- */

/* The first connection answers once and dies when the next request comes; later ones work. */
static void die_on_reuse(struct rogue *r, int fd, int n)
{
    char head[4096];

    while (take_head(fd, head, sizeof(head))) {
        const char *at = strstr(head, "Content-Length: ");
        if (n == 0 && atomic_load(&r->got) == 1)
            return;
        if (at)
            take_body(r, fd, (size_t)strtoul(at + 16, NULL, 10));
        client_send_z(fd, OK_HELLO);
        if (n == 0)
            atomic_store(&r->got, 1);
    }
}

static void warm(struct peer_pool *p, struct rogue *r)
{
    struct ask a = {0};

    assert_int_equal(ask_get(p, &a, r->bound, "/"), ERR_OK);
    ask_end(&a);
}

static void a_stale_connection_is_replaced(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct peer_pool *p = ask_pool((struct peer_conf){0});
        struct ask a = {0};
        struct rogue r;
        struct gen g;

        rogue_start(&r, die_on_reuse, NULL);
        warm(p, &r);
        gen_init(&g, i == 1 ? 30000 : 3000000, true);
        a.req.repeatable = i != 0;
        a.req.body = i == 1 || i == 2 ? &g.source : NULL;
        a.req.expect = i == 2;
        ask_begin(p, &a, r.bound, i == 3 ? "DELETE" : "PUT", "/");
        if (i == 0) {
            assert_int_equal(ask_wait(&a), ERR_UNAVAILABLE);
            assert_true(a.res.sent);
            assert_int_equal(atomic_load(&r.accepted), 1);
        } else if (i == 2) {
            /* the rogue takes the body without saying 100, so it comes a second late */
            assert_int_equal(ask_wait(&a), ERR_OK);
        } else {
            assert_int_equal(ask_wait(&a), ERR_OK);
            assert_int_equal(atomic_load(&r.accepted), 2);
        }
        if (a.req.body)
            assert_int_equal(atomic_load(&r.got), 1 + g.end);
        ask_end(&a);
        ask_pool_end(p);
        rogue_stop(&r);
    }
}

static void a_taken_body_is_not_repeated(void **state)
{
    struct peer_pool *p = ask_pool((struct peer_conf){0});
    struct ask a = {0};
    struct rogue r;
    struct gen g;

    (void)state;
    rogue_start(&r, die_on_reuse, NULL);
    warm(p, &r);
    gen_init(&g, 3000000, true);
    a.req.repeatable = true;
    a.req.body = &g.source;
    ask_begin(p, &a, r.bound, "PUT", "/");
    assert_int_equal(ask_wait(&a), ERR_UNAVAILABLE);
    assert_true(a.res.body_taken);
    assert_int_equal(atomic_load(&r.accepted), 1);
    ask_end(&a);
    ask_pool_end(p);
    rogue_stop(&r);
}

static void an_idle_connection_that_ends_is_dropped(void **state)
{
    struct peer_pool *p = ask_pool((struct peer_conf){.idle_timeout_ms = 100});
    struct ask a = {0};
    struct rogue r;
    unsigned before;

    (void)state;
    rogue_start(&r, answer_once, OK_HELLO);
    before = fd_count();
    warm(p, &r);
    assert_true(fd_count_becomes(before));
    assert_int_equal(ask_get(p, &a, r.bound, "/"), ERR_OK); /* not repeatable */
    ask_end(&a);
    assert_true(fd_count_becomes(before));
    rogue_stop(&r);
    rogue_start(&r, answer_and_stay, OK_HELLO);
    before = fd_count();
    warm(p, &r);
    assert_true(fd_count() > before);
    assert_true(fd_count_becomes(before)); /* after 100 ms */
    ask_pool_end(p);
    rogue_stop(&r);
}

/* ---- what comes back ---- */

static enum err fetch(const char *answer, bool stay, struct ask *a)
{
    struct peer_pool *p = ask_pool((struct peer_conf){.progress_timeout_ms = 300});
    struct rogue r;

    rogue_start(&r, stay ? answer_and_stay : answer_once, answer);
    enum err e = ask_get(p, a, r.bound, "/");
    assert_true(a->done);
    source_close(a->res.body);
    a->res.body = NULL;
    ask_pool_end(p);
    rogue_stop(&r);
    return e;
}

static void responses_that_are_whole(void **state)
{
    static const struct {
        const char *answer, *body;
        int status;
    } cases[] = {
        {OK_HELLO, "hello", 200},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "hello", 200},
        {"HTTP/1.1 200 OK\r\n\r\nto the end", "to the end", 200},
        {"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 200},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 5\r\n\r\nhello", "hello", 200},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nT: x\r\n\r\n", "abcde",
         200},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", "", 200},
        {"HTTP/1.1 204 No Content\r\n\r\n", "", 204},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", "", 304},
        {"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 103 \r\n\r\n" OK_HELLO, "hello",
         200},
        {"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", "", 404},
    };
    struct ask a = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(fetch(cases[i].answer, false, &a), ERR_OK);
        assert_int_equal(a.res.status, cases[i].status);
        assert_int_equal(a.body_n, strlen(cases[i].body));
        if (a.body_n)
            assert_memory_equal(a.body, cases[i].body, a.body_n);
        ask_end(&a);
    }
}

static void responses_that_are_not(void **state)
{
    static const char *cases[] = {
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551617\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 99 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 601 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\x15\x03\x01",
        /* bodies that break off */
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
    };
    struct ask a = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (fetch(cases[i], false, &a) != ERR_UNAVAILABLE)
            fail_msg("accepted: %s", cases[i]);
        ask_end(&a);
    }
}

static void flood(struct rogue *r, int fd, int n)
{
    (void)n;
    for (int i = 0; i < 20000; i++)
        client_send_z(fd, r->answer);
}

static void endless_heads_are_given_up(void **state)
{
    static const char *pieces[] = {"HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 200 OK\r\nA: bbbbbbbbbbbbbbbbbbbbbbbbb",
                                   "HTTP/1.1 200 OK\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct peer_pool *p = ask_pool((struct peer_conf){0});
        struct ask a = {0};
        struct rogue r;
        rogue_start(&r, flood, pieces[i]);
        assert_int_equal(ask_get(p, &a, r.bound, "/"), ERR_UNAVAILABLE);
        ask_end(&a);
        ask_pool_end(p);
        rogue_stop(&r);
    }
}

/* More than was asked for must not become the next request's response. */
static void trailing_bytes_end_the_connection(void **state)
{
    struct peer_pool *p = ask_pool((struct peer_conf){0});
    struct ask a = {0};
    struct rogue r;

    (void)state;
    rogue_start(&r, answer_once, OK_HELLO "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask_get(p, &a, r.bound, "/"), ERR_OK);
        assert_int_equal(a.body_n, 5);
        ask_end(&a);
    }
    assert_int_equal(atomic_load(&r.accepted), 3);
    ask_pool_end(p);
    rogue_stop(&r);
}

/* ---- early answers, and 100 ---- */

#define REFUSAL "HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\ndenied"

static void refuse_early(struct rogue *r, int fd, int n)
{
    char head[4096], buf[65536];

    (void)n;
    if (!take_head(fd, head, sizeof(head)))
        return;
    client_send_z(fd, REFUSAL);
    shutdown(fd, SHUT_WR);
    for (ssize_t k; (k = recv(fd, buf, sizeof(buf), 0)) > 0;)
        atomic_fetch_add(&r->got, (unsigned long)k);
}

static void an_early_answer_stops_the_body(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct peer_pool *p = ask_pool((struct peer_conf){0});
        struct ask a = {0};
        struct rogue r;
        struct gen g;
        rogue_start(&r, refuse_early, NULL);
        gen_init(&g, UINT64_C(1) << 40, i % 2);
        if (i >= 2)
            g.hang_at = i >= 4 ? 0 : 100000; /* the answer comes while the source is asked for more */
        a.req.body = &g.source;
        ask_begin(p, &a, r.bound, "PUT", "/");
        assert_int_equal(ask_wait(&a), ERR_OK);
        assert_int_equal(a.res.status, 403);
        assert_true(a.res.body_taken && a.res.sent);
        assert_true(g.at < UINT64_C(1) << 30);
        assert_null(g.hanging);
        unsigned reads = g.reads;
        assert_int_equal(ask_body(&a), ERR_OK);
        assert_memory_equal(a.body, "denied", 6);
        assert_int_equal(g.reads, reads);
        ask_end(&a);
        ask_pool_end(p);
        rogue_stop(&r);
    }
}

static void a_refusal_leaves_the_body_unread(void **state)
{
    struct peer_pool *p = ask_pool((struct peer_conf){0});
    struct ask a = {0};
    struct rogue r;
    struct gen g;

    (void)state;
    rogue_start(&r, refuse_early, NULL);
    gen_init(&g, 1000, true);
    a.req.body = &g.source;
    a.req.expect = true;
    ask_begin(p, &a, r.bound, "PUT", "/");
    assert_int_equal(ask_wait(&a), ERR_OK);
    assert_int_equal(a.res.status, 403);
    assert_false(a.res.body_taken);
    assert_int_equal(g.reads, 0);
    assert_int_equal(ask_body(&a), ERR_OK);
    ask_end(&a);
    ask_pool_end(p);
    rogue_stop(&r);
    assert_int_equal(atomic_load(&r.got), 0);
}

static void silent_then_takes(struct rogue *r, int fd, int n)
{
    char head[4096];

    (void)n;
    if (!take_head(fd, head, sizeof(head)))
        return;
    take_body(r, fd, 1000);
    client_send_z(fd, OK_HELLO);
    until_closed(fd);
}

static void a_peer_that_does_not_know_100_gets_the_body(void **state)
{
    struct peer_pool *p = ask_pool((struct peer_conf){0});
    struct ask a = {0};
    struct rogue r;
    struct gen g;

    (void)state;
    rogue_start(&r, silent_then_takes, NULL);
    gen_init(&g, 1000, true);
    a.req.body = &g.source;
    a.req.expect = true;
    ask_begin(p, &a, r.bound, "PUT", "/");
    assert_int_equal(ask_wait(&a), ERR_OK);
    assert_int_equal(a.res.status, 200);
    assert_int_equal(atomic_load(&r.got), 1000);
    ask_end(&a);
    ask_pool_end(p);
    rogue_stop(&r);
}

/* ---- time ---- */

static void says_nothing(struct rogue *r, int fd, int n)
{
    char head[4096];

    (void)n;
    (void)take_head(fd, head, sizeof(head));
    client_send_z(fd, r->answer);
    while (!atomic_load(&r->stop))
        usleep(2000);
}

static void slow_peers_are_given_up(void **state)
{
    static const char *answers[] = {"", "HTTP/1.1 200 OK\r\nConte", "HTTP/1.1 100 Continue\r\n\r\n",
                                    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
                                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"};

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(answers) / sizeof(answers[0]); i++) {
        struct peer_pool *p = ask_pool((struct peer_conf){.progress_timeout_ms = 80});
        struct ask a = {0};
        struct rogue r;
        struct gen g;
        unsigned before;
        rogue_start(&r, says_nothing, answers[i / 2]);
        before = fd_count();
        gen_init(&g, UINT64_C(1) << 40, true); /* more than all buffers hold */
        a.req.body = i % 2 ? &g.source : NULL;
        ask_begin(p, &a, r.bound, "PUT", "/");
        enum err e = ask_wait(&a);
        if (e == ERR_OK && i / 2 >= 3)
            e = ask_body(&a);
        assert_int_equal(e, ERR_TIMEOUT);
        ask_end(&a);
        ask_pool_end(p);
        rogue_stop(&r);
        assert_true(fd_count_becomes(before - 1)); /* its listener */
    }
}

/* A listener whose queue is full drops what comes. */
static void connecting_does_not_take_for_ever(void **state)
{
    struct peer_pool *p = ask_pool((struct peer_conf){.connect_timeout_ms = 150});
    struct ask a = {0};
    struct rogue r = {0};
    int fill[8];

    (void)state;
    rogue_listen(&r, 0);
    for (int i = 0; i < 8; i++) {
        struct sockaddr_in sa;
        socklen_t len = sizeof(sa);
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        assert_int_equal(getsockname(r.listener, (struct sockaddr *)&sa, &len), 0);
        (void)connect(fill[i], (struct sockaddr *)&sa, sizeof(sa));
    }
    uint64_t began = loop_now_ns(ask_loop);
    assert_int_equal(ask_get(p, &a, r.bound, "/"), ERR_UNAVAILABLE);
    assert_true(loop_now_ns(ask_loop) - began < UINT64_C(2000000000));
    assert_false(a.res.sent);
    ask_end(&a);
    /* and cancelled on the way */
    ask_begin(p, &a, r.bound, "GET", "/");
    ask_turn_ms(20);
    assert_false(a.done);
    call_cancel(&a.call);
    assert_int_equal(ask_wait(&a), ERR_CANCELLED);
    ask_end(&a);
    for (int i = 0; i < 8; i++)
        close(fill[i]);
    close(r.listener);
    ask_pool_end(p);
}

static void drips(struct rogue *r, int fd, int n)
{
    char head[4096];

    (void)n;
    (void)take_head(fd, head, sizeof(head));
    for (const char *at = r->answer; *at; at++) {
        if (send(fd, at, 1, MSG_NOSIGNAL) != 1)
            return;
        usleep(10000); /* in all longer than a pause may be, each far shorter: machines are busy */
    }
}

static void slow_progress_is_progress(void **state)
{
    struct peer_pool *p = ask_pool((struct peer_conf){.progress_timeout_ms = 500});
    struct ask a = {0};
    struct rogue r;

    (void)state;
    rogue_start(&r, drips, "HTTP/1.1 102 Wait\r\n\r\n" OK_HELLO);
    assert_int_equal(ask_get(p, &a, r.bound, "/"), ERR_OK);
    assert_int_equal(a.body_n, 5);
    ask_end(&a);
    ask_pool_end(p);
    rogue_stop(&r);
}

/* ---- cancelling ---- */

enum stage { AT_ONCE, RESOLVING, SOURCE_ASKED, BLOCKED, AWAITING_100, AWAITING_HEAD, WITHIN_BODY, STAGES };

static void cancel_in(enum stage stage, struct rogue *r)
{
    struct peer_pool *p = ask_pool((struct peer_conf){0});
    struct ask a = {0};
    struct gen g;

    gen_init(&g, UINT64_C(1) << 40, true);
    if (stage == SOURCE_ASKED)
        g.hang_at = 50000; /* what the sockets take though nobody reads */
    if (stage == SOURCE_ASKED || stage == BLOCKED || stage == AWAITING_100)
        a.req.body = &g.source;
    a.req.expect = stage == AWAITING_100;
    ask_begin(p, &a, stage == RESOLVING ? "localhost:1" : r->bound, "PUT", "/");
    if (stage == WITHIN_BODY) {
        assert_int_equal(ask_wait(&a), ERR_OK);
        ask_read(&a);
        ask_until(&a.read_done);
        assert_int_equal(a.n, 3);
        ask_read(&a);
        ask_turn_ms(5);
        call_cancel(&a.read);
        ask_until(&a.read_done);
        assert_int_equal(a.read.err, ERR_CANCELLED);
    } else {
        while (stage == SOURCE_ASKED && !g.hanging)
            ask_turn_ms(1);
        if (stage != AT_ONCE && stage != RESOLVING)
            ask_turn_ms(60);
        assert_false(a.done);
        call_cancel(&a.call);
        assert_int_equal(ask_wait(&a), ERR_CANCELLED);
        assert_true(g.cancelled == (stage == SOURCE_ASKED));
    }
    ask_end(&a);
    ask_pool_end(p);
    while (offload_depth(ask_io))
        ask_turn_ms(1); /* a name is still being resolved, for nobody */
}

static void cancelled_at_every_stage(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * STAGES; i++) {
        struct rogue r;
        rogue_start(&r, says_nothing,
                    i % STAGES == WITHIN_BODY ? "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc" : "");
        unsigned before = fd_count();
        cancel_in((enum stage)(i % STAGES), &r);
        rogue_stop(&r);
        assert_true(fd_count_becomes(before - 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stale_connection_is_replaced),
        cmocka_unit_test(a_taken_body_is_not_repeated),
        cmocka_unit_test(an_idle_connection_that_ends_is_dropped),
        cmocka_unit_test(responses_that_are_whole),
        cmocka_unit_test(responses_that_are_not),
        cmocka_unit_test(endless_heads_are_given_up),
        cmocka_unit_test(trailing_bytes_end_the_connection),
        cmocka_unit_test(an_early_answer_stops_the_body),
        cmocka_unit_test(a_refusal_leaves_the_body_unread),
        cmocka_unit_test(a_peer_that_does_not_know_100_gets_the_body),
        cmocka_unit_test(slow_peers_are_given_up),
        cmocka_unit_test(connecting_does_not_take_for_ever),
        cmocka_unit_test(slow_progress_is_progress),
        cmocka_unit_test(cancelled_at_every_stage),
    };

    return cmocka_run_group_tests_name("peer_exchange", tests, ask_setup, ask_teardown);
}
