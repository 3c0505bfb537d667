#include "unit.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http/serve.h"
#include "sidecar.h"

#define OK_HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/x\r\n\r\nhello"
#define BIG      (9u << 20)

static struct sidecar car;

static void expect(struct thing *t, const char *text)
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

/* Runs one against a script; whatever happens nothing is left. */
static enum err once(void (*script)(struct sidecar *, int, int), const char *answer, struct thing *t)
{
    sidecar_start(&car, script, answer);
    struct etl_wire *w = sidecar_wire(&car, 0);
    enum err e = thing_run(w, t);
    source_close(t->res.body);
    t->res.body = NULL;
    etl_wire_free(w);
    ask_turn_ms(2);
    sidecar_stop(&car);
    return e;
}

/* ---- what is sent ---- */

static void push_is_a_put_of_bucket_and_object(void **state)
{
    struct thing t = {.req = {.comm = ETL_HPUSH,
                              .bucket = STR("b"),
                              .key = STR("d r/a%?#+\xff.txt"),
                              .args = STR("{\"a\": 1}&"),
                              .node_url = STR("http://10.0.0.1:8000,http://10.0.0.2/x")}};

    (void)state;
    thing_body(&t, 1000, true);
    assert_err(once(polite, OK_HELLO, &t), ERR_OK);
    assert_string_equal(car.head, "PUT /b/d%20r/a%25%3F%23+%FF.txt?etl_args=%7B%22a%22%3A%201%7D%26 HTTP/1.1\r\n"
                                  "Host: thing-1:80\r\n"
                                  "Ais-Node-Url: http://10.0.0.1:8000,http://10.0.0.2/x\r\n"
                                  "Content-Length: 1000\r\n\r\n");
    expect(&t, "hello");
    assert_true(str_eq(t.res.content_type, STR("text/x")));
    assert_true(t.res.body_taken);
    thing_end(&t);
}

static void pull_is_a_get_of_the_uname(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct thing t = {.req = {.comm = i ? ETL_HREV : ETL_HPULL, .uname = STR("ais/@#/b/d/a b")}};
        assert_err(once(polite, OK_HELLO, &t), ERR_OK);
        assert_string_equal(car.head, "GET /ais%2F@%23%2Fb%2Fd%2Fa%20b HTTP/1.1\r\nHost: thing-1:80\r\n\r\n");
        expect(&t, "hello");
        thing_end(&t);
    }
}

static void what_is_no_object_is_pushed_even_with_pull(void **state)
{
    struct thing t = {.req = {.comm = ETL_HPULL, .pushed = true}};

    (void)state;
    thing_body(&t, 10, true);
    assert_err(once(polite, OK_HELLO, &t), ERR_OK);
    assert_memory_equal(car.head, "PUT /bucket/key HTTP", 20);
    thing_end(&t);
}

static void a_file_is_named_twice_escaped(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct thing t = {.req = {.comm = i ? ETL_HPULL : ETL_HPUSH, .fqn = STR("/d/a b%"), .args = STR("x")}};
        const char *query = "?etl_fqn=%252Fd%252Fa%2520b%2525&etl_args=x HTTP";
        assert_err(once(polite, OK_HELLO, &t), ERR_OK);
        assert_non_null(strstr(car.head, query));
        assert_int_equal(strstr(car.head, "Content-Length: 0\r\n") != NULL, i == 0);
        thing_end(&t);
    }
}

static void take_all(struct sidecar *s, int fd, int n)
{
    char text[128];

    (void)n;
    take_head(s, fd);
    int len = snprintf(text, sizeof(text), "HTTP/1.0 200 OK\r\n\r\n%ld %d", take_body(s, fd),
                       strstr(s->head, "chunked") != NULL);
    say_n(fd, text, (size_t)len);
}

static void a_body_of_unknown_size_has_one_when_it_is_small(void **state)
{
    static const struct {
        uint64_t size;
        const char *got;
    } rows[] = {{0, "0 0"}, {1, "1 0"}, {700000, "700000 0"}, {(1 << 20) - 1, "1048575 0"}, {5000000, "5000000 1"}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct thing t = {0};
        thing_body(&t, rows[i].size, false);
        assert_err(once(take_all, NULL, &t), ERR_OK);
        expect(&t, rows[i].got);
        thing_end(&t);
    }
}

/* ---- what comes back ---- */

