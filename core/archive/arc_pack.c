/* The stream of an archive that is made: what is ready goes into it, headers and small content put together into large pieces. */
#include "archive/arc_pack.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "archive/arc_pack_own.h"
#include "base/clock.h"
#include "base/mem.h"

enum { OUT_MAX = PACK_OUT + 2 * PACK_COPY_MAX, WAKE_HOPS = 2000, WAKE_IDLE = 8 };

static bool is_zip(const struct pack *p)
{
    return p->conf.format == ARC_ZIP;
}

static enum err fail(struct pack *p, enum err e)
{
    if (p->err == ERR_OK)
        p->err = e;
    return p->err;
}

/* ---- the end of it ---- */

static void pack_free(struct pack *p)
{
    void (*gone)(void *) = p->conf.gone;
    void *arg = p->conf.arg;

    while (p->count)
        pack_slot_free(p, p->order[p->count - 1]);
    hash_drop(&p->crc);
    buf_release(&p->out);
    buf_release(&p->zip.central);
    free(p->staged);
    free(p->slots);
    free(p->order);
    free(p->spare);
    free(p);
    if (gone)
        gone(arg);
}

static void close_conf(struct pack *p)
{
    if (p->asking || p->conf_closed)
        return;
    p->conf_closed = true;
    if (p->conf.close)
        p->conf.close(p->conf.arg);
}

bool pack_call_ended(struct pack *p)
{
    bool closed = p->closed;

    p->outstanding--;
    if (p->stopped)
        close_conf(p);
    if (closed && p->outstanding == 0)
        pack_free(p);
    return closed;
}

void pack_stop(struct source *src)
{
    struct pack *p = CONTAINER(src, struct pack, source);

    p->stopped = true;
    (void)fail(p, ERR_CANCELLED);
    pack_slots_cancel(p);
    close_conf(p);
}

static void pack_close(struct source *src)
{
    struct pack *p = CONTAINER(src, struct pack, source);

    assert(!p->waiter);
    pack_stop(src);
    p->closed = true;
    if (p->outstanding == 0)
        pack_free(p);
}

/* ---- waking who waits ---- */

/* A hot store answers within the same turn of the loop: whoever waits is woken when a good piece is together, or nothing more comes by
 * itself. */
static void resume(struct pack *p);

static bool can_give(const struct pack *p)
{
    return p->err != ERR_OK || p->count == 0 || pack_ready(p);
}

static void poke_again(struct pack *p)
{
    p->poking = true;
    p->seen = p->progress;
    p->outstanding++;
    loop_defer(p->conf.loop, &p->post);
}

void pack_poke(struct pack *p)
{
    p->progress++;
    if (p->waiter && !p->inner_runs && !p->poking && !p->closed)
        poke_again(p);
}

static void on_post(struct post *post)
{
    struct pack *p = CONTAINER(post, struct pack, post);

    p->poking = false;
    if (pack_call_ended(p) || !p->waiter || p->inner_runs || !can_give(p))
        return;
    p->idle = p->progress != p->seen ? 0 : p->idle + 1;
    bool waits = p->ready_bytes < PACK_OUT && p->count;
    if (p->err == ERR_OK && waits && p->idle < WAKE_IDLE && p->hops++ < WAKE_HOPS) {
        poke_again(p);
        return;
    }
    p->idle = 0;
    p->hops = 0;
    resume(p);
}

/* ---- putting together ---- */

static uint32_t crc_of(const struct digest *d)
{
    return (uint32_t)d->b[0] << 24 | (uint32_t)d->b[1] << 16 | (uint32_t)d->b[2] << 8 | (uint32_t)d->b[3];
}

static enum err begin_member(struct pack *p, struct str name, const struct pack_slot *s)
{
    size_t before = p->out.n;
    enum err e;

    p->item = (struct pack_zip_item){.name = name,
                                     .size = s->size,
                                     .at = p->made,
                                     .mtime_s = s->mtime_s,
                                     .crc = s->crc,
                                     .crc_known = s->crc_known || s->size == 0};
    if (is_zip(p)) {
        e = pack_zip_head(&p->out, &p->item);
        hash_init(&p->crc, HASH_CRC32);
    } else {
        e = arc_tar_head(&p->out, name, s->size, s->mtime_s);
    }
    p->made += p->out.n - before;
    return e;
}

