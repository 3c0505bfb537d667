/* The keys of conditions that policies may ask requests for. Each has one origin, and none is taken from a header of its own name but those that
 * are headers by definition. */
#include <stdio.h>

#include "s3api/auth.h"
#include "s3api/copy_source.h"
#include "s3api/may.h"
#include "s3api/tags.h"

typedef struct str say_fn(const struct may_ask *);

/* ---- the connection ---- */

/* Of the connection itself: X-Forwarded-For is what anybody writes into it. "1.2.3.4:5", "[::1]:5". */
static struct str say_source_ip(const struct may_ask *a)
{
    struct str peer = str_z(a->r->http->peer);
    size_t colon = peer.n;

    while (colon > 0 && peer.p[colon - 1] != ':')
        colon--;
    peer.n = colon ? colon - 1 : 0;
    if (peer.n > 1 && peer.p[0] == '[')
        peer = str_n(peer.p + 1, peer.n - 2);
    return peer;
}

static struct str say_secure(const struct may_ask *a)
{
    return a->r->http->secure ? STR("true") : STR("false");
}

static struct str say_tls_version(const struct may_ask *a)
{
    return str_z(a->r->http->tls_version);
}

static struct str say_referer(const struct may_ask *a)
{
    return s3_header(a->r, STR("referer"));
}

static struct str say_user_agent(const struct may_ask *a)
{
    return s3_header(a->r, STR("user-agent"));
}

static struct str say_region(const struct may_ask *a)
{
    return a->bucket ? s3_bucket_region(a->r, a->bucket) : a->r->env->conf->region;
}

static struct str say_account(const struct may_ask *a)
{
    (void)a;
    return STR(IAM_ACCOUNT);
}

static struct str say_false(const struct may_ask *a)
{
    (void)a;
    return STR("false");
}

/* ---- the signature ---- */

static bool is_signed(const struct may_ask *a)
{
    return a->r->principal.kind != IAM_ANONYMOUS && a->r->who->kind != AUTH_ANONYMOUS;
}

static bool is_v2(const struct may_ask *a)
{
    return a->r->who->kind == AUTH_V2_HEADER || a->r->who->kind == AUTH_V2_QUERY;
}

static struct str say_signature_version(const struct may_ask *a)
{
    if (!is_signed(a))
        return STR_NONE;
    return is_v2(a) ? STR("AWS") : STR("AWS4-HMAC-SHA256");
}

static struct str say_auth_type(const struct may_ask *a)
{
    enum auth_kind kind = a->r->who->kind;

    if (!is_signed(a))
        return STR_NONE;
    if (a->r->said.form)
        return STR("POST");
    return kind == AUTH_V4_QUERY || kind == AUTH_V2_QUERY ? STR("REST-QUERY-STRING") : STR("REST-HEADER");
}

static struct str query_nocase(const struct s3_request *r, struct str name)
{
    for (size_t i = 0; i < r->query_count; i++)
        if (str_eq_nocase(r->query[i].name, name))
            return r->query[i].value;
    return STR_NONE;
}

static struct str said_header(const struct may_ask *a, struct str name)
{
    return http_header_get(a->r->said.form ? a->r->said.form : a->r->http, name);
}

/* Milliseconds since it was signed; version 2 in a query does not say. */
static struct str say_signature_age(const struct may_ask *a)
{
    enum auth_kind kind = a->r->who->kind;
    struct str text = kind == AUTH_V4_QUERY && !a->r->said.form ? query_nocase(a->r, STR("X-Amz-Date"))
                                                                : said_header(a, STR("x-amz-date"));
    int64_t at, age;

    if (!is_signed(a) || kind == AUTH_V2_QUERY)
        return STR_NONE;
    if (!text.p)
        text = s3_header(a->r, STR("date"));
    if (!clock_basic_parse(text, &at) && !clock_http_parse(text, &at))
        return STR_NONE;
    age = clock_wall_ns() - at * NS_PER_S;
    return arena_u64(a->r->arena, age > 0 ? (uint64_t)(age / 1000000) : 0);
}

/* ---- what is asked for ---- */

/* Only of the requests that list: others may have such parameters and don't mean them. */
static struct str list_query(const struct may_ask *a, const char *name)
{
    const struct s3_request *r = a->r;
    bool lists = r->level == LEVEL_BUCKET && r->http->method == HTTP_GET && a->key.n == 0;

    return lists ? s3_query(r, str_z(name)) : STR_NONE;
}

static struct str say_prefix(const struct may_ask *a)
{
    return list_query(a, "prefix");
}

static struct str say_delimiter(const struct may_ask *a)
{
    return list_query(a, "delimiter");
}