static void answers_of_every_framing(void **state)
{
    static const struct {
        const char *answer, *body;
    } rows[] = {
        {OK_HELLO, "hello"},
        {"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nhi", "hi"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde"},
        {"HTTP/1.0 200 OK\r\n\r\nto the end", "to the end"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nlong, too long", "lon"},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "x"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct thing t = {0};
        thing_body(&t, 100, true);
        assert_err(once(polite_once, rows[i].answer, &t), ERR_OK);
        expect(&t, rows[i].body);
        thing_end(&t);
    }
}

static void a_204_was_delivered(void **state)
{
    struct thing t = {0};

    (void)state;
    thing_body(&t, 100, true);
    assert_err(once(polite, "HTTP/1.1 204 No Content\r\nAis-Direct-Put-Length: 12345\r\n\r\n", &t), ERR_OK);
    assert_true(t.res.delivered);
    assert_int_equal(t.res.delivered_size, 12345);
    assert_null(t.res.body);
    thing_end(&t);
    thing_body(&t, 100, true);
    assert_err(once(polite, "HTTP/1.1 204 No Content\r\nAis-Direct-Put-Length: -1\r\n\r\n", &t), ERR_ETL);
    assert_false(t.res.delivered);
    thing_end(&t);
}

static void errors_carry_status_and_text(void **state)
{
    static const struct {
        const char *answer;
        int status;
        const char *text;
        bool retry;
    } rows[] = {
        {"HTTP/1.1 400 Bad\r\nContent-Length: 9\r\n\r\nbad image", 400, "bad image", false},
        {"HTTP/1.0 500 Oops\r\n\r\nTraceback", 500, "Traceback", false},
        {"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\nbroken off", 500, "broken off", false},
        {"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 404, "the sidecar answered with status 404 and no text",
         false},
        {"HTTP/1.1 503 No\r\nContent-Length: 1\r\n\r\nx", 503, "x", false},
        {"HTTP/1.1 503 No\r\nAis-Etl-Retry-Reason: direct-put-transient\r\nContent-Length: 1\r\n\r\nx", 503, "x", true},
        {"HTTP/1.1 307 To\r\nLocation: http://x/\r\nContent-Length: 1\r\n\r\nx", 307,
         "the sidecar answered with status 307, which is none of 200, 202 and 204", false},
        {"HTTP/1.1 206 Part\r\nContent-Length: 1\r\n\r\nx", 206,
         "the sidecar answered with status 206, which is none of 200, 202 and 204", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct thing t = {0};
        thing_body(&t, 100, true);
        assert_err(once(polite_once, rows[i].answer, &t), ERR_ETL);
        assert_int_equal(t.res.status, rows[i].status);
        assert_int_equal(t.res.text.n, strlen(rows[i].text));
        assert_memory_equal(t.res.text.p, rows[i].text, t.res.text.n);
        assert_int_equal(t.res.retry, rows[i].retry);
        thing_end(&t);
    }
}

static void shout(struct sidecar *s, int fd, int n)
{
    char block[8192];

    (void)n;
    take_head(s, fd);
    take_body(s, fd);
    say(fd, "HTTP/1.0 500 Oops\r\n\r\n");
    memset(block, 'x', sizeof(block));
    for (int i = 0; i < 1000; i++)
        say_n(fd, block, sizeof(block));
}

static void a_long_error_is_cut(void **state)
{
    struct thing t = {0};

    (void)state;
    assert_err(once(shout, NULL, &t), ERR_ETL);
    assert_int_equal(t.res.text.n, ETL_TEXT_MAX);
    thing_end(&t);
}

/* ---- what breaks ---- */

static void an_answer_that_breaks_off_fails(void **state)
{
    static const char *const rows[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct thing t = {0};
        thing_body(&t, 100, true);
        assert_err(once(polite_once, rows[i], &t), ERR_UNAVAILABLE);
        thing_end(&t);
    }
}

static void garbage(struct sidecar *s, int fd, int n)
{
    (void)n;
    take_head(s, fd);
    say(fd, s->answer);
}

static void garbage_is_no_answer(void **state)
{
    static const char *const rows[] = {"", "\1\2\3\4\n\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Le",
                                       "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct thing t = {0};
        thing_body(&t, 100, true);
        assert_err(once(garbage, rows[i], &t), ERR_UNAVAILABLE);
        assert_true(t.res.body_taken);
        thing_end(&t);
    }
}

static void third_time_lucky(struct sidecar *s, int fd, int n)
{
    if (n >= 2)
        polite(s, fd, n);
    else if (n)
        take_head(s, fd);
}

static void what_can_be_sent_again_is(void **state)
{
    (void)state;
    struct thing pull = {.req = {.comm = ETL_HPULL}}, push = {0}, unknown = {0};
    assert_err(once(third_time_lucky, OK_HELLO, &pull), ERR_OK);
    expect(&pull, "hello");
    assert_int_equal(atomic_load(&car.accepted), 3);
    thing_end(&pull);
    thing_body(&unknown, 5000, false);
    assert_err(once(third_time_lucky, OK_HELLO, &unknown), ERR_OK);
    assert_int_equal(atomic_load(&car.accepted), 3);
    thing_end(&unknown);
    thing_body(&push, 5000, true);
    assert_err(once(third_time_lucky, OK_HELLO, &push), ERR_UNAVAILABLE); /* its body is gone */
    assert_true(push.res.body_taken);
    thing_end(&push);
}

static void nobody_there(void **state)
{
    struct thing t = {0};

    (void)state;
    sidecar_start(&car, polite, OK_HELLO);
    struct etl_wire *w = sidecar_wire(&car, 0);
    atomic_store(&car.absent, true);
    thing_body(&t, 10, true);
    assert_err(thing_run(w, &t), ERR_UNAVAILABLE);
    assert_false(t.res.body_taken);
    assert_int_equal(atomic_load(&car.dials), 0);
    thing_end(&t);
    atomic_store(&car.absent, false);
    uint16_t port = car.port;
    car.port = 1;
    thing_body(&t, 10, true);
    assert_err(thing_run(w, &t), ERR_UNAVAILABLE);
    assert_false(t.res.body_taken);
    assert_int_equal(atomic_load(&car.dials), 5);
    thing_end(&t);
    car.port = port;
    etl_wire_free(w);
    sidecar_stop(&car);
}

/* ---- time ---- */

static void mute(struct sidecar *s, int fd, int n)
{
    (void)n;
    take_head(s, fd);
    if (s->answer)
        say(fd, s->answer);
    until_closed(fd);
}

static void deaf(struct sidecar *s, int fd, int n)
{
    (void)n;
    take_head(s, fd);
    if (s->answer)
        say(fd, s->answer);
    for (int i = 0; i < 500 && !atomic_load(&s->stop); i++)
        usleep(10000);
}

static void drip(struct sidecar *s, int fd, int n)
{
    (void)n;
    take_head(s, fd);
    take_body(s, fd);
    say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    while (send(fd, "x", 1, MSG_NOSIGNAL) == 1)
        usleep(20000);
}

static void time_is_limited_to_the_last_byte(void **state)
{
    static const struct {
        void (*script)(struct sidecar *, int, int);
        const char *answer;
        uint64_t size;
    } rows[] = {{mute, NULL, 10}, {mute, NULL, BIG},      {deaf, NULL, BIG},
                {drip, NULL, 10}, {mute, "HTTP/1.1", 10}, {mute, "HTTP/1.1 200 OK\r\n\r\n", BIG}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct thing t = {.req = {.timeout_ms = 200}};
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        thing_body(&t, rows[i].size, true);
        assert_err(once(rows[i].script, rows[i].answer, &t), ERR_TIMEOUT);
        clock_gettime(CLOCK_MONOTONIC, &b);
        assert_true(b.tv_sec - a.tv_sec < 3);
        thing_end(&t);
    }
}

static void a_result_that_nobody_reads_is_limited_too(void **state)
{
    struct thing t = {.req = {.timeout_ms = 100}};

    (void)state;
    sidecar_start(&car, drip, NULL);
    struct etl_wire *w = sidecar_wire(&car, 0);
    thing_begin(w, &t);
    assert_err(thing_wait(&t), ERR_OK);
    ask_turn_ms(200);
    assert_err(thing_read(&t, 10), ERR_TIMEOUT);
    assert_err(thing_read(&t, 10), ERR_TIMEOUT);
    thing_end(&t);
    etl_wire_free(w);
    sidecar_stop(&car);
}

/* ---- both ways at once ---- */

/* Begins its answer at once, and sends back what it reads as it comes. */
static void echo(struct sidecar *s, int fd, int n)
{
    char buf[30000], line[32];
    ssize_t got;
    const char *size;

    (void)n;
    if (!take_head(s, fd) || !(size = strstr(s->head, "Content-Length: ")))
        return;
    say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (long left = strtol(size + 16, NULL, 10); left; left -= got) {
        if ((got = recv(fd, buf, sizeof(buf), 0)) <= 0)
            return;
        int len = snprintf(line, sizeof(line), "%zx\r\n", (size_t)got);
        say_n(fd, line, (size_t)len);
        say_n(fd, buf, (size_t)got);
        say(fd, "\r\n");
    }
    say(fd, "0\r\n\r\n");
    until_closed(fd);
}

static void a_sidecar_may_answer_while_it_reads(void **state)
{
    static const size_t sizes[] = {0, 1, 1000, 64 << 10, (64 << 10) + 1, 300000, BIG};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct thing t = {0};
        thing_body(&t, sizes[i], true);
        assert_err(once(echo, NULL, &t), ERR_OK);
        expect_pattern(&t, sizes[i]);
        thing_end(&t);
    }
}

static void the_same_with_spans(void **state)
{
    struct thing t = {0};

    (void)state;
    sidecar_start(&car, echo, NULL);
    struct etl_wire *w = sidecar_wire(&car, 0);
    thing_body(&t, BIG, true);
    thing_begin(w, &t);
    assert_err(thing_wait(&t), ERR_OK);
    assert_err(thing_drain(&t, true), ERR_OK);
    expect_pattern(&t, BIG);
    thing_end(&t);
    etl_wire_free(w);
    sidecar_stop(&car);
}

static void an_object_that_fails_fails_the_result(void **state)
{
    static const uint64_t at[] = {0, 1000, 100000, 5000000, BIG};

    (void)state;
    for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++)
        for (int known = 0; known < 2; known++) {
            struct thing t = {0};
            thing_body(&t, BIG, known);
            t.gen.fail_at = at[i];
            assert_err(once(known ? echo : take_all, NULL, &t), ERR_CORRUPT);
            thing_end(&t);
        }
}

static void an_object_that_is_shorter_than_it_said_fails(void **state)
{
    struct thing t = {0};

    (void)state;
    thing_body(&t, 1000, true);
    t.req.size = 1001;
    assert_err(once(polite, OK_HELLO, &t), ERR_INCOMPLETE_BODY);
    thing_end(&t);
}

static void early(struct sidecar *s, int fd, int n)
{
    (void)n;
    take_head(s, fd);
    say(fd, s->answer);
}

static void a_sidecar_need_not_read_everything(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct thing t = {0};
        thing_body(&t, BIG, true);
        t.gen.hang_at = i % 2 ? 400000 : UINT64_MAX;
        assert_err(once(i < 3 ? deaf : mute, OK_HELLO, &t), ERR_OK);
        expect(&t, "hello");
        thing_end(&t);
    }
    /* closed at once: what the kernel throws away then is beyond us, but nothing hangs */
    struct thing t = {0};
    thing_body(&t, BIG, true);
    enum err e = once(early, OK_HELLO, &t);
    assert_true(e == ERR_OK || e == ERR_UNAVAILABLE);
    thing_end(&t);
}

