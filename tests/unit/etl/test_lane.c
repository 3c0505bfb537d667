/* Objects through ETLs. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine_box.h"

#define HAS(s, literal) assert_true(str_find((s), STR(literal)) != SIZE_MAX)
#define EQ(s, literal)  assert_string_equal(arena_str(&box.arena, (s)).p, literal)

/* ---- results ---- */

static void an_object_goes_through_one_stage(void **state)
{
    struct trip t;

    (void)state;
    make("upper-1", "upper", "");
    trip_object(&t, "upper-1", "big");
    assert_err(trip_run(&t), ERR_OK);
    assert_true(trip_is(&t, BOX_BIG, 1, true));
    EQ(t.res.content_type, "text/loud");
    assert_int_equal(t.res.head.info.size, BOX_BIG);
    trip_end(&t);
    trip_body(&t, "upper-1", 70000, true);
    assert_err(trip_run(&t), ERR_OK);
    assert_true(trip_is(&t, 70000, 1, true));
    trip_end(&t);
    trip_body(&t, "upper-1", 0, true);
    assert_err(trip_run(&t), ERR_OK);
    assert_int_equal(t.body_n, 0);
    trip_end(&t);
}

static void the_result_of_a_stage_is_streamed_into_the_next(void **state)
{
    struct trip t;

    (void)state;
    make("upper-1", "upper", "");
    make("twice-1", "twice", "");
    trip_object(&t, "upper-1,twice-1", "big");
    assert_err(trip_run(&t), ERR_OK);
    assert_true(trip_is(&t, BOX_BIG, 2, true));
    trip_end(&t);
    trip_body(&t, "twice-1,twice-1,upper-1", 3000000, false);
    assert_err(trip_run(&t), ERR_OK);
    assert_true(trip_is(&t, 3000000, 4, true));
    trip_end(&t);
    trip_object(&t, "@gzip,@gunzip,twice-1,@zstd,@decompress", "big");
    assert_err(trip_run(&t), ERR_OK);
    assert_true(trip_is(&t, BOX_BIG, 2, false));
    trip_end(&t);
}

/* Whatever its size: what is not read yet is not there yet. */
static void a_result_that_nobody_reads_holds_the_object_back(void **state)
{
    struct trip t;

    (void)state;
    make("twice-1", "twice", "obj_timeout: 60s\n");
    make("upper-1", "upper", "obj_timeout: 60s\n");
    trip_body(&t, "upper-1,twice-1", UINT64_C(1) << 40, true);
    trip_begin(&t);
    assert_err(trip_wait(&t), ERR_OK);
    for (int i = 0; i < 20; i++)
        assert_err(trip_read(&t, 50000), ERR_OK);
    uint64_t at = t.gen.at;
    ask_turn_ms(500);
    assert_true(t.gen.at - at < 16 << 20); /* sockets are generous */
    at = t.gen.at;
    ask_turn_ms(300);
    assert_int_equal(t.gen.at, at);
    assert_true(at < 64 << 20);
    trip_end(&t);
}

static void a_range_of_an_object_is_transformed_alone(void **state)
{
    struct trip t;

    (void)state;
    make("upper-1", "upper", "");
    make("pull-1", "pull", "communication: hpull://\n");
    for (int i = 0; i < 2; i++) {
        trip_object(&t, i ? "pull-1" : "upper-1", "big");
        t.object.head.range = (struct range){.kind = RANGE_FROM_TO, .first = 23, .last = 23 + 999};
        assert_err(trip_run(&t), ERR_OK);
        assert_true(trip_is(&t, 1000, 1, true));
        trip_end(&t);
    }
}

