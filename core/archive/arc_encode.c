/* A stream compressed on the pool: blocks that can be decompressed each by itself, several at a time, in one .tgz, .tar.lz4 or .tar.zst.
 *
 * gzip: one member (Python's streaming tarfile reads no second one) of deflate blocks that end in a full flush, so that decompression can
 * begin behind any of them. LZ4: one frame of independent blocks. Zstandard: a frame for each block.
 */
#include <assert.h>
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "archive/arc_pack_own.h"
#include "base/mem.h"

enum {
    BLOCKS = 4,
    BLOCK_TGZ = 1 << 20,
    BLOCK_ZST = 1 << 20,
    BLOCK_LZ4 = 256 << 10,
    EDGE_MAX = 16, /* bytes of what stands before the first block and behind the last */
    LEVEL_ZST = 1,
    TGZ_SLACK = 64 << 10, /* what incompressible bytes may take more */
};
#define LZ4_STORED 0x80000000u

enum block_state { BLOCK_EMPTY, BLOCK_FILLS, BLOCK_ENCODES, BLOCK_READY };

struct encode;
struct block {
    struct offload_task task;
    struct call call;
    struct encode *encode;
    enum block_state state;
    struct source_fill fill;
    char *in, *out;
    void *work; /* the compressor's */
    size_t in_n, out_n, out_cap;
    uint32_t crc;
    bool last; /* nothing comes behind it */
};

struct encode {
    struct source source, *inner;
    struct loop *loop;
    struct offload *cpu;
    enum arc_format format;
    size_t step; /* bytes of a block */
    struct block blocks[BLOCKS];
    unsigned give, fill; /* blocks in turn */
    bool filling, filled, closed, over;
    unsigned outstanding;
    enum err err;
    size_t at; /* in blocks[give].out */
    char edge[EDGE_MAX];
    size_t edge_n, edge_at;
    uint32_t crc;
    uint64_t total;
    struct call *waiter;
    void *buf; /* NULL: a prepare */
    size_t len, *n;
};

/* ---- the formats ---- */

static void le32(char *to, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        to[i] = (char)(v >> 8 * i);
}

static void first_edge(struct encode *e)
{
    static const char gzip[] = "\x1f\x8b\x08\0\0\0\0\0\x04\x03"; /* RFC 1952: deflate, fastest, Unix */
    static const char lz4[] = "\x04\x22\x4d\x18\x60\x50\xfb";    /* version 1, independent blocks of at most 256 KiB */

    if (e->format == ARC_TGZ)
        memcpy(e->edge, gzip, e->edge_n = sizeof(gzip) - 1);
    else if (e->format == ARC_TAR_LZ4)
        memcpy(e->edge, lz4, e->edge_n = sizeof(lz4) - 1);
}

static void last_edge(struct encode *e)
{
    e->edge_at = e->edge_n = 0;
    if (e->format == ARC_TGZ) {
        memcpy(e->edge, "\x03\0", 2); /* an empty last block */
        le32(e->edge + 2, e->crc);
        le32(e->edge + 6, (uint32_t)e->total);
        e->edge_n = 10;
    } else if (e->format == ARC_TAR_LZ4) {
        le32(e->edge, 0);
        e->edge_n = 4;
    }
}

/* ISA-L's deflate: several times as fast as zlib's fastest, and it compresses as well as that. */
static enum err encode_tgz(struct block *b)
{
    struct isal_zstream z;

    if (!b->work)
        b->work = mem_alloc(ISAL_DEF_LVL1_DEFAULT);
    isal_deflate_init(&z);
    z.next_in = (uint8_t *)b->in;
    z.avail_in = (uint32_t)b->in_n;
    z.next_out = (uint8_t *)b->out;
    z.avail_out = (uint32_t)b->out_cap;
    z.level = 1;
    z.level_buf = b->work;
    z.level_buf_size = ISAL_DEF_LVL1_DEFAULT;
    z.flush = FULL_FLUSH;
    b->crc = crc32_gzip_refl(0, (const unsigned char *)b->in, b->in_n);
    if (isal_deflate(&z) != COMP_OK || z.avail_in > 0 || z.avail_out == 0)
        return ERR_INTERNAL;
    b->out_n = z.total_out;
    return ERR_OK;
}

