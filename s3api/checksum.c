#include "checksum.h"

#include "s3api/chunked.h"

/* ---- names ---- */

#define ROW(header, element)                                                                                           \
    {                                                                                                                  \
        STR("x-amz-checksum-" header), STR("Checksum" element),                                                        \
            STR("Value for x-amz-checksum-" header " header is invalid.")                                              \
    }

static const struct {
    struct str header, element, invalid;
} names[HASH_COUNT] = {
    [HASH_CRC32] = ROW("crc32", "CRC32"),
    [HASH_CRC32C] = ROW("crc32c", "CRC32C"),
    [HASH_CRC64NVME] = ROW("crc64nvme", "CRC64NVME"),
    [HASH_SHA1] = ROW("sha1", "SHA1"),
    [HASH_SHA256] = ROW("sha256", "SHA256"),
    [HASH_SHA512] = ROW("sha512", "SHA512"),
    [HASH_MD5] = ROW("md5", "MD5"),
    [HASH_XXH64] = ROW("xxhash64", "XXHASH64"),
    [HASH_XXH3] = ROW("xxhash3", "XXHASH3"),
    [HASH_XXH128] = ROW("xxhash128", "XXHASH128"),
};

struct str checksum_header_name(enum hash_alg alg)
{
    return names[alg].header;
}

struct str checksum_element_name(enum hash_alg alg)
{
    return names[alg].element;
}

enum hash_alg checksum_by_header_name(struct str name)
{
    for (int i = HASH_NONE + 1; i < HASH_COUNT; i++)
        if (str_eq_nocase(name, names[i].header))
            return (enum hash_alg)i;
    return HASH_NONE;
}

struct str checksum_type_name(enum checksum_type type)
{
    switch (type) {
    case CHECKSUM_FULL_OBJECT:
        return STR("FULL_OBJECT");
    case CHECKSUM_COMPOSITE:
        return STR("COMPOSITE");
    case CHECKSUM_NONE:
        break;
    }
    return STR_NONE;
}

/* ---- values ---- */

size_t checksum_print(const struct checksum *c, char out[CHECKSUM_TEXT_MAX])
{
    char digits[10];
    size_t n, k = sizeof(digits);

    if (c->digest.alg == HASH_NONE || c->digest.n == 0)
        return 0;
    n = base64_encode(c->digest.b, c->digest.n, out);
    if (c->type != CHECKSUM_COMPOSITE)
        return n;
    out[n++] = '-';
    for (uint32_t v = c->parts; k == sizeof(digits) || v; v /= 10)
        digits[--k] = (char)('0' + v % 10);
    memcpy(out + n, digits + k, sizeof(digits) - k);
    return n + sizeof(digits) - k;
}

bool checksum_parse(enum hash_alg alg, struct str text, struct checksum *out)
{
    struct checksum c = {.digest = {.alg = alg, .n = (uint8_t)hash_len(alg)}, .type = CHECKSUM_FULL_OBJECT};
    size_t dash = str_find_char(text, '-'), n;
    bool composite = dash != SIZE_MAX;
    struct str b64 = composite ? str_n(text.p, dash) : text;
    uint64_t parts = 0;

    if (alg == HASH_NONE || b64.n == 0 || !base64_decode(b64, c.digest.b, sizeof(c.digest.b), &n) || n != hash_len(alg))
        return false;
    if (composite && (!str_to_u64(str_skip(text, dash + 1), PARTS_MAX, &parts) || parts == 0))
        return false;
    if (composite)
        c.type = CHECKSUM_COMPOSITE;
    c.parts = (uint32_t)parts;
    *out = c;
    return true;
}

bool checksum_type_allowed(enum hash_alg alg, enum checksum_type type)
{
    if (type == CHECKSUM_FULL_OBJECT)
        return hash_can_combine(alg);
    return type == CHECKSUM_COMPOSITE && alg != HASH_NONE && alg != HASH_CRC64NVME;
}

enum checksum_type checksum_type_default(enum hash_alg alg)
{
    return alg == HASH_NONE ? CHECKSUM_NONE : alg == HASH_CRC64NVME ? CHECKSUM_FULL_OBJECT : CHECKSUM_COMPOSITE;
}

/* ---- headers ---- */

