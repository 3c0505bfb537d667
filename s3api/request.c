#include "request.h"

#include <inttypes.h>

#include "base/clock.h"
#include "s3api/auth.h"
#include "s3api/checksum.h"

/* Larger bodies are hashed and parsed on the pool. */
enum { INLINE_WORK_MAX = 64 << 10, READ_STEP = 64 << 10 };

struct str s3_query(const struct s3_request *r, struct str name)
{
    for (size_t i = 0; i < r->query_count; i++)
        if (str_eq(r->query[i].name, name))
            return r->query[i].value.p ? r->query[i].value : STR("");
    return STR_NONE;
}

struct str s3_header(const struct s3_request *r, struct str name)
{
    return http_header_get(r->http, name);
}

static enum err bad_argument(struct s3_request *r, struct str name, struct str value)
{
    reply_detail(r, STR("ArgumentName"), name);
    reply_detail(r, STR("ArgumentValue"), value);
    return reply_error(r, ERR_INVALID_ARGUMENT, "Invalid value of the parameter " STR_FMT, STR_ARG(name));
}

enum err s3_query_count(struct s3_request *r, struct str name, uint32_t cap, uint32_t def, uint32_t *out)
{
    struct str value = s3_query(r, name);
    uint64_t n;

    if (value.n == 0) {
        *out = def;
        return ERR_OK;
    }
    if (!str_to_u64(value, INT32_MAX, &n))
        return bad_argument(r, name, value);
    *out = n < cap ? (uint32_t)n : cap;
    return ERR_OK;
}

enum err s3_query_texts(struct s3_request *r, const struct str *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct str value = s3_query(r, names[i]);
        if (str_is_utf8(value) && (value.n == 0 || !memchr(value.p, 0, value.n)))
            continue;
        reply_detail(r, STR("ArgumentName"), names[i]);
        return reply_error(r, ERR_INVALID_ARGUMENT, "The value of " STR_FMT " is not a text", STR_ARG(names[i]));
    }
    return ERR_OK;
}

enum err s3_query_encoding(struct s3_request *r, bool *url)
{
    struct str value = s3_query(r, STR("encoding-type"));

    if (value.n > 0 && !str_eq_nocase(value, STR("url")))
        return bad_argument(r, STR("encoding-type"), value);
    *url = value.n > 0;
    return ERR_OK;
}

/* ---- small bodies ---- */

struct reader {
    struct op op;
    struct s3_request *request;
    const struct s3_read_req *req;
    struct str *out;
    struct xml_doc *doc; /* NULL: bytes only */
    struct call *whole;
    struct body body;
    struct buf bytes;
    size_t got;
    struct source_fill fill;
    struct offload_task task;
};

static step_fn read_begin, read_more, read_got, read_check, read_end; /* in order; read_end always runs */

static void reader_release(void *arg)
{
    struct reader *rd = arg;

    body_close(&rd->body);
    buf_release(&rd->bytes);
}

static enum step_next read_begin(struct op *op)
{
    struct reader *rd = OP(op, struct reader);
    struct s3_request *r = rd->request;
    enum err e = rd->req->digests_object ? body_open_complete(r->http, r->who, r->env->cpu, &rd->body)
                                         : body_open(r->http, r->who, r->env->cpu, &rd->body);

    if (e != ERR_OK && rd->body.message.n > 0)
        reply_error(r, e, STR_FMT, STR_ARG(rd->body.message));
    if (e != ERR_OK)
        return op_fail(op, e);
    if (rd->req->need_digest && !rd->body.has_checksum && !s3_header(r, STR("content-md5")).p)
        return op_fail(op, reply_error(r, ERR_INVALID_REQUEST,
                                       "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"));
    if (rd->body.len != HTTP_LENGTH_UNKNOWN && rd->body.len > rd->req->max)
        return op_fail(op, ERR_TOO_LARGE);
    return rd->body.source ? op_go(op, read_more) : op_go(op, read_check);
}

