#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "archive/arc_pack.h"
#include "base/hash.h"
#include "base/mem.h"
#include "etl/builtin.h"

static struct loop *loop;
static struct offload *cpu;
static struct arena arena;

/* ---- bodies: a text, or a pattern, that comes in pieces, later, and may fail ---- */

struct body {
    struct source source;
    struct str text; /* p NULL: the pattern */
    uint64_t at, size;
    size_t piece;
    unsigned later;    /* every how many-th read answers after a moment */
    uint64_t fails_at; /* 0: it does not */
    unsigned reads;
    struct call *call;
    void *buf;
    size_t len, *n;
    struct timer timer;
};

static char pattern(uint64_t i)
{
    return i % 24 < 16 ? (char)((i / 24 * UINT64_C(0x9e3779b97f4a7c15)) >> (i % 8 * 7)) : "pattern"[i % 7];
}

static void body_answer(struct timer *t)
{
    struct body *b = CONTAINER(t, struct body, timer);
    struct call *c = b->call;
    uint64_t left = b->size - b->at;
    size_t n = b->len < b->piece ? b->len : b->piece;

    b->call = NULL;
    n = n < left ? n : (size_t)left;
    if (b->fails_at && b->at + n > b->fails_at) {
        call_finish(c, ERR_IO);
        return;
    }
    if (b->text.p && n)
        memcpy(b->buf, b->text.p + b->at, n);
    else
        for (size_t i = 0; i < n; i++)
            ((char *)b->buf)[i] = pattern(b->at + i);
    b->at += n;
    *b->n = n;
    call_finish(c, ERR_OK);
}

static void body_cancel(void *arg)
{
    struct body *b = arg;
    struct call *c = b->call;

    if (!c)
        return;
    timer_cancel(loop, &b->timer);
    b->call = NULL;
    call_finish(c, ERR_CANCELLED);
}

static void body_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct body *b = CONTAINER(s, struct body, source);

    assert_null(b->call);
    b->call = c;
    b->buf = buf;
    b->len = len;
    b->n = n;
    b->timer.fn = body_answer;
    if (b->later && ++b->reads % b->later == 0) {
        call_on_cancel(c, body_cancel, b);
        timer_set(loop, &b->timer, 1);
    } else {
        body_answer(&b->timer);
    }
}

static void body_close(struct source *s)
{
    assert_null(CONTAINER(s, struct body, source)->call);
}

static void body_init(struct body *b, struct str text, uint64_t size)
{
    static const struct source_ops ops = {"test", NULL, NULL, NULL, body_read, body_close};

    *b = (struct body){.source = {&ops, SOURCE_SIZE_UNKNOWN}, .text = text, .size = size, .piece = 50000, .later = 3};
}

/* ---- calls ---- */

static bool ended;

static void on_done(struct call *c)
{
    (void)c;
    ended = true;
}

static enum err wait_for(struct call *c)
{
    while (!ended)
        loop_turn(loop, 10);
    return c->err;
}

static struct call *begin(struct call *c)
{
    ended = false;
    call_begin(c, loop, on_done);
    return c;
}

static struct etl_builtin_res res;

static enum err start(const char *name, const char *args, struct source *body)
{
    struct etl_builtin_req req = {.arena = &arena,
                                  .loop = loop,
                                  .cpu = cpu,
                                  .name = str_z(name),
                                  .args = args ? str_z(args) : STR(""),
                                  .body = body};
    struct call call = {0};

    etl_builtin_run(&req, &res, begin(&call));
    enum err e = wait_for(&call);
    assert_true((e == ERR_OK) == (res.body != NULL));
    assert_true(e == ERR_OK || e == ERR_CANCELLED || res.text.n);
    return e;
}

/* Reads by turns, or looks. */
static enum err pull(struct source *s, bool peek, size_t piece, struct buf *out, size_t *got)
{
    struct call call = {0};
    struct span span;
    enum err e;

