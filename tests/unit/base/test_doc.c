#include "unit.h"

#include "base/doc.h"

static struct arena arena;
static char why[DOC_WHY_MAX];

static const struct doc *parse(const char *text)
{
    struct doc *root = NULL;

    why[0] = 0;
    assert_int_equal(doc_parse(&arena, str_z(text), &root, why), ERR_OK);
    return root;
}

static void fails(const char *text, const char *reason)
{
    struct doc *root = NULL;

    why[0] = 0;
    assert_int_equal(doc_parse(&arena, str_z(text), &root, why), ERR_SYNTAX);
    assert_null(root);
    if (!strstr(why, reason))
        fail_msg("\"%s\" does not say \"%s\"", why, reason);
}

static void a_tree_keeps_lines_and_order(void **state)
{
    const struct doc *root = parse("a: 1\nlist:\n  - x\n  - 'y z'\nmap:\n  k: v\n");
    const struct doc *list = doc_get(root, STR("list")), *map = doc_get(root, STR("map"));

    (void)state;
    assert_int_equal(root->kind, DOC_MAP);
    assert_int_equal(root->count, 3);
    assert_int_equal(doc_get(root, STR("a"))->line, 1);
    assert_int_equal(list->kind, DOC_LIST);
    assert_int_equal(list->line, 2);
    assert_int_equal(list->count, 2);
    assert_string_equal(list->first->text.p, "x");
    assert_false(list->first->quoted);
    assert_string_equal(list->first->next->text.p, "y z");
    assert_true(list->first->next->quoted);
    assert_int_equal(list->first->next->line, 4);
    assert_int_equal(doc_get(map, STR("k"))->line, 6);
    assert_null(doc_get(map, STR("absent")));
    assert_null(doc_get(list, STR("k")));
    assert_null(doc_get(NULL, STR("k")));
}

static void nothing_is_an_empty_map(void **state)
{
    (void)state;
    assert_int_equal(parse("")->kind, DOC_MAP);
    assert_int_equal(parse("# only a comment\n")->count, 0);
    assert_int_equal(parse("---\n")->kind, DOC_MAP);
}

static void null_is_an_empty_text_unless_quoted(void **state)
{
    const struct doc *root = parse("a:\nb: ~\nc: null\nd: '~'\n");

    (void)state;
    assert_int_equal(doc_get(root, STR("a"))->text.n, 0);
    assert_int_equal(doc_get(root, STR("b"))->text.n, 0);
    assert_int_equal(doc_get(root, STR("c"))->text.n, 0);
    assert_int_equal(doc_get(root, STR("d"))->text.n, 1);
}

static void errors_tell_the_line(void **state)
{
    (void)state;
    fails("a: 1\nb: [1\n", "line ");
    fails("a: 1\nb: 2\na: 3\n", "line 3: \"a\" is there twice");
    fails("a: &x 1\nb: *x\n", "line 2: aliases");
    fails("---\na: 1\n---\nb: 1\n", "line 3: a second document");
    fails("[1, 2]: x\n", "line 1: a key must be");
    fails("a: \x01\n", "");
}

static void limits_hold(void **state)
{
    char deep[2 * DOC_DEPTH_MAX + 8] = "";
    char *large = test_calloc(1, DOC_TEXT_MAX + 2);

    (void)state;
    for (int i = 0; i < DOC_DEPTH_MAX; i++)
        deep[i] = '[', deep[DOC_DEPTH_MAX + i] = ']';
    parse(deep);
    memset(deep, 0, sizeof(deep));
    for (int i = 0; i <= DOC_DEPTH_MAX; i++)
        deep[i] = '[', deep[DOC_DEPTH_MAX + 1 + i] = ']';
    fails(deep, "nested too deeply");
    memset(large, '#', DOC_TEXT_MAX + 1);
    fails(large, "larger than");
    for (int i = 0; i < DOC_NODES_MAX + 1; i++)
        memcpy(large + 4 * i, "- a\n", 4);
    large[4 * (DOC_NODES_MAX + 1)] = 0;
    fails(large, "too many entries");
    test_free(large);
}

static int release(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_tree_keeps_lines_and_order, release),
        cmocka_unit_test_teardown(nothing_is_an_empty_map, release),
        cmocka_unit_test_teardown(null_is_an_empty_text_unless_quoted, release),
        cmocka_unit_test_teardown(errors_tell_the_line, release),
        cmocka_unit_test_teardown(limits_hold, release),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