static enum err invalid(struct str *message, struct str text)
{
    *message = text;
    return ERR_INVALID_REQUEST;
}

enum err checksum_from_headers(const struct http_req *req, struct checksum *out, struct str *message)
{
    struct checksum c = {.digest = {.alg = HASH_NONE}};

    for (size_t i = 0; i < req->header_count; i++) {
        struct str name = req->headers[i].name;
        if (!str_starts(name, STR("x-amz-checksum-")) || str_eq(name, STR("x-amz-checksum-algorithm")) ||
            str_eq(name, STR("x-amz-checksum-type")) || str_eq(name, STR("x-amz-checksum-mode")))
            continue;
        enum hash_alg alg = checksum_by_header_name(name);
        if (alg == HASH_NONE)
            return invalid(message, STR("The algorithm type you specified in x-amz-checksum- header is invalid."));
        if (c.digest.alg != HASH_NONE)
            return invalid(message,
                           STR("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."));
        if (!checksum_parse(alg, req->headers[i].value, &c))
            return invalid(message, names[alg].invalid);
    }
    *out = c;
    return ERR_OK;
}

enum err checksum_plan(const struct http_req *req, enum hash_alg *alg, enum checksum_type *type, struct str *message)
{
    struct str alg_text = http_header_get(req, STR("x-amz-checksum-algorithm"));
    struct str type_text = http_header_get(req, STR("x-amz-checksum-type"));
    enum hash_alg a = hash_by_name(alg_text);
    enum checksum_type t = checksum_type_default(a);

    if (alg_text.p && a == HASH_NONE)
        return invalid(message,
                       STR("Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
                           "[CRC32, CRC32C, CRC64NVME, SHA1, SHA256, SHA512, MD5, XXHASH64, XXHASH3, XXHASH128]"));
    if (type_text.p) {
        if (a == HASH_NONE)
            return invalid(
                message,
                STR("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."));
        if (str_eq(type_text, STR("COMPOSITE")))
            t = CHECKSUM_COMPOSITE;
        else if (str_eq(type_text, STR("FULL_OBJECT")))
            t = CHECKSUM_FULL_OBJECT;
        else
            return invalid(message, STR("Value for x-amz-checksum-type header is invalid."));
        if (!checksum_type_allowed(a, t))
            return invalid(message, STR("The checksum type cannot be used with the checksum algorithm."));
    }
    *alg = a;
    *type = t;
    return ERR_OK;
}

/* ---- bodies ---- */

static void want(struct body_check *check, const struct digest *d, enum err e)
{
    check->want[check->want_count].digest = *d;
    check->want[check->want_count++].err = e;
}

static enum err want_md5(const struct http_req *req, struct body_check *check)
{
    struct str value = http_header_get(req, STR("content-md5"));
    struct digest d = {.alg = HASH_MD5, .n = 16};
    size_t n;

    if (!value.p)
        return ERR_OK;
    if (!base64_decode(value, d.b, sizeof(d.b), &n) || n != 16)
        return ERR_INVALID_DIGEST;
    want(check, &d, ERR_BAD_DIGEST);
    return ERR_OK;
}

static void want_payload(const struct identity *who, struct body_check *check)
{
    struct digest d = {.alg = HASH_SHA256, .n = 32};

    if (who->payload != PAYLOAD_DIGEST)
        return;
    memcpy(d.b, who->payload_sha256, 32);
    want(check, &d, ERR_SHA256_MISMATCH);
}

static bool has_trailers(const struct identity *who)
{
    return who->payload == PAYLOAD_UNSIGNED_TRAILER || who->payload == PAYLOAD_SIGNED_CHUNKS_TRAILER;
}

static bool is_framed(const struct identity *who)
{
    return has_trailers(who) || who->payload == PAYLOAD_SIGNED_CHUNKS;
}

/* The algorithm that x-amz-trailer promises. */
static enum err find_announced(const struct http_req *req, const struct identity *who, enum hash_alg *out,
                               struct str *message)
{
    struct str value = http_header_get(req, STR("x-amz-trailer"));

