#include "unit.h"

#include "iam/glob.h"

static struct arena arena;
static char why[256];

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static struct str compiled(const char *pattern)
{
    struct glob g;

    assert_int_equal(glob_read(&arena, str_z(pattern), GLOB_STARS, &g, why), ERR_OK);
    return g.pattern;
}

static bool fits(const char *pattern, const char *text)
{
    return glob_match(compiled(pattern), str_z(text));
}

static void stars_and_questions(void **state)
{
    (void)state;
    assert_true(fits("", ""));
    assert_false(fits("", "a"));
    assert_true(fits("*", ""));
    assert_true(fits("*", "a/b"));
    assert_true(fits("a*", "a"));
    assert_false(fits("a*", "ba"));
    assert_true(fits("a*b*c", "a--b--b--c"));
    assert_false(fits("a*b*c", "ac"));
    assert_false(fits("ab*bc", "abc"));
    assert_true(fits("a**b", "ab"));
    assert_true(fits("*.jpg", "x/y.jpg"));
    assert_false(fits("*.jpg", "jpg"));
    assert_true(fits("a?c", "abc"));
    assert_false(fits("a?c", "ac"));
    assert_true(fits("*b?d*", "aabxbcd"));
    assert_true(fits("?*?", "ab"));
    assert_false(fits("?*?", "a"));
    assert_true(fits("a?c", "a\xc3\xa9"
                            "c")); /* one character, not one byte */
    assert_true(fits("*?", "\xe2\x82\xac"));
    assert_false(fits("A", "a"));
}

/* The definition, in exponential time. */
static bool defined(struct str p, struct str t)
{
    if (p.n == 0)
        return t.n == 0;
    if ((unsigned char)p.p[0] == GLOB_ANY)
        return defined(str_skip(p, 1), t) || (t.n && defined(p, str_skip(t, 1)));
    return t.n && ((unsigned char)p.p[0] == GLOB_ONE || p.p[0] == t.p[0]) && defined(str_skip(p, 1), str_skip(t, 1));
}

static void agrees_with_the_definition(void **state)
{
    uint32_t seed = 1;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        char pattern[8] = "", text[8] = "";
        for (unsigned i = 0; i < 7; i++) {
            seed = seed * 1664525 + 1013904223;
            pattern[i] = "ab*?*\0"[(seed >> 16) % 6];
            text[i] = "abb\0"[(seed >> 20) % 4];
        }
        struct str p = compiled(pattern), t = str_z(text);
        assert_int_equal(glob_match(p, t), defined(p, t));
        arena_release(&arena);
    }
}

static void variables_are_kept_apart(void **state)
{
    struct glob g;

    (void)state;
    assert_int_equal(glob_read(&arena, STR("a/${aws:UserName}/${*}${$}*"), GLOB_STARS | GLOB_VARIABLES, &g, why),
                     ERR_OK);
    assert_int_equal(g.variable_count, 1);
    assert_true(str_eq(g.variables[0].key, STR("aws:username")));
    assert_false(g.variables[0].fallback.p);
    assert_int_equal(glob_read(&arena, STR("${s3:prefix, 'no, none'}"), GLOB_VARIABLES, &g, why), ERR_OK);
    assert_true(str_eq(g.variables[0].fallback, STR("no, none")));
    assert_int_equal(glob_read(&arena, STR("${aws:username"), GLOB_VARIABLES, &g, why), ERR_SYNTAX);
    assert_int_equal(glob_read(&arena, STR("${}"), GLOB_VARIABLES, &g, why), ERR_SYNTAX);
    assert_int_equal(glob_read(&arena, STR("${a:b,c}"), GLOB_VARIABLES, &g, why), ERR_SYNTAX);
    assert_int_equal(glob_read(&arena, STR("${a:b"), GLOB_STARS, &g, why), ERR_OK); /* of 2008: a text */
    assert_true(glob_match(g.pattern, STR("${a:b")));
}

static void sizes_are_bounded(void **state)
{
    char text[GLOB_MAX + 1];
    struct glob g;

    (void)state;
    memset(text, 'a', sizeof(text));
    assert_int_equal(glob_read(&arena, str_n(text, GLOB_MAX), GLOB_STARS, &g, why), ERR_OK);
    assert_int_equal(glob_read(&arena, str_n(text, GLOB_MAX + 1), GLOB_STARS, &g, why), ERR_SYNTAX);
    text[0] = text[GLOB_MIXED_MAX + 2] = '*';
    text[1] = '?';
    assert_int_equal(glob_read(&arena, str_n(text, 200), GLOB_STARS, &g, why), ERR_SYNTAX);
    text[GLOB_MIXED_MAX + 1] = '*';
    assert_int_equal(glob_read(&arena, str_n(text, 200), GLOB_STARS, &g, why), ERR_OK);
}

static void what_a_pattern_reaches(void **state)
{
    static const struct {
        const char *pattern;
        bool reaches;
    } cases[] = {
        {"arn:aws:s3:::b", true},    {"arn:aws:s3:::b/*", true}, {"arn:aws:s3:::b*", true}, {"*", true},
        {"arn:aws:s3:::*/x", true},  {"arn:aws:s3:::?", true},   {"arn:aws:s3:::c", false}, {"arn:aws:s3:::bb", false},
        {"arn:aws:s3:::c/b", false}, {"arn:aws:s3:::", false},   {"arn:aws:s3:::??", true}, {"arn:aws:s3:::c?", false}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (glob_reaches(compiled(cases[i].pattern), STR("arn:aws:s3:::b")) != cases[i].reaches)
            fail_msg("%s", cases[i].pattern);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(stars_and_questions, teardown),
        cmocka_unit_test_teardown(agrees_with_the_definition, teardown),
        cmocka_unit_test_teardown(variables_are_kept_apart, teardown),
        cmocka_unit_test_teardown(sizes_are_bounded, teardown),
        cmocka_unit_test_teardown(what_a_pattern_reaches, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
