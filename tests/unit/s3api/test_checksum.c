#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raw_req.h"
#include "s3api/checksum.h"

static const struct {
    enum hash_alg alg;
    const char *header, *element, *abc; /* value for "abc" */
} all[] = {
    {HASH_CRC32, "x-amz-checksum-crc32", "ChecksumCRC32", "NSRBwg=="},
    {HASH_CRC32C, "x-amz-checksum-crc32c", "ChecksumCRC32C", "Nks/tw=="},
    {HASH_CRC64NVME, "x-amz-checksum-crc64nvme", "ChecksumCRC64NVME", "BeXKuz/B+us="},
    {HASH_SHA1, "x-amz-checksum-sha1", "ChecksumSHA1", "qZk+NkcGgWq6PiVxeFDCbJzQ2J0="},
    {HASH_SHA256, "x-amz-checksum-sha256", "ChecksumSHA256", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="},
    {HASH_SHA512, "x-amz-checksum-sha512", "ChecksumSHA512",
     "3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw=="},
    {HASH_MD5, "x-amz-checksum-md5", "ChecksumMD5", "kAFQmDzST7DWlj99KOF/cg=="},
    {HASH_XXH64, "x-amz-checksum-xxhash64", "ChecksumXXHASH64", "RLws9a13CZk="},
    {HASH_XXH3, "x-amz-checksum-xxhash3", "ChecksumXXHASH3", "eK9flIkvOVA="},
    {HASH_XXH128, "x-amz-checksum-xxhash128", "ChecksumXXHASH128", "BrBatnM6YYV4r1+UiS85UA=="},
};
enum { ALL = sizeof(all) / sizeof(all[0]) };

static struct source some_body;

static enum err open_with(const char *headers, struct identity who, struct raw_req *r, struct body *b)
{
    char text[2048];

    snprintf(text, sizeof(text), "PUT /b/k\nhost: h\n%s", headers);
    assert_true(raw_req_parse(r, str_z(text), 0));
    r->req.body = &some_body;
    r->req.body_len = 3;
    return body_open(&r->req, &who, NULL, b);
}

static enum err try_open(const char *headers, struct identity who)
{
    struct raw_req r;
    struct body b;
    enum err e = open_with(headers, who, &r, &b);

    if (e == ERR_OK)
        body_close(&b);
    raw_req_release(&r);
    return e;
}

static const struct identity plain = {.payload = PAYLOAD_UNSIGNED}, trailing = {.payload = PAYLOAD_UNSIGNED_TRAILER};

static void every_algorithm_has_its_header_and_value(void **state)
{
    char headers[256], text[CHECKSUM_TEXT_MAX];
    struct checksum c;
    struct raw_req r;
    struct body b;

    (void)state;
    for (size_t i = 0; i < ALL; i++) {
        assert_true(str_eq(checksum_header_name(all[i].alg), str_z(all[i].header)));
        assert_true(str_eq(checksum_element_name(all[i].alg), str_z(all[i].element)));
        assert_int_equal(checksum_by_header_name(str_z(all[i].header)), all[i].alg);
        c = (struct checksum){.type = CHECKSUM_FULL_OBJECT};
        hash_of(all[i].alg, STR("abc"), &c.digest);
        size_t n = checksum_print(&c, text);
        snprintf(headers, sizeof(headers), "%s: %.*s\n", all[i].header, (int)n, text);
        assert_true(str_eq(str_n(text, n), str_z(all[i].abc)));
        assert_int_equal(open_with(headers, plain, &r, &b), ERR_OK);
        assert_true(b.has_checksum);
        assert_int_equal(b.check.checksum, all[i].alg);
        assert_int_equal(b.check.want_count, 1);
        assert_int_equal(body_verify(&b.check, STR("abc")), ERR_OK);
        assert_int_equal(body_verify(&b.check, STR("abd")), ERR_BAD_DIGEST);
        assert_ptr_equal(b.source, &some_body);
        body_close(&b);
        raw_req_release(&r);
    }
    assert_int_equal(checksum_by_header_name(STR("x-amz-checksum-crc16")), HASH_NONE);
    assert_int_equal(checksum_by_header_name(STR("")), HASH_NONE);
}

static void composite_values_carry_the_count_of_parts(void **state)
{
    char text[CHECKSUM_TEXT_MAX];
    struct checksum c;

    (void)state;
    assert_true(checksum_parse(HASH_CRC32, STR("NSRBwg==-10000"), &c));
    assert_int_equal(c.type, CHECKSUM_COMPOSITE);
    assert_int_equal(c.parts, 10000);
    assert_true(str_eq(str_n(text, checksum_print(&c, text)), STR("NSRBwg==-10000")));
    assert_true(checksum_parse(HASH_CRC32, STR("NSRBwg=="), &c));
    assert_int_equal(c.type, CHECKSUM_FULL_OBJECT);
    static const char *const bad[] = {"",       "-1",      "NSRBwg==-", "NSRBwg==-0", "NSRBwg==-10001", "NSRBwg==-1-1",
                                      "NSRBwg", "NSRBwg=", "AAAA",      " NSRBwg=="};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(checksum_parse(HASH_CRC32, str_z(bad[i]), &c));
    assert_false(checksum_parse(HASH_NONE, STR("NSRBwg=="), &c));
    assert_false(checksum_parse(HASH_CRC32, STR_NONE, &c));
    c = (struct checksum){.digest = {.alg = HASH_NONE}};
    assert_int_equal(checksum_print(&c, text), 0);
    c = (struct checksum){.type = CHECKSUM_COMPOSITE, .parts = UINT32_MAX};
    hash_of(HASH_SHA512, STR(""), &c.digest);
    assert_true(checksum_print(&c, text) <= CHECKSUM_TEXT_MAX);
}

#define CRC      "x-amz-checksum-crc32: NSRBwg==\n"
#define SHA      "x-amz-checksum-sha1: qZk+NkcGgWq6PiVxeFDCbJzQ2J0=\n"
#define SDK(alg) "x-amz-sdk-checksum-algorithm: " alg "\n"

static void bad_checksum_headers_are_refused(void **state)
{
    static const char *const bad[] = {
        CRC SHA,
        CRC CRC,
        "x-amz-checksum-crc32: NSRBwg=\n",
        "x-amz-checksum-crc32: NSRBwgAA\n",
        "x-amz-checksum-crc32: \n",
        "x-amz-checksum-crc32: NSRBwg==-2\n",
        "x-amz-checksum-crc16: AAA=\n",
        SDK("CRC32"),
        SDK("CRC16") CRC,
        SDK("SHA1") CRC,
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(try_open(bad[i], plain), ERR_INVALID_REQUEST);
    assert_int_equal(try_open(SDK("CRC32") CRC, plain), ERR_OK);
    assert_int_equal(
        try_open(SDK("crc32") CRC "x-amz-checksum-mode: ENABLED\nx-amz-checksum-type: FULL_OBJECT\n", plain), ERR_OK);
    assert_int_equal(try_open("", plain), ERR_OK);
}

static void md5_and_payload_digest(void **state)
{
    struct identity digest = {.payload = PAYLOAD_DIGEST};
    struct digest d;
    struct raw_req r;
    struct body b;

    (void)state;
    hash_of(HASH_SHA256, STR("abc"), &d);
    memcpy(digest.payload_sha256, d.b, 32);
    assert_int_equal(open_with("content-md5: kAFQmDzST7DWlj99KOF/cg==\n" CRC, digest, &r, &b), ERR_OK);
    assert_int_equal(b.check.want_count, 3);
    assert_int_equal(body_verify(&b.check, STR("abc")), ERR_OK);
    assert_int_equal(b.len, 3);
    raw_req_release(&r);
    assert_int_equal(open_with("", digest, &r, &b), ERR_OK);
    assert_false(b.has_checksum);
    assert_int_equal(b.check.checksum, HASH_NONE);
    assert_int_equal(body_verify(&b.check, STR("")), ERR_SHA256_MISMATCH);
    raw_req_release(&r);
    static const char *const bad[] = {"content-md5: x\n", "content-md5: \n", "content-md5: kAFQmDzST7DWlj99KOF/\n",
                                      "content-md5: kAFQmDzST7DWlj99KOF/cg\n",
                                      "content-md5: 900150983cd24fb0d6963f7d28e17f72\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(try_open(bad[i], plain), ERR_INVALID_DIGEST);
}

static void an_absent_body_is_checked_too(void **state)
{
    struct raw_req r;
    struct body b;

    (void)state;
    assert_true(raw_req_parse(&r, STR("PUT /b/k\nhost: h\n" CRC), 0));
    assert_int_equal(body_open(&r.req, &plain, NULL, &b), ERR_OK);
    assert_null(b.source);
    assert_int_equal(b.len, 0);
    assert_int_equal(body_verify(&b.check, STR("")), ERR_BAD_DIGEST);
    body_close(&b);
    assert_int_equal(body_open(&r.req, &trailing, NULL, &b), ERR_MISSING_LENGTH);
    raw_req_release(&r);
    assert_true(raw_req_parse(&r, STR("PUT /b/k\nhost: h\nx-amz-decoded-content-length: 0\n"), 0));
    assert_int_equal(body_open(&r.req, &trailing, NULL, &b), ERR_INCOMPLETE_BODY);
    raw_req_release(&r);
}

#define LEN            "x-amz-decoded-content-length: 3\n"
#define TRAILER(names) "x-amz-trailer: " names "\n"

static void trailers_are_announced(void **state)
{
    struct raw_req r;
    struct body b;

    (void)state;
    assert_int_equal(open_with(LEN TRAILER("x-amz-checksum-sha256") SDK("SHA256"), trailing, &r, &b), ERR_OK);
    assert_true(b.has_checksum && b.own && b.source != &some_body);
    assert_int_equal(b.check.checksum, HASH_SHA256);
    assert_int_equal(b.check.also, 1u << HASH_SHA256);
    assert_int_equal(b.check.want_count, 0);
    assert_int_equal(b.len, 3);
    assert_int_equal(b.source->size, 3);
    body_close(&b);
    body_close(&b);
    raw_req_release(&r);
    assert_int_equal(try_open(LEN, trailing), ERR_OK);
    assert_int_equal(try_open(LEN TRAILER("x-amz-checksum-crc16"), trailing), ERR_INVALID_REQUEST);
    assert_int_equal(try_open(LEN TRAILER("x-amz-meta-a"), trailing), ERR_INVALID_REQUEST);
    assert_int_equal(try_open(LEN TRAILER("x-amz-checksum-crc32,x-amz-checksum-sha1"), trailing), ERR_INVALID_REQUEST);
    assert_int_equal(try_open(LEN TRAILER("x-amz-checksum-crc32") CRC, trailing), ERR_INVALID_REQUEST);
    assert_int_equal(try_open(LEN TRAILER("x-amz-checksum-crc32") SDK("SHA1"), trailing), ERR_INVALID_REQUEST);
    assert_int_equal(try_open(LEN TRAILER("x-amz-checksum-crc32") TRAILER("x-amz-checksum-crc32"), trailing),
                     ERR_MALFORMED_TRAILER);
    assert_int_equal(try_open(TRAILER("x-amz-checksum-crc32"), plain), ERR_MALFORMED_TRAILER);
    assert_int_equal(try_open(TRAILER("x-amz-checksum-crc32"), trailing), ERR_MISSING_LENGTH);
    assert_int_equal(try_open("x-amz-decoded-content-length: -1\n", trailing), ERR_INVALID_REQUEST);
    assert_int_equal(try_open("x-amz-decoded-content-length: 9223372036854775808\n", trailing), ERR_INVALID_REQUEST);
}

/* CompleteMultipartUpload: the checksum is the object's. */
static void documents_of_complete_ignore_object_checksums(void **state)
{
    struct raw_req r;
    struct body b;

    (void)state;
    assert_true(raw_req_parse(&r, STR("POST /b/k?uploadId=x\nhost: h\nx-amz-checksum-crc32: NSRBwg==-2\n"), 0));
    assert_int_equal(body_open_complete(&r.req, &plain, NULL, &b), ERR_OK);
    assert_int_equal(b.check.want_count, 0);
    assert_false(b.has_checksum);
    raw_req_release(&r);
}

static enum err plan(const char *headers, enum hash_alg *alg, enum checksum_type *type)
{
    struct raw_req r;
    struct str message = STR_NONE;
    char text[256];

    snprintf(text, sizeof(text), "POST /b/k?uploads\nhost: h\n%s", headers);
    assert_true(raw_req_parse(&r, str_z(text), 0));
    enum err e = checksum_plan(&r.req, alg, type, &message);
    assert_int_equal(message.n != 0, e != ERR_OK);
    raw_req_release(&r);
    return e;
}

static void plans_of_multipart_uploads(void **state)
{
    enum hash_alg alg;
    enum checksum_type type;

    (void)state;
    assert_int_equal(plan("", &alg, &type), ERR_OK);
    assert_true(alg == HASH_NONE && type == CHECKSUM_NONE);
    for (size_t i = 0; i < ALL; i++) {
        bool crc = all[i].alg <= HASH_CRC64NVME, only_full = all[i].alg == HASH_CRC64NVME;
        char headers[128];
        snprintf(headers, sizeof(headers), "x-amz-checksum-algorithm: %s\n", all[i].element + 8);
        assert_int_equal(plan(headers, &alg, &type), ERR_OK);
        assert_true(alg == all[i].alg && type == (only_full ? CHECKSUM_FULL_OBJECT : CHECKSUM_COMPOSITE));
        snprintf(headers, sizeof(headers), "x-amz-checksum-algorithm: %s\nx-amz-checksum-type: FULL_OBJECT\n",
                 all[i].element + 8);
        assert_int_equal(plan(headers, &alg, &type), crc ? ERR_OK : ERR_INVALID_REQUEST);
        assert_true(!crc || type == CHECKSUM_FULL_OBJECT);
        snprintf(headers, sizeof(headers), "x-amz-checksum-algorithm: %s\nx-amz-checksum-type: COMPOSITE\n",
                 all[i].element + 8);
        assert_int_equal(plan(headers, &alg, &type), only_full ? ERR_INVALID_REQUEST : ERR_OK);
    }
    assert_int_equal(plan("x-amz-checksum-type: FULL_OBJECT\n", &alg, &type), ERR_INVALID_REQUEST);
    assert_int_equal(plan("x-amz-checksum-algorithm: CRC16\n", &alg, &type), ERR_INVALID_REQUEST);
    assert_int_equal(plan("x-amz-checksum-algorithm: CRC32\nx-amz-checksum-type: HALF\n", &alg, &type),
                     ERR_INVALID_REQUEST);
    assert_true(str_eq(checksum_type_name(CHECKSUM_COMPOSITE), STR("COMPOSITE")));
    assert_true(str_eq(checksum_type_name(CHECKSUM_FULL_OBJECT), STR("FULL_OBJECT")));
    assert_int_equal(checksum_type_name(CHECKSUM_NONE).n, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_algorithm_has_its_header_and_value),
        cmocka_unit_test(composite_values_carry_the_count_of_parts),
        cmocka_unit_test(bad_checksum_headers_are_refused),
        cmocka_unit_test(md5_and_payload_digest),
        cmocka_unit_test(an_absent_body_is_checked_too),
        cmocka_unit_test(trailers_are_announced),
        cmocka_unit_test(documents_of_complete_ignore_object_checksums),
        cmocka_unit_test(plans_of_multipart_uploads),
    };

    hash_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
