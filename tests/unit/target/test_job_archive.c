#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "archive/arc_scan.h"
#include "archive/arcs.h"
#include "base/buf.h"
#include "jobs_kit.h"

static struct arc_cache *cache;
static struct bucket from, to;

static int open_kit(void **state)
{
    int r = kit_open(state);

    from = kit_bucket("from");
    to = kit_bucket("to");
    kit_put(from.id, STR("a/1"), STR("one"));
    kit_put(from.id, STR("a/2"), STR("two"));
    kit_put(from.id, STR("b/3"), STR("three"));
    return r;
}

/* The engine's loop is made anew each time it stops. */
static void start(void)
{
    cache = arc_cache_new(1 << 20);
    kit.env.arcs = arcs_new(&(struct arcs_env){kit.env.loop, kit.env.all, kit.buckets, kit.env.cpu, cache});
    kit_start_engine(0);
}

static void stop(void)
{
    kit_stop_engine();
    arc_cache_free(cache);
}

/* Names and contents of a TAR in memory, "name=content " each. */
static const char *listing(struct str tar)
{
    struct buf all = BUF_INIT(1 << 16);
    size_t at = 0;

    while (at + 512 <= tar.n && tar.p[at]) {
        unsigned long size = strtoul(tar.p + at + 124, NULL, 8);
        assert_true(at + 512 + size <= tar.n);
        buf_addf(&all, "%.100s=%.*s ", tar.p + at, (int)size, tar.p + at + 512);
        at += 512 + (size + 511) / 512 * 512;
    }
    assert_int_equal(tar.n - at, 1024);
    struct str text = arena_str(&kit.arena, buf_str(&all));
    buf_release(&all);
    return text.p;
}

static const char *run(const char *spec, char id[JOB_ID_MAX + 1])
{
    start();
    assert_int_equal(kit_job("archive", spec, id), ERR_OK);
    return kit_end_of(id);
}

static void the_members_are_in_the_order_of_the_list(void **state)
{
    char id[JOB_ID_MAX + 1];

    (void)state;
    assert_string_equal(run("{\"bucket\":\"from\",\"names\":[\"b/3\",\"a/1\",\"a/2\",\"a/1\"],\"to_bucket\":\"to\","
                            "\"archname\":\"x.tar\"}",
                            id),
                        "done");
    assert_int_equal(kit_number(id, "ok"), 4);
    assert_int_equal(kit_number(id, "bytes"), 14);
    stop();
    assert_string_equal(listing(kit_get(to.id, STR("x.tar"))), "b/3=three a/1=one a/2=two a/1=one ");
}

static void members_are_named_as_asked(void **state)
{
    char id[JOB_ID_MAX + 1];

    (void)state;
    assert_string_equal(run("{\"bucket\":\"from\",\"prefix\":\"a/\",\"archname\":\"x\",\"include_bucket\":true,"
                            "\"base_name_only\":true}",
                            id),
                        "done");
    stop();
    assert_string_equal(listing(kit_get(from.id, STR("x"))), "from/1=one from/2=two ");
}

static void a_missing_one_of_a_list_fails_all(void **state)
{
    char id[JOB_ID_MAX + 1];

    (void)state;
    assert_string_equal(run("{\"bucket\":\"from\",\"names\":[\"a/1\",\"nowhere\",\"a/2\"],\"archname\":\"x.tar\"}", id),
                        "failed");
    stop();
    assert_false(kit_has(from.id, "x.tar"));
}

static void with_continue_it_is_left_out_and_told(void **state)
{
    char id[JOB_ID_MAX + 1], key[200];
    struct bucket_id system;

    (void)state;
    assert_string_equal(
        run("{\"bucket\":\"from\",\"names\":[\"a/1\",\"nowhere\",\"a/2\",\"nor here\"],\"archname\":\"x.tar\","
            "\"continue_on_error\":true}",
            id),
        "done");
    assert_int_equal(kit_number(id, "failed"), 2);
    stop();
    assert_string_equal(listing(kit_get(from.id, STR("x.tar"))), "a/1=one a/2=two ");
    assert_true(system_bucket_find(kit.buckets, &kit.arena, &system));
    snprintf(key, sizeof(key), "jobs/%s/report/" STR_FMT "/%012d", id, STR_ARG(kit.env.self), 0);
    struct str report = kit_get(system, str_z(key)),
               want = STR("{\"bucket\":\"from\",\"name\":\"nowhere\",\"error\":\"NO_SUCH_KEY\"}\n"
                          "{\"bucket\":\"from\",\"name\":\"nor here\",\"error\":\"NO_SUCH_KEY\"}\n");
    assert_true(str_eq(report, want));
}

static void gaps_of_a_range_are_passed_over(void **state)
{
    char id[JOB_ID_MAX + 1];

    (void)state;
    assert_string_equal(run("{\"bucket\":\"from\",\"template\":\"a/{0..5}\",\"archname\":\"x.tar\"}", id), "done");
    assert_int_equal(kit_number(id, "skipped"), 4);
    stop();
    assert_string_equal(listing(kit_get(from.id, STR("x.tar"))), "a/1=one a/2=two ");
}

