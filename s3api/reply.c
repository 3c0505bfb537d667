#include "reply.h"

#include <stdarg.h>

#include "base/clock.h"
#include "base/log.h"
#include "s3api/account.h"
#include "s3api/checksum.h"
#include "s3api/may.h"
#include "s3api/request.h"
#include "s3api/website.h"

static void xml_release(void *arg)
{
    buf_release(arg);
}

void reply_init(struct s3_request *r)
{
    buf_init(&r->reply.xml, REPLY_XML_MAX);
    r->reply.stated_length = HTTP_LENGTH_UNKNOWN;
    arena_defer(r->arena, xml_release, &r->reply.xml);
}

void reply_status(struct s3_request *r, int status)
{
    r->reply.status = status;
}

static bool is_header_value(struct str v)
{
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] == '\r' || v.p[i] == '\n' || v.p[i] == 0)
            return false;
    return true;
}

void reply_header(struct s3_request *r, struct str name, struct str value)
{
    struct s3_reply *p = &r->reply;

    if (!is_header_value(value))
        return;
    if (p->header_count == p->header_cap) {
        size_t cap = p->header_cap ? p->header_cap * 2 : 16;
        struct http_header *wider = arena_alloc(r->arena, cap * sizeof(*wider));
        if (p->header_count > 0)
            memcpy(wider, p->headers, p->header_count * sizeof(*wider));
        p->headers = wider;
        p->header_cap = cap;
    }
    p->headers[p->header_count++] = (struct http_header){name, value};
}

void reply_header_f(struct s3_request *r, struct str name, const char *fmt, ...)
{
    char text[512];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof(text))
        reply_header(r, name, arena_str(r->arena, str_n(text, (size_t)n)));
}

void reply_etag(struct s3_request *r, const struct etag *etag)
{
    char *p = arena_alloc(r->arena, ETAG_MAX + 2);

    p[0] = p[etag->n + 1] = '"';
    memcpy(p + 1, etag->text, etag->n);
    reply_header(r, STR("ETag"), str_n(p, etag->n + 2u));
}

void reply_last_modified(struct s3_request *r, int64_t ns)
{
    char *p = arena_alloc(r->arena, CLOCK_HTTP_LEN);

    clock_http(ns, p);
    reply_header(r, STR("Last-Modified"), str_n(p, CLOCK_HTTP_LEN));
}

void reply_checksum(struct s3_request *r, const struct checksum *c)
{
    char text[CHECKSUM_TEXT_MAX];
    size_t n;

    if (c->digest.alg == HASH_NONE)
        return;
    n = checksum_print(c, text);
    reply_header(r, checksum_header_name(c->digest.alg), arena_str(r->arena, str_n(text, n)));
    if (c->type != CHECKSUM_NONE)
        reply_header(r, STR("x-amz-checksum-type"), checksum_type_name(c->type));
}

struct buf *reply_xml(struct s3_request *r)
{
    return &r->reply.xml;
}

void reply_body(struct s3_request *r, struct source *body)
{
    r->reply.body = body;
}

void reply_length(struct s3_request *r, uint64_t length)
{
    r->reply.stated_length = length;
}

void reply_keep_headers(struct s3_request *r)
{
    r->reply.keep_headers = true;
}

enum err reply_error(struct s3_request *r, enum err e, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n >= 0)
        r->reply.message = arena_str(r->arena, str_n(text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1));
    return e;
}

void reply_detail(struct s3_request *r, struct str name, struct str value)
{
    struct s3_reply *p = &r->reply;

    for (unsigned i = 0; i < p->detail_count; i++)
        if (str_eq(p->details[i].name, name))
            return;
    if (p->detail_count < REPLY_DETAILS_MAX)
        p->details[p->detail_count++] = (struct http_header){name, value};
}

/* ---- sending ---- */

/* Text from a client may not be UTF-8, and NUL has no form in XML at all. */
static void add_text(struct buf *b, struct str name, struct str text)
{
    bool odd = !str_is_utf8(text) || (text.n > 0 && memchr(text.p, 0, text.n));

    xml_key(b, name, text, odd);
}

