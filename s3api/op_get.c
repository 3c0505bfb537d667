/* GetObject and HeadObject: one operation that differs in whether the store opens a body. */
#include "base/clock.h"
#include "s3api/cond.h"
#include "s3api/member.h"
#include "s3api/objreq.h"
#include "s3api/range.h"
#include "s3api/tags.h"
#include "s3api/transform.h"
#include "s3api/version.h"

step_fn get_object, head_object; /* routes.def */

struct get_state {
    struct obj_get_req req;
    struct member_read_req member;
    bool is_member; /* maybe: archives are looked into first */
    struct obj_get_res res;
    bool partial;        /* Range or partNumber was given */
    struct str if_range; /* p == NULL: none */
    bool wants_checksum;
    struct str overrides[6]; /* by index of `overridable`; p == NULL: none */
    bool overridden;
};

/* Query parameter -> the kept header it replaces in the answer. */
static const struct {
    struct str param, attr, header;
} overridable[] = {
    {{"response-content-type", 21}, {"content-type", 12}, {"Content-Type", 12}},
    {{"response-content-encoding", 25}, {"content-encoding", 16}, {"Content-Encoding", 16}},
    {{"response-cache-control", 22}, {"cache-control", 13}, {"Cache-Control", 13}},
    {{"response-content-disposition", 28}, {"content-disposition", 19}, {"Content-Disposition", 19}},
    {{"response-content-language", 25}, {"content-language", 16}, {"Content-Language", 16}},
    {{"response-expires", 16}, {"expires", 7}, {"Expires", 7}},
};
enum { OVERRIDABLE = sizeof(overridable) / sizeof(overridable[0]) };

static step_fn get_open, get_opened, head_look, head_found;
static enum err get_parse(struct s3_request *r, struct get_state *g);
static bool range_is_stale(const struct get_state *g, enum err e);
static void drop_range(struct get_state *g);
static enum step_next get_reply(struct s3_request *r, struct get_state *g);
static void close_body(void *arg);

enum step_next get_object(struct op *op)
{
    struct s3_request *r = S3(op);
    struct get_state *g;
    enum err e;

    if (transform_wanted(r))
        return op_go(op, transform_get);
    if (member_selects(r))
        return op_go(op, member_select);
    g = r->state = ARENA_NEW(r->arena, struct get_state);
    if ((e = get_parse(r, g)) != ERR_OK)
        return op_fail(op, e);
    /* a request that is cancelled between the open and get_opened must not leave the body behind */
    arena_defer(r->arena, close_body, g);
    return op_go(op, get_open);
}

static enum step_next get_open(struct op *op)
{
    struct s3_request *r = S3(op);
    struct get_state *g = r->state;

    g->member.get = g->req;
    if (g->is_member)
        member_read(r, &g->member, &g->res, op_try(op, get_opened));
    else
        store_obj_get(r->env->store, &g->req, &g->res, op_try(op, get_opened));
    return STEP_WAIT;
}

enum step_next head_object(struct op *op)
{
    struct s3_request *r = S3(op);
    struct get_state *g;
    enum err e;

    if (member_selects(r)) /* refuses */
        return op_go(op, member_select);
    g = r->state = ARENA_NEW(r->arena, struct get_state);
    if ((e = get_parse(r, g)) != ERR_OK)
        return op_fail(op, e);
    return op_go(op, head_look);
}

static enum step_next head_look(struct op *op)
{
    struct s3_request *r = S3(op);
    struct get_state *g = r->state;

    g->member.get = g->req;
    g->member.head = true;
    if (g->is_member)
        member_read(r, &g->member, &g->res, op_try(op, head_found));
    else
        store_obj_head(r->env->store, &g->req.head, &g->res.head, op_try(op, head_found));
    return STEP_WAIT;
}

/* Another version is current meanwhile. */
static bool moved_on(struct s3_request *r, struct get_state *g)
{
    enum err e = r->op.call.err;

    if ((e != ERR_OK && e != ERR_INVALID_RANGE && e != ERR_NOT_MODIFIED && e != ERR_PRECONDITION) ||
        !version_moved(r, &g->res.head.info))
        return false;
    source_close(g->res.body);
    g->res = (struct obj_get_res){0};
    g->req.head.bucket = r->place.bucket;
    g->req.head.key = r->place.key;
    return true;
}

static enum step_next get_opened(struct op *op)
{
    struct s3_request *r = S3(op);
    struct get_state *g = r->state;

