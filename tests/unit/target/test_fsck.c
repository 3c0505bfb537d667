#include "unit.h"

#include "local_fixture.h"

#include <unistd.h>

#include "target/engine.h"
#include "target/fsck.h"

enum { PART = 5 << 20 };

static char *content;

static int setup(void **state)
{
    static const size_t sizes[] = {PART, 1000};
    struct local_fixture *f = fixture_new(2);

    content = test_content(PART + 1000, 1);
    fixture_open(f);
    assert_int_equal(t_put(f, 1, "small", STR("tiny")), ERR_OK);
    assert_int_equal(t_put(f, 1, "large", str_n(content, 100000)), ERR_OK);
    assert_int_equal(t_put(f, 1, "replaced", str_n(content, 50000)), ERR_OK);
    assert_int_equal(t_put(f, 1, "replaced", str_n(content, 60000)), ERR_OK);
    assert_int_equal(t_put(f, 1, "gone", str_n(content, 70000)), ERR_OK);
    assert_int_equal(t_delete(f, 1, "gone", NULL), ERR_OK);
    assert_int_equal(t_multipart(f, 1, "multi", content, sizes, 2), ERR_OK);
    for (int i = 0; i < 6; i++) {
        char to[16];
        snprintf(to, sizeof(to), "copy%d", i);
        assert_int_equal(t_copy(f, 1, i % 2 ? "large" : "multi", to), ERR_OK);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct local_fixture *f = *state;

    fixture_close(f);
    fixture_free(f);
    free(content);
    return 0;
}

/* The report goes elsewhere. */
static enum err fsck(struct local_fixture *f, bool rebuild, bool quick)
{
    const struct fsck_options o = {f->mountpaths, f->conf.mountpath_count, rebuild, quick};
    int out = dup(1);

    fflush(stdout);
    assert_non_null(freopen("/dev/null", "w", stdout));
    enum err e = fsck_run(&o);
    fflush(stdout);
    dup2(out, 1);
    close(out);
    return e;
}

static void expect_all(struct local_fixture *f, bool small)
{
    struct obj_head_res head;

    if (small)
        assert_true(t_holds(f, 1, "small", STR("tiny")));
    assert_true(t_holds(f, 1, "large", str_n(content, 100000)));
    assert_true(t_holds(f, 1, "replaced", str_n(content, 60000)));
    assert_true(t_holds(f, 1, "multi", str_n(content, PART + 1000)));
    for (int i = 0; i < 6; i++) {
        char key[16];
        snprintf(key, sizeof(key), "copy%d", i);
        assert_true(t_holds(f, 1, key, str_n(content, i % 2 ? 100000 : PART + 1000)));
    }
    assert_int_equal(t_head(f, 1, "gone", &head), ERR_NO_SUCH_KEY);
}

static void run(struct local_fixture *f, const char *command, size_t mountpath)
{
    char line[800];

    snprintf(line, sizeof(line), "cd %s && %s", f->paths[mountpath], command);
    assert_int_equal(system(line), 0);
}

static void a_sound_store_is_sound(void **state)
{
    struct local_fixture *f = *state;

    assert_int_equal(fsck(f, false, true), ERR_CONFLICT); /* in use */
    fixture_close(f);
    assert_int_equal(fsck(f, false, false), ERR_OK);
    assert_int_equal(fsck(f, true, false), ERR_OK);
    fixture_open(f);
    expect_all(f, true);
}

static void damage_is_found(void **state)
{
    struct local_fixture *f = *state;

    for (size_t i = 0; i < 2; i++)
        mountpath_drain(fixture_disk(f, i));
    size_t at = fixture_place(f, 1, "large") == fixture_disk(f, 0) ? 0 : 1;
    fixture_close(f);
    run(f, "for s in segments/*/*; do printf x | dd of=$s bs=1 seek=777 conv=notrunc status=none; done", at);
    assert_int_equal(fsck(f, false, true), ERR_OK); /* quick does not read the content, and every file is longer */
    assert_int_equal(fsck(f, false, false), ERR_CORRUPT);
    run(f, "find segments -type f -size +40k -delete", at);
    assert_int_equal(fsck(f, false, true), ERR_CORRUPT);
    fixture_open(f);
}

static void a_lost_index_is_rebuilt_from_segments(void **state)
{
    struct local_fixture *f = *state;
    struct local *none = NULL;
    char why[512];

    for (size_t i = 0; i < 2; i++)
        mountpath_drain(fixture_disk(f, i));
    fixture_close(f);
    run(f, "rm -r index", 0);
    run(f, "rm -r index", 1);
    assert_int_not_equal(local_open(&f->conf, &none, why), ERR_OK); /* an empty index would make orphans of it all */
    assert_non_null(strstr(why, "fsck --rebuild"));
    assert_int_not_equal(fsck(f, false, true), ERR_OK);
    assert_int_equal(fsck(f, true, false), ERR_OK);
    assert_int_equal(fsck(f, false, false), ERR_OK);
    fixture_open(f);
    expect_all(f, false);
    assert_int_equal(t_delete(f, 1, "large", NULL), ERR_OK); /* counts are right again */
    assert_int_equal(t_delete(f, 1, "multi", NULL), ERR_OK);
    for (int i = 0; i < 6; i++) {
        char key[16];
        snprintf(key, sizeof(key), "copy%d", i);
        assert_true(t_holds(f, 1, key, str_n(content, i % 2 ? 100000 : PART + 1000)));
    }
}

static void a_damaged_index_is_salvaged_with_its_small_objects(void **state)
{
    struct local_fixture *f = *state;

    fixture_close(f);
    run(f, "rm index/CURRENT index/MANIFEST-*", 0);
    run(f, "rm index/CURRENT index/MANIFEST-*", 1);
    assert_int_not_equal(fsck(f, false, true), ERR_OK);
    assert_int_equal(fsck(f, true, false), ERR_OK);
    fixture_open(f);
    expect_all(f, true);
}

static void a_lost_format_file_is_restored(void **state)
{
    struct local_fixture *f = *state;
    struct local *none = NULL;
    char why[512];

    fixture_close(f);
    run(f, "rm sluice.format", 1);
    assert_int_not_equal(local_open(&f->conf, &none, why), ERR_OK);
    assert_non_null(strstr(why, "fsck --rebuild"));
    assert_int_equal(fsck(f, true, true), ERR_OK);
    fixture_open(f);
    expect_all(f, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sound_store_is_sound, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_index_is_rebuilt_from_segments, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_format_file_is_restored, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_index_is_salvaged_with_its_small_objects, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
