#include "archive/arc_unpack.h"

#include <stdlib.h>

#include "archive/arc_decode.h"
#include "base/mem.h"

enum { IN = 64 << 10, OUT = 256 << 10 };

struct unpack_source {
    struct source source;
    struct loop *loop;
    struct offload *cpu;
    struct source *inner;
    struct arc_decoder *decoder;
    char *in, *out;
    size_t in_at, in_n, out_at, out_n;
    bool ended; /* inner */
    enum err err;
    /* a read */
    void *buf;
    size_t len, *n, step;
    struct call *whole;
    struct call call;
    struct offload_task task;
    bool decodes;
};

static void go_on(struct unpack_source *u);

static void finish(struct unpack_source *u, enum err e)
{
    if (e != ERR_OK && e != ERR_CANCELLED)
        u->err = e;
    call_finish(u->whole, e);
}

static enum err decode(struct offload_task *t)
{
    struct unpack_source *u = CONTAINER(t, struct unpack_source, task);
    struct arc_decode_io io = {.in = u->in + u->in_at, .in_n = u->in_n - u->in_at, .out = u->out, .out_n = OUT};
    enum err e = arc_decoder_run(u->decoder, &io);

    u->in_at += io.in_used;
    u->out_at = 0;
    u->out_n = io.out_made;
    u->step = io.in_used + io.out_made;
    return e;
}

static void done(struct call *c)
{
    struct unpack_source *u = CONTAINER(c, struct unpack_source, call);

    if (c->err != ERR_OK) {
        finish(u, c->err);
        return;
    }
    if (!u->decodes) {
        u->ended = u->step == 0;
        u->in_n += u->step;
    } else if (u->step == 0 && u->in_at < u->in_n && u->in_n - u->in_at == IN) {
        finish(u, ERR_BAD_ARCHIVE); /* takes nothing and gives nothing */
        return;
    }
    go_on(u);
}

static void read_more(struct unpack_source *u)
{
    memmove(u->in, u->in + u->in_at, u->in_n - u->in_at);
    u->in_n -= u->in_at;
    u->in_at = 0;
    u->decodes = false;
    source_read(u->inner, u->in + u->in_n, IN - u->in_n, &u->step, &u->call);
}

/* `step` of the last decoding tells whether the decoder waits for input. */
static void go_on(struct unpack_source *u)
{
    if (u->out_at < u->out_n) {
        size_t n = u->out_n - u->out_at < u->len ? u->out_n - u->out_at : u->len;
        memcpy(u->buf, u->out + u->out_at, n);
        u->out_at += n;
        *u->n = n;
        finish(u, ERR_OK);
        return;
    }
    bool starved = u->decodes && u->step == 0, empty = u->in_at == u->in_n;
    if (u->ended && (starved || (empty && arc_decoder_is_whole(u->decoder)))) {
        finish(u, arc_decoder_is_whole(u->decoder) ? ERR_OK : ERR_BAD_ARCHIVE);
        return;
    }
    call_begin(&u->call, u->loop, done);
    if (u->whole->cancelled) {
        u->step = 0;
        call_finish(&u->call, ERR_CANCELLED);
    } else if (!u->ended && (starved || empty) && u->in_n - u->in_at < IN) {
        read_more(u);
    } else {
        u->decodes = true;
        offload_run(u->cpu, &u->task, decode, &u->call);
    }
}

static void unpack_cancel(void *arg)
{
    call_cancel(&((struct unpack_source *)arg)->call);
}

static void unpack_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct unpack_source *u = CONTAINER(s, struct unpack_source, source);

    *n = 0;
    if (u->err != ERR_OK) {
        call_finish(c, u->err);
        return;
    }
    u->buf = buf;
    u->len = len;
    u->n = n;
    u->whole = c;
    call_on_cancel(c, unpack_cancel, u);
    go_on(u);
}

static void unpack_close(struct source *s)
{
    struct unpack_source *u = CONTAINER(s, struct unpack_source, source);

    source_close(u->inner);
    arc_decoder_free(u->decoder);
    free(u->in);
    free(u->out);
    free(u);
}

struct source *arc_unpack(struct loop *loop, struct offload *cpu, enum arc_format format, struct source *inner)
{
    static const struct source_ops ops = {"unpack", NULL, NULL, NULL, unpack_read, unpack_close};
    struct unpack_source *u = NEW(struct unpack_source);

    u->source = (struct source){&ops, SOURCE_SIZE_UNKNOWN};
    u->loop = loop;
    u->cpu = cpu;
    u->inner = inner;
    u->decoder = arc_decoder_new(format);
    u->in = mem_alloc(IN);
    u->out = mem_alloc(OUT);
    return &u->source;
}
