#include "unit.h"

#include "kit.h"
#include "store/wire.h"

static struct kit kit;

/* Reads `s` in steps of `len` to its end. */
static enum err drain(struct source *s, size_t len, struct str *out)
{
    char *buf = arena_alloc(&kit.arena, 1 << 20);
    struct kit_call c = {0};
    size_t n = 1;
    enum err e = ERR_OK;

    *out = str_n(buf, 0);
    while (e == ERR_OK && n) {
        source_read(s, buf + out->n, len, &n, kit_begin(&kit, &c));
        e = kit_wait(&kit, &c);
        if (e == ERR_OK)
            out->n += n;
    }
    return e;
}

static struct source *whole(struct str bytes, bool sized, size_t step)
{
    struct kit_source *s = kit_source(&kit, bytes);

    s->step = step;
    if (sized)
        s->source.size = bytes.n;
    return &s->source;
}

static struct body_check announcing(void)
{
    return (struct body_check){.checksum = HASH_CRC32, .also = 1u << HASH_SHA256};
}

/* Content with its tail as bytes. */
static struct str tailed(struct str head, struct str content, const struct body_check *check, bool sized)
{
    struct source *on = wire_tail_on(kit.loop, head, whole(content, sized, 0), check);
    struct str out;

    assert_true(on->size == (sized ? head.n + content.n + WIRE_TAIL : SOURCE_SIZE_UNKNOWN));
    assert_int_equal(drain(on, 70000, &out), ERR_OK);
    source_close(on);
    assert_int_equal(out.n, head.n + content.n + WIRE_TAIL);
    return out;
}

static enum err untailed(struct str bytes, bool sized, size_t step, size_t len, struct body_check *check,
                         struct str *out)
{
    struct source *inner = whole(bytes, sized, step);
    struct source *off = wire_tail_off(kit.loop, inner, inner->size, check);
    enum err e = drain(off, len, out);

    if (e != ERR_OK) { /* it keeps failing */
        struct str more;
        assert_int_equal(drain(off, len, &more), e);
    }
    source_close(off);
    return e;
}

static void there_and_back(void **state)
{
    static const size_t sizes[] = {0, 1, WIRE_TAIL - 1, WIRE_TAIL, WIRE_TAIL + 1, 65535, 65536, 65537, 200000};
    static const size_t steps[] = {0, 511, 512, 513, 65536};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        for (size_t k = 0; k < sizeof(steps) / sizeof(steps[0]); k++)
            for (int sized = 0; sized < 2; sized++) {
                struct str content = kit_bytes(&kit, sizes[i], i), out;
                struct body_check check = announcing();
                struct str bytes = tailed(STR_NONE, content, &check, sized);
                assert_int_equal(untailed(bytes, sized, steps[k], 1000, &check, &out), ERR_OK);
                assert_true(str_eq(out, content));
                assert_int_equal(untailed(bytes, sized, steps[k], 300000, &check, &out), ERR_OK);
                assert_true(str_eq(out, content));
                arena_release(&kit.arena);
            }
}

static void bytes_one_by_one(void **state)
{
    struct str content = kit_bytes(&kit, 3000, 9), out;
    struct body_check check = announcing();
    struct str bytes = tailed(STR_NONE, content, &check, true);

    (void)state;
    for (int sized = 0; sized < 2; sized++) {
        assert_int_equal(untailed(bytes, sized, 1, 1, &check, &out), ERR_OK);
        assert_true(str_eq(out, content));
    }
}

static void a_head_goes_first(void **state)
{
    struct body_check check = announcing();
    struct str bytes = tailed(STR("description"), STR("content"), &check, true);

    (void)state;
    assert_true(str_starts(bytes, STR("descriptioncontent")));
}

