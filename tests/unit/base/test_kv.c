#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/kv.h"

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/sluice-kv-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
    char cmd[128];

    (void)state;
    snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
    return system(cmd);
}

static struct kv *open_kv(void)
{
    struct kv *kv = NULL;
    char why[KV_WHY_MAX] = "";

    if (kv_open(str_z(dir), &(struct kv_options){.create = true}, &kv, why) != ERR_OK)
        fail_msg("%s", why);
    return kv;
}

static void put(struct kv *kv, const char *k, const char *v, bool sync)
{
    struct kv_batch *b = kv_batch_new();

    kv_batch_put(b, str_z(k), str_z(v));
    assert_int_equal(kv_write(kv, b, sync), ERR_OK);
    kv_batch_free(b);
}

static void expect(struct kv *kv, const char *k, const char *v)
{
    struct kv_value got = {0};

    assert_int_equal(kv_get(kv, str_z(k), KV_DISK, &got), ERR_OK);
    assert_true(str_eq(got.bytes, str_z(v)));
    kv_value_release(&got);
}

static void values_survive_a_reopen(void **state)
{
    struct kv *kv = open_kv();
    struct kv_value v = {0};

    (void)state;
    put(kv, "a", "1", true);
    put(kv, "b", "", false);
    expect(kv, "a", "1");
    kv_close(kv);
    kv = open_kv();
    expect(kv, "a", "1");
    expect(kv, "b", "");
    assert_int_equal(kv_get(kv, STR("c"), KV_DISK, &v), ERR_NOT_FOUND);
    kv_close(kv);
}

static void cached_reads_say_again_until_the_disk_was_asked(void **state)
{
    struct kv *kv = open_kv();
    struct kv_value v = {0};

    (void)state;
    put(kv, "a", "1", false);
    kv_close(kv);
    kv = open_kv();
    assert_int_equal(kv_get(kv, STR("a"), KV_CACHED, &v), ERR_AGAIN);
    expect(kv, "a", "1");
    assert_int_equal(kv_get(kv, STR("a"), KV_CACHED, &v), ERR_OK);
    kv_value_release(&v);
    kv_close(kv);
}

static void iterators_are_ordered_bounded_and_consistent(void **state)
{
    struct kv *kv = open_kv();
    char seen[16];
    size_t n = 0;

    (void)state;
    put(kv, "b", "2", false);
    put(kv, "a", "1", false);
    put(kv, "c", "3", false);
    put(kv, "d", "4", false);
    struct kv_iter *it = kv_iter_open(kv, &(struct kv_iter_options){.end = STR("d")});
    put(kv, "bb", "5", false);
    for (kv_iter_seek(it, STR("aa")); kv_iter_valid(it); kv_iter_next(it))
        seen[n++] = kv_iter_value(it).p[0];
    assert_int_equal(kv_iter_err(it), ERR_OK);
    assert_int_equal(n, 2);
    assert_memory_equal(seen, "23", 2);
    kv_iter_seek_back(it, STR("bzz"));
    assert_true(str_eq(kv_iter_key(it), STR("b")));
    kv_iter_close(it);
    kv_close(kv);
}

static void batches_delete_ranges(void **state)
{
    struct kv *kv = open_kv();
    struct kv_batch *b = kv_batch_new();
    struct kv_value v = {0};

    (void)state;
    put(kv, "x1", "1", false);
    put(kv, "x2", "2", false);
    put(kv, "x3", "3", false);
    kv_batch_delete_range(b, STR("x1"), STR("x3"));
    kv_batch_put(b, STR("x1"), STR("new"));
    assert_int_equal(kv_batch_count(b), 2);
    assert_int_equal(kv_write(kv, b, true), ERR_OK);
    kv_batch_free(b);
    expect(kv, "x1", "new");
    assert_int_equal(kv_get(kv, STR("x2"), KV_DISK, &v), ERR_NOT_FOUND);
    expect(kv, "x3", "3");
    kv_close(kv);
}

static void a_second_open_says_in_use(void **state)
{
    struct kv *kv = open_kv(), *again = NULL;
    char why[KV_WHY_MAX] = "";

    (void)state;
    assert_int_equal(kv_open(str_z(dir), &(struct kv_options){.create = true}, &again, why), ERR_CONFLICT);
    assert_non_null(strstr(why, "in use"));
    kv_close(kv);
}

static void absent_without_create_is_an_error(void **state)
{
    struct kv *kv = NULL;
    char why[KV_WHY_MAX] = "";

    (void)state;
    assert_int_not_equal(kv_open(str_z(dir), &(struct kv_options){0}, &kv, why), ERR_OK);
    assert_true(why[0]);
}

static void a_killed_process_loses_nothing_written(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        struct kv *kv = open_kv();
        put(kv, "sync", "1", true);
        put(kv, "async", "2", false);
        _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    struct kv *kv = open_kv();
    expect(kv, "sync", "1");
    expect(kv, "async", "2");
    kv_close(kv);
}

static void repair_salvages_after_the_manifest_is_gone(void **state)
{
    struct kv *kv = open_kv(), *again = NULL;
    char cmd[256], why[KV_WHY_MAX] = "";

    (void)state;
    put(kv, "a", "1", false);
    kv_close(kv);
    snprintf(cmd, sizeof(cmd), "rm %s/MANIFEST-* %s/CURRENT", dir, dir);
    assert_int_equal(system(cmd), 0);
    assert_int_not_equal(kv_open(str_z(dir), &(struct kv_options){0}, &again, why), ERR_OK);
    assert_int_equal(kv_repair(str_z(dir), why), ERR_OK);
    kv = open_kv();
    expect(kv, "a", "1");
    kv_close(kv);
}

static void a_checkpoint_opens(void **state)
{
    struct kv *kv = open_kv(), *copy = NULL;
    char path[96];

    (void)state;
    put(kv, "a", "1", false);
    snprintf(path, sizeof(path), "%s/copy", dir);
    assert_int_equal(kv_checkpoint(kv, str_z(path)), ERR_OK);
    put(kv, "a", "2", false);
    assert_int_equal(kv_open(str_z(path), &(struct kv_options){0}, &copy, NULL), ERR_OK);
    expect(copy, "a", "1");
    kv_close(copy);
    kv_close(kv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_killed_process_loses_nothing_written, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(values_survive_a_reopen, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(cached_reads_say_again_until_the_disk_was_asked, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(iterators_are_ordered_bounded_and_consistent, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(batches_delete_ranges, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(a_second_open_says_in_use, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(absent_without_create_is_an_error, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(repair_salvages_after_the_manifest_is_gone, make_dir, drop_dir),
        cmocka_unit_test_setup_teardown(a_checkpoint_opens, make_dir, drop_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
