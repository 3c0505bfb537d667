#include "native.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/native_auth.h"
#include "gateway/native_request.h"
#include "s3api/name.h"

enum { QUERY_PARAMS_MAX = 64, TEXT_MAX = 64 << 20 };

struct native {
    struct http_handler handler;
    struct native_env env;
};

static const struct native_route routes[] = {
#define NROUTE(m, path, action, name, first, flags) {name, HTTP_##m, path, action, first, flags},
#define NUNSERVED(m, path, action, name)            {name, HTTP_##m, path, action, NULL, NATIVE_ACTION},
#include "gateway/native_routes.def"
#undef NROUTE
#undef NUNSERVED
};
enum { ROUTES = sizeof(routes) / sizeof(routes[0]) };

/* The life of a request: these steps, then those of its route, then native_send. A body is read before the route is known where any row of
 * the path and method wants a message. */
static step_fn request_parse, request_who, request_body, request_read, request_route, request_bucket, request_run;

struct reading {
    struct source_fill fill;
    char *p;
    size_t n;
};

/* ---- the path ---- */

/* "/v1/objects/b/a%2Fb/c" -> "objects", "b", "a%2Fb/c"; of most paths the third segment is the rest. */
static void split(struct native_request *r)
{
    struct str rest = str_skip(r->http->path, STR("/v1/").n);
    bool is_reverse = str_starts(rest, STR("reverse/")) || str_starts(rest, STR("ml/"));
    unsigned before_rest = is_reverse ? 3 : 2;

    for (r->raw_count = 0; r->raw_count < before_rest && rest.n; r->raw_count++) {
        size_t at = str_find_char(rest, '/');
        r->raw[r->raw_count] = str_split(&rest, '/');
        if (at == SIZE_MAX)
            rest = STR("");
    }
    if (rest.n)
        r->raw[r->raw_count++] = rest;
}

static bool path_is(const struct native_request *r, const char *path, unsigned *segments)
{
    struct str want = str_z(path), first = str_split(&want, '/');

    *segments = want.n ? 2 : 1;
    return str_eq(r->raw[0], first) && (want.n == 0 || str_eq(r->raw[1], want));
}

/* Rows of this path and method, of whatever action. */
static const struct native_route *next_route(const struct native_request *r, size_t *i, bool any_method)
{
    unsigned segments;

    while (*i < ROUTES) {
        const struct native_route *row = &routes[(*i)++];
        if ((any_method || row->method == r->http->method) && path_is(r, row->path, &segments))
            return row;
    }
    return NULL;
}

static bool wants(const struct native_request *r, unsigned flags)
{
    size_t i = 0;

    for (const struct native_route *row; (row = next_route(r, &i, false)) != NULL;)
        if (row->flags & flags)
            return true;
    return false;
}

static enum err find_route(struct native_request *r)
{
    const struct native_route *any = NULL;
    size_t i = 0;

    for (const struct native_route *row; (row = next_route(r, &i, false)) != NULL;) {
        if (str_eq(r->action.action, str_z(row->action))) {
            r->route = row;
            return ERR_OK;
        }
        if (str_eq(str_z(row->action), STR("*")) && !any)
            any = row;
    }
    if ((r->route = any) != NULL)
        return ERR_OK;
    i = 0;
    if (next_route(r, &i, false))
        return native_error(r, ERR_NOT_IMPLEMENTED, "%s of " STR_FMT ": the action \"" STR_FMT "\" is not served",
                            r->http->method_text.n ? arena_str(r->arena, r->http->method_text).p : "",
                            STR_ARG(r->raw[0]), STR_ARG(r->action.action));
    i = 0;
    if (next_route(r, &i, true))
        return native_error(r, ERR_METHOD_NOT_ALLOWED, STR_FMT " is no method of " STR_FMT,
                            STR_ARG(r->http->method_text), STR_ARG(r->http->path));
    return native_error(r, ERR_NOT_IMPLEMENTED, STR_FMT " " STR_FMT " is not served", STR_ARG(r->http->method_text),
                        STR_ARG(r->http->path));
}

/* ---- steps ---- */

static enum step_next request_parse(struct op *op)
{
    struct native_request *r = NATIVE(op);
    enum err e = url_parse_query(r->arena, r->http->query, &r->query, &r->query_count, QUERY_PARAMS_MAX);

    if (e != ERR_OK)
        return op_fail(op, native_error(r, ERR_BAD_REQUEST, "the query can't be read"));
    split(r);
    return op_go(op, request_who);
}

/* Before anything that could tell a stranger what exists. */
static enum step_next request_who(struct op *op)
{
    struct native_request *r = NATIVE(op);
    enum err e = native_auth(r);