static enum err encode_lz4(struct block *b)
{
    int n = LZ4_compress_default(b->in, b->out + 4, (int)b->in_n, (int)b->out_cap - 4);

    if (n > 0 && (size_t)n < b->in_n) {
        le32(b->out, (uint32_t)n);
        b->out_n = (size_t)n + 4;
    } else {
        memcpy(b->out + 4, b->in, b->in_n);
        le32(b->out, (uint32_t)b->in_n | LZ4_STORED);
        b->out_n = b->in_n + 4;
    }
    return ERR_OK;
}

static enum err encode_zst(struct block *b)
{
    size_t n = ZSTD_compress(b->out, b->out_cap, b->in, b->in_n, LEVEL_ZST);

    if (ZSTD_isError(n))
        return ERR_INTERNAL;
    b->out_n = n;
    return ERR_OK;
}

static enum err encode_block(struct offload_task *t)
{
    struct block *b = CONTAINER(t, struct block, task);

    if (b->encode->format == ARC_TGZ)
        return encode_tgz(b);
    return b->encode->format == ARC_TAR_LZ4 ? encode_lz4(b) : encode_zst(b);
}

static size_t out_cap(enum arc_format format, size_t n)
{
    if (format == ARC_TGZ)
        return compressBound((uLong)n) + TGZ_SLACK;
    return format == ARC_TAR_LZ4 ? (size_t)LZ4_compressBound((int)n) + 4 : ZSTD_compressBound(n);
}

/* ---- blocks, in turn ---- */

static void encode_free(struct encode *e)
{
    source_close(e->inner);
    for (int i = 0; i < BLOCKS; i++) {
        free(e->blocks[i].in);
        free(e->blocks[i].out);
        free(e->blocks[i].work);
    }
    free(e);
}

static void wake(struct encode *e);
static void fill_next(struct encode *e);

/* True: it was closed meanwhile. */
static bool call_ended(struct encode *e)
{
    bool closed = e->closed;

    e->outstanding--;
    if (closed && e->outstanding == 0)
        encode_free(e);
    return closed;
}

static struct call *block_call(struct block *b, enum block_state state, void (*done)(struct call *))
{
    b->state = state;
    b->encode->outstanding++;
    call_begin(&b->call, b->encode->loop, done);
    return &b->call;
}

static void on_encoded(struct call *c)
{
    struct block *b = CONTAINER(c, struct block, call);
    struct encode *e = b->encode;
    enum err why = c->err;

    b->state = BLOCK_READY;
    if (call_ended(e))
        return;
    if (why != ERR_OK && e->err == ERR_OK)
        e->err = why;
    wake(e);
}

static void on_filled(struct call *c)
{
    struct block *b = CONTAINER(c, struct block, call);
    struct encode *e = b->encode;
    enum err why = c->err;

    e->filling = false;
    if (call_ended(e))
        return;
    if (why != ERR_OK) {
        e->err = why;
        wake(e);
        return;
    }
    b->last = e->filled = b->in_n < e->step;
    b->out_n = 0;
    e->fill = (e->fill + 1) % BLOCKS;
    if (b->in_n) {
        offload_run(e->cpu, &b->task, encode_block, block_call(b, BLOCK_ENCODES, on_encoded));
    } else {
        b->state = BLOCK_READY;
        wake(e);
    }
    fill_next(e);
}

static void fill_next(struct encode *e)
{
    struct block *b = &e->blocks[e->fill];

    if (e->filling || e->filled || e->err != ERR_OK || b->state != BLOCK_EMPTY)
        return;
    if (!b->in) {
        b->in = mem_alloc(e->step);
        b->out_cap = out_cap(e->format, e->step);
        b->out = mem_alloc(b->out_cap);
    }
    e->filling = true;
    source_fill(&b->fill, e->inner, b->in, e->step, &b->in_n, block_call(b, BLOCK_FILLS, on_filled));
}

/* ---- the source ---- */

