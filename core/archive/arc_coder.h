/* arc_coder.h - bytes in, other bytes out, piece by piece: compressing, and decompressing strictly.
 *
 * Shape    arc_coder_run() takes what it can of the input and gives what fits into the output; it is called until it says that the output has
 *          ended. Compressors split LZ4 and Zstandard streams so that they can be read from within (arc_decode.h). Same bytes in, same bytes
 *          out, on every machine.
 *          A coder may be of another kind: whoever has `ops` of his own embeds it.
 * Owns     the codec's state. Memory: that of the codec; decoders refuse windows over 128 MiB.
 * Errors   ERR_BAD_ARCHIVE: not such a stream, cut short, or something follows it; ERR_TOO_LARGE: it needs more memory than that.
 * Thread   one at a time; takes as long as the bytes take: a pool's.
 * Source   RFC 1952, LZ4 frame format 1.6.2, RFC 8878, libbz2, liblzma.
 */
#ifndef SLUICE_ARCHIVE_ARC_CODER_H
#define SLUICE_ARCHIVE_ARC_CODER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct arc_coder_io {
    const char *in;
    size_t in_n, in_used;
    bool in_ended; /* nothing comes behind `in` */
    char *out;
    size_t out_n, out_made;
    bool ended; /* nothing comes behind what was made; input that is left is of no interest */
};

struct arc_coder;
struct arc_coder_ops {
    /* With output made up to out_n it may have more without more input; else it wants more input, or has ended. */
    enum err (*run)(struct arc_coder *, struct arc_coder_io *);
    /* A sentence about the last error; may be empty. May be NULL. */
    const char *(*why)(const struct arc_coder *);
    void (*free)(struct arc_coder *);
};
struct arc_coder {
    const struct arc_coder_ops *ops;
};

MUST_USE static inline enum err arc_coder_run(struct arc_coder *c, struct arc_coder_io *io)
{
    io->in_used = io->out_made = 0;
    io->ended = false;
    return c->ops->run(c, io);
}

static inline const char *arc_coder_why(const struct arc_coder *c)
{
    return c->ops->why ? c->ops->why(c) : "";
}

static inline void arc_coder_free(struct arc_coder *c)
{
    if (c)
        c->ops->free(c);
}

enum arc_codec { ARC_CODEC_NONE, ARC_CODEC_GZIP, ARC_CODEC_ZSTD, ARC_CODEC_LZ4, ARC_CODEC_BZIP2, ARC_CODEC_XZ };
enum { ARC_CODEC_MAGIC = 6 }; /* how many of the first bytes tell */

enum arc_codec arc_codec_of_magic(struct str first);
/* gzip, Zstandard, LZ4. */
struct arc_coder *arc_compressor(enum arc_codec codec);
/* Streams of several members or frames are one. `strict`: anything else behind the last is an error, not passed over. */
struct arc_coder *arc_decompressor(enum arc_codec codec, bool strict);

#endif
