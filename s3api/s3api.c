#include "s3api.h"

#include "base/clock.h"
#include "base/mem.h"
#include "s3api/access_log.h"
#include "s3api/auth.h"
#include "s3api/limits.h"
#include "s3api/may.h"
#include "s3api/member.h"
#include "s3api/name.h"
#include "s3api/request.h"
#include "s3api/version.h"
#include "s3api/website.h"

enum { QUERY_PARAMS_MAX = 128, HOST_ID_LEN = BASE64_LEN(32) };

struct s3api {
    struct http_handler handler;
    struct s3api_env env;
    char host_id[HOST_ID_LEN]; /* opaque; tells which loop of which process answered */
};

/* The life of a request: these steps, then those of its route, then reply_send. */
static step_fn request_parse, request_who, request_route, request_bucket, request_bucket_found, request_bucket_known;

static enum step_next request_parse(struct op *op)
{
    struct s3_request *r = S3(op);
    const struct s3api_conf *conf = r->env->conf;
    struct target t;
    enum err e;

    if (conf->website_domain_count &&
        name_target(r->http->path, r->http->host, conf->website_domains, conf->website_domain_count, r->arena, &t) ==
            ERR_OK &&
        t.from_host) {
        r->website = true;
        r->bucket_name = t.bucket;
        r->key = t.key;
        cors_note(r);
        return op_go(op, website_begin);
    }
    if ((e = url_parse_query(r->arena, r->http->query, &r->query, &r->query_count, QUERY_PARAMS_MAX)) != ERR_OK ||
        (e = name_target(r->http->path, r->http->host, conf->domains, conf->domain_count, r->arena, &t)) != ERR_OK)
        return op_fail(op, e);
    r->bucket_name = t.bucket;
    r->bucket_from_host = t.from_host;
    r->key = t.key;
    r->level = t.key.n > 0 ? LEVEL_OBJECT : t.bucket.n > 0 ? LEVEL_BUCKET : LEVEL_SERVICE;
    r->subs = route_subs(r->http, r->level, r->query, r->query_count);
    cors_note(r);
    return op_go(op, request_who);
}

static enum err unbuilt(struct s3_request *r)
{
    return reply_error(r, ERR_NOT_IMPLEMENTED, "%s is not implemented.", r->route->name);
}

void s3_explain(struct s3_request *r, const struct auth_failure *why)
{
    const struct {
        struct str name, value;
    } details[] = {
        {STR("AWSAccessKeyId"), why->access_key},
        {STR("StringToSign"), why->string_to_sign},
        {STR("SignatureProvided"), why->signature},
        {STR("CanonicalRequest"), why->canonical_request},
        {STR("Region"), why->region},
        {STR("HeadersNotSigned"), why->headers_not_signed},
        {STR("RequestTime"), why->request_time},
        {STR("Expires"), why->expires},
        {STR("ServerTime"), why->server_time},
    };

    if (why->message.n > 0)
        r->reply.message = why->message;
    for (size_t i = 0; i < sizeof(details) / sizeof(details[0]); i++)
        if (details[i].value.n > 0)
            reply_detail(r, details[i].name, details[i].value);
    if (why->skew_max_ms > 0)
        reply_detail(r, STR("MaxAllowedSkewMilliseconds"), arena_printf(r->arena, "%u", why->skew_max_ms));
}

static enum err explain_route(struct s3_request *r, enum err e, struct str clash)
{
    static const struct str levels[] = {
        [LEVEL_SERVICE] = {"SERVICE", 7}, [LEVEL_BUCKET] = {"BUCKET", 6}, [LEVEL_OBJECT] = {"OBJECT", 6}};

    if (e != ERR_METHOD_NOT_ALLOWED)
        return reply_error(r, e, "These parameters can't be used together or with this method: " STR_FMT,
                           STR_ARG(clash));
    reply_detail(r, STR("Method"), r->http->method_text);
    reply_detail(r, STR("ResourceType"), levels[r->level]);
    return e;
}

/* Authentication comes before everything else that could tell a stranger what exists. */
static enum step_next request_who(struct op *op)
{
    struct s3_request *r = S3(op);
    struct auth_input in = {.req = r->http,
                            .bucket_from_host = r->bucket_from_host ? r->bucket_name : STR_NONE,
                            .query = r->query,
                            .query_count = r->query_count,
                            .now_s = clock_wall_ns() / NS_PER_S};
    struct auth_failure why = {0};
    struct str clash = STR_NONE;
    enum err e, route_err = route_find(r->http->method, r->level, r->subs, &r->route, r->arena, &clash);