    *got = 0;
    if (!peek) {
        char *room = mem_alloc(piece);
        source_read(s, room, piece, got, begin(&call));
        e = wait_for(&call);
        if (e == ERR_OK)
            buf_add(out, room, *got);
        free(room);
        return e;
    }
    for (;;) {
        source_peek(s, &span);
        if (span.kind == SPAN_READ)
            return pull(s, false, piece, out, got);
        if (span.kind == SPAN_END)
            return ERR_OK;
        if (span.kind == SPAN_MEMORY) {
            *got = span.len < piece ? (size_t)span.len : piece;
            buf_add(out, span.p, *got);
            source_consume(s, *got);
            return ERR_OK;
        }
        assert_int_equal(span.kind, SPAN_WAIT);
        source_prepare(s, begin(&call));
        if ((e = wait_for(&call)) != ERR_OK)
            return e;
    }
}

static enum err drain(struct source *s, bool peek, size_t piece, struct buf *out)
{
    size_t got;
    enum err e;

    do
        e = pull(s, peek, piece, out, &got);
    while (e == ERR_OK && got);
    return e;
}

enum { ROOM = 16 << 20 };

/* Everything of a transform, from a text. */
static enum err all(const char *name, const char *args, struct str text, struct buf *out)
{
    struct body b;

    body_init(&b, text, text.n);
    if (!text.p)
        b.text.p = "";
    enum err e = start(name, args, &b.source);
    if (e != ERR_OK)
        return e;
    uint64_t size = res.body->size;
    e = drain(res.body, false, 70000, out);
    source_close(res.body);
    if (e == ERR_OK && size != SOURCE_SIZE_UNKNOWN)
        assert_int_equal(size, out->n);
    return e;
}

/* ---- names ---- */

static void names_and_arguments(void **state)
{
    static const char *const names[] = {"@gzip",   "@gunzip",     "@zstd",       "@unzstd",    "@lz4",    "@unlz4",
                                        "@md5",    "@sha256",     "@xxh64",      "@crc32c",    "@to-tar", "@to-tgz",
                                        "@to-zip", "@to-tar.lz4", "@to-tar.zst", "@decompress"};
    char why[ETL_WHY_MAX] = "";

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_true(etl_builtin_is(str_z(names[i])));
        assert_false(etl_builtin_takes_args(str_z(names[i])));
        assert_int_equal(etl_builtin_check(str_z(names[i]), STR(""), why), ERR_OK);
        assert_int_equal(etl_builtin_check(str_z(names[i]), STR("x"), why), ERR_INVALID_ARGUMENT);
        assert_non_null(strstr(why, names[i]));
    }
    assert_true(etl_builtin_is(STR("@extract")) && etl_builtin_takes_args(STR("@extract")));
    assert_int_equal(etl_builtin_check(STR("@extract"), STR("a/b"), why), ERR_OK);
    assert_int_equal(etl_builtin_check(STR("@extract"), STR(""), why), ERR_INVALID_ARGUMENT);
    assert_int_equal(etl_builtin_check(STR("@extract"), str_n("a\0b", 3), why), ERR_INVALID_ARGUMENT);
    assert_false(etl_builtin_is(STR("@")) || etl_builtin_is(STR("gzip")) || etl_builtin_is(STR("@GZIP")));
    assert_int_equal(etl_builtin_check(STR("@rot13"), STR(""), why), ERR_NO_SUCH_ETL);
    assert_int_equal(all("@rot13", NULL, STR("x"), &(struct buf)BUF_INIT(10)), ERR_NO_SUCH_ETL);
    assert_int_equal(all("@md5", "x", STR("x"), &(struct buf)BUF_INIT(10)), ERR_INVALID_ARGUMENT);
}

/* ---- results ---- */