static void peeking_gives_the_same(void **state)
{
    struct str content = kit_bytes(&kit, 100000, 9), out;
    struct body_check check = announcing();
    struct source *inner = source_memory(content, NULL, NULL);
    struct source *on = wire_tail_on(kit.loop, STR("head"), inner, &check);

    (void)state;
    assert_int_equal(kit_drain(&kit, on, true, &out), ERR_OK);
    assert_true(str_eq(out, tailed(STR("head"), content, &check, true)));
    source_close(inner);
}

static void no_content_has_a_tail_too(void **state)
{
    struct body_check check = announcing();
    struct str out;

    (void)state;
    for (int peek = 0; peek < 2; peek++) {
        struct source *on = wire_tail_on(kit.loop, STR_NONE, NULL, &check);
        assert_int_equal(on->size, WIRE_TAIL);
        assert_int_equal(kit_drain(&kit, on, peek, &out), ERR_OK);
        assert_int_equal(out.n, WIRE_TAIL);
        assert_int_equal(untailed(out, true, 0, 10, &check, &out), ERR_OK);
        assert_int_equal(out.n, 0);
    }
}

/* Whatever is missing: an error, and never the whole content. */
static void cut_short_at_every_byte(void **state)
{
    struct str content = kit_bytes(&kit, 1300, 9), out;
    struct body_check check = announcing();
    struct str bytes = tailed(STR_NONE, content, &check, true);

    (void)state;
    for (size_t n = 0; n < bytes.n; n++)
        for (int sized = 0; sized < 2; sized++) {
            assert_int_equal(untailed(str_n(bytes.p, n), sized, 0, 5000, &check, &out), ERR_INCOMPLETE_BODY);
            assert_true(out.n < content.n);
        }
    struct source *none = wire_tail_off(kit.loop, NULL, 0, &check);
    assert_int_equal(drain(none, 10, &out), ERR_INCOMPLETE_BODY);
    source_close(none);
}

/* The framing says one length, the tail another: bytes were lost between. */
static void bytes_missing_in_the_middle(void **state)
{
    struct str content = kit_bytes(&kit, 3000, 9), out;
    struct body_check check = announcing();
    struct str bytes = tailed(STR_NONE, content, &check, true);

    (void)state;
    for (int sized = 0; sized < 2; sized++)
        assert_int_equal(untailed(str_skip(bytes, 1), sized, 0, 5000, &check, &out), ERR_INCOMPLETE_BODY);
}

static void broken_sources(void **state)
{
    struct str content = kit_bytes(&kit, 3000, 9), out;
    struct body_check check = announcing();
    struct kit_source *s;

    (void)state;
    for (int off = 0; off < 2; off++) {
        s = kit_source(&kit, content);
        s->stop_at = 2000;
        s->fail = ERR_CLIENT_GONE;
        struct source *f = off ? wire_tail_off(kit.loop, &s->source, SOURCE_SIZE_UNKNOWN, &check)
                               : wire_tail_on(kit.loop, STR_NONE, &s->source, &check);
        assert_int_equal(drain(f, 5000, &out), ERR_CLIENT_GONE);
        source_close(f);
    }
}

/* A source that has another length than it told must not get a tail. */
static void liars(void **state)
{
    struct str content = kit_bytes(&kit, 3000, 9), out;
    struct body_check check = announcing();

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct kit_source *s = kit_source(&kit, content);
        s->source.size = i ? 2999 : 3001;
        struct source *on = wire_tail_on(kit.loop, STR_NONE, &s->source, &check);
        assert_int_equal(drain(on, 1000, &out), ERR_INCOMPLETE_BODY);
        source_close(on);
        struct source *memory = source_memory(content, NULL, NULL);
        memory->size = i ? 2999 : 3001;
        on = wire_tail_on(kit.loop, STR_NONE, memory, &check);
        assert_int_equal(kit_drain(&kit, on, true, &out), ERR_INCOMPLETE_BODY);
        source_close(memory);
    }
}

