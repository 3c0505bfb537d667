#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raw_req.h"
#include "signing.h"

/* The key and the requests of S3 API: Signature Calculations, "Examples". */
#define AKID         "AKIAIOSFODNN7EXAMPLE"
#define SCOPE        "20130524/us-east-1/s3/aws4_request"
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define AUTH(signed_headers, signature)                                                                                \
    "authorization: AWS4-HMAC-SHA256 Credential=" AKID "/" SCOPE ",SignedHeaders=" signed_headers                      \
    ",Signature=" signature "\n"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
enum { NOW = 1369353600 }; /* 2013-05-24T00:00:00Z */

static struct creds *creds;

static enum err check_at(struct str text, int64_t now, struct identity *id, struct auth_failure *why, struct raw_req *r)
{
    assert_true(raw_req_parse(r, text, now));
    return auth_check(creds, &r->in, &r->arena, id, why);
}

static enum err check(const char *text)
{
    struct raw_req r;
    struct identity id;
    struct auth_failure why;
    enum err e = check_at(str_z(text), NOW, &id, &why, &r);

    if (e == ERR_OK)
        assert_true(str_eq(id.access_key, STR(AKID)));
    raw_req_release(&r);
    return e;
}

/* Puts the right signature into a request written with ZEROS, as a client would; `out` is NUL-terminated. */
static void sign_at(const char *text, int64_t now, char *out, size_t out_size)
{
    struct raw_req r;
    struct identity id;
    struct auth_failure why;
    struct hmac key;
    uint8_t mac[32];

    assert_int_equal(check_at(str_z(text), now, &id, &why, &r), ERR_SIGNATURE);
    const char *scope = strstr(why.string_to_sign.p, "\n2");
    scope = strchr(scope + 1, '\n') + 1;
    struct str day = str_n(scope, 8);
    const char *region = scope + 9;
    assert_true(signing_key(creds, STR(AKID), day, str_n(region, (size_t)(strchr(region, '/') - region)), &key));
    hmac_of(&key, why.string_to_sign, mac);
    snprintf(out, out_size, "%s", text);
    hex_encode(mac, 32, strstr(out, ZEROS));
    raw_req_release(&r);
}

static enum err check_signed(const char *text)
{
    char out[4096];

    sign_at(text, NOW, out, sizeof(out));
    return check(out);
}

/* ---- S3's examples ---- */

