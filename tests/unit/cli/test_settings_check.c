#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/settings.h"

static char why[SETTINGS_WHY_MAX];
static struct settings s;

enum { ARGS_MAX = 24 };
typedef enum err check_fn(struct settings *, char why[SETTINGS_WHY_MAX]);

/* `first` are arguments that make a role complete; `args` come behind them. */
static enum err check(check_fn *fn, char *const first[], size_t n, char *const args[], size_t more)
{
    char *argv[ARGS_MAX];
    enum err e;

    assert_true(n + more <= ARGS_MAX);
    for (size_t i = 0; i < n + more; i++)
        argv[i] = i < n ? first[i] : args[i - n];
    why[0] = 0;
    if ((e = settings_load(&s, (int)(n + more), argv, why)) != ERR_OK)
        return e;
    e = fn(&s, why);
    return e;
}

static char *const gateway[] = {"--cluster-etcd=http://a:2379", "--cluster-secret=0123456789abcdef", "--access-key=a",
                                "--secret-key=b"};
static char *const target[] = {"--cluster-etcd=http://a:2379", "--cluster-secret=0123456789abcdef", "--data=/x"};

#define COUNT(a)             (sizeof(a) / sizeof(*(a)))
#define ROLE(fn, first, ...) check(fn, first, COUNT(first), (char *[]){__VA_ARGS__}, COUNT(((char *[]){__VA_ARGS__})))
#define GATEWAY(...)         ROLE(settings_check_gateway, gateway, __VA_ARGS__)
#define TARGET(...)          ROLE(settings_check_target, target, __VA_ARGS__)

static void refused(enum err e, const char *text)
{
    settings_free(&s);
    assert_int_not_equal(e, ERR_OK);
    if (!strstr(why, text))
        fail_msg("\"%s\" does not say \"%s\"", why, text);
}

static void accepted(enum err e)
{
    settings_free(&s);
    assert_string_equal(why, "");
    assert_int_equal(e, ERR_OK);
}

static void roles_need_etcd(void **state)
{
    (void)state;
    accepted(GATEWAY("--cluster-prefix=/x/"));
    accepted(TARGET("--cluster-prefix=/x/"));
    refused(check(settings_check_gateway, NULL, 0, NULL, 0), "say where etcd is");
    refused(GATEWAY("--cluster-etcd=localhost:2379"), "is not like http://HOST:2379");
    refused(GATEWAY("--cluster-prefix=x"), "slash");
    refused(GATEWAY("--cluster-user=u"), "cluster.password is missing");
    refused(TARGET("--cluster-cert=u"), "cluster.key is missing");
    refused(TARGET("--cluster-tls-key=u"), "cluster.tls_cert is missing");
}

static void gateways_need_keys_and_no_data(void **state)
{
    (void)state;
    refused(GATEWAY("--access-key=", "--secret-key="), "the same access_key");
    refused(GATEWAY("--data=/x"), "keeps nothing");
    refused(GATEWAY("--listen="), "nothing to serve on");
    accepted(GATEWAY("--access-key=", "--secret-key=", "--auth=none"));
}

static void the_secret_has_a_length(void **state)
{
    (void)state;
    refused(TARGET("--cluster-secret="), "share a secret");
    refused(TARGET("--cluster-secret=hunter2"), "16 to 256 bytes");
    assert_null(strstr(why, "hunter2"));
    refused(TARGET("--cluster-secret-file=/x"), "not both");
    refused(TARGET("--cluster-secret=", "--cluster-secret-file=/nonexistent/x"), "/nonexistent/x");
}

static void the_secret_may_be_in_a_file(void **state)
{
    char path[] = "/tmp/sluice-secret-XXXXXX", flag[64];
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "0123456789abcdefg\n", 18), 18);
    close(fd);
    snprintf(flag, sizeof(flag), "--cluster-secret-file=%s", path);
    assert_int_equal(TARGET("--cluster-secret=", flag), ERR_OK);
    assert_true(str_eq(s.cluster_secret, STR("0123456789abcdefg")));
    settings_free(&s);
    assert_int_equal(truncate(path, 1000), 0);
    refused(TARGET("--cluster-secret=", flag), "16 to 256 bytes");
    unlink(path);
}

static void others_must_be_able_to_reach_a_target(void **state)
{
    static char *const wildcards[] = {":9100", "0.0.0.0:9100", "[::]:9100"};
    char flag[64];

    (void)state;
    for (size_t i = 0; i < COUNT(wildcards); i++) {
        snprintf(flag, sizeof(flag), "--cluster-internal-listen=%s", wildcards[i]);
        refused(TARGET(flag), "--cluster-advertise");
        accepted(TARGET(flag, "--cluster-advertise=10.0.0.1:9100"));
        snprintf(flag, sizeof(flag), "--cluster-advertise=%s", wildcards[i]);
        refused(TARGET(flag), "--cluster-advertise");
    }
    refused(TARGET("--cluster-internal-listen="), "is empty");
    refused(check(settings_check_target, target, 2, NULL, 0), "--data DIR");
}

static char *const serve[] = {"--data=/x", "--data=/y"};

static void redundancy_must_be_possible(void **state)
{
    (void)state;
    refused(GATEWAY("--redundancy=raid5"), "is not none, mirror=N");
    assert_int_equal(GATEWAY("--redundancy=ec=4+2"), ERR_OK); /* the cluster may grow */
    assert_true(s.redundancy.kind == REDUNDANCY_EC && s.redundancy.data == 4);
    settings_free(&s);
    accepted(ROLE(settings_check_serve, serve, "--redundancy=none"));
    refused(ROLE(settings_check_serve, serve, "--redundancy=replicas=2"), "this is one server");
    refused(ROLE(settings_check_serve, serve, "--redundancy=x"), "is not none");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_need_etcd),
        cmocka_unit_test(gateways_need_keys_and_no_data),
        cmocka_unit_test(the_secret_has_a_length),
        cmocka_unit_test(the_secret_may_be_in_a_file),
        cmocka_unit_test(others_must_be_able_to_reach_a_target),
        cmocka_unit_test(redundancy_must_be_possible),
    };

    unsetenv("SLUICE_CONFIG");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
