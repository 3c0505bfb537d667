#include "archive/arc_patch.h"

#include <stdlib.h>

#include "archive/arc_unpack.h"
#include "base/mem.h"
#include "store/erasure.h"
#include "store/source_chain.h"

enum { SCRATCH = 64 << 10 };

/* ---- the list ---- */

static void add(struct arc_patch *p, const struct arc_piece *piece)
{
    if (piece->len == 0)
        return;
    if (p->count == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 8;
        p->pieces = mem_realloc(p->pieces, p->cap * sizeof(*p->pieces));
    }
    p->pieces[p->count++] = *piece;
    p->size += piece->len;
}

void arc_patch_clear(struct arc_patch *p)
{
    p->count = 0;
    p->size = 0;
}

void arc_patch_old(struct arc_patch *p, uint64_t offset, uint64_t len)
{
    add(p, &(struct arc_piece){.kind = ARC_PIECE_OLD, .offset = offset, .len = len});
}

void arc_patch_bytes(struct arc_patch *p, struct str bytes)
{
    add(p, &(struct arc_piece){.kind = ARC_PIECE_BYTES, .len = bytes.n, .bytes = bytes});
}

void arc_patch_content(struct arc_patch *p)
{
    p->content_crc = (struct digest){.alg = HASH_CRC32, .n = 4}; /* of nothing */
    add(p, &(struct arc_piece){.kind = ARC_PIECE_CONTENT, .len = p->content_size});
}

void arc_patch_release(struct arc_patch *p)
{
    free(p->pieces);
    p->pieces = NULL;
    p->count = p->cap = 0;
}

/* ---- the content, exactly so many bytes of it ---- */

static void past_done(struct call *c)
{
    struct arc_patch *p = CONTAINER(c, struct arc_patch, call);

    call_finish(p->whole, c->err == ERR_OK && p->past_n ? ERR_BAD_REQUEST : c->err);
}

/* With the last byte comes the look at what is behind it: a body that goes on, or fails there, must not be committed. */
static void window_done(struct call *c)
{
    struct arc_patch *p = CONTAINER(c, struct arc_patch, call);

    if (c->err == ERR_OK) {
        hash_update(&p->crc, p->buf, *p->n);
        p->left -= *p->n;
    }
    if (c->err != ERR_OK || p->left) {
        call_finish(p->whole, c->err == ERR_OK && *p->n == 0 ? ERR_INCOMPLETE_BODY : c->err);
        return;
    }
    hash_final(&p->crc, &p->content_crc);
    call_begin(&p->call, p->loop, past_done);
    if (p->whole->cancelled)
        call_finish(&p->call, ERR_CANCELLED);
    else
        source_read(p->content, &p->past, 1, &p->past_n, &p->call);
}

static void window_cancel(void *arg)
{
    call_cancel(&((struct arc_patch *)arg)->call);
}

static void window_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct arc_patch *p = CONTAINER(s, struct arc_patch, window);

    *n = 0;
    if (p->left == 0) {
        call_finish(c, ERR_OK);
        return;
    }
    p->touched = true;
    p->buf = buf;
    p->n = n;
    p->whole = c;
    call_begin(&p->call, p->loop, window_done);
    call_on_cancel(c, window_cancel, p);
    source_read(p->content, buf, p->left < len ? (size_t)p->left : len, n, &p->call);
}

static void window_close(struct source *s)
{
    (void)s;
}

static struct source *window_open(struct arc_patch *p)
{
    static const struct source_ops ops = {"member", NULL, NULL, NULL, window_read, window_close};

    p->window = (struct source){&ops, p->content_size};
    p->left = p->content_size;
    hash_init(&p->crc, HASH_CRC32);
    return &p->window;
}

/* ---- ranges of what is unpacked ---- */

static void old_step(struct arc_patch *p);

static void old_stepped(struct call *c)
{
    struct arc_patch *p = CONTAINER(c, struct arc_patch, call);

    if (c->err != ERR_OK || p->step == 0) {
        call_finish(p->whole, c->err != ERR_OK ? c->err : ERR_BAD_ARCHIVE);
        return;
    }
    bool skipped = p->unpacked_at < p->old_at;
    p->unpacked_at += p->step;
    if (skipped) {
        old_step(p);
        return;
    }
    p->old_at += p->step;
    *p->n = p->step;
    call_finish(p->whole, ERR_OK);
}

