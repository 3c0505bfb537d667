#include "sigv4.h"

#include <stdlib.h>

#include "s3api/pen.h"

static const struct str algorithm = STR("AWS4-HMAC-SHA256");

/* ---- parsing ---- */

bool sigv4_parse_credential(struct str credential, struct str service, struct sigv4 *out)
{
    struct str tail[4] = {STR_NONE},
               rest = credential; /* day, region, service, terminator: access keys may hold slashes */
    const char *end = credential.p + credential.n;

    for (int i = 3; i >= 0; i--) {
        const char *slash = rest.n ? memrchr(rest.p, '/', rest.n) : NULL;
        if (!slash)
            return false;
        size_t at = (size_t)(slash - rest.p);
        tail[i] = str_skip(rest, at + 1);
        rest.n = at;
    }
    if (rest.n == 0 || rest.n > ACCESS_KEY_MAX || tail[0].n != 8 || tail[1].n > SIGV4_REGION_MAX)
        return false;
    if (!str_eq(tail[2], service) || !str_eq(tail[3], STR("aws4_request")))
        return false;
    out->access_key = rest;
    out->day = tail[0];
    out->region = tail[1];
    out->service = service;
    out->scope = str_n(tail[0].p, (size_t)(end - tail[0].p));
    return true;
}

static struct str service_of(const struct auth_input *in)
{
    return in->service.n ? in->service : STR("s3");
}

/* Years 1970 to 2262: what fits nanoseconds. */
static bool is_sane(int64_t time_s)
{
    return time_s >= 0 && time_s < INT64_MAX / NS_PER_S - AUTH_EXPIRES_MAX_S;
}

/* Basic ISO 8601, or the HTTP form that some clients put into Date. */
static bool parse_date(struct sigv4 *s)
{
    if (clock_basic_parse(s->date, &s->time_s)) {
        memcpy(s->timestamp, s->date.p, CLOCK_BASIC_LEN);
        return is_sane(s->time_s);
    }
    if (!clock_http_parse(s->date, &s->time_s) || !is_sane(s->time_s))
        return false;
    clock_basic(s->time_s * NS_PER_S, s->timestamp);
    return true;
}

/* Region and day of the scope; `error` is the one of the form at hand. */
static enum err check_scope(const struct auth_input *in, const struct sigv4 *s, enum err error, struct arena *a,
                            struct auth_failure *why)
{
    const char *what =
        s->presigned ? "Error parsing the X-Amz-Credential parameter" : "The authorization header is malformed";

    if (in->region.n && !str_eq(s->region, in->region)) {
        why->region = in->region;
        why->message = arena_printf(a, "%s; the region '" STR_FMT "' is wrong; expecting '" STR_FMT "'", what,
                                    STR_ARG(s->region), STR_ARG(in->region));
        return error;
    }
    if (!str_eq(s->day, str_n(s->timestamp, 8))) {
        why->message = arena_printf(
            a, "%s; Invalid credential date \"" STR_FMT "\". This date is not the same as X-Amz-Date: \"%.8s\".", what,
            STR_ARG(s->day), s->timestamp);
        return error;
    }
    return ERR_OK;
}

static enum err malformed(struct auth_failure *why, struct str message)
{
    why->message = message;
    return ERR_AUTH_HEADER_MALFORMED;
}

/* "Credential=..., SignedHeaders=..., Signature=..." in any order, each once. */
static bool parse_fields(struct str fields, struct str *credential, struct sigv4 *out)
{
    while (fields.n) {
        struct str field = str_trim(str_split(&fields, ','));
        struct str name = str_split(&field, '=');
        struct str *to = str_eq(name, STR("Credential"))      ? credential
                         : str_eq(name, STR("SignedHeaders")) ? &out->signed_headers
                         : str_eq(name, STR("Signature"))     ? &out->signature
                                                              : NULL;
        if (!to || to->p || field.n == 0)
            return false;
        *to = field;
    }
    return credential->p && out->signed_headers.p && out->signature.p;
}

enum err sigv4_parse_header(const struct auth_input *in, struct str value, struct arena *a, struct sigv4 *out,
                            struct auth_failure *why)
{
    struct str credential = STR_NONE;
    enum err e;

