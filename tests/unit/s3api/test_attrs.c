#include "unit.h"

#include "request_fixture.h"
#include "s3api/attrs.h"
#include "s3api/tags.h"

static void content_type_has_a_default(void **state)
{
    struct request_fixture f;
    struct object_info info = {0};

    (void)state;
    fixture_init(&f);
    assert_int_equal(attrs_collect(&f.req, &info), ERR_OK);
    assert_int_equal(info.attr_count, 1);
    assert_str_is(object_attr(&info, STR("content-type")), "binary/octet-stream");
    fixture_release(&f);
}

static void content_headers_are_kept_verbatim(void **state)
{
    struct request_fixture f;
    struct object_info info = {0};

    (void)state;
    fixture_init(&f);
    fixture_add(&f, "host", "h");
    fixture_add(&f, "content-type", "text/plain; charset=utf-8");
    fixture_add(&f, "cache-control", "no-cache");
    fixture_add(&f, "content-disposition", "attachment; filename=\"x\"");
    fixture_add(&f, "content-language", "de");
    fixture_add(&f, "expires", "not a date");
    fixture_add(&f, "x-amz-website-redirect-location", "/other");
    fixture_add(&f, "x-amz-acl", "private");
    assert_int_equal(attrs_collect(&f.req, &info), ERR_OK);
    assert_int_equal(info.attr_count, 6);
    assert_str_is(info.attrs[0].value, "text/plain; charset=utf-8");
    assert_str_is(object_attr(&info, STR("expires")), "not a date");
    assert_str_is(object_attr(&info, STR("x-amz-website-redirect-location")), "/other");
    assert_null(object_attr(&info, STR("x-amz-acl")).p);
    fixture_release(&f);
}

static void assert_encoding(const char *sent, const char *kept)
{
    struct request_fixture f;
    struct object_info info = {0};

    fixture_init(&f);
    fixture_add(&f, "content-encoding", sent);
    assert_int_equal(attrs_collect(&f.req, &info), ERR_OK);
    if (kept)
        assert_str_is(object_attr(&info, STR("content-encoding")), kept);
    else
        assert_null(object_attr(&info, STR("content-encoding")).p);
    fixture_release(&f);
}

static void aws_chunked_is_not_stored(void **state)
{
    (void)state;
    assert_encoding("aws-chunked", NULL);
    assert_encoding("gzip, aws-chunked", "gzip");
    assert_encoding("aws-chunked,gzip , br", "gzip,br");
    assert_encoding("AWS-Chunked, aws-chunked", NULL);
    assert_encoding("gzip", "gzip");
    assert_encoding("gzip, br", "gzip, br");
}

static void storage_class_is_checked_and_standard_dropped(void **state)
{
    struct request_fixture f;
    struct object_info info = {0};

    (void)state;
    fixture_init(&f);
    fixture_add(&f, "x-amz-storage-class", "STANDARD");
    assert_int_equal(attrs_collect(&f.req, &info), ERR_OK);
    assert_int_equal(info.attr_count, 1);
    f.headers[0].value = STR("STANDARD_IA");
    assert_int_equal(attrs_collect(&f.req, &info), ERR_OK);
    assert_str_is(object_attr(&info, STR("x-amz-storage-class")), "STANDARD_IA");
    f.headers[0].value = STR("standard");
    assert_int_equal(attrs_collect(&f.req, &info), ERR_INVALID_STORAGE_CLASS);
    fixture_release(&f);
}

static void user_metadata_joins_duplicates_and_keeps_bytes(void **state)
{
    struct request_fixture f;
    struct object_info info = {0};

    (void)state;
    fixture_init(&f);
    fixture_add(&f, "x-amz-meta-a", "1");
    fixture_add(&f, "x-amz-meta-b", "\xc3\xa9\xff");
    fixture_add(&f, "x-amz-meta-a", "2");
    fixture_add(&f, "x-amz-meta-empty", "");
    assert_int_equal(attrs_collect(&f.req, &info), ERR_OK);
    assert_int_equal(info.attr_count, 4);
    assert_str_is(object_attr(&info, STR("x-amz-meta-a")), "1,2");
    assert_str_is(object_attr(&info, STR("x-amz-meta-b")), "\xc3\xa9\xff");
    assert_int_equal(object_attr(&info, STR("x-amz-meta-empty")).n, 0);
    fixture_release(&f);
}

