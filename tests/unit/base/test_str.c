#include "unit.h"

#include "base/str.h"

#define assert_str(s, z) assert_true(str_eq((s), STR(z)))

static void order_is_that_of_bytes_and_a_prefix_comes_first(void **state)
{
    (void)state;
    assert_true(str_cmp(STR("a"), STR("a/")) < 0);
    assert_true(str_cmp(STR("a/"), STR("a0")) < 0);
    assert_true(str_cmp(STR("b"), STR("a/b")) > 0);
    assert_true(str_cmp(STR("\x7f"), STR("\xc3\xa9")) < 0); /* bytes are unsigned */
    assert_int_equal(str_cmp(STR("x"), STR("x")), 0);
    assert_true(str_cmp(STR_NONE, STR("x")) < 0);
    assert_int_equal(str_cmp(STR_NONE, STR("")), 0);
}

static void case_does_not_matter_where_said(void **state)
{
    (void)state;
    assert_true(str_eq_nocase(STR("Content-MD5"), STR("content-md5")));
    assert_false(str_eq_nocase(STR("a"), STR("ab")));
    assert_false(str_eq_nocase(STR("["), STR("{"))); /* differ by 32 only */
    assert_true(str_starts_nocase(STR("AWS4-x"), STR("aws4-")));
    assert_false(str_starts_nocase(STR("aw"), STR("aws")));
}

static void finding(void **state)
{
    (void)state;
    assert_int_equal(str_find_char(STR("a=b=c"), '='), 1);
    assert_int_equal(str_find_char(STR_NONE, '='), SIZE_MAX);
    assert_int_equal(str_find(STR("abcabd"), STR("abd")), 3);
    assert_int_equal(str_find(STR("ab"), STR("abc")), SIZE_MAX);
    assert_true(str_ends(STR("x.tar"), STR(".tar")));
    assert_false(str_ends(STR("r"), STR(".tar")));
    assert_true(str_starts(STR("x"), STR_NONE));
}

static void trimming_takes_spaces_and_tabs_only(void **state)
{
    (void)state;
    assert_str(str_trim(STR(" \t a b\t ")), "a b");
    assert_str(str_trim(STR(" \t")), "");
    assert_str(str_trim(STR("\ra\n")), "\ra\n");
}

static void splitting_ends_with_an_empty_rest(void **state)
{
    struct str s = STR("a,,b");

    (void)state;
    assert_str(str_split(&s, ','), "a");
    assert_str(str_split(&s, ','), "");
    assert_str(str_split(&s, ','), "b");
    assert_int_equal(s.n, 0);
    assert_str(str_split(&s, ','), "");
}

static void numbers_are_strict(void **state)
{
    static const char *const bad[] = {
        "", " 1", "1 ", "+1", "-1", "0x1", "18446744073709551616", "999999999999999999999", "1e3"};
    uint64_t v = 7;

    (void)state;
    assert_true(str_to_u64(STR("18446744073709551615"), UINT64_MAX, &v));
    assert_int_equal(v, UINT64_MAX);
    assert_true(str_to_u64(STR("007"), 7, &v));
    assert_int_equal(v, 7);
    assert_false(str_to_u64(STR("8"), 7, &v));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(str_to_u64(str_z(bad[i]), UINT64_MAX, &v));
    assert_int_equal(v, 7); /* untouched */
    assert_true(str_hex_to_u64(STR("fFfFffffffffffff"), &v));
    assert_int_equal(v, UINT64_MAX);
    assert_false(str_hex_to_u64(STR("10000000000000000"), &v));
    assert_false(str_hex_to_u64(STR("g"), &v));
    assert_false(str_hex_to_u64(STR(""), &v));
}

