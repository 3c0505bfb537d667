#include "erasure_kit.h"

#include "store/source_chain.h"

/* ---- chains ---- */

struct row {
    struct str parts[4];
    size_t opened;
    bool closed, readable, hangs;
    enum err fail; /* of opening the last */
    struct call *opening;
    size_t stop; /* part that fails while it is read; 99: none */
};

static void row_cancel(void *arg)
{
    call_finish(((struct row *)arg)->opening, ERR_CANCELLED);
}

static void row_open(void *arg, size_t i, struct source **out, struct call *call)
{
    struct row *r = arg;

    assert_int_equal(i, r->opened);
    if (r->hangs && i == 2) {
        r->opening = call;
        call_on_cancel(call, row_cancel, r);
        return;
    }
    if (r->fail != ERR_OK && i == 2) {
        call_finish(call, r->fail);
        return;
    }
    r->opened++;
    if (r->readable) {
        struct part *p = part_new(r->parts[i]);
        if (i == r->stop)
            p->stop_at = 1, p->fail = ERR_CORRUPT;
        *out = &p->source;
    } else {
        *out = source_memory(r->parts[i], NULL, NULL);
    }
    call_finish(call, ERR_OK);
}

static void row_close(void *arg)
{
    ((struct row *)arg)->closed = true;
}

static const struct chain_ops row_ops = {row_open, row_close};

static struct source *row_chain(struct row *r, uint64_t size)
{
    *r = (struct row){.parts = {STR("one "), STR(""), STR("two "), STR("three")}, .stop = 99};
    return source_chain(loop, size, 4, &row_ops, r);
}

static void a_chain_is_one_after_the_other(void **state)
{
    struct row r;
    char buf[64];
    size_t n;

    (void)state;
    for (int readable = 0; readable < 2; readable++)
        for (int peek = 0; peek < 2; peek++) {
            struct source *s = row_chain(&r, 13);
            r.readable = readable;
            assert_int_equal(s->size, 13);
            assert_err(take(s, peek, buf, sizeof(buf), &n), ERR_OK);
            assert_int_equal(r.opened, 1); /* later ones are not held open */
            size_t first = n;
            assert_err(drain(s, peek, buf + n, sizeof(buf) - n, &n), ERR_OK);
            assert_int_equal(first + n, 13);
            assert_memory_equal(buf, "one two three", 13);
            source_close(s);
            assert_true(r.closed);
            assert_int_equal(opened, 0);
        }
}

/* Shows whatever kind of span it is told to. */
struct shower {
    struct source source;
    struct span span;
};

static void shower_peek(struct source *s, struct span *out)
{
    struct shower *h = CONTAINER(s, struct shower, source);

    *out = h->span.len ? h->span : (struct span){.kind = SPAN_END};
}

static void shower_consume(struct source *s, uint64_t n)
{
    CONTAINER(s, struct shower, source)->span.len -= n;
}

static void shower_prepare(struct source *s, struct call *c)
{
    CONTAINER(s, struct shower, source)->span.kind = SPAN_FILE;
    call_finish(c, ERR_OK);
}

static void shower_close(struct source *s)
{
    opened--;
    free(CONTAINER(s, struct shower, source));
}

static void shower_open(void *arg, size_t i, struct source **out, struct call *call)
{
    static const struct source_ops ops = {"shower", shower_peek, shower_consume, shower_prepare, NULL, shower_close};
    static const enum span_kind kinds[] = {SPAN_SOCKET, SPAN_WAIT, SPAN_MEMORY};
    struct shower *h = NEW(struct shower);

    (void)arg;
    *h = (struct shower){{&ops, 10}, {.kind = kinds[i], .fd = 7 + (int)i, .offset = 99, .len = 10}};
    opened++;
    *out = &h->source;
    call_finish(call, ERR_OK);
}

static void a_chain_passes_spans_on(void **state)
{
    static const struct chain_ops ops = {shower_open, NULL};
    struct source *s = source_chain(loop, 25, 3, &ops, NULL);
    struct wait w = {0};
    struct span span;

    (void)state;
    source_peek(s, &span);
    assert_int_equal(span.kind, SPAN_WAIT);
    source_prepare(s, wait_begin(&w));
    assert_err(wait_end(&w), ERR_OK);
    source_peek(s, &span);
    assert_true(span.kind == SPAN_SOCKET && span.fd == 7 && span.len == 10);
    source_consume(s, 4);
    source_peek(s, &span);
    assert_true(span.kind == SPAN_SOCKET && span.len == 6);
    /* asked for more though it shows some: its own affair */
    source_prepare(s, wait_begin(&w));
    assert_err(wait_end(&w), ERR_OK);
    source_peek(s, &span);
    source_consume(s, 6);
    source_peek(s, &span);
    assert_int_equal(span.kind, SPAN_WAIT);
    source_prepare(s, wait_begin(&w));
    assert_err(wait_end(&w), ERR_OK);
    source_peek(s, &span);
    assert_true(span.kind == SPAN_FILE && span.fd == 8 && span.offset == 99);
    source_consume(s, 10);
    source_prepare(s, wait_begin(&w));
    assert_err(wait_end(&w), ERR_OK);
    source_peek(s, &span);
    assert_true(span.kind == SPAN_MEMORY && span.len == 5); /* no more than the chain's size */
    source_consume(s, 5);
    source_peek(s, &span);
    assert_int_equal(span.kind, SPAN_END);
    source_close(s);
}

static void a_chain_that_is_too_short_or_fails_says_so(void **state)
{
    struct row r;
    char buf[64];
    size_t n;

    (void)state;
    for (int peek = 0; peek < 2; peek++) {
        struct source *s = row_chain(&r, 14);
        assert_err(drain(s, peek, buf, sizeof(buf), &n), ERR_INCOMPLETE_BODY);
        assert_int_equal(n, 13);
        source_close(s);
        s = row_chain(&r, 13);
        r.fail = ERR_UNAVAILABLE;
        assert_err(drain(s, peek, buf, sizeof(buf), &n), ERR_UNAVAILABLE);
        assert_err(drain(s, peek, buf, sizeof(buf), &n), ERR_UNAVAILABLE);
        source_close(s);
        assert_true(r.closed);
        s = row_chain(&r, 13);
        r.readable = true;
        r.stop = 3;
        assert_err(drain(s, peek, buf, sizeof(buf), &n), ERR_CORRUPT);
        assert_int_equal(n, 9);
        source_close(s);
        s = row_chain(&r, 0);
        assert_err(drain(s, peek, buf, sizeof(buf), &n), ERR_OK);
        assert_int_equal(n, 0);
        source_close(s);
    }
}

static void a_chain_can_be_cancelled_while_it_opens(void **state)
{
    struct row r;
    struct wait w = {0};
    char buf[64];
    size_t n;
    struct source *s = row_chain(&r, 13);

    (void)state;
    r.hangs = true;
    assert_err(drain(s, true, buf, 4, &n), ERR_OK);
    source_prepare(s, wait_begin(&w));
    turns(5);
    assert_false(w.done);
    call_cancel(&w.call);
    assert_err(wait_end(&w), ERR_CANCELLED);
    r.hangs = false;
    assert_err(drain(s, false, buf, sizeof(buf), &n), ERR_OK); /* may go on */
    assert_int_equal(n, 9);
    source_close(s);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ERASURE_TEST(a_chain_is_one_after_the_other),
        ERASURE_TEST(a_chain_passes_spans_on),
        ERASURE_TEST(a_chain_that_is_too_short_or_fails_says_so),
        ERASURE_TEST(a_chain_can_be_cancelled_while_it_opens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