static void a_sidecar_comes_for_its_object(void **state)
{
    struct trip t;

    (void)state;
    make("pull-1", "pull", "communication: hpull://\n");
    trip_object(&t, "pull-1", "big");
    assert_err(trip_run(&t), ERR_OK);
    assert_true(trip_is(&t, BOX_BIG, 1, true));
    trip_end(&t);
    make("twice-1", "twice", "");
    trip_object(&t, "twice-1,pull-1", "small"); /* behind another stage it is pushed */
    assert_err(trip_run(&t), ERR_OK);
    assert_true(trip_is(&t, BOX_SMALL, 2, false) || trip_is(&t, BOX_SMALL, 2, true));
    trip_end(&t);
}

static void a_file_is_handed_over_to_those_that_want_one(void **state)
{
    struct trip t;

    (void)state;
    make("file-1", "file", "  env: [{name: ETL_DIRECT_FQN, value: \"true\"}]\n");
    for (int i = 0; i < 3; i++) {
        trip_object(&t, "file-1", "big");
        assert_err(trip_run(&t), ERR_OK);
        assert_true(trip_is(&t, BOX_BIG, 1, true));
        trip_end(&t);
    }
    atomic_store(&box.fake.no_share, true); /* a runtime without: then pushed, which this sidecar refuses */
    trip_object(&t, "file-1", "small");
    assert_err(trip_run(&t), ERR_ETL);
    EQ(t.res.text, "ETL file-1: no etl_fqn");
    trip_end(&t);
}

static void arguments_go_to_the_stages_they_are_for(void **state)
{
    struct trip t;

    (void)state;
    make("tells-1", "tells", "");
    trip_object(&t, "tells-1", "small");
    t.stages[0].args = STR("a b&c=\"d\"");
    assert_err(trip_run(&t), ERR_OK);
    HAS(str_n(t.body, t.body_n), "PUT /b/small?etl_args=a%20b%26c%3D%22d%22 HTTP/1.1\r\n");
    HAS(str_n(t.body, t.body_n), "Content-Length: 1000\r\n");
    trip_end(&t);
}

/* ---- what is told of it ---- */

static void what_went_through_is_counted(void **state)
{
    struct etl_node_state s = {.objects = 0};
    struct trip t;

    (void)state;
    make("twice-1", "twice", "");
    make("refuse-1", "refuse", "");
    trip_object(&t, "twice-1", "small");
    assert_err(trip_run(&t), ERR_OK);
    trip_end(&t);
    trip_object(&t, "twice-1,refuse-1", "small");
    assert_err(trip_run(&t), ERR_ETL);
    trip_end(&t);
    for (int i = 0; i < 500 && s.in_bytes < 2 * BOX_SMALL; i++) {
        ask_turn_ms(10);
        assert_true(look("twice-1", &s));
    }
    assert_int_equal(s.objects, 1);
    assert_int_equal(s.errors, 0);
    assert_int_equal(s.in_bytes, 2 * BOX_SMALL);
    assert_int_equal(s.out_bytes, 4 * BOX_SMALL);
    for (int i = 0; i < 500 && !s.errors; i++) {
        ask_turn_ms(10);
        assert_true(look("refuse-1", &s));
    }
    assert_int_equal(s.objects, 0);
    assert_int_equal(s.errors, 1);
    assert_int_equal(s.object_error_count, 1);
    EQ(s.object_errors[0].object, "b/small");
    EQ(s.object_errors[0].message, "no cat in it");
    assert_int_equal(s.object_errors[0].status, 422);
}

/* ---- refusals ---- */

static void what_a_sidecar_says_is_told_with_its_name(void **state)
{
    struct trip t;

    (void)state;
    make("refuse-1", "refuse", "");
    make("upper-1", "upper", "");
    trip_object(&t, "refuse-1", "small");
    assert_err(trip_run(&t), ERR_ETL);
    assert_int_equal(t.res.status, 422);
    EQ(t.res.text, "ETL refuse-1: no cat in it");
    assert_null(t.res.body);
    trip_end(&t);
    trip_object(&t, "upper-1,refuse-1,upper-1", "big");
    assert_err(trip_run(&t), ERR_ETL);
    assert_int_equal(t.res.status, 422);
    EQ(t.res.text, "ETL refuse-1: no cat in it");
    trip_end(&t);
}

