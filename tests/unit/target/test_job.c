#include "unit.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "jobs_kit.h"

static void fill(struct bucket_id b, const char *prefix, int count)
{
    char key[64];

    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "%s%04d", prefix, i);
        kit_put(b, str_z(key), STR("0123456789"));
    }
}

static void put_meta(const char *key, const char *value)
{
    struct meta_put_req req = {.key = str_z(key), .value = str_z(value), .revision = META_ANY};
    struct meta_put_res res;

    meta_put(kit.meta, &req, &res, kit_call());
    assert_int_equal(kit_wait(), ERR_OK);
}

/* ---- the engine ---- */

static void a_job_begins_at_once_and_ends_soon_after_its_work(void **state)
{
    struct bucket b = kit_bucket("b");
    char id[JOB_ID_MAX + 1];
    uint64_t began;

    (void)state;
    fill(b.id, "k", 10);
    kit_start_engine(0);
    began = clock_mono_ns();
    assert_int_equal(kit_job("delete-list", "{\"bucket\":\"b\",\"prefix\":\"k\"}", id), ERR_OK);
    assert_string_equal(kit_end_of(id), "done");
    assert_true(clock_mono_ns() - began <
                UINT64_C(1000000000)); /* about 50 ms; a loaded machine gets twenty times as much */
    assert_int_equal(kit_number(id, "ok"), 10);
    assert_int_equal(kit_number(id, "failed"), 0);
    kit_stop_engine();
    assert_int_equal(kit_count(b.id, ""), 0);
}

static void what_can_not_be_is_refused(void **state)
{
    char id[JOB_ID_MAX + 1];

    (void)state;
    loop_adopt(kit.asking);
    assert_int_equal(kit_job("nothing", "{}", id), ERR_INVALID_ARGUMENT);
    assert_int_equal(kit_job("rebalance", "{}", id), ERR_INVALID_ARGUMENT); /* begins by itself */
    assert_int_equal(kit_job("scrub", "{\"x\":1}", id), ERR_INVALID_ARGUMENT);
    assert_int_equal(kit_job("delete-list", "[]", id), ERR_INVALID_ARGUMENT);
    assert_int_equal(kit_job("delete-list", "{", id), ERR_INVALID_ARGUMENT);
    assert_int_equal(kit_job("delete-list", "{\"bucket\":\"b\",\"prefix\":\"\",\"to\":\"c\"}", id),
                     ERR_INVALID_ARGUMENT);
    assert_int_equal(kit_job("copy", "{\"bucket\":\"b\",\"prefix\":\"\",\"to\":\"b\"}", id), ERR_INVALID_ARGUMENT);
    loop_adopt(kit.loop);
}

/* What needed no job, told as one to clients that ask for it. */
static void what_is_done_already_is_only_written_down(void **state)
{
    struct job_start_req req = {
        .arena = &kit.arena, .kind = STR("move-bck"), .spec = STR("{\"bucket\":\"a\",\"to\":\"b\"}"), .ended = true};
    struct job_start_res first, second;

    (void)state;
    job_start(kit.meta, &req, &first, kit_call());
    assert_int_equal(kit_wait(), ERR_OK);
    job_start(kit.meta, &req, &second, kit_call());
    assert_int_equal(kit_wait(), ERR_OK);
    assert_false(str_eq(first.id, second.id));
    assert_string_equal(kit_end_of(arena_str(&kit.arena, first.id).p), "done");
    assert_true(kit_number(arena_str(&kit.arena, first.id).p, "ended_ms") > 0);
}

