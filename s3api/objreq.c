#include "objreq.h"

#include "base/clock.h"
#include "http/url.h"
#include "s3api/copy_source.h"
#include "s3api/encryption.h"
#include "s3api/may.h"
#include "store/lifecycle.h"

static const struct {
    struct str name;
    bool prefix; /* and all that starts with it */
} unsupported[] = {
    {{"x-amz-server-side-encryption", 28}, true},
    {{"x-amz-copy-source-server-side-encryption", 40}, true},
    {{"x-amz-write-offset-bytes", 24}, false},
    {{"x-amz-if-match-last-modified-time", 33}, false},
    {{"x-amz-if-match-size", 19}, false},
    {{"x-amz-if-match-initiated-time", 29}, false},
    {{"x-amz-mfa", 9}, false},
};

static enum err not_implemented(struct s3_request *r, struct str header)
{
    reply_detail(r, STR("Header"), header);
    return reply_error(r, ERR_NOT_IMPLEMENTED,
                       "A header you provided implies functionality that is not implemented: " STR_FMT,
                       STR_ARG(header));
}

/* These look at them: acl_collect(). Others would ignore them. */
static bool takes_acl(const struct s3_request *r)
{
    step_fn *first = r->route->first;

    return first == put_object || first == copy_object || first == create_multipart_upload || first == post_object ||
           first == create_bucket;
}

static enum err check_acl(struct s3_request *r, const struct http_header *h)
{
    if (takes_acl(r) || (str_eq(h->name, STR("x-amz-acl")) &&
                         (str_eq(h->value, STR("private")) || str_eq(h->value, STR("bucket-owner-full-control")))))
        return ERR_OK;
    return not_implemented(r, h->name);
}

/* The header alone, without what belongs to keys of others. */
static bool takes_encryption(const struct s3_request *r, struct str header)
{
    step_fn *first = r->route->first;

    return str_eq(header, ATTR_ENCRYPTION) &&
           (first == put_object || first == copy_object || first == create_multipart_upload || first == post_object);
}

static bool is_append(const struct s3_request *r, struct str header)
{
    return r->route->first == put_object && str_eq(header, STR("x-amz-write-offset-bytes"));
}

enum err objreq_refuse_unsupported(struct s3_request *r)
{
    static const struct str amz = {"x-amz-", 6};

    if (s3_query(r, STR("archpath")).p || s3_query(r, STR("archmime")).p)
        return reply_error(r, ERR_NOT_IMPLEMENTED,
                           "archpath is for GET and HEAD: members are changed through the native API.");
    for (size_t i = 0; i < r->http->header_count; i++) {
        const struct http_header *h = &r->http->headers[i];
        if (!str_starts(h->name, amz))
            continue;
        if (str_eq(h->name, STR("x-amz-acl")) || str_starts(h->name, STR("x-amz-grant-"))) {
            enum err e = check_acl(r, h);
            if (e != ERR_OK)
                return e;
        }
        if (takes_encryption(r, h->name)) {
            enum err e = encryption_check(r, h->value);
            if (e != ERR_OK)
                return e;
            continue;
        }
        for (size_t k = 0; k < sizeof(unsupported) / sizeof(unsupported[0]); k++)
            if (unsupported[k].prefix ? str_starts(h->name, unsupported[k].name) : str_eq(h->name, unsupported[k].name))
                if (!is_append(r, h->name))
                    return not_implemented(r, h->name);
    }
    return ERR_OK;
}

enum err objreq_part_number(struct s3_request *r, bool *present, uint32_t *out)
{
    struct str text = s3_query(r, STR("partNumber"));
    uint64_t n;

    if (present)
        *present = text.p != NULL;
    if (!text.p && present)
        return ERR_OK;
    if (!str_to_u64(text, PARTS_MAX, &n) || n == 0) {
        reply_detail(r, STR("ArgumentName"), STR("partNumber"));
        reply_detail(r, STR("ArgumentValue"), text);
        return reply_error(r, ERR_INVALID_ARGUMENT, "Part number must be an integer between 1 and %d, inclusive",
                           PARTS_MAX);
    }
    *out = (uint32_t)n;
    return ERR_OK;
}

enum err objreq_check_length(struct s3_request *r)
{
    if (r->http->body || s3_header(r, STR("content-length")).p || s3_header(r, STR("transfer-encoding")).p)
        return ERR_OK;
    return ERR_MISSING_LENGTH;
}

