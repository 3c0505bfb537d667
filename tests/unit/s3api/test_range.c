#include "unit.h"

#include "s3api/range.h"

static void assert_range(const char *text, enum range_kind kind, uint64_t first, uint64_t last)
{
    struct range r = {RANGE_LAST, 99, 99};

    range_parse(str_z(text), &r);
    assert_int_equal(r.kind, kind);
    assert_int_equal(r.first, first);
    assert_int_equal(r.last, last);
}

static void the_three_forms(void **state)
{
    (void)state;
    assert_range("bytes=0-0", RANGE_FROM_TO, 0, 0);
    assert_range("bytes=5-1048576", RANGE_FROM_TO, 5, 1048576);
    assert_range("bytes=7-", RANGE_FROM, 7, 0);
    assert_range("bytes=-20", RANGE_LAST, 0, 20);
    assert_range("bytes=-0", RANGE_LAST, 0, 0);
    assert_range("Bytes= 1-2 ", RANGE_FROM_TO, 1, 2);
}

static void bad_syntax_is_ignored(void **state)
{
    static const char *const bad[] = {"",           "bytes",     "bytes=",    "bytes=-",     "bytes=a-b",
                                      "bytes=5-4",  "bytes=1",   "items=0-1", "bytes=0-1x",  "bytes=+1-2",
                                      "bytes=1--2", "bytes:0-1", "0-1",       "bytes=0 - 1", "bytes=0x1-2"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_range(bad[i], RANGE_ALL, 0, 0);
}

static void several_ranges_are_ignored(void **state)
{
    (void)state;
    assert_range("bytes=0-1,3-4", RANGE_ALL, 0, 0);
    assert_range("bytes=0-1,", RANGE_ALL, 0, 0);
    assert_range("bytes=-1,-2", RANGE_ALL, 0, 0);
}

static void huge_numbers_saturate(void **state)
{
    (void)state;
    assert_range("bytes=0-99999999999999999999999999", RANGE_FROM_TO, 0, INT64_MAX);
    assert_range("bytes=99999999999999999999999999-", RANGE_FROM, INT64_MAX, 0);
    assert_range("bytes=0-18446744073709551616", RANGE_FROM_TO, 0, INT64_MAX);
}

static void copy_range_is_strict(void **state)
{
    static const char *const bad[] = {"bytes=0-",  "bytes=-5",   "0-5", "bytes=5-4", "bytes=0-1,3-4",
                                      "Bytes=0-1", "bytes=0-1 ", "",    "bytes=a-b"};
    struct range r;

    (void)state;
    assert_int_equal(range_parse_copy(STR("bytes=0-5"), &r), ERR_OK);
    assert_int_equal(r.kind, RANGE_FROM_TO);
    assert_int_equal(r.last, 5);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(range_parse_copy(str_z(bad[i]), &r), ERR_INVALID_ARGUMENT);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_three_forms),
        cmocka_unit_test(bad_syntax_is_ignored),
        cmocka_unit_test(several_ranges_are_ignored),
        cmocka_unit_test(huge_numbers_saturate),
        cmocka_unit_test(copy_range_is_strict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
