#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "s3api/checksum.h"
#include "signing.h"
#include "s3api/chunked.h"

#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define SCOPE  "20130524/us-east-1/s3/aws4_request"

static struct creds *creds;

/* Who sends S3's examples; `seed`: signature of the head. */
static struct identity signer(enum payload_mode mode, const char *seed)
{
    struct identity id = {.kind = AUTH_V4_HEADER, .payload = mode, .chunks = {.verify = true, .scope = STR(SCOPE)}};

    assert_true(signing_key(creds, STR("a"), STR("20130524"), STR("us-east-1"), &id.chunks.key));
    memcpy(id.chunks.timestamp, "20130524T000000Z", CLOCK_BASIC_LEN);
    memcpy(id.chunks.seed, seed, 64);
    return id;
}

#define SEED         "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
#define TRAILER_SEED "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"

static void add_run(struct buf *b, char c, size_t n)
{
    memset(buf_reserve(b, n), c, n);
    buf_commit(b, n);
}

/* S3 API: Transferring Payload in Multiple Chunks: 65 KiB of "a". */
static void documented_body(struct buf *b)
{
    buf_add_z(b, "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n");
    add_run(b, 'a', 65536);
    buf_add_z(b, "\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n");
    add_run(b, 'a', 1024);
    buf_add_z(b, "\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n");
}

/* The same under "Including Trailing Headers"; `gap`: as it is printed there, with another line end before the
 * signature. */
static void documented_trailer_body(struct buf *b, const char *gap)
{
    buf_add_z(b, "10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n");
    add_run(b, 'a', 65536);
    buf_add_z(b, "\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n");
    add_run(b, 'a', 1024);
    buf_add_z(b, "\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n");
    buf_add_z(b, "x-amz-checksum-crc32c:sOO8/Q==");
    buf_add_z(b, gap);
    buf_add_z(b, "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n");
}

/* Parses `raw` in steps of `step` bytes; the payload goes to `out` (may be NULL). */
static enum err parse(struct str raw, size_t step, const struct identity *who, enum hash_alg announced, uint64_t len,
                      struct body_check *check, struct buf *out)
{
    struct chunk_parser *p = NEW(struct chunk_parser);
    char *piece = malloc(step);
    enum err e = ERR_OK;
    size_t n;

    *check = (struct body_check){0};
    chunk_parser_init(p, who, check, announced, len);
    while (raw.n && e == ERR_OK) {
        size_t take = raw.n < step ? raw.n : step;
        memcpy(piece, raw.p, take);
        raw = str_skip(raw, take);
        e = chunk_parse(p, piece, take, &n);
        if (e == ERR_OK && out)
            buf_add(out, piece, n);
    }
    if (e == ERR_OK)
        e = chunk_parser_end(p);
    free(piece);
    free(p);
    return e;
}

static void documented_chunks_pass_in_any_split(void **state)
{
    static const size_t steps[] = {1, 2, 3, 7, 87, 88, 4096, 65536, 1 << 20};
    struct buf raw = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20), want = BUF_INIT(1 << 20);
    struct identity who = signer(PAYLOAD_SIGNED_CHUNKS, SEED);
    struct body_check check;

    (void)state;
    documented_body(&raw);
    add_run(&want, 'a', 66560);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        buf_reset(&out);
        assert_int_equal(parse(buf_str(&raw), steps[i], &who, HASH_NONE, 66560, &check, &out), ERR_OK);
        assert_true(str_eq(buf_str(&out), buf_str(&want)));
        assert_int_equal(check.want_count, 0);
    }
    buf_release(&raw);
    buf_release(&out);
    buf_release(&want);
}

static void documented_trailer_passes(void **state)
{
    static const char *const gaps[] = {"\r\n", "\n", "\n\r\n", "\r\n\r\n"};
    struct identity who = signer(PAYLOAD_SIGNED_CHUNKS_TRAILER, TRAILER_SEED);
    struct body_check check;

    (void)state;
    for (size_t i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++) {
        struct buf raw = BUF_INIT(1 << 20);
        documented_trailer_body(&raw, gaps[i]);
        assert_int_equal(parse(buf_str(&raw), 1000, &who, HASH_CRC32C, 66560, &check, NULL), ERR_OK);
        assert_int_equal(check.want_count, 1);
        assert_int_equal(check.want[0].digest.alg, HASH_CRC32C);
        assert_int_equal(check.want[0].err, ERR_BAD_DIGEST);
        assert_int_equal(parse(buf_str(&raw), 1000, &who, HASH_CRC32, 66560, &check, NULL), ERR_MALFORMED_TRAILER);
        assert_int_equal(parse(buf_str(&raw), 1000, &who, HASH_NONE, 66560, &check, NULL), ERR_MALFORMED_TRAILER);
        buf_release(&raw);
    }
}

