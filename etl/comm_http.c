#include <stdlib.h>

#include "base/op.h"
#include "comm_own.h"
#include "http/url.h"

enum {
    SPOOL_MAX = 1 << 20,    /* bytes of a body of unknown size that are gathered to find it: comm.h */
    TRIES_MAX = 5,          /* when there is no connection, or it breaks before an answer */
    TARGET_MAX = 224 << 10, /* bytes of a request's target: less than peer.h sends, more than ETL_ARGS_MAX escaped */
    PAUSE_MS = 50,          /* before the second; doubled for each that follows */
};

/* ---- the body as it is sent: what was gathered, then the rest ---- */

struct spooled {
    struct source source;
    struct str rest;      /* of what was gathered */
    struct source *inner; /* NULL: that is all */
    bool touched;         /* something of `inner` is gone */
};

static void spooled_peek(struct source *s, struct span *out)
{
    struct spooled *p = CONTAINER(s, struct spooled, source);

    if (p->rest.n)
        *out = (struct span){.kind = SPAN_MEMORY, .p = p->rest.p, .len = p->rest.n};
    else if (p->inner)
        source_peek(p->inner, out);
    else
        *out = (struct span){.kind = SPAN_END};
}

static void spooled_consume(struct source *s, uint64_t n)
{
    struct spooled *p = CONTAINER(s, struct spooled, source);

    if (p->rest.n) {
        p->rest = str_skip(p->rest, (size_t)n);
        return;
    }
    p->touched = true;
    source_consume(p->inner, n);
}

static void spooled_prepare(struct source *s, struct call *call)
{
    struct spooled *p = CONTAINER(s, struct spooled, source);

    if (p->rest.n || !p->inner)
        call_finish(call, ERR_OK);
    else
        source_prepare(p->inner, call);
}

static void spooled_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct spooled *p = CONTAINER(s, struct spooled, source);

    if (!p->rest.n && p->inner) {
        p->touched = true;
        source_read(p->inner, buf, len, n, call);
        return;
    }
    *n = len < p->rest.n ? len : p->rest.n;
    if (*n)
        memcpy(buf, p->rest.p, *n);
    p->rest = str_skip(p->rest, *n);
    call_finish(call, ERR_OK);
}

/* The sender never closes what it sends, and the memory is the arena's. */
static void spooled_close(struct source *s)
{
    (void)s;
}

static const struct source_ops spooled_ops = {"etl-spool",     spooled_peek, spooled_consume,
                                              spooled_prepare, spooled_read, spooled_close};

/* ---- the request ---- */

struct http_run {
    struct op op;
    struct etl_wire *w;
    const struct etl_comm_req *req;
    struct etl_comm_res *res;
    struct call *call;
    struct spooled *body; /* the arena's: it is read until the answer's body is closed */
    char *spool;
    size_t spool_n;
    bool whole; /* there is nothing behind the spool */
    struct peer_req ask;
    struct peer_res answer;
    struct http_header node_url;
    unsigned tries;
    struct timer pause;
    struct call *paused;
    struct source_fill fill;
    size_t text_n;
};

static step_fn http_spool, http_spooled, http_send, http_answer, http_text, http_told, http_end;

static bool pushes(const struct etl_comm_req *req)
{
    return req->comm == ETL_HPUSH || req->pushed;
}

/* As Go's url.PathEscape, which AIStore's targets use: sidecars have seen nothing else. */
static void path_escape(struct buf *b, struct str s, bool keep_slash)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c != 0 && (strchr("$&+=:@", c) || (keep_slash && c == '/')))
            buf_add_char(b, c);
        else
            url_encode(b, str_n(&c, 1), false);
    }
}

static void add_query(struct buf *b, char *between, const char *name, struct str value)
{
    if (!value.n)
        return;
    buf_add_char(b, *between);
    *between = '&';
    buf_add_z(b, name);
    buf_add_char(b, '=');
    url_encode(b, value, false);
}

