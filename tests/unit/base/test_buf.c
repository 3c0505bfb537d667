#include "unit.h"

#include "base/buf.h"

static void appends_come_out_in_order(void **state)
{
    struct buf b = BUF_INIT(1000);

    (void)state;
    buf_add_z(&b, "n=");
    buf_add_u64(&b, 0);
    buf_add_char(&b, ',');
    buf_add_u64(&b, UINT64_MAX);
    buf_addf(&b, " %s:%d", "x", 5);
    buf_add_str(&b, STR_NONE);
    assert_true(str_eq(buf_str(&b), STR("n=0,18446744073709551615 x:5")));
    assert_int_equal(buf_err(&b), ERR_OK);
    buf_release(&b);
    assert_null(b.p);
    assert_int_equal(b.max, 1000);
}

static void beyond_the_maximum_everything_is_dropped(void **state)
{
    struct buf b = BUF_INIT(10);

    (void)state;
    buf_add(&b, "0123456789", 10);
    assert_int_equal(buf_err(&b), ERR_OK);
    buf_add_char(&b, 'x');
    assert_int_equal(buf_err(&b), ERR_TOO_LARGE);
    assert_int_equal(b.n, 10);
    buf_reset(&b);
    buf_add_z(&b, "ok");
    assert_int_equal(buf_err(&b), ERR_OK);
    buf_add(&b, "0123456789", 10);
    buf_add_z(&b, "y"); /* would fit, but something before it is missing */
    assert_true(str_eq(buf_str(&b), STR("ok")));
    buf_release(&b);
}

static void it_grows_to_the_maximum_and_not_further(void **state)
{
    struct buf b = BUF_INIT(100000);

    (void)state;
    for (int i = 0; i < 100000; i++)
        buf_add_char(&b, (char)('a' + i % 26));
    assert_int_equal(buf_err(&b), ERR_OK);
    assert_int_equal(b.n, 100000);
    assert_int_equal(b.cap, 100000);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(b.p[i], 'a' + i % 26);
    assert_null(buf_reserve(&b, 1));
    buf_release(&b);
}

static void reserved_room_counts_when_committed(void **state)
{
    struct buf b = BUF_INIT(100);

    (void)state;
    memcpy(buf_reserve(&b, 50), "abc", 3);
    assert_int_equal(b.n, 0);
    buf_commit(&b, 3);
    buf_add_z(&b, "def");
    buf_consume(&b, 2);
    assert_true(str_eq(buf_str(&b), STR("cdef")));
    buf_consume(&b, 4);
    assert_int_equal(b.n, 0);
    buf_consume(&b, 0);
    buf_release(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_come_out_in_order),
        cmocka_unit_test(beyond_the_maximum_everything_is_dropped),
        cmocka_unit_test(it_grows_to_the_maximum_and_not_further),
        cmocka_unit_test(reserved_room_counts_when_committed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
