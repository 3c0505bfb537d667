#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/serve.h"
#include "wsock.h"

#define BIG (3u << 20)

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
    etl_wire_free(w);
    ask_turn_ms(2);
    sidecar_stop(&car);
}

/* Runs one against a script; whatever happens nothing is left. */
static enum err once(void (*script)(struct sidecar *, int, int), const char *answer, struct thing *t)
{
    sidecar_start(&car, script, answer);
    struct etl_wire *w = sidecar_wire(&car, 0);
    t->req.comm = ETL_WS;
    enum err e = thing_run(w, t);
    source_close(t->res.body);
    t->res.body = NULL;
    settle_down(w);
    return e;
}

static struct wsock_message seen_control, seen_object;

/* Keeps what came, answers s->answer, or the object. */
static void one(struct sidecar *s, int fd, int n)
{
    (void)n;
    if (!wsock_shake(s, fd, "") || !wsock_object(fd, &seen_control, &seen_object))
        return;
    if (s->answer)
        wsock_say_z(fd, 0x82, s->answer);
    else
        wsock_say(fd, 0x82, seen_object.p, seen_object.n);
    until_closed(fd);
}

/* ---- time ---- */

static void silent(struct sidecar *s, int fd, int n)
{
    (void)s;
    (void)n;
    until_closed(fd);
}

static void deaf(struct sidecar *s, int fd, int n)
{
    char c;

    (void)n;
    if (wsock_shake(s, fd, ""))
        while (!atomic_load(&s->stop) && recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) != 0)
            usleep(10000);
}

static void mute(struct sidecar *s, int fd, int n)
{
    (void)n;
    if (wsock_shake(s, fd, ""))
        until_closed(fd);
}

static void drip(struct sidecar *s, int fd, int n)
{
    char c;

    (void)n;
    if (!wsock_shake(s, fd, "") || !wsock_object(fd, &seen_control, &seen_object))
        return;
    for (wsock_say_z(fd, 0x02, "x"); !atomic_load(&s->stop); usleep(20000)) {
        wsock_say_z(fd, 0x00, "y");
        wsock_say_z(fd, 0x89, "");
        while (recv(fd, &c, 1, MSG_DONTWAIT) > 0)
            ;
    }
}

static void time_is_limited_to_the_last_byte(void **state)
{
    static void (*const scripts[])(struct sidecar *, int, int) = {silent, deaf, mute, drip};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct thing t = {.req = {.timeout_ms = 150}};
        thing_body(&t, i == 1 ? 64u << 20 : 1000, true);
        sidecar_start_many(&car, scripts[i]);
        struct etl_wire *w = sidecar_wire(&car, 0);
        t.req.comm = ETL_WS;
        assert_err(thing_run(w, &t), ERR_TIMEOUT);
        atomic_store(&car.stop, true);
        thing_end(&t);
        settle_down(w);
    }
}

/* ---- keeping connections ---- */

static struct thing ws_thing(void)
{
    return (struct thing){.req = {.comm = ETL_WS}};
}

static void echo_all(struct sidecar *s, int fd, int n)
{
    struct wsock_message control = {0}, object = {0};

    (void)n;
    int now = atomic_fetch_add(&s->running, 1) + 1;
    if (now > atomic_load(&s->most))
        atomic_store(&s->most, now);
    if (wsock_shake(s, fd, ""))
        while (wsock_object(fd, &control, &object)) {
            atomic_fetch_add(&s->started, 1);
            usleep(2000);
            wsock_say(fd, 0x82, object.p, object.n);
        }
    wsock_release(&control);
    wsock_release(&object);
    atomic_fetch_sub(&s->running, 1);
}

static enum err echo_once(struct etl_wire *w, size_t size)
{
    struct thing t = ws_thing();

    thing_body(&t, size, true);
    enum err e = thing_run(w, &t);
    if (e == ERR_OK)
        expect_pattern(&t, size);
    thing_end(&t);
    return e;
}

