#include "s3api/name.h"

#include "unit.h"

static void bucket_names_follow_the_rules(void **state)
{
    static const char *const good[] = {
        "abc",       "a-b",       "my.bucket.name", "0123",
        "192.168.5", "1.2.3.4.5", "a--b",           "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0"};
    static const char *const bad[] = {"",
                                      "ab",
                                      "Abc",
                                      "a_b",
                                      "-ab",
                                      "ab-",
                                      ".ab",
                                      "ab.",
                                      "a..b",
                                      "a.-b",
                                      "a-.b",
                                      "192.168.5.4",
                                      "xn--abc",
                                      "sthree-x",
                                      "abc-s3alias",
                                      "abc--x-s3",
                                      "abc--ol-s3",
                                      "a b",
                                      "a/b",
                                      "abc\n",
                                      "s3",
                                      "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz01"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(name_is_bucket(str_z(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(name_is_bucket(str_z(bad[i])));
}

static void keys_are_utf8_of_1024_bytes_at_most(void **state)
{
    char longest[KEY_MAX + 1];

    (void)state;
    memset(longest, 'k', sizeof(longest));
    assert_int_equal(name_check_key(str_n(longest, KEY_MAX)), ERR_OK);
    assert_int_equal(name_check_key(str_n(longest, KEY_MAX + 1)), ERR_KEY_TOO_LONG);
    assert_int_equal(name_check_key(STR("//a/../.\n\x01")), ERR_OK);
    assert_int_equal(name_check_key(STR("\xc3\xa9")), ERR_OK);
    assert_int_equal(name_check_key(STR("\xc3")), ERR_INVALID_URI);
    assert_int_equal(name_check_key(STR("a\0b")), ERR_INVALID_ARGUMENT);
    assert_int_equal(name_check_key(STR("")), ERR_INVALID_ARGUMENT);
}

static const struct str domains[] = {{"s3.example.com", 14}, {"example.com", 11}, {"eu.s3.example.com", 17}};

static void expect(const char *path, const char *host, const char *bucket, const char *key, bool from_host)
{
    struct arena a = ARENA_INIT;
    struct target t;

    assert_int_equal(name_target(str_z(path), str_z(host), domains, 3, &a, &t), ERR_OK);
    assert_true(str_eq(t.bucket, str_z(bucket)));
    assert_true(str_eq(t.key, str_z(key)));
    assert_int_equal(t.from_host, from_host);
    arena_release(&a);
}

static void path_style_targets(void **state)
{
    (void)state;
    expect("/", "127.0.0.1:9000", "", "", false);
    expect("/b", "127.0.0.1:9000", "b", "", false);
    expect("/b/", "127.0.0.1:9000", "b", "", false);
    expect("/b//", "[::1]:9000", "b", "/", false);
    expect("/b/a%20b%2Bc+d//../.", "h", "b", "a b+c+d//../.", false);
    expect("/b/k%2F%25", "h", "b", "k/%", false);
    expect("//k", "h", "", "k", false);
}

static void s3_is_a_prefix_of_path_style_only(void **state)
{
    (void)state;
    expect("/s3", "h", "", "", false);
    expect("/s3/", "h", "", "", false);
    expect("/s3/b/k", "h", "b", "k", false);
    expect("/s3b/k", "h", "s3b", "k", false);
    expect("/b/s3/k", "h", "b", "s3/k", false);
    expect("/s3/k", "b.example.com", "b", "s3/k", true);
}

static void virtual_host_targets(void **state)
{
    (void)state;
    expect("/k/x", "Bkt.Example.COM:9000", "bkt", "k/x", true);
    expect("/", "a.b.s3.example.com", "a.b", "", true);
    expect("/k", "b.eu.s3.example.com", "b", "k", true);
    expect("/b/k", "example.com", "b", "k", false);
    expect("/b/k", ".example.com", "b", "k", false);
    expect("/b/k", "notexample.com", "b", "k", false);
}

static void broken_targets_are_refused(void **state)
{
    struct arena a = ARENA_INIT;
    struct target t;

    (void)state;
    assert_int_equal(name_target(STR("*"), STR("h"), NULL, 0, &a, &t), ERR_INVALID_URI);
    assert_int_equal(name_target(STR("/b/%2"), STR("h"), NULL, 0, &a, &t), ERR_INVALID_URI);
    assert_int_equal(name_target(STR("/%zz/k"), STR("h"), NULL, 0, &a, &t), ERR_INVALID_URI);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bucket_names_follow_the_rules),
        cmocka_unit_test(keys_are_utf8_of_1024_bytes_at_most),
        cmocka_unit_test(path_style_targets),
        cmocka_unit_test(s3_is_a_prefix_of_path_style_only),
        cmocka_unit_test(virtual_host_targets),
        cmocka_unit_test(broken_targets_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