static void an_error_need_not_wait_for_the_object(void **state)
{
    struct thing t = {0};

    (void)state;
    thing_body(&t, BIG, true);
    t.gen.hang_at = 300000;
    assert_err(once(deaf, "HTTP/1.1 413 Too large\r\nContent-Length: 3\r\n\r\nbig", &t), ERR_ETL);
    assert_int_equal(t.res.status, 413);
    thing_end(&t);
}

/* ---- giving up ---- */

static void cancelled_at_any_time_nothing_is_left(void **state)
{
    static void (*const scripts[])(struct sidecar *, int, int) = {mute, deaf, echo, drip};
    unsigned fds = fd_count();

    (void)state;
    for (unsigned i = 0; i < 48; i++) {
        struct thing t = {0};
        sidecar_start(&car, scripts[i % 4], NULL);
        struct etl_wire *w = sidecar_wire(&car, 0);
        if (i % 3)
            thing_body(&t, BIG, i % 3 == 1 || i % 4 == 2);
        if (i % 5 == 0 && i % 3)
            t.gen.hang_at = 50000 * i;
        thing_begin(w, &t);
        for (unsigned turns = 0; turns < i / 4 && !t.done; turns++)
            loop_turn(ask_loop, 1);
        call_cancel(&t.call);
        enum err e = thing_wait(&t);
        assert_true(e == ERR_CANCELLED || e == ERR_OK);
        thing_end(&t);
        etl_wire_free(w);
        ask_turn_ms(3);
        sidecar_stop(&car);
    }
    assert_true(fd_count_becomes(fds));
}