static void what_cant_be_run_is_refused(void **state)
{
    struct trip t;

    (void)state;
    make("upper-1", "upper", "");
    trip_object(&t, "nobody", "small");
    assert_err(trip_run(&t), ERR_NO_SUCH_ETL);
    assert_int_equal(t.res.status, err_status(ERR_NO_SUCH_ETL));
    EQ(t.res.text, "ETL nobody: there is none of that name");
    trip_end(&t);
    trip_object(&t, "upper-1,@nothing", "small");
    assert_err(trip_run(&t), ERR_NO_SUCH_ETL);
    assert_true(t.res.text.n);
    trip_end(&t);
    trip_object(&t, "", "small");
    assert_err(trip_run(&t), ERR_INVALID_ARGUMENT);
    trip_end(&t);
    trip_object(&t, "upper-1", "absent");
    assert_err(trip_run(&t), ERR_NO_SUCH_KEY);
    trip_end(&t);
}

static void a_stage_that_takes_too_long_is_given_up(void **state)
{
    struct trip t;

    (void)state;
    make("hold-1", "hold", "obj_timeout: 300ms\n");
    trip_object(&t, "hold-1", "small");
    assert_err(trip_run(&t), ERR_TIMEOUT);
    EQ(t.res.text, "ETL hold-1: no result within 300 ms");
    trip_end(&t);
    atomic_store(&box.fake.release, true);
}

/* ---- what breaks off ---- */

/* It is never taken for a shorter result. */
static void a_sidecar_that_dies_breaks_the_result(void **state)
{
    static const char *const rows[] = {"dies-1",
                                       "cuts-1",
                                       "dies-1,upper-1",
                                       "cuts-1,upper-1",
                                       "cuts-1,@gzip",
                                       "upper-1,cuts-1",
                                       "@gzip,@gunzip,cuts-1,twice-1"};

    (void)state;
    make("dies-1", "dies", "");
    make("cuts-1", "cuts", "");
    make("upper-1", "upper", "");
    make("twice-1", "twice", "");
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct trip t;
        trip_object(&t, rows[i], "big");
        enum err e = trip_run(&t);
        if (e == ERR_OK)
            fail_msg("%s: it ended well after %zu bytes", rows[i], t.body_n);
        trip_end(&t);
    }
    struct etl_node_state s = {.errors = 0};
    for (int i = 0; i < 500 && s.errors < 5; i++) {
        ask_turn_ms(10);
        assert_true(look("cuts-1", &s));
    }
    assert_int_equal(s.errors, 5);
    assert_int_equal(s.objects, 0);
    assert_true(look("upper-1", &s));
    assert_int_equal(s.errors, 0); /* what it was given was at fault */
}

/* The end of the connection is all that tells of the end then. */
static void an_answer_of_no_length_ends_well_only_while_its_sidecar_runs(void **state)
{
    struct trip t;

    (void)state;
    make("old-one", "old", "");
    make("old-dies", "olddies", "");
    trip_object(&t, "old-one", "big");
    assert_err(trip_run(&t), ERR_OK);
    assert_true(trip_is(&t, BOX_BIG, 1, false));
    trip_end(&t);
    trip_object(&t, "old-dies", "big");
    assert_err(trip_run(&t), ERR_UNAVAILABLE);
    assert_true(t.body_n < BOX_BIG);
    trip_end(&t);
}

static void an_object_that_breaks_off_is_not_the_etls_fault(void **state)
{
    struct etl_node_state s;
    struct trip t;

    (void)state;
    make("upper-1", "upper", "");
    for (int i = 0; i < 2; i++) {
        trip_body(&t, "upper-1", 2000000, i);
        t.gen.fail_at = i ? 1500000 : 0;
        assert_err(trip_run(&t), ERR_CORRUPT);
        trip_end(&t);
    }
    ask_turn_ms(1300);
    assert_true(look("upper-1", &s));
    assert_int_equal(s.errors, 0);
    assert_int_equal(s.objects, 0);
}

