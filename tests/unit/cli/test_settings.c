#include "unit.h"

#include <stdlib.h>

#include "cli/settings.h"

static char why[SETTINGS_WHY_MAX];

static enum err check(int argc, char **argv)
{
    struct settings s;
    enum err e;

    why[0] = 0;
    if ((e = settings_load(&s, argc, argv, why)) != ERR_OK)
        return e;
    e = settings_check_serve(&s, why);
    settings_free(&s);
    return e;
}

#define CHECK(...) check(sizeof((char *[]){__VA_ARGS__}) / sizeof(char *), (char *[]){__VA_ARGS__})

static void refused(enum err e, const char *text)
{
    assert_int_not_equal(e, ERR_OK);
    if (!strstr(why, text))
        fail_msg("\"%s\" does not say \"%s\"", why, text);
}

/* The table repeats what the headers of the layers below say; both must say the same. */
static void defaults_are_those_of_the_layers_below(void **state)
{
    static const struct http_limits limits = HTTP_LIMITS_DEFAULT;
    static const struct local_conf store = LOCAL_CONF_DEFAULT;
    struct settings s;

    (void)state;
    assert_int_equal(settings_load(&s, 0, NULL, why), ERR_OK);
    assert_memory_equal(&s.limits, &limits, sizeof(limits));
    assert_int_equal(s.store.durability, store.durability);
    assert_int_equal(s.store.inline_max, store.inline_max);
    assert_in_range(s.store.cache_bytes, store.cache_bytes, UINT64_C(4) << 30); /* by the machine */
    assert_int_equal(s.store.index_cache_bytes, store.index_cache_bytes);
    assert_int_equal(s.store.open_files_max, store.open_files_max);
    assert_int_equal(s.store.full_percent, store.full_percent);
    assert_int_equal(s.store.high_percent, store.high_percent);
    assert_int_equal(s.store.orphan_grace_s, store.orphan_grace_s);
    assert_int_equal(s.store.verify_reads, store.verify_reads);
    assert_int_not_equal(s.threads, 0);
    assert_int_not_equal(s.cpu_threads, 0);
    settings_free(&s);
}

static void a_server_needs_data_and_an_address(void **state)
{
    (void)state;
    refused(check(0, NULL), "--data DIR");
    assert_int_equal(CHECK("--data", "/x"), ERR_OK);
    refused(CHECK("--data", "/x", "--listen", ""), "nothing to serve on");
}

static void tls_files_come_in_pairs(void **state)
{
    (void)state;
    refused(CHECK("--data", "/x", "--tls-cert", "c"), "tls.key is missing");
    refused(CHECK("--data", "/x", "--tls-key", "k"), "tls.cert is missing");
    refused(CHECK("--data", "/x", "--tls-listen", ":1"), "needs tls.cert");
    assert_int_equal(CHECK("--data", "/x", "--listen=", "--tls-listen", ":1", "--tls-cert=c", "--tls-key=k"), ERR_OK);
}

static void an_open_server_stays_on_loopback(void **state)
{
    static char *const closed[] = {":9000",          "0.0.0.0:9000",          "[::]:9000", "10.0.0.1:1", "128.0.0.1:1",
                                   "example.org:80", "localhost.evil.org:80", "9000"};
    static char *const fine[] = {"127.0.0.1:9000", "127.9.9.9:1", "[::1]:9000", "localhost:9000"};

    (void)state;
    for (size_t i = 0; i < sizeof(closed) / sizeof(*closed); i++) {
        refused(CHECK("--data", "/x", "--auth", "none", "--listen", closed[i]), "only for loopback addresses");
        assert_int_equal(CHECK("--data", "/x", "--listen", closed[i]), ERR_OK);
    }
    for (size_t i = 0; i < sizeof(fine) / sizeof(*fine); i++)
        assert_int_equal(CHECK("--data", "/x", "--auth=none", "--listen", fine[i]), ERR_OK);
    refused(CHECK("--data", "/x", "--auth=none", "--tls-listen=:1", "--tls-cert=c", "--tls-key=k"),
            "only for loopback");
}

static void keys_come_in_pairs(void **state)
{
    char large[200];

    (void)state;
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = 0;
    refused(CHECK("--data=/x", "--access-key=a"), "secret_key is missing");
    refused(CHECK("--data=/x", "--secret-key=hunter2"), "access_key is missing");
    assert_null(strstr(why, "hunter2"));
    refused(CHECK("--data=/x", "--access-key=a", "--secret-key", large), "shorter than");
    assert_int_equal(CHECK("--data=/x", "--access-key=a", "--secret-key=b"), ERR_OK);
}

static void names_beginning_with_127_are_not_loopback(void **state)
{
    (void)state;
    refused(CHECK("--data=/x", "--auth=none", "--listen=127.evil.org:9000"), "only for loopback");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_layers_below),
        cmocka_unit_test(a_server_needs_data_and_an_address),
        cmocka_unit_test(tls_files_come_in_pairs),
        cmocka_unit_test(an_open_server_stays_on_loopback),
        cmocka_unit_test(names_beginning_with_127_are_not_loopback),
        cmocka_unit_test(keys_come_in_pairs),
    };

    unsetenv("SLUICE_CONFIG");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