static void closed_at_any_time_nothing_is_left(void **state)
{
    unsigned fds = fd_count();

    (void)state;
    for (unsigned i = 0; i < 30; i++) {
        struct thing t = {0};
        sidecar_start(&car, echo, NULL);
        struct etl_wire *w = sidecar_wire(&car, 0);
        thing_body(&t, BIG, true);
        thing_begin(w, &t);
        assert_err(thing_wait(&t), ERR_OK);
        for (unsigned reads = 0; reads < i; reads++)
            assert_err(thing_read(&t, 20000), ERR_OK);
        if (i % 2) { /* in the middle of a read that waits for the object */
            t.gen.hang_at = t.gen.at;
            while (!t.gen.hanging)
                assert_err(thing_begin_read(&t, 70000), ERR_OK);
            call_cancel(&t.read);
            ask_until(&t.read_done);
            assert_err(t.read.err, ERR_CANCELLED);
        }
        thing_end(&t);
        etl_wire_free(w);
        ask_turn_ms(3);
        sidecar_stop(&car);
    }
    assert_true(fd_count_becomes(fds));
}

/* ---- connections ---- */

static void connections_are_kept_and_forgotten(void **state)
{
    (void)state;
    sidecar_start(&car, polite, OK_HELLO);
    struct etl_wire *w = sidecar_wire(&car, 1);
    for (int i = 0; i < 5; i++) {
        struct thing t = {0};
        thing_body(&t, 100000, true);
        assert_err(thing_run(w, &t), ERR_OK);
        thing_end(&t);
    }
    assert_int_equal(atomic_load(&car.accepted), 1);
    etl_wire_forget(w, STR("thing-1"));
    etl_wire_forget(w, STR("thing-2"));
    struct thing t[4] = {{{0}}};
    for (int i = 0; i < 4; i++)
        thing_begin(w, &t[i]);
    for (int i = 0; i < 4; i++) {
        assert_err(thing_wait(&t[i]), ERR_OK);
        assert_err(thing_drain(&t[i], false), ERR_OK);
        thing_end(&t[i]);
    }
    assert_int_equal(atomic_load(&car.accepted), 2); /* one at a time */
    etl_wire_free(w);
    ask_turn_ms(2);
    sidecar_stop(&car);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(push_is_a_put_of_bucket_and_object),
        cmocka_unit_test(pull_is_a_get_of_the_uname),
        cmocka_unit_test(what_is_no_object_is_pushed_even_with_pull),
        cmocka_unit_test(a_file_is_named_twice_escaped),
        cmocka_unit_test(a_body_of_unknown_size_has_one_when_it_is_small),
        cmocka_unit_test(answers_of_every_framing),
        cmocka_unit_test(a_204_was_delivered),
        cmocka_unit_test(errors_carry_status_and_text),
        cmocka_unit_test(a_long_error_is_cut),
        cmocka_unit_test(an_answer_that_breaks_off_fails),
        cmocka_unit_test(garbage_is_no_answer),
        cmocka_unit_test(what_can_be_sent_again_is),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(time_is_limited_to_the_last_byte),
        cmocka_unit_test(a_result_that_nobody_reads_is_limited_too),
        cmocka_unit_test(a_sidecar_may_answer_while_it_reads),
        cmocka_unit_test(the_same_with_spans),
        cmocka_unit_test(an_object_that_fails_fails_the_result),
        cmocka_unit_test(an_object_that_is_shorter_than_it_said_fails),
        cmocka_unit_test(a_sidecar_need_not_read_everything),
        cmocka_unit_test(an_error_need_not_wait_for_the_object),
        cmocka_unit_test(cancelled_at_any_time_nothing_is_left),
        cmocka_unit_test(closed_at_any_time_nothing_is_left),
        cmocka_unit_test(connections_are_kept_and_forgotten),
    };
    return cmocka_run_group_tests(tests, ask_setup, ask_teardown);
}