/* ---- trying again ---- */

static void one_that_asks_for_it_again_gets_it_again(void **state)
{
    struct trip t;

    (void)state;
    make("shy-one", "shy", "");
    trip_object(&t, "shy-one", "small");
    assert_err(trip_run(&t), ERR_OK);
    assert_true(trip_is(&t, BOX_SMALL, 1, true));
    trip_end(&t);
    make("shy-two", "shy", "");
    trip_body(&t, "shy-two", 1000, true); /* which is gone */
    assert_err(trip_run(&t), ERR_ETL);
    assert_int_equal(t.res.status, 503);
    EQ(t.res.text, "ETL shy-two: again");
    trip_end(&t);
}

static void one_that_is_being_started_again_is_waited_for(void **state)
{
    struct trip t;

    (void)state;
    make("upper-1", "upper", "");
    for (unsigned i = 0; i < 3; i++) {
        assert_true(fake_kill(&box.fake, "upper-1"));
        if (i == 2)
            look_until("upper-1", "starting", 3);
        trip_object(&t, "upper-1", "small");
        assert_err(trip_run(&t), ERR_OK);
        assert_true(trip_is(&t, BOX_SMALL, 1, true));
        trip_end(&t);
        look_until("upper-1", "ready", i + 1);
    }
}

/* ---- those who go away ---- */

static void a_client_that_gives_up_leaves_nothing_behind(void **state)
{
    struct trip t;

    (void)state;
    make("upper-1", "upper", "");
    make("twice-1", "twice", "");
    make("pull-1", "pull", "communication: hpull://\n");
    static const char *const rows[] = {"upper-1", "upper-1,twice-1", "pull-1,@gzip"};
    for (int i = 0; i < 2 * ETL_INFLIGHT; i++) { /* turns that were kept would run out */
        trip_object(&t, rows[i % 3], "big");
        trip_begin(&t);
        assert_err(trip_wait(&t), ERR_OK);
        if (i % 2)
            assert_err(trip_read(&t, 1000), ERR_OK);
        trip_end(&t);
    }
    trip_object(&t, "upper-1,twice-1", "big");
    assert_err(trip_run(&t), ERR_OK);
    trip_end(&t);
}

/* Cancelled at one moment after the other. */
static void a_call_can_be_cancelled_at_any_time(void **state)
{
    static const char *const rows[] = {"upper-1", "upper-1,twice-1", "file-1,@gzip", "pull-1", "@gzip,twice-1,@gunzip"};
    struct trip t;

    (void)state;
    make("upper-1", "upper", "");
    make("twice-1", "twice", "");
    make("pull-1", "pull", "communication: hpull://\n");
    make("file-1", "file", "  env: [{name: ETL_DIRECT_FQN, value: \"1\"}]\n");
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        bool ended = false;
        for (int turns = 0; turns < 60 && !ended; turns++) {
            trip_object(&t, rows[i], "small");
            trip_begin(&t);
            for (int k = 0; k < turns && !t.flag.done; k++)
                loop_turn(ask_loop, 1);
            ended = t.flag.done;
            call_cancel(&t.flag.call);
            enum err e = trip_wait(&t);
            if (e != ERR_OK && !ended)
                assert_err(e, ERR_CANCELLED);
            trip_end(&t);
        }
        assert_true(ended || i == 4);
        trip_object(&t, rows[i], "small");
        enum err e = trip_run(&t);
        assert_true(e == ERR_OK || i == 4);
        trip_end(&t);
    }
}