static void a_stopped_job_ends_before_its_work_does(void **state)
{
    struct bucket b = kit_bucket("b"), c = kit_bucket("c");
    struct job_stop_req stop = {.arena = &kit.arena};
    char id[JOB_ID_MAX + 1];

    (void)state;
    fill(b.id, "k", 500);
    kit_start_engine(200); /* bytes a second: 20 objects */
    assert_int_equal(kit_job("copy", "{\"bucket\":\"b\",\"prefix\":\"\",\"to\":\"c\",\"workers\":2}", id), ERR_OK);
    usleep(50000);
    assert_string_equal(doc_get(kit_look(id), STR("state"))->text.p, "running");
    stop.id = str_z(id);
    job_stop(kit.meta, &stop, kit_call());
    assert_int_equal(kit_wait(), ERR_OK);
    assert_string_equal(kit_end_of(id), "stopped");
    kit_stop_engine();
    assert_true(kit_count(c.id, "") < 500);
}

static void work_goes_on_when_the_process_is_back(void **state)
{
    struct bucket b = kit_bucket("b"), c = kit_bucket("c");
    char id[JOB_ID_MAX + 1];
    unsigned copied;

    (void)state;
    fill(b.id, "k", 600);
    kit_start_engine(100);
    assert_int_equal(kit_job("copy", "{\"bucket\":\"b\",\"prefix\":\"\",\"to\":\"c\"}", id), ERR_OK);
    usleep(100000);
    kit_stop_engine();
    copied = kit_count(c.id, "");
    assert_true(copied > 0 && copied < 600);
    kit_start_engine(0);
    assert_string_equal(kit_end_of(id), "done");
    kit_stop_engine();
    assert_int_equal(kit_count(c.id, ""), 600);
}

/* As a crash leaves it: the record is there, and what was told a second before. */
static void after_a_crash_work_goes_on_from_what_was_told(void **state)
{
    struct bucket b = kit_bucket("b");

    (void)state;
    fill(b.id, "k", 5);
    put_meta(
        "job/x",
        "{\"format\":1,\"id\":\"x\",\"kind\":\"delete-list\",\"spec\":{\"bucket\":\"b\",\"template\":"
        "\"k{0000..0004}\"},\"started_by\":\"\",\"created_ms\":1,\"state\":\"running\",\"stop\":false,\"ended_ms\":0}");
    put_meta("job_at/x/t1", "{\"format\":1,\"state\":\"running\",\"ok\":3,\"failed\":0,\"skipped\":0,\"bytes\":0,"
                            "\"began_ms\":1,\"ended_ms\":0,\"note\":\"\",\"errors\":[],\"at\":\"a:1:n3\"}");
    kit_start_engine(0);
    assert_string_equal(kit_end_of("x"), "done");
    assert_int_equal(kit_number("x", "ok"), 5);
    kit_stop_engine();
    assert_int_equal(kit_count(b.id, ""), 3); /* those of which it was told that they are done are not touched again */
    assert_true(kit_has(b.id, "k0002") && !kit_has(b.id, "k0003"));
}

/* A part that had ended, and nobody wrote that the job has. */
static void the_end_is_found_after_a_crash(void **state)
{
    (void)state;
    put_meta("job/x", "{\"format\":1,\"id\":\"x\",\"kind\":\"delete-list\",\"spec\":{},\"started_by\":\"\","
                      "\"created_ms\":1,\"state\":\"running\",\"stop\":false,\"ended_ms\":0}");
    put_meta("job_at/x/t1", "{\"format\":1,\"state\":\"failed\",\"ok\":3,\"failed\":1,\"skipped\":0,\"bytes\":0,"
                            "\"began_ms\":1,\"ended_ms\":2,\"note\":\"\",\"errors\":[\"k: IO\"],\"at\":\"\"}");
    kit_start_engine(0);
    assert_string_equal(kit_end_of("x"), "failed");
    assert_int_equal(kit_number("x", "failed"), 1);
}

