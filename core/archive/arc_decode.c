#include "arc_decode.h"

#include <lz4frame.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "archive/arc_lz4.h"
#include "base/mem.h"

enum { ZSTD_WINDOW_LOG_MAX = 27 }; /* 128 MiB, what the zstd program takes without being asked */

struct arc_decoder {
    enum arc_format format;
    z_stream z;
    LZ4F_dctx *lz4;
    ZSTD_DStream *zstd;
    bool between; /* frames: what comes next must begin one, or is ignored */
    bool any;     /* a frame was read to its end */
    bool ignores; /* the rest */
    bool resumes; /* the first frame may be one of which only blocks are left */
    bool strict;
    bool sum_may_follow; /* such a frame has ended */
    char first[4];
    size_t first_n;
};

struct arc_decoder *arc_decoder_new(enum arc_format format)
{
    struct arc_decoder *d = NEW(struct arc_decoder);
    bool made = true;

    d->format = format;
    d->between = true;
    switch (format) {
    case ARC_TGZ:
        made = inflateInit2(&d->z, 15 + 16) == Z_OK;
        break;
    case ARC_ZIP:
        d->between = false;
        made = inflateInit2(&d->z, -15) == Z_OK;
        break;
    case ARC_TAR_LZ4:
        made = !LZ4F_isError(LZ4F_createDecompressionContext(&d->lz4, LZ4F_VERSION));
        break;
    case ARC_TAR_ZST:
        d->zstd = ZSTD_createDStream();
        made = d->zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX));
        break;
    case ARC_TAR:
    case ARC_NONE:
        break;
    }
    if (!made)
        abort(); /* no memory */
    return d;
}

void arc_decoder_free(struct arc_decoder *d)
{
    if (!d)
        return;
    if (d->format == ARC_TGZ || d->format == ARC_ZIP)
        inflateEnd(&d->z);
    if (d->lz4)
        LZ4F_freeDecompressionContext(d->lz4);
    ZSTD_freeDStream(d->zstd);
    free(d);
}

void arc_decoder_resume(struct arc_decoder *d)
{
    d->resumes = d->format == ARC_TAR_LZ4;
}

void arc_decoder_be_strict(struct arc_decoder *d)
{
    d->strict = true;
}

bool arc_decoder_is_whole(const struct arc_decoder *d)
{
    return d->ignores || (d->any && d->between && !(d->strict && d->first_n));
}

static enum err run_zlib(struct arc_decoder *d, struct arc_decode_io *io)
{
    int code;

    d->z.next_in = (Bytef *)(uintptr_t)io->in;
    d->z.avail_in = (uInt)(io->in_n > 1 << 30 ? 1 << 30 : io->in_n);
    d->z.next_out = (Bytef *)io->out;
    d->z.avail_out = (uInt)(io->out_n > 1 << 30 ? 1 << 30 : io->out_n);
    code = inflate(&d->z, Z_NO_FLUSH);
    io->in_used = (size_t)((const char *)d->z.next_in - io->in);
    io->out_made = (size_t)((char *)d->z.next_out - io->out);
    if (code == Z_STREAM_END) {
        io->frame_ended = true;
        if (d->format == ARC_ZIP)
            d->ignores = true;
        else if (inflateReset(&d->z) != Z_OK)
            return ERR_BAD_ARCHIVE;
        return ERR_OK;
    }
    return code == Z_OK || code == Z_BUF_ERROR ? ERR_OK : ERR_BAD_ARCHIVE;
}

static enum err run_lz4(struct arc_decoder *d, struct arc_decode_io *io)
{
    size_t in = io->in_n, out = io->out_n, hint = LZ4F_decompress(d->lz4, io->out, &out, io->in, &in, NULL);

    io->in_used = in;
    io->out_made = out;
    io->frame_ended = hint == 0;
    return LZ4F_isError(hint) ? ERR_BAD_ARCHIVE : ERR_OK;
}