    if (range_is_stale(g, op->call.err)) {
        drop_range(g);
        return op_go(op, get_open);
    }
    if (moved_on(r, g))
        return op_go(op, get_open);
    if (op->call.err == ERR_NO_SUCH_KEY)
        return op_go(op, version_absent);
    if (op->call.err == ERR_OK) {
        reply_body(r, g->res.body);
        g->res.body = NULL;
    }
    return get_reply(r, g);
}

static enum step_next head_found(struct op *op)
{
    struct s3_request *r = S3(op);
    struct get_state *g = r->state;

    if (range_is_stale(g, op->call.err)) {
        drop_range(g);
        return op_go(op, head_look);
    }
    if (moved_on(r, g))
        return op_go(op, head_look);
    if (op->call.err == ERR_NO_SUCH_KEY)
        return op_go(op, version_absent);
    if (op->call.err == ERR_OK)
        reply_length(r, g->res.head.len);
    return get_reply(r, g);
}

static void close_body(void *arg)
{
    source_close(((struct get_state *)arg)->res.body);
}

/* If-Range: the client goes on with what it has, unless the object is another one by now: then it wants all of it
 * (RFC 9110 section 13.1.5). The store has applied the range already, so a stale one costs a second look. */
static bool range_is_stale(const struct get_state *g, enum err e)
{
    const struct object_info *info = &g->res.head.info;
    int64_t seconds;

    if (!g->if_range.p || g->req.head.range.kind == RANGE_ALL || (e != ERR_OK && e != ERR_INVALID_RANGE))
        return false;
    if (clock_http_parse(g->if_range, &seconds))
        return seconds != info->mtime_ns / NS_PER_S;
    return !etag_matches(&info->etag, g->if_range);
}

static void drop_range(struct get_state *g)
{
    source_close(g->res.body);
    g->res = (struct obj_get_res){0};
    g->req.head.range = (struct range){RANGE_ALL, 0, 0};
    g->partial = false;
}

/* ---- the request ---- */

static enum err parse_overrides(struct s3_request *r, struct get_state *g)
{
    for (size_t i = 0; i < r->query_count; i++) {
        if (!str_starts(r->query[i].name, STR("response-")))
            continue;
        for (size_t k = 0; k < OVERRIDABLE; k++) {
            if (!str_eq(r->query[i].name, overridable[k].param) || g->overrides[k].p)
                continue;
            g->overrides[k] = r->query[i].value;
            g->overridden = true;
        }
    }
    if (g->overridden && r->access_key.n == 0 && !r->env->conf->auth_none)
        return reply_error(r, ERR_INVALID_REQUEST,
                           "Request specific response headers cannot be used for anonymous GET requests.");
    for (size_t k = 0; k < OVERRIDABLE; k++)
        for (size_t i = 0; i < g->overrides[k].n; i++)
            if ((unsigned char)g->overrides[k].p[i] < 0x20 || g->overrides[k].p[i] == 0x7F)
                return reply_error(r, ERR_INVALID_ARGUMENT, "A response header may not hold control characters");
    return ERR_OK;
}

static enum err get_parse(struct s3_request *r, struct get_state *g)
{
    struct obj_head_req *h = &g->req.head;
    struct str range = s3_header(r, STR("range"));
    bool part;
    enum err e;

    *h = (struct obj_head_req){.arena = r->arena, .bucket = r->place.bucket, .key = r->place.key};
    if ((e = objreq_part_number(r, &part, &h->part_number)) != ERR_OK || (e = parse_overrides(r, g)) != ERR_OK ||
        (e = member_parse(r, &g->member, &g->is_member)) != ERR_OK)
        return e;
    if (range.p) {
        range_parse(range, &h->range);
        g->if_range = s3_header(r, STR("if-range"));
    }
    if (range.p && part)
        return reply_error(r, ERR_INVALID_REQUEST, "Cannot specify both Range header and partNumber query parameter");
    /* There is no encrypted object that a key could be for. */
    if (s3_header(r, STR("x-amz-server-side-encryption-customer-algorithm")).p ||
        s3_header(r, STR("x-amz-server-side-encryption-customer-key")).p ||
        s3_header(r, STR("x-amz-server-side-encryption-customer-key-md5")).p)
        return reply_error(r, ERR_INVALID_REQUEST, "The encryption parameters are not applicable to this object.");
    g->partial = part || h->range.kind != RANGE_ALL;
    g->wants_checksum = str_eq_nocase(s3_header(r, STR("x-amz-checksum-mode")), STR("ENABLED"));
    cond_parse_read(r->http, &h->cond);
    return ERR_OK;
}

