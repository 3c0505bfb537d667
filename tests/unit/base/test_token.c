#include "unit.h"

#include "base/token.h"

enum { NOW = 1700000000 };
#define KEY STR("0123456789abcdef0123456789abcdef")

static enum err read_with(struct arena *a, struct str text, struct str key, int64_t now, struct token *out)
{
    struct token_keys keys = {.hs256 = key};
    char why[TOKEN_WHY_MAX];

    return token_read(a, text, &keys, now, out, why);
}

static void a_token_is_good_until_it_expires(void **state)
{
    struct arena a = ARENA_INIT;
    struct token t;
    struct str text = token_make(&a, KEY, STR("me"), NOW, NOW + 100);

    (void)state;
    assert_int_equal(read_with(&a, text, KEY, NOW, &t), ERR_OK);
    assert_true(str_eq(t.subject, STR("me")));
    assert_int_equal(t.expires_s, NOW + 100);
    assert_int_equal(read_with(&a, text, KEY, NOW + 100 + TOKEN_SKEW_S, &t), ERR_ACCESS_DENIED);
    arena_release(&a);
}

static void other_keys_and_changed_bytes_are_refused(void **state)
{
    struct arena a = ARENA_INIT;
    struct token t;
    struct str text = token_make(&a, KEY, STR("me"), NOW, NOW + 100);

    (void)state;
    assert_int_equal(read_with(&a, text, STR("another key"), NOW, &t), ERR_ACCESS_DENIED);
    assert_int_equal(read_with(&a, text, STR(""), NOW, &t), ERR_ACCESS_DENIED);
    for (size_t i = 0; i + 1 < text.n; i++) { /* the last digit has bits that say nothing */
        char *copy = arena_alloc(&a, text.n);
        memcpy(copy, text.p, text.n);
        copy[i] = copy[i] == 'A' ? 'B' : 'A';
        assert_int_equal(read_with(&a, str_n(copy, text.n), KEY, NOW, &t), ERR_ACCESS_DENIED);
    }
    for (size_t n = 0; n < text.n; n++)
        assert_int_equal(read_with(&a, str_n(text.p, n), KEY, NOW, &t), ERR_ACCESS_DENIED);
    arena_release(&a);
}

/* {"alg":"none"}.{"sub":"me","exp":9999999999}. */
static void no_algorithm_is_no_signature(void **state)
{
    struct arena a = ARENA_INIT;
    struct token t;

    (void)state;
    assert_int_equal(read_with(&a, STR("eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSIsImV4cCI6OTk5OTk5OTk5OX0."), KEY, NOW, &t),
                     ERR_ACCESS_DENIED);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_good_until_it_expires),
        cmocka_unit_test(other_keys_and_changed_bytes_are_refused),
        cmocka_unit_test(no_algorithm_is_no_signature),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
