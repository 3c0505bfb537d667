#include "unit.h"

#include "http/parse.h"

static struct arena arena;

static int release_arena(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

/* Feeds `step` bytes at a time. */
static ssize_t scan(struct head_scan *s, const char *text, size_t n, size_t step)
{
    *s = (struct head_scan){0};
    for (size_t seen = step < n ? step : n;; seen = seen + step < n ? seen + step : n) {
        ssize_t r = head_scan(s, text, seen);
        if (r != 0 || seen == n)
            return r;
    }
}

static void end_of_head_is_found_at_any_pace(void **state)
{
    static const char text[] = "\r\nGET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\r\nGET /next";

    (void)state;
    for (size_t step = 1; step < sizeof(text); step++) {
        struct head_scan s;
        assert_int_equal(scan(&s, text, sizeof(text) - 1, step), sizeof(text) - 1 - 9);
        assert_int_equal(s.start, 2);
        assert_int_equal(s.lines, 4);
    }
}

static void bare_line_feeds_and_noise_are_found(void **state)
{
    static const char *const bad[] = {"GET / HTTP/1.1\n",
                                      "\n",
                                      "GET / HTTP/1.1\r\nA: b\n\r\n",
                                      "\x16\x03\x01",
                                      " GET / HTTP/1.1\r\n",
                                      "\r\n\r\n\r\n\r\n\r\n\r\n\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        for (size_t step = 1; step <= strlen(bad[i]); step++) {
            struct head_scan s;
            assert_int_equal(scan(&s, bad[i], strlen(bad[i]), step), -1);
        }
}

static enum err parse(const char *text, struct http_head *h)
{
    struct head_scan s;
    struct str copy = arena_str(&arena, str_z(text));

    assert_int_equal(scan(&s, copy.p, copy.n, copy.n), copy.n);
    return head_parse(&arena, (char *)copy.p + s.start, copy.n - s.start, s.lines, h);
}

static void assert_str(struct str s, const char *want)
{
    assert_true(str_eq(s, str_z(want)));
}

static void head_is_taken_apart(void **state)
{
    struct http_head h;

    (void)state;
    assert_int_equal(parse("PUT /b/k%20?x=1&y HTTP/1.1\r\nHOST: h:9000\r\nX-Amz-Meta-A:  v \t\r\nContent-Length: 12\r\n"
                           "Expect: 100-Continue\r\nEmpty:\r\n\r\n",
                           &h),
                     ERR_OK);
    assert_int_equal(h.method, HTTP_PUT);
    assert_str(h.target, "/b/k%20?x=1&y");
    assert_str(h.path, "/b/k%20");
    assert_str(h.query, "x=1&y");
    assert_true(h.has_query);
    assert_str(h.host, "h:9000");
    assert_int_equal(h.header_count, 5);
    assert_str(h.headers[0].name, "host");
    assert_str(h.headers[1].name, "x-amz-meta-a");
    assert_str(h.headers[1].value, "v");
    assert_int_equal(h.headers[4].value.n, 0);
    assert_int_equal(h.body_len, 12);
    assert_true(h.expects_continue);
    assert_true(h.keep_alive);
}

static void connection_options_and_versions(void **state)
{
    static const struct {
        const char *text;
        bool keep;
    } heads[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", false},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct http_head h;
        assert_int_equal(parse(heads[i].text, &h), ERR_OK);
        assert_int_equal(h.keep_alive, heads[i].keep);
    }
}

static void absolute_target_wins_over_host(void **state)
{
    struct http_head h;

    (void)state;
    assert_int_equal(parse("GET http://real:80/a?b HTTP/1.1\r\nHost: fake\r\n\r\n", &h), ERR_OK);
    assert_str(h.host, "real:80");
    assert_str(h.target, "/a?b");
    assert_int_equal(parse("GET http://real?b HTTP/1.1\r\nHost: fake\r\n\r\n", &h), ERR_OK);
    assert_str(h.path, "/");
    assert_str(h.query, "b");
    assert_int_equal(parse("GET http://real HTTP/1.1\r\nHost: fake\r\n\r\n", &h), ERR_OK);
    assert_str(h.target, "/");
    assert_int_equal(parse("GET http:///x HTTP/1.1\r\nHost: fake\r\n\r\n", &h), ERR_INVALID_URI);
}

/* Decodes `text` fed in pieces of `step`; what was decoded goes to out. */
static enum chunked_state decode(const char *text, size_t step, char *out, size_t *out_n, size_t *taken)
{
    struct chunked d = {0};
    size_t n = strlen(text), at = 0;

    *out_n = 0;
    while (at < n && d.state != CHUNKED_DONE && d.state != CHUNKED_BAD) {
        char piece[4096];
        size_t len = n - at < step ? n - at : step, got, used;
        memcpy(piece, text + at, len);
        chunked_decode(&d, piece, len, &got, &used);
        memcpy(out + *out_n, piece, got);
        *out_n += got;
        at += used;
        assert_true(used == len || d.state == CHUNKED_DONE || d.state == CHUNKED_BAD);
    }
    *taken = at;
    return d.state;
}

static void chunks_decode_at_any_pace(void **state)
{
    static const char text[] = "5\r\nhello\r\n0001;n=\"v\"\r\n \r\nA\r\n0123456789\r\n0\r\nT: 1\r\nU: 2\r\n\r\nnext";

    (void)state;
    for (size_t step = 1; step < sizeof(text); step++) {
        char out[100];
        size_t n, taken;
        assert_int_equal(decode(text, step, out, &n, &taken), CHUNKED_DONE);
        assert_int_equal(n, 16);
        assert_memory_equal(out, "hello 0123456789", 16);
        assert_int_equal(taken, sizeof(text) - 1 - 4);
    }
}

static void bad_chunks_are_refused(void **state)
{
    static const char *const bad[] = {
        "\r\n",
        "g\r\n",
        "+5\r\n",
        "0x5\r\n",
        "5 \r\nhello",
        "5\nhello",
        "5\r\nhellox",
        "5\r\nhello\nx",
        "5\r\nhello\r\r",
        "8000000000000000\r\n",
        "fffffffffffffffff\r\n",
        "00000000000000005\r\n",
        ";x\r\n",
        "5;\x01\r\n",
        "0\r\n folded\r\n",
        "0\r\nT: 1\n",
        "0\r\n\n",
        "0\r\n\x7f: 1\r\n",
        "5\rhello",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        for (size_t step = 1; step <= strlen(bad[i]); step++) {
            char out[100];
            size_t n, taken;
            if (decode(bad[i], step, out, &n, &taken) != CHUNKED_BAD)
                fail_msg("accepted: %s", bad[i]);
        }
}

static void chunk_overhead_is_bounded(void **state)
{
    struct chunked d = {0};
    char text[4096];
    size_t got, used;
    int lines = 0;

    (void)state;
    memset(text, 'x', sizeof(text));
    memcpy(text, "5;", 2);
    assert_int_equal(chunked_decode(&d, text, 2000, &got, &used), CHUNKED_BAD);
    d = (struct chunked){0};
    while (d.state != CHUNKED_BAD && lines < 1000) {
        size_t n = (size_t)snprintf(text, sizeof(text), "1;%0*d\r\nx\r\n", 500, 0);
        chunked_decode(&d, text, n, &got, &used);
        lines++;
    }
    assert_in_range(lines, 20, 40); /* 16 KiB of 500 each */
    d = (struct chunked){0};
    memcpy(text, "0\r\n", 3);
    chunked_decode(&d, text, 3, &got, &used);
    for (lines = 0; d.state != CHUNKED_BAD && lines < 10000; lines++) {
        memcpy(text, "T: 1\r\n", 6);
        chunked_decode(&d, text, 6, &got, &used);
    }
    assert_in_range(lines, 1000, 2000); /* 8 KiB of trailers */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(end_of_head_is_found_at_any_pace),
        cmocka_unit_test(bare_line_feeds_and_noise_are_found),
        cmocka_unit_test_teardown(head_is_taken_apart, release_arena),
        cmocka_unit_test_teardown(connection_options_and_versions, release_arena),
        cmocka_unit_test_teardown(absolute_target_wins_over_host, release_arena),
        cmocka_unit_test(chunks_decode_at_any_pace),
        cmocka_unit_test(bad_chunks_are_refused),
        cmocka_unit_test(chunk_overhead_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
