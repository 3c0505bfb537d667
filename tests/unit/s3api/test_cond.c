#include "unit.h"

#include "request_fixture.h"
#include "s3api/cond.h"

static void absent_headers_are_no_condition(void **state)
{
    struct request_fixture f;
    struct cond c;

    (void)state;
    fixture_init(&f);
    cond_parse_read(&f.req, &c);
    assert_true(cond_is_empty(&c));
    cond_parse_copy_source(&f.req, &c);
    assert_true(cond_is_empty(&c));
    fixture_release(&f);
}

static void read_takes_all_four(void **state)
{
    struct request_fixture f;
    struct cond c;

    (void)state;
    fixture_init(&f);
    fixture_add(&f, "if-match", "\"abc\"");
    fixture_add(&f, "if-none-match", "*");
    fixture_add(&f, "if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT");
    fixture_add(&f, "if-unmodified-since", "Sun, 06 Nov 1994 08:49:38 GMT");
    cond_parse_read(&f.req, &c);
    assert_str_is(c.if_match, "\"abc\"");
    assert_str_is(c.if_none_match, "*");
    assert_int_equal(c.if_modified_since_s, 784111777);
    assert_int_equal(c.if_unmodified_since_s, 784111778);
    cond_parse_write(&f.req, &c);
    assert_int_equal(c.if_modified_since_s, COND_NO_TIME);
    assert_str_is(c.if_match, "\"abc\"");
    fixture_release(&f);
}

static void unparsable_date_and_empty_list_are_absent(void **state)
{
    struct request_fixture f;
    struct cond c;

    (void)state;
    fixture_init(&f);
    fixture_add(&f, "if-match", "");
    fixture_add(&f, "if-modified-since", "yesterday");
    cond_parse_read(&f.req, &c);
    assert_true(cond_is_empty(&c));
    fixture_release(&f);
}

static void repeated_lists_are_joined(void **state)
{
    struct request_fixture f;
    struct cond c;

    (void)state;
    fixture_init(&f);
    fixture_add(&f, "if-match", "\"a\"");
    fixture_add(&f, "host", "h");
    fixture_add(&f, "if-match", "\"b\"");
    cond_parse_read(&f.req, &c);
    assert_str_is(c.if_match, "\"a\",\"b\"");
    fixture_release(&f);
}

static void copy_source_has_headers_of_its_own(void **state)
{
    struct request_fixture f;
    struct cond c;

    (void)state;
    fixture_init(&f);
    fixture_add(&f, "if-match", "\"destination\"");
    fixture_add(&f, "x-amz-copy-source-if-match", "\"source\"");
    fixture_add(&f, "x-amz-copy-source-if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT");
    cond_parse_copy_source(&f.req, &c);
    assert_str_is(c.if_match, "\"source\"");
    assert_null(c.if_none_match.p);
    assert_int_equal(c.if_unmodified_since_s, 784111777);
    assert_int_equal(c.if_modified_since_s, COND_NO_TIME);
    fixture_release(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_headers_are_no_condition),           cmocka_unit_test(read_takes_all_four),
        cmocka_unit_test(unparsable_date_and_empty_list_are_absent), cmocka_unit_test(repeated_lists_are_joined),
        cmocka_unit_test(copy_source_has_headers_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
