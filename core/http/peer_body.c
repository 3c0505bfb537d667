#include "peer_conn.h"

#include <assert.h>
#include <stdlib.h>

#define OF(s) CONTAINER(s, struct peer_exchange, rx.source)

/* ---- the end ---- */

static void read_end(struct peer_exchange *x, enum err e, size_t n)
{
    if (!x->rx.preparing)
        *x->rx.n = n;
    if (x->conn)
        timer_cancel(x->addr->pool->loop, &x->conn->timer);
    x->rx.held = true;
    x->rx.held_err = e;
    if (!x->tx.waiting)
        peer_body_unhold(x);
}

void peer_body_unhold(struct peer_exchange *x)
{
    struct call *call = x->rx.call;

    if (!x->rx.held)
        return;
    x->rx.held = false;
    x->rx.call = NULL;
    call_finish(call, x->rx.held_err);
}

void peer_body_fail(struct peer_exchange *x, enum err e)
{
    x->rx.failed = e;
    peer_tx_stop(x);
    if (x->conn)
        peer_conn_close(x->conn);
    if (x->rx.call && !x->rx.held)
        read_end(x, e, 0);
}

/* All of it is here; others may have the connection. */
static void complete(struct peer_exchange *x)
{
    x->rx.at_end = true;
    if (x->tx.state != PEER_TX_DONE)
        x->conn->keep = false; /* it didn't want all of the request */
    peer_tx_stop(x);
    peer_conn_release(x->conn);
}

static void broke_off(struct peer_exchange *x)
{
    peer_trouble(x->addr, "a response of a node broke off", "the connection ended within its body");
    peer_body_fail(x, ERR_UNAVAILABLE);
}

/* ---- taking bytes off the connection ---- */

static enum tls_want take_sized(struct peer_exchange *x, char *buf, size_t len, size_t *n)
{
    struct peer_rx *r = &x->rx;
    size_t want = len < r->left ? len : (size_t)r->left, got = peer_conn_take(x->conn, buf, want), more = 0;
    enum tls_want w = TLS_OK;

    if (got < want)
        w = peer_conn_recv(x->conn, buf + got, want - got, &more);
    got += more;
    r->left -= got;
    r->at_end = r->left == 0;
    *n = got;
    return got ? TLS_OK : w;
}

static enum tls_want take_to_close(struct peer_exchange *x, char *buf, size_t len, size_t *n)
{
    *n = peer_conn_take(x->conn, buf, len);
    if (*n)
        return TLS_OK;
    enum tls_want w = peer_conn_recv(x->conn, buf, len, n);
    x->rx.at_end = w == TLS_CLOSED;
    return w == TLS_CLOSED ? TLS_OK : w;
}

/* The framing is stripped in the caller's buffer. */
static enum tls_want take_chunked(struct peer_exchange *x, char *buf, size_t len, size_t *n)
{
    struct peer_rx *r = &x->rx;

    for (;;) {
        size_t got = peer_conn_take(x->conn, buf, len), used;
        if (got == 0) {
            enum tls_want w = peer_conn_recv(x->conn, buf, len, &got);
            if (w != TLS_OK)
                return w;
        }
        enum chunked_state s = chunked_decode(&r->chunked, buf, got, n, &used);
        if (s == CHUNKED_BAD)
            return TLS_BROKEN;
        r->at_end = s == CHUNKED_DONE;
        if (used < got)
            x->conn->keep = false; /* nobody asked for more */
        if (*n || r->at_end)
            return TLS_OK;
    }
}

static enum tls_want take(struct peer_exchange *x, char *buf, size_t len, size_t *n)
{
    *n = 0;
    switch (x->rx.framing) {
    case HTTP_SIZED:
        return take_sized(x, buf, len, n);
    case HTTP_CHUNKED:
        return take_chunked(x, buf, len, n);
    case HTTP_TO_CLOSE:
        return take_to_close(x, buf, len, n);
    case HTTP_NO_BODY:
        break;
    }
    return TLS_BROKEN;
}

