#include <stdlib.h>

#include "comm_own.h"
#include "etl/nap.h"

enum { SETTLE_MS = 100 }; /* a process that was killed closes its connections a little before it is seen to be gone */

struct unframed {
    struct source source;
    struct etl_wire *w;
    struct str id;
    struct source *inner;
    bool ended; /* well */
    size_t *n;
    struct call *whole;
    struct call call;
    struct etl_nap nap;
    struct offload_task task;
};

static struct unframed *unframed_of(struct source *s)
{
    return CONTAINER(s, struct unframed, source);
}

static void peek(struct source *s, struct span *out)
{
    *out = (struct span){.kind = unframed_of(s)->ended ? SPAN_END : SPAN_READ};
}

static enum err run_look(struct offload_task *task)
{
    struct unframed *u = CONTAINER(task, struct unframed, task);
    struct etl_wire *w = u->w;
    struct etl_instance *i = w->conf.find(w->conf.arg, u->id);
    char why[ETL_WHY_MAX];
    bool alive = i && i->runtime->ops->alive(i, why);

    if (i)
        w->conf.drop(w->conf.arg, i);
    return alive ? ERR_OK : ERR_UNAVAILABLE;
}

static void on_looked(struct call *call)
{
    struct unframed *u = CONTAINER(call, struct unframed, call);

    etl_wire_let(u->w);
    u->ended = call->err == ERR_OK;
    call_finish(u->whole, call->err);
}

static void on_settled(struct call *call)
{
    struct unframed *u = CONTAINER(call, struct unframed, call);

    if (call->err != ERR_OK) {
        call_finish(u->whole, call->err);
        return;
    }
    etl_wire_hold(u->w);
    call_begin(&u->call, u->w->loop, on_looked);
    offload_run(u->w->conf.io, &u->task, run_look, &u->call);
}

static void on_read(struct call *call)
{
    struct unframed *u = CONTAINER(call, struct unframed, call);

    if (call->err != ERR_OK || *u->n > 0) {
        call_finish(u->whole, call->err);
        return;
    }
    call_begin(&u->call, u->w->loop, on_settled);
    etl_nap(&u->nap, SETTLE_MS, &u->call);
}

static void on_cancel(void *arg)
{
    call_cancel(&((struct unframed *)arg)->call);
}

static void read_some(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct unframed *u = unframed_of(s);

    *n = 0;
    if (u->ended) {
        call_finish(call, ERR_OK);
        return;
    }
    u->n = n;
    u->whole = call;
    call_begin(&u->call, u->w->loop, on_read);
    call_on_cancel(call, on_cancel, u);
    source_read(u->inner, buf, len, n, &u->call);
}

static void close_it(struct source *s)
{
    struct unframed *u = unframed_of(s);

    source_close(u->inner);
    free(u);
}

struct source *etl_unframed_new(struct etl_wire *w, struct str id, struct source *inner)
{
    static const struct source_ops ops = {.name = "etl-unframed", .peek = peek, .read = read_some, .close = close_it};
    struct unframed *u = NEW(struct unframed);

    u->source = (struct source){&ops, SOURCE_SIZE_UNKNOWN};
    u->w = w;
    u->id = id;
    u->inner = inner;
    return &u->source;
}