/* ---- the answer ---- */

/* Index in `overridable`, or OVERRIDABLE. */
static size_t override_of(struct str attr)
{
    size_t k = 0;

    if (str_starts(attr, STR("x-amz-")))
        return OVERRIDABLE;
    while (k < OVERRIDABLE && !str_eq(attr, overridable[k].attr))
        k++;
    return k;
}

static void reply_attrs(struct s3_request *r, struct get_state *g)
{
    const struct object_info *info = &g->res.head.info;

    for (uint32_t i = 0; i < info->attr_count; i++) {
        const struct attr *a = &info->attrs[i];
        size_t k = override_of(a->name);
        if (str_starts(a->name, STR(ATTR_PRIVATE)))
            continue;
        if (k == OVERRIDABLE)
            reply_header(r, a->name, a->value);
        else if (!g->overrides[k].p)
            reply_header(r, overridable[k].header, a->value);
    }
    if (!g->overridden)
        return;
    for (size_t k = 0; k < OVERRIDABLE; k++)
        if (g->overrides[k].p)
            reply_header(r, overridable[k].header, g->overrides[k]);
}

/* A checksum of the whole object with a part of its bytes would make clients reject what they got. */
static void reply_get_checksum(struct s3_request *r, struct get_state *g)
{
    const struct obj_head_res *h = &g->res.head;

    if (!g->wants_checksum || g->req.head.range.kind != RANGE_ALL)
        return;
    if (!g->req.head.part_number || h->info.parts == 0) {
        reply_checksum(r, &h->info.checksum);
    } else if (h->part.checksum.digest.n) {
        objreq_reply_digest(r, &h->part.checksum.digest);
        reply_header(r, STR("x-amz-checksum-type"), checksum_type_name(h->info.checksum.type));
    }
}

/* What a failed condition or range tells nevertheless. */
static enum err reply_refusal(struct s3_request *r, struct get_state *g, enum err e)
{
    const struct object_info *info = &g->res.head.info;
    struct str cache = object_attr(info, STR("cache-control")), expires = object_attr(info, STR("expires"));

    reply_keep_headers(r);
    if (e == ERR_INVALID_RANGE) {
        reply_header_f(r, STR("Content-Range"), "bytes */%llu", (unsigned long long)info->size);
        reply_detail(r, STR("RangeRequested"), s3_header(r, STR("range")));
        reply_detail(r, STR("ActualObjectSize"), arena_printf(r->arena, "%llu", (unsigned long long)info->size));
        return e;
    }
    reply_etag(r, &info->etag);
    reply_last_modified(r, info->mtime_ns);
    if (e == ERR_NOT_MODIFIED && cache.n)
        reply_header(r, STR("Cache-Control"), cache);
    if (e == ERR_NOT_MODIFIED && expires.n)
        reply_header(r, STR("Expires"), expires);
    return objreq_fail(r, e, r->key, &g->req.head.cond);
}

static enum step_next get_reply(struct s3_request *r, struct get_state *g)
{
    const struct obj_head_res *h = &g->res.head;
    enum err e = r->op.call.err;

    if (e == ERR_INVALID_RANGE || e == ERR_NOT_MODIFIED || e == ERR_PRECONDITION)
        return op_fail(&r->op, reply_refusal(r, g, e));
    if (e == ERR_INVALID_PART_NUMBER)
        reply_detail(r, STR("PartNumberRequested"), s3_query(r, STR("partNumber")));
    if (e != ERR_OK)
        return op_fail(&r->op, objreq_fail(r, e, r->key, NULL));
    if (g->partial && h->len) {
        reply_status(r, 206);
        reply_header_f(r, STR("Content-Range"), "bytes %llu-%llu/%llu", (unsigned long long)h->offset,
                       (unsigned long long)(h->offset + h->len - 1), (unsigned long long)h->info.size);
    }
    reply_etag(r, &h->info.etag);
    reply_last_modified(r, h->info.mtime_ns);
    reply_header(r, STR("Accept-Ranges"), STR("bytes"));
    reply_attrs(r, g);
    version_reply_place(r, &h->info);
    reply_get_checksum(r, g);
    if (h->info.tags.n)
        reply_header_f(r, STR("x-amz-tagging-count"), "%zu", tags_count(h->info.tags));
    objreq_reply_expiration(r, &h->info);
    if (g->req.head.part_number && h->info.parts)
        reply_header_f(r, STR("x-amz-mp-parts-count"), "%u", h->info.parts);
    return op_go(&r->op, reply_send);
}
