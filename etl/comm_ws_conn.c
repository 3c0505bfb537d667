#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "comm_ws_own.h"
#include "store/object.h"

enum { FILLS_PER_TURN = 16 /* of WS_IN_MAX, when they hold nothing but control frames and empty fragments */ };

/* ---- a connection's end ---- */

static void gone(struct ws_conn *c, enum err e, const char *why)
{
    c->state = WS_GONE;
    c->err = e;
    snprintf(c->why, sizeof(c->why), "%s", why);
    if (c->io)
        io_stop_read(c->io);
}

static void link_front(struct ws_conn *c)
{
    c->next = c->site->conns;
    c->prev = NULL;
    if (c->next)
        c->next->prev = c;
    c->site->conns = c;
}

static void unlink_conn(struct ws_conn *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else
        c->site->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
}

static void conn_free(struct ws_conn *c)
{
    struct ws_site *s = c->site;

    timer_cancel(s->ws->loop, &c->idle);
    if (c->io)
        io_close(c->io);
    free(c->in);
    unlink_conn(c);
    s->conn_count--;
    free(c);
    ws_site_changed(s);
}

/* ---- what goes ---- */

/* False: not now. */
static bool write_some(struct ws_conn *c, const char *p, size_t len, size_t *n)
{
    ssize_t w;

    do
        w = send(io_fd(c->io), p, len, MSG_NOSIGNAL);
    while (w < 0 && errno == EINTR);
    *n = w > 0 ? (size_t)w : 0;
    if (w < 0 && errno != EAGAIN) {
        c->mute = true; /* why is to be read: a Close frame, or the end */
        c->out_n = c->small_n = 0;
        c->ping = false;
    }
    return w > 0;
}

static void put_control(struct ws_conn *c, enum ws_opcode op, const void *text, size_t n)
{
    uint8_t mask[4];

    random_bytes(mask, sizeof(mask));
    size_t head = ws_head(c->small, op, true, n, mask);
    if (n)
        memcpy(c->small + head, text, n);
    ws_mask(c->small + head, n, mask);
    c->small_at = 0;
    c->small_n = head + n;
}

/* One step; false: all is sent, or it must wait. */
static bool flush_step(struct ws_conn *c)
{
    size_t n;

    if (c->small_n && !c->out_begun) {
        bool more = write_some(c, c->small + c->small_at, c->small_n, &n);
        c->small_at += n;
        c->small_n -= c->mute ? 0 : n;
        return more;
    }
    if (c->ping && !c->out_begun) {
        c->ping = false;
        put_control(c, WS_PONG, c->ping_text, c->ping_n);
        return true;
    }
    if (!c->out_n)
        return false;
    bool more = write_some(c, c->out, c->out_n, &n);
    c->out += n;
    c->out_n -= c->mute ? 0 : n;
    c->out_begun = c->out_n && (c->out_begun || n);
    return more;
}

static void on_writable(struct io *io, void *owner);

static void flush(struct ws_conn *c)
{
    while (!c->mute && flush_step(c))
        ;
    if (!c->mute && (c->small_n || c->ping || c->out_n))
        io_want_write(c->io, on_writable);
}

static void on_writable(struct io *io, void *owner)
{
    struct ws_conn *c = owner;
    bool was_sending = ws_conn_is_sending(c);

    (void)io;
    if (c->state == WS_GONE)
        return;
    flush(c);
    if (was_sending && !ws_conn_is_sending(c) && c->run)
        ws_run_settle(c->run);
}

void ws_conn_send(struct ws_conn *c, const char *p, size_t n)
{
    if (c->mute || c->state != WS_OPEN)
        return;
    c->out = p;
    c->out_n = n;
    c->out_begun = false;
    flush(c);
}

/* Says so before it is closed, as far as that goes without waiting. */
static void say_close(struct ws_conn *c, uint16_t code)
{
    uint8_t text[2] = {(uint8_t)(code >> 8), (uint8_t)code};

    if (c->state != WS_OPEN || c->mute || c->out_begun || c->small_n)
        return;
    c->out_n = 0;
    c->ping = false;
    put_control(c, WS_CLOSE, text, sizeof(text));
    flush(c);
}

/* ---- what comes ---- */