static void user_metadata_ends_at_two_kib(void **state)
{
    static char value[USER_METADATA_MAX + 1];
    struct request_fixture f;
    struct object_info info = {0};

    (void)state;
    memset(value, 'v', sizeof(value) - 1);
    fixture_init(&f);
    fixture_add(&f, "x-amz-meta-k", value);
    f.headers[0].value.n = USER_METADATA_MAX - 1;
    assert_int_equal(attrs_collect(&f.req, &info), ERR_OK);
    f.headers[0].value.n = USER_METADATA_MAX;
    assert_int_equal(attrs_collect(&f.req, &info), ERR_METADATA_TOO_LARGE);
    fixture_release(&f);
}

static enum err tagging(const char *text, struct str *tags, struct request_fixture *f)
{
    struct object_info info = {0};
    enum err e;

    fixture_init(f);
    fixture_add(f, "x-amz-tagging", text);
    e = attrs_collect_tags(&f->req, &info);
    *tags = info.tags;
    return e;
}

static void tags_are_made_canonical(void **state)
{
    struct request_fixture f;
    struct str tags;

    (void)state;
    assert_int_equal(tagging("a=1&b%20c=x+y&d", &tags, &f), ERR_OK);
    assert_str_is(tags, "a=1&b%20c=x%20y&d=");
    assert_int_equal(tags_count(tags), 3);
    fixture_release(&f);
    assert_int_equal(tagging("", &tags, &f), ERR_OK);
    assert_int_equal(tags_count(tags), 0);
    fixture_release(&f);
}

static void bad_tags_are_refused(void **state)
{
    static const char *const bad[] = {
        "a=1&a=2", "=1", "a=%zz", "aws:x=1", "a=%00", "a=%ff", "1=&2=&3=&4=&5=&6=&7=&8=&9=&10=&11="};
    char key[TAG_KEY_MAX + 3], value[TAG_VALUE_MAX + 4];
    struct request_fixture f;
    struct str tags;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(tagging(bad[i], &tags, &f), ERR_INVALID_TAG);
        fixture_release(&f);
    }
    memset(key, 'k', sizeof(key));
    key[TAG_KEY_MAX] = 0;
    assert_int_equal(tagging(key, &tags, &f), ERR_OK);
    fixture_release(&f);
    key[TAG_KEY_MAX] = 'k';
    key[TAG_KEY_MAX + 1] = 0;
    assert_int_equal(tagging(key, &tags, &f), ERR_INVALID_TAG);
    fixture_release(&f);
    memset(value, 'v', sizeof(value));
    value[0] = 'a';
    value[1] = '=';
    value[TAG_VALUE_MAX + 2] = 0;
    assert_int_equal(tagging(value, &tags, &f), ERR_OK);
    fixture_release(&f);
    value[TAG_VALUE_MAX + 2] = 'v';
    value[TAG_VALUE_MAX + 3] = 0;
    assert_int_equal(tagging(value, &tags, &f), ERR_INVALID_TAG);
    fixture_release(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_type_has_a_default),
        cmocka_unit_test(content_headers_are_kept_verbatim),
        cmocka_unit_test(aws_chunked_is_not_stored),
        cmocka_unit_test(storage_class_is_checked_and_standard_dropped),
        cmocka_unit_test(user_metadata_joins_duplicates_and_keeps_bytes),
        cmocka_unit_test(user_metadata_ends_at_two_kib),
        cmocka_unit_test(tags_are_made_canonical),
        cmocka_unit_test(bad_tags_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
