#include "exchange.h"

#include <stdlib.h>

#include "base/op.h"

/* ---- the server's side: http_respond() reads the body to its end instead of sending it ---- */

struct sender {
    struct op op;
    struct exchange_world *world;
    struct source *body;
    struct call *whole;
    size_t got;
    char step[65536];
};

static struct exchange_world *current;
static step_fn send_more, send_got, send_end;

static enum step_next send_more(struct op *op)
{
    struct sender *s = OP(op, struct sender);
    struct span span;

    if (!s->body)
        return op_go(op, send_end);
    source_peek(s->body, &span);
    if (span.kind == SPAN_END)
        return op_go(op, send_end);
    if (span.kind == SPAN_WAIT) {
        source_prepare(s->body, op_call(op, send_more));
        return STEP_WAIT;
    }
    source_read(s->body, s->step, sizeof(s->step), &s->got, op_call(op, send_got));
    return STEP_WAIT;
}

static enum step_next send_got(struct op *op)
{
    struct sender *s = OP(op, struct sender);

    buf_add(&s->world->body, s->step, s->got);
    return s->got ? op_go(op, send_more) : op_go(op, send_end);
}

static enum step_next send_end(struct op *op)
{
    struct sender *s = OP(op, struct sender);

    source_close(s->body);
    s->world->done = true;
    call_finish(s->whole, op->err);
    free(s);
    return STEP_DONE;
}

void http_end_is_leaving(struct http_req *req)
{
    (void)req;
}

void http_respond(struct http_req *req, const struct http_res *res, struct call *call)
{
    struct exchange_world *w = current;
    struct sender *s = NEW(struct sender);

    (void)req;
    w->status = res->status;
    w->stated_length = res->stated_length;
    w->res_header_count = res->header_count;
    w->res_headers = arena_alloc(&w->kept, res->header_count * sizeof(*w->res_headers) + 1);
    for (size_t i = 0; i < res->header_count; i++)
        w->res_headers[i] =
            (struct http_header){arena_str(&w->kept, res->headers[i].name), arena_str(&w->kept, res->headers[i].value)};
    s->world = w;
    s->body = res->body;
    s->whole = call;
    op_start(&s->op, w->loop, "send", send_more, send_end);
}

/* ---- requests ---- */

static void add_headers(struct exchange_world *w, const char *text, size_t body_n)
{
    struct str rest = str_z(text);

    while (rest.n) {
        struct str line = str_split(&rest, '\n');
        struct str name = str_split(&line, ':');
        w->headers[w->req.header_count++] = (struct http_header){name, str_trim(line)};
    }
    w->headers[w->req.header_count++] =
        (struct http_header){STR("content-length"), arena_printf(&w->arena, "%zu", body_n)};
    w->headers[w->req.header_count++] = (struct http_header){STR("host"), STR("localhost")};
    w->req.headers = w->headers;
}

static void set_target(struct http_req *req, const char *method, const char *target)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"};
    size_t at;

    req->method_text = str_z(method);
    for (int i = 0; i < 7; i++)
        if (strcmp(method, methods[i]) == 0)
            req->method = (enum http_method)i;
    req->target = req->path = str_z(target);
    if ((at = str_find_char(req->target, '?')) == SIZE_MAX)
        return;
    req->has_query = true;
    req->path.n = at;
    req->query = str_skip(req->target, at + 1);
}

int exchange(struct exchange_world *w, const char *method, const char *target, const char *headers, struct str body)
{
    struct http_handler *h = s3api_handler(w->s3);

    arena_release(&w->kept);
    buf_reset(&w->body);
    w->req = (struct http_req){.arena = &w->arena, .loop = w->loop, .body_len = body.n, .host = STR("localhost")};
    memcpy(w->req.id, "0123456789ABCDEF", sizeof(w->req.id));
    set_target(&w->req, method, target);
    add_headers(w, headers, body.n);
    if (body.n)
        w->req.body = source_memory(body, NULL, NULL);
    w->done = false;
    current = w;
    h->on_request(h, &w->req);
    for (unsigned turn = 1; !w->done; turn++) {
        if (turn == w->abort_after)
            w->req.on_abort(&w->req);
        loop_turn(w->loop, 10);
    }
    loop_turn(w->loop, 0); /* the call of http_respond() */
    source_close(w->req.body);
    arena_release(&w->arena);
    return w->status;
}

/* ---- looking at answers ---- */

struct str exchange_header(const struct exchange_world *w, const char *name)
{
    for (size_t i = 0; i < w->res_header_count; i++)
        if (str_eq_nocase(w->res_headers[i].name, str_z(name)))
            return w->res_headers[i].value;
    return STR_NONE;
}

bool exchange_body_has(const struct exchange_world *w, const char *text)
{
    return str_find(buf_str(&w->body), str_z(text)) != SIZE_MAX;
}

struct str exchange_element(const struct exchange_world *w, const char *name)
{
    struct arena a = ARENA_INIT;
    struct str all = buf_str(&w->body), open = arena_printf(&a, "<%s>", name), close = arena_printf(&a, "</%s>", name);
    size_t from = str_find(all, open);
    struct str text = from == SIZE_MAX ? STR_NONE : str_skip(all, from + open.n);
    size_t to = text.p ? str_find(text, close) : SIZE_MAX;

    arena_release(&a);
    return to == SIZE_MAX ? STR_NONE : str_n(text.p, to);
}

/* ---- the world ---- */

void exchange_open(struct exchange_world *w)
{
    *w = (struct exchange_world){.arena = ARENA_INIT, .kept = ARENA_INIT, .conf = {.auth_none = true}};
    hash_setup();
    buf_init(&w->body, EXCHANGE_BODY_MAX);
    w->loop = loop_new();
    loop_adopt(w->loop);
    w->store = memstore_new(w->loop);
    w->meta = meta_memory_new();
    if (buckets_open(w->meta, &w->buckets) != ERR_OK)
        abort();
    w->creds = creds_new();
    w->cpu = offload_new("cpu", 1, 64);
    struct s3api_env env = {
        .loop = w->loop, .store = w->store, .buckets = w->buckets, .creds = w->creds, .cpu = w->cpu, .conf = &w->conf};
    w->s3 = s3api_new(&env);
}

void exchange_close(struct exchange_world *w)
{
    s3api_free(w->s3);
    offload_free(w->cpu);
    creds_free(w->creds);
    buckets_close(w->buckets);
    meta_close(w->meta);
    store_close(w->store);
    arena_release(&w->kept);
    buf_release(&w->body);
    loop_free(w->loop);
}
