#include "wire_fields.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

/* ---- the tail's bytes: an array, then zeros ---- */

static const struct str magic = {"sluice", 6};

void wire_put_tail(char out[WIRE_TAIL], uint64_t size, const struct body_check *check, unsigned first)
{
    struct buf b = BUF_INIT(WIRE_TAIL);

    pack_array(&b, 3);
    pack_str(&b, magic);
    pack_uint(&b, size);
    wire_put_wants(&b, check, first);
    memset(out, 0, WIRE_TAIL);
    assert(!b.over); /* BODY_WANTS_MAX digests of HASH_MAX_LEN fit */
    memcpy(out, b.p, b.n);
    buf_release(&b);
}

/* What the store is computing: a digest of another kind could not be compared. */
static unsigned announced(const struct body_check *check)
{
    unsigned set = check->also | 1u << HASH_MD5;

    set |= 1u << (check->checksum != HASH_NONE ? check->checksum : HASH_CRC64NVME);
    for (unsigned i = 0; i < check->want_count; i++)
        set |= 1u << check->want[i].digest.alg;
    return set;
}

enum err wire_get_tail(const char in[WIRE_TAIL], uint64_t size, struct body_check *check)
{
    struct body_check more = *check;
    struct unpack u;

    unpack_init(&u, str_n(in, WIRE_TAIL));
    uint32_t extra = wire_open(&u, 3);
    if (!str_eq(unpack_bytes(&u, magic.n), magic) || unpack_uint(&u, UINT64_MAX) != size)
        return ERR_INCOMPLETE_BODY;
    wire_get_wants(&u, &more);
    wire_close(&u, extra);
    if (u.bad)
        return ERR_INCOMPLETE_BODY;
    for (unsigned i = check->want_count; i < more.want_count; i++)
        if (!(announced(check) & 1u << more.want[i].digest.alg))
            return ERR_BAD_REQUEST;
    *check = more;
    return ERR_OK;
}

/* ---- taking it off ---- */

enum { OFF_BUFFER = 64 << 10, HELD = WIRE_TAIL + 1 /* one byte of content waits for the tail */ };

struct tail_off {
    struct source source;
    struct source *inner;
    struct body_check *check;
    struct loop *loop;
    bool sized;
    bool seen; /* the tail was read and is right */
    enum err failed;
    uint64_t left;  /* sized: content not yet read */
    uint64_t given; /* content handed on, what was just read included */
    /* the read outstanding */
    void *out;
    size_t len, *n, got;
    struct call *whole;
    struct call call;
    struct source_fill fill;
    /* sized: the tail; else what was read ahead: buf[at .. end) */
    char tail[WIRE_TAIL];
    char *buf;
    size_t at, end;
};

static void off_finish(struct tail_off *f, size_t n, enum err e)
{
    if (e != ERR_OK)
        f->failed = e;
    else
        *f->n = n;
    call_finish(f->whole, e);
}

static void off_cancel(void *arg)
{
    call_cancel(&((struct tail_off *)arg)->call);
}

/* The last of the content waits in the caller's buffer. */
static void off_tail_done(struct call *c)
{
    struct tail_off *f = CONTAINER(c, struct tail_off, call);
    enum err e = c->err;

    if (e == ERR_OK)
        e = f->got == WIRE_TAIL ? wire_get_tail(f->tail, f->given, f->check) : ERR_INCOMPLETE_BODY;
    f->seen = e == ERR_OK;
    off_finish(f, f->len, e);
}

static void off_read_tail(struct tail_off *f, size_t content)
{
    f->len = content;
    call_begin(&f->call, f->loop, off_tail_done);
    source_fill(&f->fill, f->inner, f->tail, WIRE_TAIL, &f->got, &f->call);
    if (f->whole->cancelled)
        call_cancel(&f->call);
}

static void off_content_done(struct call *c)
{
    struct tail_off *f = CONTAINER(c, struct tail_off, call);

    if (c->err != ERR_OK || f->got == 0) {
        off_finish(f, 0, c->err != ERR_OK ? c->err : ERR_INCOMPLETE_BODY);
        return;
    }
    f->left -= f->got;
    f->given += f->got;
    if (f->left)
        off_finish(f, f->got, ERR_OK);
    else
        off_read_tail(f, f->got);
}

