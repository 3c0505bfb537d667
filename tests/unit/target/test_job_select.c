#include "unit.h"

#include "base/json.h"
#include "jobs_kit.h"
#include "store/job_names.h"
#include "target/job_select.h"

static struct job job;

static struct doc *read(const char *text)
{
    char why[DOC_WHY_MAX];
    struct doc *root;

    assert_int_equal(js_read(&kit.arena, str_z(text), &root, why), ERR_OK);
    return root;
}

/* What a selection gives, from `at` on, at most `max` names; where it is then goes to `at`. */
static const char *names_of(const char *spec, char at[JOB_SELECT_AT_MAX], unsigned max)
{
    struct buf all = BUF_INIT(1 << 20);
    struct job_select s = {0};
    struct doc *root = read(spec);
    char why[256] = "";
    struct str name;
    bool end = false;

    assert_int_equal(job_select_check(root, why), ERR_OK);
    job = (struct job){.env = &kit.env, .id = STR("test")};
    job_select_open(&s, &job, root, 0, kit_call());
    assert_int_equal(kit_wait(), ERR_OK);
    job_select_resume(&s, str_z(at));
    for (unsigned i = 0; i < max; i++) {
        job_select_next(&s, &name, &end, kit_call());
        assert_int_equal(kit_wait(), ERR_OK);
        if (end)
            break;
        if (all.n)
            buf_add_char(&all, ' ');
        buf_add_str(&all, name);
    }
    job_select_at(&s, at);
    job_select_close(&s);
    struct str text = arena_str(&kit.arena, buf_str(&all));
    buf_release(&all);
    return text.p;
}

static const char *all_of(const char *spec)
{
    char at[JOB_SELECT_AT_MAX] = "";

    return names_of(spec, at, 10000);
}

static void a_list_gives_its_names_in_order(void **state)
{
    (void)state;
    kit_bucket("b");
    assert_string_equal(all_of("{\"bucket\":\"b\",\"names\":[\"z\",\"a/b\",\"m\"]}"), "z a/b m");
}

static void a_template_gives_what_it_means(void **state)
{
    (void)state;
    kit_bucket("b");
    assert_string_equal(all_of("{\"bucket\":\"b\",\"template\":\"s-{08..10}.tar\"}"), "s-08.tar s-09.tar s-10.tar");
}

static void a_prefix_lists_what_is_there(void **state)
{
    struct bucket b = kit_bucket("b");
    char key[32];

    (void)state;
    for (int i = 0; i < 1500; i++) { /* more than a page */
        snprintf(key, sizeof(key), "p/%04d", i);
        kit_put(b.id, str_z(key), STR("x"));
    }
    kit_put(b.id, STR("q"), STR("x"));
    assert_int_equal(strlen(all_of("{\"bucket\":\"b\",\"prefix\":\"p/\"}")), 1500 * 7 - 1);
    assert_string_equal(all_of("{\"bucket\":\"b\",\"prefix\":\"p/149\"}"),
                        "p/1490 p/1491 p/1492 p/1493 p/1494 p/1495 p/1496 p/1497 p/1498 p/1499");
    assert_string_equal(all_of("{\"bucket\":\"b\",\"prefix\":\"none\"}"), "");
    assert_string_equal(all_of("{\"bucket\":\"b\",\"template\":\"q\"}"), "q");
    assert_int_equal(strlen(all_of("{\"bucket\":\"b\",\"template\":\"*\"}")), 1500 * 7 + 1);
    assert_int_equal(strlen(all_of("{\"bucket\":\"b\",\"template\":\"\"}")), 1500 * 7 + 1);
}

static struct bucket system_of(void)
{
    struct system_bucket_res res = {0};

    system_bucket(kit.buckets, &kit.arena, &res, kit_call());
    assert_int_equal(kit_wait(), ERR_OK);
    return res.bucket;
}

