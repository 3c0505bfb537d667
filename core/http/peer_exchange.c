#include "peer_conn.h"

#include <assert.h>
#include <stdlib.h>

/* ---- the end ---- */

/* The call is over; with a body the exchange lives on as its source. */
static void finish(struct peer_exchange *x, enum err e)
{
    struct call *call = x->call;

    x->res->sent = x->sent;
    x->res->body_taken = x->taken;
    if (e != ERR_OK || !x->res->body || x->tx.state != PEER_TX_BODY)
        peer_tx_release(x);
    x->addr->call_count--;
    x->call = NULL;
    x->req = NULL;
    if (e != ERR_OK || !x->res->body) {
        if (x->conn && e == ERR_OK)
            peer_conn_release(x->conn);
        else if (x->conn)
            peer_conn_close(x->conn);
        free(x);
    }
    if (e != ERR_OK)
        metric_add(&peer_m_failed, 1);
    call_finish(call, e);
}

void peer_exchange_end_now(struct peer_exchange *x)
{
    finish(x, x->end_err);
}

void peer_exchange_end(struct peer_exchange *x, enum err e)
{
    if (x->ending) {
        if (x->end_err == ERR_OK && e != ERR_OK) {
            /* cancelled while the response waits for the request's source */
            x->end_err = e;
            x->res->body = NULL;
            x->res->status = 0;
            if (x->conn)
                peer_conn_close(x->conn);
            if (x->tx.waiting)
                call_cancel(&x->tx.source_call);
        }
        return;
    }
    if (e != ERR_OK && x->conn)
        peer_conn_close(x->conn);
    x->ending = true;
    x->end_err = e;
    if (!x->tx.waiting)
        finish(x, e);
    else if (e != ERR_OK || x->tx.state != PEER_TX_BODY)
        call_cancel(&x->tx.source_call);
}

/* No response will come on this connection. */
static void lost(struct peer_exchange *x, const char *why)
{
    struct peer_addr *a = x->addr;
    bool unseen = x->req->repeatable || !x->sent;

    if (x->conn->reused && !x->rx.any && !x->retried && unseen && peer_tx_rewind(x)) {
        x->retried = true;
        metric_add(&peer_m_retried, 1);
        peer_conn_close(x->conn);
        peer_acquire(x, true);
        return;
    }
    peer_trouble(a, "a request to a node broke off", why);
    peer_exchange_end(x, ERR_UNAVAILABLE);
}

/* Whether it isn't the peer that is waited for. */
static bool is_ours(const struct peer_exchange *x)
{
    bool unread = x->rx.head_done && (!x->rx.call || x->rx.held);

    return unread || (x->tx.waiting && !x->tx.blocked) || (x->call && x->ending);
}

void peer_exchange_watch(struct peer_exchange *x, bool gone)
{
    struct peer_conn *c = x->conn;
    uint64_t now = loop_now_ns(x->addr->pool->loop), bytes = peer_conn_progress(c);

    if (is_ours(x)) {
        c->silent_ns = 0;
        return;
    }
    if (c->silent_ns == 0 || c->silent_bytes != bytes) {
        c->silent_ns = now;
        c->silent_bytes = bytes;
        return;
    }
    if (!gone || now - c->silent_ns < (uint64_t)PEER_SILENT_MS * 1000000)
        return;
    peer_trouble(x->addr, "a node that is gone doesn't answer", x->rx.head_done ? "within a response" : "no response");
    if (x->rx.head_done)
        peer_body_fail(x, ERR_UNAVAILABLE);
    else
        peer_exchange_end(x, ERR_UNAVAILABLE);
}

void peer_exchange_timeout(struct peer_exchange *x)
{
    struct peer_conn *c = x->conn;

    if (is_ours(x))
        return;
    if (x->tx.state == PEER_TX_ASKED && !x->rx.head_done) {
        x->tx.state = PEER_TX_BODY; /* it doesn't know 100: go on without */
        peer_conn_wait(c);
        peer_tx_pump(x);
        return;
    }
    if (peer_conn_progressed(c)) {
        peer_conn_wait(c);
        return;
    }
    peer_trouble(x->addr, "a node doesn't answer in time", x->rx.head_done ? "within a response" : "no response");
    if (x->rx.head_done)
        peer_body_fail(x, ERR_TIMEOUT);
    else
        peer_exchange_end(x, ERR_TIMEOUT);
}

/* ---- the response's head ---- */

/* Whether the rest of the request may still be wanted: not with an error, nor when the response is here as a whole. */
static bool may_want_more(const struct peer_exchange *x, const struct http_response_head *h)
{
    if (!x->tx.duplex || x->tx.state != PEER_TX_BODY || h->status >= 300 || h->framing == HTTP_NO_BODY)
        return false;
    return h->framing != HTTP_SIZED || h->length > peer_in_len(x->conn);
}