#define GET_OBJECT                                                                                                     \
    "GET /test.txt\nHost: examplebucket.s3.amazonaws.com\nRange: bytes=0-9\nx-amz-content-sha256: " EMPTY_SHA256       \
    "\nx-amz-date: 20130524T000000Z\n" AUTH("host;range;x-amz-content-sha256;x-amz-date",                              \
                                            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
#define PUT_OBJECT                                                                                                     \
    "PUT /test$file.text\nHost: examplebucket.s3.amazonaws.com\nDate: Fri, 24 May 2013 00:00:00 GMT\n"                 \
    "x-amz-date: 20130524T000000Z\nx-amz-storage-class: REDUCED_REDUNDANCY\nx-amz-content-sha256: "                    \
    "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072\n" AUTH(                                         \
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",                                               \
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")
#define GET_QUERY(query, signature)                                                                                    \
    "GET /?" query                                                                                                     \
    "\nHost: examplebucket.s3.amazonaws.com\nx-amz-date: 20130524T000000Z\nx-amz-content-sha256: " EMPTY_SHA256        \
    "\n" AUTH("host;x-amz-content-sha256;x-amz-date", signature)
#define LIFECYCLE_SIGNATURE "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
#define LIST_SIGNATURE      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
#define PRESIGNED_PARAMS                                                                                               \
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" AKID "%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"            \
    "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature="
#define PRESIGNED_SIGNATURE "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
#define PRESIGNED           "GET /test.txt?" PRESIGNED_PARAMS PRESIGNED_SIGNATURE "\nHost: examplebucket.s3.amazonaws.com\n"

static void documented_requests_pass(void **state)
{
    struct raw_req r;
    struct identity id;
    struct auth_failure why;

    (void)state;
    assert_int_equal(check(GET_OBJECT), ERR_OK);
    assert_int_equal(check(PUT_OBJECT), ERR_OK);
    assert_int_equal(check(GET_QUERY("lifecycle", LIFECYCLE_SIGNATURE)), ERR_OK);
    assert_int_equal(check(GET_QUERY("lifecycle=", LIFECYCLE_SIGNATURE)), ERR_OK);
    assert_int_equal(check(GET_QUERY("max-keys=2&prefix=J", LIST_SIGNATURE)), ERR_OK);
    assert_int_equal(check(GET_QUERY("prefix=J&max-keys=2", LIST_SIGNATURE)), ERR_OK);
    assert_int_equal(check(PRESIGNED), ERR_OK);
    assert_int_equal(check_at(STR(PUT_OBJECT), NOW, &id, &why, &r), ERR_OK);
    assert_int_equal(id.kind, AUTH_V4_HEADER);
    assert_int_equal(id.payload, PAYLOAD_DIGEST);
    assert_int_equal(id.payload_sha256[0], 0x44);
    assert_true(str_eq(id.chunks.scope, STR(SCOPE)));
    assert_memory_equal(id.chunks.seed, "98ad72", 6);
    raw_req_release(&r);
}

/* Made with botocore 1.43's S3SigV4Auth: odd path and query bytes, blanks inside of a header. */
static void path_and_query_are_coded_once_and_never_normalised(void **state)
{
    (void)state;
    static const char tail[] =
        "\nhost: 127.0.0.1:9000\nx-amz-content-sha256: UNSIGNED-PAYLOAD\nx-amz-date: 20130524T000000Z\n" AUTH(
            "host;x-amz-content-sha256;x-amz-date", ZEROS);
    static const struct {
        const char *target, *canonical;
    } cases[] = {
        {"/b/a//b/./../c", "GET\n/b/a//b/./../c\n\n"},
        {"/b/a%20b%2Bc%25d/%c3%a9~%2A'()", "GET\n/b/a%20b%2Bc%25d/%C3%A9~%2A%27%28%29\n\n"},
        {"/b/a+b", "GET\n/b/a%2Bb\n\n"},
        {"/b/%2F", "GET\n/b//\n\n"},
        {"/b?delimiter=/&max-keys=2&prefix=d1/", "GET\n/b\ndelimiter=%2F&max-keys=2&prefix=d1%2F\n"},
        {"/b?prefix=a+b%2B&uploads", "GET\n/b\nprefix=a%20b%2B&uploads=\n"},
        {"/b?a-b=2&a%20b=1&b=2&b=1&%C3%A9=x", "GET\n/b\n%C3%A9=x&a%20b=1&a-b=2&b=1&b=2\n"},
        {"/b?x==", "GET\n/b\nx=%3D\n"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[1024];
        struct raw_req r;
        struct identity id;
        struct auth_failure why;
        snprintf(text, sizeof(text), "GET %s%s", cases[i].target, tail);
        assert_int_equal(check_at(str_z(text), NOW, &id, &why, &r), ERR_SIGNATURE);
        if (!str_starts(why.canonical_request, str_z(cases[i].canonical)))
            fail_msg("%s: " STR_FMT, cases[i].target, STR_ARG(why.canonical_request));
        raw_req_release(&r);
    }
    assert_int_equal(
        check("GET /b/%zz\nhost: h\nx-amz-content-sha256: UNSIGNED-PAYLOAD\nx-amz-date: 20130524T000000Z\n" AUTH(
            "host;x-amz-content-sha256;x-amz-date", ZEROS)),
        ERR_INVALID_URI);
}

static void header_values_are_trimmed_collapsed_and_joined(void **state)
{
    struct raw_req r;
    struct identity id;
    struct auth_failure why;

    (void)state;
    assert_int_equal(
        check_at(STR("PUT /b/k\nHost:  h:9000 \nX-Amz-Meta-A:  one \t two  \nx-amz-meta-a: three\nx-amz-date: "
                     "20130524T000000Z\nx-amz-content-sha256: UNSIGNED-PAYLOAD\n" AUTH(
                         "expect;host;x-amz-content-sha256;x-amz-date;x-amz-meta-a", ZEROS)),
                 NOW, &id, &why, &r),
        ERR_SIGNATURE);
    assert_string_equal(
        why.canonical_request.p,
        "PUT\n/b/k\n\nexpect:\nhost:h:9000\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:20130524T000000Z\n"
        "x-amz-meta-a:one two,three\n\nexpect;host;x-amz-content-sha256;x-amz-date;x-amz-meta-a\nUNSIGNED-PAYLOAD");
    raw_req_release(&r);
}

/* ---- refusals ---- */

/* Names of headers have no case. */
static bool is_case_of_name(const char *text, size_t i, char c)
{
    size_t line = i;

    while (line && text[line - 1] != '\n')
        line--;
    return line && !memchr(text + line, ':', i - line) && (text[i] | 32) == (c | 32);
}

/* Any change of a byte may make the request anonymous or malformed, but never leaves it signed; the exceptions are
 * blanks. */
static void flip_every_byte(const char *text)
{
    static const char replacements[] = {'x', '0', 'A', '/', '&', '=', ';', ',', '%', ':'};
    char copy[2048];
    size_t n = strlen(text);

    assert_true(n < sizeof(copy));
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k <= sizeof(replacements); k++) {
            struct raw_req r;
            struct identity id;
            struct auth_failure why;
            memcpy(copy, text, n + 1);
            copy[i] = k < sizeof(replacements) ? replacements[k] : (char)(copy[i] ^ 1);
            if (copy[i] == text[i] || text[i] == '\n' || text[i] == ' ' || copy[i] == ' ' ||
                is_case_of_name(text, i, copy[i]))
                continue;
            if (raw_req_parse(&r, str_n(copy, n), NOW) && auth_check(creds, &r.in, &r.arena, &id, &why) == ERR_OK &&
                id.access_key.n)
                fail_msg("byte %zu as '%c' passes:\n%s", i, copy[i], copy);
            raw_req_release(&r);
        }
}

static void any_changed_byte_is_refused(void **state)
{
    (void)state;
    flip_every_byte(GET_OBJECT);
    flip_every_byte(PUT_OBJECT);
    flip_every_byte(GET_QUERY("max-keys=2&prefix=J", LIST_SIGNATURE));
    flip_every_byte(PRESIGNED);
}

#define HEAD  "GET /b/k\nhost: h\nx-amz-content-sha256: UNSIGNED-PAYLOAD\n"
#define NAMES "host;x-amz-content-sha256;x-amz-date"
#define DATED HEAD "x-amz-date: 20130524T000000Z\n"

static void headers_that_must_be_signed(void **state)
{
    struct raw_req r;
    struct identity id;
    struct auth_failure why;

    (void)state;
    assert_int_equal(check_signed(DATED AUTH(NAMES, ZEROS)), ERR_OK);
    assert_int_equal(check_at(STR(DATED "x-amz-acl: public-read\nx-amz-meta-a: 1\nuser-agent: u\n" AUTH(NAMES, ZEROS)),
                              NOW, &id, &why, &r),
                     ERR_HEADERS_NOT_SIGNED);
    assert_true(str_eq(why.headers_not_signed, STR("x-amz-acl, x-amz-meta-a")));
    raw_req_release(&r);
    assert_int_equal(check(DATED AUTH("x-amz-content-sha256;x-amz-date", ZEROS)), ERR_HEADERS_NOT_SIGNED);
    assert_int_equal(check("GET /k?" PRESIGNED_PARAMS ZEROS "\nhost: h\nx-amz-acl: public-read\n"),
                     ERR_HEADERS_NOT_SIGNED);
    assert_int_equal(check(DATED AUTH("host;host;x-amz-content-sha256;x-amz-date", ZEROS)), ERR_AUTH_HEADER_MALFORMED);
    assert_int_equal(check(DATED AUTH("host;x-amz-date;x-amz-content-sha256;x-amz-date", ZEROS)),
                     ERR_AUTH_HEADER_MALFORMED);
    assert_int_equal(check(DATED AUTH("host;;x-amz-content-sha256;x-amz-date", ZEROS)), ERR_AUTH_HEADER_MALFORMED);
}

static void malformed_authorization(void **state)
{
    static const char *const values[] = {
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 ",
        "AWS4-HMAC-SHA256X Credential=" AKID "/" SCOPE ",SignedHeaders=" NAMES ",Signature=" ZEROS,
        "AWS4-HMAC-SHA256 Credential=" AKID "/" SCOPE ",SignedHeaders=" NAMES,
        "AWS4-HMAC-SHA256 Credential=" AKID "/" SCOPE ",Signature=" ZEROS,
        "AWS4-HMAC-SHA256 SignedHeaders=" NAMES ",Signature=" ZEROS,
        "AWS4-HMAC-SHA256 Credential=" AKID "/" SCOPE ",Credential=" AKID "/" SCOPE ",SignedHeaders=" NAMES
        ",Signature=" ZEROS,
        "AWS4-HMAC-SHA256 Credential=" AKID "/20130524/us-east-1/iam/aws4_request,SignedHeaders=" NAMES
        ",Signature=" ZEROS,
        "AWS4-HMAC-SHA256 Credential=" AKID "/20130524/us-east-1/s3/aws4,SignedHeaders=" NAMES ",Signature=" ZEROS,
        "AWS4-HMAC-SHA256 Credential=/" SCOPE ",SignedHeaders=" NAMES ",Signature=" ZEROS,
        "AWS4-HMAC-SHA256 Credential=" AKID ",SignedHeaders=" NAMES ",Signature=" ZEROS,
        "AWS4-HMAC-SHA256 Credential=" AKID "/20130523/us-east-1/s3/aws4_request,SignedHeaders=" NAMES
        ",Signature=" ZEROS,
    };
    char text[1024];

    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        snprintf(text, sizeof(text), DATED "authorization: %s\n", values[i]);
        assert_int_equal(check(text), ERR_AUTH_HEADER_MALFORMED);
    }
    assert_int_equal(check(DATED "authorization: Bearer abc\n"), ERR_INVALID_ARGUMENT);
    assert_int_equal(check(DATED "authorization: \n"), ERR_INVALID_ARGUMENT);
    assert_int_equal(check(DATED "authorization: AWS4-ECDSA-P256-SHA256 Credential=x\n"), ERR_NOT_IMPLEMENTED);
    assert_int_equal(check(DATED AUTH(NAMES, "00")), ERR_SIGNATURE);
    assert_int_equal(check(DATED AUTH(NAMES, ZEROS) "x-amz-security-token: t\n"), ERR_INVALID_TOKEN);
    assert_int_equal(check(DATED "authorization: AWS4-HMAC-SHA256 Credential=nobody/" SCOPE ", SignedHeaders=" NAMES
                                 ", Signature=" ZEROS "\n"),
                     ERR_INVALID_ACCESS_KEY);
}

