#include "peer_conn.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { NS_PER_MS = 1000000 };

static io_fn on_connected, on_handshake, on_idle;
static void connected(struct peer_conn *c);

/* ---- lists, and the end ---- */

static void list_add(struct peer_conn **list, struct peer_conn *c)
{
    c->list = list;
    c->prev = NULL;
    c->next = *list;
    if (c->next)
        c->next->prev = c;
    *list = c;
}

static void list_drop(struct peer_conn *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else
        *c->list = c->next;
    if (c->next)
        c->next->prev = c->prev;
}

static void drop_socket(struct peer_conn *c)
{
    tls_stream_free(c->stream.tls);
    c->stream.tls = NULL;
    if (c->io)
        io_close(c->io);
    c->io = NULL;
}

/* Within an exchange a reset: an orderly end could pass for that of a client which still waits for its response. */
static void cut(struct peer_conn *c)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (c->phase == PEER_BUSY)
        (void)setsockopt(c->stream.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    c->x->conn = NULL;
}

/* ---- dialling ---- */

struct peer_dial {
    struct offload_task task;
    struct call call;
    struct peer_conn *conn; /* NULL: nobody wants it any more, and the pool may be gone */
    struct peer_pool *pool; /* there while the task runs */
    char address[PEER_NAME_MAX];
    size_t address_n;
    int fd;
};

static void dial_abandon(struct peer_conn *c)
{
    if (c->dial)
        c->dial->conn = NULL;
    c->dial = NULL;
}

static void dial_count(struct peer_pool *p, bool begins)
{
    pthread_mutex_lock(&p->dials.lock);
    p->dials.open += begins ? 1 : -1u;
    if (p->dials.open == 0)
        pthread_cond_signal(&p->dials.none);
    pthread_mutex_unlock(&p->dials.lock);
}

static enum err dial(struct offload_task *task)
{
    struct peer_dial *d = CONTAINER(task, struct peer_dial, task);
    enum err e = d->pool->conf.dial(d->pool->conf.dial_arg, str_n(d->address, d->address_n), &d->fd);

    dial_count(d->pool, false);
    return e;
}

void peer_conn_close(struct peer_conn *c)
{
    struct peer_addr *a = c->addr;

    if (c->x)
        cut(c);
    dial_abandon(c);
    timer_cancel(a->pool->loop, &c->timer);
    drop_socket(c);
    list_drop(c);
    peer_in_put(a->pool, c->in, c->in_cap);
    free(c);
    a->conn_count--;
    metric_add(&peer_m_connections, -1);
    peer_addr_settle(a);
}

/* ---- bytes received ---- */

enum tls_want peer_conn_recv(struct peer_conn *c, void *buf, size_t len, size_t *n)
{
    enum tls_want w = stream_read(&c->stream, buf, len, n);

    if (w == TLS_OK)
        c->rx_bytes += *n;
    return w;
}

enum tls_want peer_conn_fill(struct peer_conn *c)
{
    size_t n = 0;

    if (!c->in) {
        c->in = peer_in_get(c->addr->pool);
        c->in_cap = PEER_IN_FIRST;
    } else if (c->in_n == c->in_cap && c->in_at > 0) {
        memmove(c->in, c->in + c->in_at, peer_in_len(c));
        c->in_n -= c->in_at;
        c->in_at = 0;
    } else if (c->in_n == c->in_cap) {
        assert(c->in_cap < PEER_HEAD_MAX);
        c->in_cap *= 2;
        c->in = mem_realloc(c->in, c->in_cap);
    }
    enum tls_want w = peer_conn_recv(c, c->in + c->in_n, c->in_cap - c->in_n, &n);
    c->in_n += n;
    return w;
}

void peer_conn_drop(struct peer_conn *c, size_t n)
{
    c->in_at += n;
    if (c->in_at == c->in_n)
        c->in_at = c->in_n = 0;
}

size_t peer_conn_take(struct peer_conn *c, void *buf, size_t len)
{
    size_t n = peer_in_len(c) < len ? peer_in_len(c) : len;

    if (n) {
        memcpy(buf, c->in + c->in_at, n);
        peer_conn_drop(c, n);
    }
    return n;
}

/* ---- connecting ---- */

static void fail(struct peer_conn *c, enum err e, const char *why)
{
    struct peer_exchange *x = c->x;

    c->addr->stale = true;
    peer_trouble(c->addr, "no connection to a node", why);
    peer_conn_close(c);
    peer_exchange_end(x, e);
}