static struct str say_max_keys(const struct may_ask *a)
{
    struct str uploads = list_query(a, "max-uploads");

    return uploads.p ? uploads : list_query(a, "max-keys");
}

static struct str say_version(const struct may_ask *a)
{
    return a->version;
}

/* "bucket/key", decoded: as the request will be understood, not as it was written. */
static struct str say_copy_source(const struct may_ask *a)
{
    struct copy_source from;

    if (!a->r->route || !(a->r->route->must & SUB(COPY_SOURCE)) ||
        copy_source_parse(a->r->arena, s3_header(a->r, STR("x-amz-copy-source")), &from) != ERR_OK)
        return STR_NONE;
    return arena_printf(a->r->arena, STR_FMT "/" STR_FMT, STR_ARG(from.bucket), STR_ARG(from.key));
}

/* ---- locks, by header, field or document ---- */

static struct str say_lock_mode(const struct may_ask *a)
{
    struct str text = a->r->said.has_lock ? a->r->said.lock_mode : said_header(a, LOCK_MODE_ATTR);

    return text.n ? text : STR_NONE;
}

static struct str say_lock_until(const struct may_ask *a)
{
    struct str text = a->r->said.has_lock ? a->r->said.lock_until : said_header(a, LOCK_UNTIL_ATTR);

    return text.n ? text : STR_NONE;
}

static struct str say_lock_hold(const struct may_ask *a)
{
    struct str text = a->r->said.has_lock ? a->r->said.lock_hold : said_header(a, LOCK_HOLD_ATTR);

    return text.n ? text : STR_NONE;
}

/* Days begun count. */
static struct str say_lock_days(const struct may_ask *a)
{
    enum { DAY_S = 86400 };
    int64_t until, left;

    if (!clock_iso_parse(say_lock_until(a), &until))
        return STR_NONE;
    left = until - clock_wall_ns() / NS_PER_S;
    return arena_u64(a->r->arena, left > 0 ? (uint64_t)((left + DAY_S - 1) / DAY_S) : 0);
}

/* clang-format off */
static const struct {
    struct str key;
    say_fn *say;
} rows[] = {
    {{"aws:sourceip", 12}, say_source_ip},
    {{"aws:securetransport", 19}, say_secure},
    {{"aws:referer", 11}, say_referer},
    {{"aws:useragent", 13}, say_user_agent},
    {{"aws:requestedregion", 19}, say_region},
    {{"aws:resourceaccount", 19}, say_account},
    {{"aws:viaawsservice", 17}, say_false},
    {{"aws:principalisawsservice", 25}, say_false},
    {{"s3:prefix", 9}, say_prefix},
    {{"s3:delimiter", 12}, say_delimiter},
    {{"s3:max-keys", 11}, say_max_keys},
    {{"s3:versionid", 12}, say_version},
    {{"s3:x-amz-copy-source", 20}, say_copy_source},
    {{"s3:object-lock-retain-until-date", 32}, say_lock_until},
    {{"s3:object-lock-remaining-retention-days", 39}, say_lock_days},
    {{"s3:object-lock-mode", 19}, say_lock_mode},
    {{"s3:object-lock-legal-hold", 25}, say_lock_hold},
    {{"s3:signatureversion", 19}, say_signature_version},
    {{"s3:authtype", 11}, say_auth_type},
    {{"s3:signatureage", 15}, say_signature_age},
    {{"s3:tlsversion", 13}, say_tls_version},
    {{"s3:resourceaccount", 18}, say_account},
};
/* Those that are headers of the same name. */
static const struct str headers[] = {
    {"s3:x-amz-acl", 12}, {"s3:x-amz-metadata-directive", 27}, {"s3:x-amz-storage-class", 22},
    {"s3:x-amz-server-side-encryption", 31}, {"s3:x-amz-server-side-encryption-aws-kms-key-id", 46},
    {"s3:x-amz-server-side-encryption-customer-algorithm", 50}, {"s3:x-amz-content-sha256", 23},
    {"s3:x-amz-website-redirect-location", 34}, {"s3:x-amz-object-ownership", 25}, {"s3:x-amz-grant-read", 19},
    {"s3:x-amz-grant-write", 20}, {"s3:x-amz-grant-read-acp", 23}, {"s3:x-amz-grant-write-acp", 24},
    {"s3:x-amz-grant-full-control", 27}, {"s3:if-match", 11}, {"s3:if-none-match", 16},
};
/* Known, and of things that no request here has. */
static const struct str absent[] = {
    {"s3:locationconstraint", 21}, {"s3:accessgrantsinstancearn", 26}, {"s3:accesspointnetworkorigin", 27},
    {"s3:dataaccesspointaccount", 25}, {"s3:dataaccesspointarn", 21},  {"s3:objectcreationoperation", 26}, {"s3:inventoryaccessibleoptionalfields", 36},
};
/* The objects of which have tags that can be asked for. */
static const struct str tagged[] = {
    {"s3:GetObject", 12}, {"s3:GetObjectVersion", 19}, {"s3:GetObjectAcl", 15}, {"s3:GetObjectVersionAcl", 22},
    {"s3:PutObjectAcl", 15}, {"s3:PutObjectVersionAcl", 22}, {"s3:GetObjectTagging", 19},
    {"s3:GetObjectVersionTagging", 26}, {"s3:PutObjectTagging", 19}, {"s3:PutObjectVersionTagging", 26},
    {"s3:DeleteObjectTagging", 22}, {"s3:DeleteObjectVersionTagging", 29}, {"s3:GetObjectAttributes", 22},
    {"s3:GetObjectVersionAttributes", 29},
};
/* clang-format on */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define EXISTING STR("s3:existingobjecttag/")
#define REQUEST  STR("s3:requestobjecttag/")
#define KEYS     STR("s3:requestobjecttagkeys")

