/* Objects on WebSocket connections. What is said, per object, one object at a time on a connection (AIStore's ETL, mechanism "ws"):
 *
 *     we       BINARY  {"pipeline":..., "etl_args":..., "fqn":..., "path":...}, empty ones left out; a '%' in fqn is written "%25"
 *              BINARY  the object, in fragments of FRAGMENT_MAX as it comes; not when there is an fqn
 *     sidecar  BINARY  the result; or
 *              TEXT    a decimal number, or "direct put success": it was stored where the pipeline said; or
 *              TEXT    anything else: an error. (AIStore takes every TEXT for success, and so loses these.)
 *
 * AIStore's FastAPI server says "0" when it could not put the result there, as well as when that was empty: who named the place must look whether
 * something came. That tells no status and no size. We offer more with the request header "Sluice-Etl-Frames: 1"; a sidecar whose handshake response has the same
 * header answers each object with
 *
 *     TEXT {"status":200,"size":N} and then BINARY, the result; "size" may be left out, else the result is checked against it; or
 *     TEXT {"status":204,"stored":N}: it was stored where the pipeline said, N bytes; or
 *     TEXT {"status":S,"error":"..."} with S from 400 to 599
 *
 * In both, the answer may begin, and end, before the object was read to its end; when it ends there, the connection can't be used again.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "comm_ws_own.h"

enum { FRAGMENT_MAX = 256 << 10 };

enum ws_out { OUT_CONTROL, OUT_OBJECT, OUT_DONE };
enum ws_in {
    IN_REPLY,  /* nothing yet */
    IN_TEXT,   /* within a TEXT message */
    IN_TOLD,   /* a result is announced */
    IN_RESULT, /* within it */
    IN_DONE,
};

/* One object. */
struct ws_run {
    struct ws_site *site;
    struct ws_run *next; /* of those that wait */
    bool waiting;
    struct ws_conn *conn; /* NULL: waits, or needs none any more */
    bool retried;

    /* to the sidecar */
    enum ws_out out;
    struct buf control;
    char *frame; /* room for a head, then what is sent */
    size_t frame_cap, frame_n;
    bool begun;          /* the object's first fragment is sent */
    bool fqn;            /* the object is not sent */
    struct source *body; /* NULL: empty */
    uint64_t size, sent;
    struct call pull;
    size_t pulled;
    bool pulling, body_taken;

    /* from the sidecar */
    enum ws_in in;
    struct buf text;  /* of a TEXT message, or what to say about a failure */
    struct str slice; /* of the result, not yet taken; in the connection's memory */
    uint64_t result_size, result_got;
    bool delivered;
    uint64_t delivered_size;
    int status; /* of an error */

    /* who wants the result */
    enum err failed;
    struct call *call; /* of etl_ws_run() */
    struct etl_comm_res *res;
    struct arena *arena;
    struct source source;
    struct call *read; /* of the source; buf NULL: only whether there is something */
    char *buf;
    size_t len, *n;
    bool gone; /* nobody */
};

struct ws_run **ws_run_next(struct ws_run *r)
{
    return &r->next;
}

/* ---- failures ---- */

static void fail(struct ws_run *r, enum err e)
{
    if (r->failed == ERR_OK)
        r->failed = e;
}

/* The sidecar's, in words. */
static void fail_etl(struct ws_run *r, int status, struct str text)
{
    fail(r, ERR_ETL);
    r->status = status;
    buf_reset(&r->text);
    buf_add_str(&r->text, text);
}

static void blame(struct ws_run *r, const char *why)
{
    ws_conn_blame(r->conn, why);
}

/* Its connection is gone. One that was idle may just have been closed from the other side: then there is another try. */
static void lost(struct ws_run *r)
{
    struct ws_conn *c = r->conn;

    if (c->used && r->in == IN_REPLY && !r->body_taken && !r->retried) {
        r->retried = true;
        r->out = OUT_CONTROL;
        r->conn = ws_conn_new(r->site, r);
        ws_conn_release(c, false);
        return;
    }
    log_info(r->arena->id, "etl websocket lost", "etl=" STR_FMT " why=%s", (int)r->site->id_n, r->site->id,
             log_quote(str_z(c->why)));
    if (c->err == ERR_ETL)
        fail_etl(r, 500, str_z(c->why));
    else
        fail(r, c->err);
}

/* ---- the object, to the sidecar ---- */

