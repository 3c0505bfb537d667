/* Sidecars' lives. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "engine_box.h"
#include "etl/record.h"

#define HAS(s, literal) assert_true(str_find((s), STR(literal)) != SIZE_MAX)
#define MS              UINT64_C(1000000)

/* ---- begin and end ---- */

static void a_sidecar_runs_as_long_as_its_record_is_there(void **state)
{
    struct etl_node_state s;

    (void)state;
    make("resize", "upper", "");
    assert_int_equal(atomic_load(&box.fake.running), 1);
    assert_true(look("resize", &s));
    assert_true(str_eq(s.state, STR("ready")) && str_eq(s.address, STR("resize-1")));
    assert_int_equal(s.restarts, 0);
    assert_int_equal(s.error.n, 0);
    assert_err(drop("resize"), ERR_OK);
    assert_int_equal(atomic_load(&box.fake.running), 0);
    assert_false(meta_has("etl_at/resize/n1"));
}

static void one_that_was_there_before_the_engine_is_started(void **state)
{
    (void)state;
    make("resize", "upper", "");
    box_close_engine();
    assert_true(atomic_load(&box.fake.closed));
    assert_false(meta_has("etl_at/resize/n1"));
    put_meta("etl_at/former/n1", STR("{}"), false);
    put_meta("etl_at/resize/n2", STR("{}"), false);
    box_open_engine(true);
    look_until("resize", "ready", 0);
    for (int i = 0; i < 300 && meta_has("etl_at/former/n1"); i++)
        ask_turn_ms(10);
    assert_false(meta_has("etl_at/former/n1")); /* of an earlier process of this node */
    assert_true(meta_has("etl_at/resize/n2"));  /* somebody else's */
}

static void a_new_making_of_the_same_name_is_another_sidecar(void **state)
{
    struct etl_node_state s;

    (void)state;
    make("resize", "upper", "");
    atomic_store(&box.fake.stop_ms, 300);
    put_meta("etl/resize", STR_NONE, true); /* nobody waits for the former one's end */
    make("resize", "upper", "");
    assert_true(look("resize", &s));
    assert_true(str_eq(s.address, STR("resize-2")));
    assert_int_equal(atomic_load(&box.fake.running), 1);
}

static void stopped_and_started_it_is_a_new_incarnation(void **state)
{
    struct etl_node_state s;

    (void)state;
    make("resize", "upper", "");
    assert_err(stop("resize"), ERR_OK);
    assert_int_equal(atomic_load(&box.fake.running), 0);
    assert_err(start("resize"), ERR_OK);
    assert_true(look("resize", &s));
    assert_true(str_eq(s.address, STR("resize-2")));
}

static void one_that_is_deleted_while_it_starts_is_gone_soon(void **state)
{
    static const char *const modes[] = {"upper", "hang", "mute", "exits", "nostart"};

    (void)state;
    atomic_store(&box.fake.start_ms, 200);
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
        struct making m;
        making_begin(&m, "resize", modes[i], "");
        ask_turn_ms(i % 2 ? 100 : 300); /* in the start, and behind it */
        if (!m.flag.done) {
            enum err e = drop("resize");
            assert_true(e == ERR_OK || e == ERR_NO_SUCH_ETL);
        }
        enum err e = flag_wait(&m.flag);
        assert_true(e == ERR_CONFLICT || e == ERR_ETL || e == ERR_OK);
        (void)drop("resize");
        assert_int_equal(atomic_load(&box.fake.running), 0);
        assert_false(meta_has("etl_at/resize/n1"));
    }
}

static void a_node_without_a_runtime_says_so(void **state)
{
    struct making m;

    (void)state;
    box_close_engine();
    box_open_engine(false);
    making_begin(&m, "resize", "upper", "");
    assert_err(flag_wait(&m.flag), ERR_ETL);
    HAS(str_z(m.res.why), "node n1: this node runs no ETLs");
    assert_int_equal(fake_starts(&box.fake), 0);
}

static struct str record_of(const char *name, const char *mode)
{
    struct etl_record r = {.stage = ETL_RUNNING};
    char why[ETL_WHY_MAX];
    struct str text;

    text = arena_printf(&box.arena, "name: %s\nruntime: {image: a, command: [%s]}\ncommunication: io://\n", name, mode);
    assert_err(etl_spec_parse(text, &box.arena, &r.spec, why), ERR_OK);
    etl_record_renew(&box.arena, &r);
    assert_err(etl_record_text(&box.arena, &r, &text), ERR_OK);
    return text;
}