static void dates(void **state)
{
    char text[2048];
    struct raw_req r;
    struct identity id;
    struct auth_failure why;

    (void)state;
    sign_at(DATED AUTH(NAMES, ZEROS), NOW, text, sizeof(text));
    for (int s = -901; s <= 901; s += 901) {
        assert_int_equal(check_at(str_z(text), NOW + s, &id, &why, &r), s ? ERR_TIME_SKEWED : ERR_OK);
        if (s) {
            assert_int_equal(why.skew_max_ms, 900000);
            assert_true(str_eq(why.request_time, STR("20130524T000000Z")) && why.server_time.n);
        }
        raw_req_release(&r);
    }
    assert_int_equal(check_at(str_z(text), NOW + 900, &id, &why, &r), ERR_OK);
    raw_req_release(&r);
    /* without x-amz-date: Date, in either form */
    assert_int_equal(
        check_signed(HEAD "date: Fri, 24 May 2013 00:00:00 GMT\n" AUTH("date;host;x-amz-content-sha256", ZEROS)),
        ERR_OK);
    assert_int_equal(check_signed(HEAD "date: 20130524T000000Z\n" AUTH("date;host;x-amz-content-sha256", ZEROS)),
                     ERR_OK);
    assert_int_equal(check(HEAD AUTH("host;x-amz-content-sha256", ZEROS)), ERR_ACCESS_DENIED);
    /* beyond what fits nanoseconds */
    assert_int_equal(check(HEAD "date: Fri, 24 May 4026 00:00:00 GMT\n" AUTH("host;x-amz-content-sha256", ZEROS)),
                     ERR_ACCESS_DENIED);
    assert_int_equal(check(HEAD "x-amz-date: 00010101T000000Z\n" AUTH(NAMES, ZEROS)), ERR_ACCESS_DENIED);
    assert_int_equal(check(HEAD "x-amz-date: yesterday\n" AUTH(NAMES, ZEROS)), ERR_ACCESS_DENIED);
}

