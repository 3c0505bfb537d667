/* A body on its way to the store that is scanned as it passes. Whoever pulls waits for the scan, so that is the back-pressure; small pieces
 * of a plain TAR are scanned on the loop, everything else on the cpu pool. A scan that fails is given up, the body goes on. */
#include <stdlib.h>

#include "archive/arcs_own.h"
#include "base/mem.h"

enum { FEED_ON_LOOP = 64 << 10 };

struct arcs_tee {
    struct source source;
    struct source *inner;
    struct loop *loop;
    struct offload *cpu;
    struct arc_scan *scan; /* NULL: given up */
    bool plain;
    uint64_t fed;
    /* a read */
    void *buf;
    size_t *n;
    struct call *whole;
    struct call call;
    struct offload_task task;
    /* the end */
    const struct object_info *info;
    struct arc_index **index;
};

static void give_up(struct arcs_tee *t)
{
    arc_scan_free(t->scan);
    t->scan = NULL;
}

static void tee_fed(struct call *c)
{
    struct arcs_tee *t = CONTAINER(c, struct arcs_tee, call);

    if (c->err != ERR_OK)
        give_up(t);
    call_finish(t->whole, ERR_OK);
}

static enum err feed(struct offload_task *task)
{
    struct arcs_tee *t = CONTAINER(task, struct arcs_tee, task);

    return arc_scan_feed(t->scan, t->buf, *t->n);
}

static void tee_got(struct call *c)
{
    struct arcs_tee *t = CONTAINER(c, struct arcs_tee, call);
    size_t n = *t->n;

    if (c->err != ERR_OK || n == 0 || !t->scan) {
        call_finish(t->whole, c->err);
        return;
    }
    t->fed += n;
    if (t->plain && n <= FEED_ON_LOOP) {
        if (arc_scan_feed(t->scan, t->buf, n) != ERR_OK)
            give_up(t);
        call_finish(t->whole, ERR_OK);
        return;
    }
    call_begin(&t->call, t->loop, tee_fed);
    offload_run(t->cpu, &t->task, feed, &t->call);
}

static void tee_cancel(void *arg)
{
    call_cancel(&((struct arcs_tee *)arg)->call);
}

static void tee_read(struct source *s, void *buf, size_t len, size_t *n, struct call *whole)
{
    struct arcs_tee *t = CONTAINER(s, struct arcs_tee, source);

    t->buf = buf;
    t->n = n;
    t->whole = whole;
    call_begin(&t->call, t->loop, tee_got);
    source_read(t->inner, buf, len, n, &t->call);
    call_on_cancel(whole, tee_cancel, t);
}

static void tee_close(struct source *s)
{
    (void)s; /* arcs_tee_close() */
}

struct arcs_tee *arcs_tee_open(struct loop *loop, struct offload *cpu, enum arc_format format, struct source *inner)
{
    static const struct source_ops ops = {.name = "archive", .read = tee_read, .close = tee_close};
    struct arcs_tee *t = NEW(struct arcs_tee);

    t->source = (struct source){&ops, inner->size};
    t->inner = inner;
    t->loop = loop;
    t->cpu = cpu;
    t->scan = arc_scan_new(format);
    t->plain = format == ARC_TAR;
    return t;
}

struct source *arcs_tee_source(struct arcs_tee *t)
{
    return &t->source;
}

/* ---- the end ---- */

static enum err finish_scan(struct offload_task *task)
{
    struct arcs_tee *t = CONTAINER(task, struct arcs_tee, task);
    struct arc_index *x;
    enum err e = arc_scan_end(t->scan, &x);

    if (e != ERR_OK)
        return e;
    arc_index_set_object(x, t->info);
    *t->index = x;
    return ERR_OK;
}

static void tee_ended(struct call *c)
{
    struct arcs_tee *t = CONTAINER(c, struct arcs_tee, call);

    call_finish(t->whole, ERR_OK);
}

void arcs_tee_end(struct arcs_tee *t, const struct object_info *info, struct arc_index **index, struct call *call)
{
    if (!t->scan || t->fed != info->size) {
        call_finish(call, ERR_OK);
        return;
    }
    t->info = info;
    t->index = index;
    t->whole = call;
    call_begin(&t->call, t->loop, tee_ended);
    offload_run(t->cpu, &t->task, finish_scan, &t->call);
}

void arcs_tee_close(struct arcs_tee *t)
{
    if (!t)
        return;
    arc_scan_free(t->scan);
    free(t);
}
