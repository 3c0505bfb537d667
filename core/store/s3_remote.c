#include "s3_remote.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/op.h"

enum { TRIES_MAX = 3, PAUSE_MS = 200, ERROR_TEXT_MAX = 64 << 10, CHUNK = 16 << 10 };

struct ask {
    struct op op;
    const struct s3_ask_req *req;
    struct s3_ask_res *res;
    struct call *whole;
    struct peer_req send;
    struct buf text;
    size_t got;
    unsigned tries;
    struct timer pause;
    struct call *paused;
    struct offload_task task;
    enum err status_err;
};

static step_fn ask_send, ask_answered, ask_read, ask_more, ask_parse, ask_parsed, ask_end;

static enum step_next ask_send(struct op *op)
{
    struct ask *a = OP(op, struct ask);
    const struct s3_ask_req *q = a->req;
    const struct s3_remote *r = q->remote;
    struct sign_v4_req sign = {.method = q->method,
                               .host = r->address,
                               .params = q->params,
                               .param_count = q->param_count,
                               .headers = q->headers,
                               .header_count = q->header_count,
                               .payload = SIGN_V4_UNSIGNED,
                               .time_s = clock_wall_ns() / NS_PER_S};
    struct sign_v4_res signed_;

    sign.path = arena_printf(q->arena, "/" STR_FMT "%s", STR_ARG(r->bucket), q->key.n ? "/" : "");
    if (q->key.n) { /* a key may hold any byte */
        char *path = arena_alloc(q->arena, sign.path.n + q->key.n);
        memcpy(path, sign.path.p, sign.path.n);
        memcpy(path + sign.path.n, q->key.p, q->key.n);
        sign.path = str_n(path, sign.path.n + q->key.n);
    }
    sign_v4(q->arena, &r->key, &sign, &signed_);
    a->tries++;
    a->send = (struct peer_req){.arena = q->arena,
                                .address = r->address,
                                .method = q->method,
                                .target = signed_.target,
                                .headers = signed_.headers,
                                .header_count = signed_.header_count,
                                .body = q->body,
                                .repeatable = !q->once};
    a->res->answer = (struct peer_res){0};
    peer_send(q->peers, &a->send, &a->res->answer, op_try(op, ask_answered));
    return STEP_WAIT;
}

/* ---- trying again ---- */

static void pause_over(struct timer *t)
{
    call_finish(CONTAINER(t, struct ask, pause)->paused, ERR_OK);
}

static void pause_cancel(void *arg)
{
    struct ask *a = arg;

    timer_cancel(a->op.loop, &a->pause);
    call_finish(a->paused, ERR_CANCELLED);
}

static bool may_repeat(const struct ask *a)
{
    return !a->req->once && a->tries < TRIES_MAX && (!a->req->body || !a->res->answer.body_taken);
}

static enum step_next again(struct ask *a)
{
    source_close(a->res->answer.body);
    a->res->answer.body = NULL;
    a->pause.fn = pause_over;
    a->paused = op_call(&a->op, ask_send);
    timer_set(a->op.loop, &a->pause, PAUSE_MS << (2 * (a->tries - 1)));
    call_on_cancel(a->paused, pause_cancel, a);
    return STEP_WAIT;
}

static enum step_next gone(struct ask *a, enum err e)
{
    log_warn(a->req->arena->id, "a remote bucket can't be reached", "address=%s bucket=%s error=%s",
             log_quote(a->req->remote->address), log_quote(a->req->remote->bucket), err_name(e));
    return op_fail(&a->op, ERR_REMOTE_GONE);
}

/* ---- the answer ---- */

static enum err of_status(int status)
{
    switch (status) {
    case 304:
        return ERR_NOT_MODIFIED;
    case 404:
        return ERR_NO_SUCH_KEY;
    case 409:
        return ERR_CONDITIONAL_CONFLICT;
    case 412:
        return ERR_PRECONDITION;
    case 416:
        return ERR_INVALID_RANGE;
    default:
        if (status >= 200 && status < 300)
            return ERR_OK;
        return status >= 500 || status == 429 ? ERR_REMOTE_GONE : ERR_REMOTE_REFUSED;
    }
}

static enum step_next ask_answered(struct op *op)
{
    struct ask *a = OP(op, struct ask);
    struct peer_res *answer = &a->res->answer;
    enum err e = op->call.err;

