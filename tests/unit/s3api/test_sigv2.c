#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raw_req.h"

/* The key and the requests of S3 Developer Guide: Signing and Authenticating REST Requests, "Examples". */
#define AKID            "AKIAIOSFODNN7EXAMPLE"
#define AUTH(signature) "Authorization: AWS " AKID ":" signature "\n"

static struct creds *creds;

static enum err check_at(const char *text, const char *bucket, int64_t now, struct auth_failure *why)
{
    struct raw_req r;
    struct identity id;

    assert_true(raw_req_parse(&r, str_z(text), now));
    r.in.bucket_from_host = str_z(bucket);
    enum err e = auth_check(creds, &r.in, &r.arena, &id, why);
    if (e == ERR_OK) {
        assert_true(str_eq(id.access_key, STR(AKID)));
        assert_true(id.kind == AUTH_V2_HEADER || id.kind == AUTH_V2_QUERY);
    }
    raw_req_release(&r);
    return e;
}

/* At the time in its Date. */
static enum err check(const char *text, const char *bucket)
{
    struct auth_failure why;
    char date[64];
    int64_t now;

    snprintf(date, sizeof(date), "%.26sGMT", strstr(text, "Date: ") + 6);
    assert_true(clock_http_parse(str_z(date), &now));
    return check_at(text, bucket, now, &why);
}

#define GET_OBJECT                                                                                                     \
    "GET /photos/puppy.jpg\nHost: johnsmith.s3.amazonaws.com\nDate: Tue, 27 Mar 2007 19:36:42 +0000\n" AUTH(           \
        "bWq2s1WEIj+Ydj0vQ697zp+IXMU=")

static void documented_requests_pass(void **state)
{
    (void)state;
    assert_int_equal(check(GET_OBJECT, "johnsmith"), ERR_OK);
    assert_int_equal(
        check(
            "PUT /photos/puppy.jpg\nHost: johnsmith.s3.amazonaws.com\nContent-Type: image/jpeg\nContent-Length: 94328\n"
            "Date: Tue, 27 Mar 2007 21:15:45 +0000\n" AUTH("MyyxeRY7whkBe+bq8fHCL/2kKUg="),
            "johnsmith"),
        ERR_OK);
    assert_int_equal(
        check(
            "GET /?prefix=photos&max-keys=50&marker=puppy\nHost: johnsmith.s3.amazonaws.com\nUser-Agent: Mozilla/5.0\n"
            "Date: Tue, 27 Mar 2007 19:42:41 +0000\n" AUTH("htDYFYduRNen8P9ZfE/s9SuKy0U="),
            "johnsmith"),
        ERR_OK);
    assert_int_equal(check("GET /?acl\nHost: johnsmith.s3.amazonaws.com\nDate: Tue, 27 Mar 2007 19:44:46 +0000\n" AUTH(
                               "c2WLPFtWHVgbEmeEG93a4cG37dM="),
                           "johnsmith"),
                     ERR_OK);
    assert_int_equal(
        check("PUT /db-backup.dat.gz\nHost: static.johnsmith.net:8080\nDate: Tue, 27 Mar 2007 21:06:08 +0000\n"
              "x-amz-acl: public-read\ncontent-type: application/x-download\nContent-MD5: 4gJE4saaMU4BqNR0kLY+lw==\n"
              "X-Amz-Meta-ReviewedBy: joe@johnsmith.net\nX-Amz-Meta-ReviewedBy: jane@johnsmith.net\n"
              "X-Amz-Meta-FileChecksum: 0x02661779\nX-Amz-Meta-ChecksumAlgorithm: crc32\n"
              "Content-Disposition: attachment; filename=database.dat\n" AUTH("ilyl83RwaSoYIEdixDQcA4OnAnc="),
              "static.johnsmith.net"),
        ERR_OK);
    assert_int_equal(check("GET /\nHost: s3.amazonaws.com\nDate: Wed, 28 Mar 2007 01:29:59 +0000\n" AUTH(
                               "qGdzdERIC03wnaRNKh6OqZehG9s="),
                           ""),
                     ERR_OK);
    assert_int_equal(check("GET /dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re\nHost: s3.amazonaws.com\n"
                           "Date: Wed, 28 Mar 2007 01:49:49 +0000\n" AUTH("DNEZGsoieTZ92F3bUfSPQcbGmlM="),
                           ""),
                     ERR_OK);
}