static void digests_are_those_of_others(void **state)
{
    static const struct {
        const char *name, *text, *hex;
    } rows[] = {
        {"@md5", "", "d41d8cd98f00b204e9800998ecf8427e"},
        {"@md5", "abc", "900150983cd24fb0d6963f7d28e17f72"},
        {"@sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"@xxh64", "", "ef46db3751d8e999"},
        {"@xxh64", "abc", "44bc2cf5ad770999"},
        {"@crc32c", "123456789", "e3069283"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf out = BUF_INIT(1000);
        assert_int_equal(all(rows[i].name, NULL, str_z(rows[i].text), &out), ERR_OK);
        assert_true(str_eq(buf_str(&out), str_z(rows[i].hex)));
        assert_true(str_eq(res.content_type, STR("text/plain")));
        buf_release(&out);
    }
}

static void what_gzip_bzip2_and_xz_wrote_is_read(void **state)
{
    static const struct {
        const char *name;
        struct str bytes;
    } rows[] = {
#define GZ                                                                                                             \
    STR("\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xcb\x48\xcd\xc9\xc9\x57\x28\xcf\x2f\xca\x49\x01\x00\x85\x11\x4a\x0d" \
        "\x0b\x00\x00\x00")
        {"@gunzip", GZ},
        {"@decompress", GZ},
        {"@decompress",
         STR("\x42\x5a\x68\x39\x31\x41\x59\x26\x53\x59\x44\xf7\x13\x78\x00\x00\x01\x91\x80\x40\x00\x06\x44\x90\x80\x20"
             "\x00\x22\x03\x34\x84\x30\x21\xb6\x81\x54\x27\x8b\xb9\x22\x9c\x28\x48\x22\x7b\x89\xbc\x00")},
        {"@decompress",
         STR("\xfd\x37\x7a\x58\x5a\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x16\x00\x00\x00\x74\x2f\xe5\xa3\x01\x00"
             "\x0a\x68\x65\x6c\x6c\x6f\x20\x77\x6f\x72\x6c\x64\x00\x00\xda\x52\x23\xef\xcd\x7e\x03\x53\x00\x01\x23\x0b"
             "\xc2\x1b\xfd\x09\x1f\xb6\xf3\x7d\x01\x00\x00\x00\x00\x04\x59\x5a")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf out = BUF_INIT(1000);
        enum err e = all(rows[i].name, NULL, rows[i].bytes, &out);
        if (e != ERR_OK)
            fail_msg("%zu: %s: " STR_FMT, i, err_name(e), STR_ARG(res.text));
        assert_true(str_eq(buf_str(&out), STR("hello world")));
        assert_true(res.content_type.n == 0);
        buf_release(&out);
    }
}

static const char *const pairs[][2] = {{"@gzip", "@gunzip"},     {"@zstd", "@unzstd"},     {"@lz4", "@unlz4"},
                                       {"@gzip", "@decompress"}, {"@zstd", "@decompress"}, {"@lz4", "@decompress"}};
enum { PAIRS = 6 };

static void compressed_and_back_is_the_same(void **state)
{
    static const size_t sizes[] = {0, 1, 262143, 262144, 262145, 1500000};

    (void)state;
    for (int i = 0; i < PAIRS; i++)
        for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
            struct buf packed = BUF_INIT(ROOM), out = BUF_INIT(ROOM), plain = BUF_INIT(ROOM);
            for (size_t k = 0; k < sizes[s]; k++)
                buf_add_char(&plain, pattern(k));
            assert_int_equal(all(pairs[i][0], NULL, buf_str(&plain), &packed), ERR_OK);
            assert_int_equal(all(pairs[i][1], NULL, buf_str(&packed), &out), ERR_OK);
            assert_true(str_eq(buf_str(&out), buf_str(&plain)));
            buf_release(&packed);
            buf_release(&out);
            buf_release(&plain);
        }
}

static const char *const shapes[] = {"@gzip", "@zstd", "@lz4", "@to-tgz", "@to-zip", "@to-tar.zst", "@to-tar.lz4"};

/* A TAR of members of these sizes, one behind the other. */
static void make_tar(struct buf *out, const size_t *sizes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof(name), "dir/%zu.bin", i);
        assert_int_equal(arc_tar_head(out, str_z(name), sizes[i], 1700000000), ERR_OK);
        for (size_t k = 0; k < sizes[i]; k++)
            buf_add_char(out, pattern(k * (i + 1)));
        for (uint64_t k = arc_tar_padding(sizes[i]); k; k--)
            buf_add_char(out, 0);
    }
    for (int i = 0; i < ARC_TAR_TRAILER; i++)
        buf_add_char(out, 0);
    assert_int_equal(buf_err(out), ERR_OK);
}

