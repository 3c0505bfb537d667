/* How outcomes become answers of the native API. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/audit.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "gateway/native_request.h"

enum { HEADERS_MIN = 16, MESSAGE_MAX = 4096 };

const struct cause *native_cause(struct native_request *r, enum event_kind kind)
{
    struct cause *c;

    if (!r->env->s3->announcer)
        return NULL; /* nobody is told of anything */
    c = ARENA_NEW(r->arena, struct cause);
    c->kind = kind;
    c->who = r->who;
    c->address = str_z(r->http->peer);
    c->request_id = str_n(r->http->id, sizeof(r->http->id));
    return c;
}

void native_header(struct native_request *r, struct str name, struct str value)
{
    if (memchr(value.p ? value.p : "", '\r', value.n) || memchr(value.p ? value.p : "", '\n', value.n))
        return;
    if (r->header_count == r->header_cap) {
        size_t cap = r->header_cap ? r->header_cap * 2 : HEADERS_MIN;
        struct http_header *more = arena_new(r->arena, cap * sizeof(*more));
        if (r->header_count)
            memcpy(more, r->headers, r->header_count * sizeof(*more));
        r->headers = more;
        r->header_cap = cap;
    }
    r->headers[r->header_count++] = (struct http_header){name, value};
}

void native_header_f(struct native_request *r, struct str name, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof(text))
        native_header(r, name, arena_str(r->arena, str_n(text, (size_t)n)));
}

enum err native_error(struct native_request *r, enum err e, const char *fmt, ...)
{
    char text[MESSAGE_MAX];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n >= 0)
        r->message = arena_str(r->arena, str_n(text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1));
    return e;
}

enum err native_no_bucket(struct native_request *r, const struct native_bucket *b)
{
    struct str text = native_bucket_text(r->arena, b);
    static const char *const kinds[] = {"", "aws ", "gcp ", "azure ", "oci "};

    r->tcode = b->uuid.n || b->provider != PROVIDER_AIS ? STR("ErrRemoteBckNotFound") : STR("ErrBckNotFound");
    r->error_status = 404;
    return native_error(r, ERR_NO_SUCH_BUCKET, "%s%sbucket \"" STR_FMT "\" does not exist", b->uuid.n ? "remote " : "",
                        kinds[b->provider], STR_ARG(text));
}

enum err native_no_object(struct native_request *r, const struct native_bucket *b, struct str object)
{
    struct str text = native_bucket_text(r->arena, b);

    r->tcode = STR("ErrNotFound");
    r->error_status = 404;
    return native_error(r, ERR_NO_SUCH_KEY, STR_FMT "/" STR_FMT " does not exist", STR_ARG(text), STR_ARG(object));
}

enum err native_fail(struct native_request *r, enum err e, const struct native_bucket *b, struct str object)
{
    if (e == ERR_NO_SUCH_KEY || e == ERR_NOT_FOUND)
        return native_no_object(r, b, object);
    if (e == ERR_NO_SUCH_BUCKET)
        return native_no_bucket(r, b);
    if (e != ERR_OK && r->message.n == 0)
        native_error(r, e, STR_FMT "/" STR_FMT ": %s", STR_ARG(native_bucket_text(r->arena, b)), STR_ARG(object),
                     err_text(e));
    return e;
}

/* ---- sending ---- */

static int status_of(const struct native_request *r, enum err e)
{
    int status = r->error_status ? r->error_status : err_status(e);

    /* the client's library repeats these for a minute and a half: only for what may be over by then */
    if (status == 499 || e == ERR_REMOTE_GONE)
        return 400;
    return status == 500 && e != ERR_INTERNAL && e != ERR_IO && e != ERR_CORRUPT ? 400 : status;
}