static void connections_are_kept_and_forgotten(void **state)
{
    unsigned fds = fd_count();

    (void)state;
    sidecar_start_many(&car, echo_all);
    struct etl_wire *w = sidecar_wire(&car, 0);
    for (unsigned i = 0; i < 5; i++)
        assert_err(echo_once(w, i * 100000), ERR_OK);
    assert_int_equal(atomic_load(&car.accepted), 1);
    etl_wire_forget(w, STR("thing-2"));
    assert_err(echo_once(w, 10), ERR_OK);
    assert_int_equal(atomic_load(&car.accepted), 1);
    etl_wire_forget(w, STR("thing-1"));
    assert_err(echo_once(w, 10), ERR_OK);
    assert_int_equal(atomic_load(&car.accepted), 2);
    settle_down(w);
    assert_true(fd_count_becomes(fds));
}

/* One that is busy when its instance is forgotten is closed after its object. */
static void a_busy_connection_is_forgotten_later(void **state)
{
    struct thing t = ws_thing();

    (void)state;
    sidecar_start_many(&car, echo_all);
    struct etl_wire *w = sidecar_wire(&car, 0);
    thing_body(&t, 100000, true);
    thing_begin(w, &t);
    while (atomic_load(&car.accepted) == 0)
        loop_turn(ask_loop, 1);
    etl_wire_forget(w, STR("thing-1"));
    assert_err(thing_wait(&t), ERR_OK);
    assert_err(thing_drain(&t, false), ERR_OK);
    thing_end(&t);
    assert_err(echo_once(w, 10), ERR_OK);
    assert_int_equal(atomic_load(&car.accepted), 2);
    settle_down(w);
}

/* Serves one object, then does what a test says when nobody expects it. */
static const char *idle_bytes;
static size_t idle_n;
static void one_then(struct sidecar *s, int fd, int n)
{
    struct wsock_message control = {0}, object = {0};

    (void)n;
    if (wsock_shake(s, fd, "") && wsock_object(fd, &control, &object)) {
        wsock_say(fd, 0x82, object.p, object.n);
        say_n(fd, idle_bytes, idle_n);
        if (idle_n)
            until_closed(fd);
    }
    wsock_release(&control);
    wsock_release(&object);
}

static void a_connection_that_ends_idle_is_not_used_again(void **state)
{
    static const struct str rows[] = {STR(""), STR("\x88\x02\x03\xe8"), STR("\x81\x01x"), STR("\xff\xff"),
                                      STR("\x82\x7f")};

    (void)state;
    for (size_t i = 0; i < 10; i++) {
        idle_bytes = rows[i / 2].p;
        idle_n = rows[i / 2].n;
        sidecar_start_many(&car, one_then);
        struct etl_wire *w = sidecar_wire(&car, 0);
        for (unsigned k = 0; k < 3; k++) {
            assert_err(echo_once(w, 1000), ERR_OK);
            usleep(20000);
            if (i % 2) /* else it is seen only when it is to be used */
                ask_turn_ms(10);
            if (i / 2 == 4)
                etl_wire_forget(w, STR("thing-1"));
        }
        assert_int_equal(atomic_load(&car.accepted), 3);
        settle_down(w);
    }
}

static void pinging(struct sidecar *s, int fd, int n)
{
    char p[1000];
    size_t len;

    (void)n;
    if (!wsock_shake(s, fd, "") || !wsock_object(fd, &seen_control, &seen_object))
        return;
    wsock_say(fd, 0x82, seen_object.p, seen_object.n);
    wsock_say_z(fd, 0x89, "still?");
    if (wsock_frame(fd, p, sizeof(p), &len) == 0x8a && len == 6 && memcmp(p, "still?", 6) == 0 &&
        wsock_object(fd, &seen_control, &seen_object))
        wsock_say(fd, 0x82, seen_object.p, seen_object.n);
    until_closed(fd);
}