static void send_frame(struct ws_run *r, enum ws_opcode op, bool fin)
{
    char head[WS_HEAD_MAX], *p = r->frame + WS_HEAD_MAX;
    uint8_t mask[4];
    size_t n = r->frame_n;

    random_bytes(mask, sizeof(mask));
    ws_mask(p, n, mask);
    size_t head_n = ws_head(head, op, fin, n, mask);
    p -= head_n;
    memcpy(p, head, head_n);
    r->frame_n = 0;
    ws_conn_send(r->conn, p, head_n + n);
}

static void room_for(struct ws_run *r, size_t n)
{
    if (r->frame_cap >= n)
        return;
    free(r->frame);
    r->frame = mem_alloc(WS_HEAD_MAX + n);
    r->frame_cap = n;
}

static void send_control(struct ws_run *r)
{
    room_for(r, r->control.n);
    memcpy(r->frame + WS_HEAD_MAX, r->control.p, r->control.n);
    r->frame_n = r->control.n;
    send_frame(r, WS_BINARY, true);
    r->out = r->fqn ? OUT_DONE : OUT_OBJECT;
}

static void send_fragment(struct ws_run *r, bool fin)
{
    enum ws_opcode op = r->begun ? WS_CONTINUED : WS_BINARY;

    r->begun = true;
    r->sent += r->frame_n;
    if (fin && r->size != SOURCE_SIZE_UNKNOWN && r->sent != r->size) {
        fail(r, ERR_INCOMPLETE_BODY);
        return;
    }
    if (fin)
        r->out = OUT_DONE;
    send_frame(r, op, fin);
}

static void on_pulled(struct call *call)
{
    struct ws_run *r = CONTAINER(call, struct ws_run, pull);

    bool wanted = r->in != IN_DONE && r->conn && !r->conn->mute; /* else it was cancelled, and that is no failure */

    r->pulling = false;
    if (wanted && call->err != ERR_OK)
        fail(r, call->err);
    if (wanted && r->failed == ERR_OK) {
        r->frame_n += r->pulled;
        if (r->pulled == 0 || r->frame_n == r->frame_cap)
            send_fragment(r, r->pulled == 0);
    }
    ws_run_settle(r);
}

/* A small object is one frame, and its end is known before that is sent. */
static void pull(struct ws_run *r)
{
    if (r->frame_n == 0)
        room_for(r, r->size < FRAGMENT_MAX ? (size_t)r->size + 1 : FRAGMENT_MAX);
    r->pulling = true;
    r->body_taken = true;
    if (r->call)
        r->res->body_taken = true;
    call_begin(&r->pull, r->site->ws->loop, on_pulled);
    source_read(r->body, r->frame + WS_HEAD_MAX + r->frame_n, r->frame_cap - r->frame_n, &r->pulled, &r->pull);
}

static void pump(struct ws_run *r)
{
    struct ws_conn *c = r->conn;

    if (!c || c->state != WS_OPEN || c->mute || r->pulling)
        return;
    if (r->out == OUT_CONTROL && !ws_conn_is_sending(c))
        send_control(r);
    if (r->out != OUT_OBJECT || ws_conn_is_sending(c) || c->mute)
        return;
    if (r->body) {
        pull(r);
        return;
    }
    room_for(r, 1);
    send_fragment(r, true);
}

/* ---- the answer ---- */

static void begin_result(struct ws_run *r, uint64_t size)
{
    if (r->in == IN_REPLY)
        r->result_size = size;
    else if (r->result_size == SOURCE_SIZE_UNKNOWN)
        r->result_size = size;
    else if (size != WS_SIZE_UNKNOWN && size != r->result_size)
        blame(r, "a result of another size than it announced");
    r->in = IN_RESULT;
}

static void begin_message(struct ws_run *r)
{
    const struct ws_parser *p = &r->conn->parser;

    if (p->op == WS_TEXT && r->in == IN_REPLY)
        r->in = IN_TEXT;
    else if (p->op == WS_BINARY && (r->in == IN_TOLD || !r->conn->frames))
        begin_result(r, p->size);
    else
        blame(r, p->op == WS_TEXT ? "a TEXT message in place of a result" : "a result that was not announced");
}

static void delivered(struct ws_run *r, uint64_t size)
{
    r->delivered = true;
    r->delivered_size = size;
    r->in = IN_DONE;
}