    if (e != ERR_OK)
        return op_fail(op, e);
    return wants(r, NATIVE_ACTION | NATIVE_RAW) && r->http->body ? op_go(op, request_body) : op_go(op, request_route);
}

static enum step_next request_body(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct reading *in = r->state = ARENA_NEW(r->arena, struct reading);
    uint64_t len = r->http->body_len;

    if (len != HTTP_LENGTH_UNKNOWN && len > NATIVE_BODY_MAX)
        return op_fail(op,
                       native_error(r, ERR_BAD_REQUEST, "the request's body is longer than %d bytes", NATIVE_BODY_MAX));
    in->n = len == HTTP_LENGTH_UNKNOWN ? NATIVE_BODY_MAX + 1 : (size_t)len;
    in->p = mem_alloc(in->n + 1);
    arena_defer(r->arena, free, in->p);
    source_fill(&in->fill, r->http->body, in->p, in->n, &in->n, op_call(op, request_read));
    return STEP_WAIT;
}

static enum step_next request_read(struct op *op)
{
    struct native_request *r = NATIVE(op);
    const struct reading *in = r->state;
    const struct js_bounds bounds = {NATIVE_BODY_MAX, NATIVE_NODES_MAX};
    char why[DOC_WHY_MAX] = "";
    struct doc *d;

    r->state = NULL;
    if (in->n > NATIVE_BODY_MAX)
        return op_fail(op,
                       native_error(r, ERR_BAD_REQUEST, "the request's body is longer than %d bytes", NATIVE_BODY_MAX));
    if (wants(r, NATIVE_RAW)) {
        r->raw_body = str_n(in->p, in->n);
        return op_go(op, request_route);
    }
    if (in->n == 0)
        return op_go(op, request_route);
    if (js_read_within(r->arena, str_n(in->p, in->n), &bounds, &d, why) != ERR_OK)
        return op_fail(op, native_error(r, ERR_BAD_REQUEST, "the request's body is no JSON: %s", why));
    r->body = d;
    r->action.action = native_text(d, "action");
    r->action.name = native_text(d, "name");
    r->action.value = native_member(d, "value");
    return op_go(op, request_route);
}

static enum step_next request_route(struct op *op)
{
    struct native_request *r = NATIVE(op);
    unsigned segments;
    enum err e = find_route(r);

    if (e != ERR_OK)
        return op_fail(op, e);
    op->name = r->route->name;
    if (!r->route->first)
        return op_fail(op, native_error(r, ERR_NOT_IMPLEMENTED, "%s is not served here", r->route->name));
    (void)path_is(r, r->route->path, &segments);
    if (!(r->route->flags & (NATIVE_BUCKET | NATIVE_NAMED | NATIVE_OBJECT)))
        return op_go(op, request_run);
    if ((e = native_path_bucket(r, segments)) != ERR_OK)
        return op_fail(op, e);
    return r->route->flags & NATIVE_BUCKET ? op_go(op, request_bucket) : op_go(op, request_run);
}

static enum step_next request_bucket(struct op *op)
{
    struct native_request *r = NATIVE(op);

    native_bucket_find(r, &r->bucket, op_call(op, request_run));
    return STEP_WAIT;
}

static enum step_next request_run(struct op *op)
{
    return op_go_named(op, NATIVE(op)->route->first, "first");
}

/* ---- the handler ---- */

static void on_abort(struct http_req *req)
{
    struct native_request *r = req->user;

    op_cancel(&r->op, ERR_CLIENT_GONE);
}

static void release_text(void *text)
{
    buf_release(text);
}

static void on_request(struct http_handler *h, struct http_req *req)
{
    struct native *n = CONTAINER(h, struct native, handler);
    struct native_request *r = ARENA_NEW(req->arena, struct native_request);

    r->http = req;
    r->arena = req->arena;
    r->env = &n->env;
    r->started_ns = clock_mono_ns();
    r->stated_length = HTTP_LENGTH_UNKNOWN;
    buf_init(&r->text, TEXT_MAX);
    arena_defer(req->arena, release_text, &r->text);
    req->user = r;
    req->on_abort = on_abort;
    op_start(&r->op, n->env.loop, "native", request_parse, native_send);
}

bool native_takes(struct str path)
{
    return str_starts(path, STR("/v1/"));
}

struct native *native_new(const struct native_env *env)
{
    struct native *n = NEW(struct native);

    n->env = *env;
    n->handler.on_request = on_request;
    return n;
}

struct http_handler *native_handler(struct native *n)
{
    return &n->handler;
}

void native_free(struct native *n)
{
    free(n);
}
