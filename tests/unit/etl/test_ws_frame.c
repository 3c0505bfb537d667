#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/mem.h"
#include "etl/ws_frame.h"

/* What was told, as text: "b2:5" begin, "d..." data, "e" end, "c9:..." control, "!" bad. Data in pieces looks like data in one. */
static void trace(struct ws_parser *p, struct str bytes, size_t step, char *out, size_t cap)
{
    size_t at = 0, n = 0, used, fed = 0;
    enum ws_event event, told = WS_MORE;

    out[0] = 0;
    while (n + 200 < cap) {
        char *piece = mem_alloc(fed + 1); /* of its very size: so that a read behind it is seen */
        memcpy(piece, bytes.p + at, fed);
        event = ws_parse(p, piece, fed, &used);
        at += used;
        fed -= used;
        if (event == WS_BEGIN)
            n += (size_t)snprintf(out + n, cap - n, "b%d:%lld ", p->op, (long long)p->size);
        else if (event == WS_DATA) {
            n -= told == WS_DATA;
            n += (size_t)snprintf(out + n, cap - n, "%.*s ", (int)p->data.n, p->data.p);
        } else if (event == WS_END)
            n += (size_t)snprintf(out + n, cap - n, "e ");
        else if (event == WS_CONTROL)
            n += (size_t)snprintf(out + n, cap - n, "c%d:%.*s ", p->control_op, p->control_n, (char *)p->control);
        free(piece);
        if (event == WS_BAD) {
            snprintf(out + n, cap - n, "!%u %s", p->code, p->why);
            return;
        }
        if (event != WS_MORE) {
            told = event;
            continue;
        }
        assert_int_equal(fed, 0);
        if (at == bytes.n)
            return;
        fed = step < bytes.n - at ? step : bytes.n - at;
    }
}

static void expect_trace(struct str bytes, const char *expected)
{
    static char got[8192];

    for (size_t step = 1; step <= bytes.n; step++) {
        struct ws_parser p = {.message_max = 1000};
        trace(&p, bytes, step, got, sizeof(got));
        assert_string_equal(got, expected);
    }
}

static void frames_of_every_kind(void **state)
{
    (void)state;
    expect_trace(STR("\x81\x05Hello"), "b1:5 Hello e "); /* RFC 6455 section 5.7 */
    expect_trace(STR("\x01\x03Hel\x80\x02lo"), "b1:-1 Hello e ");
    expect_trace(STR("\x89\x05Hello"), "c9:Hello ");
    expect_trace(STR("\x82\x00"), "b2:0 e ");
    expect_trace(STR("\x02\x00\x00\x00\x80\x00"), "b2:-1 e ");
    expect_trace(STR("\x02\x01"
                     "a\x89\x00\x00\x01"
                     "b\x8a\x02xy\x80\x01"
                     "c\x82\x01z"),
                 "b2:-1 a c9: b c10:xy c e b2:1 z e ");
    expect_trace(STR("\x88\x00"), "c8: ");
    expect_trace(STR("\x88\x05\x03\xf1"
                     "bye"),
                 "c8:\x03\xf1"
                 "bye ");
}

