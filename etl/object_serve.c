#include <stdlib.h>

#include "base/json.h"
#include "base/log.h"
#include "base/op.h"
#include "http/url.h"
#include "object_own.h"

enum { MESSAGE_MAX = 8 << 10, HEADERS_MAX = 6 };

/* The body of a PUT: ends only while its object is still lent. A transform that was given up must not replace anything. */
struct lent_body {
    struct source source;
    struct source *inner;
    struct object_op *o;
    size_t *n;
    struct call *whole;
    struct call call;
};

/* One request. */
struct object_op {
    struct op op;
    struct etl_object_server *s;
    struct etl_objects *objects;
    struct http_req *http;
    struct str bucket, key;
    struct bucket_look_req look_req;
    struct bucket_look_res look;
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct obj_get_req get_req;
    struct obj_get_res get;
    struct obj_put_req put_req;
    struct obj_put_res put;
    struct body_check check;
    struct attr type;
    struct lent_body body;
    struct http_res res;
    struct http_header headers[HEADERS_MAX];
    bool answered;
};

static step_fn obj_bucket, obj_open, obj_head, obj_get, obj_put, obj_stored, obj_last;

/* ---- the body of a PUT ---- */

static bool is_lent(const struct object_op *o, bool stores)
{
    return etl_object_is_lent(o->objects, o->s->name, o->bucket, o->key, stores);
}

static void body_peek(struct source *s, struct span *out)
{
    source_peek(CONTAINER(s, struct lent_body, source)->inner, out);
    if (out->kind == SPAN_END)
        *out = (struct span){.kind = SPAN_READ}; /* reading tells */
}

static void body_consume(struct source *s, uint64_t n)
{
    source_consume(CONTAINER(s, struct lent_body, source)->inner, n);
}

static void body_prepare(struct source *s, struct call *call)
{
    source_prepare(CONTAINER(s, struct lent_body, source)->inner, call);
}

static void body_done(struct call *call)
{
    struct lent_body *b = CONTAINER(call, struct lent_body, call);
    bool refused = call->err == ERR_OK && *b->n == 0 && !is_lent(b->o, true);

    call_finish(b->whole, refused ? ERR_ACCESS_DENIED : call->err);
}

static void body_cancel(void *arg)
{
    call_cancel(&((struct lent_body *)arg)->call);
}

static void body_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct lent_body *b = CONTAINER(s, struct lent_body, source);

    b->n = n;
    b->whole = call;
    call_begin(&b->call, b->o->http->loop, body_done);
    call_on_cancel(call, body_cancel, b);
    source_read(b->inner, buf, len, n, &b->call);
}

/* The server's. */
static void body_close(struct source *s)
{
    (void)s;
}

static struct source *lent_body(struct object_op *o)
{
    static const struct source_ops ops = {"etl-put", body_peek, body_consume, body_prepare, body_read, body_close};

    if (!o->http->body)
        return NULL;
    o->body = (struct lent_body){.source = {&ops, o->http->body->size}, .inner = o->http->body, .o = o};
    return &o->body.source;
}

/* ---- what is asked ---- */

/* A Range that is no single range of bytes counts as none (RFC 9110 section 14.2). */
static struct range range_of(const struct http_req *req)
{
    struct str text = http_header_get(req, STR("range")), unit = STR("bytes=");
    struct range r = {.kind = RANGE_ALL}, none = r;

    if (!str_starts_nocase(text, unit))
        return none;
    text = str_trim(str_skip(text, unit.n));
    size_t dash = str_find_char(text, '-');
    if (dash == SIZE_MAX)
        return none;
    struct str first = str_n(text.p, dash), last = str_skip(text, dash + 1);
    if (first.n == 0) {
        r.kind = RANGE_LAST;
        return str_to_u64(last, UINT64_MAX, &r.last) ? r : none;
    }
    r.kind = last.n ? RANGE_FROM_TO : RANGE_FROM;
    if (!str_to_u64(first, UINT64_MAX, &r.first) || (last.n && !str_to_u64(last, UINT64_MAX, &r.last)))
        return none;
    return last.n && r.last < r.first ? none : r;
}

static enum err find_object(struct object_op *o)
{
    struct str rest, uname;
    enum err e = etl_object_path(o->s, o->http->path, &rest);

    if (e != ERR_OK)
        return e;
    if (!url_decode(rest, o->http->arena, false, &uname))
        return ERR_INVALID_URI;
    return etl_uname_parse(uname, &o->bucket, &o->key);
}

static void gone(struct http_req *req)
{
    op_cancel(&((struct object_op *)req->user)->op, ERR_CLIENT_GONE);
}

static enum step_next obj_begin(struct op *op)
{
    struct object_op *o = OP(op, struct object_op);
    enum http_method m = o->http->method;
    enum err e;

    o->http->user = o;
    o->http->on_abort = gone;
    if ((e = find_object(o)) != ERR_OK)
        return op_fail(op, e);
    if (m != HTTP_GET && m != HTTP_HEAD && m != HTTP_PUT)
        return op_fail(op, ERR_METHOD_NOT_ALLOWED);
    if (!is_lent(o, m == HTTP_PUT))
        return op_fail(op, ERR_ACCESS_DENIED);
    return op_go(op, obj_bucket);
}

static enum step_next obj_bucket(struct op *op)
{
    struct object_op *o = OP(op, struct object_op);

    o->look_req = (struct bucket_look_req){.arena = o->http->arena, .name = o->bucket};
    buckets_look(o->objects->conf.buckets, &o->look_req, &o->look, op_call(op, obj_open));
    return STEP_WAIT;
}