static void a_long_list_is_read_from_the_system_bucket(void **state)
{
    struct bucket system = system_of();
    struct buf text = BUF_INIT(1000);

    (void)state;
    kit_bucket("b");
    job_names_add(&text, STR("a"));
    job_names_add(&text, STR("100%\n"));
    job_names_add(&text, STR("c/d"));
    kit_put(system.id, STR("jobs/x/names"), buf_str(&text));
    buf_release(&text);
    assert_string_equal(all_of("{\"bucket\":\"b\",\"names_in\":\"jobs/x/names\"}"), "a 100%\n c/d");
    kit_put(system.id, STR("jobs/y/names"), STR("no newline\r\n\nat end"));
    assert_string_equal(all_of("{\"bucket\":\"b\",\"names_in\":\"jobs/y/names\"}"), "no newline at end");
}

static void it_goes_on_where_it_was(void **state)
{
    static const char *const specs[] = {
        "{\"bucket\":\"b\",\"names\":[\"k0\",\"k1\",\"k2\",\"k3\"]}", "{\"bucket\":\"b\",\"template\":\"k{0..3}\"}",
        "{\"bucket\":\"b\",\"names_in\":\"jobs/x/names\"}", "{\"bucket\":\"b\",\"prefix\":\"k\"}"};
    struct bucket b = kit_bucket("b");

    (void)state;
    kit_put(system_of().id, STR("jobs/x/names"), STR("k0\nk1\nk2\nk3\n"));
    for (char key[] = "k0"; key[1] < '4'; key[1]++)
        kit_put(b.id, str_z(key), STR("x"));
    for (size_t i = 0; i < sizeof(specs) / sizeof(*specs); i++) {
        char at[JOB_SELECT_AT_MAX] = "";
        assert_string_equal(names_of(specs[i], at, 3), "k0 k1 k2");
        assert_string_equal(names_of(specs[i], at, 9), "k3");
        memcpy(at, "rubbish", 8);
        assert_string_equal(names_of(specs[i], at, 9), "k0 k1 k2 k3");
    }
}

static void a_missing_bucket_or_list_is_an_error(void **state)
{
    struct job_select s = {0};

    (void)state;
    job = (struct job){.env = &kit.env, .id = STR("test")};
    job_select_open(&s, &job, read("{\"bucket\":\"b\",\"prefix\":\"\"}"), 0, kit_call());
    assert_int_equal(kit_wait(), ERR_NO_SUCH_BUCKET);
    job_select_close(&s);
    kit_bucket("b");
    system_of();
    s = (struct job_select){0};
    job_select_open(&s, &job, read("{\"bucket\":\"b\",\"names_in\":\"jobs/x/names\"}"), 0, kit_call());
    assert_int_equal(kit_wait(), ERR_NO_SUCH_KEY);
    job_select_close(&s);
}

static void what_is_no_selection_is_refused_with_a_sentence(void **state)
{
    static const char *const specs[] = {"{}",
                                        "{\"bucket\":\"b\"}",
                                        "{\"bucket\":\"\",\"prefix\":\"\"}",
                                        "{\"bucket\":\".sluice\",\"prefix\":\"\"}",
                                        "{\"bucket\":[],\"prefix\":\"\"}",
                                        "{\"bucket\":\"b\",\"prefix\":\"\",\"names\":[\"a\"]}",
                                        "{\"bucket\":\"b\",\"names\":[]}",
                                        "{\"bucket\":\"b\",\"names\":[\"\"]}",
                                        "{\"bucket\":\"b\",\"names\":[{}]}",
                                        "{\"bucket\":\"b\",\"names\":\"a\"}",
                                        "{\"bucket\":\"b\",\"template\":\"{\"}",
                                        "{\"bucket\":\"b\",\"template\":\"%06d\"}",
                                        "{\"bucket\":\"b\",\"template\":{}}",
                                        "{\"bucket\":\"b\",\"names_in\":\"index/x\"}"};

    (void)state;
    for (size_t i = 0; i < sizeof(specs) / sizeof(*specs); i++) {
        char why[256] = "";
        assert_int_equal(job_select_check(read(specs[i]), why), ERR_INVALID_ARGUMENT);
        assert_true(why[0]);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_open, kit_close)
    const struct CMUnitTest tests[] = {
        TEST(a_list_gives_its_names_in_order),
        TEST(a_template_gives_what_it_means),
        TEST(a_prefix_lists_what_is_there),
        TEST(a_long_list_is_read_from_the_system_bucket),
        TEST(it_goes_on_where_it_was),
        TEST(a_missing_bucket_or_list_is_an_error),
        TEST(what_is_no_selection_is_refused_with_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
