#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "http/serve.h"
#include "sidecar.h"

#define BIG (5u << 20)

static struct sidecar car;

static void expect(const struct thing *t, const char *text)
{
    assert_int_equal(t->body_n, strlen(text));
    assert_memory_equal(t->body, text, t->body_n);
}

static void expect_pattern(const struct thing *t, size_t n)
{
    assert_int_equal(t->body_n, n);
    for (size_t i = 0; i < n; i++)
        if (t->body[i] != serve_pattern(i))
            fail_msg("byte %zu differs", i);
}

static void settle_down(struct etl_wire *w)
{
    etl_wire_free(w); /* which waits for processes */
    ask_turn_ms(5);
    sidecar_stop(&car);
}

static enum err once(const char *command, struct thing *t, bool peek)
{
    sidecar_command(&car, command);
    struct etl_wire *w = sidecar_wire(&car, 0);
    t->req.comm = ETL_IO;
    thing_begin(w, t);
    enum err e = thing_wait(t);
    if (e == ERR_OK)
        e = thing_drain(t, peek);
    source_close(t->res.body);
    t->res.body = NULL;
    settle_down(w);
    return e;
}

static void cat_gives_back_every_byte(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 65535, 65536, 65537, 200000, BIG};

    (void)state;
    for (unsigned i = 0; i < 8; i++)
        for (unsigned how = 0; how < 4; how++) {
            struct thing t = {0};
            thing_body(&t, sizes[i], how & 1);
            assert_err(once("cat", &t, how & 2), ERR_OK);
            expect_pattern(&t, sizes[i]);
            thing_end(&t);
        }
}

static void commands_that_people_use(void **state)
{
    static const struct {
        const char *command;
        size_t size;
        const char *result;
    } rows[] = {
        {"md5sum", 3, "900150983cd24fb0d6963f7d28e17f72  -\n"},
        {"head -c 3", BIG, "abc"},
        {"exec 0<&-; echo done", BIG, "done\n"},
        {"cat >/dev/null", BIG, ""},
        {"wc -c", BIG, "5242880\n"},
        {"printf '%s|%s|%s' \"$ETL_ARGS\" \"$ETL_BUCKET\" \"$ETL_OBJECT\"", 0, "a b|bucket|key"},
        {"tr a-z A-Z", 5, "ABCDE"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct thing t = {.req = {.args = STR("a b")}};
        thing_body(&t, rows[i].size, true);
        assert_err(once(rows[i].command, &t, false), ERR_OK);
        expect(&t, rows[i].result);
        thing_end(&t);
    }
}

static void a_failing_command_tells_why(void **state)
{
    static const char *const rows[] = {"false", "cat; exit 1", "echo oops >&2; exit 1", "head -c 1000; exit 1"};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct thing t = {0};
        thing_body(&t, 50000, true);
        assert_err(once(rows[i], &t, false), ERR_ETL);
        assert_int_equal(t.res.status, 500);
        assert_memory_equal(t.res.text.p, "exit status 1", 13);
        if (i == 2)
            assert_memory_equal(t.res.text.p, "exit status 1\noops", 18);
        assert_null(t.res.body);
        thing_end(&t);
    }
}

/* It has begun to answer: then the result breaks off, and is never short. */
static void a_command_that_fails_late_fails_the_result(void **state)
{
    static const char *const rows[] = {"head -c 65536; exit 1", "head -c 65537; exit 1", "cat; exit 2",
                                       "head -c 300000; kill -9 $$"};

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        struct thing t = {0};
        thing_body(&t, BIG, true);
        assert_err(once(rows[i / 2], &t, i & 1), ERR_ETL);
        thing_end(&t);
    }
}

static void time_is_limited(void **state)
{
    static const char *const rows[] = {"sleep 20", "cat; sleep 20", "cat >/dev/null; sleep 20",
                                       "while :; do echo x; sleep 0.01; done", "sleep 20 & exec cat"};

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct thing t = {.req = {.timeout_ms = 300}};
        thing_body(&t, BIG, true);
        assert_err(once(rows[i], &t, false), ERR_TIMEOUT);
        thing_end(&t);
    }
}