static void utf8_is_checked_as_rfc_3629_says(void **state)
{
    static const char *const good[] = {"",
                                       "plain",
                                       "\xc3\xa9",
                                       "\xe2\x82\xac",
                                       "\xf0\x9f\x98\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",         "\xc0\x80",         "\xc1\xbf",         "\xc3",
                                      "\xe0\x80\x80", "\xe0\x9f\xbf",     "\xed\xa0\x80",     "\xe2\x82",
                                      "\xf5\x80\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "a\xff"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_true(str_is_utf8(str_z(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(str_is_utf8(str_z(bad[i])));
    assert_true(str_is_utf8(STR("a\0b")));
}

static void secrets_compare_like_others(void **state)
{
    (void)state;
    assert_true(str_eq_secret(STR("abc"), STR("abc")));
    assert_false(str_eq_secret(STR("abc"), STR("abd")));
    assert_false(str_eq_secret(STR("abc"), STR("ab")));
    assert_true(str_eq_secret(STR(""), STR_NONE));
}

static void hex_goes_both_ways(void **state)
{
    unsigned char in[3] = {0x00, 0x9f, 0xff}, out[3] = {1, 1, 1};
    char text[6];

    (void)state;
    hex_encode(in, 3, text);
    assert_memory_equal(text, "009fff", 6);
    assert_true(hex_decode(STR("009FfF"), out, 3));
    assert_memory_equal(out, in, 3);
    assert_false(hex_decode(STR("009F"), out, 3));
    memset(out, 1, 3);
    assert_false(hex_decode(STR("0000zz"), out, 3));
    assert_int_equal(out[0], 1); /* untouched */
}

static void base64_is_strict(void **state)
{
    static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"}; /* RFC 4648 section 10 */
    static const char *const coded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    static const char *const bad[] = {
        "Z", "Zg", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm 8", "Zm9v\n", "Zm-_"};
    char out[16];
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++) {
        n = base64_encode(plain[i], strlen(plain[i]), out);
        assert_true(str_eq(str_n(out, n), str_z(coded[i])));
        assert_true(base64_decode(str_z(coded[i]), out, sizeof(out), &n));
        assert_true(str_eq(str_n(out, n), str_z(plain[i])));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (base64_decode(str_z(bad[i]), out, sizeof(out), &n))
            fail_msg("\"%s\" was taken", bad[i]);
    assert_false(base64_decode(STR("Zm9vYmFy"), out, 5, &n));
    assert_true(base64_decode(STR("Zm9vYmFy"), out, 6, &n));
}

static void base64url_has_no_padding_and_its_own_digits(void **state)
{
    static const char *const bad[] = {"Z", "Zg==", "Zh", "Zm9", "Zm8=", "Zm+/", "Zm9vY", "Zm 8", "\xc3\xa9Zg"};
    unsigned char in[64], back[64];
    char out[BASE64_LEN(64)];
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (unsigned char)(i * 37 + 0xf8);
    for (size_t len = 0; len <= sizeof(in); len++) {
        size_t coded = base64url_encode(in, len, out);
        assert_int_equal(coded, (len * 4 + 2) / 3);
        assert_true(base64url_decode(str_n(out, coded), back, len, &n));
        assert_int_equal(n, len);
        assert_memory_equal(back, in, len);
        assert_true(len == 0 || !base64url_decode(str_n(out, coded), back, len - 1, &n));
    }
    n = base64url_encode("\xfb\xff\xbf", 3, out);
    assert_true(str_eq(str_n(out, n), STR("-_-_")));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (base64url_decode(str_z(bad[i]), back, sizeof(back), &n))
            fail_msg("\"%s\" was taken", bad[i]);
}

static void plain_text_has_no_control_characters(void **state)
{
    char text[40];

    (void)state;
    assert_true(str_is_plain(STR_NONE));
    for (size_t len = 1; len <= sizeof(text); len++)
        for (size_t at = 0; at < len; at++)
            for (int c = 0; c < 256; c++) {
                memset(text, c < 0x80 ? 0xff : ' ', sizeof(text));
                text[at] = (char)c;
                if (str_is_plain(str_n(text, len)) != (c >= 0x20 && c != 0x7f))
                    fail_msg("byte %d at %zu of %zu", c, at, len);
            }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_that_of_bytes_and_a_prefix_comes_first),
        cmocka_unit_test(case_does_not_matter_where_said),
        cmocka_unit_test(finding),
        cmocka_unit_test(trimming_takes_spaces_and_tabs_only),
        cmocka_unit_test(splitting_ends_with_an_empty_rest),
        cmocka_unit_test(numbers_are_strict),
        cmocka_unit_test(utf8_is_checked_as_rfc_3629_says),
        cmocka_unit_test(secrets_compare_like_others),
        cmocka_unit_test(hex_goes_both_ways),
        cmocka_unit_test(base64_is_strict),
        cmocka_unit_test(base64url_has_no_padding_and_its_own_digits),
        cmocka_unit_test(plain_text_has_no_control_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
