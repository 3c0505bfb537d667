#include "peer_conn.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- the head ---- */

enum { HEAD_FIXED_MAX = 96 }; /* request line's and Host's own, framing, empty line */

static char *put(char *at, struct str s)
{
    if (s.n)
        memcpy(at, s.p, s.n);
    return at + s.n;
}

static bool wants_length(struct str method)
{
    return str_eq(method, STR("POST")) || str_eq(method, STR("PUT")) || str_eq(method, STR("PATCH"));
}

/* The header that tells where the body ends; RFC 9110 section 8.6: a method with a meaning for bodies says so when there
 * is none. */
static char *put_framing(char *at, const struct peer_req *req)
{
    if (!req->body)
        return wants_length(req->method) ? put(at, STR("Content-Length: 0\r\n")) : at;
    if (req->body->size == SOURCE_SIZE_UNKNOWN)
        return put(at, STR("Transfer-Encoding: chunked\r\n"));
    at = put(at, STR("Content-Length: "));
    return put(put(at, arena_u64(req->arena, req->body->size)), STR("\r\n"));
}

static bool asks(const struct peer_req *req)
{
    return req->expect && req->body && req->body->size > 0;
}

static struct str build_head(const struct peer_req *req)
{
    struct str expect = asks(req) ? STR("Expect: 100-continue\r\n") : STR_NONE;
    size_t n = req->method.n + req->target.n + req->address.n + expect.n + HEAD_FIXED_MAX;

    for (size_t i = 0; i < req->header_count; i++)
        n += req->headers[i].name.n + req->headers[i].value.n + 4;
    char *start = arena_alloc(req->arena, n + PEER_FRAME_MAX), *at = start;
    at = put(put(at, req->method), STR(" "));
    at = put(put(at, req->target), STR(" HTTP/1.1\r\nHost: "));
    at = put(put(at, req->address), STR("\r\n"));
    for (size_t i = 0; i < req->header_count; i++) {
        at = put(put(at, req->headers[i].name), STR(": "));
        at = put(put(at, req->headers[i].value), STR("\r\n"));
    }
    at = put(put_framing(at, req), expect);
    at = put(at, STR("\r\n"));
    assert((size_t)(at - start) <= n);
    return str_n(start, (size_t)(at - start));
}

void peer_tx_begin(struct peer_exchange *x)
{
    struct source *body = x->req->body;
    struct peer_tx *t = &x->tx;

    t->body = body;
    t->duplex = x->req->duplex;
    t->head = t->text = build_head(x->req);
    t->chunked = body && body->size == SOURCE_SIZE_UNKNOWN;
    t->left = body && !t->chunked ? body->size : 0;
    t->ended = !body;
    t->state = asks(x->req) ? PEER_TX_HEAD : PEER_TX_BODY;
}

bool peer_tx_rewind(struct peer_exchange *x)
{
    struct peer_tx *t = &x->tx;

    if (t->waiting || (x->taken && (t->fills > 1 || t->chunked)))
        return false;
    t->text = t->head;
    t->buf_at = 0;
    t->blocked = false;
    t->state = asks(x->req) ? PEER_TX_HEAD : PEER_TX_BODY;
    x->sent = false;
    return true;
}

void peer_tx_release(struct peer_exchange *x)
{
    struct peer_tx *t = &x->tx;

    if (t->buf && t->buf_cap == PEER_BUFFER)
        peer_buf_put(x->pool, t->buf);
    else
        free(t->buf);
    t->buf = NULL;
    pipe_put(&x->pool->pipes, &t->pipe);
}

void peer_tx_stop(struct peer_exchange *x)
{
    if (x->tx.state != PEER_TX_DONE)
        x->tx.state = PEER_TX_STOPPED;
    if (x->tx.waiting)
        call_cancel(&x->tx.source_call); /* its buffer is in use until then */
    else
        peer_tx_release(x);
}

/* ---- taking from the source ---- */

static char *buffer(struct peer_exchange *x)
{
    struct peer_tx *t = &x->tx;

    if (!t->buf && !t->chunked && t->left <= PEER_SMALL) {
        t->buf_cap = (size_t)t->left;
        t->buf = mem_alloc(t->buf_cap);
    } else if (!t->buf) {
        t->buf_cap = PEER_BUFFER;
        t->buf = peer_buf_get(x->addr->pool);
    }
    return t->buf;
}

