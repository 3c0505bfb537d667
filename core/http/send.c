#include "conn.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    HEAD_FIXED_MAX = 320, /* status line, our own headers, empty line */
    FRAME_MAX = 24,       /* CRLF, 16 digits, CRLF; or the last chunk */
};

/* ---- the head ---- */

static const char *date_text(struct http_server *s)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME_COARSE, &ts);
    if (ts.tv_sec != s->date_s) {
        s->date_s = ts.tv_sec;
        clock_http((int64_t)ts.tv_sec * NS_PER_S, s->date);
    }
    return s->date;
}

static char *put(char *at, const char *p, size_t n)
{
    memcpy(at, p, n);
    return at + n;
}

#define PUT(at, literal) put((at), literal, sizeof(literal) - 1)

static char *put_u64(char *at, uint64_t v)
{
    char digits[20];
    size_t i = sizeof(digits);

    do
        digits[--i] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    return put(at, digits + i, sizeof(digits) - i);
}

/* Values may repeat what a client once stored: no byte of theirs may end a line. */
static char *put_value(char *at, struct str s)
{
    if (str_is_plain(s))
        return s.n ? put(at, s.p, s.n) : at;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        *at++ = c == '\r' || c == '\n' || c == 0 ? ' ' : c;
    }
    return at;
}

static char *put_headers(char *at, const struct http_res *res)
{
    for (size_t i = 0; i < res->header_count; i++) {
        at = put_value(at, res->headers[i].name);
        at = PUT(at, ": ");
        at = put_value(at, res->headers[i].value);
        at = PUT(at, "\r\n");
    }
    return at;
}

/* How the response's end is told. */
enum framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };

static enum framing choose_framing(const struct http_req *req, const struct http_res *res, uint64_t *length)
{
    bool bodiless = req->method == HTTP_HEAD || res->status == 304 || res->status == 204;

    *length = res->body ? res->body->size : bodiless ? res->stated_length : 0;
    if (res->status == 204 || (res->status == 304 && *length == 0))
        return FRAMING_NONE;
    if (*length != HTTP_LENGTH_UNKNOWN)
        return FRAMING_LENGTH;
    return bodiless ? FRAMING_NONE : req->minor_version > 0 ? FRAMING_CHUNKED : FRAMING_CLOSE;
}

/* Whether the rest of the request's body may be dropped rather than the connection. */
static bool rest_is_small(const struct conn *c)
{
    if (!body_is_unread(c) || c->body.is_chunked)
        return true; /* chunked: seen while draining */
    return c->body.left <= conn_in_len(c) + (uint64_t)c->server->limits.drain_body_max;
}

static bool may_keep(const struct conn *c, const struct http_res *res, enum framing framing)
{
    /* after a final status without the 100 that was asked for, nobody knows whether the body will come; botocore gets
     * stuck */
    bool owes_continue = c->body.continues == CONTINUE_WANTED;

    return c->keep_alive && !res->close && framing != FRAMING_CLOSE && !c->server->draining && !c->peer_ended &&
           !owes_continue && c->body.failed == ERR_OK && rest_is_small(c);
}

static size_t head_size_max(const struct http_res *res)
{
    size_t n = HEAD_FIXED_MAX + FRAME_MAX;

    for (size_t i = 0; i < res->header_count; i++)
        n += res->headers[i].name.n + res->headers[i].value.n + 4;
    return n;
}

static void build_head(struct conn *c, const struct http_res *res, enum framing framing, uint64_t length)
{
    char *start = arena_alloc(&c->arena, head_size_max(res)), *at = start;
    const char *reason = http_reason(res->status);
    struct str rest = body_continue_rest(c);

    at = put(at, rest.p, rest.n);
    at = PUT(at, "HTTP/1.1 ");
    at = put_u64(at, (uint64_t)res->status);
    at = PUT(at, " ");
    at = put(at, reason, strlen(reason));
    at = PUT(at, "\r\nServer: sluice\r\nDate: ");
    at = put(at, date_text(c->server), CLOCK_HTTP_LEN);
    at = PUT(at, "\r\n");
    at = put_headers(at, res);
    if (framing == FRAMING_LENGTH) {
        at = PUT(at, "Content-Length: ");
        at = put_u64(at, length);
        at = PUT(at, "\r\n");
    } else if (framing == FRAMING_CHUNKED) {
        at = PUT(at, "Transfer-Encoding: chunked\r\n");
    }
    if (!c->keep_alive)
        at = PUT(at, "Connection: close\r\n");
    else if (c->req.minor_version == 0)
        at = PUT(at, "Connection: keep-alive\r\n");
    at = PUT(at, "\r\n");
    c->tx.text = str_n(start, (size_t)(at - start));
}

