#include "unit.h"

#include "s3api/acl.h"

#define ID "abababababababababababababababababababababababababababababababab"
static struct arena arena;
static const struct iam_principal nobody = {.kind = IAM_ANONYMOUS};
static const struct iam_principal user = {.kind = IAM_USER, .canonical_id = {ID, 64}};

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static bool allows(const char *text, const struct iam_principal *who, const char *action, bool on_object, bool ignore)
{
    struct acl acl;

    assert_true(acl_parse(&arena, str_z(text), &acl));
    return acl_allows(&acl, who, str_z(action), on_object, ignore);
}

static void grants_allow_their_actions(void **state)
{
    (void)state;
    assert_true(allows("read=*", &nobody, "s3:GetObject", true, false));
    assert_true(allows("read=*", &user, "s3:GetObjectVersion", true, false));
    assert_false(allows("read=*", &nobody, "s3:GetObject", false, false)); /* a bucket's list says nothing of objects */
    assert_false(allows("read=*", &nobody, "s3:ListBucket", true, false));
    assert_true(allows("read=*", &nobody, "s3:ListBucket", false, false));
    assert_true(allows("write=*", &nobody, "s3:PutObject", false, false));
    assert_false(allows("write=*", &nobody, "s3:PutObject", true, false)); /* nor an object's of writing */
    assert_false(allows("write=*", &nobody, "s3:GetObject", true, false));
    assert_true(allows("full=*", &nobody, "s3:PutObjectAcl", true, false));
    assert_false(allows("full=*", &nobody, "s3:DeleteBucket", false, false));
    assert_false(allows("full=*", &nobody, "s3:GetObjectTagging", true, false));
}

static void grantees(void **state)
{
    (void)state;
    assert_false(allows("read=+", &nobody, "s3:GetObject", true, false));
    assert_true(allows("read=+", &user, "s3:GetObject", true, false));
    assert_true(allows("read=" ID, &user, "s3:GetObject", true, true));
    assert_false(allows("read=" ID, &nobody, "s3:GetObject", true, false));
    assert_false(allows("read=*;read=+", &user, "s3:GetObject", true, true));
    assert_true(allows("write=*;read=+;read-acp=" ID, &user, "s3:GetObjectAcl", true, false));
}

static void what_is_no_list_is_refused(void **state)
{
    static const char *const bad[] = {"",        ";",       "read",         "read=",     "read=x",       "own=*",
                                      "read=**", "read=*;", "=*",           "read=*;;*", "read=" ID "0", "READ=*",
                                      "read =*", "read=* ", "full=" ID "=*"};
    struct acl acl;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (acl_parse(&arena, str_z(bad[i]), &acl) && i != 7) /* a semicolon at the end changes nothing */
            fail_msg("taken: %s", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(grants_allow_their_actions, teardown),
        cmocka_unit_test_teardown(grantees, teardown),
        cmocka_unit_test_teardown(what_is_no_list_is_refused, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
