#include "s3api/route.h"

#include "unit.h"

/* The action that "METHOD ?query" means at a level, or the error's name. */
static const char *action(enum http_method method, enum s3_level level, const char *query, bool copy)
{
    static const struct http_header copy_source = {{"x-amz-copy-source", 17}, {"b/k", 3}};
    struct http_req req = {.method = method, .headers = &copy_source, .header_count = copy ? 1 : 0};
    struct arena a = ARENA_INIT;
    struct query_param *params;
    const struct route *r = NULL;
    struct str clash;
    size_t n;
    enum err e;

    assert_int_equal(url_parse_query(&a, str_z(query), &params, &n, 32), ERR_OK);
    e = route_find(method, level, route_subs(&req, level, params, n), &r, &a, &clash);
    arena_release(&a);
    return e == ERR_OK ? r->name : err_name(e);
}

static void sub_resources_choose_the_action(void **state)
{
    (void)state;
    assert_string_equal(action(HTTP_GET, LEVEL_SERVICE, "", false), "ListBuckets");
    assert_string_equal(action(HTTP_GET, LEVEL_BUCKET, "", false), "ListObjects");
    assert_string_equal(action(HTTP_GET, LEVEL_BUCKET, "list-type=2&prefix=a", false), "ListObjectsV2");
    assert_string_equal(action(HTTP_GET, LEVEL_BUCKET, "list-type=1", false), "ListObjects");
    assert_string_equal(action(HTTP_GET, LEVEL_BUCKET, "versions", false), "ListObjectVersions");
    assert_string_equal(action(HTTP_GET, LEVEL_BUCKET, "uploads=&prefix=x&delimiter=", false), "ListMultipartUploads");
    assert_string_equal(action(HTTP_GET, LEVEL_BUCKET, "location", false), "GetBucketLocation");
    assert_string_equal(action(HTTP_POST, LEVEL_BUCKET, "delete=", false), "DeleteObjects");
    assert_string_equal(action(HTTP_PUT, LEVEL_OBJECT, "x-id=PutObject", false), "PutObject");
    assert_string_equal(action(HTTP_PUT, LEVEL_OBJECT, "", true), "CopyObject");
    assert_string_equal(action(HTTP_PUT, LEVEL_OBJECT, "partNumber=1&uploadId=u", false), "UploadPart");
    assert_string_equal(action(HTTP_PUT, LEVEL_OBJECT, "uploadId=u&partNumber=1", true), "UploadPartCopy");
    assert_string_equal(action(HTTP_GET, LEVEL_OBJECT, "versionId=null&partNumber=2", false), "GetObject");
    assert_string_equal(action(HTTP_HEAD, LEVEL_OBJECT, "partNumber=2", false), "HeadObject");
    assert_string_equal(action(HTTP_POST, LEVEL_OBJECT, "uploads", false), "CreateMultipartUpload");
    assert_string_equal(action(HTTP_DELETE, LEVEL_OBJECT, "uploadId=u", false), "AbortMultipartUpload");
}

static void every_route_has_its_permission(void **state)
{
    size_t n, empty = 0;
    const struct route *rows = route_table(&n);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        struct str plain = route_permission(&rows[i], false), version = route_permission(&rows[i], true);
        if (plain.n == 0) {
            empty++;
            continue;
        }
        assert_true(str_starts(plain, STR("s3:")) || str_starts(plain, STR("s3express:")));
        assert_true(version.n > 0);
        if (strcmp(rows[i].name, "GetObject") == 0) {
            assert_true(str_eq(plain, STR("s3:GetObject")));
            assert_true(str_eq(version, STR("s3:GetObjectVersion")));
        }
    }
    assert_int_equal(empty, 6); /* preflights, DeleteObjects, PostBatch, PostObject: they ask themselves */
}

static void unknown_parameters_do_not_route(void **state)
{
    (void)state;
    assert_string_equal(action(HTTP_GET, LEVEL_OBJECT,
                               "x-id=GetObject&response-content-type=a%2Fb&X-Amz-Signature=1&AWSAccessKeyId=k&foo",
                               false),
                        "GetObject");
    assert_string_equal(action(HTTP_GET, LEVEL_BUCKET, "ACL&Uploads", false), "ListObjects"); /* case counts */
}

static void known_sub_resources_never_fall_through(void **state)
{
    const enum http_method methods[] = {HTTP_GET, HTTP_HEAD, HTTP_PUT, HTTP_POST, HTTP_DELETE};
    static const char *const plain[] = {"ListObjects", "HeadBucket", "CreateBucket", "DeleteBucket", "PostObject",
                                        "GetObject",   "HeadObject", "PutObject",    "DeleteObject", "ListBuckets"};
    static const char *const keys[] = {
#define SUB_ROW(name, key) key,
#include "s3api/routes.def"
#undef SUB_ROW
    };

    (void)state;
    for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++) {
        bool selects = strcmp(keys[k], "versionId") == 0 || strcmp(keys[k], "partNumber") == 0;
        for (size_t m = 0; m < 5 && keys[k][0] && !selects; m++)
            for (enum s3_level level = LEVEL_SERVICE; level <= LEVEL_OBJECT; level++)
                for (size_t p = 0; p < sizeof(plain) / sizeof(plain[0]); p++)
                    assert_string_not_equal(action(methods[m], level, keys[k], false), plain[p]);
    }
    assert_string_equal(action(HTTP_PUT, LEVEL_OBJECT, "tagging", true), "INVALID_ARGUMENT");
    assert_string_equal(action(HTTP_PUT, LEVEL_OBJECT, "tagging", false), "PutObjectTagging");
}

static void impossible_requests_are_refused(void **state)
{
    (void)state;
    assert_string_equal(action(HTTP_OTHER, LEVEL_BUCKET, "", false), "METHOD_NOT_ALLOWED");
    assert_string_equal(action(HTTP_PATCH, LEVEL_OBJECT, "", false), "METHOD_NOT_ALLOWED");
    assert_string_equal(action(HTTP_POST, LEVEL_SERVICE, "", false), "METHOD_NOT_ALLOWED");
    assert_string_equal(action(HTTP_DELETE, LEVEL_BUCKET, "location", false), "METHOD_NOT_ALLOWED");
    assert_string_equal(action(HTTP_GET, LEVEL_BUCKET, "acl&policy", false), "INVALID_ARGUMENT");
    assert_string_equal(action(HTTP_PUT, LEVEL_OBJECT, "uploadId=u", false), "INVALID_ARGUMENT");
    assert_string_equal(action(HTTP_PUT, LEVEL_OBJECT, "versionId=1", false), "INVALID_ARGUMENT");
    assert_string_equal(action(HTTP_OPTIONS, LEVEL_OBJECT, "acl&policy", false), "PreflightOptions");
}

static void every_row_is_distinct(void **state)
{
    size_t n;
    const struct route *r = route_table(&n);

    (void)state;
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++)
            assert_false(r[i].method == r[k].method && r[i].level == r[k].level && r[i].must == r[k].must);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sub_resources_choose_the_action), cmocka_unit_test(every_route_has_its_permission),
        cmocka_unit_test(unknown_parameters_do_not_route), cmocka_unit_test(known_sub_resources_never_fall_through),
        cmocka_unit_test(impossible_requests_are_refused), cmocka_unit_test(every_row_is_distinct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
