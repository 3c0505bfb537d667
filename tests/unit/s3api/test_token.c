#include "s3api/token.h"

#include "store/object.h"
#include "unit.h"

static void a_token_gives_its_name_back(void **state)
{
    struct arena a = ARENA_INIT;
    char key[KEY_MAX];
    struct str out;

    (void)state;
    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (char)(i * 7);
    for (size_t n = 0; n <= sizeof(key); n++) {
        struct str token = token_encode(&a, str_n(key, n));
        for (size_t i = 0; i < token.n; i++)
            assert_null(memchr("+/= &%", token.p[i], 6));
        assert_true(token_decode(&a, token, &out));
        assert_true(str_eq(out, str_n(key, n)));
    }
    arena_release(&a);
}

static void tokens_never_change_their_form(void **state)
{
    struct arena a = ARENA_INIT;

    (void)state;
    assert_true(str_eq(token_encode(&a, STR("a/b~?")), STR("ASXHE59hL2J-Pw")));
    arena_release(&a);
}

static void garbage_is_no_token(void **state)
{
    struct arena a = ARENA_INIT;
    struct str out, token = token_encode(&a, STR("photos/2024/"));
    char *spoiled = (char *)arena_str(&a, token).p;

    (void)state;
    assert_false(token_decode(&a, STR(""), &out));
    assert_false(token_decode(&a, STR("photos/2024/"), &out));
    assert_false(token_decode(&a, STR("AQ"), &out));
    assert_false(token_decode(&a, str_n(token.p, token.n - 1), &out));
    for (size_t i = 0; i < token.n; i++) {
        char was = spoiled[i];
        spoiled[i] = was == 'A' ? 'B' : 'A';
        assert_false(token_decode(&a, str_n(spoiled, token.n), &out));
        spoiled[i] = was;
    }
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_gives_its_name_back),
        cmocka_unit_test(tokens_never_change_their_form),
        cmocka_unit_test(garbage_is_no_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