/* ---- the end ---- */

static void tx_end(struct conn *c, enum err e)
{
    struct tx *t = &c->tx;

    t->active = false;
    source_close(t->body);
    t->body = NULL;
    if (t->buf)
        server_buf_put(c->server, t->buf);
    t->buf = NULL;
    pipe_put(&c->server->pipes, &t->pipe);
    if (e != ERR_OK) {
        c->keep_alive = false;
        c->cut = true;
    }
    if (t->call)
        call_finish(t->call, e);
    conn_responded(c);
}

void tx_fail(struct conn *c, enum err why)
{
    struct tx *t = &c->tx;

    if (!t->waiting) {
        tx_end(c, why);
        return;
    }
    if (t->failed == ERR_OK) {
        t->failed = why;
        call_cancel(&t->source_call);
    }
}

static void respond_cancelled(void *arg)
{
    struct conn *c = arg;

    if (c->tx.active)
        tx_fail(c, ERR_CANCELLED);
}

/* The response's own source broke: the client learns it by the connection's end. */
static void source_failed(struct conn *c, enum err e)
{
    log_warn(str_n(c->req.id, sizeof(c->req.id)), "response body failed", "error=%s source=%s", err_name(e),
             c->tx.body->ops->name);
    tx_end(c, e);
}

/* ---- the body ---- */

static void source_done(struct call *call)
{
    struct conn *c = CONTAINER(call, struct conn, tx.source_call);
    struct tx *t = &c->tx;

    t->waiting = false;
    conn_clock_resume(c);
    if (t->failed != ERR_OK) {
        tx_end(c, t->failed);
        return;
    }
    if (call->err != ERR_OK) {
        source_failed(c, call->err);
        return;
    }
    tx_pump(c);
}

static struct call *source_begin(struct conn *c)
{
    c->tx.waiting = true;
    conn_clock_pause(c);
    call_begin(&c->tx.source_call, c->loop, source_done);
    return &c->tx.source_call;
}

static void read_done(struct call *call)
{
    struct tx *t = &CONTAINER(call, struct conn, tx.source_call)->tx;

    t->buf_at = 0;
    t->buf_n = call->err == ERR_OK ? t->read_n : 0;
    t->source_end = call->err == ERR_OK && t->read_n == 0;
    source_done(call);
}

static void read_more(struct conn *c)
{
    struct tx *t = &c->tx;
    uint64_t want = t->sized ? t->left : CONN_BUFFER;

    if (!t->buf)
        t->buf = server_buf_get(c->server);
    t->waiting = true;
    conn_clock_pause(c);
    call_begin(&t->source_call, c->loop, read_done);
    source_read(t->body, t->buf, want < CONN_BUFFER ? (size_t)want : CONN_BUFFER, &t->read_n, &t->source_call);
}

/* For TLS, and for files that can't be sent by sendfile(2): the span is warm, so reading it here doesn't wait for a
 * disk. */
static bool load_file(struct conn *c, const struct span *span)
{
    struct tx *t = &c->tx;
    size_t want = span->len < CONN_BUFFER / 2 ? (size_t)span->len : CONN_BUFFER / 2;
    ssize_t r;

    if (!t->buf)
        t->buf = server_buf_get(c->server);
    do
        r = pread(span->fd, t->buf, want, (off_t)span->offset);
    while (r < 0 && errno == EINTR);
    if (r <= 0) {
        source_failed(c, r < 0 ? err_from_errno(errno) : ERR_CORRUPT);
        return false;
    }
    source_consume(t->body, (uint64_t)r);
    t->buf_at = 0;
    t->buf_n = (size_t)r;
    return true;
}

/* What can be sent next of the body. */
static void look(const struct tx *t, struct span *out)
{
    if (t->buf_at < t->buf_n)
        *out = (struct span){.kind = SPAN_MEMORY, .p = t->buf + t->buf_at, .len = t->buf_n - t->buf_at};
    else if (t->source_end)
        *out = (struct span){.kind = SPAN_END};
    else
        source_peek(t->body, out);
    if ((t->sized || t->left) && out->len > t->left)
        out->len = t->left;
}

