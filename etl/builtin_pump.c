#include "etl/builtin_own.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"

enum { IN = 256 << 10, OUT = 256 << 10, BUSY_MS = 2 };

struct pump {
    struct source source;
    struct builtin_pump_conf conf;
    char *in, *out;
    size_t in_at, in_n, out_at, out_n;
    bool in_ended, more, over; /* the body has; the coder may have more without input; the coder has */
    bool partly;               /* filling `in` was cancelled */
    enum err err;
    /* on the pool */
    struct offload_task task;
    enum err task_err;
    /* who waits */
    struct call *waiter;
    void *buf; /* NULL: a prepare */
    size_t len, *n;
    bool tells; /* a prepare that fails */
    struct source_fill fill;
    size_t filled;
    struct call call;
    struct timer timer; /* until the pool is asked again */
};

static void go_on(struct pump *p);

static void finish(struct pump *p, enum err e)
{
    struct call *c = p->waiter;

    p->waiter = NULL;
    call_finish(c, e);
}

/* ---- work ---- */

static enum err work(struct offload_task *t)
{
    struct pump *p = CONTAINER(t, struct pump, task);
    struct arc_coder_io io = {
        .in = p->in + p->in_at, .in_n = p->in_n - p->in_at, .in_ended = p->in_ended, .out = p->out, .out_n = OUT};

    p->task_err = arc_coder_run(p->conf.coder, &io);
    p->in_at += io.in_used;
    p->out_at = 0;
    p->out_n = io.out_made;
    p->more = io.out_made == io.out_n;
    p->over = io.ended;
    if (p->task_err == ERR_OK && !io.ended && !io.in_used && !io.out_made && (io.in_n || io.in_ended))
        p->task_err = ERR_BAD_ARCHIVE; /* takes nothing and gives nothing */
    return ERR_OK;
}

static void on_time(struct timer *t)
{
    go_on(CONTAINER(t, struct pump, timer));
}

static void on_worked(struct call *c)
{
    struct pump *p = CONTAINER(c, struct pump, call);

    if (c->err == ERR_BUSY) {
        p->timer.fn = on_time;
        timer_set(p->conf.loop, &p->timer, BUSY_MS);
        return;
    }
    if (c->err != ERR_OK) {
        finish(p, c->err);
        return;
    }
    if (p->task_err != ERR_OK) {
        const char *why = arc_coder_why(p->conf.coder);
        p->err = p->task_err;
        log_info(STR_NONE, "transform failed", "etl=%s error=%s why=%s", p->conf.name, err_name(p->err),
                 log_quote(str_z(why)));
    }
    go_on(p);
}

static void on_filled(struct call *c)
{
    struct pump *p = CONTAINER(c, struct pump, call);

    p->partly = c->err == ERR_CANCELLED && p->waiter->cancelled;
    if (p->partly) {
        p->in_n += p->fill.got;
        finish(p, ERR_CANCELLED);
        return;
    }
    p->in_n += c->err == ERR_OK ? p->filled : 0;
    p->in_ended = p->in_n < IN;
    p->err = c->err;
    go_on(p);
}

/* ---- the source ---- */

static bool has_some(const struct pump *p)
{
    return p->out_at < p->out_n || p->over || p->err != ERR_OK;
}

static void give(struct pump *p)
{
    enum err e = ERR_OK;

    if (p->buf && p->out_at < p->out_n) {
        *p->n = p->out_n - p->out_at < p->len ? p->out_n - p->out_at : p->len;
        memcpy(p->buf, p->out + p->out_at, *p->n);
        p->out_at += *p->n;
    } else if (p->out_at == p->out_n && (p->buf || p->tells)) {
        e = p->err;
    }
    if (p->tells && p->over)
        p->source.size = p->out_n;
    finish(p, e);
}

static void go_on(struct pump *p)
{
    bool empty = p->in_at == p->in_n;

    if (has_some(p)) {
        give(p);
        return;
    }
    if (p->waiter->cancelled) {
        finish(p, ERR_CANCELLED);
        return;
    }
    if (p->partly || (empty && !p->in_ended && !p->more)) {
        if (empty)
            p->in_at = p->in_n = 0;
        call_begin(&p->call, p->conf.loop, on_filled);
        source_fill(&p->fill, p->conf.body, p->in + p->in_n, IN - p->in_n, &p->filled, &p->call);
        return;
    }
    call_begin(&p->call, p->conf.loop, on_worked);
    offload_run(p->conf.cpu, &p->task, work, &p->call);
}

static void on_cancel(void *arg)
{
    struct pump *p = arg;

    if (!p->waiter)
        return;
    if (timer_is_set(&p->timer)) {
        timer_cancel(p->conf.loop, &p->timer);
        finish(p, ERR_CANCELLED);
    } else if (call_is_pending(&p->call)) {
        call_cancel(&p->call);
    }
}

static void begin(struct pump *p, struct call *c)
{
    p->waiter = c;
    call_on_cancel(c, on_cancel, p);
    if (p->waiter)
        go_on(p);
}

static void pump_peek(struct source *s, struct span *out)
{
    struct pump *p = CONTAINER(s, struct pump, source);

    *out = (struct span){.kind = SPAN_WAIT};
    if (p->out_at < p->out_n)
        *out = (struct span){.kind = SPAN_MEMORY, .p = p->out + p->out_at, .len = p->out_n - p->out_at};
    else if (p->err != ERR_OK)
        out->kind = SPAN_READ; /* which tells */
    else if (p->over)
        out->kind = SPAN_END;
}

static void pump_consume(struct source *s, uint64_t n)
{
    CONTAINER(s, struct pump, source)->out_at += (size_t)n;
}

static void pump_prepare(struct source *s, struct call *c)
{
    struct pump *p = CONTAINER(s, struct pump, source);

    p->buf = NULL;
    p->tells = false;
    begin(p, c);
}

static void pump_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct pump *p = CONTAINER(s, struct pump, source);

    *n = 0;
    p->buf = buf;
    p->tells = false;
    p->len = len;
    p->n = n;
    begin(p, c);
}

static void pump_close(struct source *s)
{
    struct pump *p = CONTAINER(s, struct pump, source);

    arc_coder_free(p->conf.coder);
    if (p->conf.takes_body)
        source_close(p->conf.body);
    free(p->in);
    free(p->out);
    free(p);
}

const char *builtin_pump_why(const struct source *pump)
{
    const struct pump *p = CONTAINER(pump, const struct pump, source);

    return arc_coder_why(p->conf.coder);
}

void builtin_pump_begin(struct source *pump, struct call *call)
{
    struct pump *p = CONTAINER(pump, struct pump, source);

    p->buf = NULL;
    p->tells = true;
    begin(p, call);
}

struct source *builtin_pump_new(const struct builtin_pump_conf *conf)
{
    static const struct source_ops ops = {"builtin", pump_peek, pump_consume, pump_prepare, pump_read, pump_close};
    struct pump *p = NEW(struct pump);

    p->source = (struct source){&ops, SOURCE_SIZE_UNKNOWN};
    p->conf = *conf;
    p->in = mem_alloc(IN);
    p->out = mem_alloc(OUT);
    return &p->source;
}