static void an_idle_connection_answers_pings(void **state)
{
    (void)state;
    sidecar_start_many(&car, pinging);
    struct etl_wire *w = sidecar_wire(&car, 0);
    assert_err(echo_once(w, 10), ERR_OK);
    ask_turn_ms(50);
    assert_err(echo_once(w, 10), ERR_OK);
    assert_int_equal(atomic_load(&car.accepted), 1);
    settle_down(w);
}

/* The first connection ends in the middle of its second control message. */
static void stale(struct sidecar *s, int fd, int n)
{
    struct wsock_message m = {0};

    if (!wsock_shake(s, fd, ""))
        return;
    for (unsigned i = 0; wsock_take(fd, &m) && !(n == 0 && i == 1); i++) {
        wsock_release(&m);
        wsock_say_z(fd, 0x82, "hello");
    }
    wsock_release(&m);
}

static void a_connection_that_was_stale_is_replaced(void **state)
{
    (void)state;
    sidecar_start_many(&car, stale);
    struct etl_wire *w = sidecar_wire(&car, 1);
    for (unsigned i = 0; i < 3; i++) {
        struct thing t = ws_thing();
        t.req.fqn = STR("/a");
        assert_err(thing_run(w, &t), ERR_OK);
        expect(&t, "hello");
        assert_false(t.res.body_taken);
        thing_end(&t);
    }
    assert_int_equal(atomic_load(&car.accepted), 2);
    settle_down(w);
}

/* With an object: as far as none of it was taken. */
static void stale_object(struct sidecar *s, int fd, int n)
{
    struct wsock_message c = {0}, o = {0};

    if (!wsock_shake(s, fd, ""))
        return;
    for (unsigned i = 0; wsock_take(fd, &c) && !(n == 0 && i == 1) && wsock_take(fd, &o); i++) {
        wsock_say(fd, 0x82, o.p, o.n);
        wsock_release(&c);
        wsock_release(&o);
    }
    wsock_release(&c);
    wsock_release(&o);
}

static void an_object_that_was_taken_is_not_sent_again(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct thing t = ws_thing();
        sidecar_start_many(&car, stale_object);
        struct etl_wire *w = sidecar_wire(&car, 0);
        assert_err(echo_once(w, 1000), ERR_OK);
        thing_body(&t, 100000, true);
        enum err e = thing_run(w, &t);
        if (e == ERR_OK) {
            expect_pattern(&t, 100000);
        } else {
            assert_err(e, ERR_UNAVAILABLE);
            assert_true(t.res.body_taken);
        }
        thing_end(&t);
        assert_err(echo_once(w, 1000), ERR_OK);
        settle_down(w);
    }
}

static void connections_are_bounded(void **state)
{
    struct thing t[24];

    (void)state;
    sidecar_start_many(&car, echo_all);
    struct etl_wire *w = sidecar_wire(&car, 3);
    for (unsigned i = 0; i < 24; i++) {
        t[i] = ws_thing();
        thing_body(&t[i], 300000 + i, true);
        thing_begin(w, &t[i]);
    }
    call_cancel(&t[23].call); /* while they wait */
    call_cancel(&t[5].call);
    for (unsigned i = 0; i < 24; i++) {
        bool none = i == 23 || i == 5;
        assert_err(thing_wait(&t[i]), none ? ERR_CANCELLED : ERR_OK);
        assert_err(thing_drain(&t[i], i & 1), ERR_OK);
        expect_pattern(&t[i], none ? 0 : 300000 + i);
        thing_end(&t[i]);
    }
    assert_int_equal(atomic_load(&car.accepted), 3);
    assert_int_equal(atomic_load(&car.started), 22);
    assert_in_range(atomic_load(&car.most), 1, 3);
    settle_down(w);
}

/* ---- both ways at once ---- */