static void add_target(struct buf *b, const struct etl_comm_req *req)
{
    struct buf fqn = BUF_INIT(TARGET_MAX);
    char between = '?';

    buf_add_char(b, '/');
    if (pushes(req)) {
        path_escape(b, req->bucket, false);
        buf_add_char(b, '/');
        path_escape(b, req->key, true);
    } else {
        path_escape(b, req->uname, false);
    }
    /* twice: sidecars undo it twice */
    path_escape(&fqn, req->fqn, false);
    add_query(b, &between, "etl_fqn", buf_str(&fqn));
    add_query(b, &between, "etl_args", req->args);
    buf_release(&fqn);
}

static enum err make_request(struct http_run *r)
{
    const struct etl_comm_req *req = r->req;
    struct buf b = BUF_INIT(TARGET_MAX);

    add_target(&b, req);
    enum err e = buf_err(&b);
    r->ask = (struct peer_req){.arena = req->arena,
                               .address = etl_wire_address(req->arena, req->id),
                               .method = pushes(req) ? STR("PUT") : STR("GET"),
                               .target = arena_str(req->arena, buf_str(&b)),
                               .headers = &r->node_url,
                               .header_count = req->node_url.n ? 1 : 0,
                               .repeatable = true,
                               .duplex = true};
    r->node_url = (struct http_header){STR("Ais-Node-Url"), req->node_url};
    buf_release(&b);
    return e == ERR_OK ? ERR_OK : ERR_INVALID_ARGUMENT;
}

static void cancelled(void *arg)
{
    op_cancel(&((struct http_run *)arg)->op, ERR_CANCELLED);
}

static uint64_t known_size(const struct etl_comm_req *req)
{
    return req->size != SOURCE_SIZE_UNKNOWN ? req->size : req->body->size;
}

static enum step_next http_begin(struct op *op)
{
    struct http_run *r = OP(op, struct http_run);
    enum err e = make_request(r);

    call_on_cancel(r->call, cancelled, r);
    if (e != ERR_OK)
        return op_fail(op, e);
    if (!pushes(r->req) || !r->req->body)
        return op_go(op, http_send);
    r->body = ARENA_NEW(r->req->arena, struct spooled);
    r->ask.body = &r->body->source;
    return known_size(r->req) == SOURCE_SIZE_UNKNOWN ? op_go(op, http_spool) : op_go(op, http_send);
}

/* ---- a body of unknown size ---- */

static enum step_next http_spool(struct op *op)
{
    struct http_run *r = OP(op, struct http_run);

    r->spool = mem_alloc(SPOOL_MAX);
    arena_defer(r->req->arena, free, r->spool);
    r->res->body_taken = true;
    source_fill(&r->fill, r->req->body, r->spool, SPOOL_MAX, &r->spool_n, op_call(op, http_spooled));
    return STEP_WAIT;
}

static enum step_next http_spooled(struct op *op)
{
    struct http_run *r = OP(op, struct http_run);

    r->whole = r->spool_n < SPOOL_MAX;
    return op_go(op, http_send);
}

/* ---- sending, again and again ---- */

static void rewind_body(struct http_run *r)
{
    r->body->source = (struct source){&spooled_ops, r->whole   ? r->spool_n
                                                    : r->spool ? SOURCE_SIZE_UNKNOWN
                                                               : known_size(r->req)};
    r->body->rest = str_n(r->spool, r->spool_n);
    r->body->inner = r->whole ? NULL : r->req->body;
}

static enum step_next http_send(struct op *op)
{
    struct http_run *r = OP(op, struct http_run);

    if (r->body)
        rewind_body(r);
    peer_send(r->w->peers, &r->ask, &r->answer, op_try(op, http_answer));
    return STEP_WAIT;
}

static void on_pause(struct timer *t)
{
    call_finish(CONTAINER(t, struct http_run, pause)->paused, ERR_OK);
}

static void pause_cancelled(void *arg)
{
    struct http_run *r = arg;

    timer_cancel(r->w->loop, &r->pause);
    call_finish(r->paused, ERR_CANCELLED);
}