/* Every byte of framing and a few of the payload; x ^ 0x20 only changes the case of a hex size or a trailer's name. */
static void any_changed_byte_is_refused(void **state)
{
    struct identity who = signer(PAYLOAD_SIGNED_CHUNKS_TRAILER, TRAILER_SEED);
    struct buf raw = BUF_INIT(1 << 20);
    struct body_check check;

    (void)state;
    documented_trailer_body(&raw, "\r\n");
    size_t trailer = str_find(buf_str(&raw), STR("x-amz-checksum"));
    for (size_t i = 0; i<raw.n; i += i> 200 && i < 65000 ? 9973 : 1) {
        if (i > 65700 && i < 66500)
            continue;
        if (raw.p[i] == '\r' && i > trailer)
            continue; /* before "\n" it is optional there, and blanks around the value are trimmed */
        raw.p[i] ^= 1;
        if (parse(buf_str(&raw), 1 << 20, &who, HASH_CRC32C, 66560, &check, NULL) == ERR_OK)
            fail_msg("byte %zu passes", i);
        raw.p[i] ^= 1;
    }
    buf_release(&raw);
}

static void every_truncation_is_refused(void **state)
{
    struct identity who = signer(PAYLOAD_SIGNED_CHUNKS, SEED),
                    trailing = signer(PAYLOAD_SIGNED_CHUNKS_TRAILER, TRAILER_SEED);
    struct buf raw = BUF_INIT(1 << 20), with = BUF_INIT(1 << 20);
    struct body_check check;

    (void)state;
    documented_body(&raw);
    documented_trailer_body(&with, "\r\n");
    for (size_t cut = 0; cut < 2000; cut++) {
        enum err e = parse(str_n(raw.p, raw.n - cut), 1 << 20, &who, HASH_NONE, 66560, &check, NULL);
        assert_int_equal(e == ERR_OK, cut == 0 || cut == 2); /* the last empty line may be missing */
        e = parse(str_n(with.p, with.n - cut), 1 << 20, &trailing, HASH_CRC32C, 66560, &check, NULL);
        assert_int_equal(e == ERR_OK, cut == 0 || cut == 2);
    }
    buf_add_z(&raw, "x");
    assert_int_equal(parse(buf_str(&raw), 1 << 20, &who, HASH_NONE, 66560, &check, NULL), ERR_INCOMPLETE_BODY);
    buf_release(&raw);
    buf_release(&with);
}

/* Chains over `sizes` (0-terminated) of zero bytes with right signatures. */
static void sign_chunks(struct buf *b, const struct identity *who, const size_t *sizes)
{
    char previous[64], hex[64], zeros[64];
    struct digest empty, sum;
    uint8_t mac[32];

    hash_of(HASH_SHA256, STR(""), &empty);
    hex_encode(empty.b, 32, zeros);
    memcpy(previous, who->chunks.seed, 64);
    for (bool last = false; !last; sizes++) {
        last = *sizes == 0;
        char *data = mem_new(*sizes + 1);
        struct buf text = BUF_INIT(4096);
        hash_of(HASH_SHA256, str_n(data, *sizes), &sum);
        hex_encode(sum.b, 32, hex);
        buf_addf(&text, "AWS4-HMAC-SHA256-PAYLOAD\n%.16s\n" STR_FMT "\n%.64s\n%.64s\n%.64s", who->chunks.timestamp,
                 STR_ARG(who->chunks.scope), previous, zeros, hex);
        hmac_of(&who->chunks.key, buf_str(&text), mac);
        hex_encode(mac, 32, previous);
        buf_addf(b, "%zx;chunk-signature=%.64s\r\n", *sizes, previous);
        buf_add(b, data, *sizes);
        buf_add_z(b, "\r\n");
        buf_release(&text);
        free(data);
    }
}