static void more_than_a_node_runs_are_refused_until_there_is_room(void **state)
{
    char name[32], key[64];
    struct etl_node_state s;

    (void)state;
    for (int i = 0; i <= ETL_RUNNING_MAX; i++) {
        snprintf(name, sizeof(name), "etl-%04d", i);
        snprintf(key, sizeof(key), "etl/%s", name);
        put_meta(key, record_of(name, "bare"), false);
    }
    for (int i = 0; i < 1000 && atomic_load(&box.fake.running) < ETL_RUNNING_MAX; i++)
        ask_turn_ms(10);
    assert_int_equal(atomic_load(&box.fake.running), ETL_RUNNING_MAX);
    int refused = -1;
    for (int i = 0; i <= ETL_RUNNING_MAX; i++) {
        snprintf(name, sizeof(name), "etl-%04d", i);
        for (int k = 0; k < 300 && (!look(name, &s) || str_eq(s.state, STR("starting"))); k++)
            ask_turn_ms(10);
        if (str_eq(s.state, STR("ready")))
            continue;
        assert_int_equal(refused, -1);
        refused = i;
        HAS(s.error, "runs 256 ETLs already");
    }
    assert_int_not_equal(refused, -1);
    put_meta(refused ? "etl/etl-0000" : "etl/etl-0001", STR_NONE, true);
    snprintf(name, sizeof(name), "etl-%04d", refused);
    look_until(name, "ready", 0);
}

/* ---- those that do not get ready ---- */

