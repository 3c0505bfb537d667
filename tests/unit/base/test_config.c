#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "base/config.h"

enum color { RED, GREEN };
struct settings {
    struct str listen, secret;
    struct config_list data;
    bool loud;
    enum color color;
    uint32_t threads, head_max, wait_ms;
    uint64_t cache_bytes, grace_s;
};

#define F(field) CONFIG_FIELD(struct settings, field)
static const struct config_option options[] = {
    {"listen", CONFIG_TEXT, F(listen), "127.0.0.1:9000", "Where to listen."},
    {"secret_key", CONFIG_TEXT, F(secret), "", "The secret.", .secret = true},
    {"data", CONFIG_LIST, F(data), "", "Directories."},
    {"loud", CONFIG_BOOL, F(loud), "false", "Say more."},
    {"color", CONFIG_CHOICE, F(color), "green", "Color.", .choices = "red|green"},
    {"threads", CONFIG_COUNT, F(threads), "2", "Threads.", .min = 1, .max = 64},
    {"limits.head_max", CONFIG_SIZE, F(head_max), "64KiB", "Head.", .min = 1024},
    {"limits.wait", CONFIG_DURATION_MS, F(wait_ms), "10s", "Wait."},
    {"store.cache_bytes", CONFIG_SIZE, F(cache_bytes), "64MiB", "Cache."},
    {"store.grace", CONFIG_DURATION_S, F(grace_s), "1h", "Grace."},
};

static struct settings s;
static struct config *c;
static char file[64];
static char *no_env[] = {NULL};

static int begin(void **state)
{
    (void)state;
    memset(&s, 0xAA, sizeof(s));
    c = config_new(options, sizeof(options) / sizeof(*options), "SLUICE_", &s);
    return 0;
}

static int end(void **state)
{
    (void)state;
    config_free(c);
    c = NULL;
    if (file[0])
        unlink(file);
    file[0] = 0;
    return 0;
}

