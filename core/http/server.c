#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "conn.h"

enum {
    BACKLOG = 4096,
    ACCEPTS_PER_TURN = 64,
    ACCEPT_PAUSE_MS = 100, /* when descriptors or memory are used up */
    CUT_GRACE_MS = 2000,   /* for handlers to end after a drain was cut short */
};

struct metric http_m_connections = {
    .name = "sluice_http_connections", .help = "Open client connections.", .kind = METRIC_GAUGE};
struct metric http_m_requests = {
    .name = "sluice_http_requests_total", .help = "Requests given to a handler.", .kind = METRIC_COUNTER};
struct metric http_m_refused = {.name = "sluice_http_refused_total",
                                .help = "Requests refused for their form, their size or their slowness.",
                                .kind = METRIC_COUNTER};
struct metric http_m_aborted = {.name = "sluice_http_aborted_total",
                                .help = "Requests whose client went away or was too slow.",
                                .kind = METRIC_COUNTER};
struct metric http_m_rx = {
    .name = "sluice_http_received_bytes_total", .help = "Bytes received from clients.", .kind = METRIC_COUNTER};
struct metric http_m_tx = {
    .name = "sluice_http_sent_bytes_total", .help = "Bytes sent to clients.", .kind = METRIC_COUNTER};
struct metric http_m_spliced = {.name = "sluice_http_spliced_bytes_total",
                                .help = "Bytes among those sent that came from another node and were never copied.",
                                .kind = METRIC_COUNTER};

static void register_metrics(void)
{
    metric_register(&http_m_connections);
    metric_register(&http_m_requests);
    metric_register(&http_m_refused);
    metric_register(&http_m_aborted);
    metric_register(&http_m_rx);
    metric_register(&http_m_tx);
    metric_register(&http_m_spliced);
}

/* ---- recycled memory ---- */

static char *get_kept(char **list, unsigned *n, size_t size)
{
    return *n ? list[--*n] : mem_alloc(size);
}

static void put_kept(char **list, unsigned *n, unsigned max, char *p)
{
    if (*n < max)
        list[(*n)++] = p;
    else
        free(p);
}

char *server_in_get(struct http_server *s)
{
    return get_kept(s->in_free, &s->in_free_n, CONN_IN_FIRST);
}

void server_in_put(struct http_server *s, char *p, size_t cap)
{
    put_kept(s->in_free, &s->in_free_n, cap == CONN_IN_FIRST ? sizeof(s->in_free) / sizeof(s->in_free[0]) : 0, p);
}

char *server_buf_get(struct http_server *s)
{
    return get_kept(s->buf_free, &s->buf_free_n, CONN_BUFFER);
}

void server_buf_put(struct http_server *s, char *p)
{
    put_kept(s->buf_free, &s->buf_free_n, sizeof(s->buf_free) / sizeof(s->buf_free[0]), p);
}

/* ---- listening ---- */

/* "HOST:PORT", "[V6]:PORT", ":PORT" */
static bool split_address(struct str address, char host[256], char port[8], char why[256])
{
    size_t colon = SIZE_MAX;

    for (size_t i = 0; i < address.n; i++)
        if (address.p[i] == ':')
            colon = i;
    struct str h = colon == SIZE_MAX ? STR_NONE : str_n(address.p, colon);
    struct str p = colon == SIZE_MAX ? STR_NONE : str_skip(address, colon + 1);
    uint64_t number;
    if (h.n >= 2 && h.p[0] == '[' && h.p[h.n - 1] == ']')
        h = str_n(h.p + 1, h.n - 2);
    else if (str_find_char(h, ':') != SIZE_MAX)
        p = STR_NONE;
    if (!str_to_u64(p, 65535, &number) || h.n > 255) {
        snprintf(why, 256, "\"%.*s\" is not an address to listen on; write HOST:PORT, [IPV6]:PORT or :PORT",
                 (int)(address.n < 100 ? address.n : 100), address.p ? address.p : "");
        return false;
    }
    snprintf(host, 256, STR_FMT, STR_ARG(h));
    snprintf(port, 8, "%u", (unsigned)number);
    return true;
}