/* With x-amz-date the Date line is empty; computed apart with Python. */
static void amz_date_replaces_date(void **state)
{
    (void)state;
    assert_int_equal(
        check("DELETE /johnsmith/photos/puppy.jpg\nHost: s3.amazonaws.com\nDate: Tue, 27 Mar 2007 21:20:27 +0000\n"
              "x-amz-date: Tue, 27 Mar 2007 21:20:26 +0000\n" AUTH("R4dJ53KECjStyBO5iTBJZ4XVOaI="),
              ""),
        ERR_OK);
}

#define PRESIGNED(expires, signature)                                                                                  \
    "GET /photos/puppy.jpg?AWSAccessKeyId=" AKID "&Expires=" expires "&Signature=" signature                           \
    "\nHost: johnsmith.s3.amazonaws.com\n"
#define SIGNATURE "NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D"

static void presigned_urls(void **state)
{
    struct auth_failure why;

    (void)state;
    assert_int_equal(check_at(PRESIGNED("1175139620", SIGNATURE), "johnsmith", 1175139620, &why), ERR_OK);
    assert_int_equal(check_at(PRESIGNED("1175139620", SIGNATURE), "johnsmith", 1175139621, &why), ERR_REQUEST_EXPIRED);
    assert_int_equal(check_at(PRESIGNED("1175139621", SIGNATURE), "johnsmith", 1175139620, &why), ERR_SIGNATURE);
    assert_int_equal(check_at(PRESIGNED("1175139620", SIGNATURE), "johnsmyth", 1175139620, &why), ERR_SIGNATURE);
    assert_int_equal(check_at(PRESIGNED("soon", SIGNATURE), "johnsmith", 1175139620, &why), ERR_ACCESS_DENIED);
    assert_int_equal(check_at(PRESIGNED("", SIGNATURE), "johnsmith", 1175139620, &why), ERR_ACCESS_DENIED);
    assert_int_equal(check_at(PRESIGNED("99999999999999999999", SIGNATURE), "johnsmith", 0, &why), ERR_ACCESS_DENIED);
    assert_int_equal(check_at(PRESIGNED("1175139620&Expires=1175139620", SIGNATURE), "johnsmith", 0, &why),
                     ERR_ACCESS_DENIED);
    assert_int_equal(check_at(PRESIGNED("1175139620", SIGNATURE "&x-amz-security-token=t"), "johnsmith", 0, &why),
                     ERR_INVALID_TOKEN);
    /* an action added to somebody else's URL */
    assert_int_equal(check_at(PRESIGNED("1175139620", SIGNATURE "&tagging"), "johnsmith", 0, &why), ERR_SIGNATURE);
    assert_int_equal(check_at(PRESIGNED("1175139620", SIGNATURE "&renameObject"), "johnsmith", 0, &why), ERR_SIGNATURE);
}

/* URLs made with botocore 1.43 (its default for us-east-1): headers to be sent later stand in the query. */
static void botocore_presigned_urls(void **state)
{
    struct auth_failure why;

    (void)state;
#define PUT_URL                                                                                                        \
    "PUT /b/d/k%20%C3%BC%2B.txt?AWSAccessKeyId=" AKID                                                                  \
    "&Signature=CP5qRPI4p2hjR8MTmuvx5KvLGoE%3D&x-amz-acl=public-read&content-type=text%2Fplain&x-amz-meta-a=x%20y"     \
    "&Expires=1369353660\nhost: 127.0.0.1:9000\n"
    assert_int_equal(check_at(PUT_URL, "", 1369353600, &why), ERR_OK);
    assert_int_equal(check_at(PUT_URL "content-type: text/plain\nx-amz-meta-a: x y\n", "", 1369353600, &why), ERR_OK);
    assert_int_equal(check_at(PUT_URL "content-type: text/html\n", "", 1369353600, &why), ERR_SIGNATURE);
    assert_int_equal(check_at(PUT_URL "x-amz-meta-b: 1\n", "", 1369353600, &why), ERR_SIGNATURE);
    assert_int_equal(
        check_at("GET /b/k?versionId=null&response-content-disposition=attachment%3B%20filename%3D%22a%2Bb.txt%22"
                 "&AWSAccessKeyId=" AKID "&Signature=o24RBmTOsj7RvmP8ilEkJzdBCao%3D&Expires=1369353660\nhost: h\n",
                 "", 1369353600, &why),
        ERR_OK);
}