static void sizes_of_signed_chunks(void **state)
{
    static const struct {
        size_t sizes[5];
        uint64_t len;
        enum err want;
    } cases[] = {
        {{0}, 0, ERR_OK},
        {{1, 0}, 1, ERR_OK},
        {{8192, 1, 0}, 8193, ERR_OK},
        {{8191, 1, 0}, 8192, ERR_CHUNK_SIZE},
        {{8192, 8191, 8192, 0}, 24575, ERR_CHUNK_SIZE},
        {{8192, 8192, 0}, 16384, ERR_OK},
        {{8192, 0}, 8193, ERR_INCOMPLETE_BODY},
        {{8192, 0}, 8191, ERR_INCOMPLETE_BODY},
        {{8192, 8192, 0}, 8192, ERR_INCOMPLETE_BODY},
    };
    struct identity who = signer(PAYLOAD_SIGNED_CHUNKS, SEED);
    struct body_check check;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf raw = BUF_INIT(1 << 20);
        sign_chunks(&raw, &who, cases[i].sizes);
        assert_int_equal(parse(buf_str(&raw), 100, &who, HASH_NONE, cases[i].len, &check, NULL), cases[i].want);
        buf_release(&raw);
    }
}

static const struct identity unsigned_trailer = {.payload = PAYLOAD_UNSIGNED_TRAILER};

static enum err parse_unsigned(const char *text, enum hash_alg announced, uint64_t len)
{
    struct body_check check;
    enum err whole = parse(str_z(text), 1 << 16, &unsigned_trailer, announced, len, &check, NULL);
    enum err bytes = parse(str_z(text), 1, &unsigned_trailer, announced, len, &check, NULL);

    assert_int_equal(whole, bytes);
    return whole;
}

#define CRC "x-amz-checksum-crc32:NSRBwg==\r\n"

static void unsigned_frames(void **state)
{
    (void)state;
    assert_int_equal(parse_unsigned("3\r\nabc\r\n0\r\n" CRC "\r\n", HASH_CRC32, 3), ERR_OK);
    assert_int_equal(parse_unsigned("1\r\na\r\n2\r\nbc\r\n0\r\n" CRC "\r\n", HASH_CRC32, 3),
                     ERR_OK); /* no least size */
    assert_int_equal(parse_unsigned("0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", HASH_CRC32, 0), ERR_OK);
    assert_int_equal(parse_unsigned("3\r\nabc\r\n0\r\nX-Amz-Checksum-CRC32: NSRBwg== \n\n", HASH_CRC32, 3), ERR_OK);
    /* as minio-go ends it */
    assert_int_equal(parse_unsigned("3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\n\r\n\r\n", HASH_CRC32, 3), ERR_OK);
    assert_int_equal(parse_unsigned("3\r\nabc\r\n0\r\n" CRC "\r\n\r\n\r\n", HASH_CRC32, 3), ERR_INCOMPLETE_BODY);
    assert_int_equal(parse_unsigned("3\r\nabc\r\n0\r\n\r\n" CRC "\r\n", HASH_CRC32, 3), ERR_INCOMPLETE_BODY);
    assert_int_equal(parse_unsigned("3\r\nabc\r\n0\r\n\r\n", HASH_NONE, 3), ERR_OK);
    assert_int_equal(parse_unsigned("0000000000000003\r\nabc\r\n0\r\n\r\n", HASH_NONE, 3), ERR_OK);
}

static void bad_frames_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "3",
        "3\r\nab",
        "3\r\nabc",
        "3\r\nabc\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "g\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "00000000000000003\r\nabc\r\n0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\n\r\nx",
        "3\r\nabc\r\n0\r\n\r\n0\r\n\r\n",
        "0\r\n\r\n",
        "2\r\nab\r\nffffffffffffffff\r\nc\r\n0\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse_unsigned(bad[i], HASH_NONE, 3) != ERR_INCOMPLETE_BODY)
            fail_msg("%s", bad[i]);
}