static void frame(struct peer_tx *t, uint64_t len)
{
    /* the first chunk's size goes behind the head, in the room that was kept for it */
    char *at = t->text.n ? (char *)t->text.p + t->text.n : t->frame;
    int n = snprintf(at, PEER_FRAME_MAX, "%s%llx\r\n%s", t->framed ? "\r\n" : "", (unsigned long long)len,
                     len ? "" : "\r\n");

    assert(n > 0 && n < PEER_FRAME_MAX);
    if (!t->text.n)
        t->text.p = at;
    t->text.n += (size_t)n;
    t->framed = true;
}

/* n bytes of the body stand in buf. */
static void loaded(struct peer_exchange *x, size_t n)
{
    struct peer_tx *t = &x->tx;

    t->fills++;
    x->taken = true;
    t->buf_at = 0;
    t->buf_n = n;
    if (t->chunked)
        frame(t, n);
    else
        t->left -= n;
}

/* n bytes went past buf. */
static void passed(struct peer_exchange *x, uint64_t n)
{
    x->taken = true;
    x->tx.fills = 2;
    x->tx.left -= n;
    source_consume(x->tx.body, n);
}

/* The request can't be completed: its connection's end says so to the peer. */
static void body_failed(struct peer_exchange *x, enum err e)
{
    bool waited = x->ending;

    if (peer_exchange_is_body(x)) {
        peer_body_fail(x, e);
        peer_body_unhold(x);
        return;
    }
    peer_exchange_end(x, e);
    if (waited)
        peer_exchange_end_now(x);
}

/* False: too early, the exchange is over. */
static bool source_ended(struct peer_exchange *x)
{
    struct peer_tx *t = &x->tx;

    if (t->left) {
        body_failed(x, ERR_INCOMPLETE_BODY);
        return false;
    }
    if (t->chunked)
        frame(t, 0);
    t->ended = true;
    return true;
}

/* Whoever waited for the source to be left alone goes on. */
static void left_alone(struct peer_exchange *x)
{
    if (x->call && x->ending)
        peer_exchange_end_now(x); /* and x may be gone */
    else
        peer_body_unhold(x);
}

/* False: nothing more is sent. */
static bool source_answered(struct peer_exchange *x, enum err e)
{
    x->tx.waiting = false;
    if (!x->conn || x->tx.state == PEER_TX_STOPPED) {
        if (peer_exchange_is_body(x))
            peer_tx_release(x);
        left_alone(x);
        return false;
    }
    if (e != ERR_OK) {
        body_failed(x, e);
        return false;
    }
    if (x->tx.state == PEER_TX_BODY)
        peer_conn_wait(x->conn);
    return true;
}

static void go_on(struct peer_exchange *x)
{
    left_alone(x); /* a response with a body: x stays */
    peer_tx_pump(x);
}

static void prepared(struct call *call)
{
    struct peer_exchange *x = CONTAINER(call, struct peer_exchange, tx.source_call);

    if (source_answered(x, call->err))
        go_on(x);
}

static void read_done(struct call *call)
{
    struct peer_exchange *x = CONTAINER(call, struct peer_exchange, tx.source_call);

    if (!source_answered(x, call->err))
        return;
    if (x->tx.read_n)
        loaded(x, x->tx.read_n);
    else if (!source_ended(x))
        return;
    go_on(x);
}

static void probed(struct call *call)
{
    struct peer_exchange *x = CONTAINER(call, struct peer_exchange, tx.source_call);

    if (!source_answered(x, call->err))
        return;
    if (x->tx.read_n) {
        body_failed(x, ERR_INCOMPLETE_BODY); /* longer than it said */
        return;
    }
    x->tx.confirmed = x->tx.ended = true;
    go_on(x);
}

static struct call *ask_source(struct peer_exchange *x, void (*done)(struct call *))
{
    x->tx.waiting = true;
    call_begin(&x->tx.source_call, x->addr->pool->loop, done);
    return &x->tx.source_call;
}

static void read_more(struct peer_exchange *x)
{
    struct peer_tx *t = &x->tx;
    char *buf = buffer(x);
    size_t want = t->chunked || t->left > t->buf_cap ? t->buf_cap : (size_t)t->left;

    x->taken = true;
    source_read(x->tx.body, buf, want, &t->read_n, ask_source(x, read_done));
}

/* A source may find out at its very end that its bytes were not what they should be: the last ones are held back until it
 * has said that it is complete. */
