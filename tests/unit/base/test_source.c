#include "unit.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/source.h"

static struct loop *loop;
static struct call call;
static bool done;
static enum err outcome;
static int released;

static void on_done(struct call *c)
{
    done = true;
    outcome = c->err;
}

static struct call *begin(void)
{
    done = false;
    call_begin(&call, loop, on_done);
    return &call;
}

static enum err finish(void)
{
    while (!done)
        loop_turn(loop, 1000);
    return outcome;
}

static void on_release(void *arg)
{
    ++*(int *)arg;
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    loop_adopt(loop);
    released = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

/* A source that can only be read, a few bytes at a time, and that can fail or hang at an offset. */
struct dribble {
    struct source source;
    struct str rest;
    size_t step;
    bool fails, hangs;
    struct call *waiting;
};

static void dribble_cancel(void *arg)
{
    call_finish(((struct dribble *)arg)->waiting, ERR_CANCELLED);
}

static void dribble_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct dribble *d = CONTAINER(s, struct dribble, source);
    size_t take = d->rest.n < d->step ? d->rest.n : d->step;

    if (d->rest.n == 0 && d->hangs) {
        d->waiting = c;
        call_on_cancel(c, dribble_cancel, d);
        return;
    }
    take = take < len ? take : len;
    memcpy(buf, d->rest.p, take);
    *n = take;
    call_finish(c, d->rest.n == 0 && d->fails ? ERR_IO : ERR_OK);
    d->rest = str_skip(d->rest, take);
}

static void dribble_close(struct source *s)
{
    released++;
    free(CONTAINER(s, struct dribble, source));
}

static struct dribble *dribble_new(const char *text, size_t step)
{
    static const struct source_ops ops = {.name = "dribble", .read = dribble_read, .close = dribble_close};
    struct dribble *d = NEW(struct dribble);

    *d = (struct dribble){.source = {&ops, SOURCE_SIZE_UNKNOWN}, .rest = str_z(text), .step = step};
    return d;
}

static void memory_is_shown_or_copied(void **state)
{
    struct source *s = source_memory(STR("hello"), on_release, &released);
    struct span span;
    char buf[8];
    size_t n;

    (void)state;
    assert_int_equal(s->size, 5);
    source_peek(s, &span);
    assert_int_equal(span.kind, SPAN_MEMORY);
    assert_int_equal(span.len, 5);
    source_consume(s, 2);
    source_read(s, buf, 2, &n, begin());
    assert_int_equal(finish(), ERR_OK);
    assert_memory_equal(buf, "ll", 2);
    source_read(s, buf, 8, &n, begin());
    finish();
    assert_int_equal(n, 1);
    source_read(s, buf, 8, &n, begin());
    assert_int_equal(finish(), ERR_OK);
    assert_int_equal(n, 0);
    source_peek(s, &span);
    assert_int_equal(span.kind, SPAN_END);
    assert_int_equal(released, 0);
    source_close(s);
    assert_int_equal(released, 1);
    source_close(NULL);
}

static void a_slice_shows_its_part_only(void **state)
{
    struct source *s = source_slice(loop, source_memory(STR("0123456789"), on_release, &released), 3, 4);
    struct span span;

    (void)state;
    assert_int_equal(s->size, 4);
    source_peek(s, &span);
    assert_int_equal(span.kind, SPAN_MEMORY);
    assert_int_equal(span.len, 4);
    assert_memory_equal(span.p, "3456", 4);
    source_consume(s, 4);
    source_peek(s, &span);
    assert_int_equal(span.kind, SPAN_END);
    source_close(s);
    assert_int_equal(released, 1);
}

static void a_slice_skips_by_reading_when_it_must(void **state)
{
    struct source *s = source_slice(loop, &dribble_new("0123456789", 3)->source, 4, 4);
    struct source_fill fill;
    struct span span;
    char buf[8];
    size_t n;

    (void)state;
    source_peek(s, &span);
    assert_int_equal(span.kind, SPAN_READ);
    source_fill(&fill, s, buf, sizeof(buf), &n, begin());
    assert_int_equal(finish(), ERR_OK);
    assert_int_equal(n, 4);
    assert_memory_equal(buf, "4567", 4);
    source_close(s);
    assert_int_equal(released, 1);
}

static void a_slice_of_too_little_fails(void **state)
{
    struct source *s = source_slice(loop, source_memory(STR("0123"), NULL, NULL), 2, 4);
    struct source_fill fill;
    struct span span;
    char buf[8];
    size_t n;

    (void)state;
    source_fill(&fill, s, buf, 8, &n, begin());
    assert_int_equal(finish(), ERR_INCOMPLETE_BODY);
    source_peek(s, &span);
    assert_int_equal(span.kind, SPAN_READ); /* not an end */
    source_close(s);
    s = source_slice(loop, &dribble_new("01", 1)->source, 5, 1);
    source_read(s, buf, 8, &n, begin());
    assert_int_equal(finish(), ERR_INCOMPLETE_BODY);
    source_close(s);
}

static void filling_goes_on_until_full_or_the_end(void **state)
{
    struct source *s = &dribble_new("0123456789", 3)->source;
    struct source_fill fill;
    char buf[8];
    size_t n;

    (void)state;
    source_fill(&fill, s, buf, 8, &n, begin());
    assert_int_equal(finish(), ERR_OK);
    assert_int_equal(n, 8);
    assert_memory_equal(buf, "01234567", 8);
    source_fill(&fill, s, buf, 8, &n, begin());
    assert_int_equal(finish(), ERR_OK);
    assert_int_equal(n, 2);
    source_close(s);
}

static void filling_passes_errors_on_and_can_be_cancelled(void **state)
{
    struct dribble *d = dribble_new("0123", 3);
    struct source_fill fill;
    char buf[8];
    size_t n = 99;

    (void)state;
    d->fails = true;
    source_fill(&fill, &d->source, buf, 8, &n, begin());
    assert_int_equal(finish(), ERR_IO);
    assert_int_equal(n, 99); /* untouched */
    source_close(&d->source);
    d = dribble_new("0123", 3);
    d->hangs = true;
    source_fill(&fill, &d->source, buf, 8, &n, begin());
    while (!d->waiting)
        loop_turn(loop, 1000);
    call_cancel(&call);
    assert_int_equal(finish(), ERR_CANCELLED);
    source_close(&d->source);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(memory_is_shown_or_copied),
        TEST(a_slice_shows_its_part_only),
        TEST(a_slice_skips_by_reading_when_it_must),
        TEST(a_slice_of_too_little_fails),
        TEST(filling_goes_on_until_full_or_the_end),
        TEST(filling_passes_errors_on_and_can_be_cancelled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