static void bad_trailers_are_refused(void **state)
{
    (void)state;
    assert_int_equal(parse_unsigned("3\r\nabc\r\n0\r\n\r\n", HASH_CRC32, 3), ERR_MALFORMED_TRAILER);
    assert_int_equal(parse_unsigned("3\r\nabc\r\n0\r\n", HASH_CRC32, 3), ERR_MALFORMED_TRAILER);
    assert_int_equal(parse_unsigned("3\r\nabc\r\n0\r\n" CRC CRC "\r\n", HASH_CRC32, 3), ERR_MALFORMED_TRAILER);
    assert_int_equal(parse_unsigned("3\r\nabc\r\n0\r\n" CRC "\r\n", HASH_SHA1, 3), ERR_MALFORMED_TRAILER);
    assert_int_equal(parse_unsigned("3\r\nabc\r\n0\r\n" CRC "\r\n", HASH_NONE, 3), ERR_MALFORMED_TRAILER);
    assert_int_equal(parse_unsigned("3\r\nabc\r\n0\r\nx-amz-meta-a:1\r\n" CRC "\r\n", HASH_CRC32, 3),
                     ERR_MALFORMED_TRAILER);
    assert_int_equal(parse_unsigned("3\r\nabc\r\n0\r\nx-amz-trailer-signature:" SEED "\r\n\r\n", HASH_NONE, 3),
                     ERR_MALFORMED_TRAILER);
    assert_int_equal(parse_unsigned("3\r\nabc\r\n0\r\nnonsense\r\n\r\n", HASH_CRC32, 3), ERR_MALFORMED_TRAILER);
    assert_int_equal(parse_unsigned("3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg\r\n\r\n", HASH_CRC32, 3),
                     ERR_INVALID_REQUEST);
    assert_int_equal(parse_unsigned("3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==-1\r\n\r\n", HASH_CRC32, 3),
                     ERR_INVALID_REQUEST);
    assert_int_equal(parse_unsigned("3\r\nabc\r\n0\r\nx-amz-checksum-crc32:\r\n\r\n", HASH_CRC32, 3),
                     ERR_INVALID_REQUEST);
}

static void lines_have_a_bound(void **state)
{
    struct buf raw = BUF_INIT(1 << 20);
    struct body_check check;

    (void)state;
    add_run(&raw, '0', CHUNK_LINE_MAX + 1);
    assert_int_equal(parse(buf_str(&raw), 1 << 20, &unsigned_trailer, HASH_NONE, 3, &check, NULL), ERR_INCOMPLETE_BODY);
    assert_int_equal(parse(buf_str(&raw), 100, &unsigned_trailer, HASH_NONE, 3, &check, NULL), ERR_INCOMPLETE_BODY);
    buf_reset(&raw);
    buf_add_z(&raw, "0\r\n");
    add_run(&raw, 'x', CHUNK_LINE_MAX + 1);
    assert_int_equal(parse(buf_str(&raw), 100, &unsigned_trailer, HASH_CRC32, 0, &check, NULL), ERR_MALFORMED_TRAILER);
    buf_release(&raw);
}

/* A server that serves everybody knows no key: frames are decoded, signatures are not looked at. */
static void signatures_are_ignored_only_when_told(void **state)
{
    struct identity who = signer(PAYLOAD_SIGNED_CHUNKS, TRAILER_SEED);
    struct buf raw = BUF_INIT(1 << 20);
    struct body_check check;

    (void)state;
    documented_body(&raw);
    assert_int_equal(parse(buf_str(&raw), 1 << 20, &who, HASH_NONE, 66560, &check, NULL), ERR_SIGNATURE);
    who.chunks.verify = false;
    assert_int_equal(parse(buf_str(&raw), 1 << 20, &who, HASH_NONE, 66560, &check, NULL), ERR_OK);
    buf_release(&raw);
}

/* ---- the source ---- */

/* Yields at most `step` bytes a read, then its end or an error. */
struct dribble {
    struct source source;
    struct str rest;
    size_t step;
    enum err at_end;
    struct call *held; /* never answered until cancelled */
    bool hangs;
};

static void dribble_cancel(void *arg)
{
    struct dribble *d = arg;

    call_finish(d->held, ERR_CANCELLED);
}

static void dribble_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct dribble *d = CONTAINER(s, struct dribble, source);

    if (d->hangs && d->rest.n == 0) {
        d->held = c;
        call_on_cancel(c, dribble_cancel, d);
        return;
    }
    *n = d->rest.n < d->step ? d->rest.n : d->step;
    *n = *n < len ? *n : len;
    memcpy(buf, d->rest.p, *n);
    d->rest = str_skip(d->rest, *n);
    call_finish(c, *n ? ERR_OK : d->at_end);
}

static const struct source_ops dribble_ops = {.name = "dribble", .read = dribble_read};
static struct loop *loop;
static struct offload *cpu;
static bool done;

static void on_done(struct call *c)
{
    (void)c;
    done = true;
}

static enum err read_once(struct source *s, void *buf, size_t len, size_t *n)
{
    struct call c = {0};

    done = false;
    call_begin(&c, loop, on_done);
    source_read(s, buf, len, n, &c);
    assert_false(done); /* never within the call */
    while (!done)
        loop_turn(loop, 100);
    return c.err;
}

