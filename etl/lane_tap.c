#include "etl/lane_own.h"

static struct tap *tap_of(struct source *s)
{
    return CONTAINER(s, struct tap, source);
}

static void tap_peek(struct source *s, struct span *out)
{
    struct tap *t = tap_of(s);

    if (t->err != ERR_OK || t->cut != ERR_OK) {
        *out = (struct span){.kind = SPAN_READ};
        return;
    }
    source_peek(t->inner, out);
    t->ended |= out->kind == SPAN_END;
}

static void tap_consume(struct source *s, uint64_t n)
{
    struct tap *t = tap_of(s);

    t->bytes += n;
    source_consume(t->inner, n);
}

static void tap_done(struct call *call)
{
    struct tap *t = CONTAINER(call, struct tap, call);
    struct call *whole = t->whole;
    size_t *n = t->n;

    t->whole = NULL;
    t->n = NULL;
    if (call->err != ERR_OK) {
        t->err = t->cut != ERR_OK ? t->cut : call->err;
    } else if (n) {
        t->bytes += *n;
        t->ended |= *n == 0;
    }
    call_finish(whole, t->err);
}

static void tap_cancel(void *arg)
{
    call_cancel(&((struct tap *)arg)->call);
}

/* False: it has failed, and `call` was told. */
static bool tap_begin(struct tap *t, size_t *n, struct call *call)
{
    if (t->err == ERR_OK)
        t->err = t->cut;
    if (t->err != ERR_OK) {
        call_finish(call, t->err);
        return false;
    }
    t->n = n;
    t->whole = call;
    call_begin(&t->call, t->loop, tap_done);
    call_on_cancel(call, tap_cancel, t);
    return true;
}

static void tap_prepare(struct source *s, struct call *call)
{
    struct tap *t = tap_of(s);

    if (tap_begin(t, NULL, call))
        source_prepare(t->inner, &t->call);
}

static void tap_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct tap *t = tap_of(s);

    *n = 0;
    if (tap_begin(t, n, call))
        source_read(t->inner, buf, len, n, &t->call);
}

static void tap_close(struct source *s)
{
    struct tap *t = tap_of(s);

    if (t->run)
        run_free(t->run);
}

void tap_open(struct tap *t, struct loop *loop, struct source *inner, struct run *run)
{
    static const struct source_ops ops = {"etl_tap", tap_peek, tap_consume, tap_prepare, tap_read, tap_close};

    *t = (struct tap){.source = {&ops, inner->size}, .run = run, .loop = loop, .inner = inner};
}

void tap_cut(struct tap *t, enum err e)
{
    if (t->err == ERR_OK && t->cut == ERR_OK && !tap_is_complete(t))
        t->cut = e;
    if (t->cut != ERR_OK && t->whole)
        call_cancel(&t->call);
}