static void plain_reply(struct ws_run *r)
{
    struct str text = str_trim(buf_str(&r->text));
    uint64_t size = 0;

    if (str_eq(text, STR("direct put success")) || str_to_u64(text, INT64_MAX, &size)) {
        delivered(r, size);
        return;
    }
    r->in = IN_DONE;
    fail(r, ERR_ETL);
    r->status = 500;
    if (!text.n)
        fail_etl(r, 500, STR("the sidecar answered with an empty TEXT message"));
}

static void control_reply(struct ws_run *r)
{
    struct arena arena = ARENA_INIT;
    struct ws_told told;
    const char *fault = ws_control_read(&arena, buf_str(&r->text), &told);

    if (fault) {
        blame(r, fault);
    } else if (told.status == 200) {
        r->result_size = told.size;
        r->in = IN_TOLD;
    } else if (told.status == 204) {
        delivered(r, told.stored);
    } else {
        r->in = IN_DONE;
        fail_etl(r, told.status, told.error);
    }
    arena_release(&arena);
}

static void end_message(struct ws_run *r)
{
    if (r->in == IN_RESULT) {
        if (r->result_size != SOURCE_SIZE_UNKNOWN && r->result_got != r->result_size)
            blame(r, "a result of another size than it announced");
        else
            r->in = IN_DONE;
    } else if (!str_is_utf8(buf_str(&r->text))) {
        blame(r, "a TEXT message that is not UTF-8");
    } else if (r->conn->frames) {
        control_reply(r);
    } else {
        plain_reply(r);
    }
}

static void take_data(struct ws_run *r)
{
    struct str data = r->conn->parser.data;

    if (r->in == IN_RESULT) {
        r->slice = data;
        r->result_got += data.n;
        return;
    }
    size_t room = ETL_TEXT_MAX - r->text.n;
    buf_add(&r->text, data.p, data.n < room ? data.n : room);
    if (data.n <= room)
        return;
    fail(r, ERR_ETL); /* the rest is not waited for */
    r->status = 500;
}

/* Until there is something for who wants the result, or no more has come. `read`: from the socket too. */
static void take(struct ws_run *r, bool read)
{
    enum ws_event event = WS_BEGIN;

    while (r->conn && r->conn->state == WS_OPEN && event != WS_MORE && !r->slice.n && r->in != IN_DONE &&
           r->failed == ERR_OK) {
        event = ws_conn_next(r->conn, read);
        if (event == WS_BEGIN)
            begin_message(r);
        else if (event == WS_DATA)
            take_data(r);
        else if (event == WS_END)
            end_message(r);
    }
    if (r->conn && r->conn->state == WS_GONE && r->failed == ERR_OK)
        lost(r);
    if (r->conn && r->conn->state == WS_OPEN)
        ws_conn_listen(r->conn, !r->slice.n);
}

/* The connection, when nothing of it is needed any more. */
static void leave(struct ws_run *r)
{
    struct ws_conn *c = r->conn;

    if (!c || (r->failed == ERR_OK && r->in != IN_DONE && !r->gone))
        return;
    r->conn = NULL;
    r->slice = STR_NONE;
    ws_conn_release(c, r->in == IN_DONE && r->out == OUT_DONE);
}

/* ---- the result ---- */

static void cancelled(void *arg)
{
    struct ws_run *r = arg;

    fail(r, ERR_CANCELLED);
    ws_run_settle(r);
}

static void result_peek(struct source *s, struct span *out)
{
    struct ws_run *r = CONTAINER(s, struct ws_run, source);

    *out = (struct span){.kind = r->failed != ERR_OK ? SPAN_READ
                                 : r->slice.n        ? SPAN_MEMORY
                                 : r->in == IN_DONE  ? SPAN_END
                                                     : SPAN_WAIT,
                         .p = r->slice.p,
                         .len = r->slice.n};
}

static void drop_front(struct ws_run *r, size_t n)
{
    r->slice = str_skip(r->slice, n);
    if (r->slice.n)
        return;
    take(r, false); /* that it was the last is to be known */
    leave(r);
}

static void result_consume(struct source *s, uint64_t n)
{
    drop_front(CONTAINER(s, struct ws_run, source), (size_t)n);
}

static void result_wait(struct ws_run *r, struct call *call)
{
    r->read = call;
    call_on_cancel(call, cancelled, r);
    if (r->read && !call->cancelled)
        ws_run_settle(r);
}