static void old_jobs_go_with_what_they_left(void **state)
{
    enum { EXTRA = 3 };
    struct system_bucket_res system = {0};
    char text[300];

    (void)state;
    system_bucket(kit.buckets, &kit.arena, &system, kit_call());
    assert_int_equal(kit_wait(), ERR_OK);
    for (int i = 0; i < JOBS_KEPT_LONG + EXTRA; i++) {
        snprintf(
            text, sizeof(text),
            "{\"format\":1,\"id\":\"x-%d\",\"kind\":\"delete-list\",\"spec\":{},\"started_by\":\"\",\"created_ms\":1,"
            "\"state\":\"done\",\"stop\":false,\"ended_ms\":%d}",
            i, 1000 + i);
        put_meta(arena_printf(&kit.arena, "job/x-%d", i).p, text);
        put_meta(arena_printf(&kit.arena, "job_at/x-%d/t1", i).p, "{\"format\":1,\"state\":\"done\"}");
        kit_put(system.bucket.id, arena_printf(&kit.arena, "jobs/x-%d/names", i), STR("a\n"));
    }
    kit_start_engine(0);
    for (unsigned count = 0, i = 0; count != JOBS_KEPT_LONG && i < 1000; i++) {
        count = doc_get(kit_look(""), STR("jobs"))->count;
        usleep(10000);
    }
    usleep(100000);
    assert_int_equal(doc_get(kit_look(""), STR("jobs"))->count, JOBS_KEPT_LONG);
    kit_stop_engine();
    assert_int_equal(kit_count(system.bucket.id, "jobs/"), JOBS_KEPT_LONG);
    assert_false(kit_has(system.bucket.id, "jobs/x-0/names"));
}

/* ---- kinds ---- */

static void a_copy_has_new_names_where_asked(void **state)
{
    struct bucket b = kit_bucket("b"), c = kit_bucket("c");
    char id[JOB_ID_MAX + 1];

    (void)state;
    kit_put(b.id, STR("d/a.jpg"), STR("one"));
    kit_put(b.id, STR("d/b.png"), STR("two"));
    kit_put(b.id, STR("d.jpg/c"), STR("three"));
    kit_start_engine(0);
    assert_int_equal(
        kit_job("copy",
                "{\"bucket\":\"b\",\"prefix\":\"d\",\"to\":\"c\",\"prepend\":\"new/\",\"ext\":{\"jpg\":\"txt\"}}", id),
        ERR_OK);
    assert_string_equal(kit_end_of(id), "done");
    assert_int_equal(kit_number(id, "ok"), 3);
    assert_int_equal(kit_number(id, "bytes"), 11);
    kit_stop_engine();
    assert_true(str_eq(kit_get(c.id, STR("new/d/a.txt")), STR("one")));
    assert_true(kit_has(c.id, "new/d/b.png") && kit_has(c.id, "new/d.jpg/c"));
    assert_int_equal(kit_count(c.id, ""), 3);
}

static void a_dry_run_counts_and_writes_nothing(void **state)
{
    struct bucket b = kit_bucket("b"), c = kit_bucket("c");
    char id[JOB_ID_MAX + 1];

    (void)state;
    fill(b.id, "k", 7);
    kit_start_engine(0);
    assert_int_equal(kit_job("copy", "{\"bucket\":\"b\",\"prefix\":\"\",\"to\":\"c\",\"dry_run\":true}", id), ERR_OK);
    assert_string_equal(kit_end_of(id), "done");
    assert_int_equal(kit_number(id, "ok"), 7);
    assert_int_equal(kit_number(id, "bytes"), 70);
    kit_stop_engine();
    assert_int_equal(kit_count(c.id, ""), 0);
}

static void synchronizing_deletes_what_the_source_has_not(void **state)
{
    struct bucket b = kit_bucket("b"), c = kit_bucket("c");
    char id[JOB_ID_MAX + 1];

    (void)state;
    fill(b.id, "p/k", 3);
    kit_put(c.id, STR("p/gone"), STR("x"));
    kit_put(c.id, STR("other"), STR("x"));
    kit_start_engine(0);
    assert_int_equal(kit_job("copy", "{\"bucket\":\"b\",\"prefix\":\"p/\",\"to\":\"c\",\"synchronize\":true}", id),
                     ERR_OK);
    assert_string_equal(kit_end_of(id), "done");
    kit_stop_engine();
    assert_int_equal(kit_count(c.id, "p/"), 3);
    assert_true(kit_has(c.id, "other"));
}