    *out = HASH_NONE;
    if (!value.p)
        return ERR_OK;
    if (!has_trailers(who) || http_header_count(req, STR("x-amz-trailer")) > 1)
        return ERR_MALFORMED_TRAILER;
    *out = checksum_by_header_name(str_trim(value));
    return *out == HASH_NONE ? invalid(message, STR("The value specified in the x-amz-trailer header is not supported"))
                             : ERR_OK;
}

/* x-amz-sdk-checksum-algorithm repeats what another header says, or there must be one that says it. */
static enum err check_sdk_algorithm(const struct http_req *req, enum hash_alg found, struct str *message)
{
    struct str value = http_header_get(req, STR("x-amz-sdk-checksum-algorithm"));

    if (!value.p)
        return ERR_OK;
    if (hash_by_name(value) == HASH_NONE)
        return invalid(message, STR("Value for x-amz-sdk-checksum-algorithm header is invalid."));
    if (found == HASH_NONE)
        return invalid(message, STR("x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or "
                                    "x-amz-trailer headers were found."));
    return hash_by_name(value) == found
               ? ERR_OK
               : invalid(message, STR("Value for x-amz-sdk-checksum-algorithm header is invalid."));
}

static enum err want_checksum(const struct http_req *req, enum hash_alg announced, struct body *out)
{
    struct checksum c;
    enum err e;

    if ((e = checksum_from_headers(req, &c, &out->message)) != ERR_OK)
        return e;
    if (c.type == CHECKSUM_COMPOSITE)
        return invalid(&out->message, names[c.digest.alg].invalid);
    if (c.digest.alg != HASH_NONE && announced != HASH_NONE)
        return invalid(&out->message, STR("Expecting a single x-amz-checksum- header"));
    if (c.digest.alg != HASH_NONE)
        want(&out->check, &c.digest, ERR_BAD_DIGEST);
    out->check.checksum = c.digest.alg != HASH_NONE ? c.digest.alg : announced;
    out->has_checksum = out->check.checksum != HASH_NONE;
    return check_sdk_algorithm(req, out->check.checksum, &out->message);
}

static enum err open_framed(const struct http_req *req, const struct identity *who, enum hash_alg announced,
                            struct offload *cpu, struct body *out)
{
    struct str text = http_header_get(req, STR("x-amz-decoded-content-length"));

    if (!text.p)
        return ERR_MISSING_LENGTH;
    if (!str_to_u64(text, INT64_MAX, &out->len))
        return invalid(&out->message, STR("Value for x-amz-decoded-content-length header is invalid."));
    if (!req->body) /* even an empty payload has a last chunk */
        return ERR_INCOMPLETE_BODY;
    out->check.also |= announced == HASH_NONE ? 0 : 1u << announced;
    out->source = chunked_source_new(req->loop, req->body, who, &out->check, announced, out->len, cpu);
    out->own = true;
    return ERR_OK;
}

static enum err open_body(const struct http_req *req, const struct identity *who, struct offload *cpu, bool checksums,
                          struct body *out)
{
    enum hash_alg announced;
    enum err e;

    *out = (struct body){.check = {.checksum = HASH_NONE}};
    if ((e = want_md5(req, &out->check)) != ERR_OK)
        return e;
    want_payload(who, &out->check);
    if ((e = find_announced(req, who, &announced, &out->message)) != ERR_OK)
        return e;
    if (checksums && (e = want_checksum(req, announced, out)) != ERR_OK)
        return e;
    if (is_framed(who))
        return open_framed(req, who, announced, cpu, out);
    out->source = req->body;
    out->len = req->body ? req->body_len : 0;
    return ERR_OK;
}

enum err body_open(const struct http_req *req, const struct identity *who, struct offload *cpu, struct body *out)
{
    return open_body(req, who, cpu, true, out);
}

enum err body_open_complete(const struct http_req *req, const struct identity *who, struct offload *cpu,
                            struct body *out)
{
    return open_body(req, who, cpu, false, out);
}

void body_close(struct body *b)
{
    if (b->own)
        source_close(b->source);
    b->own = false;
    b->source = NULL;
}

enum err body_verify(const struct body_check *check, struct str bytes)
{
    struct digest d;

    for (unsigned i = 0; i < check->want_count; i++) {
        hash_of(check->want[i].digest.alg, bytes, &d);
        if (!digest_eq(&d, &check->want[i].digest))
            return check->want[i].err;
    }
    return ERR_OK;
}