static void write_file(const char *text)
{
    strncpy(file, "/tmp/sluice-config-XXXXXX", sizeof(file) - 1);
    int fd = mkstemp(file);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

#define ARGS(...) (char *[]){__VA_ARGS__}, sizeof((char *[]){__VA_ARGS__}) / sizeof(char *)
static enum err load(char **argv, size_t argc, char **env)
{
    return config_load(c, (int)argc, argv, env);
}

static void says(const char *text)
{
    if (!strstr(config_why(c), text))
        fail_msg("\"%s\" does not say \"%s\"", config_why(c), text);
}

/* The file is bad: the error names it with this line and says this. */
static void file_fails(const char *content, const char *line_and_text)
{
    char *argv[] = {"--config", file};
    char expected[512];

    begin(NULL);
    write_file(content);
    assert_int_equal(config_load(c, 2, argv, no_env), ERR_SYNTAX);
    snprintf(expected, sizeof(expected), "%s%s", file, line_and_text);
    says(expected);
    end(NULL);
}

static void flag_fails(char *name, char *value, const char *text)
{
    char *argv[] = {name, value};

    begin(NULL);
    assert_int_equal(config_load(c, value ? 2 : 1, argv, no_env), ERR_SYNTAX);
    says(text);
    end(NULL);
}

static void defaults_fill_the_struct(void **state)
{
    (void)state;
    assert_int_equal(config_load(c, 0, NULL, no_env), ERR_OK);
    assert_string_equal(s.listen.p, "127.0.0.1:9000");
    assert_int_equal(s.data.count, 0);
    assert_false(s.loud);
    assert_int_equal(s.color, GREEN);
    assert_int_equal(s.head_max, 65536);
    assert_int_equal(s.wait_ms, 10000);
    assert_int_equal(s.cache_bytes, 64 << 20);
    assert_int_equal(s.grace_s, 3600);
    assert_string_equal(config_origin(c, offsetof(struct settings, grace_s)), "default");
}

static void later_sources_win(void **state)
{
    char *env[] = {"SLUICE_THREADS=5", "SLUICE_LIMITS_HEAD_MAX=2KiB", "OTHER=1", NULL};
    char expected[80];

    (void)state;
    write_file("threads: 4\nlimits:\n  head_max: 8KiB\n  wait: 1m\ncolor: red\n");
    assert_int_equal(load(ARGS("--config", file, "--threads=6", "--loud"), env), ERR_OK);
    assert_int_equal(s.threads, 6);
    assert_int_equal(s.head_max, 2048);
    assert_int_equal(s.wait_ms, 60000);
    assert_int_equal(s.color, RED);
    assert_true(s.loud);
    assert_string_equal(config_origin(c, offsetof(struct settings, threads)), "--threads");
    assert_string_equal(config_origin(c, offsetof(struct settings, head_max)), "SLUICE_LIMITS_HEAD_MAX");
    snprintf(expected, sizeof(expected), "%s:4", file);
    assert_string_equal(config_origin(c, offsetof(struct settings, wait_ms)), expected);
}

static void the_file_can_be_named_by_a_variable(void **state)
{
    char variable[80];

    (void)state;
    write_file("threads: 7\n");
    snprintf(variable, sizeof(variable), "SLUICE_CONFIG=%s", file);
    assert_int_equal(config_load(c, 0, NULL, (char *[]){variable, NULL}), ERR_OK);
    assert_int_equal(s.threads, 7);
    assert_null(config_suspect(c));
}

static void a_switch_takes_a_word_or_none(void **state)
{
    (void)state;
    write_file("threads: 7\n");
    assert_int_equal(load(ARGS("--loud", "--config", file), no_env), ERR_OK);
    assert_true(s.loud);
    assert_int_equal(load(ARGS("--loud", "false", "--config", file), no_env), ERR_OK);
    assert_false(s.loud);
    assert_int_equal(s.threads, 7);
    assert_int_equal(load(ARGS("--loud=yes"), no_env), ERR_OK);
    assert_true(s.loud);
    assert_int_equal(load(ARGS("--loud", "maybe"), no_env), ERR_SYNTAX);
    says("unexpected argument \"maybe\"");
}

static void a_list_is_replaced_by_a_later_source(void **state)
{
    char *env[] = {"SLUICE_DATA=/e1, /e2", NULL};

    (void)state;
    write_file("data: [/f1, /f2, /f3]\n");
    assert_int_equal(load(ARGS("--config", file), no_env), ERR_OK);
    assert_int_equal(s.data.count, 3);
    end(NULL);
    begin(NULL);
    write_file("data: /f1\n");
    assert_int_equal(load(ARGS("--config", file), env), ERR_OK);
    assert_int_equal(s.data.count, 2);
    assert_string_equal(s.data.items[1].p, "/e2");
    end(NULL);
    begin(NULL);
    assert_int_equal(load(ARGS("--data", "/a,b", "--data=/c"), env), ERR_OK);
    assert_int_equal(s.data.count, 2);
    assert_string_equal(s.data.items[0].p, "/a,b");
    assert_string_equal(s.data.items[1].p, "/c");
}

static void a_bad_value_tells_where_it_came_from(void **state)
{
    char *env[] = {"SLUICE_COLOR=blue", NULL};

    (void)state;
    file_fails("\nlimits:\n  head_max: 64XB\n", ":3: limits.head_max: expected a size such as 4096, 64KiB or 1GiB, at "
                                                "least 1KiB");
    file_fails("threads: [1]\n", ":1: threads: expected one value");
    file_fails("data: {a: b}\n", ":1: data: expected a list");
    file_fails("data: [a, [b]]\n", ":1: data: expected a list of texts");
    file_fails("limits: 5\n", ":1: limits: expected options below it");
    file_fails("- a\n", ":1: expected lines");
    file_fails("a: [\n", ": line ");
    flag_fails("--threads", "0", "--threads: threads: expected a number, at least 1, at most 64, not \"0\"");
    flag_fails("--threads", "65", "at most 64");
    flag_fails("--limits-wait", "10", "expected a duration such as");
    flag_fails("--limits-wait", "5000000000ms", "expected a duration such as");
    flag_fails("--loud=maybe", NULL, "--loud: loud: expected true or false, not \"maybe\"");
    flag_fails("--data", NULL, "--data: a value is missing");
    flag_fails("--data", "", "--data: data: expected a text that is not empty");
    flag_fails("--config", "/nonexistent/x.yaml", "/nonexistent/x.yaml: No such file");
    begin(NULL);
    assert_int_equal(config_load(c, 0, NULL, env), ERR_SYNTAX);
    says("SLUICE_COLOR: color: expected one of red|green, not \"blue\"");
    end(NULL);
}

static void an_unknown_option_is_an_error_with_a_guess(void **state)
{
    (void)state;
    file_fails("limits:\n  hed_max: 1KiB\n",
               ":2: there is no option \"limits.hed_max\"; did you mean limits.head_max?");
    file_fails("completely: different\n", ":1: there is no option \"completely\"");
    flag_fails("--thread", "5", "there is no option \"--thread\"; did you mean --threads?");
    flag_fails("thing", NULL, "unexpected argument \"thing\"");
}

static void a_misspelt_variable_is_pointed_out(void **state)
{
    char *env[] = {"SLUICE_PORT=tcp://10.0.0.1:80", "SLUICE_TREADS=5", NULL};

    (void)state;
    assert_int_equal(config_load(c, 0, NULL, env), ERR_OK);
    assert_string_equal(config_suspect(c), "SLUICE_TREADS");
}

static void secrets_stay_secret(void **state)
{
    char *env[] = {"SLUICE_SECRET_KEY=hunter2", NULL};
    struct buf out = BUF_INIT(65536);

    (void)state;
    assert_int_equal(config_load(c, 0, NULL, env), ERR_OK);
    assert_string_equal(s.secret.p, "hunter2");
    config_print(c, &out);
    buf_add_char(&out, 0);
    assert_null(strstr(out.p, "hunter2"));
    assert_non_null(strstr(out.p, "secret_key: \"********\""));
    buf_release(&out);
}

static void what_is_printed_can_be_read_again(void **state)
{
    struct buf out = BUF_INIT(65536);

    (void)state;
    assert_int_equal(load(ARGS("--data", "/a b", "--data", "- x: \"y\"\\", "--limits-wait", "1500ms", "--store-grace",
                               "0", "--listen", "", "--store-cache-bytes", "1001"),
                          no_env),
                     ERR_OK);
    config_print(c, &out);
    buf_add_char(&out, 0);
    end(NULL);
    begin(NULL);
    write_file(out.p);
    buf_release(&out);
    assert_int_equal(load(ARGS("--config", file), no_env), ERR_OK);
    assert_int_equal(s.data.count, 2);
    assert_string_equal(s.data.items[0].p, "/a b");
    assert_string_equal(s.data.items[1].p, "- x: \"y\"\\");
    assert_int_equal(s.wait_ms, 1500);
    assert_int_equal(s.grace_s, 0);
    assert_int_equal(s.listen.n, 0);
    assert_int_equal(s.cache_bytes, 1001);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    static const struct CMUnitTest tests[] = {
        TEST(defaults_fill_the_struct),
        TEST(later_sources_win),
        TEST(the_file_can_be_named_by_a_variable),
        TEST(a_switch_takes_a_word_or_none),
        TEST(a_list_is_replaced_by_a_later_source),
        cmocka_unit_test(a_bad_value_tells_where_it_came_from),
        cmocka_unit_test(an_unknown_option_is_an_error_with_a_guess),
        TEST(a_misspelt_variable_is_pointed_out),
        TEST(secrets_stay_secret),
        TEST(what_is_printed_can_be_read_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