static void regions(void **state)
{
    struct raw_req r;
    struct identity id;
    struct auth_failure why;

    (void)state;
    assert_int_equal(check_signed(DATED "authorization: AWS4-HMAC-SHA256 Credential=" AKID
                                        "/20130524/garage/s3/aws4_request, SignedHeaders=" NAMES ", Signature=" ZEROS
                                        "\n"),
                     ERR_OK);
    assert_true(raw_req_parse(&r, STR(GET_OBJECT), NOW));
    r.in.region = STR("eu-central-1");
    assert_int_equal(auth_check(creds, &r.in, &r.arena, &id, &why), ERR_AUTH_HEADER_MALFORMED);
    assert_true(str_eq(why.region, STR("eu-central-1")) && why.message.n);
    r.in.region = STR("us-east-1");
    assert_int_equal(auth_check(creds, &r.in, &r.arena, &id, &why), ERR_OK);
    raw_req_release(&r);
}

#define PQ(algorithm, credential, date, expires, names)                                                                \
    "GET /k?X-Amz-Algorithm=" algorithm "&X-Amz-Credential=" credential "&X-Amz-Date=" date "&X-Amz-Expires=" expires  \
    "&X-Amz-SignedHeaders=" names "&X-Amz-Signature=" ZEROS "\nhost: h\n"