static void refusals(void **state)
{
    struct auth_failure why;
    enum { NOW = 1175024202 };

    (void)state;
    assert_int_equal(check_at(GET_OBJECT, "johnsmith", NOW, &why), ERR_OK);
    assert_int_equal(check_at(GET_OBJECT, "johnsmith", NOW + 901, &why), ERR_TIME_SKEWED);
    assert_int_equal(check_at(GET_OBJECT, "johnsmith", NOW - 901, &why), ERR_TIME_SKEWED);
    assert_int_equal(check_at(GET_OBJECT "x-amz-acl: private\n", "johnsmith", NOW, &why), ERR_SIGNATURE);
    assert_int_equal(check_at(GET_OBJECT "content-type: a\n", "johnsmith", NOW, &why), ERR_SIGNATURE);
    assert_int_equal(check_at(GET_OBJECT "x-amz-security-token: t\n", "johnsmith", NOW, &why), ERR_INVALID_TOKEN);
    assert_int_equal(
        check_at(GET_OBJECT "x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\n", "johnsmith", NOW, &why),
        ERR_INVALID_REQUEST);
    assert_int_equal(check_at("GET /k\nhost: h\nDate: Tue, 27 Mar 2007 19:36:42 GMT\nAuthorization: AWS "
                              "nobody:bWq2s1WEIj+Ydj0vQ697zp+IXMU=\n",
                              "johnsmith", NOW, &why),
                     ERR_INVALID_ACCESS_KEY);
    /* rclone's spelling of the zone */
    assert_int_equal(check_at("GET /johnsmith/photos/puppy.jpg\nhost: h\nDate: Tue, 27 Mar 2007 19:36:42 UTC\n" AUTH(
                                  "coe01FHx6Vi0LI0ADrfN0H2qXjo="),
                              "", NOW, &why),
                     ERR_OK);
    assert_int_equal(check_at("GET /k\nhost: h\nDate: Tue, 27 Mar 2007 19:36:42 CET\n" AUTH("x"), "", NOW, &why),
                     ERR_ACCESS_DENIED);
    static const char *const bad[] = {"AWS " AKID, "AWS " AKID ":", "AWS :x", "AWS "};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text), "GET /k\nhost: h\nDate: Tue, 27 Mar 2007 19:36:42 GMT\nAuthorization: %s\n",
                 bad[i]);
        assert_int_equal(check_at(text, "", NOW, &why), ERR_INVALID_ARGUMENT);
    }
    assert_int_equal(check_at("GET /k\nhost: h\n" AUTH("x"), "", NOW, &why), ERR_ACCESS_DENIED);
    assert_int_equal(check_at("GET /k\nhost: h\nDate: now\n" AUTH("x"), "", NOW, &why), ERR_ACCESS_DENIED);
}

/* Names of headers have no case, and neither the host nor the zone's spelling is signed. */
static void any_changed_byte_of_path_or_signature_is_refused(void **state)
{
    char copy[1024];
    struct auth_failure why;
    const char *text = GET_OBJECT;
    size_t n = strlen(text);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        bool covered = i < (size_t)(strchr(text, '\n') - text) || text + i > strstr(text, "AWS ") + 3;
        memcpy(copy, text, n + 1);
        copy[i] ^= 1;
        if (!covered || text[i] == '\n' || text[i] == ' ' || strchr(copy, '\n') != strchr(text, '\n') - text + copy)
            continue;
        assert_int_not_equal(check_at(copy, "johnsmith", 1175024202, &why), ERR_OK);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(documented_requests_pass),
        cmocka_unit_test(amz_date_replaces_date),
        cmocka_unit_test(presigned_urls),
        cmocka_unit_test(botocore_presigned_urls),
        cmocka_unit_test(refusals),
        cmocka_unit_test(any_changed_byte_of_path_or_signature_is_refused),
    };

    hash_setup();
    creds = creds_new();
    if (creds_put(creds, STR(AKID), STR("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")) != ERR_OK)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    creds_free(creds);
    return failed;
}