static void nothing_is_no_archive(void **state)
{
    char id[JOB_ID_MAX + 1];

    (void)state;
    assert_string_equal(run("{\"bucket\":\"from\",\"prefix\":\"none\",\"archname\":\"x.tgz\"}", id), "failed");
    stop();
    assert_false(kit_has(from.id, "x.tgz"));
}

static void a_tar_is_appended_to(void **state)
{
    char id[JOB_ID_MAX + 1];

    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *spec = "{\"bucket\":\"from\",\"prefix\":\"a/\",\"archname\":\"x.tar\",\"append\":true}";
        assert_string_equal(
            run(i ? spec : "{\"bucket\":\"from\",\"names\":[\"b/3\"],\"archname\":\"x.tar\",\"append\":true}", id),
            "done");
        stop();
    }
    assert_string_equal(listing(kit_get(from.id, STR("x.tar"))), "b/3=three a/1=one a/2=two ");
}

/* Zips and compressed ones are written anew; here the count of bytes read tells that all are there. */
static void others_are_appended_to_as_well(void **state)
{
    static const char *const exts[] = {"zip", "tgz", "tar.lz4", "tar.zst"};
    char id[JOB_ID_MAX + 1], spec[300], key[40];

    (void)state;
    for (int i = 0; i < 4; i++) {
        snprintf(spec, sizeof(spec), "{\"bucket\":\"from\",\"names\":[\"b/3\"],\"archname\":\"x.%s\"}", exts[i]);
        assert_string_equal(run(spec, id), "done");
        stop();
        snprintf(spec, sizeof(spec), "{\"bucket\":\"from\",\"prefix\":\"a/\",\"archname\":\"x.%s\",\"append\":true}",
                 exts[i]);
        assert_string_equal(run(spec, id), "done");
        stop();
        snprintf(key, sizeof(key), "x.%s", exts[i]);
        struct arc_build_req req = {
            .arena = &kit.arena, .store = kit.store, .cpu = kit.env.cpu, .bucket = from.id, .key = str_z(key)};
        struct arc_build_res res = {0};
        arc_build(&req, &res, kit_call());
        assert_int_equal(kit_wait(), ERR_OK);
        assert_int_equal(res.index->count, 3);
        assert_true(arc_index_find(res.index, STR("b/3"), NULL, &(struct arc_member){.name = STR("")}));
        arc_index_unref(res.index);
    }
}

static void it_is_no_member_of_itself(void **state)
{
    char id[JOB_ID_MAX + 1];

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_string_equal(run("{\"bucket\":\"from\",\"prefix\":\"\",\"archname\":\"b/x.tar\"}", id), "done");
        stop();
        assert_string_equal(listing(kit_get(from.id, STR("b/x.tar"))), "a/1=one a/2=two b/3=three ");
    }
}

static void wrong_specs_are_refused(void **state)
{
    static const char *const specs[] = {
        "{\"bucket\":\"from\",\"prefix\":\"\"}",
        "{\"bucket\":\"from\",\"prefix\":\"\",\"archname\":\"x.zip\",\"mime\":\".tar\"}",
        "{\"bucket\":\"from\",\"prefix\":\"\",\"archname\":\"x\",\"mime\":\"rar\"}",
        "{\"bucket\":\"from\",\"prefix\":\"\",\"archname\":\"x\",\"to_bucket\":\".sluice\"}",
        "{\"bucket\":\"from\",\"prefix\":\"\",\"archname\":\"x\",\"other\":1}",
    };
    char id[JOB_ID_MAX + 1];

    (void)state;
    loop_adopt(kit.asking);
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++)
        assert_int_equal(kit_job("archive", specs[i], id), ERR_INVALID_ARGUMENT);
    loop_adopt(kit.loop);
}

static void it_can_be_stopped(void **state)
{
    char id[JOB_ID_MAX + 1];

    (void)state;
    for (int i = 0; i < 10; i++) {
        start();
        assert_int_equal(kit_job("archive", "{\"bucket\":\"from\",\"prefix\":\"\",\"archname\":\"y.tgz\"}", id),
                         ERR_OK);
        struct job_stop_req req = {&kit.arena, str_z(id)};
        job_stop(kit.meta, &req, kit_call());
        assert_int_equal(kit_wait(), ERR_OK);
        assert_string_not_equal(kit_end_of(id), "running");
        stop();
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_kit, kit_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_members_are_in_the_order_of_the_list),
        TEST(members_are_named_as_asked),
        TEST(a_missing_one_of_a_list_fails_all),
        TEST(with_continue_it_is_left_out_and_told),
        TEST(gaps_of_a_range_are_passed_over),
        TEST(nothing_is_no_archive),
        TEST(a_tar_is_appended_to),
        TEST(others_are_appended_to_as_well),
        TEST(it_is_no_member_of_itself),
        TEST(wrong_specs_are_refused),
        TEST(it_can_be_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
