#include "unit.h"

#include "base/arena.h"

static char order[8];

static void note(void *letter)
{
    size_t n = strlen(order);

    order[n] = *(const char *)letter;
}

static void allocations_are_aligned_and_apart(void **state)
{
    struct arena a = ARENA_INIT;
    unsigned char *p[300];

    (void)state;
    for (size_t i = 0; i < 300; i++) {
        p[i] = arena_alloc(&a, i);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        memset(p[i], (int)i & 0xFF, i);
    }
    for (size_t i = 0; i < 300; i++)
        for (size_t k = 0; k < i; k++)
            assert_int_equal(p[i][k], i & 0xFF);
    arena_release(&a);
}

static void large_ones_leave_the_room_of_small_ones(void **state)
{
    struct arena a = ARENA_INIT;
    char *first = arena_alloc(&a, 16), *large = arena_new(&a, 100000), *second = arena_alloc(&a, 16);

    (void)state;
    assert_ptr_equal(second, first + 16);
    for (size_t i = 0; i < 100000; i++)
        assert_int_equal(large[i], 0);
    arena_release(&a);
    assert_null(a.chunks);
}

static void copies_are_terminated(void **state)
{
    struct arena a = ARENA_INIT;
    struct str s = arena_str(&a, str_n("abcdef", 3)), none = arena_str(&a, STR_NONE);

    (void)state;
    assert_string_equal(s.p, "abc");
    assert_int_equal(s.n, 3);
    assert_string_equal(none.p, "");
    s = arena_printf(&a, "%s-%05d", "x", 42);
    assert_string_equal(s.p, "x-00042");
    assert_int_equal(s.n, 7);
    arena_release(&a);
}

static void destructors_run_last_in_first_out_once(void **state)
{
    struct arena a = ARENA_INIT;

    (void)state;
    memset(order, 0, sizeof(order));
    arena_defer(&a, note, (void *)(uintptr_t) "a");
    arena_defer(&a, note, (void *)(uintptr_t) "b");
    arena_defer(&a, note, (void *)(uintptr_t) "c");
    arena_release(&a);
    assert_string_equal(order, "cba");
    arena_release(&a);
    assert_string_equal(order, "cba");
    assert_non_null(arena_alloc(&a, 1)); /* usable again */
    arena_release(&a);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_apart),
        cmocka_unit_test(large_ones_leave_the_room_of_small_ones),
        cmocka_unit_test(copies_are_terminated),
        cmocka_unit_test(destructors_run_last_in_first_out_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