    r->who = ARENA_NEW(r->arena, struct identity);
    if (route_err == ERR_OK && r->route->flags & ROUTE_OPEN) {
        op->name = r->route->name;
        return r->route->first ? op_go_named(op, r->route->first, "first") : op_fail(op, unbuilt(r));
    }
    e = r->env->conf->auth_none ? auth_skip(&in, r->arena, r->who, &why)
                                : auth_check(r->env->creds, &in, r->arena, r->who, &why);
    if (e != ERR_OK) {
        s3_explain(r, &why);
        return op_fail(op, e);
    }
    r->access_key = r->who->access_key;
    if ((e = s3_principal(r)) != ERR_OK)
        return op_fail(op, e);
    if (r->principal.kind == IAM_ANONYMOUS && (route_err != ERR_OK || !r->route->first))
        return op_fail(op, ERR_ACCESS_DENIED);
    if ((e = limits_user(r)) != ERR_OK)
        return op_fail(op, e);
    creds_owner_id(r->account, r->owner_id);
    return route_err == ERR_OK ? op_go(op, request_route) : op_fail(op, explain_route(r, route_err, clash));
}

static enum step_next request_route(struct op *op)
{
    struct s3_request *r = S3(op);
    enum err e;

    op->name = r->route->name;
    if (!r->route->first)
        return op_fail(op, unbuilt(r));
    if (r->level >= LEVEL_BUCKET && !name_is_bucket(r->bucket_name))
        return op_fail(op, ERR_INVALID_BUCKET_NAME);
    if (r->level == LEVEL_BUCKET && !(r->route->flags & ROUTE_NO_BUCKET))
        return op_go(op, request_bucket);
    if (r->level < LEVEL_OBJECT)
        return (e = s3_may_route(r)) == ERR_OK ? op_go_named(op, r->route->first, "first") : op_fail(op, e);
    if ((e = name_check_key(r->key)) != ERR_OK) {
        if (e == ERR_KEY_TOO_LONG) {
            reply_detail(r, STR("Size"), arena_printf(r->arena, "%zu", r->key.n));
            reply_detail(r, STR("MaxSizeAllowed"), arena_printf(r->arena, "%d", KEY_MAX));
        }
        return op_fail(op, e);
    }
    return op_go(op, request_bucket);
}

/* Until the operation's own state takes its place. */
struct bucket_look {
    struct bucket_look_req req;
    struct bucket_look_res res;
};

/* Nearly always known without asking; the call costs a turn of the loop. */
static enum step_next request_bucket(struct op *op)
{
    struct s3_request *r = S3(op);
    struct bucket_look *l;

    if (buckets_find(r->env->buckets, r->arena, r->bucket_name, &r->bucket) == ERR_OK)
        return op_go(op, request_bucket_known);
    r->state = l = ARENA_NEW(r->arena, struct bucket_look);
    l->req = (struct bucket_look_req){r->arena, r->bucket_name};
    buckets_look(r->env->buckets, &l->req, &l->res, op_call(op, request_bucket_found));
    return STEP_WAIT;
}

static enum step_next request_bucket_found(struct op *op)
{
    struct s3_request *r = S3(op);

    r->bucket = ((struct bucket_look *)r->state)->res.bucket;
    return op_go(op, request_bucket_known);
}

static enum step_next request_bucket_known(struct op *op)
{
    struct s3_request *r = S3(op);
    struct str expected = s3_header(r, STR("x-amz-expected-bucket-owner"));
    enum err e;

    creds_owner_id(r->bucket.owner, r->owner_id);
    if (expected.p && !str_eq(expected, s3_owner(r)))
        return op_fail(op, ERR_ACCESS_DENIED);
    if ((e = limits_bucket(r)) != ERR_OK)
        return op_fail(op, e);
    return may_wants_look(r) ? op_go(op, may_look) : op_go(op, request_may);
}

enum step_next request_may(struct op *op)
{
    struct s3_request *r = S3(op);
    enum err e = s3_may_route(r);

    if (e != ERR_OK)
        return op_fail(op, e);
    r->place = (struct s3_place){r->bucket.id, r->key};
    if (version_guarded(r))
        return op_go(op, version_guard);
    return member_guarded(r) ? op_go(op, member_guard) : op_go_named(op, r->route->first, "first");
}

static void on_abort(struct http_req *req)
{
    struct s3_request *r = req->user;

    op_cancel(&r->op, ERR_CLIENT_GONE);
}

static void on_request(struct http_handler *h, struct http_req *req)
{
    struct s3api *s = CONTAINER(h, struct s3api, handler);
    struct s3_request *r = ARENA_NEW(req->arena, struct s3_request);

    r->http = req;
    r->arena = req->arena;
    r->env = &s->env;
    r->host_id = str_n(s->host_id, sizeof(s->host_id));
    r->started_ns = clock_mono_ns();
    reply_init(r);
    req->user = r;
    req->on_abort = on_abort;
    op_start(&r->op, s->env.loop, "request", request_parse, reply_send);
}

struct s3api *s3api_new(const struct s3api_env *env)
{
    struct s3api *s = NEW(struct s3api);
    uint8_t id[32];

    s->handler.on_request = on_request;
    s->env = *env;
    s->env.logs = access_logs_new(env);
    random_bytes(id, sizeof(id));
    base64_encode(id, sizeof(id), s->host_id);
    return s;
}

struct http_handler *s3api_handler(struct s3api *s)
{
    return &s->handler;
}

void s3api_free(struct s3api *s)
{
    access_logs_free(s->env.logs);
    free(s);
}
