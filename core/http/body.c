#include "conn.h"

#include <assert.h>

static const struct str continue_text = {"HTTP/1.1 100 Continue\r\n\r\n", 25};

bool body_is_unread(const struct conn *c)
{
    return c->req.body && !c->body.at_end && c->body.failed == ERR_OK;
}

static void read_end(struct conn *c, enum err e, size_t n)
{
    struct body *b = &c->body;
    struct call *call = b->call;

    b->call = NULL;
    if (!b->preparing)
        *b->n = n;
    b->preparing = false;
    conn_clock_pause(c);
    call_finish(call, e);
}

void body_fail(struct conn *c, enum err why)
{
    if (c->body.failed == ERR_OK && !c->body.at_end)
        c->body.failed = why;
    if (c->body.call)
        read_end(c, c->body.failed, 0);
}

/* ---- taking bytes off the connection ---- */

static enum tls_want take_sized(struct conn *c, char *buf, size_t len, size_t *n)
{
    struct body *b = &c->body;
    size_t want = len < b->left ? len : (size_t)b->left, got = conn_take(c, buf, want), more = 0;
    enum tls_want w = TLS_OK;

    if (got < want)
        w = conn_recv(c, buf + got, want - got, &more);
    got += more;
    b->left -= got;
    b->at_end = b->left == 0;
    *n = got;
    return got ? TLS_OK : w;
}

/* The framing is stripped in the caller's buffer; what was received beyond the body's end goes back to the input. */
static enum tls_want take_chunked(struct conn *c, char *buf, size_t len, size_t *n)
{
    struct body *b = &c->body;

    for (;;) {
        uint64_t ahead = CONN_CHUNKED_AHEAD + (b->chunked.state == CHUNKED_DATA ? b->chunked.left : 0);
        size_t got = conn_take(c, buf, len), used;
        if (got == 0) {
            enum tls_want w = conn_recv(c, buf, len < ahead ? len : (size_t)ahead, &got);
            if (w != TLS_OK)
                return w;
        }
        enum chunked_state s = chunked_decode(&b->chunked, buf, got, n, &used);
        b->at_end = s == CHUNKED_DONE;
        if (used < got && b->at_end)
            conn_give_back(c, buf + used, got - used);
        if (s == CHUNKED_BAD)
            b->failed = ERR_INCOMPLETE_BODY;
        if (*n || b->at_end || b->failed != ERR_OK)
            return TLS_OK;
    }
}

enum tls_want body_take(struct conn *c, char *buf, size_t len, size_t *n)
{
    *n = 0;
    return c->body.is_chunked ? take_chunked(c, buf, len, n) : take_sized(c, buf, len, n);
}

/* ---- the handler's reads ---- */

static void on_readable(struct io *io, void *owner)
{
    struct conn *c = owner;

    if (c->body.call && !c->body.preparing) {
        body_pump(c);
        return;
    }
    io_stop_read(io); /* not wanted now: this is the back-pressure */
    if (c->body.call)
        read_end(c, ERR_OK, 0);
}

/* The peer has to do something first. */
static void read_waits(struct conn *c)
{
    conn_wait(c, c->server->limits.body_timeout_ms, c->rx_bytes);
}

/* False: the read can't go on now. */
static bool send_continue(struct conn *c)
{
    struct body *b = &c->body;

    while (b->continue_left) {
        struct str rest = body_continue_rest(c);
        struct iovec v[2] = {{(char *)rest.p, rest.n}, {NULL, 0}};
        size_t n = 0;
        enum tls_want w = stream_write(&c->stream, v, false, &n);
        if (w == TLS_WANT_WRITE) {
            io_want_write(c->io, conn_on_writable);
            read_waits(c);
            return false;
        }
        if (w != TLS_OK) {
            conn_broke(c, ERR_CLIENT_GONE);
            return false;
        }
        b->continue_left -= n;
        c->tx_bytes += n;
    }
    b->continues = CONTINUE_SENT;
    return true;
}

struct str body_continue_rest(const struct conn *c)
{
    size_t left = c->body.continues == CONTINUE_SENDING ? c->body.continue_left : 0;

    return str_skip(continue_text, continue_text.n - left);
}