static const size_t tar_sizes[] = {100000, 0, 1, 512, 600000, 77};
enum { TAR_COUNT = 6 };

/* However the content comes, and whoever looks: the same bytes. */
static void results_depend_on_the_content_alone(void **state)
{
    struct buf tar = BUF_INIT(ROOM);

    (void)state;
    make_tar(&tar, tar_sizes, TAR_COUNT);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct buf first = BUF_INIT(ROOM);
        for (unsigned way = 0; way < 4; way++) {
            struct buf out = BUF_INIT(ROOM);
            struct body b;
            body_init(&b, buf_str(&tar), tar.n);
            b.piece = way == 0 ? 1 << 20 : 3001 * way;
            b.later = way * 5;
            assert_int_equal(start(shapes[i], NULL, &b.source), ERR_OK);
            assert_int_equal(drain(res.body, way & 1, 10000 * (way + 1), &out), ERR_OK);
            source_close(res.body);
            if (way == 0)
                buf_add_str(&first, buf_str(&out));
            assert_true(str_eq(buf_str(&first), buf_str(&out)));
            buf_release(&out);
        }
        buf_release(&first);
    }
    buf_release(&tar);
}

static void archives_go_around(void **state)
{
    static const char *const way[] = {"@to-zip", "@to-tgz", "@to-tar.zst", "@to-tar.lz4", "@to-zip", "@to-tar"};
    struct buf tar = BUF_INIT(ROOM), now = BUF_INIT(ROOM);

    (void)state;
    make_tar(&tar, tar_sizes, TAR_COUNT);
    buf_add_str(&now, buf_str(&tar));
    for (size_t i = 0; i < sizeof(way) / sizeof(way[0]); i++) {
        struct buf next = BUF_INIT(ROOM), member = BUF_INIT(ROOM);
        assert_int_equal(all(way[i], NULL, buf_str(&now), &next), ERR_OK);
        assert_int_equal(all("@extract", "dir/4.bin", buf_str(&next), &member), ERR_OK);
        assert_int_equal(member.n, tar_sizes[4]);
        assert_memory_equal(member.p, tar.p + 512 + 100352 + 512 + 1024 + 1024 + 512, member.n);
        buf_reset(&member);
        assert_int_equal(all("@extract", "dir/6.bin", buf_str(&next), &member), ERR_NO_SUCH_MEMBER);
        assert_non_null(strstr(res.text.p, "dir/6.bin"));
        buf_release(&member);
        buf_release(&now);
        now = next;
    }
    assert_true(str_eq(buf_str(&now), buf_str(&tar)));
    buf_release(&now);
    buf_release(&tar);
}

/* ---- what goes wrong ---- */

static void broken_input_fails_the_result(void **state)
{
    static const char *const readers[] = {"@gunzip", "@unzstd", "@unlz4", "@decompress",
                                          "@to-tar", "@to-zip", "@to-tgz"};
    static const char *const packers[] = {"@gzip", "@zstd", "@lz4", "@gzip", "@to-tgz", "@to-zip", "@to-tar.zst"};
    struct buf tar = BUF_INIT(ROOM);

    (void)state;
    make_tar(&tar, tar_sizes, TAR_COUNT);
    for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++) {
        struct buf packed = BUF_INIT(ROOM), out = BUF_INIT(ROOM);
        assert_int_equal(all(readers[i], NULL, STR("garbage, and some more of it"), &out), ERR_BAD_ARCHIVE);
        assert_true(str_starts(res.text, str_z(readers[i])));
        assert_int_equal(all(readers[i], NULL, STR(""), &out), ERR_BAD_ARCHIVE);
        assert_int_equal(all(packers[i], NULL, buf_str(&tar), &packed), ERR_OK);
        for (size_t n = 1; n < packed.n; n += packed.n / 9) {
            buf_reset(&out);
            assert_int_equal(all(readers[i], NULL, str_n(packed.p, n), &out), ERR_BAD_ARCHIVE);
        }
        buf_release(&packed);
        buf_release(&out);
    }
    buf_release(&tar);
}

