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

/* ---- what is said ---- */

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

static void one_file(struct sidecar *s, int fd, int n)
{
    (void)n;
    wsock_release(&seen_control);
    if (wsock_shake(s, fd, "") && wsock_take(fd, &seen_control))
        wsock_say_z(fd, 0x82, s->answer);
    until_closed(fd);
}

static void an_object_is_two_messages(void **state)
{
    struct thing t = {.req = {.key = STR("a/\"b\".txt"),
                              .args = STR("{\"x\": 1}"),
                              .node_url = STR("http://10.0.0.1:8000,http://10.0.0.2/x")}};

    (void)state;
    thing_body(&t, 1000, true);
    assert_err(once(one, "result", &t), ERR_OK);
    expect(&t, "result");
    assert_true(t.res.body_taken);
    assert_false(t.res.delivered);
    assert_memory_equal(car.head, "GET /ws HTTP/1.1\r\nHost: thing-1\r\n", 33);
    assert_non_null(strstr(car.head, "\r\nSec-WebSocket-Version: 13\r\nSluice-Etl-Frames: 1\r\n\r\n"));
    assert_null(strstr(car.head, "Extensions"));
    assert_string_equal(seen_control.p, "{\"pipeline\":\"http://10.0.0.1:8000,http://10.0.0.2/x\","
                                        "\"etl_args\":\"{\\\"x\\\": 1}\",\"path\":\"a/\\\"b\\\".txt\"}");
    assert_int_equal(seen_control.op, 2);
    assert_int_equal(seen_object.op, 2);
    assert_int_equal(seen_object.frames, 1);
    assert_int_equal(seen_object.n, 1000);
    thing_end(&t);
}

static void a_file_is_named_and_not_sent(void **state)
{
    struct thing t = {.req = {.fqn = STR("/d/a 5%25.txt")}};

    (void)state;
    assert_err(once(one_file, "result", &t), ERR_OK);
    expect(&t, "result");
    assert_false(t.res.body_taken);
    assert_string_equal(seen_control.p, "{\"fqn\":\"/d/a 5%2525.txt\",\"path\":\"key\"}");
    wsock_release(&seen_control);
    thing_end(&t);
}

static void objects_go_in_fragments(void **state)
{
    static const struct {
        uint64_t size;
        unsigned known, unknown; /* frames */
    } rows[] = {{0, 1, 1},      {1, 1, 1},      {65536, 1, 1},  {262143, 1, 1},
                {262144, 2, 2}, {262145, 2, 2}, {524288, 3, 3}, {BIG, 13, 13}};

    (void)state;
    for (unsigned i = 0; i < 16; i++) {
        struct thing t = {0};
        thing_body(&t, rows[i / 2].size, i & 1);
        assert_err(once(one, NULL, &t), ERR_OK);
        expect_pattern(&t, rows[i / 2].size);
        assert_int_equal(seen_object.frames, i & 1 ? rows[i / 2].known : rows[i / 2].unknown);
        assert_false(seen_object.bad);
        thing_end(&t);
    }
}

static void names_that_json_can_not_say_are_refused(void **state)
{
    struct thing t = {.req = {.args = STR("\xff")}};

    (void)state;
    thing_body(&t, 10, true);
    assert_err(once(one, "x", &t), ERR_INVALID_ARGUMENT);
    assert_true(t.res.text.n > 0);
    assert_false(t.res.body_taken);
    thing_end(&t);
}

/* Results in fragments of 1 to 3000 bytes with pings between them, the socket's pieces cut anywhere. */
static void in_fragments(struct sidecar *s, int fd, int n)
{
    static char all[200000];
    size_t at = 0, step = 1;

    (void)n;
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = serve_pattern(i);
    if (!wsock_shake(s, fd, "") || !wsock_object(fd, &seen_control, &seen_object))
        return;
    wsock_say(fd, 0x02, NULL, 0);
    for (unsigned pings = 0; at < sizeof(all); at += step, pings++) {
        step = pings * 37 % 3000 + 1;
        step = step < sizeof(all) - at ? step : sizeof(all) - at;
        wsock_say(fd, 0x00, all + at, step);
        wsock_say_z(fd, pings % 2 ? 0x89 : 0x8a, "are you there?");
    }
    wsock_say_z(fd, 0x89, "last");
    wsock_say(fd, 0x80, NULL, 0);
    struct wsock_message after;
    if (wsock_take(fd, &after) || after.op != 8 || after.pongs == 0)
        atomic_store(&s->most, 1000);
    wsock_release(&after);
}