static enum err run_zstd(struct arc_decoder *d, struct arc_decode_io *io)
{
    ZSTD_inBuffer in = {io->in, io->in_n, 0};
    ZSTD_outBuffer out = {io->out, io->out_n, 0};
    size_t hint = ZSTD_decompressStream(d->zstd, &out, &in);

    io->in_used = in.pos;
    io->out_made = out.pos;
    io->frame_ended = hint == 0;
    return ZSTD_isError(hint) ? ERR_BAD_ARCHIVE : ERR_OK;
}

static enum err run_codec(struct arc_decoder *d, struct arc_decode_io *io)
{
    if (d->format == ARC_TAR_LZ4)
        return run_lz4(d, io);
    return d->format == ARC_TAR_ZST ? run_zstd(d, io) : run_zlib(d, io);
}

/* Whether these bytes begin a frame of the format; LZ4 and Zstandard also have frames to be skipped. */
static bool begins_frame(const struct arc_decoder *d)
{
    const unsigned char *p = (const unsigned char *)d->first;
    bool skippable = p[0] >= 0x50 && p[0] <= 0x5f && p[1] == 0x2a && p[2] == 0x4d && p[3] == 0x18;

    if (d->format == ARC_TGZ)
        return p[0] == 0x1f && p[1] == 0x8b;
    if (d->format == ARC_TAR_LZ4)
        return skippable || (p[0] == 0x04 && p[1] == 0x22 && p[2] == 0x4d && p[3] == 0x18);
    return skippable || (p[0] == 0x28 && p[1] == 0xb5 && p[2] == 0x2f && p[3] == 0xfd);
}

/* What comes next is none: a block that was jumped to, the sum behind its frame's blocks, or what is of no interest. */
static enum err run_other(struct arc_decoder *d, struct arc_decode_io *io)
{
    struct arc_decode_io head = {.in = ARC_LZ4_HEAD.p, .in_n = ARC_LZ4_HEAD.n, .out = io->out};

    if (d->resumes && !d->any) {
        d->any = d->sum_may_follow = true;
        return run_lz4(d, &head) == ERR_OK && head.in_used == head.in_n ? ERR_OK : ERR_BAD_ARCHIVE;
    }
    if (d->sum_may_follow && d->any) {
        d->sum_may_follow = false;
        d->first_n = 0;
        return ERR_OK;
    }
    d->ignores = true;
    return d->any && !d->strict ? ERR_OK : ERR_BAD_ARCHIVE;
}

/* The first bytes of a frame are looked at before the codec gets them. */
static enum err run_between(struct arc_decoder *d, struct arc_decode_io *io)
{
    size_t want = d->format == ARC_TGZ ? 2 : 4, n;
    struct arc_decode_io own = {.in = d->first, .out = io->out, .out_n = io->out_n};

    while (d->first_n < want && io->in_used < io->in_n)
        d->first[d->first_n++] = io->in[io->in_used++];
    if (d->first_n < want)
        return ERR_OK;
    if (!begins_frame(d)) {
        bool jumped = d->resumes && !d->any;
        enum err bad = run_other(d, io);
        if (bad != ERR_OK || !jumped)
            return bad;
    }
    n = d->first_n;
    d->first_n = 0;
    d->between = false;
    own.in_n = n;
    enum err e = run_codec(d, &own);
    io->out_made = own.out_made;
    return e != ERR_OK || own.in_used != n || own.frame_ended ? ERR_BAD_ARCHIVE : ERR_OK;
}

enum err arc_decoder_run(struct arc_decoder *d, struct arc_decode_io *io)
{
    enum err e;

    io->in_used = io->out_made = 0;
    io->frame_ended = false;
    if (d->ignores) {
        io->in_used = io->in_n;
        return ERR_OK;
    }
    if (d->between)
        return run_between(d, io);
    e = run_codec(d, io);
    if (e == ERR_OK && io->frame_ended)
        d->any = d->between = true;
    return e;
}
