#include "arc_coder.h"

#include <bzlib.h>
#include <lz4frame.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "archive/arc_decode.h"
#include "base/mem.h"

enum {
    LEVEL_GZIP =
        4, /* the first that looks for better matches: nearly as small as the default, nearly as fast as the fastest */
    LEVEL_ZSTD = 3,
    FRAME_ZSTD = 1 << 20, /* bytes of content in a frame: each can be read by itself */
    PIECE_LZ4 = 64 << 10,
    WINDOW_MAX = 128 << 20, /* as arc_decode.c has it for Zstandard */
};

enum arc_codec arc_codec_of_magic(struct str first)
{
    static const struct {
        const char *magic;
        size_t n;
        enum arc_codec codec;
    } magics[] = {{"\x1f\x8b", 2, ARC_CODEC_GZIP},
                  {"\x28\xb5\x2f\xfd", 4, ARC_CODEC_ZSTD},
                  {"\x04\x22\x4d\x18", 4, ARC_CODEC_LZ4},
                  {"BZh", 3, ARC_CODEC_BZIP2},
                  {"\xfd"
                   "7zXZ\0",
                   6, ARC_CODEC_XZ}};

    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
        if (str_starts(first, str_n(magics[i].magic, magics[i].n)))
            return magics[i].codec;
    return ARC_CODEC_NONE;
}

/* ---- gzip ---- */

struct gzip_coder {
    struct arc_coder coder;
    z_stream z;
};

static enum err gzip_run(struct arc_coder *c, struct arc_coder_io *io)
{
    z_stream *z = &CONTAINER(c, struct gzip_coder, coder)->z;
    int code;

    z->next_in = (Bytef *)(uintptr_t)io->in;
    z->avail_in = (uInt)io->in_n;
    z->next_out = (Bytef *)io->out;
    z->avail_out = (uInt)io->out_n;
    code = deflate(z, io->in_ended ? Z_FINISH : Z_NO_FLUSH);
    io->in_used = io->in_n - z->avail_in;
    io->out_made = io->out_n - z->avail_out;
    io->ended = code == Z_STREAM_END;
    return code == Z_OK || code == Z_BUF_ERROR || code == Z_STREAM_END ? ERR_OK : ERR_INTERNAL;
}

static void gzip_free(struct arc_coder *c)
{
    struct gzip_coder *g = CONTAINER(c, struct gzip_coder, coder);

    deflateEnd(&g->z);
    free(g);
}

/* zlib's own header: no name, no time. */
static struct arc_coder *gzip_new(void)
{
    static const struct arc_coder_ops ops = {gzip_run, NULL, gzip_free};
    struct gzip_coder *g = NEW(struct gzip_coder);