static void result_prepare(struct source *s, struct call *call)
{
    struct ws_run *r = CONTAINER(s, struct ws_run, source);

    r->buf = NULL;
    result_wait(r, call);
}

static void result_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct ws_run *r = CONTAINER(s, struct ws_run, source);

    *n = 0;
    r->buf = buf;
    r->len = len;
    r->n = n;
    result_wait(r, call);
}

static void result_close(struct source *s)
{
    struct ws_run *r = CONTAINER(s, struct ws_run, source);

    assert(!r->pulling && !r->read);
    r->gone = true;
    ws_run_settle(r);
}

/* To who reads. */
static void give(struct ws_run *r)
{
    struct call *call = r->read;
    enum err e = r->failed;

    if (e == ERR_OK && !r->slice.n && r->in != IN_DONE)
        return;
    r->read = NULL;
    if (e == ERR_OK && r->buf && r->slice.n) {
        size_t n = r->slice.n < r->len ? r->slice.n : r->len;
        memcpy(r->buf, r->slice.p, n);
        *r->n = n;
        drop_front(r, n);
    }
    call_finish(call, e);
}

/* To who waits for the answer, when there is one: then nobody wants the rest, unless it is a result. */
static void answer(struct ws_run *r)
{
    static const struct source_ops ops = {"etl-ws",       result_peek, result_consume,
                                          result_prepare, result_read, result_close};
    struct call *call = r->call;

    if (r->failed == ERR_OK && (r->in == IN_REPLY || r->in == IN_TEXT))
        return;
    r->call = NULL;
    r->gone = r->failed != ERR_OK || r->delivered;
    if (r->failed == ERR_ETL) {
        r->res->status = r->status;
        r->res->text = arena_str(r->arena, buf_str(&r->text));
    } else if (r->failed == ERR_OK && r->delivered) {
        r->res->delivered = true;
        r->res->delivered_size = r->delivered_size;
    } else if (r->failed == ERR_OK) {
        r->source = (struct source){&ops, r->result_size};
        r->res->body = &r->source;
    }
    call_finish(call, r->failed);
}

/* ---- what next ---- */

static void run_free(struct ws_run *r)
{
    struct ws_site *site = r->site;

    if (r->waiting)
        ws_site_leave(site, r);
    free(r->frame);
    buf_release(&r->control);
    buf_release(&r->text);
    free(r);
}

void ws_run_settle(struct ws_run *r)
{
    take(r, true);
    leave(r);
    if (r->pulling) {
        if (r->failed != ERR_OK || r->in == IN_DONE || !r->conn || r->conn->mute)
            call_cancel(&r->pull);
        return; /* whoever waits closes the object's source next: it must be left alone before */
    }
    if (r->read)
        give(r);
    if (r->call)
        answer(r);
    if (r->gone) {
        leave(r);
        run_free(r);
        return;
    }
    if (r->call || r->read) /* only then the object's source may be touched */
        pump(r);
}

void ws_run_begin(struct ws_run *r, struct ws_conn *c)
{
    r->waiting = false;
    r->conn = c;
    ws_run_settle(r);
}

/* ---- the public side ---- */

static uint64_t known_size(const struct etl_comm_req *req)
{
    if (!req->body)
        return 0;
    return req->size != SOURCE_SIZE_UNKNOWN ? req->size : req->body->size;
}

void etl_ws_run(struct etl_wire *w, const struct etl_comm_req *req, struct etl_comm_res *res, struct call *call)
{
    struct ws_run *r = NEW(struct ws_run);

    buf_init(&r->control, WS_CONTROL_MESSAGE_MAX);
    buf_init(&r->text, ETL_TEXT_MAX);
    r->fqn = req->fqn.n > 0;
    r->body = req->body;
    r->size = known_size(req);
    r->result_size = SOURCE_SIZE_UNKNOWN;
    r->call = call;
    r->res = res;
    r->arena = req->arena;
    enum err e = ws_control_write(&r->control, req, res);
    if (e == ERR_OK) {
        r->site = ws_site_get(w, req->id, true);
        r->waiting = ws_site_wait(r->site, r);
        if (!r->waiting)
            e = ERR_BUSY;
    }
    if (e != ERR_OK) {
        run_free(r);
        call_finish(call, e);
        return;
    }
    call_on_cancel(call, cancelled, r);
}