    *out = (struct sigv4){0};
    value = str_skip(value, algorithm.n);
    if (value.n == 0 || (value.p[0] != ' ' && value.p[0] != '\t') || !parse_fields(str_trim(value), &credential, out))
        return malformed(
            why,
            STR("The authorization header is malformed; it needs one Credential, SignedHeaders and Signature each."));
    if (!sigv4_parse_credential(credential, service_of(in), out))
        return malformed(why, STR("The authorization header is malformed; the Credential is mal-formed; expecting "
                                  "\"<YOUR-AKID>/YYYYMMDD/REGION/s3/aws4_request\"."));
    why->access_key = out->access_key;
    out->date = http_header_get(in->req, STR("x-amz-date"));
    if (!out->date.p)
        out->date = http_header_get(in->req, STR("date"));
    if (!out->date.p || !parse_date(out)) {
        why->message = STR("AWS authentication requires a valid Date or x-amz-date header");
        return ERR_ACCESS_DENIED;
    }
    if ((e = check_scope(in, out, ERR_AUTH_HEADER_MALFORMED, a, why)) != ERR_OK)
        return e;
    if (llabs(in->now_s - out->time_s) > AUTH_SKEW_MAX_S) {
        why->request_time = out->date;
        why->skew_max_ms = AUTH_SKEW_MAX_S * 1000;
        return ERR_TIME_SKEWED;
    }
    return ERR_OK;
}

static enum err bad_query(struct auth_failure *why, struct str message)
{
    why->message = message;
    return ERR_AUTH_QUERY;
}

/* The parameters that make a presigned URL; every one of them exactly once. */
static enum err collect_query(const struct auth_input *in, struct str *values, const struct str *names, size_t count,
                              struct auth_failure *why)
{
    for (size_t i = 0; i < in->query_count; i++)
        for (size_t k = 0; k < count; k++)
            if (str_eq(in->query[i].name, names[k])) {
                if (values[k].p)
                    return bad_query(why, STR("A query-string authentication parameter is repeated."));
                values[k] = in->query[i].value;
            }
    for (size_t k = 0; k < count; k++)
        if (values[k].n == 0)
            return bad_query(
                why, STR("Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, "
                         "X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."));
    return ERR_OK;
}

static enum err check_validity(const struct auth_input *in, struct sigv4 *out, struct str expires, struct arena *a,
                               struct auth_failure *why)
{
    if (!str_to_u64(expires, UINT64_MAX, &out->expires_s))
        return bad_query(why, STR("X-Amz-Expires should be a number"));
    if (out->expires_s < 1)
        return bad_query(why, STR("X-Amz-Expires must be at least 1 second"));
    if (out->expires_s > AUTH_EXPIRES_MAX_S)
        return bad_query(why,
                         STR("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires "
                             "must be less than 604800 seconds"));
    if (out->time_s - in->now_s > AUTH_SKEW_MAX_S) {
        why->message = STR("Request is not valid yet");
        why->request_time = out->date;
        return ERR_ACCESS_DENIED;
    }
    int64_t end_s = out->time_s + (int64_t)out->expires_s;
    if (in->now_s > end_s) {
        char *text = arena_alloc(a, CLOCK_ISO_LEN);
        clock_iso(end_s * NS_PER_S, text);
        why->expires = str_n(text, CLOCK_ISO_LEN);
        return ERR_REQUEST_EXPIRED;
    }
    return ERR_OK;
}

enum err sigv4_parse_query(const struct auth_input *in, struct arena *a, struct sigv4 *out, struct auth_failure *why)
{
    enum { ALGORITHM, CREDENTIAL, SIGNATURE, DATE, SIGNED_HEADERS, EXPIRES, COUNT };
    static const struct str names[COUNT] = {STR("X-Amz-Algorithm"), STR("X-Amz-Credential"),    STR("X-Amz-Signature"),
                                            STR("X-Amz-Date"),      STR("X-Amz-SignedHeaders"), STR("X-Amz-Expires")};
    struct str v[COUNT] = {STR_NONE};
    enum err e;