static void a_body_that_fails_fails_the_result(void **state)
{
    (void)state;
    for (uint64_t at = 1; at < 2000000; at += 660000) {
        struct buf out = BUF_INIT(ROOM);
        struct body b;
        body_init(&b, STR_NONE, 2000000);
        b.fails_at = at;
        enum err e = start("@lz4", NULL, &b.source);
        if (e == ERR_OK) {
            e = drain(res.body, true, 1 << 20, &out);
            assert_int_equal(e, ERR_IO);
            assert_int_equal(drain(res.body, false, 1 << 20, &out), ERR_IO); /* and goes on to */
            source_close(res.body);
        }
        assert_int_equal(e, ERR_IO);
        buf_release(&out);
    }
}

static void closing_at_any_byte_is_clean(void **state)
{
    struct buf tar = BUF_INIT(ROOM);

    (void)state;
    make_tar(&tar, tar_sizes, TAR_COUNT);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        for (size_t stop = 0; stop < 600000; stop = stop * 7 + 1) {
            struct buf out = BUF_INIT(ROOM);
            struct body b;
            size_t got = 1;
            body_init(&b, buf_str(&tar), tar.n);
            assert_int_equal(start(shapes[i], NULL, &b.source), ERR_OK);
            while (out.n < stop && got)
                assert_int_equal(pull(res.body, stop & 1, stop - out.n, &out, &got), ERR_OK);
            source_close(res.body);
            buf_release(&out);
        }
    buf_release(&tar);
}

/* Cancelled at any moment; a pull that was cancelled may be tried again. */
static void cancelling_is_clean(void **state)
{
    struct buf want = BUF_INIT(ROOM);
    struct body b;

    (void)state;
    body_init(&b, STR_NONE, 3000000);
    assert_int_equal(start("@gzip", NULL, &b.source), ERR_OK);
    assert_int_equal(drain(res.body, false, 1 << 20, &want), ERR_OK);
    source_close(res.body);
    for (unsigned turns = 0; turns < 40; turns += 3) {
        struct etl_builtin_req req = {
            .arena = &arena, .loop = loop, .cpu = cpu, .name = STR("@gzip"), .body = &b.source};
        struct buf out = BUF_INIT(ROOM);
        struct call call = {0};
        body_init(&b, STR_NONE, 3000000);
        b.later = 1;
        etl_builtin_run(&req, &res, begin(&call));
        for (unsigned i = 0; i < turns && !ended; i++)
            loop_turn(loop, 0);
        call_cancel(&call);
        enum err e = wait_for(&call);
        assert_true(e == ERR_OK || e == ERR_CANCELLED);
        if (e == ERR_OK) {
            source_close(res.body);
            continue;
        }
        assert_null(res.body);
        body_init(&b, STR_NONE, 3000000);
        assert_int_equal(start("@gzip", NULL, &b.source), ERR_OK);
        for (size_t got = 1; got;) {
            char *room = mem_alloc(9999);
            struct call read = {0};
            source_read(res.body, room, 9999, &got, begin(&read));
            for (unsigned i = 0; i < turns % 4 && !ended; i++)
                loop_turn(loop, 0);
            call_cancel(&read);
            e = wait_for(&read);
            if (e == ERR_OK)
                buf_add(&out, room, got);
            else
                assert_int_equal(e, ERR_CANCELLED);
            if (e == ERR_CANCELLED && pull(res.body, false, 9999, &out, &got) != ERR_OK)
                fail_msg("a pull after a cancelled one fails");
            free(room);
        }
        source_close(res.body);
        assert_true(str_eq(buf_str(&out), buf_str(&want)));
        buf_release(&out);
    }
    buf_release(&want);
}

