#include "unit.h"

#include "base/clock.h"

static void http_dates_are_written_and_read(void **state)
{
    static const char *const forms[] = {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994"}; /* RFC 9110 section 5.6.7 */
    static const char *const bad[] = {"",
                                      "Sun, 06 Nov 1994 08:49:37",
                                      "Sun, 06 Nov 1994 08:49:37 CET",
                                      "Sun, 31 Feb 1994 08:49:3 GMT",
                                      "Sun, 06 Nuv 1994 08:49:37 GMT",
                                      "Sun, 06 Nov 1994 24:49:37 GMT",
                                      "Sun, 00 Nov 1994 08:49:37 GMT",
                                      "Sun Nov 6 08:49:37 1994",
                                      "784111777"};
    char text[CLOCK_HTTP_LEN];
    int64_t s = 0;

    (void)state;
    clock_http(INT64_C(784111777) * NS_PER_S, text);
    assert_memory_equal(text, forms[0], CLOCK_HTTP_LEN);
    for (size_t i = 0; i < 3; i++, s = 0) {
        assert_true(clock_http_parse(str_z(forms[i]), &s));
        assert_int_equal(s, 784111777);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (clock_http_parse(str_z(bad[i]), &s))
            fail_msg("\"%s\" was taken", bad[i]);
    assert_int_equal(s, 0);
}

static void iso_dates_are_written_and_read(void **state)
{
    char text[CLOCK_ISO_LEN];
    int64_t s = 0;

    (void)state;
    clock_iso(INT64_C(784111777) * NS_PER_S + 999999999, text);
    assert_memory_equal(text, "1994-11-06T08:49:37.000Z", CLOCK_ISO_LEN);
    assert_true(clock_iso_parse(STR("1994-11-06T08:49:37.123Z"), &s));
    assert_int_equal(s, 784111777);
    assert_true(clock_iso_parse(STR("1994-11-06T10:19:37+01:30"), &s));
    assert_int_equal(s, 784111777);
    assert_true(clock_iso_parse(STR("1994-11-06T07:49:37.5-0100"), &s));
    assert_int_equal(s, 784111777);
    assert_true(clock_iso_parse(STR("2000-02-29T00:00:00Z"), &s));
    assert_int_equal(s, 951782400);
    assert_false(clock_iso_parse(STR("1994-11-06 08:49:37Z"), &s));
    assert_false(clock_iso_parse(STR("1994-11-06T08:49:37"), &s));
    assert_false(clock_iso_parse(STR("1994-11-06T08:49:37.Z"), &s));
    assert_false(clock_iso_parse(STR("1994-13-06T08:49:37Z"), &s));
    assert_false(clock_iso_parse(STR("1994-11-06T08:49:37Zx"), &s));
}

static void basic_dates_are_written_and_read(void **state)
{
    char text[CLOCK_BASIC_LEN];
    int64_t s = 0;

    (void)state;
    clock_basic(INT64_C(784111777) * NS_PER_S, text);
    assert_memory_equal(text, "19941106T084937Z", CLOCK_BASIC_LEN);
    assert_true(clock_basic_parse(str_n(text, CLOCK_BASIC_LEN), &s));
    assert_int_equal(s, 784111777);
    assert_false(clock_basic_parse(STR("19941106T084937"), &s));
    assert_false(clock_basic_parse(STR("19941106 084937Z"), &s));
}

static void impossible_days_are_refused(void **state)
{
    int64_t s = 0;

    (void)state;
    assert_false(clock_iso_parse(STR("2023-02-30T00:00:00Z"), &s));
    assert_false(clock_iso_parse(STR("2023-04-31T00:00:00Z"), &s));
    assert_false(clock_iso_parse(STR("2023-02-29T00:00:00Z"), &s));
}

static void days_agree_with_the_calendar_for_three_centuries(void **state)
{
    char text[CLOCK_BASIC_LEN];
    int64_t s;

    (void)state;
    for (int64_t day = -25567; day < 106000; day += 13) { /* 1900 to 2260: what nanoseconds hold */
        clock_basic(day * 86400 * NS_PER_S, text);
        assert_true(clock_basic_parse(str_n(text, CLOCK_BASIC_LEN), &s));
        assert_int_equal(s, day * 86400);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(http_dates_are_written_and_read),
        cmocka_unit_test(iso_dates_are_written_and_read),
        cmocka_unit_test(basic_dates_are_written_and_read),
        cmocka_unit_test(impossible_days_are_refused),
        cmocka_unit_test(days_agree_with_the_calendar_for_three_centuries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