    if (e == ERR_CANCELLED)
        return op_fail(op, e);
    if (e == ERR_UNAVAILABLE || e == ERR_TIMEOUT || e == ERR_BUSY)
        return may_repeat(a) ? again(a) : gone(a, e);
    if (e != ERR_OK) /* of the body's source */
        return op_fail(op, e);
    a->status_err = of_status(answer->status);
    if (a->status_err == ERR_REMOTE_GONE && may_repeat(a))
        return again(a);
    if (a->status_err == ERR_OK && !a->req->reads_xml)
        return op_go(op, ask_end);
    buf_init(&a->text, a->status_err == ERR_OK ? S3_TEXT_MAX : ERROR_TEXT_MAX);
    return op_go(op, answer->body ? ask_read : ask_parse);
}

static enum step_next ask_read(struct op *op)
{
    struct ask *a = OP(op, struct ask);
    char *room = buf_reserve(&a->text, CHUNK);

    if (!room)
        return op_go(op, ask_parse);
    source_read(a->res->answer.body, room, CHUNK, &a->got, op_try(op, ask_more));
    return STEP_WAIT;
}

static enum step_next ask_more(struct op *op)
{
    struct ask *a = OP(op, struct ask);

    if (op->call.err == ERR_CANCELLED)
        return op_fail(op, ERR_CANCELLED);
    if (op->call.err != ERR_OK && a->status_err == ERR_OK)
        return may_repeat(a) ? (buf_release(&a->text), again(a)) : gone(a, op->call.err);
    if (op->call.err != ERR_OK || a->got == 0)
        return op_go(op, ask_parse);
    buf_commit(&a->text, a->got);
    return op_go(op, ask_read);
}

static enum err parse(struct offload_task *task)
{
    struct ask *a = CONTAINER(task, struct ask, task);

    return xml_read(buf_str(&a->text), &a->res->doc);
}

static enum step_next ask_parse(struct op *op)
{
    struct ask *a = OP(op, struct ask);

    source_close(a->res->answer.body);
    a->res->answer.body = NULL;
    if (a->text.over)
        return op_fail(op, ERR_REMOTE_REFUSED);
    offload_run(a->req->cpu, &a->task, parse, op_try(op, ask_parsed));
    return STEP_WAIT;
}

static void release_doc(void *doc)
{
    xml_doc_release(doc);
}

/* What a document of an error says is more than its status. Also of a 200: CompleteMultipartUpload answers so. */
static enum err of_error(struct ask *a, enum err e, struct str *code, struct str *message)
{
    const struct xml_doc *d = &a->res->doc;

    if (!d->count || !str_eq(xml_root(d)->name, STR("Error")))
        return e;
    *code = xml_child_text(d, xml_root(d), STR("Code"));
    *message = xml_child_text(d, xml_root(d), STR("Message"));
    if (str_eq(*code, STR("NoSuchBucket")))
        return ERR_NO_SUCH_BUCKET;
    if (e == ERR_OK || e == ERR_NO_SUCH_KEY)
        return str_eq(*code, STR("NoSuchKey"))            ? ERR_NO_SUCH_KEY
               : str_eq(*code, STR("PreconditionFailed")) ? ERR_PRECONDITION
               : e == ERR_OK                              ? ERR_REMOTE_GONE
                                                          : e;
    return e;
}

static enum step_next ask_parsed(struct op *op)
{
    struct ask *a = OP(op, struct ask);
    struct str code = STR(""), message = STR("");
    enum err e = op->call.err;

    if (e == ERR_OK)
        arena_defer(a->req->arena, release_doc, &a->res->doc);
    if (e == ERR_CANCELLED || e == ERR_BUSY)
        return op_fail(op, e);
    if (e != ERR_OK && a->status_err == ERR_OK) {
        log_error(a->req->arena->id, "a remote bucket's answer makes no sense", "address=%s bucket=%s",
                  log_quote(a->req->remote->address), log_quote(a->req->remote->bucket));
        return op_fail(op, ERR_REMOTE_REFUSED);
    }
    e = of_error(a, a->status_err, &code, &message);
    if (e == ERR_REMOTE_GONE || e == ERR_REMOTE_REFUSED || e == ERR_NO_SUCH_BUCKET)
        log_warn(a->req->arena->id, "a remote bucket refuses a request",
                 "address=%s bucket=%s method=" STR_FMT " status=%d code=%s message=%s",
                 log_quote(a->req->remote->address), log_quote(a->req->remote->bucket), STR_ARG(a->req->method),
                 a->res->answer.status, log_quote(code), log_quote(message));
    return e == ERR_OK ? op_go(op, ask_end) : op_fail(op, e);
}