static bool confirm(struct peer_exchange *x)
{
    struct span span;

    source_peek(x->tx.body, &span);
    if (span.kind == SPAN_END) {
        x->tx.confirmed = x->tx.ended = true;
        return true;
    }
    source_read(x->tx.body, &x->tx.probe, 1, &x->tx.read_n, ask_source(x, probed));
    return false;
}

/* ---- writing ---- */

/* The peer must read first. */
static bool wait_for_peer(struct peer_exchange *x)
{
    if (!x->tx.blocked)
        peer_conn_wait(x->conn);
    x->tx.blocked = true;
    return false;
}

static void on_writable(struct io *io, void *owner)
{
    (void)io;
    peer_tx_pump(((struct peer_conn *)owner)->x);
}

/* True: go on. */
static bool written(struct peer_exchange *x, enum tls_want w, size_t n)
{
    struct peer_conn *c = x->conn;

    if (w == TLS_OK) {
        c->tx_bytes += n;
        c->turn_bytes += n;
        x->tx.blocked = false;
        return true;
    }
    if (w == TLS_WANT_WRITE)
        io_want_write(c->io, on_writable);
    if (w == TLS_WANT_WRITE || w == TLS_WANT_READ)
        return wait_for_peer(x);
    peer_exchange_broke(x);
    return false;
}

/* What text there is and `len` bytes behind it: of buf, or of the source's memory. */
static bool write_step(struct peer_exchange *x, const char *p, size_t len, bool more)
{
    struct peer_tx *t = &x->tx;
    struct iovec v[2] = {{(char *)t->text.p, t->text.n}, {(char *)p, len}};
    size_t n = 0;

    if (!written(x, stream_write(&x->conn->stream, v, more, &n), n))
        return false;
    size_t of_text = n < t->text.n ? n : t->text.n;
    t->text = str_skip(t->text, of_text);
    x->sent |= t->text.n == 0;
    if (n > of_text && t->buf_at < t->buf_n)
        t->buf_at += n - of_text;
    else if (n > of_text)
        passed(x, n - of_text);
    return true;
}

static bool load_memory(struct peer_exchange *x, const struct span *span)
{
    char *buf = buffer(x);
    size_t n = span->len < x->tx.buf_cap ? (size_t)span->len : x->tx.buf_cap;

    memcpy(buf, span->p, n);
    source_consume(x->tx.body, n);
    loaded(x, n);
    return true;
}

/* The span is warm, so reading it here doesn't wait for a disk. */
static bool load_file(struct peer_exchange *x, const struct span *span)
{
    char *buf = buffer(x);
    size_t n = span->len < x->tx.buf_cap ? (size_t)span->len : x->tx.buf_cap;
    ssize_t r;

    do
        r = pread(span->fd, buf, n, (off_t)span->offset);
    while (r < 0 && errno == EINTR);
    if (r <= 0) {
        body_failed(x, r < 0 ? err_from_errno(errno) : ERR_CORRUPT);
        return false;
    }
    source_consume(x->tx.body, (uint64_t)r);
    loaded(x, (size_t)r);
    return true;
}

static bool file_step(struct peer_exchange *x, const struct span *span)
{
    size_t n = 0, len = span->len < PEER_STEP ? (size_t)span->len : PEER_STEP;
    int file_error;

    enum tls_want w = stream_sendfile(&x->conn->stream, span->fd, span->offset, len, &n, &file_error);
    if (file_error == EINVAL)
        return load_file(x, span);
    if (file_error || (w == TLS_OK && n == 0)) {
        body_failed(x, file_error ? err_from_errno(file_error) : ERR_CORRUPT);
        return false;
    }
    if (!written(x, w, n))
        return false;
    passed(x, n);
    return true;
}

/* Past buf only what leaves a byte behind to hold back. */
static bool may_pass(const struct peer_exchange *x, struct span *span)
{
    const struct peer_tx *t = &x->tx;

    if (t->chunked || t->left <= PEER_SMALL)
        return false;
    if (span->len > t->left - 1)
        span->len = t->left - 1;
    return true;
}

static bool can_splice(struct peer_exchange *x, struct span *span)
{
    struct peer_tx *t = &x->tx;

    if (x->conn->stream.tls || t->no_splice || !may_pass(x, span))
        return false;
    if (!t->pipe.open && !pipe_get(&x->addr->pool->pipes, &t->pipe))
        t->no_splice = true;
    return t->pipe.open;
}