static enum step_next read_more(struct op *op)
{
    struct reader *rd = OP(op, struct reader);
    size_t room = rd->req->max + 1 - rd->bytes.n;
    size_t want = room < READ_STEP ? room : READ_STEP;
    char *p = buf_reserve(&rd->bytes, want);

    if (!p)
        return op_fail(op, ERR_TOO_LARGE);
    source_fill(&rd->fill, rd->body.source, p, want, &rd->got, op_call(op, read_got));
    return STEP_WAIT;
}

static enum step_next read_got(struct op *op)
{
    struct reader *rd = OP(op, struct reader);

    buf_commit(&rd->bytes, rd->got);
    if (rd->bytes.n > rd->req->max)
        return op_fail(op, ERR_TOO_LARGE);
    return rd->got == rd->fill.len ? op_go(op, read_more) : op_go(op, read_check);
}

/* Any thread: nothing else touches the reader meanwhile. */
static enum err verify_and_parse(struct offload_task *task)
{
    struct reader *rd = CONTAINER(task, struct reader, task);
    enum err e = body_verify(&rd->body.check, buf_str(&rd->bytes));

    if (e == ERR_OK && rd->doc)
        e = xml_read(buf_str(&rd->bytes), rd->doc);
    return e;
}

static enum step_next read_check(struct op *op)
{
    struct reader *rd = OP(op, struct reader);
    enum err e;

    if (rd->bytes.n > INLINE_WORK_MAX && rd->request->env->cpu) {
        offload_run(rd->request->env->cpu, &rd->task, verify_and_parse, op_call(op, read_end));
        return STEP_WAIT;
    }
    e = verify_and_parse(&rd->task);
    return e == ERR_OK ? op_go(op, read_end) : op_fail(op, e);
}

static enum step_next read_end(struct op *op)
{
    struct reader *rd = OP(op, struct reader);

    if (op->err == ERR_OK)
        *rd->out = buf_str(&rd->bytes);
    call_finish(rd->whole, op->err);
    return STEP_DONE;
}

static void read_cancel(void *arg)
{
    op_cancel(&((struct reader *)arg)->op, ERR_CANCELLED);
}

static void read_start(struct s3_request *r, const struct s3_read_req *req, struct str *out, struct xml_doc *doc,
                       struct call *call)
{
    struct reader *rd = ARENA_NEW(r->arena, struct reader);

    rd->request = r;
    rd->req = req;
    rd->out = out;
    rd->doc = doc;
    rd->whole = call;
    buf_init(&rd->bytes, req->max + 1);
    arena_defer(r->arena, reader_release, rd);
    call_on_cancel(call, read_cancel, rd);
    op_start(&rd->op, r->env->loop, "read body", read_begin, read_end);
}

void s3_read_body(struct s3_request *r, const struct s3_read_req *req, struct s3_read_res *res, struct call *call)
{
    read_start(r, req, &res->body, NULL, call);
}

static void doc_release(void *arg)
{
    xml_doc_release(arg);
}

void s3_read_xml(struct s3_request *r, const struct s3_read_req *req, struct s3_xml_res *res, struct call *call)
{
    res->doc = (struct xml_doc){0};
    arena_defer(r->arena, doc_release, &res->doc);
    read_start(r, req, ARENA_NEW(r->arena, struct str), &res->doc, call);
}

const struct cause *s3_cause(struct s3_request *r, enum event_kind kind)
{
    struct cause *c;

    if (!r->env->announcer)
        return NULL; /* nobody is told of anything */
    c = ARENA_NEW(r->arena, struct cause);
    c->kind = kind;
    c->who = r->principal.arn.n ? r->principal.arn : STR("anonymous");
    c->address = str_z(r->http->peer);
    c->request_id = str_n(r->http->id, sizeof(r->http->id));
    c->host_id = r->host_id;
    return c;
}