static void write_error(struct native_request *r, enum err e, int status)
{
    struct buf *b = &r->text;
    struct str node = arena_printf(r->arena, "p[" STR_FMT "]", STR_ARG(r->env->conf->node_id));

    buf_reset(b);
    js_object(b);
    if (r->tcode.n)
        js_put_str(b, "tcode", r->tcode);
    js_put_str(b, "message", r->message.n ? r->message : str_z(err_text(e)));
    js_put_str(b, "method", r->http->method_text);
    js_put_str(b, "url_path", r->http->path);
    js_put_str(b, "remote_addr", str_z(r->http->peer));
    js_put_str(b, "caller", STR(""));
    js_put_str(b, "node", node);
    js_put_u64(b, "status", (uint64_t)status);
    js_end_object(b);
}

static void become_error(struct native_request *r, enum err e)
{
    bool keeps = e == ERR_INVALID_RANGE || e == ERR_BUSY; /* Content-Range, Retry-After */

    source_close(r->answer);
    r->answer = NULL;
    if (!keeps)
        r->header_count = 0;
    r->status = status_of(r, e);
    write_error(r, e, r->status);
    r->type = STR("application/json");
    native_header(r, STR("X-Content-Type-Options"), STR("nosniff"));
    if (r->http->method == HTTP_HEAD) {
        native_header(r, STR("Hdr-Error"), arena_str(r->arena, buf_str(&r->text)));
        r->stated_length = 0;
    }
}

static step_fn send_end;

static void fill(struct native_request *r, struct http_res *res)
{
    bool head = r->http->method == HTTP_HEAD;

    if (r->type.n == 0 && !r->answer && r->text.n)
        r->type = STR("application/json");
    if (r->type.n)
        native_header(r, STR("Content-Type"), r->type);
    *res = (struct http_res){
        .status = r->status ? r->status : 200, .headers = r->headers, .header_count = r->header_count};
    res->body = r->answer;
    if (!res->body && r->text.n && !head)
        res->body = source_memory(buf_str(&r->text), NULL, NULL);
    if (!res->body && head)
        res->stated_length = r->stated_length;
    r->answer = NULL; /* http_respond() takes it */
}

enum step_next native_send(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct http_res *res = ARENA_NEW(r->arena, struct http_res);
    enum err e = op->err;

    if (e == ERR_OK && buf_err(&r->text) != ERR_OK) {
        log_error(str_n(r->http->id, sizeof(r->http->id)), "answer too large", "call=%s", op->name);
        e = ERR_INTERNAL;
    }
    if (e != ERR_OK)
        become_error(r, e);
    fill(r, res);
    http_respond(r->http, res, op_try(op, send_end));
    return STEP_WAIT;
}

/* Requests about objects and batches of them are no administration. */
static bool is_administrative(const struct native_request *r)
{
    return r->http->method != HTTP_GET && r->http->method != HTTP_HEAD && !str_eq(r->raw[0], STR("objects")) &&
           !str_eq(r->raw[0], STR("ml"));
}

static void audit(const struct native_request *r, const char *call)
{
    audit_add(&(struct audit_entry){.id = str_n(r->http->id, sizeof(r->http->id)),
                                    .api = "native",
                                    .peer = r->http->peer,
                                    .method = r->http->method_text,
                                    .path = r->http->path,
                                    .action = r->action.action.n ? arena_str(r->arena, r->action.action).p : call,
                                    .key = r->who,
                                    .bucket = r->bucket.name,
                                    .object = r->object,
                                    .status = r->status ? r->status : 200,
                                    .took_ns = clock_mono_ns() - r->started_ns});
}

static enum step_next send_end(struct op *op)
{
    struct native_request *r = NATIVE(op);

    if (audit_wants(is_administrative(r)))
        audit(r, op->name);
    if (r->env->s3->conf->access_log)
        log_info(str_n(r->http->id, sizeof(r->http->id)), "request", "call=%s status=%d ms=%llu", op->name,
                 r->status ? r->status : 200, (unsigned long long)((clock_mono_ns() - r->started_ns) / 1000000));
    return STEP_DONE;
}