static void trailers_travel(void **state)
{
    struct body_check from = announcing(), to;
    struct str content = STR("content"), out;

    (void)state;
    from.want_count = 1;
    hash_of(HASH_MD5, content, &from.want[0].digest);
    from.want[0].err = ERR_BAD_DIGEST;
    to = from;
    struct kit_source *s = kit_source(&kit, content);
    s->check = &from;
    hash_of(HASH_SHA256, content, &s->last);
    struct source *on = wire_tail_on(kit.loop, STR_NONE, &s->source, &from);
    struct str bytes;
    assert_int_equal(drain(on, 1000, &bytes), ERR_OK);
    source_close(on);
    assert_int_equal(from.want_count, 2);

    assert_int_equal(untailed(bytes, true, 0, 1000, &to, &out), ERR_OK);
    assert_int_equal(to.want_count, 2);
    assert_true(digest_eq(&to.want[1].digest, &s->last));
    assert_int_equal(to.want[1].err, ERR_BAD_DIGEST);

    struct body_check unannounced = {.checksum = HASH_CRC32};
    assert_int_equal(untailed(bytes, true, 0, 1000, &unannounced, &out), ERR_BAD_REQUEST);
    struct body_check full = announcing();
    full.want_count = BODY_WANTS_MAX;
    assert_int_equal(untailed(bytes, true, 0, 1000, &full, &out), ERR_INCOMPLETE_BODY);
}

static void the_largest_tail_fits(void **state)
{
    struct body_check from = {.also = 1u << HASH_SHA512}, to = from;
    char tail[WIRE_TAIL];

    (void)state;
    from.want_count = BODY_WANTS_MAX;
    for (unsigned i = 0; i < BODY_WANTS_MAX; i++) {
        from.want[i].digest = (struct digest){.alg = HASH_SHA512, .n = 64};
        from.want[i].err = ERR_NO_SUCH_PUBLIC_ACCESS_BLOCK; /* the longest name */
    }
    wire_put_tail(tail, UINT64_MAX, &from, 0);
    assert_int_equal(wire_get_tail(tail, UINT64_MAX, &to), ERR_OK);
    assert_int_equal(to.want_count, BODY_WANTS_MAX);
    assert_int_equal(to.want[3].err, ERR_NO_SUCH_PUBLIC_ACCESS_BLOCK);
    to = announcing();
    assert_int_equal(wire_get_tail(tail, UINT64_MAX - 1, &to), ERR_INCOMPLETE_BODY);
}

static void cancelling_ends_a_read(void **state)
{
    struct str content = kit_bytes(&kit, 3000, 9);
    struct body_check check = announcing();
    char buf[4000];
    size_t n;

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct kit_source *s = kit_source(&kit, content);
        struct kit_call c = {0};
        s->stop_at = 2900;
        s->source.size = i == 1 ? 3000 : SOURCE_SIZE_UNKNOWN;
        struct source *f = i ? wire_tail_off(kit.loop, &s->source, s->source.size, &check)
                             : wire_tail_on(kit.loop, STR_NONE, &s->source, &check);
        enum err e = ERR_OK;
        while (e == ERR_OK) {
            source_read(f, buf, sizeof(buf), &n, kit_begin(&kit, &c));
            kit_turns(&kit, 5);
            call_cancel(&c.call);
            e = kit_wait(&kit, &c);
        }
        assert_int_equal(e, ERR_CANCELLED);
        source_close(f);
    }
}

static int release(void **state)
{
    (void)state;
    arena_release(&kit.arena);
    return 0;
}

#define TEST(f) cmocka_unit_test_teardown(f, release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(there_and_back),
        TEST(bytes_one_by_one),
        TEST(a_head_goes_first),
        TEST(peeking_gives_the_same),
        TEST(no_content_has_a_tail_too),
        TEST(cut_short_at_every_byte),
        TEST(bytes_missing_in_the_middle),
        TEST(broken_sources),
        TEST(liars),
        TEST(trailers_travel),
        TEST(the_largest_tail_fits),
        TEST(cancelling_ends_a_read),
    };

    hash_setup();
    kit.loop = loop_new();
    loop_adopt(kit.loop);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(kit.loop);
    return failed;
}
