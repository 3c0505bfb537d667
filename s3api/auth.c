#include "auth.h"

#include "s3api/sigv2.h"
#include "s3api/sigv4.h"

/* ---- which form ---- */

/* Credentials in any place mean that a signature is required: a request that names a key but leaves parts of the
 * signature out must never pass as anonymous or, worse, as that key (CVE-2026-41145). */
static bool is_v4_query_name(struct str name)
{
    static const struct str names[] = {STR("X-Amz-Algorithm"), STR("X-Amz-Credential"),    STR("X-Amz-Signature"),
                                       STR("X-Amz-Date"),      STR("X-Amz-SignedHeaders"), STR("X-Amz-Expires")};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (str_eq_nocase(name, names[i]))
            return true;
    return false;
}

static enum err header_form(struct str value, enum auth_kind *kind, struct auth_failure *why)
{
    if (str_starts(value, STR("AWS4-HMAC-SHA256")))
        *kind = AUTH_V4_HEADER;
    else if (str_starts(value, STR("AWS ")))
        *kind = AUTH_V2_HEADER;
    else if (str_starts(value, STR("AWS4-ECDSA-")))
        return ERR_NOT_IMPLEMENTED;
    else {
        why->message = STR("Unsupported Authorization Type");
        return ERR_INVALID_ARGUMENT;
    }
    return ERR_OK;
}

static enum err find_form(const struct auth_input *in, enum auth_kind *kind, struct auth_failure *why)
{
    size_t headers = http_header_count(in->req, STR("authorization"));
    bool v4 = false, v2 = false;

    for (size_t i = 0; i < in->query_count; i++) {
        v4 |= is_v4_query_name(in->query[i].name);
        v2 |= str_eq(in->query[i].name, STR("AWSAccessKeyId")) || str_eq(in->query[i].name, STR("Signature"));
    }
    if (headers + v4 + v2 > 1) {
        why->message =
            STR("Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string "
                "parameter or the Authorization header should be specified");
        return ERR_INVALID_ARGUMENT;
    }
    *kind = v4 ? AUTH_V4_QUERY : v2 ? AUTH_V2_QUERY : AUTH_ANONYMOUS;
    return headers ? header_form(http_header_get(in->req, STR("authorization")), kind, why) : ERR_OK;
}

static struct str query_get(const struct auth_input *in, struct str name)
{
    for (size_t i = 0; i < in->query_count; i++)
        if (str_eq_nocase(in->query[i].name, name))
            return in->query[i].value;
    return STR_NONE;
}

/* Of a session, where that form of signature covers it; p == NULL: none. */
static struct str token_of(const struct auth_input *in, enum auth_kind kind)
{
    struct str header = http_header_get(in->req, STR("x-amz-security-token"));

    if (kind == AUTH_V4_QUERY || (kind == AUTH_V2_QUERY && !header.p))
        return query_get(in, STR("X-Amz-Security-Token"));
    return header;
}

static bool has_token(const struct auth_input *in)
{
    return token_of(in, AUTH_V4_HEADER).n || token_of(in, AUTH_V4_QUERY).n;
}

/* ---- what protects the body ---- */

/* An SDK told not to sign sends trailers without x-amz-content-sha256. Content-Encoding alone proves nothing: copied
 * metadata may hold it. */
static bool is_unsigned_trailer(const struct http_req *req)
{
    return http_header_get(req, STR("x-amz-trailer")).p &&
           http_header_get(req, STR("x-amz-decoded-content-length")).p &&
           str_find(http_header_get(req, STR("content-encoding")), STR("aws-chunked")) != SIZE_MAX;
}