static void a_read_can_be_cancelled(void **state)
{
    struct trip t;

    (void)state;
    make("upper-1", "upper", "");
    trip_body(&t, "upper-1", 100000000, true);
    t.gen.hang_at = 60000000; /* behind what sockets hold: an answer waits for a read of the object */
    trip_begin(&t);
    assert_err(trip_wait(&t), ERR_OK);
    char *buf = mem_alloc(1 << 20);
    size_t n;
    for (;;) {
        source_read(t.res.body, buf, 1 << 20, &n, flag_begin(&t.read));
        for (int i = 0; i < 50 && !t.read.done; i++)
            loop_turn(ask_loop, 10);
        if (!t.read.done)
            break;
        assert_err(flag_wait(&t.read), ERR_OK);
        assert_int_not_equal(n, 0);
    }
    assert_non_null(t.gen.hanging);
    call_cancel(&t.read.call);
    enum err e = flag_wait(&t.read); /* what had come is kept back while the object is being read */
    assert_true(e == ERR_CANCELLED || (e == ERR_OK && n > 0));
    free(buf);
    trip_end(&t);
}

/* ---- bounds ---- */

static void turns_turn(struct trip *t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        trip_object(&t[i], "hold-1", "small");
        trip_begin(&t[i]);
    }
}

static void only_so_many_are_at_work_and_only_so_many_wait(void **state)
{
    enum { ALL = ETL_INFLIGHT + ETL_WAITING_MAX };
    struct trip *t = mem_alloc(ALL * sizeof(*t)), extra;

    (void)state;
    make("hold-1", "hold", "obj_timeout: 60s\n");
    turns_turn(t, ALL);
    for (int i = 0; i < 500 && atomic_load(&box.fake.at_work) < ETL_INFLIGHT; i++)
        ask_turn_ms(10);
    assert_int_equal(atomic_load(&box.fake.at_work), ETL_INFLIGHT);
    trip_object(&extra, "hold-1", "small");
    assert_err(trip_run(&extra), ERR_BUSY);
    EQ(extra.res.text, "ETL hold-1: too many objects wait for it");
    assert_int_equal(extra.res.status, err_status(ERR_BUSY));
    trip_end(&extra);
    for (size_t i = ETL_INFLIGHT + 100; i < ALL; i++)
        call_cancel(&t[i].flag.call);
    for (size_t i = ETL_INFLIGHT + 100; i < ALL; i++)
        assert_err(trip_wait(&t[i]), ERR_CANCELLED);
    atomic_store(&box.fake.release, true);
    for (size_t i = 0; i < ETL_INFLIGHT + 100; i++) {
        assert_err(trip_wait(&t[i]), ERR_OK);
        assert_err(trip_drain(&t[i]), ERR_OK);
        assert_true(trip_is(&t[i], BOX_SMALL, 1, true));
        trip_end(&t[i]);
    }
    for (size_t i = ETL_INFLIGHT + 100; i < ALL; i++)
        trip_end(&t[i]);
    assert_int_equal(atomic_load(&box.fake.most), ETL_INFLIGHT);
    free(t);
}

/* Two rows of the same ETLs the other way round, as many as there are turns: none waits for the other for good. */
static void pipelines_do_not_wait_for_each_other(void **state)
{
    enum { ALL = 3 * ETL_INFLIGHT };
    struct trip *t = mem_alloc(ALL * sizeof(*t));

    (void)state;
    make("upper-1", "upper", "");
    make("twice-1", "twice", "");
    for (size_t i = 0; i < ALL; i++) {
        trip_object(&t[i],
                    i % 3 == 0   ? "upper-1,twice-1"
                    : i % 3 == 1 ? "twice-1,upper-1"
                                 : "upper-1,upper-1,upper-1",
                    "small");
        trip_begin(&t[i]);
    }
    for (size_t left = ALL; left;) { /* in the order in which they come: a result that is not read keeps its turns */
        loop_turn(ask_loop, 20);
        for (size_t i = 0; i < ALL; i++) {
            if (!t[i].flag.done || t[i].body_n)
                continue;
            assert_err(t[i].flag.call.err, ERR_OK);
            assert_err(trip_drain(&t[i]), ERR_OK);
            assert_true(trip_is(&t[i], BOX_SMALL, i % 3 == 2 ? 1 : 2, true));
            source_close(t[i].res.body);
            t[i].res.body = NULL;
            left--;
        }
    }
    for (size_t i = 0; i < ALL; i++)
        trip_end(&t[i]);
    free(t);
}