static enum step_next obj_open(struct op *op)
{
    struct object_op *o = OP(op, struct object_op);

    o->head_req = (struct obj_head_req){.arena = o->http->arena,
                                        .bucket = o->look.bucket.id,
                                        .key = o->key,
                                        .cond = COND_INIT,
                                        .range = range_of(o->http)};
    if (o->http->method == HTTP_PUT)
        return op_go(op, obj_put);
    if (o->http->method == HTTP_HEAD) {
        store_obj_head(o->objects->conf.all, &o->head_req, &o->head, op_call(op, obj_head));
        return STEP_WAIT;
    }
    o->get_req.head = o->head_req;
    store_obj_get(o->objects->conf.all, &o->get_req, &o->get, op_call(op, obj_get));
    return STEP_WAIT;
}

/* ---- answers ---- */

static void add_header(struct object_op *o, struct str name, struct str value)
{
    o->headers[o->res.header_count++] = (struct http_header){name, value};
    o->res.headers = o->headers;
}

static enum step_next respond(struct object_op *o)
{
    o->answered = true;
    http_respond(o->http, &o->res, op_try(&o->op, obj_last));
    return STEP_WAIT;
}

static void describe(struct object_op *o, const struct obj_head_res *head)
{
    struct arena *a = o->http->arena;
    struct str type = object_attr(&head->info, STR("content-type"));

    o->res.status = 200;
    add_header(o, STR("Content-Type"), type.n ? type : STR("application/octet-stream"));
    add_header(o, STR("ETag"), arena_printf(a, "\"" STR_FMT "\"", STR_ARG(etag_str(&head->info.etag))));
    add_header(o, STR("Accept-Ranges"), STR("bytes"));
    if (o->head_req.range.kind == RANGE_ALL)
        return;
    o->res.status = 206;
    add_header(o, STR("Content-Range"),
               arena_printf(a, "bytes %llu-%llu/%llu", (unsigned long long)head->offset,
                            (unsigned long long)(head->offset + head->len - 1), (unsigned long long)head->info.size));
}

static enum step_next obj_head(struct op *op)
{
    struct object_op *o = OP(op, struct object_op);

    describe(o, &o->head);
    o->res.stated_length = o->head.len;
    return respond(o);
}

static enum step_next obj_get(struct op *op)
{
    struct object_op *o = OP(op, struct object_op);

    describe(o, &o->get.head);
    o->res.body = o->get.body;
    o->get.body = NULL;
    return respond(o);
}

static enum step_next obj_put(struct op *op)
{
    struct object_op *o = OP(op, struct object_op);

    o->type = (struct attr){STR("content-type"), http_header_get(o->http, STR("content-type"))};
    o->put_req = (struct obj_put_req){.arena = o->http->arena,
                                      .bucket = o->look.bucket.id,
                                      .key = o->key,
                                      .info = {.attrs = &o->type, .attr_count = o->type.value.n ? 1 : 0},
                                      .cond = COND_INIT,
                                      .body = lent_body(o),
                                      .check = &o->check,
                                      .size_max = OBJECT_SIZE_MAX};
    store_obj_put(o->objects->conf.all, &o->put_req, &o->put, op_call(op, obj_stored));
    return STEP_WAIT;
}

/* An empty answer: by that a stage of a pipeline knows that it was stored (AIStore's relay rule). */
static enum step_next obj_stored(struct op *op)
{
    struct object_op *o = OP(op, struct object_op);

    if (!etl_object_stored(o->objects, o->s->name, o->bucket, o->key, o->put.info.size))
        log_warn(str_n(o->http->id, sizeof(o->http->id)), "a result was stored after its transform was given up",
                 "etl=%s bucket=%s", log_quote(o->s->name), log_quote(o->bucket));
    o->res.status = 200;
    return respond(o);
}

static void explain(struct object_op *o, enum err e)
{
    struct buf b = BUF_INIT(MESSAGE_MAX);
    const char *text = err_text(e);

    o->res = (struct http_res){.status = err_status(e)};
    if (e == ERR_ACCESS_DENIED)
        text = "only what was handed to this ETL, and only while it is";
    if (e == ERR_INVALID_RANGE)
        add_header(o, STR("Content-Range"),
                   arena_printf(o->http->arena, "bytes */%llu",
                                (unsigned long long)(o->http->method == HTTP_HEAD ? o->head : o->get.head).info.size));
    if (o->http->method == HTTP_HEAD)
        return;
    js_object(&b);
    js_put_str(&b, "message", str_z(text));
    js_put_u64(&b, "status", (uint64_t)o->res.status);
    js_end_object(&b);
    add_header(o, STR("Content-Type"), STR("application/json"));
    o->res.body = source_memory(arena_str(o->http->arena, buf_str(&b)), NULL, NULL);
    buf_release(&b);
}

/* Every request is answered, also when nobody is there any more: so the server wants it. */
static enum step_next obj_last(struct op *op)
{
    struct object_op *o = OP(op, struct object_op);
    struct etl_object_server *s = o->s;

    if (!o->answered) {
        source_close(o->get.body);
        explain(o, op->err);
        return respond(o);
    }
    free(o);
    etl_object_done(s);
    return STEP_DONE;
}

void etl_object_serve(struct http_handler *h, struct http_req *req)
{
    struct object_op *o = NEW(struct object_op);

    o->s = CONTAINER(h, struct etl_object_server, handler);
    o->objects = o->s->owner;
    o->http = req;
    o->s->open++;
    op_start(&o->op, req->loop, "etl-object", obj_begin, obj_last);
}