/* False: nothing now, or it is gone. */
static bool fill(struct ws_conn *c)
{
    ssize_t n;

    if (!c->in)
        c->in = mem_alloc(WS_IN_MAX);
    if (c->in_at == c->in_n)
        c->in_at = c->in_n = 0;
    do
        n = recv(io_fd(c->io), c->in + c->in_n, WS_IN_MAX - c->in_n, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        c->in_n += (size_t)n;
    else if (n == 0)
        gone(c, ERR_UNAVAILABLE, "the sidecar closed the connection");
    else if (errno != EAGAIN)
        gone(c, ERR_UNAVAILABLE, "the connection broke");
    return n > 0;
}

static void on_close_frame(struct ws_conn *c)
{
    const struct ws_parser *p = &c->parser;
    unsigned code = p->code;
    bool again = code == WS_CODE_GOING_AWAY || code == WS_CODE_RESTART || code == WS_CODE_TRY_LATER;
    struct str text = p->control_n > 2          ? str_n(p->control + 2, p->control_n - 2u)
                      : code == WS_CODE_TOO_BIG ? STR("a message was larger than it takes")
                                                : STR("it says no more");
    char why[WS_WHY_MAX];

    say_close(c, code == WS_CODE_NONE ? WS_CODE_NORMAL : p->code);
    snprintf(why, sizeof(why), "the sidecar closed the WebSocket with code %u: " STR_FMT, code, STR_ARG(text));
    gone(c, again ? ERR_UNAVAILABLE : ERR_ETL, why);
}

static void on_control(struct ws_conn *c)
{
    const struct ws_parser *p = &c->parser;

    if (p->control_op == WS_CLOSE) {
        on_close_frame(c);
    } else if (p->control_op == WS_PING && !c->mute) {
        c->ping = true;
        c->ping_n = p->control_n;
        memcpy(c->ping_text, p->control, p->control_n);
        flush(c);
    }
}

void ws_conn_blame(struct ws_conn *c, const char *why)
{
    char text[WS_WHY_MAX];

    say_close(c, WS_CODE_PROTOCOL);
    snprintf(text, sizeof(text), "the sidecar broke the WebSocket protocol: %s", why);
    gone(c, ERR_ETL, text);
}

enum ws_event ws_conn_next(struct ws_conn *c, bool read)
{
    unsigned fills = 0;

    while (c->state == WS_OPEN) {
        size_t used;
        enum ws_event event = ws_parse(&c->parser, c->in + c->in_at, c->in_n - c->in_at, &used);
        c->in_at += used;
        switch (event) {
        case WS_BEGIN:
        case WS_DATA:
        case WS_END:
            return event;
        case WS_CONTROL:
            on_control(c);
            break;
        case WS_BAD:
            ws_conn_blame(c, c->parser.why);
            break;
        case WS_MORE:
            if (!read || fills++ >= FILLS_PER_TURN || !fill(c))
                return WS_MORE;
            break;
        }
    }
    return WS_MORE;
}

bool ws_conn_idle(struct ws_conn *c)
{
    if (c->state == WS_OPEN && ws_conn_next(c, true) != WS_MORE)
        ws_conn_blame(c, "an answer to nothing");
    if (c->in_at == c->in_n) {
        free(c->in);
        c->in = NULL;
        c->in_at = c->in_n = 0;
    }
    return c->state == WS_OPEN;
}

static void shake(struct ws_conn *c);

static void on_readable(struct io *io, void *owner)
{
    struct ws_conn *c = owner;

    (void)io;
    if (c->state == WS_SHAKING)
        shake(c);
    else if (c->run)
        ws_run_settle(c->run);
    else if (!ws_conn_idle(c))
        conn_free(c);
}

void ws_conn_listen(struct ws_conn *c, bool on)
{
    if (on)
        io_want_read(c->io, on_readable);
    else
        io_stop_read(c->io);
}

/* ---- the handshake ---- */

static enum err take_answer(struct ws_conn *c, struct arena *arena, size_t n)
{
    struct http_response_head head;
    enum err e = head_parse_response(arena, c->in + c->scan.start, n - c->scan.start, c->scan.lines, false, &head);
    const char *fault = "it is no HTTP response";
    char why[WS_WHY_MAX];

    if (e == ERR_OK && head.status != 101) {
        snprintf(why, sizeof(why), "the sidecar answered \"GET /ws\" with status %d: it has no WebSocket there",
                 head.status);
        gone(c, head.status == 503 ? ERR_UNAVAILABLE : ERR_ETL, why);
        return ERR_ETL;
    }
    if (e == ERR_OK)
        fault = ws_handshake_fault(&head, c->key);
    if (fault) {
        snprintf(why, sizeof(why), "the sidecar's answer to \"GET /ws\" opens no WebSocket: %s", fault);
        gone(c, ERR_ETL, why);
        return ERR_ETL;
    }
    for (size_t i = 0; i < head.header_count; i++)
        if (str_eq(head.headers[i].name, STR("sluice-etl-frames")))
            c->frames = str_eq(head.headers[i].value, STR("1"));
    return ERR_OK;
}

/* More of the answer has come. What follows its head are frames. */
static void shake(struct ws_conn *c)
{
    struct arena arena = ARENA_INIT;

    while (c->state == WS_SHAKING && fill(c)) {
        ssize_t n = head_scan(&c->scan, c->in, c->in_n);
        if (n < 0 || (n == 0 && c->in_n == WS_IN_MAX)) {
            gone(c, ERR_ETL, "the sidecar's answer to \"GET /ws\" opens no WebSocket: it is no HTTP response");
        } else if (n > 0 && take_answer(c, &arena, (size_t)n) == ERR_OK) {
            c->in_at = (size_t)n;
            c->state = WS_OPEN;
        }
    }
    arena_release(&arena);
    if (c->state != WS_SHAKING)
        ws_run_settle(c->run);
}

static void shake_begin(struct ws_conn *c)
{
    ws_key(c->key);
    c->small_n =
        (size_t)snprintf(c->small, sizeof(c->small),
                         "GET /ws HTTP/1.1\r\nHost: %.*s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Key: %.*s\r\nSec-WebSocket-Version: 13\r\nSluice-Etl-Frames: 1\r\n\r\n",
                         (int)c->site->id_n, c->site->id, WS_KEY_LEN, c->key);
    c->state = WS_SHAKING;
    flush(c);
    ws_conn_listen(c, true);
}

/* ---- dialling ---- */

static enum err dial_task(struct offload_task *task)
{
    struct ws_conn *c = CONTAINER(task, struct ws_conn, task);
    struct etl_wire *w = c->wire;
    enum err e = etl_wire_dial(w, str_n(c->site->id, c->site->id_n), &c->fd);

    etl_wire_let(w);
    return e;
}

static void on_dialled(struct call *call)
{
    static const int on = 1;
    struct ws_conn *c = CONTAINER(call, struct ws_conn, dialled);

    if (call->err == ERR_OK && c->run) {
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        c->io = io_open(c->site->ws->loop, c->fd, c);
        shake_begin(c);
        return;
    }
    if (call->err == ERR_OK)
        close(c->fd);
    if (!c->run) {
        conn_free(c);
        return;
    }
    gone(c, call->err, "the sidecar can't be reached");
    ws_run_settle(c->run);
}

struct ws_conn *ws_conn_new(struct ws_site *s, struct ws_run *run)
{
    struct ws_conn *c = NEW(struct ws_conn);

    c->site = s;
    c->run = run;
    c->parser.message_max = OBJECT_SIZE_MAX;
    c->wire = s->ws->wire;
    s->conn_count++;
    link_front(c);
    etl_wire_hold(c->wire);
    call_begin(&c->dialled, s->ws->loop, on_dialled);
    offload_run(s->ws->pool, &c->task, dial_task, &c->dialled);
    if (c->dialled.state == CALL_FINISHED) /* refused: from the task's own thread it can't have come yet */
        etl_wire_let(c->wire);
    return c;
}

/* ---- when a run is done with it ---- */

void ws_conn_close(struct ws_conn *c)
{
    say_close(c, WS_CODE_NORMAL);
    conn_free(c);
}

static void on_idle(struct timer *t)
{
    ws_conn_close(CONTAINER(t, struct ws_conn, idle));
}

static void park(struct ws_conn *c)
{
    c->run = NULL;
    c->used = true;
    if (!ws_conn_idle(c)) {
        conn_free(c);
        return;
    }
    unlink_conn(c);
    link_front(c);
    c->idle.fn = on_idle;
    timer_set(c->site->ws->loop, &c->idle, WS_IDLE_MS);
    ws_conn_listen(c, true);
    ws_site_changed(c->site);
}

void ws_conn_release(struct ws_conn *c, bool clean)
{
    if (c->state == WS_DIALLING) {
        c->run = NULL; /* on_dialled() frees it */
    } else if (clean && c->state == WS_OPEN && !c->mute && !c->last && !ws_conn_is_sending(c)) {
        park(c);
    } else {
        say_close(c, clean ? WS_CODE_NORMAL : WS_CODE_GOING_AWAY);
        conn_free(c);
    }
}