static int listen_socket(const struct addrinfo *a, bool shared)
{
    int on = 1, off = 0, fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (a->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if ((shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) ||
        bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static bool may_share; /* before loops run */

void http_listen_share(void)
{
    may_share = true;
}

/* SO_REUSEPORT would let a second process of the same user take half of the connections of a first one unnoticed: a
 * port that this process hasn't bound yet must be free without it, unless that is wanted. */
static bool is_ours(uint16_t port, bool remember)
{
    static uint16_t ours[64];
    static unsigned n;

    for (unsigned i = 0; i < n; i++)
        if (ours[i] == port)
            return true;
    if (remember && n < sizeof(ours) / sizeof(ours[0]))
        ours[n++] = port;
    return false;
}

static int bind_one(const struct addrinfo *a, uint16_t port)
{
    if (port != 0 && !may_share && !is_ours(port, false)) {
        int probe = listen_socket(a, false);
        if (probe < 0)
            return -1;
        close(probe);
    }
    return listen_socket(a, true);
}

static void describe(int fd, char bound[64])
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    char host[INET6_ADDRSTRLEN] = "?", port[8] = "?";

    if (getsockname(fd, (struct sockaddr *)&sa, &len) == 0)
        (void)getnameinfo((struct sockaddr *)&sa, len, host, sizeof(host), port, sizeof(port),
                          NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(bound, 64, sa.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    uint64_t number;
    if (str_to_u64(str_z(port), 65535, &number))
        (void)is_ours((uint16_t)number, true);
}

enum err http_listen(struct str address, int *fd, char bound[64], char why[256])
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list = NULL;
    char host[256], port[8];
    uint64_t number = 0;
    int got = -1, r;

    if (!split_address(address, host, port, why))
        return ERR_INVALID_ARGUMENT;
    if ((r = getaddrinfo(host[0] ? host : NULL, port, &hints, &list)) != 0) {
        snprintf(why, 256, "can't resolve \"%.100s\": %s", host, gai_strerror(r));
        return ERR_INVALID_ARGUMENT;
    }
    (void)str_to_u64(str_z(port), 65535, &number);
    /* without a host: the IPv6 wildcard serves both families, where there is IPv6 */
    for (int want_v6 = 1; want_v6 >= 0 && got < 0; want_v6--)
        for (const struct addrinfo *a = list; a && got < 0; a = a->ai_next)
            if (!host[0] ? (a->ai_family == AF_INET6) == want_v6 : want_v6)
                got = bind_one(a, (uint16_t)number);
    int saved = errno;
    freeaddrinfo(list);
    if (got < 0) {
        snprintf(why, 256, "can't listen on " STR_FMT ": %s", (int)(address.n < 100 ? address.n : 100), address.p,
                 saved == EADDRINUSE ? "another process listens there already" : strerror(saved));
        return saved == EADDRINUSE ? ERR_EXISTS : err_from_errno(saved);
    }
    *fd = got;
    describe(got, bound);
    return ERR_OK;
}

/* ---- accepting ---- */

static void on_acceptable(struct io *io, void *owner);

static void accept_start(struct http_server *s)
{
    if (s->listener && !s->accepting && s->conn_count < s->limits.connections_max) {
        s->accepting = true;
        io_want_read(s->listener, on_acceptable);
    }
}

static void accept_stop(struct http_server *s)
{
    s->accepting = false;
    io_stop_read(s->listener);
}

static void on_accept_timer(struct timer *t)
{
    accept_start(CONTAINER(t, struct http_server, accept_timer));
}

static void peer_text(const struct sockaddr_storage *sa, char out[64])
{
    char ip[INET6_ADDRSTRLEN] = "?";
    const struct sockaddr_in *v4 = (const void *)sa;
    const struct sockaddr_in6 *v6 = (const void *)sa;

    if (sa->ss_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip));
        snprintf(out, 64, "[%s]:%u", ip, ntohs(v6->sin6_port));
        return;
    }
    bool mapped = sa->ss_family == AF_INET6;
    inet_ntop(AF_INET, mapped ? (const void *)&v6->sin6_addr.s6_addr[12] : &v4->sin_addr, ip, sizeof(ip));
    snprintf(out, 64, "%s:%u", ip, ntohs(mapped ? v6->sin6_port : v4->sin_port));
}

static void on_acceptable(struct io *io, void *owner)
{
    struct http_server *s = owner;

    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (s->conn_count >= s->limits.connections_max) {
            accept_stop(s); /* goes on when one ends */
            return;
        }
        struct sockaddr_storage sa;
        socklen_t len = sizeof(sa);
        int fd = accept4(io_fd(io), (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            char peer[64];
            peer_text(&sa, peer);
            conn_new(s, fd, peer);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_warn(STR_NONE, "accepting pauses", "errno=%d connections=%u", errno, s->conn_count);
            accept_stop(s);
            timer_set(s->loop, &s->accept_timer, ACCEPT_PAUSE_MS);
            return;
        } else if (errno == EAGAIN) {
            return;
        } /* else one connection failed before it was ours */
    }
}

/* ---- life ---- */

struct http_server *http_server_new(const struct http_server_conf *conf)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct http_server *s = NEW(struct http_server);

    pthread_once(&once, register_metrics);
    s->loop = conf->loop;
    s->handler = conf->handler;
    s->limits = conf->limits;
    s->tls = conf->tls;
    s->accept_timer.fn = on_accept_timer;
    if (getrandom(&s->id_next, sizeof(s->id_next), 0) != sizeof(s->id_next))
        abort();
    s->listener = io_open(s->loop, conf->listen_fd, s);
    accept_start(s);
    return s;
}