static void one_that_never_gets_ready_has_failed_and_says_why(void **state)
{
    static const struct {
        const char *mode, *why;
    } cases[] = {
        {"deaf", "it was not ready within 1 s: GET \"/health\" is answered with 503"},
        {"hang", "it was not ready within 1 s: GET \"/health\" is not answered"},
        {"mute", "it was not ready within 1 s: nothing listens on its port 8000"},
        {"exits", "it ended before it was ready: exit status 1"},
        {"nostart", "it can't be started: no such image"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct making m;
        making_begin(&m, "resize", cases[i].mode, "init_timeout: 1s\n");
        assert_err(flag_wait(&m.flag), ERR_ETL);
        struct str why = str_z(m.res.why);
        if (str_find(why, str_z(cases[i].why)) == SIZE_MAX)
            fail_msg("%s: %s", cases[i].mode, m.res.why);
        HAS(why, "ETL resize at node n1");
        if (strcmp(cases[i].mode, "nostart") != 0)
            HAS(why, "wrote this last");
        assert_false(meta_has("etl/resize"));
        assert_false(meta_has("etl_at/resize/n1"));
        assert_int_equal(atomic_load(&box.fake.running), 0);
        assert_int_equal(fake_starts(&box.fake), i + 1); /* once: nobody waits for a second try */
    }
}

/* ---- those that end ---- */

static void one_that_ends_is_started_again_each_time_later(void **state)
{
    struct etl_node_state s;
    uint64_t killed_ns[4];

    (void)state;
    make("resize", "upper", "");
    for (unsigned i = 0; i < 4; i++) {
        look_until("resize", "ready", i);
        killed_ns[i] = clock_mono_ns();
        assert_true(fake_kill(&box.fake, "resize"));
        look_until("resize", "starting", i + 1);
        assert_true(look("resize", &s));
        HAS(s.error, "it ended: exit status 1; its last output:\n");
        assert_true(str_ends(s.error, arena_printf(&box.arena, "resize-%u wrote this last", i + 1)));
    }
    look_until("resize", "ready", 4);
    assert_int_equal(fake_starts(&box.fake), 5);
    for (unsigned i = 0; i < 4; i++)
        assert_true(box.fake.started_ns[i + 1] - killed_ns[i] >= (UINT64_C(200) << i) * MS);
    assert_true(look("resize", &s)); /* why it was, stays */
    HAS(s.error, "it ended: exit status 1");
    assert_int_equal(atomic_load(&box.fake.running), 1);
}

static void one_that_ran_is_tried_again_for_as_long_as_it_is_wanted(void **state)
{
    (void)state;
    put_meta("etl/resize", record_of("resize", "nostart"), false);
    look_until("resize", "starting", 3);
    put_meta("etl/resize", STR_NONE, true);
    for (int i = 0; i < 300 && meta_has("etl_at/resize/n1"); i++)
        ask_turn_ms(10);
    assert_false(meta_has("etl_at/resize/n1"));
}

static void what_it_uses_is_told(void **state)
{
    struct etl_node_state s = {.memory = 0};

    (void)state;
    make("resize", "upper", "");
    for (int i = 0; i < 1000 && !s.memory; i++) {
        ask_turn_ms(10);
        assert_true(look("resize", &s));
    }
    assert_int_equal(s.memory, 5 << 20);
}

/* ---- logs ---- */

static void the_log_of_one_that_runs_and_of_one_that_is_gone(void **state)
{
    struct buf log = BUF_INIT(ETL_LOG_MAX);
    struct etl_logs_req req = {&box.arena, STR("resize"), STR("n1")};
    struct etl_logs_res res;
    struct flag f;

    (void)state;
    make("resize", "upper", "");
    assert_err(etls_logs(box.engine, STR("resize"), &log), ERR_OK);
    assert_true(str_starts(buf_str(&log), STR("line 0 ")));
    HAS(buf_str(&log), "resize-1 wrote this last");
    etl_logs(box.lane, &req, &res, flag_begin(&f));
    assert_err(flag_wait(&f), ERR_OK);
    assert_true(str_eq(res.text, buf_str(&log)));
    buf_reset(&log);
    atomic_store(&box.fake.start_ms, 500);
    assert_true(fake_kill(&box.fake, "resize"));
    look_until("resize", "starting", 1);
    assert_err(etls_logs(box.engine, STR("resize"), &log), ERR_OK);
    assert_true(str_ends(buf_str(&log), STR("resize-1 wrote this last")));
    req.name = STR("nobody");
    etl_logs(box.lane, &req, &res, flag_begin(&f));
    assert_err(flag_wait(&f), ERR_NO_SUCH_ETL);
    buf_release(&log);
}

/* ---- the engine's end ---- */

static void the_engine_ends_whatever_its_sidecars_are_at(void **state)
{
    static const char *const modes[] = {"upper", "hang", "mute", "deaf", "exits", "nostart"};
    char name[32], key[64];

    (void)state;
    for (int ms = 0; ms < 700; ms += 120) {
        for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
            snprintf(name, sizeof(name), "etl-%s", modes[i]);
            snprintf(key, sizeof(key), "etl/%s", name);
            struct str text = record_of(name, modes[i]), at = str_n(text.p, str_find(text, STR("io://")));
            put_meta(
                key,
                arena_printf(&box.arena, STR_FMT "hpush://" STR_FMT, STR_ARG(at), STR_ARG(str_skip(text, at.n + 5))),
                false);
        }
        atomic_store(&box.fake.start_ms, ms % 360);
        atomic_store(&box.fake.stop_ms, 50);
        ask_turn_ms((unsigned)ms);
        uint64_t began = clock_mono_ns();
        box_close_engine(); /* which checks that nothing is left */
        assert_true(clock_mono_ns() - began < 3000 * MS);
        for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
            snprintf(key, sizeof(key), "etl_at/etl-%s/n1", modes[i]);
            assert_false(meta_has(key));
        }
        box_open_engine(true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOX_TEST(a_sidecar_runs_as_long_as_its_record_is_there),
        BOX_TEST(one_that_was_there_before_the_engine_is_started),
        BOX_TEST(a_new_making_of_the_same_name_is_another_sidecar),
        BOX_TEST(stopped_and_started_it_is_a_new_incarnation),
        BOX_TEST(one_that_is_deleted_while_it_starts_is_gone_soon),
        BOX_TEST(a_node_without_a_runtime_says_so),
        BOX_TEST(more_than_a_node_runs_are_refused_until_there_is_room),
        BOX_TEST(one_that_never_gets_ready_has_failed_and_says_why),
        BOX_TEST(one_that_ends_is_started_again_each_time_later),
        BOX_TEST(one_that_ran_is_tried_again_for_as_long_as_it_is_wanted),
        BOX_TEST(what_it_uses_is_told),
        BOX_TEST(the_log_of_one_that_runs_and_of_one_that_is_gone),
        BOX_TEST(the_engine_ends_whatever_its_sidecars_are_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