static void off_read_sized(struct tail_off *f)
{
    if (f->left == 0) {
        off_read_tail(f, 0);
        return;
    }
    call_begin(&f->call, f->loop, off_content_done);
    source_read(f->inner, f->out, f->len < f->left ? f->len : (size_t)f->left, &f->got, &f->call);
}

/* Size unknown: gives what is surely content. */
static bool off_give(struct tail_off *f)
{
    size_t have = f->end - f->at, hold = f->seen ? WIRE_TAIL : HELD;

    if (have <= hold)
        return false;
    size_t n = have - hold < f->len ? have - hold : f->len;
    memcpy(f->out, f->buf + f->at, n);
    f->at += n;
    f->given += n;
    off_finish(f, n, ERR_OK);
    return true;
}

static void off_ahead_done(struct call *c);

static void off_read_ahead(struct tail_off *f)
{
    if (!f->buf)
        f->buf = mem_alloc(OFF_BUFFER);
    memmove(f->buf, f->buf + f->at, f->end - f->at);
    f->end -= f->at;
    f->at = 0;
    call_begin(&f->call, f->loop, off_ahead_done);
    source_read(f->inner, f->buf + f->end, OFF_BUFFER - f->end, &f->got, &f->call);
    if (f->whole->cancelled)
        call_cancel(&f->call);
}

static void off_ahead_done(struct call *c)
{
    struct tail_off *f = CONTAINER(c, struct tail_off, call);
    enum err e = c->err;

    if (e == ERR_OK && f->got == 0) {
        size_t have = f->end - f->at;
        e = have < WIRE_TAIL ? ERR_INCOMPLETE_BODY
                             : wire_get_tail(f->buf + f->end - WIRE_TAIL, f->given + have - WIRE_TAIL, f->check);
        f->seen = e == ERR_OK;
    }
    if (e != ERR_OK) {
        off_finish(f, 0, e);
        return;
    }
    f->end += f->got;
    if (off_give(f))
        return;
    if (f->seen)
        off_finish(f, 0, ERR_OK);
    else
        off_read_ahead(f);
}

static void off_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct tail_off *f = CONTAINER(s, struct tail_off, source);

    *n = 0;
    f->out = buf;
    f->len = len;
    f->n = n;
    f->whole = c;
    if (f->failed != ERR_OK || (f->sized && f->seen)) {
        call_finish(c, f->failed);
        return;
    }
    if (!f->sized && off_give(f))
        return;
    if (f->seen) {
        off_finish(f, 0, ERR_OK);
        return;
    }
    call_on_cancel(c, off_cancel, f);
    if (f->sized)
        off_read_sized(f);
    else
        off_read_ahead(f);
    if (c->cancelled)
        call_cancel(&f->call);
}

static void off_close(struct source *s)
{
    struct tail_off *f = CONTAINER(s, struct tail_off, source);

    free(f->buf);
    free(f);
}

struct source *wire_tail_off(struct loop *loop, struct source *inner, uint64_t left, struct body_check *check)
{
    static const struct source_ops ops = {.name = "tail-off", .read = off_read, .close = off_close};
    struct tail_off *f = NEW(struct tail_off);

    f->inner = inner;
    f->check = check;
    f->loop = loop;
    f->sized = inner && left != SOURCE_SIZE_UNKNOWN;
    f->source = (struct source){&ops, SOURCE_SIZE_UNKNOWN};
    if (!inner || left < WIRE_TAIL)
        f->failed = ERR_INCOMPLETE_BODY;
    else if (f->sized)
        f->source.size = f->left = left - WIRE_TAIL;
    return &f->source;
}

/* ---- putting it on ---- */

struct tail_on {
    struct source source;
    struct source *inner;
    const struct body_check *check;
    struct loop *loop;
    unsigned first;   /* digest that the tail begins with */
    struct str ready; /* head or tail, to be given before anything else */
    bool tailed;      /* the tail was made */
    bool wrong;       /* inner has not the size that it told */
    enum err failed;
    uint64_t size;  /* inner's, when it was made */
    uint64_t count; /* of content */
    void *out;
    size_t len, *n, got;
    struct call *whole;
    struct call call;
    char tail[WIRE_TAIL];
};

/* The content has ended. */
static void on_end(struct tail_on *f)
{
    if (f->size != SOURCE_SIZE_UNKNOWN && f->count != f->size) {
        f->wrong = true;
        return;
    }
    wire_put_tail(f->tail, f->count, f->check, f->first);
    f->ready = str_n(f->tail, WIRE_TAIL);
    f->tailed = true;
}

