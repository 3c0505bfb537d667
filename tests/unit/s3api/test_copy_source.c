#include "unit.h"

#include "request_fixture.h"
#include "s3api/copy_source.h"
#include "store/object.h"

static void assert_source(const char *value, const char *bucket, const char *key)
{
    struct arena a = ARENA_INIT;
    struct copy_source s;

    assert_int_equal(copy_source_parse(&a, str_z(value), &s), ERR_OK);
    assert_str_is(s.bucket, bucket);
    assert_str_is(s.key, key);
    arena_release(&a);
}

static void assert_refused(const char *value, enum err e)
{
    struct arena a = ARENA_INIT;
    struct copy_source s;

    assert_int_equal(copy_source_parse(&a, str_z(value), &s), e);
    arena_release(&a);
}

static void bucket_and_key_are_split_and_decoded_once(void **state)
{
    (void)state;
    assert_source("b/k", "b", "k");
    assert_source("/b/d1/f", "b", "d1/f");
    assert_source("b/a%20b%2Bc%2525d/%C3%A9", "b", "a b+c%25d/\xc3\xa9");
    assert_source("b/a+b", "b", "a+b");
    assert_source("b%2Fk%2Fl", "b", "k/l");
    assert_source("b//k", "b", "/k");
    assert_source("/b/\xc3\xa9?x", "b", "\xc3\xa9?x");
}

static void a_version_may_be_named(void **state)
{
    struct arena a = ARENA_INIT;
    struct copy_source s;

    (void)state;
    assert_source("b/k?versionId=null", "b", "k");
    assert_source("b/k%3FversionId=abc", "b", "k?versionId=abc");
    assert_int_equal(copy_source_parse(&a, STR("b/k?versionId=abc"), &s), ERR_OK);
    assert_str_is(s.version, "abc");
    assert_int_equal(copy_source_parse(&a, STR("b/k?versionId="), &s), ERR_OK);
    assert_true(s.version.p && s.version.n == 0);
    assert_int_equal(copy_source_parse(&a, STR("b/k"), &s), ERR_OK);
    assert_null(s.version.p);
    arena_release(&a);
}

static void junk_is_refused(void **state)
{
    static char long_key[KEY_MAX + 4] = "b/";

    (void)state;
    assert_refused("", ERR_INVALID_ARGUMENT);
    assert_refused("b", ERR_INVALID_ARGUMENT);
    assert_refused("b/", ERR_INVALID_ARGUMENT);
    assert_refused("/b", ERR_INVALID_ARGUMENT);
    assert_refused("//k", ERR_INVALID_ARGUMENT);
    assert_refused("b/%zz", ERR_INVALID_ARGUMENT);
    assert_refused("b/%ff", ERR_INVALID_ARGUMENT);
    assert_refused("b/a%00", ERR_INVALID_ARGUMENT);
    assert_refused("arn:aws:s3:us-west-2:1:accesspoint/x/object/y", ERR_NOT_IMPLEMENTED);
    memset(long_key + 2, 'k', KEY_MAX + 1);
    assert_refused(long_key, ERR_KEY_TOO_LONG);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(bucket_and_key_are_split_and_decoded_once),
        cmocka_unit_test(a_version_may_be_named),
        cmocka_unit_test(junk_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