static bool among(const struct str *list, size_t n, struct str s)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i], s))
            return true;
    return false;
}

bool may_has_tags(struct str action)
{
    return among(tagged, COUNT(tagged), action);
}

bool may_knows_key(struct str key)
{
    for (size_t i = 0; i < COUNT(rows); i++)
        if (str_eq(rows[i].key, key))
            return true;
    return !str_starts(key, STR("s3:")) || among(headers, COUNT(headers), key) || among(absent, COUNT(absent), key) ||
           str_eq(key, KEYS) || str_starts(key, EXISTING) || str_starts(key, REQUEST);
}

/* ---- tags ---- */

static struct str existing_tags(const struct may_ask *a)
{
    const struct s3_said *s = &a->r->said;

    for (unsigned i = 0; i < s->looked_count; i++)
        if (a->bucket && s->looked[i].uid == a->bucket->id.uid && str_eq(s->looked[i].key, a->key))
            return s->looked[i].tags;
    return STR_NONE;
}

/* A copy keeps the tags of its source when it isn't told otherwise. */
static struct str requested_tags(const struct may_ask *a)
{
    const struct s3_request *r = a->r;

    if (r->said.has_tags)
        return r->said.tags;
    if (r->route && r->route->must & SUB(COPY_SOURCE) &&
        !str_eq(s3_header(r, STR("x-amz-tagging-directive")), STR("REPLACE")))
        return STR_NONE;
    return said_header(a, STR("x-amz-tagging"));
}

static bool one(const struct may_ask *a, struct str value, struct iam_values *out)
{
    struct str *room;

    if (!value.p)
        return false;
    room = ARENA_NEW(a->r->arena, struct str);
    *room = value;
    *out = (struct iam_values){room, 1};
    return true;
}

static bool tag_value(const struct may_ask *a, struct str text, struct str key, struct iam_values *out)
{
    struct tag tags[TAGS_MAX];
    size_t n = 0;

    if (!text.n || tags_parse(a->r->arena, text, tags, &n) != ERR_OK)
        return false;
    for (size_t i = 0; i < n; i++)
        if (str_eq(tags[i].key, key))
            return one(a, tags[i].value.p ? tags[i].value : STR(""), out);
    return false;
}

static bool tag_keys(const struct may_ask *a, struct str text, struct iam_values *out)
{
    struct tag tags[TAGS_MAX];
    struct str *keys;
    size_t n = 0;

    if (!text.n || tags_parse(a->r->arena, text, tags, &n) != ERR_OK)
        return false;
    keys = arena_new(a->r->arena, TAGS_MAX * sizeof(*keys));
    for (size_t i = 0; i < n; i++)
        keys[i] = tags[i].key;
    *out = (struct iam_values){keys, n};
    return n > 0;
}

/* ---- all ---- */

bool may_lookup(void *arg, struct str key, struct iam_values *out)
{
    const struct may_ask *a = arg;

    for (size_t i = 0; i < COUNT(rows); i++)
        if (str_eq(rows[i].key, key))
            return one(a, rows[i].say(a), out);
    if (among(headers, COUNT(headers), key))
        return one(a, said_header(a, str_skip(key, 3)), out);
    if (str_starts(key, EXISTING))
        return tag_value(a, existing_tags(a), str_skip(key, EXISTING.n), out);
    if (str_starts(key, REQUEST))
        return tag_value(a, requested_tags(a), str_skip(key, REQUEST.n), out);
    return str_eq(key, KEYS) && tag_keys(a, requested_tags(a), out);
}