static void frame(struct conn *c, uint64_t len)
{
    struct tx *t = &c->tx;
    /* the first chunk's size goes behind the head, in the room that was kept for it */
    char *at = t->text.n ? (char *)t->text.p + t->text.n : t->frame;
    size_t room = FRAME_MAX;
    int n = snprintf(at, room, "%s%llx\r\n%s", t->framed ? "\r\n" : "", (unsigned long long)len, len ? "" : "\r\n");

    assert(n > 0 && (size_t)n < room);
    if (!t->text.n)
        t->text.p = at;
    t->text.n += (size_t)n;
    t->framed = true;
    t->left = len;
}

/* The peer must read first. */
static bool wait_for_peer(struct conn *c)
{
    uint64_t unacked = stream_unacked(&c->stream), acked = c->tx_bytes > unacked ? c->tx_bytes - unacked : 0;

    if (!c->tx.blocked)
        conn_clock_start(c, acked);
    c->tx.blocked = true;
    conn_wait(c, c->server->limits.send_timeout_ms, acked);
    io_want_write(c->io, conn_on_writable);
    return false;
}

/* True: go on. */
static bool written(struct conn *c, enum tls_want w)
{
    if (w == TLS_OK)
        return true;
    if (w == TLS_WANT_WRITE)
        return wait_for_peer(c);
    conn_broke(c, ERR_CLIENT_GONE);
    return false;
}

static void sent(struct conn *c, size_t n)
{
    c->tx_bytes += n;
    conn_turn_take(c, n);
}

static void body_sent(struct conn *c, size_t n)
{
    struct tx *t = &c->tx;

    if (t->sized || t->chunked)
        t->left -= n;
    if (t->buf_at < t->buf_n)
        t->buf_at += n;
    else
        source_consume(t->body, n);
}

static bool write_step(struct conn *c, const struct span *span, bool more)
{
    struct tx *t = &c->tx;
    struct iovec v[2] = {{(char *)t->text.p, t->text.n}, {NULL, 0}};
    size_t n = 0;

    if (span && span->kind == SPAN_MEMORY)
        v[1] = (struct iovec){(char *)span->p, span->len < CONN_TURN_MAX ? (size_t)span->len : CONN_TURN_MAX};
    if (!written(c, stream_write(&c->stream, v, more, &n)))
        return false;
    sent(c, n);
    size_t of_text = n < t->text.n ? n : t->text.n;
    t->text = str_skip(t->text, of_text);
    if (n > of_text)
        body_sent(c, n - of_text);
    return true;
}

static bool file_step(struct conn *c, const struct span *span)
{
    size_t n = 0, want = span->len < CONN_FILE_STEP ? (size_t)span->len : CONN_FILE_STEP;
    int file_error;

    if (c->tx.text.n)
        return write_step(c, NULL, true);
    if (c->stream.tls)
        return load_file(c, span);
    enum tls_want w = stream_sendfile(&c->stream, span->fd, span->offset, want, &n, &file_error);
    if (file_error == EINVAL)
        return load_file(c, span);
    if (file_error || (w == TLS_OK && n == 0)) {
        source_failed(c, file_error ? err_from_errno(file_error) : ERR_CORRUPT);
        return false;
    }
    if (!written(c, w))
        return false;
    sent(c, n);
    body_sent(c, n);
    return true;
}

static bool can_splice(struct conn *c)
{
    struct tx *t = &c->tx;

    if (c->stream.tls || !t->sized || t->no_splice)
        return false;
    if (!t->pipe.open && !pipe_get(&c->server->pipes, &t->pipe))
        t->no_splice = true;
    return t->pipe.open;
}

/* From the source's socket into the pipe. */
static bool splice_in(struct conn *c, const struct span *span)
{
    struct tx *t = &c->tx;
    size_t n = 0;
    enum tls_want w = pipe_fill(&t->pipe, span->fd, span->len < PIPE_SIZE ? (size_t)span->len : PIPE_SIZE, &n);

    if (w == TLS_OK) {
        source_consume(t->body, n);
        return true;
    }
    if (t->text.n)
        return write_step(c, NULL, false); /* what is ready goes out before a wait */
    if (w == TLS_WANT_READ) {
        source_prepare(t->body, source_begin(c));
        return false;
    }
    t->no_splice = true; /* reading tells what is wrong */
    return true;
}