static void drain_end(struct http_server *s)
{
    struct call *call = s->drained;

    s->drained = NULL;
    timer_cancel(s->loop, &s->drain_timer);
    call_finish(call, ERR_OK);
}

void server_conn_gone(struct http_server *s)
{
    s->conn_count--;
    metric_add(&http_m_connections, -1);
    if (s->drained && s->conn_count == 0)
        drain_end(s);
    accept_start(s);
}

static void cut_all(struct http_server *s)
{
    struct conn *next;

    s->drain_cut = true;
    timer_set(s->loop, &s->drain_timer, CUT_GRACE_MS);
    for (struct conn *c = s->conns; c && s->drained; c = next) {
        next = c->next;
        conn_abort(c);
    }
}

static void on_drain_timer(struct timer *t)
{
    struct http_server *s = CONTAINER(t, struct http_server, drain_timer);

    if (s->drain_cut)
        drain_end(s); /* a handler doesn't end: see http_server_free() */
    else
        cut_all(s);
}

static void drain_cancelled(void *arg)
{
    struct http_server *s = arg;

    if (s->drained && !s->drain_cut)
        cut_all(s);
}

void http_server_drain(struct http_server *s, uint32_t timeout_ms, struct call *call)
{
    struct conn *next;

    s->draining = true;
    timer_cancel(s->loop, &s->accept_timer);
    if (s->listener)
        io_close(s->listener);
    s->listener = NULL;
    for (struct conn *c = s->conns; c; c = next) {
        next = c->next;
        conn_wind_up(c);
    }
    s->drained = call;
    s->drain_timer.fn = on_drain_timer;
    if (s->conn_count == 0) {
        drain_end(s);
        return;
    }
    timer_set(s->loop, &s->drain_timer, timeout_ms);
    call_on_cancel(call, drain_cancelled, s);
}

void http_server_free(struct http_server *s)
{
    if (s->conn_count) {
        /* handlers still hold requests: what they point to must stay */
        log_warn(STR_NONE, "server ends with requests in progress", "connections=%u", s->conn_count);
        return;
    }
    while (s->in_free_n)
        free(s->in_free[--s->in_free_n]);
    while (s->buf_free_n)
        free(s->buf_free[--s->buf_free_n]);
    pipe_list_release(&s->pipes);
    free(s);
}

uint32_t http_server_connections(const struct http_server *s)
{
    return s->conn_count;
}