static void what_is_no_frame_is_refused(void **state)
{
    static const struct {
        struct str bytes;
        const char *trace;
    } rows[] = {
        {STR("\xc2\x00"), "!1002 a frame with a reserved bit set"},
        {STR("\x92\x00"), "!1002 a frame with a reserved bit set"},
        {STR("\x82\x80"), "!1002 a masked frame"},
        {STR("\x83\x00"), "!1002 a frame with a reserved opcode"},
        {STR("\x8b\x00"), "!1002 a frame with a reserved opcode"},
        {STR("\x09\x00"), "!1002 a control frame in fragments"},
        {STR("\x89\x7e"), "!1002 a control frame of more than 125 bytes"},
        {STR("\x80\x00"), "!1002 a fragment that continues nothing"},
        {STR("\x02\x00\x82\x00"), "b2:-1 !1002 a message within a message"},
        {STR("\x82\x00\x80\x00"), "b2:0 e !1002 a fragment that continues nothing"},
        {STR("\x82\x7e\x00\x7d"), "!1002 a frame whose length is badly written"},
        {STR("\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff"), "!1002 a frame whose length is badly written"},
        {STR("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"), "!1002 a frame whose length is badly written"},
        {STR("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"), "!1002 a frame whose length is badly written"},
        {STR("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), "!1009 a message that is too large"},
        {STR("\x82\x7e\x03\xe9"), "!1009 a message that is too large"},
        {STR("\x02\x01x\x80\x7e\x03\xe8"), "b2:-1 x !1009 a message that is too large"},
        {STR("\x02\x01x\x80\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), "b2:-1 x !1009 a message that is too large"},
        {STR("\x88\x01x"), "!1002 a Close frame with half a code"},
        {STR("\x88\x02\x03\xe7"), "!1002 a Close frame with a code that may not be sent"},
        {STR("\x88\x02\x03\xed"), "!1002 a Close frame with a code that may not be sent"},
        {STR("\x88\x02\x13\x88"), "!1002 a Close frame with a code that may not be sent"},
        {STR("\x88\x03\x03\xe8\xff"), "!1002 a Close frame whose text is not UTF-8"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_trace(rows[i].bytes, rows[i].trace);
}

static void bad_is_for_good(void **state)
{
    struct ws_parser p = {.message_max = 10};
    size_t used;

    (void)state;
    assert_int_equal(ws_parse(&p, "\x83\x00", 2, &used), WS_BAD);
    assert_int_equal(ws_parse(&p, "\x82\x00", 2, &used), WS_BAD);
    assert_int_equal(used, 0);
}

static void lengths_are_written_as_they_are_read(void **state)
{
    static const uint64_t rows[] = {0, 1, 125, 126, 127, 65535, 65536, 1u << 30, INT64_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ws_parser p = {.message_max = UINT64_MAX};
        char head[WS_HEAD_MAX];
        size_t used, n = ws_head(head, WS_BINARY, true, rows[i], NULL);
        assert_int_equal(ws_parse(&p, head, n, &used), WS_BEGIN);
        assert_int_equal(used, n);
        assert_true(p.size == rows[i]);
        assert_int_equal(ws_head(head, WS_BINARY, false, rows[i], (const uint8_t *)"mask"), n + 4);
        assert_int_equal(head[0], 2);
        assert_memory_equal(head + n, "mask", 4);
        assert_int_equal(ws_parse(&(struct ws_parser){.message_max = UINT64_MAX}, head, n, &used), WS_BAD);
    }
}

static void masking_is_its_own_inverse(void **state)
{
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint8_t hello[] = "Hello";

    (void)state;
    ws_mask(hello, 5, mask);
    assert_memory_equal(hello, "\x7f\x9f\x4d\x51\x58", 5); /* RFC 6455 section 5.7 */
    for (size_t n = 0; n < 70; n++)
        for (size_t at = 0; at < 9; at++) {
            uint8_t *block = mem_alloc(at + n + 1);
            for (size_t i = 0; i < n; i++)
                block[at + i] = (uint8_t)(i * 7);
            ws_mask(block + at, n, mask);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(block[at + i], (uint8_t)((i * 7) ^ mask[i % 4]));
            free(block);
        }
}

#define GOOD                                                                                                           \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                                \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

static const char *fault(const char *text)
{
    struct arena arena = ARENA_INIT;
    struct http_response_head head;
    struct head_scan scan = {0};
    char copy[1024];
    int len = snprintf(copy, sizeof(copy), "%s", text);
    ssize_t n = head_scan(&scan, copy, (size_t)len);

    assert_int_equal(n, len);
    assert_int_equal(head_parse_response(&arena, copy, (size_t)n, scan.lines, false, &head), ERR_OK);
    const char *got = ws_handshake_fault(&head, "dGhlIHNhbXBsZSBub25jZQ==");
    arena_release(&arena);
    return got;
}

static void handshakes(void **state)
{
    char accept[WS_ACCEPT_LEN], key[WS_KEY_LEN], other[WS_KEY_LEN];

    (void)state;
    ws_accept("dGhlIHNhbXBsZSBub25jZQ==", accept); /* RFC 6455 section 1.3 */
    assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28);
    ws_key(key);
    ws_key(other);
    assert_memory_not_equal(key, other, WS_KEY_LEN);
    assert_null(fault(GOOD "\r\n"));
    assert_null(fault("HTTP/1.1 101 x\r\nupgrade: WebSocket\r\nconnection: keep-alive\r\nConnection: x , uPgrade\r\n"
                      "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
    assert_non_null(fault(GOOD "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"));
    assert_non_null(fault(GOOD "Sec-WebSocket-Protocol: chat\r\n\r\n"));
    assert_non_null(fault("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
    assert_non_null(fault("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"));
    assert_non_null(fault("HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"));
    assert_non_null(fault("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: keep-alive\r\n\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_of_every_kind),
        cmocka_unit_test(what_is_no_frame_is_refused),
        cmocka_unit_test(bad_is_for_good),
        cmocka_unit_test(lengths_are_written_as_they_are_read),
        cmocka_unit_test(masking_is_its_own_inverse),
        cmocka_unit_test(handshakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