/* From the pipe to the peer: before anything else of the body. */
static bool splice_out(struct conn *c)
{
    struct tx *t = &c->tx;
    size_t n = 0;

    if (t->text.n)
        return write_step(c, NULL, true);
    if (!written(c, pipe_drain(&t->pipe, c->stream.fd, &n)))
        return false;
    sent(c, n);
    metric_add(&http_m_spliced, (int64_t)n);
    t->left -= n;
    return true;
}

/* The source has no more. */
static bool end_step(struct conn *c)
{
    struct tx *t = &c->tx;

    if (t->left) {
        source_failed(c, ERR_INCOMPLETE_BODY);
        return false;
    }
    if (t->chunked)
        frame(c, 0);
    t->ended = true;
    return true;
}

static bool tx_step(struct conn *c)
{
    struct tx *t = &c->tx;
    struct span span;

    if (t->ended || (t->sized && t->left == 0)) {
        if (t->text.n)
            return write_step(c, NULL, false);
        tx_end(c, ERR_OK);
        return false;
    }
    if (t->pipe.held)
        return splice_out(c);
    look(t, &span);
    if (span.kind == SPAN_END)
        return end_step(c);
    if (span.kind == SPAN_SOCKET && can_splice(c))
        return splice_in(c, &span);
    if (span.kind == SPAN_MEMORY || span.kind == SPAN_FILE) {
        if (t->chunked && t->left == 0)
            frame(c, span.len);
        return span.kind == SPAN_FILE ? file_step(c, &span) : write_step(c, &span, false);
    }
    if (t->text.n)
        return write_step(c, NULL, true); /* what is ready goes out before a wait */
    if (span.kind == SPAN_WAIT)
        source_prepare(t->body, source_begin(c));
    else
        read_more(c);
    return false;
}

void tx_pump(struct conn *c)
{
    while (c->tx.active && !c->tx.waiting) {
        if (!conn_turn_left(c)) {
            (void)wait_for_peer(c); /* the turn's last write may have filled the socket */
            return;
        }
        if (!tx_step(c))
            return;
    }
}

/* ---- the beginning ---- */

static void tx_begin(struct conn *c, const struct http_res *res, struct call *call)
{
    uint64_t length;
    enum framing framing = choose_framing(&c->req, res, &length);
    struct tx *t = &c->tx;

    c->keep_alive = may_keep(c, res, framing);
    *t = (struct tx){
        .active = true,
        .call = call,
        .body = res->body,
        .sized = framing == FRAMING_LENGTH,
        .chunked = framing == FRAMING_CHUNKED,
        .left = framing == FRAMING_LENGTH ? length : 0,
    };
    if (framing == FRAMING_NONE || !res->body || c->req.method == HTTP_HEAD || res->status == 304) {
        t->ended = true;
        t->left = 0;
    }
    build_head(c, res, framing, length);
}

void http_respond(struct http_req *req, const struct http_res *res, struct call *call)
{
    struct conn *c = CONTAINER(req, struct conn, req);

    assert(!c->responded && c->phase == CONN_BUSY);
    c->responded = true;
    if (c->body.call)
        body_fail(c, ERR_CANCELLED); /* nobody is to read any more */
    tx_begin(c, res, call);
    call_on_cancel(call, respond_cancelled, c);
    if (c->tx.active && c->broken)
        tx_end(c, ERR_CLIENT_GONE);
    tx_pump(c);
}

void tx_refuse(struct conn *c, enum err why)
{
    struct str id = str_n(c->req.id, sizeof(c->req.id));
    struct str body = arena_printf(&c->arena,
                                   "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>%s"
                                   "</Message><RequestId>" STR_FMT "</RequestId></Error>",
                                   err_code(why), err_text(why), STR_ARG(id));
    struct http_header headers[] = {{STR("Content-Type"), STR("application/xml")}, {STR("x-amz-request-id"), id}};
    struct http_res res = {
        .status = err_status(why),
        .headers = headers,
        .header_count = 2,
        .body = source_memory(body, NULL, NULL),
        .close = true,
    };

    log_info(id, "request refused", "error=%s peer=%s", err_name(why), c->req.peer);
    c->responded = true;
    c->req.minor_version = 1;
    tx_begin(c, &res, NULL);
    tx_pump(c);
}