    if ((e = collect_query(in, v, names, COUNT, why)) != ERR_OK)
        return e;
    if (str_starts(v[ALGORITHM], STR("AWS4-ECDSA-")))
        return ERR_NOT_IMPLEMENTED;
    if (!str_eq(v[ALGORITHM], algorithm))
        return bad_query(why, STR("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    *out = (struct sigv4){
        .presigned = true, .signed_headers = v[SIGNED_HEADERS], .signature = v[SIGNATURE], .date = v[DATE]};
    if (!sigv4_parse_credential(v[CREDENTIAL], service_of(in), out))
        return bad_query(why,
                         STR("Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting "
                             "\"<YOUR-AKID>/YYYYMMDD/REGION/s3/aws4_request\"."));
    why->access_key = out->access_key;
    if (!clock_basic_parse(out->date, &out->time_s) || !is_sane(out->time_s))
        return bad_query(why, STR("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""));
    memcpy(out->timestamp, out->date.p, CLOCK_BASIC_LEN);
    if ((e = check_scope(in, out, ERR_AUTH_QUERY, a, why)) != ERR_OK)
        return e;
    return check_validity(in, out, v[EXPIRES], a, why);
}

/* ---- the canonical request ---- */

/* A writer whose room is what was asked for: on the caller's stack when it fits. */
static struct pen pen_for(struct arena *a, size_t room, char *stack, size_t stack_size)
{
    return (struct pen){room <= stack_size ? stack : arena_alloc(a, room), 0, room};
}

static bool is_plain(unsigned char c)
{
    /* letters, digits, "-._~" */
    static const uint8_t plain[32] = {[5] = 0x60,  [6] = 0xFF,  [7] = 0x03,  [8] = 0xFE,  [9] = 0xFF, [10] = 0xFF,
                                      [11] = 0x87, [12] = 0xFE, [13] = 0xFF, [14] = 0xFF, [15] = 0x47};

    return plain[c >> 3] >> (c & 7) & 1;
}

static void put_coded(struct pen *w, unsigned char c)
{
    static const char hex[] = "0123456789ABCDEF";
    char coded[3] = {'%', hex[c >> 4], hex[c & 15]};

    pen_add(w, coded, sizeof(coded));
}

/* The run of bytes at the beginning of s that stand for themselves. */
static size_t put_plain(struct pen *w, struct str s, bool keep_slash)
{
    size_t n = 0;

    while (n < s.n && (is_plain((unsigned char)s.p[n]) || (keep_slash && s.p[n] == '/')))
        n++;
    pen_add(w, s.p, n);
    return n;
}

/* Decoded once and encoded again; at most 3 * path.n + 1 bytes. */
static bool put_path(struct pen *w, struct str path)
{
    if (path.n == 0)
        pen_char(w, '/');
    for (size_t i = 0; (i += put_plain(w, str_skip(path, i), true)) < path.n; i++) {
        uint8_t c = (uint8_t)path.p[i];
        if (c == '%') {
            if (path.n - i < 3 || !hex_decode(str_n(path.p + i + 1, 2), &c, 1))
                return false;
            i += 2;
        }
        if (is_plain(c) || c == '/')
            pen_char(w, (char)c);
        else
            put_coded(w, c);
    }
    pen_char(w, '\n');
    return true;
}

struct pair {
    struct str name, value; /* encoded */
};

static int pair_cmp(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    int c = str_cmp(x->name, y->name);

    return c ? c : str_cmp(x->value, y->value);
}

static struct str put_all_encoded(struct pen *w, struct str s)
{
    size_t at = w->n;

    for (size_t i = 0; (i += put_plain(w, str_skip(s, i), false)) < s.n; i++)
        put_coded(w, (unsigned char)s.p[i]);
    return str_n(w->p + at, w->n - at);
}

/* Sorted by encoded name, then value: encoding changes the order, so it comes first. */
static void put_query(struct pen *w, const struct auth_input *in, bool presigned, struct arena *a)
{
    char stack[2048];
    struct pair few[24], *list = few;
    size_t n = 0, room = 0;

    for (size_t i = 0; i < in->query_count; i++)
        room += 3 * (in->query[i].name.n + in->query[i].value.n);
    struct pen scratch = pen_for(a, room, stack, sizeof(stack));
    if (in->query_count > sizeof(few) / sizeof(few[0]))
        list = arena_alloc(a, in->query_count * sizeof(*list));
    for (size_t i = 0; i < in->query_count; i++) {
        if (presigned && str_eq(in->query[i].name, STR("X-Amz-Signature")))
            continue;
        list[n].name = put_all_encoded(&scratch, in->query[i].name);
        list[n++].value = put_all_encoded(&scratch, in->query[i].value);
    }
    qsort(list, n, sizeof(*list), pair_cmp);
    for (size_t i = 0; i < n; i++) {
        if (i)
            pen_char(w, '&');
        pen_str(w, list[i].name);
        pen_char(w, '=');
        pen_str(w, list[i].value);
    }
    pen_char(w, '\n');
}

/* Which of the request's headers the signature covers. */
struct covered {
    bool host;
    bool *header; /* header_count of them */
};

/* One line of the canonical headers. False: the name is listed twice. */
static bool put_header(struct pen *w, const struct auth_input *in, struct str name, struct covered *covered)
{
    bool first = true;

    pen_str(w, name);
    pen_char(w, ':');
    if (str_eq(name, STR("host"))) { /* an absolute-form target replaces the header */
        if (covered->host)
            return false;
        covered->host = true;
        pen_collapsed(w, in->req->host);
    } else {
        for (size_t i = 0; i < in->req->header_count; i++) {
            if (!str_eq(in->req->headers[i].name, name))
                continue;
            if (covered->header[i])
                return false;
            covered->header[i] = true;
            if (!first)
                pen_char(w, ',');
            first = false;
            pen_collapsed(w, in->req->headers[i].value);
        }
    }
    pen_char(w, '\n');
    return true;
}

static bool put_headers(struct pen *w, const struct auth_input *in, struct str names, struct covered *covered)
{
    for (unsigned count = 0; names.n; count++) {
        struct str name = str_split(&names, ';');
        if (count == SIGV4_SIGNED_MAX || name.n == 0 || !put_header(w, in, name, covered))
            return false;
    }
    pen_char(w, '\n');
    return true;
}

/* Room for the canonical request: everything coded thrice as long, every header once. */
static size_t canonical_room(const struct auth_input *in, const struct sigv4 *s, struct str payload)
{
    size_t room = in->req->method_text.n + 3 * in->req->path.n + 2 * s->signed_headers.n + payload.n + in->req->host.n +
                  16 + 2 * SIGV4_SIGNED_MAX;

    for (size_t i = 0; i < in->query_count; i++)
        room += 3 * (in->query[i].name.n + in->query[i].value.n) + 2;
    for (size_t i = 0; i < in->req->header_count; i++)
        room += in->req->headers[i].value.n + 1;
    return room;
}

enum { HEADERS_NOT_SIGNED_MAX = 1024 }; /* bytes after which the list ends: it is rebuilt with every name */

/* A header that changes what S3 does must be signed, else whoever sees the request could add it. */
static enum err check_coverage(const struct auth_input *in, const struct covered *covered, struct arena *a,
                               struct auth_failure *why)
{
    struct str list = STR_NONE;

    if (!covered->host)
        list = STR("host");
    for (size_t i = 0; i < in->req->header_count; i++) {
        struct str name = in->req->headers[i].name;
        if (!covered->header[i] && str_starts(name, STR("x-amz-")) && list.n < HEADERS_NOT_SIGNED_MAX)
            list = arena_printf(a, STR_FMT "%s" STR_FMT, STR_ARG(list), list.n ? ", " : "", STR_ARG(name));
    }
    if (list.n == 0)
        return ERR_OK;
    why->headers_not_signed = list;
    return ERR_HEADERS_NOT_SIGNED;
}

static enum err put_canonical(struct pen *w, const struct auth_input *in, const struct sigv4 *s, struct str payload,
                              struct arena *a, struct auth_failure *why)
{
    bool flags[128] = {false};
    struct covered covered = {false, flags};

    if (in->req->header_count > sizeof(flags))
        covered.header = arena_new(a, in->req->header_count);
    pen_line(w, in->req->method_text);
    if (!put_path(w, in->req->path))
        return ERR_INVALID_URI;
    put_query(w, in, s->presigned, a);
    if (!put_headers(w, in, s->signed_headers, &covered)) {
        why->message = STR(
            "The list of signed headers is malformed; expecting lower-case names separated by semicolons, each once.");
        return s->presigned ? ERR_AUTH_QUERY : ERR_AUTH_HEADER_MALFORMED;
    }
    pen_line(w, s->signed_headers);
    pen_str(w, payload);
    return check_coverage(in, &covered, a, why);
}

/* ---- checking ---- */

enum { STRING_TO_SIGN_MAX = 16 + 1 + CLOCK_BASIC_LEN + 1 + 8 + SIGV4_REGION_MAX + 32 + 64 };

static void put_string_to_sign(struct pen *w, const struct sigv4 *s, struct str canonical)
{
    SHA256_CTX c;
    uint8_t sha[32];

    SHA256_Init(&c);
    SHA256_Update(&c, canonical.p, canonical.n);
    SHA256_Final(sha, &c);
    pen_line(w, algorithm);
    pen_line(w, str_n(s->timestamp, CLOCK_BASIC_LEN));
    pen_line(w, s->scope);
    assert(w->cap - w->n >= 64);
    hex_encode(sha, sizeof(sha), w->p + w->n);
    w->n += 64;
}

enum err sigv4_check(struct creds *creds, const struct iam_key *signer, const struct auth_input *in,
                     const struct sigv4 *s, struct str payload, struct arena *a, struct hmac *key,
                     struct auth_failure *why)
{
    char stack[8192], sts_room[STRING_TO_SIGN_MAX], expected[SIGV4_SIGNATURE_LEN];
    struct pen canonical = pen_for(a, canonical_room(in, s, payload), stack, sizeof(stack));
    struct pen sts = {sts_room, 0, sizeof(sts_room)};
    uint8_t mac[32];
    enum err e;

    why->signature = s->signature;
    creds_signing_key(creds, signer, &(struct sigv4_scope){s->access_key, s->day, s->region, s->service}, key);
    if ((e = put_canonical(&canonical, in, s, payload, a, why)) != ERR_OK)
        return e;
    put_string_to_sign(&sts, s, pen_text(&canonical));
    hmac_of(key, pen_text(&sts), mac);
    hex_encode(mac, sizeof(mac), expected);
    if (str_eq_secret(s->signature, str_n(expected, sizeof(expected))))
        return ERR_OK;
    why->string_to_sign = arena_str(a, pen_text(&sts));
    why->canonical_request = arena_str(a, pen_text(&canonical));
    return ERR_SIGNATURE;
}
