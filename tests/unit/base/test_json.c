#include "unit.h"

#include "base/json.h"

static struct arena arena;

static struct doc *read_ok(struct str text)
{
    struct doc *d = NULL;
    char why[DOC_WHY_MAX] = "";

    if (js_read(&arena, text, &d, why) != ERR_OK)
        fail_msg("%s", why);
    return d;
}

static void refused(struct str text)
{
    struct doc *d = NULL;
    char why[DOC_WHY_MAX] = "";

    assert_int_equal(js_read(&arena, text, &d, why), ERR_SYNTAX);
    assert_null(d);
    assert_true(why[0]);
}

static bool text_is(const struct doc *d, struct str text, bool quoted)
{
    return d && d->kind == DOC_SCALAR && str_eq(d->text, text) && d->quoted == quoted;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static void values_become_a_tree(void **state)
{
    const struct doc *d = read_ok(STR(
        "{\"a\": 1, \"b\": \"1\", \"c\": [true, null, -2.5, \"\\ud83d\\ude00\"], \"d\": {}, \"e\": \"x\\u0000y\"}"));

    (void)state;
    assert_int_equal(d->kind, DOC_MAP);
    assert_int_equal(d->count, 5);
    assert_true(text_is(doc_get(d, STR("a")), STR("1"), false));
    assert_true(text_is(doc_get(d, STR("b")), STR("1"), true));
    const struct doc *c = doc_get(d, STR("c"));
    assert_int_equal(c->kind, DOC_LIST);
    assert_int_equal(c->count, 4);
    assert_true(text_is(c->first, STR("true"), false));
    assert_true(text_is(c->first->next, STR(""), false));
    assert_true(text_is(c->first->next->next, STR("-2.5"), false));
    assert_true(text_is(c->first->next->next->next, STR("\xf0\x9f\x98\x80"), true));
    assert_int_equal(doc_get(d, STR("d"))->count, 0);
    assert_true(text_is(doc_get(d, STR("e")), STR("x\0y"), true));
    assert_true(text_is(read_ok(STR("\"alone\"")), STR("alone"), true));
}

static void what_is_no_json_is_refused(void **state)
{
    (void)state;
    refused(STR(""));
    refused(STR("{"));
    refused(STR("{\"a\":1,}"));
    refused(STR("{'a':1}"));
    refused(STR("[1] 2"));
    refused(STR("\"\xff\""));
    refused(STR("{\"a\":1,\"a\":2}"));
    refused(STR("[01]"));
}

static void limits_are_kept(void **state)
{
    struct buf b = BUF_INIT(DOC_TEXT_MAX + 10);

    (void)state;
    for (int i = 0; i < DOC_DEPTH_MAX; i++)
        js_array(&b);
    for (int i = 0; i < DOC_DEPTH_MAX; i++)
        js_end_array(&b);
    read_ok(buf_str(&b));
    buf_reset(&b);
    for (int i = 0; i <= DOC_DEPTH_MAX; i++)
        js_array(&b);
    for (int i = 0; i <= DOC_DEPTH_MAX; i++)
        js_end_array(&b);
    refused(buf_str(&b));
    buf_reset(&b);
    js_array(&b);
    for (int i = 0; i < DOC_NODES_MAX; i++)
        js_u64(&b, 1);
    js_end_array(&b);
    refused(buf_str(&b));
    buf_reset(&b);
    while (b.n <= DOC_TEXT_MAX)
        buf_add_char(&b, ' ');
    refused(buf_str(&b));
    buf_release(&b);
}

static void callers_may_have_limits_of_their_own(void **state)
{
    static const struct js_bounds wide = {8, 4}, few = {8, 3}, brief = {6, 4};
    char why[DOC_WHY_MAX] = "";
    struct doc *root;

    (void)state;
    assert_int_equal(js_read_within(&arena, STR("[1,2,3]"), &wide, &root, why), ERR_OK);
    assert_int_equal(js_read_within(&arena, STR("[1,2,3]"), &few, &root, why), ERR_SYNTAX);
    assert_int_equal(js_read_within(&arena, STR("[1,2,3]"), &brief, &root, why), ERR_SYNTAX);
}

static void written_text_reads_back(void **state)
{
    struct buf b = BUF_INIT(1000);

    (void)state;
    js_object(&b);
    js_key(&b, STR("s"));
    js_str(&b, STR("a\"b\\c\n\x7f\xc3\xa9{["));
    js_key(&b, STR("bad"));
    js_str(&b, STR("\xff:"));
    js_key(&b, STR("n"));
    js_array(&b);
    js_u64(&b, UINT64_MAX);
    js_i64(&b, INT64_MIN);
    js_bool(&b, true);
    js_null(&b);
    js_object(&b);
    js_end_object(&b);
    js_array(&b);
    js_end_array(&b);
    js_end_array(&b);
    js_end_object(&b);
    assert_true(str_eq(buf_str(&b), STR("{\"s\":\"a\\\"b\\\\c\\u000a\\u007f\xc3\xa9{[\",\"bad\":\"\\ufffd:\",\"n\":["
                                        "18446744073709551615,-9223372036854775808,true,null,{},[]]}")));
    buf_release(&b);
    js_object(&b);
    js_key(&b, STR("s"));
    js_str(&b, STR("\t\"\\"));
    js_end_object(&b);
    assert_true(text_is(doc_get(read_ok(buf_str(&b)), STR("s")), STR("\t\"\\"), true));
    buf_release(&b);
}

/* Trees come from YAML, too. */
static void what_only_looks_like_a_number_is_text(void **state)
{
    struct buf b = BUF_INIT(1000);
    struct doc *d;
    char why[DOC_WHY_MAX] = "";

    (void)state;
    assert_int_equal(
        doc_parse(&arena, STR("[1, -2.5e+3, 0.5, 0, 1.2.3, 2024-01-31, 007, 1., .5, -, 1e, '1', true]"), &d, why),
        ERR_OK);
    js_doc(&b, d);
    assert_true(str_eq(buf_str(&b), STR("[1,-2.5e+3,0.5,0,\"1.2.3\",\"2024-01-31\",\"007\",\"1.\",\".5\",\"-\",\"1e\","
                                        "\"1\",true]")));
    buf_release(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(values_become_a_tree, teardown),
        cmocka_unit_test_teardown(what_is_no_json_is_refused, teardown),
        cmocka_unit_test_teardown(limits_are_kept, teardown),
        cmocka_unit_test_teardown(callers_may_have_limits_of_their_own, teardown),
        cmocka_unit_test_teardown(written_text_reads_back, teardown),
        cmocka_unit_test_teardown(what_only_looks_like_a_number_is_text, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