static enum err read_all(struct dribble *d, size_t len, struct buf *out)
{
    struct identity who = signer(PAYLOAD_SIGNED_CHUNKS, SEED);
    struct body_check check = {0};
    struct source *s = chunked_source_new(loop, &d->source, &who, &check, HASH_NONE, 66560, cpu);
    char *buf = malloc(len);
    size_t n = 1;
    enum err e = ERR_OK;

    d->source.ops = &dribble_ops;
    assert_int_equal(s->size, 66560);
    while (e == ERR_OK && n) {
        e = read_once(s, buf, len, &n);
        if (e == ERR_OK)
            buf_add(out, buf, n);
    }
    if (e != ERR_OK) /* and keeps failing */
        assert_int_equal(read_once(s, buf, len, &n), e);
    free(buf);
    source_close(s);
    return e;
}

static void source_yields_the_payload(void **state)
{
    static const size_t lens[] = {1, 10, 1000, 70000, 1 << 20};
    struct buf raw = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20), want = BUF_INIT(1 << 20);

    (void)state;
    documented_body(&raw);
    add_run(&want, 'a', 66560);
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        struct dribble d = {.rest = buf_str(&raw), .step = 1 << 20};
        buf_reset(&out);
        assert_int_equal(read_all(&d, lens[i], &out), ERR_OK);
        assert_true(str_eq(buf_str(&out), buf_str(&want)));
        d = (struct dribble){.rest = buf_str(&raw), .step = 33};
        buf_reset(&out);
        assert_int_equal(read_all(&d, lens[i], &out), ERR_OK);
        assert_int_equal(out.n, 66560);
    }
    buf_release(&raw);
    buf_release(&out);
    buf_release(&want);
}

static void source_passes_errors_on(void **state)
{
    struct buf raw = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);

    (void)state;
    documented_body(&raw);
    struct dribble d = {.rest = buf_str(&raw), .step = 5000, .at_end = ERR_CLIENT_GONE};
    assert_int_equal(read_all(&d, 70000, &out), ERR_CLIENT_GONE);
    d = (struct dribble){.rest = str_n(raw.p, raw.n - 100), .step = 5000};
    assert_int_equal(read_all(&d, 70000, &out), ERR_INCOMPLETE_BODY);
    raw.p[5000] ^= 1; /* hashed on the loop, then on the pool */
    d = (struct dribble){.rest = buf_str(&raw), .step = 5000};
    assert_int_equal(read_all(&d, 70000, &out), ERR_SIGNATURE);
    d = (struct dribble){.rest = buf_str(&raw), .step = 1 << 20};
    assert_int_equal(read_all(&d, 1 << 20, &out), ERR_SIGNATURE);
    buf_release(&raw);
    buf_release(&out);
}

static void source_read_can_be_cancelled(void **state)
{
    struct identity who = signer(PAYLOAD_SIGNED_CHUNKS, SEED);
    struct body_check check = {0};
    struct dribble d = {.source = {.ops = &dribble_ops}, .rest = STR("10"), .step = 1, .hangs = true};
    struct source *s = chunked_source_new(loop, &d.source, &who, &check, HASH_NONE, 66560, cpu);
    struct call c = {0};
    char buf[100];
    size_t n;

    (void)state;
    done = false;
    call_begin(&c, loop, on_done);
    source_read(s, buf, sizeof(buf), &n, &c);
    for (int i = 0; i < 10; i++)
        loop_turn(loop, 0);
    assert_false(done);
    call_cancel(&c);
    while (!done)
        loop_turn(loop, 100);
    assert_int_equal(c.err, ERR_CANCELLED);
    source_close(s);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(documented_chunks_pass_in_any_split),
        cmocka_unit_test(documented_trailer_passes),
        cmocka_unit_test(any_changed_byte_is_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(sizes_of_signed_chunks),
        cmocka_unit_test(unsigned_frames),
        cmocka_unit_test(bad_frames_are_refused),
        cmocka_unit_test(bad_trailers_are_refused),
        cmocka_unit_test(lines_have_a_bound),
        cmocka_unit_test(signatures_are_ignored_only_when_told),
        cmocka_unit_test(source_yields_the_payload),
        cmocka_unit_test(source_passes_errors_on),
        cmocka_unit_test(source_read_can_be_cancelled),
    };

    hash_setup();
    creds = creds_new();
    if (creds_put(creds, STR("a"), STR(SECRET)) != ERR_OK)
        return 1;
    loop = loop_new();
    loop_adopt(loop);
    cpu = offload_new("cpu", 1, 8);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    offload_free(cpu);
    loop_free(loop);
    creds_free(creds);
    return failed;
}