static void pump(struct peer_exchange *x)
{
    struct peer_rx *r = &x->rx;
    size_t n;
    enum tls_want w = take(x, r->buf, r->len, &n);

    if (w == TLS_OK) {
        if (r->at_end)
            complete(x);
        read_end(x, ERR_OK, n);
    } else if (w == TLS_CLOSED || w == TLS_BROKEN) {
        broke_off(x);
    } else {
        io_want_read(x->conn->io, peer_exchange_on_readable);
        if (!timer_is_set(&x->conn->timer))
            peer_conn_wait(x->conn);
    }
}

void peer_body_on_readable(struct peer_exchange *x)
{
    if (!x->rx.call || x->rx.held) {
        io_stop_read(x->conn->io); /* not wanted now: this is the back-pressure */
        return;
    }
    if (!x->rx.preparing) {
        pump(x);
        return;
    }
    io_stop_read(x->conn->io);
    read_end(x, ERR_OK, 0);
}

/* ---- the source ---- */

static void body_peek(struct source *s, struct span *out)
{
    struct peer_exchange *x = OF(s);
    struct peer_rx *r = &x->rx;

    *out = (struct span){.kind = SPAN_READ};
    if (r->at_end)
        out->kind = SPAN_END;
    if (r->at_end || r->failed != ERR_OK || r->framing != HTTP_SIZED)
        return;
    if (!peer_in_len(x->conn) && !x->conn->stream.tls && (r->left > PEER_SMALL || r->spliced)) {
        *out = (struct span){.kind = SPAN_SOCKET, .fd = x->conn->stream.fd, .len = r->left};
    } else if (peer_in_len(x->conn)) {
        uint64_t n = peer_in_len(x->conn);
        *out = (struct span){.kind = SPAN_MEMORY, .p = x->conn->in + x->conn->in_at, .len = n < r->left ? n : r->left};
    }
}

static void body_consume(struct source *s, uint64_t n)
{
    struct peer_exchange *x = OF(s);

    assert(n <= x->rx.left);
    if (peer_in_len(x->conn)) {
        peer_conn_drop(x->conn, (size_t)n);
    } else {
        x->rx.spliced = true;
        x->conn->rx_bytes += n;
    }
    x->rx.left -= n;
    if (x->rx.left == 0)
        complete(x);
}

static void read_cancelled(void *arg)
{
    struct peer_exchange *x = arg;

    if (!x->rx.held)
        read_end(x, ERR_CANCELLED, 0);
    if (x->tx.waiting)
        call_cancel(&x->tx.source_call); /* which is the end of the request, too */
}

/* False: it is finished already. */
static bool begin(struct peer_exchange *x, bool preparing, struct call *call)
{
    assert(!x->rx.call);
    if (x->rx.failed != ERR_OK || x->rx.at_end) {
        call_finish(call, x->rx.failed);
        return false;
    }
    x->rx.call = call;
    x->rx.preparing = preparing;
    call_on_cancel(call, read_cancelled, x);
    return x->rx.call != NULL;
}

static void body_prepare(struct source *s, struct call *call)
{
    struct peer_exchange *x = OF(s);

    if (!begin(x, true, call))
        return;
    io_want_read(x->conn->io, peer_exchange_on_readable);
    peer_conn_wait(x->conn);
    peer_tx_pump(x);
}

static void body_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct peer_exchange *x = OF(s);

    assert(len > 0);
    *n = 0;
    x->rx.buf = buf;
    x->rx.len = len;
    x->rx.n = n;
    if (begin(x, false, call))
        pump(x);
    if (x->rx.call)
        peer_tx_pump(
            x); /* only when there is nothing to read: what is asked of the request's body now has to come first */
}

static void body_close(struct source *s)
{
    struct peer_exchange *x = OF(s);

    assert(!x->rx.call && !x->tx.waiting);
    peer_tx_stop(x);
    if (x->conn)
        peer_conn_close(x->conn);
    free(x);
}

void peer_body_begin(struct peer_exchange *x, const struct http_response_head *h)
{
    static const struct source_ops ops = {"peer-body", body_peek, body_consume, body_prepare, body_read, body_close};
    struct peer_rx *r = &x->rx;

    r->framing = h->framing;
    r->left = h->length;
    r->source = (struct source){&ops, h->framing == HTTP_SIZED ? h->length : SOURCE_SIZE_UNKNOWN};
    x->res->body = h->framing == HTTP_NO_BODY ? NULL : &r->source;
}