static void an_object_that_fails_fails_the_result(void **state)
{
    static const uint64_t at[] = {0, 1000, 1000000, BIG};

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        struct thing t = {0};
        thing_body(&t, BIG, true);
        t.gen.fail_at = at[i / 2];
        assert_err(once(i & 1 ? "cat" : "wc -c", &t, false), ERR_CORRUPT);
        thing_end(&t);
    }
}

static void what_it_can_not_do_is_refused(void **state)
{
    struct thing worker = {.req = {.worker = true}}, file = {.req = {.fqn = STR("/x")}}, gone = {0};

    (void)state;
    assert_err(once("cat", &worker, false), ERR_NOT_IMPLEMENTED);
    thing_end(&worker);
    assert_err(once("cat", &file, false), ERR_INVALID_ARGUMENT);
    thing_end(&file);
    gone.req.id = STR("thing-2");
    assert_err(once("cat", &gone, false), ERR_UNAVAILABLE);
    thing_end(&gone);
}

static void processes_are_bounded(void **state)
{
    struct thing t[12] = {{{0}}};

    (void)state;
    sidecar_command(&car, "cat; sleep 0.05");
    struct etl_wire *w = sidecar_wire(&car, 3);
    for (unsigned i = 0; i < 12; i++) {
        t[i].req.comm = ETL_IO;
        thing_body(&t[i], 100 + i, true);
        thing_begin(w, &t[i]);
    }
    call_cancel(&t[11].call); /* while it waits */
    call_cancel(&t[5].call);
    for (unsigned i = 0; i < 12; i++) {
        assert_err(thing_wait(&t[i]), i == 11 || i == 5 ? ERR_CANCELLED : ERR_OK);
        assert_err(thing_drain(&t[i], false), ERR_OK);
        expect_pattern(&t[i], i == 11 || i == 5 ? 0 : 100 + i);
        thing_end(&t[i]);
    }
    assert_int_equal(atomic_load(&car.started), 10);
    assert_in_range(atomic_load(&car.most), 1, 3);
    settle_down(w);
}

static void given_up_at_any_time_nothing_is_left(void **state)
{
    static const char *const rows[] = {"cat", "sleep 20", "cat; exit 1", "yes"};
    unsigned fds = fd_count();

    (void)state;
    for (unsigned i = 0; i < 64; i++) {
        struct thing t = {0};
        sidecar_command(&car, rows[i % 4]);
        atomic_store(&car.slow_ms, i % 3 ? 0 : 20);
        struct etl_wire *w = sidecar_wire(&car, 0);
        t.req.comm = ETL_IO;
        thing_body(&t, BIG, true);
        if (i % 5 == 1)
            t.gen.hang_at = 100000;
        thing_begin(w, &t);
        for (unsigned turns = 0; turns < i / 2 && !t.done; turns++)
            loop_turn(ask_loop, 1);
        call_cancel(&t.call);
        enum err e = thing_wait(&t);
        assert_true(e == ERR_CANCELLED || e == ERR_OK || (e == ERR_ETL && i % 4 == 2));
        t.read_done = true;
        for (unsigned reads = 0; reads < i / 8 && t.res.body && t.read_done; reads++)
            (void)thing_begin_read(&t, 20000);
        if (!t.read_done) {
            call_cancel(&t.read);
            ask_until(&t.read_done);
        }
        thing_end(&t);
        if (i % 2)
            ask_turn_ms(20);
        settle_down(w);
    }
    assert_true(fd_count_becomes(fds));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cat_gives_back_every_byte),
        cmocka_unit_test(commands_that_people_use),
        cmocka_unit_test(a_failing_command_tells_why),
        cmocka_unit_test(a_command_that_fails_late_fails_the_result),
        cmocka_unit_test(time_is_limited),
        cmocka_unit_test(an_object_that_fails_fails_the_result),
        cmocka_unit_test(what_it_can_not_do_is_refused),
        cmocka_unit_test(processes_are_bounded),
        cmocka_unit_test(given_up_at_any_time_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, ask_setup, ask_teardown);
}
