#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "jobs_kit.h"
#include "target/promote_files.h"
#include "target_dir.h"

static struct test_dir place;
static const char *dir = place.path;
static char root[300]; /* what is allowed: dir/open */

static void file(const char *name, const char *content)
{
    char path[600];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
}

static bool is_there(const char *name)
{
    char path[600];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void subdir(const char *name)
{
    char path[600];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void link_to(const char *target, const char *name)
{
    char path[600];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    assert_int_equal(symlink(target, path), 0);
}

static int setup(void **state)
{
    test_dir_make(&place);
    snprintf(root, sizeof(root), "%s/open", dir);
    subdir("open");
    subdir("open/sub");
    subdir("open2");
    file("secret", "secret");
    file("open2/other", "other");
    file("open/a", "aa");
    file("open/sub/b", "bbb");
    link_to("../secret", "open/link");
    link_to("..", "open/up");
    kit_open(state);
    kit.env.promote_dirs = str_z(root);
    return 0;
}

static int teardown(void **state)
{
    kit_close(state);
    test_dir_remove(&place);
    return 0;
}

/* The end of a promotion of dir/path. */
static const char *promote(const char *path, const char *more, char id[JOB_ID_MAX + 1])
{
    char spec[900];

    snprintf(spec, sizeof(spec), "{\"bucket\":\"b\",\"path\":\"%s/%s\"%s}", dir, path, more);
    assert_int_equal(kit_job("promote", spec, id), ERR_OK);
    return kit_end_of(id);
}

static void files_of_a_directory_become_objects(void **state)
{
    struct bucket b = kit_bucket("b");
    char id[JOB_ID_MAX + 1];

    (void)state;
    kit_start_engine(0);
    assert_string_equal(promote("open", ",\"object\":\"new/\"", id), "done");
    assert_int_equal(kit_number(id, "ok"), 1); /* not what is below, nor links */
    assert_string_equal(promote("open/", ",\"object\":\"all/\",\"recursive\":true", id), "done");
    assert_int_equal(kit_number(id, "ok"), 2);
    assert_int_equal(kit_number(id, "bytes"), 5);
    kit_stop_engine();
    assert_true(str_eq(kit_get(b.id, STR("new/a")), STR("aa")));
    assert_true(str_eq(kit_get(b.id, STR("all/sub/b")), STR("bbb")));
    assert_int_equal(kit_count(b.id, ""), 3);
    assert_true(is_there("open/a"));
}

static void a_file_gets_the_name_that_is_asked(void **state)
{
    struct bucket b = kit_bucket("b");
    char id[JOB_ID_MAX + 1];

    (void)state;
    kit_start_engine(0);
    assert_string_equal(promote("open/sub/b", ",\"object\":\"x\"", id), "done");
    assert_string_equal(promote("open/sub/b", ",\"object\":\"y/\"", id), "done");
    assert_string_equal(promote("open/sub/b", "", id), "done");
    kit_stop_engine();
    assert_true(kit_has(b.id, "x") && kit_has(b.id, "y/b") && kit_has(b.id, "b"));
}

static void objects_are_replaced_and_files_removed_when_asked(void **state)
{
    struct bucket b = kit_bucket("b");
    char id[JOB_ID_MAX + 1];

    (void)state;
    kit_put(b.id, STR("a"), STR("old"));
    kit_start_engine(0);
    assert_string_equal(promote("open/a", ",\"delete_source\":true", id), "done");
    assert_int_equal(kit_number(id, "skipped"), 1);
    assert_true(is_there("open/a")); /* it was not promoted */
    assert_string_equal(promote("open", ",\"recursive\":true,\"overwrite\":true,\"delete_source\":true", id), "done");
    assert_int_equal(kit_number(id, "ok"), 2);
    kit_stop_engine();
    assert_true(str_eq(kit_get(b.id, STR("a")), STR("aa")));
    assert_false(is_there("open/a") || is_there("open/sub/b"));
    assert_true(is_there("secret"));
}

static void nothing_outside_is_read(void **state)
{
    static const char *const paths[] = {
        "secret",          "open/../secret", "open/link", "open/up/secret", "open2/other", "open2", "open/./a",
        "open//../secret", "open/sub/../a",  "",          "open/up/open/a"};
    struct bucket b = kit_bucket("b");
    char id[JOB_ID_MAX + 1];

    (void)state;
    kit_start_engine(0);
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        assert_string_equal(promote(paths[i], ",\"recursive\":true", id), "failed");
        assert_int_equal(kit_number(id, "ok"), 0);
    }
    assert_string_equal(promote("open/none", "", id), "failed");
    assert_string_equal(promote("open/none", ",\"not_shared\":true", id), "done");
    kit_stop_engine();
    assert_int_equal(kit_count(b.id, ""), 0);
}

static void without_directories_nothing_is_promoted(void **state)
{
    char id[JOB_ID_MAX + 1];

    (void)state;
    kit_bucket("b");
    kit.env.promote_dirs = STR("");
    kit_start_engine(0);
    assert_string_equal(promote("open/a", "", id), "failed");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(files_of_a_directory_become_objects),
        TEST(a_file_gets_the_name_that_is_asked),
        TEST(objects_are_replaced_and_files_removed_when_asked),
        TEST(nothing_outside_is_read),
        TEST(without_directories_nothing_is_promoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