void body_pump(struct conn *c)
{
    struct body *b = &c->body;
    size_t n;

    if (b->continues == CONTINUE_SENDING && !send_continue(c))
        return;
    if (!conn_turn_left(c)) {
        conn_yield(c);
        return;
    }
    enum tls_want w = body_take(c, b->buf, b->len, &n);
    if (b->failed != ERR_OK) {
        body_fail(c, b->failed);
    } else if (w == TLS_OK) {
        conn_turn_take(c, n);
        if (b->at_end)
            conn_watch(c);
        read_end(c, ERR_OK, n);
    } else if (w == TLS_CLOSED) {
        c->peer_ended = true;
        io_stop_read(c->io);
        body_fail(c, ERR_INCOMPLETE_BODY);
    } else if (w == TLS_BROKEN) {
        conn_broke(c, ERR_CLIENT_GONE);
    } else {
        io_want_read(c->io, on_readable);
        read_waits(c);
    }
}

static void read_cancelled(void *arg)
{
    read_end(arg, ERR_CANCELLED, 0);
}

static void body_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct conn *c = CONTAINER(s, struct conn, body.source);
    struct body *b = &c->body;

    assert(!b->call && len > 0);
    *n = 0;
    if (b->failed != ERR_OK || b->at_end) {
        call_finish(call, b->failed);
        return;
    }
    b->call = call;
    b->buf = buf;
    b->len = len;
    b->n = n;
    conn_clock_resume(c);
    call_on_cancel(call, read_cancelled, c);
    if (!b->call)
        return;
    if (b->continues == CONTINUE_WANTED) {
        b->continues = CONTINUE_SENDING;
        b->continue_left = continue_text.n;
    }
    body_pump(c);
}

/* ---- what may be passed on without reading ---- */

static void body_peek(struct source *s, struct span *out)
{
    struct conn *c = CONTAINER(s, struct conn, body.source);
    struct body *b = &c->body;
    size_t n = conn_in_len(c);

    *out = (struct span){.kind = SPAN_READ};
    if (b->failed != ERR_OK || b->continues == CONTINUE_WANTED || b->continues == CONTINUE_SENDING)
        return; /* a read tells why, or sends the 100 */
    if (b->at_end)
        *out = (struct span){.kind = SPAN_END};
    else if (n && !b->is_chunked)
        *out = (struct span){.kind = SPAN_MEMORY, .p = c->in + c->in_at, .len = n < b->left ? n : b->left};
    else if (!b->is_chunked && !c->stream.tls)
        *out = (struct span){.kind = SPAN_SOCKET, .fd = c->stream.fd, .len = b->left};
}

static void body_consume(struct source *s, uint64_t n)
{
    struct conn *c = CONTAINER(s, struct conn, body.source);
    struct body *b = &c->body;

    assert(n <= b->left);
    if (conn_in_len(c))
        conn_drop(c, (size_t)n);
    else
        c->rx_bytes += n; /* spliced */
    b->left -= n;
    b->at_end = b->left == 0;
    if (b->at_end)
        conn_watch(c);
}

static void body_prepare(struct source *s, struct call *call)
{
    struct conn *c = CONTAINER(s, struct conn, body.source);
    struct body *b = &c->body;

    assert(!b->call);
    if (b->failed != ERR_OK || b->at_end) {
        call_finish(call, b->failed);
        return;
    }
    b->call = call;
    b->preparing = true;
    conn_clock_resume(c);
    call_on_cancel(call, read_cancelled, c);
    if (!b->call)
        return;
    io_want_read(c->io, on_readable);
    read_waits(c);
}

static void body_close(struct source *s)
{
    (void)s; /* part of its connection */
}

void body_begin(struct conn *c, const struct http_head *h)
{
    static const struct source_ops ops = {"request-body", body_peek, body_consume, body_prepare, body_read, body_close};

    c->body = (struct body){
        .source = {&ops, h->body_len},
        .is_chunked = h->body_len == HTTP_LENGTH_UNKNOWN,
        .left = h->body_len,
        .continues = h->expects_continue ? CONTINUE_WANTED : CONTINUE_NONE,
    };
    c->req.body = h->body_len ? &c->body.source : NULL;
    conn_clock_start(c, c->rx_bytes);
    conn_clock_pause(c);
}
