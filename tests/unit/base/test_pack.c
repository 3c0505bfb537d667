#include "unit.h"

#include "base/pack.h"

static void numbers_round_trip(void **state)
{
    static const int64_t v[] = {0,         1,         127,  128,   255,       256,        65535,     65536,
                                INT32_MAX, -1,        -32,  -33,   -128,      -129,       -32768,    -32769,
                                INT32_MIN, INT64_MIN, 1000, -1000, INT64_MAX, 4294967295, 4294967296};
    struct buf b = BUF_INIT(4096);
    struct unpack u;

    (void)state;
    for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
        pack_int(&b, v[i]);
    pack_uint(&b, UINT64_MAX);
    unpack_init(&u, buf_str(&b));
    for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
        assert_int_equal(unpack_int(&u), v[i]);
    assert_true(unpack_uint(&u, UINT64_MAX) == UINT64_MAX);
    assert_true(unpack_done(&u));
    buf_release(&b);
}

static void bytes_and_containers_round_trip(void **state)
{
    static char big[70000];
    struct buf b = BUF_INIT(1 << 20);
    struct unpack u;

    (void)state;
    memset(big, 'x', sizeof(big));
    pack_array(&b, 4);
    pack_str(&b, STR("hello"));
    pack_bin(&b, big, 300);
    pack_str(&b, str_n(big, sizeof(big)));
    pack_map(&b, 1);
    pack_bool(&b, true);
    pack_nil(&b);
    unpack_init(&u, buf_str(&b));
    assert_int_equal(unpack_array(&u, 10), 4);
    assert_true(str_eq(unpack_bytes(&u, 5), STR("hello")));
    assert_int_equal(unpack_bytes(&u, 300).n, 300);
    assert_int_equal(unpack_bytes(&u, sizeof(big)).n, sizeof(big));
    assert_int_equal(unpack_map(&u, 1), 1);
    assert_true(unpack_bool(&u));
    unpack_skip(&u);
    assert_true(unpack_done(&u));
    unpack_init(&u, buf_str(&b));
    unpack_skip(&u);
    assert_true(unpack_done(&u));
    buf_release(&b);
}

static void limits_and_truncation_are_bad(void **state)
{
    struct buf b = BUF_INIT(4096);
    struct unpack u;

    (void)state;
    pack_array(&b, 3);
    pack_str(&b, STR("hello"));
    pack_uint(&b, 70000);
    pack_int(&b, -5);
    for (size_t n = 0; n < b.n; n++) {
        unpack_init(&u, str_n(b.p, n));
        unpack_skip(&u);
        assert_true(u.bad);
    }
    unpack_init(&u, buf_str(&b));
    assert_int_equal(unpack_array(&u, 2), 0);
    assert_true(u.bad);
    unpack_init(&u, buf_str(&b));
    unpack_array(&u, 3);
    assert_int_equal(unpack_bytes(&u, 4).n, 0);
    assert_true(u.bad);
    unpack_init(&u, buf_str(&b));
    unpack_array(&u, 3);
    unpack_bytes(&u, 5);
    assert_int_equal(unpack_uint(&u, 69999), 0);
    assert_true(u.bad);
    buf_release(&b);
}

static void nesting_is_bounded(void **state)
{
    char deep[1000];
    struct unpack u;

    (void)state;
    memset(deep, (char)0x91, sizeof(deep));
    unpack_init(&u, str_n(deep, sizeof(deep)));
    unpack_skip(&u);
    assert_true(u.bad);
    unpack_init(&u, STR("\xdd\xff\xff\xff\xff"));
    unpack_skip(&u);
    assert_true(u.bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_round_trip),
        cmocka_unit_test(bytes_and_containers_round_trip),
        cmocka_unit_test(limits_and_truncation_are_bad),
        cmocka_unit_test(nesting_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
