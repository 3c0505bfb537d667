#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/source_chain.h"

/* What a read or prepare does: open the next source, wait for it, read it; again when it has ended. */
enum chain_doing { CHAIN_OPENS, CHAIN_PREPARES, CHAIN_READS };

struct chain {
    struct source source;
    struct loop *loop;
    const struct chain_ops *ops;
    void *arg;
    size_t count, next; /* next: the one to open */
    uint64_t left;
    struct source *inner, *opened;
    enum err err; /* opening failed */
    /* a read or prepare */
    enum chain_doing doing;
    void *buf; /* NULL: prepare */
    size_t len, *n;
    struct call *whole;
    struct call call;
};

static void chain_drop(struct chain *c)
{
    source_close(c->inner);
    c->inner = NULL;
}

/* ---- looking ---- */

static void chain_peek(struct source *s, struct span *out)
{
    struct chain *c = CONTAINER(s, struct chain, source);

    *out = (struct span){.kind = SPAN_END};
    if (c->left == 0)
        return;
    if (c->inner)
        source_peek(c->inner, out);
    if (out->kind == SPAN_END) {
        chain_drop(c);
        /* with nothing left to open reading tells that it is too short */
        *out = (struct span){.kind = c->err != ERR_OK || c->next == c->count ? SPAN_READ : SPAN_WAIT};
    }
    if (out->len > c->left)
        out->len = c->left;
}

static void chain_consume(struct source *s, uint64_t n)
{
    struct chain *c = CONTAINER(s, struct chain, source);

    source_consume(c->inner, n);
    c->left -= n;
    if (c->left == 0)
        chain_drop(c);
}

/* ---- reading and preparing ---- */

static void chain_step(struct chain *c);

static void chain_done(struct call *call)
{
    struct chain *c = CONTAINER(call, struct chain, call);
    enum err e = call->err;

    if (c->doing == CHAIN_OPENS && e == ERR_OK) {
        c->next++;
        c->inner = c->opened;
        chain_step(c);
        return;
    }
    if (c->doing == CHAIN_OPENS && e != ERR_CANCELLED)
        c->err = e;
    if (c->doing == CHAIN_READS && e == ERR_OK) {
        c->left -= *c->n;
        if (*c->n == 0 || c->left == 0)
            chain_drop(c);
        if (*c->n == 0) {
            chain_step(c);
            return;
        }
    }
    if (c->doing == CHAIN_PREPARES && e == ERR_OK) {
        chain_step(c); /* it may have ended */
        return;
    }
    call_finish(c->whole, e);
}

static void chain_step(struct chain *c)
{
    struct span span = {.kind = SPAN_READ};

    if (c->inner && !c->buf) {
        source_peek(c->inner, &span);
        if (span.kind == SPAN_END)
            chain_drop(c);
    }
    bool ready = c->left == 0 || (c->inner && !c->buf && span.kind != SPAN_WAIT);
    if (ready || (!c->inner && (c->err != ERR_OK || c->next == c->count))) {
        call_finish(c->whole, ready ? ERR_OK : c->err != ERR_OK ? c->err : ERR_INCOMPLETE_BODY);
        return;
    }
    call_begin(&c->call, c->loop, chain_done);
    if (c->whole->cancelled) {
        c->doing = CHAIN_PREPARES;
        call_finish(&c->call, ERR_CANCELLED);
    } else if (!c->inner) {
        c->doing = CHAIN_OPENS;
        c->ops->open(c->arg, c->next, &c->opened, &c->call);
    } else if (!c->buf) {
        c->doing = CHAIN_PREPARES;
        source_prepare(c->inner, &c->call);
    } else {
        c->doing = CHAIN_READS;
        source_read(c->inner, c->buf, c->len < c->left ? c->len : (size_t)c->left, c->n, &c->call);
    }
}

static void chain_cancel(void *arg)
{
    call_cancel(&((struct chain *)arg)->call);
}

static void chain_begin(struct chain *c, struct call *whole)
{
    c->whole = whole;
    call_on_cancel(whole, chain_cancel, c);
    chain_step(c);
}

static void chain_prepare(struct source *s, struct call *whole)
{
    struct chain *c = CONTAINER(s, struct chain, source);

    c->buf = NULL;
    chain_begin(c, whole);
}

static void chain_read(struct source *s, void *buf, size_t len, size_t *n, struct call *whole)
{
    struct chain *c = CONTAINER(s, struct chain, source);

    c->buf = buf;
    c->len = len;
    c->n = n;
    *n = 0;
    chain_begin(c, whole);
}

static void chain_close(struct source *s)
{
    struct chain *c = CONTAINER(s, struct chain, source);

    chain_drop(c);
    if (c->ops->close)
        c->ops->close(c->arg);
    free(c);
}

struct source *source_chain(struct loop *loop, uint64_t size, size_t count, const struct chain_ops *ops, void *arg)
{
    static const struct source_ops source_ops = {"chain",       chain_peek, chain_consume,
                                                 chain_prepare, chain_read, chain_close};
    struct chain *c = NEW(struct chain);

    *c = (struct chain){
        .source = {&source_ops, size}, .loop = loop, .ops = ops, .arg = arg, .count = count, .left = size};
    return &c->source;
}