/* Nobody pulls: nothing is read beyond what fits into memory. */
static void much_passes_in_bounded_memory(void **state)
{
    enum { MUCH = 64 << 20 };
    struct body b;
    struct call call = {0};
    struct hash hash, in;
    struct digest before, after;
    char *room = mem_alloc(1 << 20);

    (void)state;
    body_init(&b, STR_NONE, MUCH);
    b.piece = 1 << 20;
    b.later = 0;
    assert_int_equal(start("@lz4", NULL, &b.source), ERR_OK);
    struct source *packed = res.body;
    assert_true(b.at <= 1 << 20);
    for (int i = 0; i < 5; i++)
        loop_turn(loop, 1);
    assert_true(b.at <= 1 << 20);
    assert_int_equal(start("@unlz4", NULL, packed), ERR_OK);
    struct source *plain = res.body;
    hash_init(&hash, HASH_XXH64);
    uint64_t total = 0;
    for (size_t n = 1; n; total += n) {
        source_read(plain, room, 1 << 20, &n, begin(&call));
        assert_int_equal(wait_for(&call), ERR_OK);
        hash_update(&hash, room, n);
        assert_true(b.at <= total + n + (3 << 20));
    }
    assert_int_equal(total, MUCH);
    source_close(plain);
    source_close(packed);
    hash_final(&hash, &after);
    hash_init(&in, HASH_XXH64);
    for (uint64_t i = 0; i < MUCH; i += 1 << 20) {
        for (size_t k = 0; k < 1 << 20; k++)
            room[k] = pattern(i + k);
        hash_update(&in, room, 1 << 20);
    }
    hash_final(&in, &before);
    assert_true(digest_eq(&before, &after));
    free(room);
}

/* A pool that is full is asked again. */
struct hog {
    struct offload_task task;
    struct call call;
    bool done;
};

static enum err hog_run(struct offload_task *t)
{
    struct timespec ms = {0, 3000000};

    (void)t;
    nanosleep(&ms, NULL);
    return ERR_OK;
}

static void hog_done(struct call *c)
{
    CONTAINER(c, struct hog, call)->done = true;
}

static void a_busy_pool_is_waited_for(void **state)
{
    struct offload *usual = cpu, *small = offload_new("small", 1, 2);
    struct buf out = BUF_INIT(ROOM);
    struct hog hogs[3] = {0};

    (void)state;
    for (int i = 0; i < 3; i++) {
        call_begin(&hogs[i].call, loop, hog_done);
        offload_run(small, &hogs[i].task, hog_run, &hogs[i].call);
    }
    cpu = small;
    assert_int_equal(all("@md5", NULL, STR("abc"), &out), ERR_OK);
    cpu = usual;
    assert_true(str_eq(buf_str(&out), STR("900150983cd24fb0d6963f7d28e17f72")));
    while (!hogs[0].done || !hogs[1].done || !hogs[2].done)
        loop_turn(loop, 10);
    offload_free(small);
    buf_release(&out);
}

static int setup(void **state)
{
    (void)state;
    hash_setup();
    loop = loop_new();
    loop_adopt(loop);
    cpu = offload_new("cpu", 2, 64);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    offload_free(cpu);
    loop_free(loop);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_arguments),
        cmocka_unit_test(digests_are_those_of_others),
        cmocka_unit_test(what_gzip_bzip2_and_xz_wrote_is_read),
        cmocka_unit_test(compressed_and_back_is_the_same),
        cmocka_unit_test(results_depend_on_the_content_alone),
        cmocka_unit_test(archives_go_around),
        cmocka_unit_test(broken_input_fails_the_result),
        cmocka_unit_test(a_body_that_fails_fails_the_result),
        cmocka_unit_test(closing_at_any_byte_is_clean),
        cmocka_unit_test(cancelling_is_clean),
        cmocka_unit_test(much_passes_in_bounded_memory),
        cmocka_unit_test(a_busy_pool_is_waited_for),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