static enum err end_member(struct pack *p)
{
    size_t before = p->out.n;
    enum err e = ERR_OK;

    if (is_zip(p)) {
        struct digest d;
        hash_final(&p->crc, &d);
        if (!p->item.crc_known)
            p->item.crc = crc_of(&d);
        e = pack_zip_tail(&p->zip, &p->out, &p->item);
    } else {
        size_t n = (size_t)arc_tar_padding(p->item.size);
        char *to = buf_reserve(&p->out, n);
        if (to) {
            memset(to, 0, n);
            buf_commit(&p->out, n);
        }
    }
    p->made += p->out.n - before;
    return e != ERR_OK ? e : buf_err(&p->out);
}

static void take_crc(struct pack *p, const void *bytes, size_t n)
{
    if (is_zip(p) && !p->item.crc_known)
        hash_update(&p->crc, bytes, n);
}

/* Warm pages of a file: as sendfile would, this does not wait for a disk. */
static bool load(int fd, uint64_t at, char *to, size_t n)
{
    while (n) {
        ssize_t r = pread(fd, to, n, (off_t)at);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return false;
        to += r;
        at += (uint64_t)r;
        n -= (size_t)r;
    }
    return true;
}

/* Small content that can be had at once, without waiting. False: it is passed through. For a ZIP its CRC is found on the way. */
static bool stage_small(struct pack *p, struct pack_slot *s, struct str *content)
{
    size_t n = (size_t)s->size;
    struct span span;
    struct digest d;

    *content = STR("");
    if (s->size > PACK_COPY_MAX)
        return false;
    source_peek(s->body, &span);
    if (n && (span.len < n || (span.kind != SPAN_MEMORY && span.kind != SPAN_FILE)))
        return false;
    if (n && span.kind == SPAN_FILE) {
        if (!p->staged)
            p->staged = mem_alloc(PACK_COPY_MAX);
        if (!load(span.fd, span.offset, p->staged, n))
            return false; /* reading tells what is wrong */
        *content = str_n(p->staged, n);
    } else if (n) {
        *content = str_n(span.p, n);
    }
    if (is_zip(p) && !s->crc_known) {
        hash_of(HASH_CRC32, *content, &d);
        s->crc = crc_of(&d);
        s->crc_known = true;
    }
    return true;
}

static enum err put_empty(struct pack *p, struct str name)
{
    const struct pack_slot nothing = {.mtime_s = clock_wall_ns() / NS_PER_S};
    enum err e = begin_member(p, name, &nothing);

    return e != ERR_OK ? e : end_member(p);
}

static void drop(struct pack *p, struct pack_slot *s)
{
    if (p->conf.drop && !s->is_last && !p->stopped)
        p->conf.drop(p->conf.arg, &s->entry);
    pack_slot_free(p, s);
}

/* The content's last byte was given. */
static void end_content(struct pack *p)
{
    struct pack_slot *s = p->cur;
    enum err e = end_member(p);

    if (e != ERR_OK)
        (void)fail(p, e);
    p->cur = NULL;
    p->ending = false;
    drop(p, s);
    pack_run_ahead(p);
}

static void told(struct pack *p, struct pack_slot *s)
{
    struct str name = s->entry.name;
    enum arc_verdict v = ARC_FAIL;
    enum err e = s->err;
    struct str content;

    if (p->conf.done && !s->is_last)
        v = p->conf.done(p->conf.arg, &s->entry, s->err, s->err == ERR_OK ? s->size : 0, &name);
    if (e != ERR_OK) {
        if (v == ARC_FAIL)
            (void)fail(p, e);
        else if (v == ARC_EMPTY && (e = put_empty(p, name)) != ERR_OK)
            (void)fail(p, e);
        drop(p, s);
        return;
    }
    bool small = stage_small(p, s, &content);
    if ((e = begin_member(p, name, s)) != ERR_OK) {
        (void)fail(p, e);
        return;
    }
    p->cur = s;
    p->made += s->size;
    p->left = small ? 0 : s->size;
    if (small) {
        buf_add_str(&p->out, content);
        end_content(p);
    }
}

