#include "source.h"

#include <stdlib.h>

#include "mem.h"

/* ---- bytes in memory ---- */

struct memory_source {
    struct source source;
    struct str rest;
    void (*release)(void *);
    void *arg;
};

static void memory_peek(struct source *s, struct span *out)
{
    struct memory_source *m = CONTAINER(s, struct memory_source, source);

    *out = (struct span){.kind = m->rest.n ? SPAN_MEMORY : SPAN_END, .p = m->rest.p, .len = m->rest.n};
}

static void memory_consume(struct source *s, uint64_t n)
{
    struct memory_source *m = CONTAINER(s, struct memory_source, source);

    m->rest = str_skip(m->rest, (size_t)n);
}

static void memory_prepare(struct source *s, struct call *c)
{
    (void)s;
    call_finish(c, ERR_OK);
}

static void memory_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct memory_source *m = CONTAINER(s, struct memory_source, source);

    *n = len < m->rest.n ? len : m->rest.n;
    if (*n)
        memcpy(buf, m->rest.p, *n);
    m->rest = str_skip(m->rest, *n);
    call_finish(c, ERR_OK);
}

static void memory_close(struct source *s)
{
    struct memory_source *m = CONTAINER(s, struct memory_source, source);

    if (m->release)
        m->release(m->arg);
    free(m);
}

struct source *source_memory(struct str bytes, void (*release)(void *), void *arg)
{
    static const struct source_ops ops = {"memory",       memory_peek, memory_consume,
                                          memory_prepare, memory_read, memory_close};
    struct memory_source *m = NEW(struct memory_source);

    *m = (struct memory_source){{&ops, bytes.n}, bytes, release, arg};
    return &m->source;
}

/* ---- a part of another source ---- */

enum { SKIP_STEP = 64 * 1024 };

struct slice_source {
    struct source source;
    struct source *inner;
    struct loop *loop;
    uint64_t skip, left;
    char *scratch; /* where skipped bytes of a read-only source go */
    size_t skipped;
    void *buf;
    size_t len, *n;
    struct call *whole;
    struct call call;
};

/* Skips what can be skipped without reading. */
static void slice_advance(struct slice_source *f, struct span *span)
{
    for (;;) {
        source_peek(f->inner, span);
        if (f->skip == 0 || (span->kind != SPAN_MEMORY && span->kind != SPAN_FILE))
            return;
        uint64_t n = span->len < f->skip ? span->len : f->skip;
        source_consume(f->inner, n);
        f->skip -= n;
    }
}

static void slice_peek(struct source *s, struct span *out)
{
    struct slice_source *f = CONTAINER(s, struct slice_source, source);

    if (f->left == 0) {
        *out = (struct span){.kind = SPAN_END};
        return;
    }
    slice_advance(f, out);
    if (out->kind == SPAN_END)
        *out = (struct span){.kind = SPAN_READ}; /* shorter than promised: reading tells */
    if (out->kind == SPAN_SOCKET && f->skip)
        *out = (struct span){.kind = SPAN_READ}; /* what is skipped must be read */
    if (out->len > f->left)
        out->len = f->left;
}

static void slice_consume(struct source *s, uint64_t n)
{
    struct slice_source *f = CONTAINER(s, struct slice_source, source);

    source_consume(f->inner, n);
    f->left -= n;
}

static void slice_prepare(struct source *s, struct call *c)
{
    source_prepare(CONTAINER(s, struct slice_source, source)->inner, c);
}

static void slice_next(struct slice_source *f);

static void slice_done(struct call *c)
{
    struct slice_source *f = CONTAINER(c, struct slice_source, call);

    if (c->err != ERR_OK) {
        call_finish(f->whole, c->err);
        return;
    }
    if (f->skip) {
        if (f->skipped == 0) {
            call_finish(f->whole, ERR_INCOMPLETE_BODY);
            return;
        }
        f->skip -= f->skipped;
        slice_next(f);
        return;
    }
    f->left -= *f->n;
    call_finish(f->whole, *f->n == 0 ? ERR_INCOMPLETE_BODY : ERR_OK);
}

static void slice_cancel(void *arg)
{
    call_cancel(&((struct slice_source *)arg)->call);
}

static void slice_next(struct slice_source *f)
{
    call_begin(&f->call, f->loop, slice_done);
    if (f->skip) {
        size_t step = f->skip < SKIP_STEP ? (size_t)f->skip : SKIP_STEP;
        if (!f->scratch)
            f->scratch = mem_alloc(SKIP_STEP);
        source_read(f->inner, f->scratch, step, &f->skipped, &f->call);
        return;
    }
    source_read(f->inner, f->buf, f->left < f->len ? (size_t)f->left : f->len, f->n, &f->call);
}

static void slice_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct slice_source *f = CONTAINER(s, struct slice_source, source);

    *n = 0;
    if (f->left == 0) {
        call_finish(c, ERR_OK);
        return;
    }
    f->buf = buf;
    f->len = len;
    f->n = n;
    f->whole = c;
    call_on_cancel(c, slice_cancel, f);
    slice_next(f);
}

static void slice_close(struct source *s)
{
    struct slice_source *f = CONTAINER(s, struct slice_source, source);

    source_close(f->inner);
    free(f->scratch);
    free(f);
}

struct source *source_slice(struct loop *loop, struct source *inner, uint64_t skip, uint64_t limit)
{
    static const struct source_ops ops = {"slice", slice_peek, slice_consume, slice_prepare, slice_read, slice_close};
    struct slice_source *f = NEW(struct slice_source);

    f->source = (struct source){&ops, limit};
    f->inner = inner;
    f->loop = loop;
    f->skip = skip;
    f->left = limit;
    return &f->source;
}

/* ---- reading until full ---- */

static void fill_next(struct source_fill *f);

static void fill_done(struct call *c)
{
    struct source_fill *f = CONTAINER(c, struct source_fill, call);

    if (c->err != ERR_OK) {
        call_finish(f->whole, c->err);
        return;
    }
    f->got += f->step;
    if (f->step == 0 || f->got == f->len) {
        *f->n = f->got;
        call_finish(f->whole, ERR_OK);
        return;
    }
    fill_next(f);
}

static void fill_next(struct source_fill *f)
{
    call_begin(&f->call, f->whole->loop, fill_done);
    if (f->whole->cancelled)
        call_finish(&f->call, ERR_CANCELLED);
    else
        source_read(f->source, f->buf + f->got, f->len - f->got, &f->step, &f->call);
}

static void fill_cancel(void *arg)
{
    call_cancel(&((struct source_fill *)arg)->call);
}

void source_fill(struct source_fill *f, struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    *f = (struct source_fill){.source = s, .buf = buf, .len = len, .n = n, .whole = c};
    call_on_cancel(c, fill_cancel, f);
    fill_next(f);
}
