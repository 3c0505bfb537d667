#include "unit.h"

#include "http/url.h"

static void assert_str(struct str s, const char *want)
{
    assert_true(str_eq(s, str_z(want)));
}

static void decode_is_strict(void **state)
{
    struct arena a = ARENA_INIT;
    struct str out = STR_NONE, raw = STR("plain/key");

    (void)state;
    assert_true(url_decode(raw, &a, true, &out));
    assert_ptr_equal(out.p, raw.p); /* not copied */
    assert_true(url_decode(STR("a%20b+c%2f%2F%e4"), &a, false, &out));
    assert_str(out, "a b+c//\xe4");
    assert_true(url_decode(STR("a+b"), &a, true, &out));
    assert_str(out, "a b");
    assert_true(url_decode(STR("%00"), &a, false, &out));
    assert_int_equal(out.n, 1);
    static const char *const bad[] = {"%", "%4", "a%", "%zz", "%4g", "%g4", "%%41", "a%2"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(url_decode(str_z(bad[i]), &a, false, &out));
    arena_release(&a);
}

static void encode_uses_the_sigv4_set(void **state)
{
    struct buf b = BUF_INIT(1024);

    (void)state;
    url_encode(&b, STR("aZ09-._~/ +%\xff"), true);
    assert_str(buf_str(&b), "aZ09-._~/%20%2B%25%FF");
    buf_reset(&b);
    url_encode(&b, STR("a/b*"), false);
    assert_str(buf_str(&b), "a%2Fb%2A");
    buf_release(&b);
}

static void every_byte_survives_coding(void **state)
{
    struct arena a = ARENA_INIT;
    struct buf b = BUF_INIT(1024);
    char all[256];
    struct str out = STR_NONE;

    (void)state;
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    url_encode(&b, str_n(all, 256), false);
    assert_true(url_decode(buf_str(&b), &a, true, &out));
    assert_true(str_eq(out, str_n(all, 256)));
    buf_release(&b);
    arena_release(&a);
}

static void query_is_split_and_decoded(void **state)
{
    struct arena a = ARENA_INIT;
    struct query_param *q = NULL;
    size_t n = 9;

    (void)state;
    assert_int_equal(url_parse_query(&a, STR("acl&prefix=a%2Fb+c&&x=&k==v&%41=1"), &q, &n, 16), ERR_OK);
    assert_int_equal(n, 5);
    assert_str(q[0].name, "acl");
    assert_false(q[0].has_value);
    assert_str(q[1].value, "a/b c");
    assert_true(q[2].has_value);
    assert_int_equal(q[2].value.n, 0);
    assert_str(q[3].value, "=v");
    assert_str(q[4].name, "A");
    assert_int_equal(url_parse_query(&a, STR(""), &q, &n, 16), ERR_OK);
    assert_int_equal(n, 0);
    assert_int_equal(url_parse_query(&a, STR("&&&&"), &q, &n, 2), ERR_OK);
    assert_int_equal(n, 0);
    arena_release(&a);
}

static void query_errors_leave_the_result_alone(void **state)
{
    struct arena a = ARENA_INIT;
    struct query_param *q = NULL;
    size_t n = 9;

    (void)state;
    assert_int_equal(url_parse_query(&a, STR("a=%4"), &q, &n, 16), ERR_INVALID_URI);
    assert_int_equal(url_parse_query(&a, STR("a&b&c"), &q, &n, 2), ERR_INVALID_URI);
    assert_null(q);
    assert_int_equal(n, 9);
    arena_release(&a);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_is_strict),
        cmocka_unit_test(encode_uses_the_sigv4_set),
        cmocka_unit_test(every_byte_survives_coding),
        cmocka_unit_test(query_is_split_and_decoded),
        cmocka_unit_test(query_errors_leave_the_result_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