#define V4   "AWS4-HMAC-SHA256"
#define CRED AKID "/20130524/us-east-1/s3/aws4_request"
#define D    "20130524T000000Z"

static void presigned_limits(void **state)
{
    struct raw_req r;
    struct identity id;
    struct auth_failure why;

    (void)state;
    assert_int_equal(check_at(STR(PRESIGNED), NOW + 86400, &id, &why, &r), ERR_OK);
    assert_int_equal(id.payload, PAYLOAD_UNSIGNED);
    assert_int_equal(id.kind, AUTH_V4_QUERY);
    raw_req_release(&r);
    assert_int_equal(check_at(STR(PRESIGNED), NOW + 86401, &id, &why, &r), ERR_REQUEST_EXPIRED);
    assert_true(str_eq(why.expires, STR("2013-05-25T00:00:00.000Z")) &&
                str_eq(why.server_time, STR("2013-05-25T00:00:01.000Z")));
    raw_req_release(&r);
    assert_int_equal(check_at(STR(PRESIGNED), NOW - 901, &id, &why, &r), ERR_ACCESS_DENIED);
    raw_req_release(&r);
    assert_int_equal(check_signed(PQ(V4, CRED, D, "1", "host")), ERR_OK);
    assert_int_equal(check_signed(PQ(V4, CRED, D, "604800", "host")), ERR_OK);
    static const char *const bad[] = {
        PQ(V4, CRED, D, "604801", "host"),
        PQ(V4, CRED, D, "0", "host"),
        PQ(V4, CRED, D, "-1", "host"),
        PQ(V4, CRED, D, "x", "host"),
        PQ(V4, CRED, D, "18446744073709551617", "host"),
        PQ(V4, CRED, D, "", "host"),
        PQ(V4, CRED, D, "60", ""),
        PQ("AWS4", CRED, D, "60", "host"),
        PQ(V4, "x", D, "60", "host"),
        PQ(V4, CRED, "x", "60", "host"),
        PQ(V4, CRED, "20130525T000000Z", "60", "host"),
        PQ(V4, AKID "/00010101/us-east-1/s3/aws4_request", "00010101T000000Z", "60", "host"),
        PQ(V4, AKID "/99991231/us-east-1/s3/aws4_request", "99991231T000000Z", "60", "host"),
        PQ(V4, CRED, D, "60", "host;host"),
        PQ(V4, CRED, D, "60&X-Amz-Expires=60", "host"),
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(check(bad[i]), ERR_AUTH_QUERY);
    assert_int_equal(check(PQ("AWS4-ECDSA-P256-SHA256", CRED, D, "60", "host")), ERR_NOT_IMPLEMENTED);
    assert_int_equal(check(PQ(V4, CRED, D, "60&X-Amz-Security-Token=t", "host")), ERR_INVALID_TOKEN);
}

/* CVE-2026-41145: credentials in the query and no Authorization header skipped the check. */
static void cve_2026_41145_credentials_anywhere_need_a_signature(void **state)
{
    (void)state;
    assert_int_equal(check("GET /b/k?X-Amz-Credential=" AKID "%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\nhost: h\n"),
                     ERR_AUTH_QUERY);
    assert_int_equal(check("GET /b/k?x-amz-credential=" AKID "\nhost: h\n"), ERR_AUTH_QUERY);
    assert_int_equal(check("GET /b/k?X-Amz-Signature=" ZEROS "\nhost: h\n"), ERR_AUTH_QUERY);
    assert_int_equal(check("PUT /b/k?X-Amz-Credential=" AKID
                           "\nhost: h\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\n"),
                     ERR_AUTH_QUERY);
    assert_int_equal(check("GET /b/k?AWSAccessKeyId=" AKID "\nhost: h\n"), ERR_ACCESS_DENIED);
    assert_int_equal(check("GET /b/k?Signature=x\nhost: h\n"), ERR_ACCESS_DENIED);
    assert_int_equal(check("GET /b/k\nhost: h\nx-amz-security-token: t\n"), ERR_INVALID_TOKEN);
    /* two forms at once */
    assert_int_equal(check("GET /test.txt?" PRESIGNED_PARAMS ZEROS "\nhost: h\n" AUTH("host", ZEROS)),
                     ERR_INVALID_ARGUMENT);
    assert_int_equal(check("GET /b/k?AWSAccessKeyId=a&X-Amz-Date=b\nhost: h\n"), ERR_INVALID_ARGUMENT);
    assert_int_equal(check(DATED AUTH(NAMES, ZEROS) AUTH(NAMES, ZEROS)), ERR_INVALID_ARGUMENT);
}

/* CVE-2025-31489: this mode was taken with a wrong signature when the key existed. */
static void cve_2025_31489_every_mode_checks_the_head(void **state)
{
    static const char *const modes[] = {"UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
                                        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
                                        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", EMPTY_SHA256};
    static const enum payload_mode want[] = {PAYLOAD_UNSIGNED, PAYLOAD_UNSIGNED_TRAILER, PAYLOAD_SIGNED_CHUNKS,
                                             PAYLOAD_SIGNED_CHUNKS_TRAILER, PAYLOAD_DIGEST};
    char text[1024], ok[1024];

    (void)state;
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        struct raw_req r;
        struct identity id;
        struct auth_failure why;
        snprintf(text, sizeof(text),
                 "PUT /b/k\nhost: h\nx-amz-date: " D "\nx-amz-content-sha256: %s\n" AUTH(NAMES, ZEROS), modes[i]);
        assert_int_equal(check(text), ERR_SIGNATURE);
        sign_at(text, NOW, ok, sizeof(ok));
        assert_int_equal(check_at(str_z(ok), NOW, &id, &why, &r), ERR_OK);
        assert_int_equal(id.payload, want[i]);
        assert_true(id.chunks.verify);
        raw_req_release(&r);
    }
    assert_int_equal(check("PUT /b/k\nhost: h\nx-amz-date: " D
                           "\nx-amz-content-sha256: STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD\n" AUTH(NAMES, ZEROS)),
                     ERR_NOT_IMPLEMENTED);
    assert_int_equal(check("PUT /b/k\nhost: h\nx-amz-date: " D "\nx-amz-content-sha256: x\n" AUTH(NAMES, ZEROS)),
                     ERR_INVALID_ARGUMENT);
    assert_int_equal(check("PUT /b/k\nhost: h\nx-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\n"),
                     ERR_INVALID_REQUEST);
}

static void missing_content_sha256_is_taken_only_without_a_body(void **state)
{
    char text[1024];
    struct raw_req r;
    struct identity id;
    struct auth_failure why;
    struct source body = {0};

    (void)state;
    sign_at("GET /b/k\nhost: h\nx-amz-date: " D "\n" AUTH("host;x-amz-date", ZEROS), NOW, text, sizeof(text));
    assert_int_equal(check_at(str_z(text), NOW, &id, &why, &r), ERR_OK);
    assert_int_equal(id.payload, PAYLOAD_DIGEST);
    r.req.body = &body;
    assert_int_equal(auth_check(creds, &r.in, &r.arena, &id, &why), ERR_INVALID_REQUEST);
    raw_req_release(&r);
}

static void anonymous_requests(void **state)
{
    struct raw_req r;
    struct identity id;
    struct auth_failure why;

    (void)state;
    assert_int_equal(check_at(STR("GET /b/k?list-type=2&Expires=5\nhost: h\n"), NOW, &id, &why, &r), ERR_OK);
    assert_int_equal(id.kind, AUTH_ANONYMOUS);
    assert_int_equal(id.access_key.n, 0);
    raw_req_release(&r);
    assert_int_equal(
        check_at(STR("PUT /b/k\nhost: h\ncontent-encoding: gzip,aws-chunked\nx-amz-decoded-content-length: "
                     "5\nx-amz-trailer: x-amz-checksum-crc32\n"),
                 NOW, &id, &why, &r),
        ERR_OK);
    assert_int_equal(id.payload, PAYLOAD_UNSIGNED_TRAILER);
    raw_req_release(&r);
}

static void skipping_takes_any_mode_and_names_the_key(void **state)
{
    struct raw_req r;
    struct identity id;
    struct auth_failure why;

    (void)state;
    assert_true(raw_req_parse(
        &r, STR("PUT /k\nhost: h\nx-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\n" AUTH("host", ZEROS)), 0));
    assert_int_equal(auth_skip(&r.in, &r.arena, &id, &why), ERR_OK);
    assert_true(str_eq(id.access_key, STR(AKID)));
    assert_int_equal(id.payload, PAYLOAD_SIGNED_CHUNKS);
    assert_false(id.chunks.verify);
    raw_req_release(&r);
    assert_true(raw_req_parse(&r, STR("GET /k\nhost: h\n"), 0));
    assert_int_equal(auth_skip(&r.in, &r.arena, &id, &why), ERR_OK);
    assert_int_equal(id.kind, AUTH_ANONYMOUS);
    raw_req_release(&r);
}

static void many_headers_and_long_targets(void **state)
{
    enum { SIZE = 96 * 1024 };
    char *text = malloc(SIZE), *out = malloc(SIZE);
    size_t n = 0;

    (void)state;
    n += (size_t)snprintf(text + n, SIZE - n, "GET /b/");
    memset(text + n, '*', 20000);
    n += 20000;
    n += (size_t)snprintf(text + n, SIZE - n, "?");
    for (int i = 0; i < 200; i++)
        n += (size_t)snprintf(text + n, SIZE - n, "%sk%d=%%E4*(", i ? "&" : "", (i * 7919) % 200);
    n += (size_t)snprintf(text + n, SIZE - n, "\nhost: h\nx-amz-date: " D "\nx-amz-content-sha256: UNSIGNED-PAYLOAD\n");
    for (int i = 0; i < 200; i++)
        n += (size_t)snprintf(text + n, SIZE - n, "x-a: %d\n", i);
    snprintf(text + n, SIZE - n, AUTH("host;x-a;x-amz-content-sha256;x-amz-date", ZEROS));
    sign_at(text, NOW, out, SIZE);
    assert_int_equal(check(out), ERR_OK);
    free(text);
    free(out);
}

/* Policy and signatures of S3 API: Authenticating Requests in Browser-Based Uploads Using POST, computed apart with
 * Python. */
static void post_policies(void **state)
{
    struct arena a = ARENA_INIT;
    struct identity id;
    struct auth_failure why;
    struct auth_post form = {.policy = STR("eyJhIjoxfQ=="),
                             .algorithm = STR(V4),
                             .credential = STR(CRED),
                             .date = STR(D),
                             .signature = STR("588b76bd355a57dffb98213427008f01cfb4113478f957f0fdd553d7e992e254")};
    struct auth_post old = {
        .policy = STR("eyJhIjoxfQ=="), .v2_access_key = STR(AKID), .v2_signature = STR("0x1e/mguux7FcW60ms9P29wyA7w=")};

    (void)state;
    assert_int_equal(auth_check_post(creds, &form, STR_NONE, &a, &id, &why), ERR_OK);
    assert_true(str_eq(id.access_key, STR(AKID)));
    assert_int_equal(auth_check_post(creds, &old, STR_NONE, &a, &id, &why), ERR_OK);
    form.policy = STR("eyJhIjoyfQ==");
    assert_int_equal(auth_check_post(creds, &form, STR_NONE, &a, &id, &why), ERR_SIGNATURE);
    old.policy = form.policy;
    assert_int_equal(auth_check_post(creds, &old, STR_NONE, &a, &id, &why), ERR_SIGNATURE);
    old.v2_access_key = STR("nobody");
    assert_int_equal(auth_check_post(creds, &old, STR_NONE, &a, &id, &why), ERR_INVALID_ACCESS_KEY);
    form.v2_signature = STR("x");
    assert_int_equal(auth_check_post(creds, &form, STR_NONE, &a, &id, &why), ERR_INVALID_ARGUMENT);
    arena_release(&a);
}

/* For a person: what a signed request costs. SLUICE_BENCH=1 ./test_s3api_sigv4 */
static void costs(void **state)
{
    enum { ROUNDS = 100000 };
    static const char *const texts[] = {GET_OBJECT, PUT_OBJECT, PRESIGNED};
    struct raw_req r;
    struct identity id;
    struct auth_failure why;

    (void)state;
    if (!getenv("SLUICE_BENCH"))
        skip();
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct arena a = ARENA_INIT;
        assert_true(raw_req_parse(&r, str_z(texts[i]), NOW));
        uint64_t t = clock_mono_ns();
        for (int k = 0; k < ROUNDS; k++)
            assert_int_equal(auth_check(creds, &r.in, &a, &id, &why), ERR_OK);
        print_message("signed request: %.0f ns\n", (double)(clock_mono_ns() - t) / ROUNDS);
        arena_release(&a);
        raw_req_release(&r);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(documented_requests_pass),
        cmocka_unit_test(path_and_query_are_coded_once_and_never_normalised),
        cmocka_unit_test(header_values_are_trimmed_collapsed_and_joined),
        cmocka_unit_test(any_changed_byte_is_refused),
        cmocka_unit_test(headers_that_must_be_signed),
        cmocka_unit_test(malformed_authorization),
        cmocka_unit_test(dates),
        cmocka_unit_test(regions),
        cmocka_unit_test(presigned_limits),
        cmocka_unit_test(cve_2026_41145_credentials_anywhere_need_a_signature),
        cmocka_unit_test(cve_2025_31489_every_mode_checks_the_head),
        cmocka_unit_test(missing_content_sha256_is_taken_only_without_a_body),
        cmocka_unit_test(anonymous_requests),
        cmocka_unit_test(skipping_takes_any_mode_and_names_the_key),
        cmocka_unit_test(many_headers_and_long_targets),
        cmocka_unit_test(post_policies),
        cmocka_unit_test(costs),
    };

    hash_setup();
    creds = creds_new();
    if (creds_put(creds, STR(AKID), STR("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")) != ERR_OK)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    creds_free(creds);
    return failed;
}