static void add_bucket_detail(struct s3_request *r, enum err e)
{
    if (e == ERR_NO_SUCH_BUCKET || e == ERR_BUCKET_EXISTS || e == ERR_BUCKET_OWNED || e == ERR_BUCKET_NOT_EMPTY ||
        e == ERR_INVALID_BUCKET_NAME)
        reply_detail(r, STR("BucketName"), r->bucket_name);
}

static void write_error(struct s3_request *r, enum err e)
{
    struct s3_reply *p = &r->reply;
    struct buf *b = &p->xml;

    add_bucket_detail(r, e);
    buf_reset(b);
    xml_begin_bare(b, STR("Error"));
    xml_str(b, STR("Code"), str_z(err_code(e)));
    add_text(b, STR("Message"), p->message.n > 0 ? p->message : str_z(err_text(e)));
    for (unsigned i = 0; i < p->detail_count; i++)
        add_text(b, p->details[i].name, p->details[i].value);
    add_text(b, STR("Resource"), r->http->path);
    xml_str(b, STR("RequestId"), str_n(r->http->id, sizeof(r->http->id)));
    xml_str(b, STR("HostId"), r->host_id);
    xml_close(b, STR("Error"));
}

static void write_page(struct s3_request *r, enum err e)
{
    struct s3_reply *p = &r->reply;

    buf_reset(&p->xml);
    buf_add_str(&p->xml, website_page(r->arena, p->status, str_z(err_code(e)),
                                      p->message.n > 0 ? p->message : str_z(err_text(e)),
                                      str_n(r->http->id, sizeof(r->http->id))));
}

static void become_error(struct s3_request *r, enum err e)
{
    struct s3_reply *p = &r->reply;

    source_close(p->body);
    p->body = NULL;
    e = s3_may_hide(r, e);
    p->error = err_code(e);
    if (!p->keep_headers)
        p->header_count = 0;
    p->status = p->error_status ? p->error_status : err_status(e);
    p->stated_length = HTTP_LENGTH_UNKNOWN;
    if (p->status == 304)
        buf_reset(&p->xml);
    else if (r->website)
        write_page(r, e);
    else
        write_error(r, e);
}

static void fill_response(struct s3_request *r)
{
    struct s3_reply *p = &r->reply;
    bool head = r->http->method == HTTP_HEAD;

    if (p->xml.n > 0) {
        reply_header(r, STR("Content-Type"), r->website ? STR("text/html; charset=utf-8") : STR("application/xml"));
        if (!head)
            p->body = source_memory(buf_str(&p->xml), NULL, NULL);
    }
    for (unsigned i = 0; i < p->cors_count; i++)
        reply_header(r, p->cors[i].name, p->cors[i].value);
    reply_header(r, STR("x-amz-request-id"), str_n(r->http->id, sizeof(r->http->id)));
    reply_header(r, STR("x-amz-id-2"), r->host_id);
    if (r->web_status && (!p->status || p->status == 200))
        p->status = r->web_status;
    p->res = (struct http_res){.status = p->status ? p->status : 200, .body = p->body};
    p->res.headers = p->headers;
    p->res.header_count = p->header_count;
    if (!p->body && (head || p->res.status == 304))
        p->res.stated_length = p->stated_length;
    p->body_bytes = p->body && p->body->size != SOURCE_SIZE_UNKNOWN ? p->body->size : 0;
    p->body = NULL; /* http_respond() takes it */
}

static step_fn reply_end;

enum step_next reply_send(struct op *op)
{
    struct s3_request *r = S3(op);
    enum err e = op->err;

    if (e == ERR_OK && buf_err(&r->reply.xml) != ERR_OK) {
        log_error(str_n(r->http->id, sizeof(r->http->id)), "answer too large", "action=%s", op->name);
        e = ERR_INTERNAL;
    }
    if (e != ERR_OK)
        become_error(r, e);
    fill_response(r);
    http_respond(r->http, &r->reply.res, op_try(op, reply_end));
    return STEP_WAIT;
}

/* The client may have left before the last byte; the status is what was sent. */
static enum step_next reply_end(struct op *op)
{
    account_request(S3(op), op->call.err);
    return STEP_DONE;
}
