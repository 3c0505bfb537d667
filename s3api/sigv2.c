#include "sigv2.h"

#include <stdlib.h>

#include "s3api/pen.h"

/* Query keys that are part of the resource, in the order of strcmp. More than the historic list: an action's key that
 * the signature didn't cover could be added to somebody else's presigned URL. */
static const char *const sub_resources[] = {
    "abac",
    "accelerate",
    "acl",
    "analytics",
    "append",
    "attributes",
    "cors",
    "defaultObjectAcl",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "retention",
    "select",
    "select-type",
    "session",
    "storageClass",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
};
enum { SUB_RESOURCES = sizeof(sub_resources) / sizeof(sub_resources[0]) };

/* ---- parsing ---- */

/* HTTP dates, also with the zone as "+0000" (s3cmd, S3's own examples) or "UTC" (rclone), and basic ISO 8601. */
static bool parse_when(struct str s, int64_t *out_s)
{
    static const struct str zones[] = {STR("+0000"), STR("-0000"), STR("UTC")};
    enum { ZONE_AT = CLOCK_HTTP_LEN - 3 };
    char text[CLOCK_HTTP_LEN];

    for (size_t i = 0; s.n > ZONE_AT && i < sizeof(zones) / sizeof(zones[0]); i++)
        if (str_eq(str_skip(s, ZONE_AT), zones[i])) {
            memcpy(text, s.p, ZONE_AT);
            memcpy(text + ZONE_AT, "GMT", 3);
            return clock_http_parse(str_n(text, sizeof(text)), out_s);
        }
    return clock_http_parse(s, out_s) || clock_basic_parse(s, out_s);
}

enum err sigv2_parse_header(const struct auth_input *in, struct str value, struct sigv2 *out, struct auth_failure *why)
{
    int64_t when;

    *out = (struct sigv2){.signature = str_trim(str_skip(value, 4))};
    out->access_key = str_split(&out->signature, ':');
    if (out->access_key.n == 0 || out->access_key.n > ACCESS_KEY_MAX || out->signature.n == 0) {
        why->message = STR("AWS authorization header is invalid. Expected AwsAccessKeyId:signature");
        return ERR_INVALID_ARGUMENT;
    }
    why->access_key = out->access_key;
    struct str amz_date = http_header_get(in->req, STR("x-amz-date"));
    struct str date = amz_date.p ? amz_date : http_header_get(in->req, STR("date"));
    if (!date.p || !parse_when(date, &when)) {
        why->message = STR("AWS authentication requires a valid Date or x-amz-date header");
        return ERR_ACCESS_DENIED;
    }
    if (llabs(in->now_s - when) > AUTH_SKEW_MAX_S) {
        why->request_time = date;
        why->skew_max_ms = AUTH_SKEW_MAX_S * 1000;
        return ERR_TIME_SKEWED;
    }
    if (!amz_date.p)
        out->date = date;
    return ERR_OK;
}

enum err sigv2_parse_query(const struct auth_input *in, struct arena *a, struct sigv2 *out, struct auth_failure *why)
{
    uint64_t end_s;
    bool repeated = false;

    *out = (struct sigv2){.presigned = true};
    for (size_t i = 0; i < in->query_count; i++) {
        struct str name = in->query[i].name;
        struct str *to = str_eq(name, STR("AWSAccessKeyId")) ? &out->access_key
                         : str_eq(name, STR("Signature"))    ? &out->signature
                         : str_eq(name, STR("Expires"))      ? &out->date
                                                             : NULL;
        repeated |= to && to->p;
        if (to)
            *to = in->query[i].value;
    }
    if (repeated || out->access_key.n == 0 || out->access_key.n > ACCESS_KEY_MAX || out->signature.n == 0 ||
        out->date.n == 0) {
        why->message = STR("Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters");
        return ERR_ACCESS_DENIED;
    }
    why->access_key = out->access_key;
    if (!str_to_u64(out->date, INT64_MAX / NS_PER_S, &end_s)) {
        why->message = STR("Invalid date (should be seconds since epoch)");
        return ERR_ACCESS_DENIED;
    }
    if (in->now_s > (int64_t)end_s) {
        char *text = arena_alloc(a, CLOCK_ISO_LEN);
        clock_iso((int64_t)end_s * NS_PER_S, text);
        why->expires = str_n(text, CLOCK_ISO_LEN);
        return ERR_REQUEST_EXPIRED;
    }
    return ERR_OK;
}

/* ---- the text to sign ---- */

struct field {
    struct str name, value;
    size_t order; /* of arrival: joined values keep it */
};

static int field_cmp(const void *a, const void *b)
{
    const struct field *x = a, *y = b;
    int c = str_cmp(x->name, y->name);

    return c ? c : (x->order > y->order) - (x->order < y->order);
}

static struct str lower(struct arena *a, struct str s)
{
    struct str copy = arena_str(a, s);
    char *p = (char *)(uintptr_t)copy.p;

    for (size_t i = 0; i < copy.n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] + 32);
    return copy;
}

/* A presigned URL may carry in its query what its maker signed as a header (botocore: HmacV1QueryAuth). */
static struct str header_or_query(const struct auth_input *in, const struct sigv2 *s, struct str name)
{
    struct str value = http_header_get(in->req, name);