static void missing_names_of_a_list_are_failures_and_reported(void **state)
{
    struct bucket b = kit_bucket("b"), system;
    char id[JOB_ID_MAX + 1];
    struct bucket_id where;
    const struct doc *errors;

    (void)state;
    fill(b.id, "k", 3);
    kit_start_engine(0);
    assert_int_equal(kit_job("delete-list", "{\"bucket\":\"b\",\"names\":[\"k0000\",\"none\",\"k0001\"]}", id), ERR_OK);
    assert_string_equal(kit_end_of(id), "done");
    assert_int_equal(kit_number(id, "ok"), 2);
    assert_int_equal(kit_number(id, "failed"), 1);
    errors = doc_get(doc_get(kit_look(id), STR("parts"))->first, STR("errors"));
    assert_int_equal(errors->count, 1);
    assert_true(str_starts(errors->first->text, STR("b/none: ")));
    kit_stop_engine();
    assert_true(system_bucket_find(kit.buckets, &kit.arena, &where));
    system.id = where;
    struct str report = kit_get(system.id, arena_printf(&kit.arena, "jobs/%s/report/t1/000000000000", id));
    assert_true(str_starts(report, STR("{\"bucket\":\"b\",\"name\":\"none\",\"error\":")));
}

static void missing_names_of_a_template_are_passed_over(void **state)
{
    struct bucket b = kit_bucket("b");
    char id[JOB_ID_MAX + 1];

    (void)state;
    fill(b.id, "k", 3);
    kit_start_engine(0);
    assert_int_equal(kit_job("delete-list", "{\"bucket\":\"b\",\"template\":\"k{0001..0009}\"}", id), ERR_OK);
    assert_string_equal(kit_end_of(id), "done");
    assert_int_equal(kit_number(id, "ok"), 2);
    assert_int_equal(kit_number(id, "skipped"), 7);
    assert_int_equal(kit_number(id, "failed"), 0);
}

static void stopping_on_errors_ends_at_the_first(void **state)
{
    char id[JOB_ID_MAX + 1];

    (void)state;
    kit_bucket("b");
    kit_bucket("c");
    kit_start_engine(0);
    assert_int_equal(
        kit_job("copy-list",
                "{\"bucket\":\"b\",\"to\":\"c\",\"workers\":1,\"stop_on_error\":true,\"names\":[\"a\",\"b\",\"c\"]}",
                id),
        ERR_OK);
    assert_string_equal(kit_end_of(id), "failed");
    assert_int_equal(kit_number(id, "failed"), 1);
}

static void a_job_of_a_missing_bucket_fails(void **state)
{
    char id[JOB_ID_MAX + 1];

    (void)state;
    kit_start_engine(0);
    assert_int_equal(kit_job("delete-list", "{\"bucket\":\"b\",\"prefix\":\"\"}", id), ERR_OK);
    assert_string_equal(kit_end_of(id), "failed");
    assert_int_equal(kit_number(id, "failed"), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_open, kit_close)
    const struct CMUnitTest tests[] = {
        TEST(a_job_begins_at_once_and_ends_soon_after_its_work),
        TEST(what_can_not_be_is_refused),
        TEST(what_is_done_already_is_only_written_down),
        TEST(a_stopped_job_ends_before_its_work_does),
        TEST(work_goes_on_when_the_process_is_back),
        TEST(after_a_crash_work_goes_on_from_what_was_told),
        TEST(the_end_is_found_after_a_crash),
        TEST(old_jobs_go_with_what_they_left),
        TEST(a_copy_has_new_names_where_asked),
        TEST(a_dry_run_counts_and_writes_nothing),
        TEST(synchronizing_deletes_what_the_source_has_not),
        TEST(missing_names_of_a_list_are_failures_and_reported),
        TEST(missing_names_of_a_template_are_passed_over),
        TEST(stopping_on_errors_ends_at_the_first),
        TEST(a_job_of_a_missing_bucket_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
