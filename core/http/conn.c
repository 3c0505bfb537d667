#include "conn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"

enum { SCRATCH = 16 * 1024 };

static io_fn on_head, on_handshake;
static void conn_next(struct conn *c);

/* ---- the end ---- */

static void count_bytes(struct conn *c)
{
    metric_add(&http_m_rx, (int64_t)(c->rx_bytes - c->rx_counted));
    metric_add(&http_m_tx, (int64_t)(c->tx_bytes - c->tx_counted));
    c->rx_counted = c->rx_bytes;
    c->tx_counted = c->tx_bytes;
}

/* Only where no request is being handled and no caller will touch `c` again. */
static void conn_close(struct conn *c)
{
    struct http_server *s = c->server;

    timer_cancel(c->loop, &c->timer);
    if (c->cut) {
        /* a reset: an orderly end could pass for the end of the body */
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(c->stream.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    }
    tls_stream_free(c->stream.tls);
    io_close(c->io);
    count_bytes(c);
    conn_drop(c, conn_in_len(c));
    conn_in_release(c);
    arena_release(&c->arena);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    free(c);
    server_conn_gone(s);
}

static void on_linger(struct io *io, void *owner)
{
    struct conn *c = owner;
    char scratch[SCRATCH];
    ssize_t r = recv(io_fd(io), scratch, sizeof(scratch), 0); /* under TLS too: nobody looks at it */

    if (r == 0 || (r < 0 && errno != EAGAIN && errno != EINTR))
        conn_close(c);
}

/* RFC 9112 section 9.6: closing while the peer still sends would reset the connection and lose our response. */
static void conn_linger(struct conn *c)
{
    c->phase = CONN_LINGER;
    stream_shutdown(&c->stream);
    timer_set(c->loop, &c->timer, CONN_LINGER_MS);
    io_want_read(c->io, on_linger);
}

void conn_broke(struct conn *c, enum err why)
{
    if (c->broken)
        return;
    c->broken = true;
    io_stop_read(c->io);
    io_stop_write(c->io);
    metric_add(&http_m_aborted, 1);
    body_fail(c, ERR_CLIENT_GONE);
    if (c->tx.active)
        tx_fail(c, why);
    else if (!c->responded && !c->abort_queued) {
        c->abort_queued = true;
        loop_defer(c->loop, &c->abort_post);
    }
}

static void tell_abort(struct post *p)
{
    struct conn *c = CONTAINER(p, struct conn, abort_post);
    void (*fn)(struct http_req *) = c->req.on_abort;

    if (c->responded || !fn)
        return;
    c->req.on_abort = NULL;
    fn(&c->req);
}

void conn_abort(struct conn *c)
{
    c->cut = true;
    if (c->phase == CONN_BUSY)
        conn_broke(c, ERR_CLIENT_GONE);
    else
        conn_close(c);
}

void conn_wind_up(struct conn *c)
{
    if (c->phase == CONN_HANDSHAKE || c->phase == CONN_IDLE)
        conn_close(c);
}

/* ---- after a response ---- */

static void on_drain(struct io *io, void *owner)
{
    struct conn *c = owner;
    char scratch[SCRATCH];
    enum tls_want w = TLS_OK;
    size_t n = 0;

    (void)io;
    while (w == TLS_OK && body_is_unread(c) && c->drained <= c->server->limits.drain_body_max) {
        w = body_take(c, scratch, sizeof(scratch), &n);
        c->drained += n;
    }
    if (c->body.at_end)
        conn_next(c);
    else if (w == TLS_OK)
        conn_linger(c); /* too long, or broken framing */
    else if (w == TLS_CLOSED || w == TLS_BROKEN)
        conn_close(c);
    else
        conn_wait(c, c->server->limits.body_timeout_ms, c->rx_bytes);
}

static void conn_drain(struct conn *c)
{
    c->phase = CONN_DRAIN;
    c->drained = 0;
    conn_clock_start(c, c->rx_bytes);
    io_want_read(c->io, on_drain);
    on_drain(c->io, c);
}

static void after(struct post *p)
{
    struct conn *c = CONTAINER(p, struct conn, after_post);
    bool unread = body_is_unread(c);

    count_bytes(c);
    arena_release(&c->arena);
    if (c->broken || c->cut)
        conn_close(c);
    else if (c->keep_alive && unread)
        conn_drain(c);
    else if (c->keep_alive)
        conn_next(c);
    else if (c->peer_ended || (!unread && !c->asks_keep && conn_in_len(c) == 0 && c->body.failed == ERR_OK))
        conn_close(c);
    else
        conn_linger(c);
}

void conn_responded(struct conn *c)
{
    io_stop_write(c->io);
    loop_defer(c->loop, &c->after_post);
}

/* ---- busy ---- */

static void on_watch(struct io *io, void *owner)
{
    struct conn *c = owner;

    if (body_is_unread(c) || conn_in_len(c) || c->peer_ended) {
        io_stop_read(io);
        return;
    }
    enum tls_want w = conn_fill(c);
    if (w == TLS_BROKEN) {
        conn_broke(c, ERR_CLIENT_GONE);
    } else if (w == TLS_CLOSED) {
        /* perhaps only half closed, and the response still wanted */
        c->peer_ended = true;
        io_stop_read(io);
        if (c->end_leaves)
            conn_broke(c, ERR_CLIENT_GONE);
    } else if (w == TLS_OK) {
        io_stop_read(io);
    }
}

void conn_watch(struct conn *c)
{
    io_want_read(c->io, on_watch);
}

void http_end_is_leaving(struct http_req *req)
{
    struct conn *c = CONTAINER(req, struct conn, req);

    c->end_leaves = true;
    if (c->peer_ended)
        conn_broke(c, ERR_CLIENT_GONE);
}

void conn_on_writable(struct io *io, void *owner)
{
    struct conn *c = owner;

    (void)io;
    if (c->tx.active)
        tx_pump(c);
    else if (c->body.call)
        body_pump(c);
}

static void new_id(struct http_server *s, char out[16])
{
    static const char hex[] = "0123456789ABCDEF";
    /* splitmix64: spreads a counter that began at random */
    uint64_t x = (s->id_next += UINT64_C(0x9E3779B97F4A7C15));

    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    x ^= x >> 31;
    for (int i = 0; i < 16; i++, x <<= 4)
        out[i] = hex[x >> 60];
}

static void fill_request(struct conn *c, const struct http_head *h)
{
    struct http_req *r = &c->req;

    r->method = h->method;
    r->method_text = h->method_text;
    r->target = h->target;
    r->path = h->path;
    r->query = h->query;
    r->has_query = h->has_query;
    r->minor_version = h->minor_version;
    r->headers = h->headers;
    r->header_count = h->header_count;
    r->host = h->host;
    r->body_len = h->body_len;
    r->expects_continue = h->expects_continue;
}

static void begin_exchange(struct conn *c)
{
    c->phase = CONN_BUSY;
    c->responded = false;
    c->keep_alive = c->asks_keep = false;
    c->abort_queued = false;
    c->end_leaves = false;
    c->tx.active = false;
    c->req.body = NULL;
    c->req.on_abort = NULL;
    c->req.user = NULL;
    c->req.method = HTTP_OTHER;
    new_id(c->server, c->req.id);
    c->arena.id = str_n(c->req.id, sizeof(c->req.id));
    c->body.call = NULL;
    c->body.failed = ERR_OK;
    c->body.continues = CONTINUE_NONE;
    conn_watch(c);
}

static void refuse(struct conn *c, enum err why)
{
    begin_exchange(c);
    c->asks_keep = true; /* it may be sending still */
    metric_add(&http_m_refused, 1);
    tx_refuse(c, why);
}

static void dispatch(struct conn *c, size_t len)
{
    struct head_scan scan = c->scan;
    struct http_head head;
    size_t n = len - scan.start;
    char *p = arena_alloc(&c->arena, n);

    memcpy(p, c->in + c->in_at + scan.start, n);
    conn_drop(c, len);
    enum err e = head_parse(&c->arena, p, n, scan.lines, &head);
    if (e != ERR_OK) {
        refuse(c, e);
        return;
    }
    begin_exchange(c);
    c->keep_alive = c->asks_keep = head.keep_alive;
    fill_request(c, &head);
    body_begin(c, &head);
    metric_add(&http_m_requests, 1);
    c->server->handler->on_request(c->server->handler, &c->req);
}

/* ---- idle, and receiving a head ---- */

/* Looks at the input. True: more is needed. */
static bool head_step(struct conn *c)
{
    const struct http_limits *l = &c->server->limits;
    ssize_t len = head_scan(&c->scan, c->in + c->in_at, conn_in_len(c));
    size_t size = len > 0 ? (size_t)len : conn_in_len(c);

    if (len < 0)
        refuse(c, ERR_BAD_REQUEST);
    else if (size > l->head_max || (len == 0 && size == l->head_max) || c->scan.lines > l->headers_max + 2)
        refuse(c, ERR_HEAD_TOO_LARGE);
    else if (len > 0)
        dispatch(c, size);
    else
        return true;
    return false;
}

static void on_head(struct io *io, void *owner)
{
    struct conn *c = owner;

    (void)io;
    do {
        enum tls_want w = conn_fill(c);
        if (w == TLS_CLOSED || w == TLS_BROKEN) {
            conn_close(c);
            return;
        }
        if (w != TLS_OK) {
            conn_in_release(c);
            return;
        }
        if (!head_step(c))
            return;
        if (c->phase == CONN_IDLE) {
            c->phase = CONN_HEAD;
            timer_set(c->loop, &c->timer, c->server->limits.head_timeout_ms);
        }
    } while (stream_has_pending(&c->stream));
}

static void conn_next(struct conn *c)
{
    c->phase = CONN_IDLE;
    c->scan = (struct head_scan){0};
    conn_in_release(c);
    bool empty = conn_in_len(c) == 0;
    if ((c->server->draining || c->peer_ended) && empty) {
        conn_close(c);
        return;
    }
    timer_set(c->loop, &c->timer, empty ? c->server->limits.idle_timeout_ms : c->server->limits.head_timeout_ms);
    io_want_read(c->io, on_head);
    if (!empty) {
        c->phase = CONN_HEAD;
        if (!head_step(c))
            return;
    }
    if (stream_has_pending(&c->stream))
        on_head(c->io, c);
}

static void on_handshake(struct io *io, void *owner)
{
    struct conn *c = owner;

    switch (tls_handshake(c->stream.tls)) {
    case TLS_OK:
        c->req.tls_version = tls_version(c->stream.tls);
        conn_next(c);
        break;
    case TLS_WANT_READ:
        io_want_read(io, on_handshake);
        break;
    case TLS_WANT_WRITE:
        io_stop_read(io);
        io_want_write(io, on_handshake);
        break;
    case TLS_CLOSED:
    case TLS_BROKEN:
        conn_close(c);
        break;
    }
}

/* ---- time ---- */

static void busy_timeout(struct conn *c)
{
    const struct http_limits *l = &c->server->limits;

    if (c->body.call) {
        if (conn_wait_over(c, l->body_timeout_ms, c->rx_bytes))
            body_fail(c, ERR_TIMEOUT);
    } else if (c->tx.active && !c->tx.waiting && c->tx.blocked) {
        /* a full socket buffer may take long to have room again: what counts is what the peer has acknowledged */
        uint64_t unacked = stream_unacked(&c->stream);
        uint64_t acked = c->tx_bytes > unacked ? c->tx_bytes - unacked : 0;
        if (conn_wait_over(c, l->send_timeout_ms, acked)) {
            c->cut = true;
            conn_broke(c, ERR_TIMEOUT);
        }
    }
}

static void on_timer(struct timer *t)
{
    struct conn *c = CONTAINER(t, struct conn, timer);

    switch (c->phase) {
    case CONN_HANDSHAKE:
    case CONN_IDLE:
    case CONN_LINGER:
        conn_close(c);
        break;
    case CONN_HEAD:
        refuse(c, ERR_TIMEOUT);
        break;
    case CONN_BUSY:
        busy_timeout(c);
        break;
    case CONN_DRAIN:
        if (conn_wait_over(c, c->server->limits.body_timeout_ms, c->rx_bytes))
            conn_close(c);
        break;
    }
}

/* ---- the beginning ---- */

void conn_new(struct http_server *s, int fd, const char *peer)
{
    struct conn *c = NEW(struct conn);

    stream_tune(fd);
    c->server = s;
    c->loop = s->loop;
    c->stream = (struct stream){fd, s->tls ? tls_stream_new(s->tls, fd) : NULL};
    c->io = io_open(s->loop, fd, c);
    c->timer.fn = on_timer;
    c->after_post.fn = after;
    c->abort_post.fn = tell_abort;
    c->req.arena = &c->arena;
    c->req.loop = s->loop;
    c->req.secure = s->tls != NULL;
    snprintf(c->req.peer, sizeof(c->req.peer), "%s", peer);
    c->next = s->conns;
    if (c->next)
        c->next->prev = c;
    s->conns = c;
    s->conn_count++;
    metric_add(&http_m_connections, 1);
    if (c->stream.tls) {
        c->phase = CONN_HANDSHAKE;
        timer_set(c->loop, &c->timer, s->limits.head_timeout_ms);
        io_want_read(c->io, on_handshake);
    } else {
        conn_next(c);
    }
}