/* Nothing more was asked for: one more member, then the trailer. */
static void put_last(struct pack *p)
{
    struct str name, bytes;

    if (!p->last_asked && p->conf.end) {
        enum err e = p->conf.end(p->conf.arg);
        if (e != ERR_OK) {
            (void)fail(p, e);
            return;
        }
    }
    if (!p->last_asked && p->conf.last && p->conf.last(p->conf.arg, &name, &bytes)) {
        struct pack_slot *s = p->spare[--p->spares];
        s->entry = (struct arc_entry){.name = name, .bytes = bytes};
        s->is_last = true;
        s->size = bytes.n;
        s->mtime_s = clock_wall_ns() / NS_PER_S;
        s->body = source_memory(bytes, NULL, NULL);
        s->state = SLOT_READY;
        p->ready_bytes += s->size;
        p->order[p->count++] = s;
    } else {
        p->ended = true;
        enum err e = ERR_OK;
        if (is_zip(p)) {
            e = pack_zip_end(&p->zip, p->made);
        } else {
            char *to = buf_reserve(&p->out, ARC_TAR_TRAILER);
            memset(to, 0, ARC_TAR_TRAILER);
            buf_commit(&p->out, ARC_TAR_TRAILER);
        }
        if (e != ERR_OK)
            (void)fail(p, e);
    }
    p->last_asked = true;
}

/* Fills `out` with what is ready. */
static void gather(struct pack *p)
{
    struct pack_slot *s;

    while (p->err == ERR_OK && !p->cur && !p->ended && p->out.n < PACK_OUT) {
        if ((s = pack_ready(p)))
            told(p, s);
        else if (p->asked_all && p->count == 0)
            put_last(p);
        else
            break;
    }
    pack_run_ahead(p);
}

/* ---- the source ---- */

/* What there is to be given now; of `cur` SPAN_READ where its bytes must be seen. */
static void look(struct pack *p, struct span *out)
{
    *out = (struct span){.kind = SPAN_WAIT};
    for (;;) {
        if (p->out_at < p->out.n) {
            *out = (struct span){.kind = SPAN_MEMORY, .p = p->out.p + p->out_at, .len = p->out.n - p->out_at};
            return;
        }
        buf_reset(&p->out);
        p->out_at = 0;
        if (p->err != ERR_OK) {
            out->kind = SPAN_READ; /* which tells */
            return;
        }
        if (p->ending)
            return;
        if (p->cur) {
            source_peek(p->cur->body, out);
            if (out->kind == SPAN_END || out->kind == SPAN_SOCKET || (is_zip(p) && !p->item.crc_known))
                *out = (struct span){.kind = out->kind == SPAN_WAIT ? SPAN_WAIT : SPAN_READ};
            if (out->len > p->left)
                out->len = p->left;
            return;
        }
        if (p->ended) {
            *out = (struct span){
                .kind = SPAN_MEMORY, .p = p->zip.central.p + p->zip_at, .len = p->zip.central.n - p->zip_at};
            if (out->len == 0)
                out->kind = SPAN_END;
            return;
        }
        gather(p);
        if (p->out.n == 0 && !p->cur && !p->ended && p->err == ERR_OK)
            return;
    }
}

/* `n` bytes of the content were given: when they were the last, the source must have no more. */
static void given(struct pack *p, uint64_t n)
{
    struct span span;

    p->left -= n;
    if (p->left)
        return;
    source_peek(p->cur->body, &span);
    if (span.kind == SPAN_END)
        end_content(p);
    else
        p->ending = true;
}

static void pack_peek(struct source *src, struct span *out)
{
    look(CONTAINER(src, struct pack, source), out);
}

static void pack_consume(struct source *src, uint64_t n)
{
    struct pack *p = CONTAINER(src, struct pack, source);

    if (p->out_at < p->out.n) {
        p->out_at += (size_t)n;
    } else if (p->cur) {
        source_consume(p->cur->body, n);
        given(p, n);
    } else {
        p->zip_at += (size_t)n;
    }
}

static void finish(struct pack *p, enum err e)
{
    struct call *c = p->waiter;

    p->waiter = NULL;
    call_finish(c, e);
}

static void on_inner(struct call *c)
{
    struct pack *p = CONTAINER(c, struct pack, inner);
    enum err e = c->err;

    p->inner_runs = false;
    if (e != ERR_OK) {
        finish(p, e == ERR_CANCELLED ? e : fail(p, e));
        return;
    }
    if (p->probing) {
        if (p->probe_n)
            (void)fail(p, ERR_INTERNAL); /* more than it said */
        else
            end_content(p);
        p->probing = false;
        resume(p);
        return;
    }
    if (!p->buf) {
        finish(p, ERR_OK);
        return;
    }
    if (p->inner_n == 0) {
        finish(p, fail(p, ERR_INCOMPLETE_BODY));
        return;
    }
    take_crc(p, p->buf, p->inner_n);
    *p->n = p->inner_n;
    given(p, p->inner_n);
    finish(p, ERR_OK);
}