enum err objreq_fail(struct s3_request *r, enum err e, struct str key, const struct cond *cond)
{
    if (e == ERR_NO_SUCH_KEY || e == ERR_NOT_FOUND)
        reply_detail(r, STR("Key"), key);
    /* fsspec tells "exists already" from other refusals by this element. */
    if (e == ERR_PRECONDITION && cond) {
        if (cond->if_match.p)
            reply_detail(r, STR("Condition"), STR("If-Match"));
        else if (cond->if_none_match.p)
            reply_detail(r, STR("Condition"), STR("If-None-Match"));
        else
            reply_detail(r, STR("Condition"), STR("If-Unmodified-Since"));
    }
    return e;
}

static void close_body(void *arg)
{
    body_close(arg);
}

enum err objreq_body_open(struct s3_request *r, struct body *b, uint64_t max)
{
    enum err e = body_open(r->http, r->who, r->env->cpu, b);

    if (e != ERR_OK)
        return b->message.n ? reply_error(r, e, STR_FMT, STR_ARG(b->message)) : e;
    arena_defer(r->arena, close_body, b);
    if (b->len == HTTP_LENGTH_UNKNOWN || b->len <= max)
        return ERR_OK;
    reply_detail(r, STR("ProposedSize"), arena_printf(r->arena, "%llu", (unsigned long long)b->len));
    reply_detail(r, STR("MaxSizeAllowed"), arena_printf(r->arena, "%llu", (unsigned long long)max));
    return ERR_ENTITY_TOO_LARGE;
}

enum err objreq_copy_source(struct s3_request *r, struct objreq_source *out)
{
    struct str value = s3_header(r, STR("x-amz-copy-source"));
    struct str owner = s3_header(r, STR("x-amz-source-expected-bucket-owner"));
    struct copy_source from;
    char id[64];
    enum err e;

    if ((e = copy_source_parse(r->arena, value, &from)) != ERR_OK) {
        reply_detail(r, STR("ArgumentName"), STR("x-amz-copy-source"));
        reply_detail(r, STR("ArgumentValue"), value);
        return e;
    }
    if ((e = buckets_find(r->env->buckets, r->arena, from.bucket, &out->bucket)) != ERR_OK) {
        reply_detail(r, STR("BucketName"), from.bucket);
        return e;
    }
    out->key = from.key;
    r->looked_in = &out->bucket;
    out->version = from.version;
    creds_owner_id(out->bucket.owner, id);
    if (owner.p && !str_eq(owner, str_n(id, sizeof(id))))
        return ERR_ACCESS_DENIED;
    return s3_may_version(r, out->version.p ? STR("s3:GetObjectVersion") : STR("s3:GetObject"), &out->bucket, out->key,
                          out->version);
}

void objreq_reply_digest(struct s3_request *r, const struct digest *d)
{
    struct checksum c = {*d, CHECKSUM_FULL_OBJECT, 0};
    char text[CHECKSUM_TEXT_MAX];

    if (d->alg != HASH_NONE && d->n)
        reply_header(r, checksum_header_name(d->alg), arena_str(r->arena, str_n(text, checksum_print(&c, text))));
}

void objreq_xml_digest(struct buf *b, const struct digest *d)
{
    struct checksum c = {*d, CHECKSUM_FULL_OBJECT, 0};

    if (d->n)
        xml_checksum(b, &c);
}

void objreq_reply_expiration(struct s3_request *r, const struct object_info *info)
{
    const struct bucket_doc *d =
        r->env->confs ? bucket_conf_find(r->env->confs, r->arena, r->bucket.id.uid, STR("lifecycle")) : NULL;
    int64_t day = r->env->conf->lifecycle_day_s ? r->env->conf->lifecycle_day_s : LIFECYCLE_DAY_S, ends;
    const struct lifecycle_object o = {r->key, info->size, info->mtime_ns / NS_PER_S, info->tags, true};
    const struct lifecycle_rule *rule = NULL;
    struct buf id = BUF_INIT(1024);
    char date[CLOCK_HTTP_LEN];

    if (!d || !d->parsed || (ends = lifecycle_ends(d->parsed, &o, day, &rule)) == LIFECYCLE_NEVER)
        return;
    clock_http(ends * NS_PER_S, date);
    url_encode(&id, rule->id, false);
    reply_header_f(r, STR("x-amz-expiration"), "expiry-date=\"%.*s\", rule-id=\"" STR_FMT "\"", CLOCK_HTTP_LEN, date,
                   STR_ARG(buf_str(&id)));
    buf_release(&id);
}