static void block_given(struct encode *e)
{
    struct block *b = &e->blocks[e->give];

    if (e->format == ARC_TGZ)
        e->crc = (uint32_t)crc32_combine(e->crc, b->crc, (z_off_t)b->in_n);
    e->total += b->in_n;
    e->over = b->last;
    b->state = BLOCK_EMPTY;
    b->crc = 0;
    e->give = (e->give + 1) % BLOCKS;
    e->at = 0;
    if (e->over)
        last_edge(e);
}

static void encode_peek(struct source *s, struct span *out)
{
    struct encode *e = CONTAINER(s, struct encode, source);

    fill_next(e);
    for (;;) {
        struct block *b = &e->blocks[e->give];
        *out = (struct span){.kind = SPAN_WAIT};
        if (e->edge_at < e->edge_n)
            *out = (struct span){.kind = SPAN_MEMORY, .p = e->edge + e->edge_at, .len = e->edge_n - e->edge_at};
        else if (e->over)
            out->kind = SPAN_END;
        else if (e->err != ERR_OK)
            out->kind = SPAN_READ;
        else if (b->state == BLOCK_READY && e->at < b->out_n)
            *out = (struct span){.kind = SPAN_MEMORY, .p = b->out + e->at, .len = b->out_n - e->at};
        if (out->kind != SPAN_WAIT || b->state != BLOCK_READY)
            return;
        block_given(e);
        fill_next(e);
    }
}

static void encode_consume(struct source *s, uint64_t n)
{
    struct encode *e = CONTAINER(s, struct encode, source);

    if (e->edge_at < e->edge_n)
        e->edge_at += (size_t)n;
    else
        e->at += (size_t)n;
}

static void finish(struct encode *e, enum err why)
{
    struct call *c = e->waiter;

    e->waiter = NULL;
    call_finish(c, why);
}

static void wake(struct encode *e)
{
    struct span span;

    if (!e->waiter)
        return;
    encode_peek(&e->source, &span);
    if (span.kind == SPAN_WAIT)
        return;
    if (e->buf && span.kind == SPAN_MEMORY) {
        *e->n = span.len < e->len ? (size_t)span.len : e->len;
        memcpy(e->buf, span.p, *e->n);
        encode_consume(&e->source, *e->n);
    }
    finish(e, span.kind == SPAN_READ && e->buf ? e->err : ERR_OK);
}

static void on_cancel(void *arg)
{
    if (((struct encode *)arg)->waiter)
        finish(arg, ERR_CANCELLED);
}

static void begin(struct encode *e, struct call *c)
{
    assert(!e->waiter);
    e->waiter = c;
    call_on_cancel(c, on_cancel, e);
    wake(e);
}

static void encode_prepare(struct source *s, struct call *c)
{
    struct encode *e = CONTAINER(s, struct encode, source);

    e->buf = NULL;
    begin(e, c);
}

static void encode_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct encode *e = CONTAINER(s, struct encode, source);

    e->buf = buf;
    e->len = len;
    e->n = n;
    *n = 0;
    begin(e, c);
}

static void encode_close(struct source *s)
{
    struct encode *e = CONTAINER(s, struct encode, source);

    assert(!e->waiter);
    e->closed = true;
    e->outstanding++;
    if (e->filling) {
        pack_stop(e->inner);
        call_cancel(&e->blocks[e->fill].call);
    } else {
        source_close(e->inner);
        e->inner = NULL;
    }
    (void)call_ended(e);
}

struct source *arc_encode(struct loop *loop, struct offload *cpu, enum arc_format format, struct source *inner)
{
    static const struct source_ops ops = {"encode",       encode_peek, encode_consume,
                                          encode_prepare, encode_read, encode_close};
    struct encode *e = NEW(struct encode);

    e->source = (struct source){&ops, SOURCE_SIZE_UNKNOWN};
    e->inner = inner;
    e->loop = loop;
    e->cpu = cpu;
    e->format = format;
    e->step = format == ARC_TGZ ? BLOCK_TGZ : format == ARC_TAR_LZ4 ? BLOCK_LZ4 : BLOCK_ZST;
    for (int i = 0; i < BLOCKS; i++)
        e->blocks[i].encode = e;
    first_edge(e);
    return &e->source;
}
