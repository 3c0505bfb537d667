#include "unit.h"

#include "base/template.h"

static struct arena arena;

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

/* All its names, with a space between them. */
static void means(const char *text, const char *names)
{
    struct buf all = BUF_INIT(1 << 20), name = BUF_INIT(1 << 12);
    struct template t;
    char why[256];

    assert_int_equal(template_parse(&arena, str_z(text), &t, why), ERR_OK);
    for (uint64_t i = 0; i < t.names && i < 1000; i++) {
        assert_int_equal(template_name(&t, i, &name), ERR_OK);
        if (i)
            buf_add_char(&all, ' ');
        buf_add_str(&all, buf_str(&name));
    }
    buf_add_char(&all, 0);
    assert_string_equal(all.p, names);
    buf_release(&all);
    buf_release(&name);
}

static void refused(const char *text)
{
    struct template t;
    char why[256] = "";

    assert_int_equal(template_parse(&arena, str_z(text), &t, why), ERR_INVALID_ARGUMENT);
    assert_true(why[0]);
}

static void braces_are_ranges_of_numbers_and_letters(void **state)
{
    (void)state;
    means("s-{5..8}.tar", "s-5.tar s-6.tar s-7.tar s-8.tar");
    means("{8..5}", "8 7 6 5");
    means("{a..e..2}", "a c e");
    means("{e..a..2}", "e c a");
    means("{0..10..5}", "0 5 10");
    means("{0..10..4}x", "0x 4x 8x");
    means("{-2..1}", "-2 -1 0 1");
    means("{3..3}", "3");
}

static void a_leading_zero_pads_to_the_longer_bound(void **state)
{
    (void)state;
    means("{08..10}", "08 09 10");
    means("{001..010..4}", "001 005 009");
    means("{1..003}", "001 002 003");
    means("{9..11}", "9 10 11");
    means("{0..2}", "0 1 2"); /* a lone 0 asks for nothing */
}

static void braces_are_lists_of_words(void **state)
{
    (void)state;
    means("{train,val}/x", "train/x val/x");
    means("{a,}b", "ab b");
}

static void the_last_range_varies_fastest(void **state)
{
    (void)state;
    means("{0..1}-{a..b}-{x,y}", "0-a-x 0-a-y 0-b-x 0-b-y 1-a-x 1-a-y 1-b-x 1-b-y");
}

static void at_counts_from_zero_with_its_digits(void **state)
{
    (void)state;
    means("o-@3.x", "o-0.x o-1.x o-2.x o-3.x");
    means("o-@02", "o-00 o-01 o-02");
    means("@1@1", "00 01 10 11");
}

static void c_style_has_no_end(void **state)
{
    struct buf name = BUF_INIT(100);
    struct template t;
    char why[256];

    (void)state;
    assert_int_equal(template_parse(&arena, STR("s-%04d.tar"), &t, why), ERR_OK);
    assert_true(t.names == UINT64_MAX && t.ranges[0].endless);
    assert_int_equal(template_name(&t, 12, &name), ERR_OK);
    assert_true(str_eq(buf_str(&name), STR("s-0012.tar")));
    assert_int_equal(template_name(&t, 123456, &name), ERR_OK);
    assert_true(str_eq(buf_str(&name), STR("s-123456.tar")));
    assert_int_equal(template_parse(&arena, STR("%d"), &t, why), ERR_OK);
    assert_int_equal(template_name(&t, 7, &name), ERR_OK);
    assert_true(str_eq(buf_str(&name), STR("7")));
    refused("%d-%d");
    buf_release(&name);
}

static void what_has_no_range_is_plain(void **state)
{
    static const char *const texts[] = {"", "train/", "100%", "me@home", "a%20b", "%5d", "@"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct template t;
        char why[256];
        assert_int_equal(template_parse(&arena, str_z(texts[i]), &t, why), ERR_OK);
        assert_true(template_is_plain(&t));
        means(texts[i], texts[i]);
    }
}

static void what_is_wrong_is_refused_with_a_sentence(void **state)
{
    static const char *const texts[] = {"{",
                                        "}",
                                        "a}b{c",
                                        "{1..2",
                                        "{{1..2}}",
                                        "{}",
                                        "{1}",
                                        "{1..}",
                                        "{1..b}",
                                        "{1..9..0}",
                                        "{1..9..x}",
                                        "{0..10000000}",
                                        "{ab..cd}",
                                        "@99999999",
                                        "{0..9999}{0..9999}",
                                        "{1..99999999999999999999}",
                                        "%099d",
                                        "@00000000000000000000001"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        refused(texts[i]);
    refused("{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}");
}

static void a_name_over_the_limit_is_an_error(void **state)
{
    char text[2000];
    struct buf name = BUF_INIT(1 << 12);
    struct template t;
    char why[256];

    (void)state;
    memset(text, 'x', sizeof(text));
    assert_int_equal(template_parse(&arena, str_n(text, 1024), &t, why), ERR_OK);
    assert_int_equal(template_name(&t, 0, &name), ERR_OK);
    assert_int_equal(template_parse(&arena, str_n(text, 1025), &t, why), ERR_OK);
    assert_int_equal(template_name(&t, 0, &name), ERR_KEY_TOO_LONG);
    buf_release(&name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(braces_are_ranges_of_numbers_and_letters),
        cmocka_unit_test(a_leading_zero_pads_to_the_longer_bound),
        cmocka_unit_test(braces_are_lists_of_words),
        cmocka_unit_test(the_last_range_varies_fastest),
        cmocka_unit_test(at_counts_from_zero_with_its_digits),
        cmocka_unit_test(c_style_has_no_end),
        cmocka_unit_test(what_has_no_range_is_plain),
        cmocka_unit_test(what_is_wrong_is_refused_with_a_sentence),
        cmocka_unit_test(a_name_over_the_limit_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