    g->coder.ops = &ops;
    if (deflateInit2(&g->z, LEVEL_GZIP, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        abort(); /* no memory */
    return &g->coder;
}

/* ---- Zstandard ---- */

struct zstd_coder {
    struct arc_coder coder;
    ZSTD_CCtx *ctx;
    size_t frame;         /* bytes of content in the open frame */
    bool ending, written; /* the frame is being ended; one was */
};

/* One call of the library. */
static enum err zstd_step(struct zstd_coder *z, struct arc_coder_io *io)
{
    size_t room = FRAME_ZSTD - z->frame, n = io->in_n - io->in_used < room ? io->in_n - io->in_used : room;
    ZSTD_inBuffer in = {io->in + io->in_used, n, 0};
    ZSTD_outBuffer out = {io->out, io->out_n, io->out_made};

    z->ending |= n == room || (io->in_ended && n == io->in_n - io->in_used);
    size_t left = ZSTD_compressStream2(z->ctx, &out, &in, z->ending ? ZSTD_e_end : ZSTD_e_continue);
    if (ZSTD_isError(left))
        return ERR_INTERNAL;
    io->in_used += in.pos;
    io->out_made = out.pos;
    z->frame += in.pos;
    if (z->ending && left == 0) {
        z->ending = false;
        z->written = true;
        z->frame = 0;
    }
    return ERR_OK;
}

static enum err zstd_run(struct arc_coder *c, struct arc_coder_io *io)
{
    struct zstd_coder *z = CONTAINER(c, struct zstd_coder, coder);
    enum err e = ERR_OK;

    while (e == ERR_OK && io->out_made < io->out_n) {
        bool taken = io->in_used == io->in_n;
        if (taken && io->in_ended && z->written && z->frame == 0 && !z->ending) {
            io->ended = true;
            break;
        }
        if (taken && !io->in_ended && !z->ending)
            break;
        e = zstd_step(z, io);
    }
    return e;
}

static void zstd_free(struct arc_coder *c)
{
    struct zstd_coder *z = CONTAINER(c, struct zstd_coder, coder);

    ZSTD_freeCCtx(z->ctx);
    free(z);
}

static struct arc_coder *zstd_new(void)
{
    static const struct arc_coder_ops ops = {zstd_run, NULL, zstd_free};
    struct zstd_coder *z = NEW(struct zstd_coder);

    z->coder.ops = &ops;
    z->ctx = ZSTD_createCCtx();
    if (!z->ctx || ZSTD_isError(ZSTD_CCtx_setParameter(z->ctx, ZSTD_c_compressionLevel, LEVEL_ZSTD)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(z->ctx, ZSTD_c_checksumFlag, 1)))
        abort(); /* no memory */
    return &z->coder;
}

/* ---- LZ4 ---- */

struct lz4_coder {
    struct arc_coder coder;
    LZ4F_cctx *ctx;
    char *made; /* the library wants room for all that a piece may become */
    size_t cap, at, n;
    bool begun, over;
};

static const LZ4F_preferences_t lz4_prefs = {
    .frameInfo = {LZ4F_max256KB, LZ4F_blockIndependent, LZ4F_contentChecksumEnabled, LZ4F_frame, 0, 0, 0}};

static enum err lz4_more(struct lz4_coder *z, struct arc_coder_io *io)
{
    size_t n = io->in_n - io->in_used < PIECE_LZ4 ? io->in_n - io->in_used : PIECE_LZ4, made;

    if (!z->begun) {
        made = LZ4F_compressBegin(z->ctx, z->made, z->cap, &lz4_prefs);
        z->begun = true;
    } else if (n) {
        made = LZ4F_compressUpdate(z->ctx, z->made, z->cap, io->in + io->in_used, n, NULL);
        io->in_used += n;
    } else {
        made = LZ4F_compressEnd(z->ctx, z->made, z->cap, NULL);
        z->over = true;
    }
    z->at = 0;
    z->n = LZ4F_isError(made) ? 0 : made;
    return LZ4F_isError(made) ? ERR_INTERNAL : ERR_OK;
}

static enum err lz4_run(struct arc_coder *c, struct arc_coder_io *io)
{
    struct lz4_coder *z = CONTAINER(c, struct lz4_coder, coder);
    enum err e = ERR_OK;

    while (e == ERR_OK) {
        size_t n = z->n - z->at < io->out_n - io->out_made ? z->n - z->at : io->out_n - io->out_made;
        memcpy(io->out + io->out_made, z->made + z->at, n);
        z->at += n;
        io->out_made += n;
        if (z->at < z->n)
            break;
        io->ended = z->over;
        if (z->over || (z->begun && io->in_used == io->in_n && !io->in_ended))
            break;
        e = lz4_more(z, io);
    }
    return e;
}

static void lz4_free(struct arc_coder *c)
{
    struct lz4_coder *z = CONTAINER(c, struct lz4_coder, coder);

    LZ4F_freeCompressionContext(z->ctx);
    free(z->made);
    free(z);
}

static struct arc_coder *lz4_new(void)
{
    static const struct arc_coder_ops ops = {lz4_run, NULL, lz4_free};
    struct lz4_coder *z = NEW(struct lz4_coder);

    z->coder.ops = &ops;
    z->cap = LZ4F_compressBound(PIECE_LZ4, &lz4_prefs) + LZ4F_HEADER_SIZE_MAX;
    z->made = mem_alloc(z->cap);
    if (LZ4F_isError(LZ4F_createCompressionContext(&z->ctx, LZ4F_VERSION)))
        abort(); /* no memory */
    return &z->coder;
}

struct arc_coder *arc_compressor(enum arc_codec codec)
{
    if (codec == ARC_CODEC_GZIP)
        return gzip_new();
    return codec == ARC_CODEC_ZSTD ? zstd_new() : lz4_new();
}

/* ---- what arc_decode.h reads ---- */

struct plain_decoder {
    struct arc_coder coder;
    struct arc_decoder *decoder;
};

static enum err plain_run(struct arc_coder *c, struct arc_coder_io *io)
{
    struct plain_decoder *d = CONTAINER(c, struct plain_decoder, coder);
    enum err e = ERR_OK;

    while (e == ERR_OK && io->out_made < io->out_n) {
        struct arc_decode_io one = {.in = io->in + io->in_used,
                                    .in_n = io->in_n - io->in_used,
                                    .out = io->out + io->out_made,
                                    .out_n = io->out_n - io->out_made};
        e = arc_decoder_run(d->decoder, &one);
        io->in_used += one.in_used;
        io->out_made += one.out_made;
        if (one.in_used || one.out_made)
            continue;
        io->ended = io->in_ended && io->in_used == io->in_n;
        if (io->ended && !arc_decoder_is_whole(d->decoder))
            e = ERR_BAD_ARCHIVE;
        break;
    }
    return e;
}

static void plain_free(struct arc_coder *c)
{
    struct plain_decoder *d = CONTAINER(c, struct plain_decoder, coder);

    arc_decoder_free(d->decoder);
    free(d);
}

static struct arc_coder *plain_new(enum arc_format format, bool strict)
{
    static const struct arc_coder_ops ops = {plain_run, NULL, plain_free};
    struct plain_decoder *d = NEW(struct plain_decoder);

    d->coder.ops = &ops;
    d->decoder = arc_decoder_new(format);
    if (strict)
        arc_decoder_be_strict(d->decoder);
    return &d->coder;
}

/* ---- bzip2 ---- */

struct bzip2_decoder {
    struct arc_coder coder;
    bz_stream z;
    bool strict, open, any; /* a stream is open; one was read to its end */
};

static void bzip2_begin(struct bzip2_decoder *d)
{
    memset(&d->z, 0, sizeof(d->z));
    if (BZ2_bzDecompressInit(&d->z, 0, 0) != BZ_OK)
        abort(); /* no memory */
    d->open = true;
}

static enum err bzip2_step(struct bzip2_decoder *d, struct arc_coder_io *io)
{
    d->z.next_in = (char *)(uintptr_t)(io->in + io->in_used);
    d->z.avail_in = (unsigned)(io->in_n - io->in_used);
    d->z.next_out = io->out + io->out_made;
    d->z.avail_out = (unsigned)(io->out_n - io->out_made);
    int code = BZ2_bzDecompress(&d->z);
    io->in_used = io->in_n - d->z.avail_in;
    io->out_made = io->out_n - d->z.avail_out;
    if (code == BZ_STREAM_END) {
        BZ2_bzDecompressEnd(&d->z);
        d->open = false;
        d->any = true;
    }
    return code == BZ_OK || code == BZ_STREAM_END ? ERR_OK : ERR_BAD_ARCHIVE;
}

static enum err bzip2_run(struct arc_coder *c, struct arc_coder_io *io)
{
    struct bzip2_decoder *d = CONTAINER(c, struct bzip2_decoder, coder);

    while (io->out_made < io->out_n) {
        size_t used = io->in_used, made = io->out_made;
        if (!d->open && used == io->in_n) {
            io->ended = io->in_ended;
            return io->ended && !d->any ? ERR_BAD_ARCHIVE : ERR_OK;
        }
        if (!d->open && d->any && !d->strict && io->in[used] != 'B') {
            io->in_used = io->in_n;
            continue;
        }
        if (!d->open)
            bzip2_begin(d);
        enum err e = bzip2_step(d, io);
        if (e != ERR_OK)
            return e;
        if (io->in_used == used && io->out_made == made && d->open)
            return io->in_ended && used == io->in_n ? ERR_BAD_ARCHIVE : ERR_OK;
    }
    return ERR_OK;
}

static void bzip2_free(struct arc_coder *c)
{
    struct bzip2_decoder *d = CONTAINER(c, struct bzip2_decoder, coder);

    if (d->open)
        BZ2_bzDecompressEnd(&d->z);
    free(d);
}

static struct arc_coder *bzip2_new(bool strict)
{
    static const struct arc_coder_ops ops = {bzip2_run, NULL, bzip2_free};
    struct bzip2_decoder *d = NEW(struct bzip2_decoder);

    d->coder.ops = &ops;
    d->strict = strict;
    return &d->coder;
}

/* ---- xz ---- */

struct xz_decoder {
    struct arc_coder coder;
    lzma_stream z;
};

static enum err xz_run(struct arc_coder *c, struct arc_coder_io *io)
{
    lzma_stream *z = &CONTAINER(c, struct xz_decoder, coder)->z;

    z->next_in = (const uint8_t *)io->in;
    z->avail_in = io->in_n;
    z->next_out = (uint8_t *)io->out;
    z->avail_out = io->out_n;
    lzma_ret code;
    do {
        code = lzma_code(z, io->in_ended ? LZMA_FINISH : LZMA_RUN);
    } while (code == LZMA_OK && io->in_ended && z->avail_out); /* until it has ended, or has told that it can't */
    io->in_used = io->in_n - z->avail_in;
    io->out_made = io->out_n - z->avail_out;
    io->ended = code == LZMA_STREAM_END;
    if (code == LZMA_MEMLIMIT_ERROR)
        return ERR_TOO_LARGE;
    if (code == LZMA_BUF_ERROR) /* no progress: only at the end of the input is that an error */
        return io->in_ended ? ERR_BAD_ARCHIVE : ERR_OK;
    return code == LZMA_OK || code == LZMA_STREAM_END ? ERR_OK : ERR_BAD_ARCHIVE;
}

static void xz_free(struct arc_coder *c)
{
    struct xz_decoder *d = CONTAINER(c, struct xz_decoder, coder);

    lzma_end(&d->z);
    free(d);
}

static struct arc_coder *xz_new(void)
{
    static const struct arc_coder_ops ops = {xz_run, NULL, xz_free};
    struct xz_decoder *d = NEW(struct xz_decoder);

    d->coder.ops = &ops;
    d->z = (lzma_stream)LZMA_STREAM_INIT;
    if (lzma_stream_decoder(&d->z, WINDOW_MAX, LZMA_CONCATENATED) != LZMA_OK)
        abort(); /* no memory */
    return &d->coder;
}

struct arc_coder *arc_decompressor(enum arc_codec codec, bool strict)
{
    switch (codec) {
    case ARC_CODEC_GZIP:
        return plain_new(ARC_TGZ, strict);
    case ARC_CODEC_ZSTD:
        return plain_new(ARC_TAR_ZST, strict);
    case ARC_CODEC_LZ4:
        return plain_new(ARC_TAR_LZ4, strict);
    case ARC_CODEC_BZIP2:
        return bzip2_new(strict);
    case ARC_CODEC_XZ:
        return xz_new();
    case ARC_CODEC_NONE:
        break;
    }
    return NULL;
}