static struct call *inner(struct pack *p)
{
    p->inner_runs = true;
    call_begin(&p->inner, p->conf.loop, on_inner);
    return &p->inner;
}

static void read_content(struct pack *p)
{
    size_t want = p->left < p->len ? (size_t)p->left : p->len;

    if (is_zip(p) && !p->item.crc_known && want > PACK_COPY_MAX)
        want = PACK_COPY_MAX; /* the loop hashes it */
    source_read(p->cur->body, p->buf, want, &p->inner_n, inner(p));
}

/* Whoever waits gets what there is, or goes on waiting. */
static void resume(struct pack *p)
{
    struct span span;

    if (p->waiter->cancelled) {
        finish(p, ERR_CANCELLED);
        return;
    }
    pack_peek(&p->source, &span);
    if (p->ending) {
        p->probing = true;
        source_read(p->cur->body, &p->probe, 1, &p->probe_n, inner(p));
    } else if (p->buf && span.kind == SPAN_MEMORY && (!p->cur || p->out_at < p->out.n)) {
        *p->n = span.len < p->len ? (size_t)span.len : p->len;
        memcpy(p->buf, span.p, *p->n);
        pack_consume(&p->source, *p->n);
        finish(p, ERR_OK);
    } else if (p->buf && p->cur && p->err == ERR_OK) {
        read_content(p);
    } else if (p->err != ERR_OK) {
        finish(p, p->buf ? p->err : ERR_OK); /* who prepares is told when he reads */
    } else if (span.kind != SPAN_WAIT) {
        finish(p, ERR_OK);
    } else if (p->cur) {
        source_prepare(p->cur->body, inner(p));
    }
}

static void on_cancel(void *arg)
{
    struct pack *p = arg;

    if (p->inner_runs)
        call_cancel(&p->inner);
    else if (p->waiter)
        finish(p, ERR_CANCELLED);
}

static void begin(struct pack *p, struct call *c)
{
    assert(!p->waiter);
    p->waiter = c;
    p->hops = 0;
    call_on_cancel(c, on_cancel, p);
    if (p->waiter)
        resume(p);
}

static void pack_prepare(struct source *src, struct call *c)
{
    struct pack *p = CONTAINER(src, struct pack, source);

    p->buf = NULL;
    begin(p, c);
}

static void pack_read(struct source *src, void *buf, size_t len, size_t *n, struct call *c)
{
    struct pack *p = CONTAINER(src, struct pack, source);

    p->buf = buf;
    p->len = len;
    p->n = n;
    *n = 0;
    begin(p, c);
}

static struct pack *pack_new(const struct arc_pack_conf *conf)
{
    static const struct source_ops ops = {"pack", pack_peek, pack_consume, pack_prepare, pack_read, pack_close};
    struct pack *p = NEW(struct pack);

    p->source = (struct source){&ops, SOURCE_SIZE_UNKNOWN};
    p->conf = *conf;
    p->window = conf->window == 0 ? PACK_WINDOW : conf->window < PACK_WINDOW_MAX ? conf->window : PACK_WINDOW_MAX;
    if (p->conf.window_bytes == 0)
        p->conf.window_bytes = PACK_WINDOW_BYTES;
    p->slots = mem_new(p->window * sizeof(*p->slots));
    p->order = mem_new(p->window * sizeof(*p->order));
    p->spare = mem_new(p->window * sizeof(*p->spare));
    for (unsigned i = 0; i < p->window; i++) {
        p->slots[i].pack = p;
        p->spare[p->spares++] = &p->slots[i];
    }
    p->post.fn = on_post;
    buf_init(&p->out, OUT_MAX);
    return p;
}

struct source *arc_pack_open(const struct arc_pack_conf *conf)
{
    struct pack *p = pack_new(conf);

    if (conf->format == ARC_TAR || conf->format == ARC_ZIP)
        return &p->source;
    p->conf.format = ARC_TAR;
    return arc_encode(conf->loop, conf->cpu, conf->format, &p->source);
}
