#include "erasure_kit.h"

/* ---- what goes wrong ---- */

struct faulty {
    struct cut cut;
    struct part *data[2];
    struct source *parity[2];
};

static void faulty_open(struct faulty *f, size_t size)
{
    f->cut = (struct cut){.content = bytes_new(size, 1)};
    erasure_layout(&f->cut.layout, ec(2, 2), size);
    struct source *data[2];
    for (unsigned i = 0; i < 2; i++) {
        f->data[i] = part_new(str_n(f->cut.content + i * (size / 2), size / 2));
        data[i] = &f->data[i]->source;
    }
    erasure_encode(&env, &f->cut.layout, data, f->parity);
}

static void faulty_close(struct faulty *f)
{
    for (unsigned i = 0; i < 2; i++)
        source_close(f->parity[i]);
    cut_release(&f->cut);
}

static void a_source_that_fails_fails_all(void **state)
{
    struct faulty f;
    char *buf = mem_alloc(1 << 20);
    size_t got;

    (void)state;
    faulty_open(&f, 1 << 20);
    f.data[1]->stop_at = 200000;
    f.data[1]->fail = ERR_IO;
    assert_err(drain(f.parity[0], true, buf, 1 << 20, &got), ERR_IO);
    assert_int_equal(got, 131072); /* a whole step before */
    assert_err(drain(f.parity[0], false, buf, 1 << 20, &got), ERR_IO);
    assert_err(drain(f.parity[1], false, buf, 1 << 20, &got), ERR_IO);
    assert_int_equal(got, 131072);
    faulty_close(&f);
    faulty_open(&f, 1 << 20);
    f.data[0]->rest.n = 1000; /* shorter than it should be */
    assert_err(drain(f.parity[1], true, buf, 1 << 20, &got), ERR_INCOMPLETE_BODY);
    assert_int_equal(got, 0);
    faulty_close(&f);
    free(buf);
}

static void a_rebuilt_source_tells_whose_fault_it_was(void **state)
{
    static const unsigned have[] = {1, 2};
    struct source *sources[2], *out;
    struct cut c;
    size_t got;
    char buf[16];

    (void)state;
    cut_init(&c, 2, 1, 100000);
    for (unsigned i = 0; i < 2; i++)
        sources[i] = &part_new(cut_stored(&c, have[i]))->source;
    CONTAINER(sources[1], struct part, source)->stop_at = 0;
    CONTAINER(sources[1], struct part, source)->fail = ERR_CORRUPT;
    assert_err(erasure_rebuild(&env, &c.layout, 0, 0, 50000, have, sources, &out), ERR_OK);
    assert_int_equal(erasure_failed(out), -1);
    assert_err(drain(out, true, buf, sizeof(buf), &got), ERR_CORRUPT);
    assert_int_equal(erasure_failed(out), 1);
    source_close(out);
    cut_release(&c);
}

static void who_reads_ahead_waits_for_the_others(void **state)
{
    struct faulty f;
    struct wait w = {0};
    struct span span;
    char *buf = mem_alloc(1 << 20);
    size_t got;

    (void)state;
    faulty_open(&f, 2 << 20);
    assert_err(drain(f.parity[0], true, buf, 3 * 131072, &got), ERR_OK);
    source_peek(f.parity[0], &span);
    assert_int_equal(span.kind, SPAN_WAIT);
    source_prepare(f.parity[0], wait_begin(&w));
    turns(20);
    assert_false(w.done);
    assert_true(f.data[0]->at <= 3 * 131072);
    /* the other one comes on */
    assert_err(drain(f.parity[1], false, buf, 131072, &got), ERR_OK);
    assert_err(wait_end(&w), ERR_OK);
    source_peek(f.parity[0], &span);
    assert_int_equal(span.kind, SPAN_MEMORY);
    /* or waits and is cancelled */
    assert_err(drain(f.parity[0], true, buf, 131072, &got), ERR_OK);
    source_prepare(f.parity[0], wait_begin(&w));
    turns(3);
    call_cancel(&w.call);
    assert_err(wait_end(&w), ERR_CANCELLED);
    /* or the other one goes away */
    source_prepare(f.parity[0], wait_begin(&w));
    turns(3);
    assert_false(w.done);
    source_close(f.parity[1]);
    f.parity[1] = NULL;
    assert_err(wait_end(&w), ERR_OK);
    assert_err(drain(f.parity[0], true, buf, 1 << 20, &got), ERR_OK);
    faulty_close(&f);
    free(buf);
}

static void a_step_goes_on_while_somebody_wants_it(void **state)
{
    struct faulty f;
    struct wait a = {0}, b = {0};
    char x[100], y[100];
    size_t n, m;

    (void)state;
    faulty_open(&f, 1 << 20);
    f.data[0]->stop_at = 1000;
    source_read(f.parity[0], x, sizeof(x), &n, wait_begin(&a));
    source_read(f.parity[1], y, sizeof(y), &m, wait_begin(&b));
    turns(50);
    call_cancel(&a.call);
    turns(50);
    assert_false(a.done || b.done);
    assert_non_null(f.data[0]->hanging);
    part_go_on(f.data[0]);
    assert_err(wait_end(&b), ERR_OK);
    assert_err(wait_end(&a), ERR_OK); /* the step came before its end */
    faulty_close(&f);
}

static void closing_and_cancelling_leave_nothing(void **state)
{
    struct faulty f;
    struct wait a = {0}, b = {0};
    char x[100], y[100];
    size_t n, m;

    (void)state;
    for (int after = 0; after < 60; after++) {
        /* both are cancelled while a source hangs, or while the step is on its way */
        for (size_t stop = 0; stop < 3; stop++) {
            faulty_open(&f, 1 << 20);
            f.data[1]->stop_at = stop == 0 ? 0 : stop == 1 ? 100000 : SIZE_MAX;
            source_read(f.parity[0], x, sizeof(x), &n, wait_begin(&a));
            source_prepare(f.parity[1], wait_begin(&b));
            turns(after);
            call_cancel(&b.call);
            turns(after % 3);
            call_cancel(&a.call);
            enum err e = wait_end(&a), g = wait_end(&b);
            assert_true(e == ERR_OK || e == ERR_CANCELLED);
            assert_true(g == ERR_OK || g == ERR_CANCELLED);
            faulty_close(&f);
        }
        /* one closes early, the other is cancelled */
        faulty_open(&f, 1 << 20);
        f.data[0]->stop_at = 5000;
        source_read(f.parity[0], x, sizeof(x), &n, wait_begin(&a));
        turns(after);
        call_cancel(&a.call);
        turns(after % 5);
        source_close(f.parity[1]);
        f.parity[1] = NULL;
        assert_err(wait_end(&a), ERR_CANCELLED);
        faulty_close(&f);
    }
    (void)y;
    (void)m;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ERASURE_TEST(a_source_that_fails_fails_all),        ERASURE_TEST(a_rebuilt_source_tells_whose_fault_it_was),
        ERASURE_TEST(who_reads_ahead_waits_for_the_others), ERASURE_TEST(a_step_goes_on_while_somebody_wants_it),
        ERASURE_TEST(closing_and_cancelling_leave_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
