/* Rates over simulated time. */
#include "unit.h"

#include "base/clock.h"
#include "s3api/limits.h"
#include "s3api/tags.h"

static uint64_t asked(struct limits *l, uint64_t id, uint32_t per_s, uint64_t from_ns, uint64_t ns, uint64_t step)
{
    uint64_t let = 0;

    for (uint64_t t = 0; t < ns; t += step)
        let += limits_take(l, id, per_s, from_ns + t);
    return let;
}

static void a_second_at_once_and_then_the_rate(void **state)
{
    static const uint32_t rates[] = {1, 2, 3, 7, 100, 999, 100000, 1000000};
    uint64_t now = 12345 * (uint64_t)NS_PER_S;

    (void)state;
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        struct limits *l = limits_new();
        uint32_t per_s = rates[i];
        uint64_t let = 0;
        for (uint32_t k = 0; k < per_s + 10; k++)
            let += limits_take(l, 9, per_s, now);
        assert_in_range(let, per_s, per_s + 1); /* steps are whole nanoseconds */
        let = asked(l, 9, per_s, now + 1, 10 * (uint64_t)NS_PER_S, NS_PER_S / per_s / 2 + 1);
        assert_in_range(let, (uint64_t)per_s * 10 - per_s / 100 - 1, (uint64_t)per_s * 10 + per_s / 100 + 1);
        assert_true(limits_take(l, 9, per_s, now + 60 * (uint64_t)NS_PER_S));
        limits_free(l);
    }
}

static void names_do_not_share(void **state)
{
    struct limits *l = limits_new();

    (void)state;
    for (uint64_t id = 1; id <= 500; id++) /* near one another, and on one another's place */
        assert_true(limits_take(l, id * 8 + (id % 4) * LIMITS_SLOTS, 1, 5));
    for (uint64_t id = 1; id <= 500; id++)
        assert_false(limits_take(l, id * 8 + (id % 4) * LIMITS_SLOTS, 1, 6));
    for (uint64_t id = 1; id < 100000; id++) /* many more than there is room for */
        assert_true(limits_take(l, id << 20 | 1, 1, 7));
    limits_free(l);
}

static void tags_of_ours(void **state)
{
    struct tag t[2] = {{STR("a"), STR("b")}, {STR("sluice:requests-per-second"), STR("7")}};
    struct bucket_limits out;

    (void)state;
    assert_int_equal(limits_of_tags(t, 1, &out), ERR_OK);
    assert_int_equal(out.per_s, 0);
    assert_int_equal(limits_of_tags(t, 2, &out), ERR_OK);
    assert_int_equal(out.per_s, 7);
    t[1].value = STR("0");
    assert_int_equal(limits_of_tags(t, 2, &out), ERR_INVALID_TAG);
    t[1] = (struct tag){STR("sluice:other"), STR("7")};
    assert_int_equal(limits_of_tags(t, 2, &out), ERR_INVALID_TAG);
}

/* Former versions took more than S3 does: what they kept is still read. */
static void odd_tags_are_read_but_not_taken(void **state)
{
    struct arena a = {0};
    struct tag t[TAGS_MAX];
    size_t n;

    (void)state;
    assert_int_equal(tags_parse(&a, STR("a%26b=%3Cc%3E"), t, &n), ERR_OK);
    assert_true(n == 1 && str_eq(t[0].key, STR("a&b")) && str_eq(t[0].value, STR("<c>")));
    assert_false(tags_are_plain(t, n));
    assert_int_equal(tags_parse(&a, STR("a%20b%2B-%3D._%3A%2F%40=%C3%BC1"), t, &n), ERR_OK);
    assert_true(tags_are_plain(t, n));
    arena_release(&a);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_at_once_and_then_the_rate),
        cmocka_unit_test(names_do_not_share),
        cmocka_unit_test(tags_of_ours),
        cmocka_unit_test(odd_tags_are_read_but_not_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