static enum step_next ask_end(struct op *op)
{
    struct ask *a = OP(op, struct ask);

    if (op->err != ERR_OK) {
        source_close(a->res->answer.body);
        a->res->answer.body = NULL;
    }
    buf_release(&a->text);
    call_finish(a->whole, op->err);
    free(a);
    return STEP_DONE;
}

static void ask_cancel(void *arg)
{
    op_cancel(&((struct ask *)arg)->op, ERR_CANCELLED);
}

void s3_ask(const struct s3_ask_req *req, struct s3_ask_res *res, struct call *call)
{
    struct ask *a = NEW(struct ask);

    a->req = req;
    a->res = res;
    a->whole = call;
    *res = (struct s3_ask_res){.answer = {0}};
    op_start(&a->op, call->loop, "s3_ask", ask_send, ask_end);
    call_on_cancel(call, ask_cancel, a);
}

/* ---- what an object is ---- */

static bool is_kept(struct str name)
{
    static const struct str kept[] = {STR("content-type"),     STR("cache-control"), STR("content-disposition"),
                                      STR("content-encoding"), STR("expires"),       STR("content-language")};

    for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
        if (str_eq(name, kept[i]))
            return true;
    return str_starts(name, STR("x-amz-meta-"));
}

static void take_checksum(const struct peer_res *answer, struct object_info *out)
{
    static const struct {
        struct str name;
        enum hash_alg alg;
    } known[] = {{STR("x-amz-checksum-crc64nvme"), HASH_CRC64NVME},
                 {STR("x-amz-checksum-crc32"), HASH_CRC32},
                 {STR("x-amz-checksum-crc32c"), HASH_CRC32C},
                 {STR("x-amz-checksum-sha1"), HASH_SHA1},
                 {STR("x-amz-checksum-sha256"), HASH_SHA256}};

    if (str_eq(peer_header(answer, STR("x-amz-checksum-type")), STR("COMPOSITE")))
        return;
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        struct digest d = {.alg = known[i].alg};
        size_t n = 0;
        struct str text = peer_header(answer, known[i].name);
        if (!text.p || !base64_decode(text, d.b, sizeof(d.b), &n) || n != hash_len(d.alg))
            continue;
        d.n = (uint8_t)n;
        out->checksum = (struct checksum){.digest = d, .type = CHECKSUM_FULL_OBJECT};
        return;
    }
}

bool s3_object_info(struct arena *arena, const struct peer_res *answer, unsigned spare, struct object_info *out)
{
    struct attr *attrs = arena_alloc(arena, (answer->header_count + spare) * sizeof(*attrs));
    struct str etag = str_trim(peer_header(answer, STR("etag")));
    int64_t s = 0;

    *out = (struct object_info){.attrs = attrs};
    if (!str_to_u64(peer_header(answer, STR("content-length")), OBJECT_SIZE_MAX, &out->size))
        return false;
    if (etag.n > 2 && etag.p[0] == '"' && etag.p[etag.n - 1] == '"')
        etag = str_n(etag.p + 1, etag.n - 2);
    if (etag.n == 0 || etag.n > ETAG_MAX)
        return false;
    out->etag.n = (uint8_t)etag.n;
    memcpy(out->etag.text, etag.p, etag.n);
    if (!clock_http_parse(peer_header(answer, STR("last-modified")), &s) || s < 0 || s > INT64_MAX / NS_PER_S)
        s = 0;
    out->mtime_ns = s * NS_PER_S;
    for (size_t i = 0; i < answer->header_count; i++)
        if (is_kept(answer->headers[i].name))
            attrs[out->attr_count++] = (struct attr){answer->headers[i].name, answer->headers[i].value};
    take_checksum(answer, out);
    return true;
}

bool s3_etag_is_md5(const struct peer_res *answer, const struct object_info *info)
{
    struct str sse = peer_header(answer, STR("x-amz-server-side-encryption"));
    uint8_t md5[16];

    return etag_to_md5(&info->etag, md5) && (!sse.n || str_eq(sse, STR("AES256"))) &&
           !peer_header(answer, STR("x-amz-server-side-encryption-customer-algorithm")).p;
}