static enum step_next try_again(struct http_run *r)
{
    r->paused = op_call(&r->op, http_send);
    r->pause.fn = on_pause;
    timer_set(r->w->loop, &r->pause, (uint64_t)PAUSE_MS << r->tries);
    r->tries++;
    call_on_cancel(r->paused, pause_cancelled, r);
    return STEP_WAIT;
}

/* ---- the answer ---- */

static enum step_next refuse(struct http_run *r, struct str text)
{
    r->res->status = r->answer.status;
    r->res->text = text;
    return op_fail(&r->op, ERR_ETL);
}

static enum step_next take_delivered(struct http_run *r)
{
    struct str length = peer_header(&r->answer, STR("ais-direct-put-length"));

    r->res->delivered = true;
    if (length.n && !str_to_u64(length, INT64_MAX, &r->res->delivered_size))
        return refuse(r, STR("Ais-Direct-Put-Length of the sidecar's answer is no number"));
    return op_go(&r->op, http_end);
}

static enum step_next take_body(struct http_run *r)
{
    r->res->content_type = peer_header(&r->answer, STR("content-type"));
    bool framed =
        peer_header(&r->answer, STR("content-length")).p || peer_header(&r->answer, STR("transfer-encoding")).p;

    if (!r->answer.body)
        r->res->body = source_memory(STR_NONE, NULL, NULL);
    else if (framed)
        r->res->body = r->answer.body;
    else
        r->res->body = etl_unframed_new(r->w, arena_str(r->req->arena, r->req->id), r->answer.body);
    r->answer.body = NULL;
    return op_go(&r->op, http_end);
}

static enum step_next http_answer(struct op *op)
{
    struct http_run *r = OP(op, struct http_run);
    enum err e = op->call.err;

    if (r->body)
        r->res->body_taken |= r->body->touched;
    if (e == ERR_UNAVAILABLE && r->tries + 1 < TRIES_MAX && !(r->body && r->body->touched))
        return try_again(r);
    if (e != ERR_OK)
        return op_fail(op, e == ERR_NO_SUCH_ETL ? ERR_UNAVAILABLE : e);
    switch (r->answer.status) {
    case 200:
    case 202:
        return take_body(r);
    case 204:
        return take_delivered(r);
    default:
        return op_go(op, http_text);
    }
}

/* What it says about its error. */
static enum step_next http_text(struct op *op)
{
    struct http_run *r = OP(op, struct http_run);

    if (r->answer.status < 400)
        return refuse(r, arena_printf(r->req->arena,
                                      "the sidecar answered with status %d, which is none of 200, 202 and 204",
                                      r->answer.status));
    if (!r->answer.body)
        return op_go(op, http_told);
    source_fill(&r->fill, r->answer.body, arena_alloc(r->req->arena, ETL_TEXT_MAX), ETL_TEXT_MAX, &r->text_n,
                op_try(op, http_told));
    return STEP_WAIT;
}

static enum step_next http_told(struct op *op)
{
    struct http_run *r = OP(op, struct http_run);
    struct str text = str_n(r->fill.buf, r->answer.body ? r->fill.got : 0); /* as far as it came */

    r->res->retry = r->answer.status == 503 && peer_header(&r->answer, STR("ais-etl-retry-reason")).n > 0;
    if (!text.n)
        text = arena_printf(r->req->arena, "the sidecar answered with status %d and no text", r->answer.status);
    return refuse(r, text);
}

static enum step_next http_end(struct op *op)
{
    struct http_run *r = OP(op, struct http_run);
    struct call *call = r->call;
    enum err e = op->err;

    source_close(r->answer.body);
    if (e != ERR_OK) {
        source_close(r->res->body);
        r->res->body = NULL;
        r->res->delivered = false;
    }
    free(r);
    call_finish(call, e);
    return STEP_DONE;
}

void etl_http_run(struct etl_wire *w, const struct etl_comm_req *req, struct etl_comm_res *res, struct call *call)
{
    struct http_run *r = NEW(struct http_run);

    r->w = w;
    r->req = req;
    r->res = res;
    r->call = call;
    op_start(&r->op, w->loop, "etl-http", http_begin, http_end);
}