/* ---- the ETL goes ---- */

static void an_etl_that_is_deleted_takes_its_transforms_with_it(void **state)
{
    enum { ALL = ETL_INFLIGHT + 20 };
    struct trip *t = mem_alloc(ALL * sizeof(*t)), half;

    (void)state;
    make("hold-1", "hold", "obj_timeout: 60s\n");
    make("upper-1", "upper", "");
    trip_body(&half, "upper-1", 200000000, true); /* in the middle of its result */
    trip_begin(&half);
    assert_err(trip_wait(&half), ERR_OK);
    assert_err(trip_read(&half, 1000), ERR_OK);
    turns_turn(t, ALL); /* without an answer, and without a turn */
    for (int i = 0; i < 500 && atomic_load(&box.fake.at_work) < ETL_INFLIGHT; i++)
        ask_turn_ms(10);
    assert_err(drop("hold-1"), ERR_OK);
    assert_err(drop("upper-1"), ERR_OK);
    assert_int_equal(atomic_load(&box.fake.running), 0);
    for (size_t i = 0; i < ALL; i++) {
        assert_err(trip_wait(&t[i]), ERR_UNAVAILABLE);
        HAS(t[i].res.text, "ETL hold-1: ");
        assert_int_equal(t[i].res.status, 503);
        trip_end(&t[i]);
    }
    assert_int_not_equal(trip_drain(&half), ERR_OK);
    assert_true(half.body_n < 200000000);
    trip_end(&half);
    trip_object(&half, "upper-1", "big");
    assert_err(trip_run(&half), ERR_NO_SUCH_ETL);
    trip_end(&half);
    free(t);
}

static void files_are_removed_also_when_the_engine_ends(void **state)
{
    struct trip t;

    (void)state;
    make("file-1", "file", "  env: [{name: ETL_DIRECT_FQN, value: \"true\"}]\n");
    trip_object(&t, "file-1", "small");
    assert_err(trip_run(&t), ERR_OK);
    trip_end(&t);
    box_close_engine(); /* at once; it checks that no file is left */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOX_TEST(an_object_goes_through_one_stage),
        BOX_TEST(the_result_of_a_stage_is_streamed_into_the_next),
        BOX_TEST(a_result_that_nobody_reads_holds_the_object_back),
        BOX_TEST(a_range_of_an_object_is_transformed_alone),
        BOX_TEST(a_sidecar_comes_for_its_object),
        BOX_TEST(a_file_is_handed_over_to_those_that_want_one),
        BOX_TEST(arguments_go_to_the_stages_they_are_for),
        BOX_TEST(what_went_through_is_counted),
        BOX_TEST(what_a_sidecar_says_is_told_with_its_name),
        BOX_TEST(what_cant_be_run_is_refused),
        BOX_TEST(a_stage_that_takes_too_long_is_given_up),
        BOX_TEST(a_sidecar_that_dies_breaks_the_result),
        BOX_TEST(an_answer_of_no_length_ends_well_only_while_its_sidecar_runs),
        BOX_TEST(an_object_that_breaks_off_is_not_the_etls_fault),
        BOX_TEST(one_that_asks_for_it_again_gets_it_again),
        BOX_TEST(one_that_is_being_started_again_is_waited_for),
        BOX_TEST(a_client_that_gives_up_leaves_nothing_behind),
        BOX_TEST(a_call_can_be_cancelled_at_any_time),
        BOX_TEST(a_read_can_be_cancelled),
        BOX_TEST(only_so_many_are_at_work_and_only_so_many_wait),
        BOX_TEST(pipelines_do_not_wait_for_each_other),
        BOX_TEST(an_etl_that_is_deleted_takes_its_transforms_with_it),
        BOX_TEST(files_are_removed_also_when_the_engine_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
