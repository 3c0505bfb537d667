#include "sign_v4.h"

#include <assert.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "http/url.h"

enum { TEXT_MAX = 1 << 20 };

static int param_cmp(const void *a, const void *b)
{
    const struct sign_v4_param *x = a, *y = b;
    int c = str_cmp(x->name, y->name);

    return c ? c : str_cmp(x->value, y->value);
}

static int header_cmp(const void *a, const void *b)
{
    return str_cmp(((const struct http_header *)a)->name, ((const struct http_header *)b)->name);
}

static struct str encoded(struct arena *a, struct str s, bool keep_slash)
{
    struct buf b = BUF_INIT(TEXT_MAX);

    url_encode(&b, s, keep_slash);
    assert(!b.over); /* keys and values are short */
    struct str out = arena_str(a, buf_str(&b));
    buf_release(&b);
    return out;
}

/* Sorted by coded name, then value: coding changes the order, so it comes first. */
static struct str query_of(struct arena *a, const struct sign_v4_req *req)
{
    struct sign_v4_param list[SIGN_V4_PARAMS_MAX];
    struct buf b = BUF_INIT(TEXT_MAX);

    assert(req->param_count <= SIGN_V4_PARAMS_MAX);
    for (size_t i = 0; i < req->param_count; i++)
        list[i] =
            (struct sign_v4_param){encoded(a, req->params[i].name, false), encoded(a, req->params[i].value, false)};
    qsort(list, req->param_count, sizeof(*list), param_cmp);
    for (size_t i = 0; i < req->param_count; i++)
        buf_addf(&b, "%s" STR_FMT "=" STR_FMT, i ? "&" : "", STR_ARG(list[i].name), STR_ARG(list[i].value));
    struct str out = arena_str(a, buf_str(&b));
    buf_release(&b);
    return out;
}

/* Runs of spaces count as one. */
static void add_collapsed(struct buf *b, struct str s)
{
    s = str_trim(s);
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != ' ' || s.p[i - 1] != ' ')
            buf_add_char(b, s.p[i]);
}

/* The canonical request; the names that it covers go to `names`. Those of one name are one line. */
static void add_canonical(struct buf *b, struct buf *names, const struct sign_v4_req *req, struct str path,
                          struct str query, const struct http_header *sorted, size_t count)
{
    buf_addf(b, STR_FMT "\n" STR_FMT "\n" STR_FMT "\n", STR_ARG(req->method), STR_ARG(path), STR_ARG(query));
    for (size_t i = 0; i < count; i++) {
        if (i && str_eq(sorted[i].name, sorted[i - 1].name)) {
            buf_add_char(b, ',');
        } else {
            buf_addf(b, "%s" STR_FMT ":", i ? "\n" : "", STR_ARG(sorted[i].name));
            buf_addf(names, "%s" STR_FMT, i ? ";" : "", STR_ARG(sorted[i].name));
        }
        add_collapsed(b, sorted[i].value);
    }
    buf_addf(b, "\n\n" STR_FMT "\n" STR_FMT, STR_ARG(buf_str(names)), STR_ARG(req->payload));
}

static void signing_key(const struct sign_v4_key *key, struct str day, uint8_t out[32])
{
    struct buf first = BUF_INIT(TEXT_MAX);

    buf_add_z(&first, "AWS4");
    buf_add_str(&first, key->secret_key);
    hmac_sha256(buf_str(&first), day, out);
    hmac_sha256(str_n(out, 32), key->region, out);
    hmac_sha256(str_n(out, 32), STR("s3"), out);
    hmac_sha256(str_n(out, 32), STR("aws4_request"), out);
    memset(first.p, 0, first.n);
    buf_release(&first);
}

static struct str authorization(struct arena *a, const struct sign_v4_key *key, struct str date, struct str canonical,
                                struct str names)
{
    struct str day = str_n(date.p, 8);
    struct digest sha;
    char hex[64], signature[64];
    uint8_t secret[32], mac[32];

    hash_of(HASH_SHA256, canonical, &sha);
    hex_encode(sha.b, 32, hex);
    struct str scope = arena_printf(a, STR_FMT "/" STR_FMT "/s3/aws4_request", STR_ARG(day), STR_ARG(key->region));
    struct str to_sign =
        arena_printf(a, "AWS4-HMAC-SHA256\n" STR_FMT "\n" STR_FMT "\n%.64s", STR_ARG(date), STR_ARG(scope), hex);
    signing_key(key, day, secret);
    hmac_sha256(str_n(secret, 32), to_sign, mac);
    hex_encode(mac, 32, signature);
    return arena_printf(a,
                        "AWS4-HMAC-SHA256 Credential=" STR_FMT "/" STR_FMT ",SignedHeaders=" STR_FMT ",Signature=%.64s",
                        STR_ARG(key->access_key), STR_ARG(scope), STR_ARG(names), signature);
}

void sign_v4(struct arena *a, const struct sign_v4_key *key, const struct sign_v4_req *req, struct sign_v4_res *res)
{
    struct http_header *headers = arena_alloc(a, (req->header_count + 3) * sizeof(*headers)), *sorted;
    struct str path = encoded(a, req->path, true), query = query_of(a, req);
    struct buf canonical = BUF_INIT(TEXT_MAX), names = BUF_INIT(TEXT_MAX);
    char *date = arena_alloc(a, CLOCK_BASIC_LEN);
    size_t n = req->header_count;

    if (n)
        memcpy(headers, req->headers, n * sizeof(*headers));
    res->target = arena_printf(a, STR_FMT "%s" STR_FMT, STR_ARG(path), query.n ? "?" : "", STR_ARG(query));
    res->headers = headers;
    res->header_count = n;
    if (key->access_key.n == 0)
        return;
    clock_basic(req->time_s * NS_PER_S, date);
    headers[n++] = (struct http_header){STR("x-amz-date"), str_n(date, CLOCK_BASIC_LEN)};
    headers[n++] = (struct http_header){STR("x-amz-content-sha256"), req->payload};
    sorted = arena_alloc(a, (n + 1) * sizeof(*sorted));
    memcpy(sorted, headers, n * sizeof(*sorted));
    sorted[n] = (struct http_header){STR("host"), req->host};
    qsort(sorted, n + 1, sizeof(*sorted), header_cmp);
    add_canonical(&canonical, &names, req, path, query, sorted, n + 1);
    assert(!canonical.over);
    headers[n++] = (struct http_header){STR("authorization"), authorization(a, key, str_n(date, CLOCK_BASIC_LEN),
                                                                            buf_str(&canonical), buf_str(&names))};
    res->header_count = n;
    buf_release(&canonical);
    buf_release(&names);
}