/* What lies before the range is read and dropped. */
static void old_step(struct arc_patch *p)
{
    uint64_t skip = p->old_at - p->unpacked_at, left = p->old_end - p->old_at;

    call_begin(&p->call, p->loop, old_stepped);
    if (p->whole->cancelled)
        call_finish(&p->call, ERR_CANCELLED);
    else if (skip)
        source_read(p->unpacked, p->scratch, skip < SCRATCH ? (size_t)skip : SCRATCH, &p->step, &p->call);
    else
        source_read(p->unpacked, p->buf, left < p->len ? (size_t)left : p->len, &p->step, &p->call);
}

static void old_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct arc_patch *p = CONTAINER(s, struct arc_patch, old);

    *n = 0;
    if (p->old_at == p->old_end) {
        call_finish(c, ERR_OK);
        return;
    }
    p->buf = buf;
    p->len = len;
    p->n = n;
    p->whole = c;
    call_on_cancel(c, window_cancel, p);
    old_step(p);
}

static struct source *old_window(struct arc_patch *p, const struct arc_piece *piece)
{
    static const struct source_ops ops = {"unpacked", NULL, NULL, NULL, old_read, window_close};

    p->old = (struct source){&ops, piece->len};
    p->old_at = piece->offset;
    p->old_end = piece->offset + piece->len;
    return &p->old;
}

/* ---- the whole ---- */

static bool is_packed(const struct arc_patch *p)
{
    return p->format != ARC_TAR;
}

static void old_opened(struct call *c)
{
    struct arc_patch *p = CONTAINER(c, struct arc_patch, call);

    if (c->err == ERR_OK && is_packed(p)) {
        p->unpacked = arc_unpack(p->loop, p->cpu, p->format, p->got.body);
        p->unpacked_at = 0;
        *p->out = old_window(p, p->opening);
    } else if (c->err == ERR_OK) {
        *p->out = p->got.body;
    }
    call_finish(p->whole, c->err);
}

static void old_open(struct arc_patch *p, const struct arc_piece *piece, struct source **out, struct call *call)
{
    if (p->unpacked) {
        *out = old_window(p, piece);
        call_finish(call, ERR_OK);
        return;
    }
    p->opening = piece;
    p->get = (struct obj_get_req){{.arena = p->arena, .bucket = p->bucket, .key = p->key, .cond = COND_INIT}};
    if (!is_packed(p))
        p->get.head.range = (struct range){RANGE_FROM_TO, piece->offset, piece->offset + piece->len - 1};
    p->get.head.cond.if_match = etag_str(&p->etag);
    p->got = (struct obj_get_res){.body = NULL};
    p->out = out;
    p->whole = call;
    call_begin(&p->call, p->loop, old_opened);
    call_on_cancel(call, window_cancel, p);
    store_obj_get(p->store, &p->get, &p->got, &p->call);
}

static void chain_open(void *arg, size_t i, struct source **out, struct call *call)
{
    struct arc_patch *p = arg;
    const struct arc_piece *piece = &p->pieces[i];

    switch (piece->kind) {
    case ARC_PIECE_OLD:
        old_open(p, piece, out, call);
        return;
    case ARC_PIECE_BYTES:
        *out = source_memory(piece->bytes, NULL, NULL);
        break;
    case ARC_PIECE_CONTENT:
        *out = window_open(p);
        break;
    }
    call_finish(call, ERR_OK);
}

static void chain_close(void *arg)
{
    struct arc_patch *p = arg;

    source_close(p->unpacked);
    p->unpacked = NULL;
    free(p->scratch);
    p->scratch = NULL;
}

struct source *arc_patch_open(struct arc_patch *p)
{
    static const struct chain_ops ops = {.open = chain_open, .close = chain_close};

    if (is_packed(p))
        p->scratch = mem_alloc(SCRATCH);
    return source_chain(p->loop, p->size, p->count, &ops, p);
}
