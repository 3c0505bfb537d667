#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/identity.h"
#include "store/map.h"

static char dir[64], file[128], why[PRIVATE_FILE_WHY_MAX];
static struct arena arena;

static int begin(void **state)
{
    (void)state;
    strncpy(dir, "/tmp/sluice-identity-XXXXXX", sizeof(dir) - 1);
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/node-id", dir);
    return 0;
}

static int end(void **state)
{
    (void)state;
    unlink(file);
    assert_int_equal(rmdir(dir), 0); /* nothing else was left */
    arena_release(&arena);
    return 0;
}

static void the_first_start_makes_an_id_that_stays(void **state)
{
    struct str made, found;
    struct stat st;

    (void)state;
    assert_int_equal(identity_get(&arena, str_z(dir), &made, why), ERR_OK);
    assert_int_equal(made.n, NODE_ID_LEN);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(identity_get(&arena, str_z(dir), &found, why), ERR_OK);
    assert_true(str_eq(made, found));
}

static void what_is_no_id_is_an_error(void **state)
{
    static const char *const bad[] = {"", "\n", "0123456789abcde", "0123456789abcdeg\n", "0123456789abcdef0"};
    struct str id;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_int_equal(write(fd, bad[i], strlen(bad[i])), strlen(bad[i]));
        close(fd);
        assert_int_equal(identity_get(&arena, str_z(dir), &id, why), ERR_CORRUPT);
        assert_non_null(strstr(why, "node-id: expected 16 hex digits"));
    }
}

static void a_directory_that_is_not_there_is_an_error(void **state)
{
    struct str id;

    (void)state;
    assert_int_not_equal(identity_get(&arena, STR("/nonexistent/x"), &id, why), ERR_OK);
    assert_non_null(strstr(why, "No such file"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
    static const struct CMUnitTest tests[] = {
        TEST(the_first_start_makes_an_id_that_stays),
        TEST(what_is_no_id_is_an_error),
        TEST(a_directory_that_is_not_there_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
