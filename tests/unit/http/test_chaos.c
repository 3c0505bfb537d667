#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "serve.h"

enum { CLIENTS = 32, SCRIPT_MAX = 200000, RUN_MS = 2500 };

static const struct http_limits limits = {
    .connections_max = 24, /* fewer than clients */
    .head_max = 16384,
    .headers_max = 100,
    .head_timeout_ms = 60,
    .body_timeout_ms = 60,
    .idle_timeout_ms = 80,
    .send_timeout_ms = 80,
    .drain_body_max = 20000,
};

struct client {
    int fd; /* -1 = none */
    char *script;
    size_t n, at;
    uint64_t quit_ns;
    bool reads;
};

static uint64_t seed;

static uint32_t any(uint32_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % below;
}

static void add(struct client *c, const char *p, size_t n)
{
    if (n <= SCRIPT_MAX - c->n) {
        memcpy(c->script + c->n, p, n);
        c->n += n;
    }
}

static void add_get(struct client *c)
{
    static const char *const paths[] = {"hello",        "file?",    "lazy?", "chunked?",
                                        "chunkedfile?", "broken?1", "wait",  "204"};
    char text[200];
    uint32_t which = any(8);
    int n = snprintf(text, sizeof(text), "%s /%s", any(6) ? "GET" : "HEAD", paths[which]);

    if (which > 0 && which < 5)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "%u", any(3) ? any(5000) : any(4000000));
    n += snprintf(text + n, sizeof(text) - (size_t)n, " HTTP/1.%d\r\nHost: t\r\n%s\r\n", any(8) ? 1 : 0,
                  any(10) ? "" : "Connection: close\r\n");
    add(c, text, (size_t)n);
}

static void add_put(struct client *c)
{
    static const char *const paths[] = {"echo", "deny", "half"};
    static char bytes[40000];
    uint32_t size = any(2) ? any(100) : any(sizeof(bytes)), chunk = 1 + any(9000);
    bool chunked = any(2) == 0;
    char text[200];
    int n = snprintf(text, sizeof(text), "PUT /%s HTTP/1.1\r\nHost: t\r\n%s", paths[any(3)],
                     any(3) ? "" : "Expect: 100-continue\r\n");

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = serve_pattern(i);
    n += chunked ? snprintf(text + n, sizeof(text) - (size_t)n, "Transfer-Encoding: chunked\r\n\r\n")
                 : snprintf(text + n, sizeof(text) - (size_t)n, "Content-Length: %u\r\n\r\n", size);
    add(c, text, (size_t)n);
    if (!chunked) {
        add(c, bytes, size);
        return;
    }
    for (uint32_t at = 0; at < size; at += chunk) {
        uint32_t step = size - at < chunk ? size - at : chunk;
        add(c, text, (size_t)snprintf(text, sizeof(text), "%x\r\n", step));
        add(c, bytes + at, step);
        add(c, "\r\n", 2);
    }
    add(c, "0\r\n\r\n", 5);
}

static void client_begin(struct client *c, const struct serve *server)
{
    c->fd = client_open(server);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    c->n = c->at = 0;
    c->reads = any(8) != 0;
    c->quit_ns = clock_mono_ns() + (uint64_t)any(200) * 1000000u;
    for (uint32_t requests = 1 + any(6); requests; requests--)
        any(2) ? add_get(c) : add_put(c);
    if (any(6) == 0) /* one byte is not what it was */
        c->script[any((uint32_t)c->n)] = (char)any(256);
}

static void client_end(struct client *c)
{
    struct linger now = {1, 0};

    if (any(3) == 0)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(c->fd);
    c->fd = -1;
}

/* One small thing: send some, read some, half-close, leave. */
static void client_act(struct client *c)
{
    char sink[20000];
    size_t step = any(4) ? any(30) + 1 : any(60000) + 1;

    if (c->at < c->n) {
        ssize_t r = send(c->fd, c->script + c->at, step < c->n - c->at ? step : c->n - c->at, MSG_NOSIGNAL);
        if (r > 0)
            c->at += (size_t)r;
        else if (errno != EAGAIN)
            client_end(c);
    } else if (any(200) == 0) {
        shutdown(c->fd, SHUT_WR);
    }
    if (c->fd >= 0 && c->reads && any(2)) {
        ssize_t r = recv(c->fd, sink, any(sizeof(sink)) + 1, 0);
        if (r == 0 || (r < 0 && errno != EAGAIN))
            client_end(c);
    }
    if (c->fd >= 0 && clock_mono_ns() > c->quit_ns)
        client_end(c);
}

/* Whatever clients do: every request ends once, no connection is left over, and a good client is served afterwards. */
static void nothing_is_left_of_wild_clients(void **state)
{
    static struct serve server;
    static struct client clients[CLIENTS];
    uint64_t end = clock_mono_ns() + (uint64_t)RUN_MS * 1000000u;

    (void)state;
    seed = clock_mono_ns();
    print_message("seed %llu\n", (unsigned long long)seed);
    serve_start(&server, &limits, NULL);
    serve_release(&server); /* /wait waits for a moment only */
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = (struct client){.fd = -1, .script = mem_alloc(SCRIPT_MAX)};
    while (clock_mono_ns() < end) {
        struct client *c = &clients[any(CLIENTS)];
        if (c->fd < 0)
            client_begin(c, &server);
        else
            client_act(c);
    }
    for (int i = 0; i < CLIENTS; i++) {
        if (clients[i].fd >= 0)
            client_end(&clients[i]);
        free(clients[i].script);
    }
    for (int i = 0; i < 5000 && http_server_connections(server.server); i++)
        usleep(1000);
    assert_int_equal(http_server_connections(server.server), 0);
    assert_int_equal(atomic_load(&server.finished), atomic_load(&server.requests));
    assert_true(atomic_load(&server.requests) > 10);
    int fd = client_open(&server);
    assert_int_equal(client_ask(fd, "GET /hello HTTP/1.1\r\nHost: t\r\n\r\n"), 200);
    close(fd);
    print_message("%d requests\n", atomic_load(&server.requests));
    serve_stop(&server);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_left_of_wild_clients),
    };

    signal(SIGPIPE, SIG_IGN); /* as main.c does */
    log_setup(LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
