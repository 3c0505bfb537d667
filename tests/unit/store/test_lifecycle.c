#include "unit.h"

#include "store/lifecycle.h"

#define DAY 86400

static struct arena arena;
static char why[LIFECYCLE_WHY_MAX];

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static enum err read_rules(const char *rules, struct lifecycle **l)
{
    struct str text = arena_printf(&arena, "<LifecycleConfiguration>%s</LifecycleConfiguration>", rules);
    struct xml_doc doc;

    why[0] = 0;
    assert_int_equal(xml_read(text, &doc), ERR_OK);
    enum err e = lifecycle_read(&arena, &doc, l, why);
    xml_doc_release(&doc);
    return e;
}

static struct lifecycle *rules_of(const char *rules)
{
    struct lifecycle *l;

    assert_int_equal(read_rules(rules, &l), ERR_OK);
    return l;
}

static int64_t ends(const struct lifecycle *l, const char *key, uint64_t size, int64_t mtime_s, const char *tags)
{
    const struct lifecycle_object o = {str_z(key), size, mtime_s, str_z(tags), true};

    return lifecycle_ends(l, &o, DAY, NULL);
}

#define RULE(filter, action) "<Rule>" filter "<Status>Enabled</Status>" action "</Rule>"
#define AFTER(n)             "<Expiration><Days>" #n "</Days></Expiration>"

static void days_end_at_midnight(void **state)
{
    struct lifecycle *l = rules_of(RULE("<Filter/>", AFTER(3)));

    (void)state;
    assert_int_equal(ends(l, "k", 1, 10 * DAY, ""), 13 * DAY);
    assert_int_equal(ends(l, "k", 1, 10 * DAY + 1, ""), 14 * DAY);
    assert_int_equal(ends(l, "k", 1, 11 * DAY - 1, ""), 14 * DAY);
}

static void the_first_to_end_counts(void **state)
{
    struct lifecycle *l = rules_of("<Rule><ID>long</ID><Prefix></Prefix><Status>Enabled</Status>" AFTER(
        30) "</Rule>"
            "<Rule><ID>short</ID><Prefix>tmp/</Prefix><Status>Enabled</Status>" AFTER(
                2) "</Rule>"
                   "<Rule><ID>off</ID><Prefix>tmp/</Prefix><Status>Disabled</Status>" AFTER(1) "</Rule>");
    const struct lifecycle_rule *rule = NULL;
    const struct lifecycle_object o = {STR("tmp/x"), 1, 0, STR(""), true};

    (void)state;
    assert_int_equal(lifecycle_ends(l, &o, DAY, &rule), 2 * DAY);
    assert_true(str_eq(rule->id, STR("short")));
    assert_int_equal(ends(l, "tmp", 1, 0, ""), 30 * DAY);
}

static void filters_fit(void **state)
{
    struct lifecycle *l =
        rules_of(RULE("<Filter><And><Prefix>a/</Prefix><Tag><Key>k</Key><Value>v w</Value></Tag>"
                      "<ObjectSizeGreaterThan>10</ObjectSizeGreaterThan><ObjectSizeLessThan>20</ObjectSizeLessThan>"
                      "</And></Filter>",
                      AFTER(1)));
    struct lifecycle_object unknown = {STR("a/x"), 15, 0, STR(""), false};

    (void)state;
    assert_int_equal(ends(l, "a/x", 15, 0, "z=1&k=v%20w"), DAY);
    assert_true(ends(l, "b/x", 15, 0, "k=v%20w") == LIFECYCLE_NEVER);
    assert_true(ends(l, "a/x", 10, 0, "k=v%20w") == LIFECYCLE_NEVER);
    assert_true(ends(l, "a/x", 20, 0, "k=v%20w") == LIFECYCLE_NEVER);
    assert_true(ends(l, "a/x", 15, 0, "k=v") == LIFECYCLE_NEVER);
    assert_true(ends(l, "a/x", 15, 0, "") == LIFECYCLE_NEVER);
    assert_int_equal(lifecycle_ends(l, &unknown, DAY, NULL), DAY);
    l = rules_of(RULE("<Filter><ObjectSizeGreaterThan>0</ObjectSizeGreaterThan></Filter>", AFTER(1)));
    assert_true(ends(l, "k", 0, 0, "") == LIFECYCLE_NEVER);
    assert_int_equal(ends(l, "k", 1, 0, ""), DAY);
}

static void dates_are_midnights(void **state)
{
    struct lifecycle *l;

    (void)state;
    l = rules_of(RULE("<Filter/>", "<Expiration><Date>2020-02-01T00:00:00.000Z</Date></Expiration>"));
    assert_int_equal(ends(l, "k", 1, 0, ""), 1580515200);
    l = rules_of(RULE("<Filter/>", "<Expiration><Date>2020-02-01</Date></Expiration>"));
    assert_int_equal(ends(l, "k", 1, 0, ""), 1580515200);
    assert_int_equal(read_rules(RULE("<Filter/>", "<Expiration><Date>2020-02-01T01:00:00Z</Date></Expiration>"), &l),
                     ERR_INVALID_ARGUMENT);
}