static enum err payload_word(struct str word, struct identity *out, struct auth_failure *why)
{
    static const struct {
        struct str word;
        enum payload_mode mode;
    } modes[] = {
        {STR("UNSIGNED-PAYLOAD"), PAYLOAD_UNSIGNED},
        {STR("STREAMING-UNSIGNED-PAYLOAD-TRAILER"), PAYLOAD_UNSIGNED_TRAILER},
        {STR("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), PAYLOAD_SIGNED_CHUNKS},
        {STR("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"), PAYLOAD_SIGNED_CHUNKS_TRAILER},
    };

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (str_eq(word, modes[i].word)) {
            out->payload = modes[i].mode;
            return ERR_OK;
        }
    if (hex_decode(word, out->payload_sha256, sizeof(out->payload_sha256))) {
        out->payload = PAYLOAD_DIGEST;
        return ERR_OK;
    }
    if (str_starts(word, STR("STREAMING-AWS4-ECDSA-")))
        return ERR_NOT_IMPLEMENTED;
    why->message =
        STR("x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.");
    return ERR_INVALID_ARGUMENT;
}

static bool is_signed_chunks(enum payload_mode mode)
{
    return mode == PAYLOAD_SIGNED_CHUNKS || mode == PAYLOAD_SIGNED_CHUNKS_TRAILER;
}

/* The body is known. */
static enum err find_digest(const struct auth_input *in, struct str *word, struct identity *out,
                            struct auth_failure *why, struct arena *a)
{
    char *hex = arena_alloc(a, 64);

    hex_encode(in->body_sha256, 32, hex);
    if (word->p && !str_eq(*word, str_n(hex, 64))) {
        why->message = STR("x-amz-content-sha256 is not that of the body.");
        return ERR_INVALID_ARGUMENT;
    }
    *word = str_n(hex, 64);
    out->payload = PAYLOAD_DIGEST;
    memcpy(out->payload_sha256, in->body_sha256, 32);
    return ERR_OK;
}

/* The payload mode; *word is what stands in the canonical request. Chunks can be chained only to a V4 header's
 * signature. */
static enum err find_payload(const struct auth_input *in, struct identity *out, struct str *word, struct arena *a,
                             struct auth_failure *why)
{
    static const struct str empty_sha256 = STR("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    enum err e;

    *word = http_header_get(in->req, STR("x-amz-content-sha256"));
    if (in->body_sha256)
        return find_digest(in, word, out, why, a);
    if (!word->p && out->kind == AUTH_V4_QUERY)
        *word = query_get(in, STR("X-Amz-Content-Sha256"));
    if (!word->p && out->kind == AUTH_V4_HEADER) { /* curl 7.88 signs so; with a body nothing says what was signed */
        if (in->req->body) {
            why->message = STR("Missing required header for this request: x-amz-content-sha256");
            return ERR_INVALID_REQUEST;
        }
        *word = empty_sha256;
    }
    if (!word->p) {
        *word = STR("UNSIGNED-PAYLOAD");
        out->payload =
            out->kind != AUTH_V4_QUERY && is_unsigned_trailer(in->req) ? PAYLOAD_UNSIGNED_TRAILER : PAYLOAD_UNSIGNED;
        return ERR_OK;
    }
    if ((e = payload_word(*word, out, why)) != ERR_OK)
        return e;
    if (is_signed_chunks(out->payload) && out->kind != AUTH_V4_HEADER) {
        why->message = STR("Signed chunks need a signature of version 4 in the Authorization header");
        return ERR_INVALID_REQUEST;
    }
    return ERR_OK;
}

/* ---- the forms ---- */

/* A token where the signature does not cover it is nobody's. */
static enum err find_signer(struct creds *creds, const struct auth_input *in, struct str access_key,
                            const struct identity *id, struct arena *a, struct iam_key *out)
{
    struct str token = token_of(in, id->kind);

    if (!token.n && has_token(in))
        return ERR_INVALID_TOKEN;
    return creds_find(creds, a, access_key, token, in->now_s, out);
}

static enum err check_v4(struct creds *creds, const struct auth_input *in, struct arena *a, struct identity *out,
                         struct auth_failure *why)
{
    struct sigv4 s;
    struct iam_key key;
    struct str word;
    enum err e;

    e = out->kind == AUTH_V4_HEADER ? sigv4_parse_header(in, http_header_get(in->req, STR("authorization")), a, &s, why)
                                    : sigv4_parse_query(in, a, &s, why);
    if (e != ERR_OK || (e = find_payload(in, out, &word, a, why)) != ERR_OK)
        return e;
    why->signature = s.signature;
    if ((e = find_signer(creds, in, s.access_key, out, a, &key)) != ERR_OK)
        return e;
    e = sigv4_check(creds, &key, in, &s, word, a, &out->chunks.key, why);
    explicit_bzero(key.secret, sizeof(key.secret));
    if (e != ERR_OK)
        return e;
    out->iam = key.who;
    out->access_key = s.access_key;
    out->chunks.verify = true;
    out->chunks.scope = s.scope;
    memcpy(out->chunks.seed, s.signature.p, sizeof(out->chunks.seed));
    memcpy(out->chunks.timestamp, s.timestamp, sizeof(out->chunks.timestamp));
    return ERR_OK;
}

static enum err check_v2(struct creds *creds, const struct auth_input *in, struct arena *a, struct identity *out,
                         struct auth_failure *why)
{
    struct sigv2 s;
    struct iam_key key;
    struct str word;
    enum err e;

    e = out->kind == AUTH_V2_HEADER ? sigv2_parse_header(in, http_header_get(in->req, STR("authorization")), &s, why)
                                    : sigv2_parse_query(in, a, &s, why);
    if (e != ERR_OK)
        return e;
    if ((e = find_payload(in, out, &word, a, why)) != ERR_OK ||
        (e = find_signer(creds, in, s.access_key, out, a, &key)) != ERR_OK)
        return e;
    e = sigv2_check(&key, in, &s, a, why);
    explicit_bzero(key.secret, sizeof(key.secret));
    if (e != ERR_OK)
        return e;
    out->iam = key.who;
    out->access_key = s.access_key;
    return ERR_OK;
}

static void add_server_time(const struct auth_input *in, struct arena *a, struct auth_failure *why)
{
    char *text = arena_alloc(a, CLOCK_ISO_LEN);

    clock_iso(in->now_s * NS_PER_S, text);
    why->server_time = str_n(text, CLOCK_ISO_LEN);
}

enum err auth_check(struct creds *creds, const struct auth_input *in, struct arena *a, struct identity *out,
                    struct auth_failure *why)
{
    struct identity id = {.kind = AUTH_ANONYMOUS};
    struct str word;
    enum err e;

    *why = (struct auth_failure){0};
    e = find_form(in, &id.kind, why);
    if (e == ERR_OK) {
        if (id.kind == AUTH_ANONYMOUS)
            e = has_token(in) ? ERR_INVALID_TOKEN : find_payload(in, &id, &word, a, why);
        else if (id.kind == AUTH_V4_HEADER || id.kind == AUTH_V4_QUERY)
            e = check_v4(creds, in, a, &id, why);
        else
            e = check_v2(creds, in, a, &id, why);
    }
    if (e == ERR_OK)
        *out = id;
    else if (e == ERR_REQUEST_EXPIRED || e == ERR_TIME_SKEWED || e == ERR_ACCESS_DENIED)
        add_server_time(in, a, why);
    return e;
}

/* The key's name of a well-formed signature of either version, for logs. */
static struct str name_of_key(const struct auth_input *in)
{
    struct str value = http_header_get(in->req, STR("authorization"));
    struct str credential = query_get(in, STR("X-Amz-Credential"));
    struct sigv4 s;
    size_t at = str_find(value, STR("Credential="));

    if (at != SIZE_MAX)
        credential = str_skip(value, at + 11);
    if (credential.n && sigv4_parse_credential(str_split(&credential, ','), STR("s3"), &s))
        return s.access_key;
    if (str_starts(value, STR("AWS "))) {
        value = str_trim(str_skip(value, 4));
        return str_split(&value, ':');
    }
    return query_get(in, STR("AWSAccessKeyId"));
}

enum err auth_skip(const struct auth_input *in, struct arena *a, struct identity *out, struct auth_failure *why)
{
    struct identity id = {.kind = AUTH_V4_HEADER}; /* so that every payload mode is taken */
    struct str word;
    enum err e;

    *why = (struct auth_failure){0};
    if (http_header_get(in->req, STR("x-amz-content-sha256")).p) {
        if ((e = find_payload(in, &id, &word, a, why)) != ERR_OK)
            return e;
    } else {
        id.payload = is_unsigned_trailer(in->req) ? PAYLOAD_UNSIGNED_TRAILER : PAYLOAD_UNSIGNED;
    }
    id.access_key = name_of_key(in);
    id.kind = id.access_key.n ? AUTH_V4_HEADER : AUTH_ANONYMOUS;
    id.iam.kind = IAM_OWNER;
    *out = id;
    return ERR_OK;
}

/* ---- POST policies ---- */

static enum err check_post_v4(struct creds *creds, const struct auth_post *form, struct str region, struct arena *a,
                              struct identity *out, struct auth_failure *why)
{
    struct iam_key key;
    struct sigv4 s;
    enum err e;
    int64_t when;
    uint8_t mac[32];
    char expected[SIGV4_SIGNATURE_LEN];

    if (!str_eq(form->algorithm, STR("AWS4-HMAC-SHA256")))
        return str_starts(form->algorithm, STR("AWS4-ECDSA-")) ? ERR_NOT_IMPLEMENTED : ERR_INVALID_ARGUMENT;
    if (!sigv4_parse_credential(form->credential, STR("s3"), &s) || !clock_basic_parse(form->date, &when) ||
        !str_eq(s.day, str_n(form->date.p, 8)) || (region.n && !str_eq(s.region, region))) {
        why->message = STR("The x-amz-credential or x-amz-date field is malformed, or they don't belong together.");
        return ERR_INVALID_ARGUMENT;
    }
    why->access_key = s.access_key;
    why->string_to_sign = form->policy;
    if ((e = creds_find(creds, a, s.access_key, form->token, form->now_s, &key)) != ERR_OK)
        return e;
    creds_signing_key(creds, &key, &(struct sigv4_scope){s.access_key, s.day, s.region, STR("s3")}, &out->chunks.key);
    explicit_bzero(key.secret, sizeof(key.secret));
    out->iam = key.who;
    hmac_of(&out->chunks.key, form->policy, mac);
    hex_encode(mac, sizeof(mac), expected);
    out->access_key = s.access_key;
    out->kind = AUTH_V4_QUERY;
    return str_eq_secret(form->signature, str_n(expected, sizeof(expected))) ? ERR_OK : ERR_SIGNATURE;
}

static enum err check_post_v2(struct creds *creds, const struct auth_post *form, struct arena *a, struct identity *out,
                              struct auth_failure *why)
{
    struct iam_key k;
    enum err e;
    uint8_t mac[20];
    char expected[BASE64_LEN(20)];

    why->access_key = form->v2_access_key;
    why->string_to_sign = form->policy;
    if ((e = creds_find(creds, a, form->v2_access_key, form->token, form->now_s, &k)) != ERR_OK)
        return e;
    out->iam = k.who;
    hmac_sha1(str_n(k.secret, k.secret_n), form->policy, mac);
    explicit_bzero(k.secret, sizeof(k.secret));
    base64_encode(mac, sizeof(mac), expected);
    out->access_key = form->v2_access_key;
    out->kind = AUTH_V2_QUERY;
    return str_eq_secret(form->v2_signature, str_n(expected, sizeof(expected))) ? ERR_OK : ERR_SIGNATURE;
}

enum err auth_check_post(struct creds *creds, const struct auth_post *form, struct str region, struct arena *a,
                         struct identity *out, struct auth_failure *why)
{
    struct identity id = {.payload = PAYLOAD_UNSIGNED};
    bool v4 = form->algorithm.p || form->credential.p || form->date.p || form->signature.p;
    bool v2 = form->v2_access_key.p || form->v2_signature.p;
    enum err e;

    *why = (struct auth_failure){0};
    if (v4 == v2 || form->policy.n == 0) {
        why->message = STR("A POST form needs a policy and exactly one kind of signature.");
        return ERR_INVALID_ARGUMENT;
    }
    why->signature = v4 ? form->signature : form->v2_signature;
    e = v4 ? check_post_v4(creds, form, region, a, &id, why) : check_post_v2(creds, form, a, &id, why);
    if (e == ERR_OK)
        *out = id;
    return e;
}
