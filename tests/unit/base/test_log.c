#include "unit.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"

static int former, pipe_fds[2];
static char line[2 * LOG_LINE_MAX];

static int begin(void **state)
{
    (void)state;
    former = dup(STDERR_FILENO);
    assert_int_equal(pipe2(pipe_fds, O_NONBLOCK), 0);
    dup2(pipe_fds[1], STDERR_FILENO);
    return 0;
}

static int end(void **state)
{
    (void)state;
    dup2(former, STDERR_FILENO);
    close(former);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    log_setup(LOG_INFO, false);
    return 0;
}

/* What was written since; "" when nothing. */
static const char *written(void)
{
    ssize_t n = read(pipe_fds[0], line, sizeof(line) - 1);

    line[n > 0 ? n : 0] = 0;
    return line;
}

static void a_line_has_time_level_event_and_request(void **state)
{
    (void)state;
    log_info(STR("00AB"), "put done", "key=%s size=%d", log_quote(STR("a b")), 5);
    assert_memory_equal(written(), "time=2", 6);
    assert_memory_equal(line + 5 + 10, "T", 1);
    assert_string_equal(strchr(line, ' '), " level=info event=\"put done\" request=00AB key=\"a b\" size=5\n");
    log_warn(STR_NONE, "low", "%s", "");
    assert_string_equal(strchr(written(), ' '), " level=warn event=\"low\"\n");
}

static void less_important_lines_are_dropped(void **state)
{
    enum log_level level;

    (void)state;
    log_debug(STR_NONE, "x", "%s", "");
    assert_string_equal(written(), "");
    assert_true(log_level_parse(STR("debug"), &level));
    assert_false(log_level_parse(STR("loud"), &level));
    log_setup(level, false);
    log_debug(STR_NONE, "x", "%s", "");
    assert_non_null(strstr(written(), "level=debug"));
    log_setup(LOG_ERROR, false);
    log_warn(STR_NONE, "x", "%s", "");
    assert_string_equal(written(), "");
}

static void json_is_one_object_with_escapes(void **state)
{
    (void)state;
    log_setup(LOG_INFO, true);
    log_info(STR_NONE, "e", "v=%s", log_quote(STR("q\"\n")));
    assert_string_equal(
        strstr(written(), "\"level\""),
        "\"level\":\"info\",\"event\":\"e\",\"request\":\"\",\"detail\":\"v=\\\"q\\\\\\\"\\\\u000a\\\"\"}\n");
}

static void quoting_hides_control_bytes_and_is_bounded(void **state)
{
    char large[1000];

    (void)state;
    assert_string_equal(log_quote(STR("a\r\n\x1b[0m\xc3\xa9\\")), "\"a\\u000d\\u000a\\u001b[0m\\u00c3\\u00a9\\\\\"");
    memset(large, 1, sizeof(large));
    assert_true(strlen(log_quote(str_n(large, sizeof(large)))) <= 6 * 256 + 2);
    const char *one = log_quote(STR("one")), *two = log_quote(STR("two"));
    assert_string_equal(one, "\"one\"");
    assert_string_equal(two, "\"two\"");
}

static void a_long_line_is_cut_and_still_ends(void **state)
{
    char large[3 * LOG_LINE_MAX];

    (void)state;
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = 0;
    for (int json = 0; json < 2; json++) {
        log_setup(LOG_INFO, json);
        log_info(STR_NONE, "e", "v=%s", large);
        size_t n = strlen(written());
        assert_true(n > 1000 && n <= LOG_LINE_MAX);
        assert_int_equal(line[n - 1], '\n');
        assert_null(memchr(line, '\n', n - 1));
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    static const struct CMUnitTest tests[] = {
        TEST(a_line_has_time_level_event_and_request), TEST(less_important_lines_are_dropped),
        TEST(json_is_one_object_with_escapes),         TEST(quoting_hides_control_bytes_and_is_bounded),
        TEST(a_long_line_is_cut_and_still_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
