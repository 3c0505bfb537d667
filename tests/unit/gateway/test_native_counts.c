/* Sums that requests make in turns. */
#include "unit.h"

#include "gateway/native_counts.h"

static struct native_counts *counts;
static struct arena arena;

static int setup(void **state)
{
    (void)state;
    counts = native_counts_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    native_counts_free(counts);
    arena_release(&arena);
    return 0;
}

static void a_count_goes_on_where_it_was_left(void **state)
{
    struct count c, other;

    (void)state;
    assert_true(native_counts_take(counts, &arena, 1, STR("id"), &c));
    assert_true(c.objects == 0 && c.least == UINT64_MAX && !c.done && c.after.n == 0);
    assert_false(native_counts_take(counts, &arena, 1, STR("id"), &other)); /* one at a time */
    assert_true(native_counts_take(counts, &arena, 2, STR("id"), &other));  /* another bucket's */
    count_add(&c, 5);
    count_add(&c, 3);
    c.after = STR("key");
    native_counts_give(counts, 1, STR("id"), &c);
    assert_true(native_counts_take(counts, &arena, 1, STR("id"), &c));
    assert_true(c.objects == 2 && c.bytes == 8 && c.least == 3 && c.most == 5 && str_eq(c.after, STR("key")));
    c.done = true;
    native_counts_give(counts, 1, STR("id"), &c);
    for (int i = 0; i < 3; i++) {
        assert_true(native_counts_take(counts, &arena, 1, STR("id"), &c));
        assert_true(c.done && c.bytes == 8);
    }
}

static void a_full_table_forgets_who_was_not_asked_for_longest(void **state)
{
    struct count c;

    (void)state;
    for (int i = 0; i < COUNTS_MAX + 10; i++) {
        struct str id = arena_printf(&arena, "id-%d", i);
        assert_true(native_counts_take(counts, &arena, 1, id, &c));
        c.objects = 7;
        native_counts_give(counts, 1, id, &c);
    }
    assert_true(native_counts_take(counts, &arena, 1, STR("id-0"), &c));
    assert_true(c.objects == 0);
    assert_true(native_counts_take(counts, &arena, 1, STR("id-100"), &c));
    assert_true(c.objects == 7);
}

static void those_that_are_worked_on_stay(void **state)
{
    struct count c;

    (void)state;
    for (int i = 0; i < COUNTS_MAX; i++)
        assert_true(native_counts_take(counts, &arena, 1, arena_printf(&arena, "id-%d", i), &c));
    assert_false(native_counts_take(counts, &arena, 1, STR("one more"), &c));
    native_counts_give(counts, 1, STR("id-3"), &c);
    assert_true(native_counts_take(counts, &arena, 1, STR("one more"), &c));
    native_counts_give(counts, 1, STR("id-3"), &c); /* gone meanwhile: harmless */
}

static void ids_have_a_bound(void **state)
{
    struct count c;
    char *id = arena_new(&arena, COUNT_ID_MAX + 1);

    (void)state;
    memset(id, 'x', COUNT_ID_MAX + 1);
    assert_false(native_counts_take(counts, &arena, 1, STR(""), &c));
    assert_false(native_counts_take(counts, &arena, 1, str_n(id, COUNT_ID_MAX + 1), &c));
    assert_true(native_counts_take(counts, &arena, 1, str_n(id, COUNT_ID_MAX), &c));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(a_count_goes_on_where_it_was_left),
        T(a_full_table_forgets_who_was_not_asked_for_longest),
        T(those_that_are_worked_on_stay),
        T(ids_have_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