/* From the source's socket into the pipe. */
static bool splice_in(struct peer_exchange *x, const struct span *span)
{
    struct peer_tx *t = &x->tx;
    size_t n = 0;
    enum tls_want w = pipe_fill(&t->pipe, span->fd, span->len < PIPE_SIZE ? (size_t)span->len : PIPE_SIZE, &n);

    if (w == TLS_OK) {
        passed(x, n);
        return true;
    }
    if (t->text.n)
        return write_step(x, NULL, 0, false); /* what is ready goes out before a wait */
    if (w == TLS_WANT_READ) {
        source_prepare(x->tx.body, ask_source(x, prepared));
        return false;
    }
    t->no_splice = true; /* reading tells what is wrong */
    return true;
}

/* From the pipe to the peer: before anything else of the body. */
static bool splice_out(struct peer_exchange *x)
{
    size_t n = 0;

    if (x->tx.text.n)
        return write_step(x, NULL, 0, true);
    if (!written(x, pipe_drain(&x->tx.pipe, x->conn->stream.fd, &n), n))
        return false;
    metric_add(&peer_m_spliced, (int64_t)n);
    return true;
}

/* The source's next bytes. */
static bool body_step(struct peer_exchange *x)
{
    struct peer_tx *t = &x->tx;
    struct span span;

    source_peek(x->tx.body, &span);
    if (!t->chunked && span.len > t->left)
        span.len = t->left;
    if (span.kind == SPAN_END)
        return source_ended(x);
    if (span.kind == SPAN_MEMORY && !may_pass(x, &span))
        return load_memory(x, &span);
    if (span.kind == SPAN_MEMORY)
        return write_step(x, span.p, span.len < PEER_STEP ? (size_t)span.len : PEER_STEP, false);
    if (span.kind == SPAN_FILE && (x->conn->stream.tls || !may_pass(x, &span)))
        return load_file(x, &span);
    if (span.kind == SPAN_SOCKET && can_splice(x, &span))
        return splice_in(x, &span);
    if (t->text.n)
        return write_step(x, NULL, 0, true); /* what is ready goes out before a wait or a file */
    if (span.kind == SPAN_FILE)
        return file_step(x, &span);
    if (span.kind == SPAN_WAIT)
        source_prepare(x->tx.body, ask_source(x, prepared));
    else
        read_more(x);
    return false;
}

/* All is sent. */
static void done(struct peer_exchange *x)
{
    x->tx.state = PEER_TX_DONE;
    peer_conn_wait(x->conn);
}

static void ask(struct peer_exchange *x)
{
    struct peer_pool *p = x->addr->pool;
    uint32_t most = p->conf.progress_timeout_ms;

    x->tx.state = PEER_TX_ASKED;
    timer_set(p->loop, &x->conn->timer, most < PEER_EXPECT_MS ? most : PEER_EXPECT_MS);
}

/* Behind the response's head only while its reader waits: peer_req.duplex. */
static bool may_pull(const struct peer_exchange *x)
{
    return !x->rx.head_done || (x->rx.call && !x->rx.held);
}

static bool tx_step(struct peer_exchange *x)
{
    struct peer_tx *t = &x->tx;

    if (t->state == PEER_TX_HEAD) {
        if (t->text.n)
            return write_step(x, NULL, 0, false);
        ask(x);
        return false;
    }
    if (t->pipe.held)
        return splice_out(x);
    if (!t->ended && !t->chunked && t->left == 0)
        return may_pull(x) && confirm(x);
    if (t->buf_at < t->buf_n)
        return write_step(x, t->buf + t->buf_at, t->buf_n - t->buf_at, false);
    if (!t->ended)
        return may_pull(x) && body_step(x);
    if (t->text.n)
        return write_step(x, NULL, 0, false);
    done(x);
    return false;
}

static bool turn_left(struct peer_conn *c)
{
    uint64_t now = loop_now_ns(c->addr->pool->loop);

    if (c->turn_ns != now) {
        c->turn_ns = now;
        c->turn_bytes = 0;
    }
    return c->turn_bytes < PEER_TURN_MAX;
}

void peer_tx_pump(struct peer_exchange *x)
{
    struct peer_tx *t = &x->tx;

    while ((t->state == PEER_TX_HEAD || t->state == PEER_TX_BODY) && !t->waiting) {
        if (!turn_left(x->conn)) {
            io_want_write(x->conn->io, on_writable); /* by way of the poll set: others get their turn */
            return;
        }
        if (!tx_step(x))
            return; /* and x may be gone */
    }
}
