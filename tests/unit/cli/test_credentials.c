#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/credentials.h"

static char dir[64], file[128], why[CREDENTIALS_WHY_MAX];
static struct arena arena;

static int begin(void **state)
{
    (void)state;
    strncpy(dir, "/tmp/sluice-credentials-XXXXXX", sizeof(dir) - 1);
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/credentials", dir);
    return 0;
}

static int end(void **state)
{
    (void)state;
    unlink(file);
    rmdir(dir);
    arena_release(&arena);
    return 0;
}

static enum err get(struct credentials *c)
{
    why[0] = 0;
    return credentials_get(&arena, STR_NONE, STR_NONE, str_z(dir), c, why);
}

static void write_file(const char *text)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void the_first_start_makes_a_pair_that_later_starts_find(void **state)
{
    struct credentials made, found;
    struct stat st;

    (void)state;
    assert_int_equal(get(&made), ERR_OK);
    assert_int_equal(made.from, CREDENTIALS_MADE);
    assert_int_equal(made.access_key.n, 20);
    assert_int_equal(made.secret_key.n, 40);
    assert_string_equal(made.file.p, file);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(get(&found), ERR_OK);
    assert_int_equal(found.from, CREDENTIALS_FILE);
    assert_true(str_eq(found.access_key, made.access_key));
    assert_true(str_eq(found.secret_key, made.secret_key));
    assert_int_not_equal(rmdir(dir), 0); /* holds the file and nothing else: end() can remove it */
}

static void settings_win_and_nothing_is_written(void **state)
{
    struct credentials c;

    (void)state;
    assert_int_equal(credentials_get(&arena, STR("a"), STR("b"), str_z(dir), &c, why), ERR_OK);
    assert_int_equal(c.from, CREDENTIALS_SETTINGS);
    assert_true(str_eq(c.secret_key, STR("b")));
    assert_int_not_equal(access(file, F_OK), 0);
}

static void a_file_that_says_something_else_is_an_error(void **state)
{
    static const char *const bad[] = {"",
                                      "access_key: a\n",
                                      "access_key: [a]\nsecret_key: b\n",
                                      "access_key: \nsecret_key: b\n",
                                      "nonsense",
                                      "access_key: a\nsecret_key: b: c\n"};
    struct credentials c;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        write_file(bad[i]);
        assert_int_not_equal(get(&c), ERR_OK);
        assert_non_null(strstr(why, "credentials: expected the two lines"));
    }
    write_file("access_key: me\nsecret_key: \"x y\"\n");
    assert_int_equal(get(&c), ERR_OK);
    assert_true(str_eq(c.secret_key, STR("x y")));
}

static void a_directory_that_is_not_there_is_an_error(void **state)
{
    struct credentials c;

    (void)state;
    assert_int_not_equal(credentials_get(&arena, STR_NONE, STR_NONE, STR("/nonexistent/x"), &c, why), ERR_OK);
    assert_non_null(strstr(why, "/nonexistent/x/credentials"));
    assert_non_null(strstr(why, "No such file"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    static const struct CMUnitTest tests[] = {
        TEST(the_first_start_makes_a_pair_that_later_starts_find),
        TEST(settings_win_and_nothing_is_written),
        TEST(a_file_that_says_something_else_is_an_error),
        TEST(a_directory_that_is_not_there_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