static void results_come_in_fragments(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct thing t = {0};
        thing_body(&t, 10, true);
        sidecar_start(&car, in_fragments, NULL);
        struct etl_wire *w = sidecar_wire(&car, 0);
        t.req.comm = ETL_WS;
        thing_begin(w, &t);
        assert_err(thing_wait(&t), ERR_OK);
        assert_true(t.res.body->size == SOURCE_SIZE_UNKNOWN);
        assert_err(thing_drain(&t, i), ERR_OK);
        expect_pattern(&t, 200000);
        thing_end(&t);
        etl_wire_forget(w, STR("thing-1")); /* closed in order: the connection was at its beginning again */
        settle_down(w);
        assert_int_equal(atomic_load(&car.most), 0);
    }
}

/* A ping within the object is answered between its fragments. */
static void ping_early(struct sidecar *s, int fd, int n)
{
    (void)n;
    if (!wsock_shake(s, fd, ""))
        return;
    wsock_say_z(fd, 0x89, "");
    wsock_say_z(fd, 0x89, "x");
    usleep(20000); /* the object is under way, and waits for us */
    if (wsock_object(fd, &seen_control, &seen_object))
        wsock_say_z(fd, 0x82, seen_object.pongs + seen_control.pongs ? "answered" : "not answered");
    until_closed(fd);
}

static void pings_are_answered_within_an_object(void **state)
{
    struct thing t = {0};

    (void)state;
    thing_body(&t, BIG, true);
    assert_err(once(ping_early, NULL, &t), ERR_OK);
    expect(&t, "answered");
    assert_false(seen_object.bad);
    assert_int_equal(seen_object.n, BIG);
    thing_end(&t);
}

/* ---- what is answered ---- */

static int answer_first;
static size_t answer_n;
static const char *shake_more = "";

static void say_it(struct sidecar *s, int fd, int n)
{
    (void)n;
    if (!wsock_shake(s, fd, shake_more))
        return;
    while (wsock_object(fd, &seen_control, &seen_object))
        wsock_say(fd, answer_first, s->answer, answer_n);
}

static enum err told(int first, struct str text, struct thing *t)
{
    answer_first = first;
    answer_n = text.n;
    thing_body(t, 100, true);
    return once(say_it, text.p, t);
}