    for (size_t i = 0; s->presigned && !value.p && i < in->query_count; i++)
        if (str_eq_nocase(in->query[i].name, name))
            value = in->query[i].value;
    return value;
}

/* All x-amz-* fields, sorted by name. */
static size_t amz_fields(const struct auth_input *in, const struct sigv2 *s, struct arena *a, struct field **out)
{
    struct field *list = arena_alloc(a, (in->req->header_count + in->query_count) * sizeof(*list));
    size_t n = 0;

    for (size_t i = 0; i < in->req->header_count; i++)
        if (str_starts(in->req->headers[i].name, STR("x-amz-"))) {
            list[n] = (struct field){in->req->headers[i].name, in->req->headers[i].value, n};
            n++;
        }
    for (size_t i = 0; s->presigned && i < in->query_count; i++)
        if (str_starts_nocase(in->query[i].name, STR("x-amz-"))) {
            struct str name = lower(a, in->query[i].name);
            if (http_header_get(in->req, name).p)
                continue;
            list[n] = (struct field){name, in->query[i].value, n};
            n++;
        }
    qsort(list, n, sizeof(*list), field_cmp);
    *out = list;
    return n;
}

static void put_amz_fields(struct pen *w, const struct field *f, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i && str_eq(f[i].name, f[i - 1].name)) {
            w->n--; /* the line end: another value of the same name */
            pen_char(w, ',');
        } else {
            pen_str(w, f[i].name);
            pen_char(w, ':');
        }
        pen_line(w, str_trim(f[i].value));
    }
}

/* Two habits of clients, both tried: */
enum {
    SIGN_BARE = 1,  /* "k=" is sent but "k" is signed */
    SIGN_SLASH = 2, /* "/bucket" is sent but "/bucket/" is signed (boto3 for any operation on a bucket) */
    SIGN_HABITS = 4
};

/* "/bucket/key?acl&versionId=..." with the path as it was sent. */
static void put_resource(struct pen *w, const struct auth_input *in, unsigned habits)
{
    char sep = '?';

    if (in->bucket_from_host.n) {
        pen_char(w, '/');
        pen_str(w, in->bucket_from_host);
    }
    pen_str(w, in->req->path.n ? in->req->path : STR("/"));
    if (habits & SIGN_SLASH)
        pen_char(w, '/');
    for (size_t k = 0; k < SUB_RESOURCES; k++)
        for (size_t i = 0; i < in->query_count; i++) {
            const struct query_param *q = &in->query[i];
            if (!str_eq(q->name, str_z(sub_resources[k])))
                continue;
            pen_char(w, sep);
            sep = '&';
            pen_str(w, q->name);
            if (q->value.n || (q->has_value && !(habits & SIGN_BARE)))
                pen_char(w, '=');
            pen_str(w, q->value);
        }
}

static size_t text_room(const struct auth_input *in, const struct sigv2 *s, struct str md5, struct str type)
{
    size_t room = in->req->method_text.n + md5.n + type.n + s->date.n + in->bucket_from_host.n + in->req->path.n + 16;

    for (size_t i = 0; i < in->req->header_count; i++)
        room += in->req->headers[i].name.n + in->req->headers[i].value.n + 2;
    for (size_t i = 0; i < in->query_count; i++) /* as a field and as part of the resource */
        room += 2 * (in->query[i].name.n + in->query[i].value.n + 2);
    return room;
}

static struct str text_to_sign(const struct auth_input *in, const struct sigv2 *s, unsigned habits, struct arena *a)
{
    struct str md5 = header_or_query(in, s, STR("content-md5"));
    struct str type = header_or_query(in, s, STR("content-type"));
    struct pen w = {NULL, 0, text_room(in, s, md5, type)};
    struct field *fields;
    size_t n = amz_fields(in, s, a, &fields);

    w.p = arena_alloc(a, w.cap);
    pen_line(&w, in->req->method_text);
    pen_line(&w, md5);
    pen_line(&w, type);
    pen_line(&w, s->date);
    put_amz_fields(&w, fields, n);
    put_resource(&w, in, habits);
    return pen_text(&w);
}

static bool matches(const struct iam_key *k, const struct sigv2 *s, struct str text)
{
    uint8_t mac[20];
    char b64[BASE64_LEN(20)];

    hmac_sha1(str_n(k->secret, k->secret_n), text, mac);
    base64_encode(mac, sizeof(mac), b64);
    return str_eq_secret(s->signature, str_n(b64, sizeof(b64)));
}

/* "/bucket", and nothing behind it. */
static bool is_bucket_path(const struct auth_input *in)
{
    struct str path = in->req->path;

    return !in->bucket_from_host.n && path.n > 1 && str_find_char(str_skip(path, 1), '/') == SIZE_MAX;
}

enum err sigv2_check(const struct iam_key *signer, const struct auth_input *in, const struct sigv2 *s, struct arena *a,
                     struct auth_failure *why)
{
    why->signature = s->signature;
    struct str text = text_to_sign(in, s, 0, a);
    bool ok = matches(signer, s, text);
    for (unsigned habits = 1; !ok && habits < SIGN_HABITS; habits++)
        if (!(habits & SIGN_SLASH) || is_bucket_path(in))
            ok = matches(signer, s, text_to_sign(in, s, habits, a));
    if (ok)
        return ERR_OK;
    why->string_to_sign = text;
    return ERR_SIGNATURE;
}