/* Every fragment back as soon as it comes. */
static void echo_at_once(struct sidecar *s, int fd, int n)
{
    char *p = mem_alloc(1 << 20);
    size_t len;
    int first;

    (void)n;
    if (wsock_shake(s, fd, "") && wsock_frame(fd, p, 1 << 20, &len) == 0x82)
        while ((first = wsock_frame(fd, p, 1 << 20, &len)) >= 0) {
            atomic_fetch_add(&s->started, 1); /* before who waits for it can look */
            if ((first & 0x0f) <= 2)
                wsock_say(fd, first, p, len);
        }
    free(p);
}

static size_t resident(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long all, now = 0;

    if (!f || fscanf(f, "%lu %lu", &all, &now) != 2)
        abort();
    fclose(f);
    return now * 4096;
}

/* Takes a result without keeping it. */
static enum err check_result(struct thing *t, uint64_t *at)
{
    for (;;) {
        struct span span;
        source_peek(t->res.body, &span);
        if (span.kind == SPAN_END)
            return ERR_OK;
        if (span.kind == SPAN_MEMORY) {
            for (size_t i = 0; i < span.len; i++)
                if (span.p[i] != serve_pattern(*at + i))
                    fail_msg("byte %zu differs", (size_t)*at + i);
            *at += span.len;
            source_consume(t->res.body, span.len);
            continue;
        }
        enum err e = thing_read(t, 1);
        if (e != ERR_OK || t->n == 0)
            return e;
        assert_int_equal(t->buf[0], serve_pattern(*at));
        (*at)++;
    }
}

static void large_objects_stream_both_ways(void **state)
{
    struct thing t = ws_thing();
    uint64_t at = 0, size = 64u << 20;

    (void)state;
    sidecar_start_many(&car, echo_at_once);
    struct etl_wire *w = sidecar_wire(&car, 0);
    thing_body(&t, size, true);
    t.req.timeout_ms = 100000;
    size_t before = resident();
    thing_begin(w, &t);
    assert_err(thing_wait(&t), ERR_OK);
    assert_err(check_result(&t, &at), ERR_OK);
    assert_true(at == size);
    size_t after = resident();
    if (after > before + (24u << 20))
        fail_msg("%zu bytes more", after - before);
    thing_end(&t);
    assert_int_equal(atomic_load(&car.started), 257);
    settle_down(w);
}

static void who_does_not_read_stops_the_object(void **state)
{
    struct thing t = ws_thing();

    (void)state;
    sidecar_start_many(&car, echo_at_once);
    struct etl_wire *w = sidecar_wire(&car, 0);
    thing_body(&t, 200u << 20, true);
    thing_begin(w, &t);
    assert_err(thing_wait(&t), ERR_OK);
    ask_turn_ms(100);
    uint64_t at = t.gen.at;
    assert_true(at < 30u << 20);
    ask_turn_ms(50);
    assert_true(t.gen.at == at);
    assert_err(thing_read(&t, 1000), ERR_OK);
    thing_end(&t);
    settle_down(w);
}

/* ---- answers that do not wait ---- */

static int answer_first;

static void early(struct sidecar *s, int fd, int n)
{
    char *p = mem_alloc(1 << 20);
    size_t len;

    (void)n;
    if (wsock_shake(s, fd, "") && wsock_frame(fd, p, 1 << 20, &len) >= 0 && wsock_frame(fd, p, 1 << 20, &len) >= 0)
        wsock_say_z(fd, answer_first, s->answer);
    atomic_fetch_add(&s->started, 1);
    until_closed(fd);
    free(p);
}

static void an_early_answer_ends_the_object(void **state)
{
    static const struct {
        int first;
        const char *text;
        enum err err;
    } rows[] = {{0x82, "abc", ERR_OK}, {0x81, "nope", ERR_ETL}, {0x81, "17", ERR_OK}, {0x82, "", ERR_OK}};

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        struct thing t = {0};
        thing_body(&t, 64u << 20, true);
        if ((i & 1) && i != 1) /* a result that is to be read waits for what is being read of the object */
            t.gen.hang_at = 1000000;
        answer_first = rows[i / 2].first;
        assert_err(once(early, rows[i / 2].text, &t), rows[i / 2].err);
        if (rows[i / 2].first == 0x82)
            expect(&t, rows[i / 2].text);
        assert_true(t.res.body_taken);
        thing_end(&t);
    }
}