static void uploads_are_given_up(void **state)
{
    struct lifecycle *l =
        rules_of(RULE("<Filter><Prefix>u/</Prefix></Filter>", "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</"
                                                              "DaysAfterInitiation></AbortIncompleteMultipartUpload>"));

    (void)state;
    assert_int_equal(lifecycle_upload_ends(l, STR("u/x"), DAY, DAY), 8 * DAY);
    assert_true(lifecycle_upload_ends(l, STR("x"), DAY, DAY) == LIFECYCLE_NEVER);
    assert_true(ends(l, "u/x", 1, 0, "") == LIFECYCLE_NEVER);
}

static void what_is_wrong_is_refused(void **state)
{
    static const struct {
        const char *rules;
        enum err err;
    } bad[] = {
        {"", ERR_MALFORMED_XML},
        {"<Other/>", ERR_MALFORMED_XML},
        {"<Rule><Filter/>" AFTER(1) "</Rule>", ERR_MALFORMED_XML},
        {"<Rule><Filter/><Status>enabled</Status>" AFTER(1) "</Rule>", ERR_MALFORMED_XML},
        {RULE("", AFTER(1)), ERR_MALFORMED_XML},
        {RULE("<Filter/><Prefix/>", AFTER(1)), ERR_MALFORMED_XML},
        {RULE("<Filter/>", ""), ERR_INVALID_REQUEST},
        {RULE("<Filter/>", AFTER(0)), ERR_INVALID_ARGUMENT},
        {RULE("<Filter/>", AFTER(-1)), ERR_INVALID_ARGUMENT},
        {RULE("<Filter/>", "<Expiration/>"), ERR_MALFORMED_XML},
        {RULE("<Filter/>", "<Expiration><Days>1</Days><Date>2020-01-01</Date></Expiration>"), ERR_MALFORMED_XML},
        {RULE("<Filter/>", AFTER(1) AFTER(2)), ERR_MALFORMED_XML},
        {RULE("<Filter/>", "<Expiration><ExpiredObjectDeleteMarker>maybe</ExpiredObjectDeleteMarker></Expiration>"),
         ERR_MALFORMED_XML},
        {RULE("<Filter><Tag><Key>k</Key><Value/></Tag></Filter>",
              "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"),
         ERR_INVALID_REQUEST},
        {RULE("<Filter/>", "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"),
         ERR_NOT_IMPLEMENTED},
        {RULE("<Filter/>", "<NoncurrentVersionExpiration/>"), ERR_MALFORMED_XML},
        {RULE("<Filter/>",
              "<NoncurrentVersionExpiration><NoncurrentDays>0</NoncurrentDays></NoncurrentVersionExpiration>"),
         ERR_INVALID_ARGUMENT},
        {RULE("<Filter/>", "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>101"
                           "</NewerNoncurrentVersions></NoncurrentVersionExpiration>"),
         ERR_INVALID_ARGUMENT},
        {RULE("<Filter/>", "<NoncurrentVersionTransition><NoncurrentDays>1</NoncurrentDays><StorageClass>GLACIER"
                           "</StorageClass></NoncurrentVersionTransition>"),
         ERR_NOT_IMPLEMENTED},
        {RULE("<Filter/>", "<What/>"), ERR_MALFORMED_XML},
        {RULE("<Filter><Prefix>a</Prefix><Tag><Key>k</Key><Value/></Tag></Filter>", AFTER(1)), ERR_MALFORMED_XML},
        {RULE("<Filter><And><Prefix>a</Prefix></And></Filter>", AFTER(1)), ERR_MALFORMED_XML},
        {RULE("<Filter><Tag><Key></Key><Value/></Tag></Filter>", AFTER(1)), ERR_MALFORMED_XML},
        {RULE("<Filter><And><Tag><Key>k</Key><Value>1</Value></Tag><Tag><Key>k</Key><Value>2</Value></Tag></And></"
              "Filter>",
              AFTER(1)),
         ERR_INVALID_REQUEST},
        {RULE("<Filter><And><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>5</"
              "ObjectSizeLessThan></And></Filter>",
              AFTER(1)),
         ERR_INVALID_REQUEST},
        {RULE("<Filter><Tag><Key>k</Key><Value/></Tag></Filter>",
              "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></"
              "AbortIncompleteMultipartUpload>"),
         ERR_INVALID_REQUEST},
        {RULE("<ID>a</ID><Filter/>", AFTER(1)) RULE("<ID>a</ID><Filter/>", AFTER(1)), ERR_INVALID_ARGUMENT},
    };
    struct lifecycle *l;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (read_rules(bad[i].rules, &l) != bad[i].err)
            fail_msg("%s: %s", bad[i].rules, why);
}

#define T(f) cmocka_unit_test_teardown(f, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(days_end_at_midnight), T(the_first_to_end_counts), T(filters_fit),
        T(dates_are_midnights),  T(uploads_are_given_up),    T(what_is_wrong_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