static void on_peek(struct source *s, struct span *out)
{
    struct tail_on *f = CONTAINER(s, struct tail_on, source);

    if (!f->ready.n && !f->tailed && !f->wrong) {
        *out = (struct span){.kind = SPAN_END};
        if (f->inner)
            source_peek(f->inner, out);
        if (out->kind != SPAN_END) {
            if (f->size != SOURCE_SIZE_UNKNOWN && out->len > f->size - f->count)
                out->len = f->size - f->count;
            if (out->len == 0 && out->kind != SPAN_WAIT)
                out->kind = SPAN_READ; /* longer than it said: reading tells */
            return;
        }
        on_end(f);
    }
    if (f->wrong)
        *out = (struct span){.kind = SPAN_READ};
    else if (f->ready.n)
        *out = (struct span){.kind = SPAN_MEMORY, .p = f->ready.p, .len = f->ready.n};
    else
        *out = (struct span){.kind = SPAN_END};
}

static void on_consume(struct source *s, uint64_t n)
{
    struct tail_on *f = CONTAINER(s, struct tail_on, source);

    if (f->ready.n) {
        f->ready = str_skip(f->ready, (size_t)n);
        return;
    }
    source_consume(f->inner, n);
    f->count += n;
}

static void on_prepare(struct source *s, struct call *c)
{
    struct tail_on *f = CONTAINER(s, struct tail_on, source);

    if (f->ready.n || f->tailed || f->wrong || !f->inner)
        call_finish(c, ERR_OK);
    else
        source_prepare(f->inner, c);
}

static void on_fail(struct tail_on *f, struct call *c, enum err e)
{
    f->failed = e;
    call_finish(c, e);
}

static void on_give(struct tail_on *f, struct call *c)
{
    size_t n = f->ready.n < f->len ? f->ready.n : f->len;

    if (f->wrong) {
        on_fail(f, c, ERR_INCOMPLETE_BODY);
        return;
    }
    if (n)
        memcpy(f->out, f->ready.p, n);
    f->ready = str_skip(f->ready, n);
    *f->n = n;
    call_finish(c, ERR_OK);
}

static void on_read_done(struct call *c)
{
    struct tail_on *f = CONTAINER(c, struct tail_on, call);

    if (c->err != ERR_OK) {
        on_fail(f, f->whole, c->err);
        return;
    }
    f->count += f->got;
    if (f->got == 0) {
        on_end(f);
        on_give(f, f->whole);
        return;
    }
    f->wrong = f->size != SOURCE_SIZE_UNKNOWN && f->count > f->size;
    if (f->wrong) {
        on_fail(f, f->whole, ERR_INCOMPLETE_BODY);
        return;
    }
    *f->n = f->got;
    call_finish(f->whole, ERR_OK);
}

static void on_cancel(void *arg)
{
    call_cancel(&((struct tail_on *)arg)->call);
}

static void on_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct tail_on *f = CONTAINER(s, struct tail_on, source);

    *n = 0;
    f->out = buf;
    f->len = len;
    f->n = n;
    f->whole = c;
    if (!f->inner && !f->ready.n && !f->tailed)
        on_end(f);
    if (f->ready.n || f->tailed || f->wrong) {
        on_give(f, c);
        return;
    }
    call_on_cancel(c, on_cancel, f);
    call_begin(&f->call, f->loop, on_read_done);
    source_read(f->inner, buf, len, &f->got, &f->call);
    if (c->cancelled)
        call_cancel(&f->call);
}

static void on_close(struct source *s)
{
    free(CONTAINER(s, struct tail_on, source));
}

struct source *wire_tail_on(struct loop *loop, struct str head, struct source *inner, const struct body_check *check)
{
    static const struct source_ops ops = {"tail-on", on_peek, on_consume, on_prepare, on_read, on_close};
    struct tail_on *f = NEW(struct tail_on);

    f->inner = inner;
    f->check = check;
    f->loop = loop;
    f->first = check->want_count;
    f->ready = head;
    f->size = inner ? inner->size : 0;
    f->source = (struct source){&ops, SOURCE_SIZE_UNKNOWN};
    if (f->size != SOURCE_SIZE_UNKNOWN)
        f->source.size = head.n + f->size + WIRE_TAIL;
    return &f->source;
}

enum err wire_tail_failed(const struct source *on)
{
    return CONTAINER(on, struct tail_on, source)->failed;
}