static void deliver(struct peer_exchange *x, const struct http_response_head *h)
{
    struct peer_conn *c = x->conn;
    bool goes_on = may_want_more(x, h);

    x->rx.head_done = true;
    /* an early answer: the peer doesn't want the rest of the body, and nothing else can follow on this connection */
    if (x->tx.state != PEER_TX_DONE && !goes_on)
        x->tx.state = PEER_TX_STOPPED;
    c->keep = h->keep_alive && x->tx.state != PEER_TX_STOPPED;
    timer_cancel(x->addr->pool->loop, &c->timer);
    if (!goes_on)
        io_stop_write(c->io);
    io_stop_read(c->io);
    x->res->status = h->status;
    x->res->headers = h->headers;
    x->res->header_count = h->header_count;
    peer_body_begin(x, h);
    peer_exchange_end(x, ERR_OK);
}

/* False: the exchange has ended. */
static bool interim(struct peer_exchange *x, const struct http_response_head *h)
{
    x->rx.scan = (struct head_scan){0};
    if (h->status == 101 || ++x->rx.interim > PEER_INTERIM_MAX) {
        lost(x, "the response makes no sense");
        return false;
    }
    if (h->status == 100 && x->tx.state == PEER_TX_ASKED) {
        x->tx.state = PEER_TX_BODY;
        peer_conn_wait(x->conn);
    }
    return true;
}

/* A whole head of n bytes stands in the buffer. */
static bool take_head(struct peer_exchange *x, size_t n)
{
    struct peer_conn *c = x->conn;
    struct http_response_head h;
    char *p = arena_alloc(x->req->arena, n);
    bool to_head = str_eq(x->req->method, STR("HEAD"));

    memcpy(p, c->in + c->in_at, n);
    peer_conn_drop(c, n);
    if (x->rx.scan.start != 0 || head_parse_response(x->req->arena, p, n, x->rx.scan.lines, to_head, &h) != ERR_OK) {
        lost(x, "the response's head is malformed");
        return false;
    }
    if (h.status < 200)
        return interim(x, &h);
    deliver(x, &h);
    return false;
}

/* Takes the heads that are complete. True: more bytes are needed. */
static bool look(struct peer_exchange *x)
{
    struct peer_conn *c = x->conn;
    ssize_t n;

    while (peer_in_len(c)) {
        n = head_scan(&x->rx.scan, c->in + c->in_at, peer_in_len(c));
        if (n < 0 || x->rx.scan.lines > PEER_HEADERS_MAX + 2 || (n == 0 && peer_in_len(c) >= PEER_HEAD_MAX)) {
            lost(x, n < 0 ? "the response isn't HTTP/1.1" : "the response's head is too long");
            return false;
        }
        if (n == 0)
            return true;
        if (!take_head(x, (size_t)n))
            return false;
    }
    return true;
}

static void read_head(struct peer_exchange *x, bool last_chance)
{
    struct peer_conn *c = x->conn;
    enum tls_want w;

    do {
        w = peer_conn_fill(c);
        if (w != TLS_OK)
            break;
        x->rx.any = true;
        if (!look(x))
            return;
    } while (last_chance || stream_has_pending(&c->stream));
    if (w == TLS_CLOSED || w == TLS_BROKEN)
        lost(x, "the connection ended before a response");
    else if (last_chance)
        lost(x, "the connection broke");
    else
        peer_tx_pump(x); /* after a 100; or TLS had to read before it could write */
}

void peer_exchange_broke(struct peer_exchange *x)
{
    if (x->rx.head_done) {
        peer_tx_stop(x); /* what came before is still to be read */
        return;
    }
    x->tx.state = PEER_TX_STOPPED;
    read_head(x, true);
}

void peer_exchange_on_readable(struct io *io, void *owner)
{
    struct peer_exchange *x = ((struct peer_conn *)owner)->x;

    if (x->rx.head_done)
        peer_body_on_readable(x);
    else if (x->ending)
        io_stop_read(io);
    else
        read_head(x, false);
}

/* ---- the beginning ---- */

void peer_exchange_begin(struct peer_exchange *x, struct peer_conn *c)
{
    x->conn = c;
    x->rx = (struct peer_rx){0};
    c->keep = false;
    c->silent_ns = 0;
    c->tx_begin = c->tx_bytes;
    io_want_read(c->io, peer_exchange_on_readable);
    peer_conn_wait(c);
    peer_tx_pump(x);
}