/* ---- objects that fail, callers that leave ---- */

static void an_object_that_fails_fails_the_result(void **state)
{
    static const uint64_t at[] = {0, 1, 70000, 262144, 1000000, BIG};

    (void)state;
    for (unsigned i = 0; i < 12; i++) {
        struct thing t = {0};
        thing_body(&t, BIG, i & 1);
        t.gen.fail_at = at[i / 2];
        assert_err(once(one, NULL, &t), ERR_CORRUPT);
        thing_end(&t);
    }
}

static void an_object_that_is_not_as_long_as_it_said_fails(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct thing t = {0};
        thing_body(&t, 300000, true);
        t.gen.end = i ? 299999 : 300001;
        assert_err(once(one, NULL, &t), ERR_INCOMPLETE_BODY);
        thing_end(&t);
    }
}

static void cancelled_or_closed_at_any_time_nothing_is_left(void **state)
{
    unsigned fds = fd_count();

    (void)state;
    for (unsigned i = 0; i < 120; i++) {
        struct thing t = ws_thing();
        sidecar_start_many(&car, i % 3 ? echo_at_once : echo_all);
        struct etl_wire *w = sidecar_wire(&car, 2);
        if (i % 4 == 3)
            assert_err(echo_once(w, i % 3 ? 100 : 100000), ERR_OK);
        thing_body(&t, BIG, i & 1);
        if (i % 5 == 1)
            t.gen.hang_at = i * 20000;
        thing_begin(w, &t);
        for (unsigned turns = 0; turns < i / 3 && !t.done; turns++)
            loop_turn(ask_loop, 1);
        if (i % 6 != 5)
            call_cancel(&t.call);
        if (i % 6 == 5 && i % 5 == 1) { /* it may never be done */
            ask_turn_ms(20);
            call_cancel(&t.call);
        }
        enum err e = thing_wait(&t);
        assert_true(e == ERR_CANCELLED || e == ERR_OK);
        t.read_done = true;
        for (unsigned reads = 0; reads < i / 4 && t.res.body && t.read_done; reads++)
            (void)thing_begin_read(&t, 20000);
        if (!t.read_done) {
            call_cancel(&t.read);
            ask_until(&t.read_done);
        }
        thing_end(&t);
        if (i % 2)
            assert_err(echo_once(w, 100), ERR_OK);
        settle_down(w);
    }
    assert_true(fd_count_becomes(fds));
}

static int teardown(void **state)
{
    wsock_release(&seen_control);
    wsock_release(&seen_object);
    return ask_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_is_limited_to_the_last_byte),
        cmocka_unit_test(connections_are_kept_and_forgotten),
        cmocka_unit_test(a_busy_connection_is_forgotten_later),
        cmocka_unit_test(a_connection_that_ends_idle_is_not_used_again),
        cmocka_unit_test(an_idle_connection_answers_pings),
        cmocka_unit_test(a_connection_that_was_stale_is_replaced),
        cmocka_unit_test(an_object_that_was_taken_is_not_sent_again),
        cmocka_unit_test(connections_are_bounded),
        cmocka_unit_test(large_objects_stream_both_ways),
        cmocka_unit_test(who_does_not_read_stops_the_object),
        cmocka_unit_test(an_early_answer_ends_the_object),
        cmocka_unit_test(an_object_that_fails_fails_the_result),
        cmocka_unit_test(an_object_that_is_not_as_long_as_it_said_fails),
        cmocka_unit_test(cancelled_or_closed_at_any_time_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, ask_setup, teardown);
}
