/* The body of a batch's answer: an archive between two texts, which ends when the batch is aborted. */
#include <stdlib.h>

#include "archive/arc_batch_own.h"
#include "base/mem.h"

struct stream {
    struct source source, *archive;
    struct loop *loop;
    struct str before, after;
    bool archive_ended, broken;
    struct arc_batches *batches;
    struct arc_batch_run *run;
    void *buf;
    size_t len, *n;
    struct call *whole;
    struct call call;
};

static bool is_over(const struct stream *s)
{
    return s->archive_ended && s->before.n == 0 && s->after.n == 0;
}

static struct str *text_now(struct stream *s)
{
    return s->before.n ? &s->before : s->archive_ended && s->after.n ? &s->after : NULL;
}

static void stream_peek(struct source *src, struct span *out)
{
    struct stream *s = CONTAINER(src, struct stream, source);
    struct str *text = text_now(s);

    if (arc_batch_aborted(s->run)) {
        *out = (struct span){.kind = SPAN_READ}; /* which tells */
        return;
    }
    if (!text && !s->archive_ended) {
        source_peek(s->archive, out);
        if (out->kind != SPAN_END)
            return;
        s->archive_ended = true;
        text = text_now(s);
    }
    *out = text ? (struct span){.kind = SPAN_MEMORY, .p = text->p, .len = text->n} : (struct span){.kind = SPAN_END};
}

static void stream_consume(struct source *src, uint64_t n)
{
    struct stream *s = CONTAINER(src, struct stream, source);
    struct str *text = text_now(s);

    if (text)
        *text = str_skip(*text, (size_t)n);
    else
        source_consume(s->archive, n);
}

static void copy_text(struct stream *s)
{
    struct str *text = text_now(s);

    *s->n = text->n < s->len ? text->n : s->len;
    memcpy(s->buf, text->p, *s->n);
    *text = str_skip(*text, *s->n);
}

static void on_pulled(struct call *c)
{
    struct stream *s = CONTAINER(c, struct stream, call);

    if (c->err != ERR_OK)
        s->broken = true;
    if (c->err == ERR_OK && s->buf && *s->n == 0) {
        s->archive_ended = true;
        if (text_now(s))
            copy_text(s);
    }
    call_finish(s->whole, c->err);
}

static void on_cancel(void *arg)
{
    call_cancel(&((struct stream *)arg)->call);
}

static struct call *pull(struct stream *s, struct call *whole)
{
    s->whole = whole;
    call_begin(&s->call, s->loop, on_pulled);
    call_on_cancel(whole, on_cancel, s);
    return &s->call;
}

static void stream_prepare(struct source *src, struct call *c)
{
    struct stream *s = CONTAINER(src, struct stream, source);

    s->buf = NULL;
    if (arc_batch_aborted(s->run) || s->archive_ended || s->before.n)
        call_finish(c, ERR_OK);
    else
        source_prepare(s->archive, pull(s, c));
}

static void stream_read(struct source *src, void *buf, size_t len, size_t *n, struct call *c)
{
    struct stream *s = CONTAINER(src, struct stream, source);

    s->buf = buf;
    s->len = len;
    s->n = n;
    *n = 0;
    if (arc_batch_aborted(s->run)) {
        s->broken = true;
        call_finish(c, ERR_CANCELLED);
    } else if (text_now(s)) {
        copy_text(s);
        call_finish(c, ERR_OK);
    } else if (s->archive_ended) {
        call_finish(c, ERR_OK);
    } else {
        source_read(s->archive, buf, len, n, pull(s, c));
    }
}

static void stream_close(struct source *src)
{
    struct stream *s = CONTAINER(src, struct stream, source);

    source_close(s->archive);
    arc_batches_end(s->batches, s->run, is_over(s) ? ERR_OK : s->broken ? ERR_INTERNAL : ERR_CLIENT_GONE);
    free(s);
}

struct source *arc_batch_stream(const struct arc_batch_stream_conf *conf)
{
    static const struct source_ops ops = {"batch",        stream_peek, stream_consume,
                                          stream_prepare, stream_read, stream_close};
    struct stream *s = NEW(struct stream);

    *s = (struct stream){.source = {&ops, SOURCE_SIZE_UNKNOWN},
                         .archive = conf->archive,
                         .loop = conf->loop,
                         .before = conf->before,
                         .after = conf->after,
                         .batches = conf->batches,
                         .run = conf->run};
    return &s->source;
}
