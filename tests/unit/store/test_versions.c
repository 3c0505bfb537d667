#include "store/versions.h"

#include "base/clock.h"
#include "store/hrw.h"
#include "unit.h"

static const int64_t times[] = {0,        1, 1000, INT64_C(1700000000) * NS_PER_S, INT64_C(1700000000) * NS_PER_S + 1,
                                INT64_MAX};
enum { TIMES = sizeof(times) / sizeof(times[0]) };

static void test_ids(void **state)
{
    char text[VERSION_ID_MAX];
    struct object_version v;

    (void)state;
    for (size_t i = 0; i < TIMES; i++)
        for (int k = 0; k < VERSION_KINDS; k++) {
            struct object_version is = {times[i], (enum version_kind)k};
            assert_true(version_place_parse(version_place(is, text), &v));
            assert_true(v.mtime_ns == is.mtime_ns && v.kind == is.kind);
            assert_true(version_id_parse(version_id(is, text), &v));
            assert_true(version_is_null(v.kind) == version_is_null(is.kind));
            assert_true(version_is_null(is.kind) || (v.mtime_ns == is.mtime_ns && v.kind == is.kind));
        }
    static const char *const bad[] = {"",
                                      "nul",
                                      "0000000000000000",
                                      "00000000000000004",
                                      "0000000000000000x",
                                      "g0000000000000000",
                                      "ffffffffffffffff0",
                                      "000000000000000000"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(version_place_parse(str_z(bad[i]), &v));
    assert_false(version_id_parse(STR("00000000000000001"), &v)); /* "null" ones are named so */
}

static void test_keys_sort_by_key_then_the_newest_first(void **state)
{
    static const char *const keys[] = {"a", "a\x01", "a/", "a/b", "a0", "b", "\xc3\xbc"};
    struct version_key last = {.n = 0}, k;
    struct object_version v;
    struct str base;

    (void)state;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        struct str key = str_z(keys[i]);
        version_key_prefix(&k, key);
        assert_true(str_cmp(version_key_str(&last), version_key_str(&k)) < 0);
        last = k;
        for (int t = TIMES - 1; t >= 0; t--) {
            version_key(&k, key, (struct object_version){times[t], VERSION_MARKER});
            assert_true(str_cmp(version_key_str(&last), version_key_str(&k)) < 0);
            assert_true(version_key_parse(version_key_str(&k), &base, &v));
            assert_true(str_eq(base, key) && v.mtime_ns == times[t] && v.kind == VERSION_MARKER);
            last = k;
        }
        version_key_behind(&k, key);
        assert_true(str_cmp(version_key_str(&last), version_key_str(&k)) < 0);
        last = k;
    }
    assert_false(version_key_parse(STR("a"), &base, &v));
    version_key(&k, STR("a"), (struct object_version){1, VERSION_PLAIN});
    assert_false(version_key_parse(str_n(k.b, k.n - 1), &base, &v));
    k.b[k.n - 1] = 'x';
    assert_false(version_key_parse(version_key_str(&k), &base, &v));
}

static void test_versions_are_placed_as_their_key(void **state)
{
    struct version_key k;

    (void)state;
    version_key(&k, STR("some/key"), (struct object_version){times[3], VERSION_NULL});
    assert_true(hrw_key(77 | VERSIONS_SHADOW, version_key_str(&k)) == hrw_key(77, STR("some/key")));
    assert_true(hrw_key(77, version_key_str(&k)) != hrw_key(77, STR("some/key")));
}

static void test_the_longest_key(void **state)
{
    char text[KEY_MAX];
    struct version_key k;
    struct object_version v;
    struct str base;

    (void)state;
    memset(text, 'x', sizeof(text));
    version_key(&k, str_n(text, sizeof(text)), (struct object_version){times[3], VERSION_PLAIN});
    assert_int_equal(k.n, STORE_KEY_MAX);
    assert_true(version_key_parse(version_key_str(&k), &base, &v) && base.n == KEY_MAX);
}

static void test_locks(void **state)
{
    struct attr hold[] = {{LOCK_HOLD_ATTR, STR("ON")}}, free[] = {{LOCK_HOLD_ATTR, STR("OFF")}};
    struct attr mode[] = {{LOCK_MODE_ATTR, STR("GOVERNANCE")}, {LOCK_UNTIL_ATTR, STR("2030-01-01T00:00:00Z")}};
    int64_t until = 0;

    (void)state;
    assert_true(clock_iso_parse(mode[1].value, &until));
    assert_true(version_is_locked(hold, 1, until, true));
    assert_false(version_is_locked(free, 1, until, false));
    assert_false(version_is_locked(NULL, 0, until, false));
    assert_true(version_is_locked(mode, 2, until - 1, false));
    assert_false(version_is_locked(mode, 2, until - 1, true));
    assert_false(version_is_locked(mode, 2, until, false));
    mode[0].value = STR("COMPLIANCE");
    assert_true(version_is_locked(mode, 2, until - 1, true));
    mode[1].value = STR("some day");
    assert_true(version_is_locked(mode, 2, until + 1, false)); /* what can't be read locks */
    assert_true(version_is_locked(mode, 1, until + 1, false));
}

static enum lock_change changed(const char *old, const char *old_until, const char *mode, const char *until)
{
    const struct attr from[] = {{LOCK_MODE_ATTR, str_z(old)}, {LOCK_UNTIL_ATTR, str_z(old_until)}};
    const struct attr to[] = {{LOCK_MODE_ATTR, str_z(mode)}, {LOCK_UNTIL_ATTR, str_z(until)}};
    const struct object_info a = {.attrs = from, .attr_count = old ? 2 : 0}, b = {.attrs = to, .attr_count = 2};

    return version_lock_change(&a, &b, 1900000000); /* 2030-03-17 */
}

static void a_retention_is_not_made_less(void **state)
{
    static const char gov[] = "GOVERNANCE", comp[] = "COMPLIANCE", may[] = "2030-05-01T00:00:00Z",
                      june[] = "2030-06-01T00:00:00Z";
    const struct attr hold = {LOCK_HOLD_ATTR, STR("OFF")}, locked = {LOCK_MODE_ATTR, STR("COMPLIANCE")};

    (void)state;
    assert_int_equal(changed(NULL, NULL, comp, may), LOCK_NOT_LESS);
    assert_int_equal(changed(gov, may, gov, june), LOCK_NOT_LESS);
    assert_int_equal(changed(gov, may, comp, may), LOCK_NOT_LESS);
    assert_int_equal(changed(gov, june, gov, may), LOCK_WANTS_BYPASS);
    assert_int_equal(changed(gov, june, "", ""), LOCK_WANTS_BYPASS);
    assert_int_equal(changed(comp, june, comp, may), LOCK_NEVER);
    assert_int_equal(changed(comp, may, gov, june), LOCK_NEVER);
    assert_int_equal(changed(comp, may, "", ""), LOCK_NEVER);
    assert_int_equal(changed(comp, "2030-01-01T00:00:00Z", "", ""), LOCK_NOT_LESS); /* it is over */
    assert_int_equal(changed(comp, "whenever", gov, june), LOCK_NEVER);
    assert_int_equal(version_lock_change(&(struct object_info){.attrs = &locked, .attr_count = 1},
                                         &(struct object_info){.attrs = &hold, .attr_count = 1}, 0),
                     LOCK_NOT_LESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_retention_is_not_made_less),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_keys_sort_by_key_then_the_newest_first),
        cmocka_unit_test(test_versions_are_placed_as_their_key),
        cmocka_unit_test(test_the_longest_key),
        cmocka_unit_test(test_locks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