static void texts_are_lengths_or_errors(void **state)
{
    static const struct {
        struct str text;
        enum err err;
        const char *said;
        uint64_t size;
    } rows[] = {
        {STR("12345"), ERR_OK, "", 12345},
        {STR("0"), ERR_OK, "", 0},
        {STR("direct put success"), ERR_OK, "", 0},
        {STR("Transform error: no"), ERR_ETL, "Transform error: no", 0},
        {STR("-1"), ERR_ETL, "-1", 0},
        {STR("99999999999999999999"), ERR_ETL, "99999999999999999999", 0},
        {STR(""), ERR_ETL, "the sidecar answered with an empty TEXT message", 0},
        {STR("\xff\xfe"), ERR_ETL, "the sidecar broke the WebSocket protocol: a TEXT message that is not UTF-8", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct thing t = {0};
        assert_err(told(0x81, rows[i].text, &t), rows[i].err);
        assert_int_equal(t.res.delivered, rows[i].err == ERR_OK);
        assert_true(t.res.delivered_size == rows[i].size);
        assert_null(t.res.body);
        if (rows[i].err == ERR_ETL) {
            assert_int_equal(t.res.status, 500);
            assert_string_equal(t.res.text.p, rows[i].said);
        }
        thing_end(&t);
    }
}

static void a_long_error_is_cut(void **state)
{
    char *text = mem_alloc(200000);
    struct thing t = {0};

    (void)state;
    memset(text, 'x', 200000);
    assert_err(told(0x81, str_n(text, 200000), &t), ERR_ETL);
    assert_int_equal(t.res.text.n, ETL_TEXT_MAX);
    free(text);
    thing_end(&t);
}

static void an_error_leaves_the_connection_usable(void **state)
{
    (void)state;
    answer_first = 0x81;
    answer_n = 4;
    sidecar_start(&car, say_it, "oops");
    struct etl_wire *w = sidecar_wire(&car, 0);
    for (unsigned i = 0; i < 3; i++) {
        struct thing t = {.req = {.comm = ETL_WS}};
        thing_body(&t, 300000, true);
        assert_err(thing_run(w, &t), ERR_ETL);
        thing_end(&t);
    }
    assert_int_equal(atomic_load(&car.accepted), 1);
    settle_down(w);
}

/* With our extension: s->answer is a control message, then comes "result". */
static void framed(struct sidecar *s, int fd, int n)
{
    (void)n;
    if (!wsock_shake(s, fd, "Sluice-Etl-Frames: 1\r\n"))
        return;
    while (wsock_object(fd, &seen_control, &seen_object)) {
        wsock_say_z(fd, 0x81, s->answer);
        if (strstr(s->answer, "200")) {
            wsock_say_z(fd, 0x02, "res");
            wsock_say_z(fd, 0x80, "ult");
        }
    }
}

static void sidecars_with_frames_tell_status_and_size(void **state)
{
    static const struct {
        const char *answer;
        enum err err;
        const char *result;
        int status;
    } rows[] = {
        {"{\"status\":200}", ERR_OK, "result", 0},
        {"{\"status\":200,\"size\":6}", ERR_OK, "result", 0},
        {"{\"status\":200,\"size\":7}", ERR_ETL, NULL, 0},
        {"{\"status\":200,\"size\":5}", ERR_ETL, NULL, 0},
        {"{\"status\":204,\"stored\":77}", ERR_OK, NULL, 0},
        {"{\"status\":404,\"error\":\"none\"}", ERR_ETL, "none", 404},
        {"{\"status\":599}", ERR_ETL, "the sidecar answered with an error and no text", 599},
        {"{\"status\":301}", ERR_ETL, NULL, 500},
        {"{\"status\":\"200\"}", ERR_ETL, NULL, 0},
        {"{}", ERR_ETL, NULL, 500},
        {"[200]", ERR_ETL, NULL, 0},
        {"12", ERR_ETL, NULL, 500},
        {"{\"status\":200,\"size\":-6}", ERR_ETL, NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct thing t = {0};
        thing_body(&t, 100, true);
        assert_err(once(framed, rows[i].answer, &t), rows[i].err);
        if (rows[i].err == ERR_OK && rows[i].result)
            expect(&t, rows[i].result);
        else if (rows[i].result)
            assert_string_equal(t.res.text.p, rows[i].result);
        if (rows[i].status)
            assert_int_equal(t.res.status, rows[i].status);
        if (i == 4) {
            assert_true(t.res.delivered);
            assert_true(t.res.delivered_size == 77);
        }
        thing_end(&t);
    }
}

static void with_frames_a_result_must_be_announced(void **state)
{
    struct thing t = {0};

    (void)state;
    shake_more = "Sluice-Etl-Frames: 1\r\n";
    assert_err(told(0x82, STR("result"), &t), ERR_ETL);
    shake_more = "";
    thing_end(&t);
}

/* ---- what is no WebSocket ---- */

static void raw(struct sidecar *s, int fd, int n)
{
    (void)n;
    if (take_head(s, fd))
        say(fd, s->answer);
    shutdown(fd, SHUT_WR);
    until_closed(fd);
}

#define UPGRADE "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

static void handshakes_that_fail(void **state)
{
    static const struct {
        const char *answer;
        enum err err;
    } rows[] = {
        {UPGRADE "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", ERR_ETL},
        {UPGRADE "\r\n", ERR_ETL},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", ERR_ETL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ERR_ETL},
        {"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", ERR_UNAVAILABLE},
        {"SSH-2.0-OpenSSH\r\n\r\n", ERR_ETL},
        {"\x82\x05hello", ERR_ETL},
        {"HTTP/1.1 101 x\r\nUpgr", ERR_UNAVAILABLE},
        {"", ERR_UNAVAILABLE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct thing t = {0};
        thing_body(&t, 100, true);
        assert_err(once(raw, rows[i].answer, &t), rows[i].err);
        assert_false(t.res.body_taken);
        assert_int_equal(t.gen.at, 0);
        assert_int_equal(atomic_load(&car.accepted), 1);
        assert_true(rows[i].err != ERR_ETL || t.res.text.n > 0);
        thing_end(&t);
    }
}

static void endless_head(struct sidecar *s, int fd, int n)
{
    (void)n;
    if (!take_head(s, fd))
        return;
    say(fd, "HTTP/1.1 101 x\r\n");
    for (int i = 0; i < 10000; i++)
        say(fd, "X-Filler: 0123456789\r\n");
    until_closed(fd);
}

static void an_endless_handshake_is_refused(void **state)
{
    struct thing t = {0};

    (void)state;
    assert_err(once(endless_head, NULL, &t), ERR_ETL);
    thing_end(&t);
}

static void nobody_there(void **state)
{
    struct thing t = {.req = {.comm = ETL_WS}};

    (void)state;
    sidecar_start(&car, one, NULL);
    atomic_store(&car.absent, true);
    struct etl_wire *w = sidecar_wire(&car, 0);
    thing_body(&t, 100, true);
    assert_err(thing_run(w, &t), ERR_UNAVAILABLE);
    assert_false(t.res.body_taken);
    thing_end(&t);
    settle_down(w);
}

/* ---- breaches ---- */

static void breach(struct sidecar *s, int fd, int n)
{
    (void)n;
    if (!wsock_shake(s, fd, "") || !wsock_object(fd, &seen_control, &seen_object))
        return;
    say_n(fd, s->answer, answer_n);
    shutdown(fd, SHUT_WR);
    until_closed(fd);
}

static void what_breaks_off_or_is_garbage_never_ends_well(void **state)
{
    static const struct {
        struct str bytes;
        enum err err;
    } rows[] = {
        {STR(""), ERR_UNAVAILABLE},
        {STR("\x82"), ERR_UNAVAILABLE},
        {STR("\x82\x05hell"), ERR_UNAVAILABLE},
        {STR("\x02\x05hello"), ERR_UNAVAILABLE},
        {STR("\x02\x05hello\x00\x00\x89\x00"), ERR_UNAVAILABLE},
        {STR("\x02\x05hello\x88\x02\x03\xe8"), ERR_ETL},
        {STR("\x02\x05hello\x88\x02\x03\xe9"), ERR_UNAVAILABLE},
        {STR("\x88\x00"), ERR_ETL},
        {STR("\x88\x02\x03\xf3"), ERR_ETL},
        {STR("\x88\x02\x03\xf4"), ERR_UNAVAILABLE},
        {STR("\x82\x85mask\0\0\0\0\0"), ERR_ETL},
        {STR("\x02\x05hello\x80\x85mask\0\0\0\0\0"), ERR_ETL},
        {STR("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"), ERR_ETL},
        {STR("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), ERR_ETL},
        {STR("\x02\x05hello\x82\x00"), ERR_ETL},
        {STR("\x02\x05hello\x81\x00"), ERR_ETL},
        {STR("\xc2\x05hello"), ERR_ETL},
        {STR("\x80\x05hello"), ERR_ETL},
        {STR("HTTP/1.1 400 Bad Request\r\n\r\n"), ERR_ETL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct thing t = {0};
        answer_n = rows[i].bytes.n;
        thing_body(&t, 1000, true);
        assert_err(once(breach, rows[i].bytes.p, &t), rows[i].err);
        assert_true(t.res.body_taken);
        assert_true(t.body_n <= 5);
        thing_end(&t);
    }
}

static void a_close_code_is_told(void **state)
{
    struct thing t = {0};
    struct str bytes = STR("\x88\x11\x03\xf1message too big");

    (void)state;
    answer_n = bytes.n;
    thing_body(&t, 1000, true);
    assert_err(once(breach, bytes.p, &t), ERR_ETL);
    assert_int_equal(t.res.status, 500);
    assert_string_equal(t.res.text.p, "the sidecar closed the WebSocket with code 1009: message too big");
    thing_end(&t);
}

/* As uvicorn does with a message that is too large: it closes while the object is still being sent. */
static void too_big(struct sidecar *s, int fd, int n)
{
    char *p = mem_alloc(1 << 20);
    size_t len;

    (void)n;
    if (wsock_shake(s, fd, "") && wsock_frame(fd, p, 1 << 20, &len) >= 0 && wsock_frame(fd, p, 1 << 20, &len) >= 0)
        say_n(fd, "\x88\x02\x03\xf1", 4);
    usleep(100000);
    free(p);
}

static void a_close_within_the_object_is_told(void **state)
{
    struct thing t = {0};

    (void)state;
    thing_body(&t, 40u << 20, true);
    assert_err(once(too_big, NULL, &t), ERR_ETL);
    assert_non_null(strstr(t.res.text.p, "1009"));
    thing_end(&t);
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
        cmocka_unit_test(an_object_is_two_messages),
        cmocka_unit_test(a_file_is_named_and_not_sent),
        cmocka_unit_test(objects_go_in_fragments),
        cmocka_unit_test(names_that_json_can_not_say_are_refused),
        cmocka_unit_test(results_come_in_fragments),
        cmocka_unit_test(pings_are_answered_within_an_object),
        cmocka_unit_test(texts_are_lengths_or_errors),
        cmocka_unit_test(a_long_error_is_cut),
        cmocka_unit_test(an_error_leaves_the_connection_usable),
        cmocka_unit_test(sidecars_with_frames_tell_status_and_size),
        cmocka_unit_test(with_frames_a_result_must_be_announced),
        cmocka_unit_test(handshakes_that_fail),
        cmocka_unit_test(an_endless_handshake_is_refused),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(what_breaks_off_or_is_garbage_never_ends_well),
        cmocka_unit_test(a_close_code_is_told),
        cmocka_unit_test(a_close_within_the_object_is_told),
    };
    return cmocka_run_group_tests(tests, ask_setup, teardown);
}