static void ready(struct peer_conn *c)
{
    timer_cancel(c->addr->pool->loop, &c->timer);
    c->phase = PEER_BUSY;
    peer_exchange_begin(c->x, c);
}

static int connect_socket(const struct peer_resolved *r, unsigned i)
{
    int fd = socket(r->list[i].ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    stream_tune(fd);
    if (connect(fd, (const struct sockaddr *)&r->list[i], r->len[i]) == 0 || errno == EINPROGRESS)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static uint64_t ms_left(const struct peer_conn *c)
{
    uint64_t now = loop_now_ns(c->addr->pool->loop);

    return c->deadline_ns > now ? (c->deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0;
}

/* Tries the next of the name's addresses; what time is left is shared by those not yet tried. */
static void connect_next(struct peer_conn *c, const char *why)
{
    const struct peer_resolved *r = &c->addr->resolved;

    drop_socket(c);
    while (c->tried < r->n && ms_left(c) > 0) {
        unsigned i = c->tried++;
        int fd = connect_socket(r, i);
        if (fd < 0) {
            why = strerror(errno);
            continue;
        }
        c->phase = PEER_CONNECTING;
        c->stream = (struct stream){fd, NULL};
        c->io = io_open(c->addr->pool->loop, fd, c);
        io_want_write(c->io, on_connected);
        timer_set(c->addr->pool->loop, &c->timer, ms_left(c) / (r->n - i));
        return;
    }
    fail(c, ERR_UNAVAILABLE, why);
}

void peer_conn_resolved(struct peer_conn *c, enum err e)
{
    c->phase = PEER_CONNECTING;
    if (e == ERR_OK)
        connect_next(c, "connecting took too long");
    else
        fail(c, e, "the name can't be resolved");
}

static void on_connected(struct io *io, void *owner)
{
    struct peer_conn *c = owner;
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(io_fd(io), SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error) {
        connect_next(c, strerror(error));
        return;
    }
    connected(c);
}

static void connected(struct peer_conn *c)
{
    struct peer_pool *p = c->addr->pool;

    if (!p->conf.tls) {
        ready(c);
        return;
    }
    c->phase = PEER_HANDSHAKE;
    c->stream.tls = tls_stream_connect(p->conf.tls, c->stream.fd, c->addr->host);
    timer_set(p->loop, &c->timer, ms_left(c));
    on_handshake(c->io, c);
}

static void on_handshake(struct io *io, void *owner)
{
    struct peer_conn *c = owner;

    io_stop_read(io);
    switch (tls_handshake(c->stream.tls)) {
    case TLS_OK:
        ready(c);
        break;
    case TLS_WANT_READ:
        io_want_read(io, on_handshake);
        break;
    case TLS_WANT_WRITE:
        io_want_write(io, on_handshake);
        break;
    case TLS_CLOSED:
    case TLS_BROKEN:
        fail(c, ERR_UNAVAILABLE, tls_stream_trouble(c->stream.tls));
        break;
    }
}

static void on_dialled(struct call *call)
{
    struct peer_dial *d = CONTAINER(call, struct peer_dial, call);
    struct peer_conn *c = d->conn;
    enum err e = call->err;
    int fd = d->fd;

    free(d);
    if (!c) {
        if (e == ERR_OK)
            close(fd);
        return;
    }
    c->dial = NULL;
    if (e != ERR_OK) {
        fail(c, e, "it can't be dialled");
        return;
    }
    c->stream = (struct stream){fd, NULL};
    c->io = io_open(c->addr->pool->loop, fd, c);
    connected(c);
}

void peer_conn_dial(struct peer_conn *c)
{
    struct peer_pool *p = c->addr->pool;
    struct peer_dial *d = NEW(struct peer_dial);

    if (c->addr->name.n > sizeof(d->address)) {
        free(d);
        fail(c, ERR_INVALID_ARGUMENT, "its name is too long");
        return;
    }
    memcpy(d->address, c->addr->name.p, c->addr->name.n);
    d->address_n = c->addr->name.n;
    d->conn = c;
    d->pool = p;
    d->fd = -1;
    c->dial = d;
    dial_count(p, true);
    call_begin(&d->call, p->loop, on_dialled);
    offload_run(p->conf.io, &d->task, dial, &d->call);
    if (d->call.state == CALL_FINISHED) /* refused: from the task's own thread it can't have come yet */
        dial_count(p, false);
}

/* ---- time ---- */

/* Of a small request only the answer is progress: asking the kernel costs a system call. */
uint64_t peer_conn_progress(const struct peer_conn *c)
{
    uint64_t unacked = c->tx_bytes - c->tx_begin > PEER_SMALL ? stream_unacked(&c->stream) : 0;

    return c->rx_bytes + c->tx_bytes - unacked;
}

bool peer_conn_progressed(const struct peer_conn *c)
{
    return peer_conn_progress(c) != c->mark_bytes;
}

void peer_conn_wait(struct peer_conn *c)
{
    c->mark_bytes = peer_conn_progress(c);
    timer_set(c->addr->pool->loop, &c->timer, c->addr->pool->conf.progress_timeout_ms);
}

static void on_timer(struct timer *t)
{
    struct peer_conn *c = CONTAINER(t, struct peer_conn, timer);

    switch (c->phase) {
    case PEER_RESOLVING:
        fail(c, ERR_UNAVAILABLE, c->dial ? "dialling took too long" : "resolving the name took too long");
        break;
    case PEER_CONNECTING:
        connect_next(c, "connecting took too long");
        break;
    case PEER_HANDSHAKE:
        fail(c, ERR_UNAVAILABLE, "the TLS handshake took too long");
        break;
    case PEER_BUSY:
        peer_exchange_timeout(c->x);
        break;
    case PEER_IDLE:
        peer_conn_close(c);
        break;
    }
}

void peer_conn_open(struct peer_exchange *x)
{
    struct peer_addr *a = x->addr;
    struct peer_conn *c = NEW(struct peer_conn);

    c->addr = a;
    c->x = x;
    x->conn = c;
    c->timer.fn = on_timer;
    c->deadline_ns = loop_now_ns(a->pool->loop) + (uint64_t)a->pool->conf.connect_timeout_ms * NS_PER_MS;
    list_add(&a->busy, c);
    a->conn_count++;
    metric_add(&peer_m_connections, 1);
    metric_add(&peer_m_connects, 1);
    timer_set(a->pool->loop, &c->timer, a->pool->conf.connect_timeout_ms);
    peer_addr_resolve(a);
}

/* ---- idle ---- */

/* Nothing is to come on an idle connection but TLS session tickets. */
static bool is_alive(struct peer_conn *c)
{
    char byte;
    size_t n = 0;

    return stream_read(&c->stream, &byte, 1, &n) == TLS_WANT_READ;
}

static void on_idle(struct io *io, void *owner)
{
    struct peer_conn *c = owner;

    (void)io;
    if (!is_alive(c))
        peer_conn_close(c);
}

/* Whether it need not be looked at: its end would have to have come since it was polled, and costs a request that is repeatable no more
 * than another try. */
static bool is_fresh(const struct peer_conn *c, const struct peer_exchange *x)
{
    return x->req->repeatable && loop_now_ns(c->addr->pool->loop) - c->idle_ns < (uint64_t)PEER_FRESH_MS * NS_PER_MS;
}

bool peer_conn_reuse(struct peer_conn *c, struct peer_exchange *x)
{
    if (!is_fresh(c, x) && !is_alive(c)) {
        peer_conn_close(c);
        return false;
    }
    timer_cancel(c->addr->pool->loop, &c->timer);
    list_drop(c);
    list_add(&c->addr->busy, c);
    c->phase = PEER_BUSY;
    c->x = x;
    c->reused = true;
    peer_exchange_begin(x, c);
    return true;
}

void peer_conn_release(struct peer_conn *c)
{
    struct peer_pool *p = c->addr->pool;

    c->x->conn = NULL;
    c->x = NULL;
    if (!c->keep || peer_in_len(c) || stream_has_pending(&c->stream)) {
        peer_conn_close(c);
        return;
    }
    peer_in_put(p, c->in, c->in_cap);
    c->in = NULL;
    c->in_at = c->in_n = c->in_cap = 0;
    c->phase = PEER_IDLE;
    c->idle_ns = loop_now_ns(p->loop);
    list_drop(c);
    list_add(&c->addr->idle, c);
    io_stop_write(c->io);
    io_want_read(c->io, on_idle);
    timer_set(p->loop, &c->timer, p->conf.idle_timeout_ms);
    peer_addr_settle(c->addr);
}
