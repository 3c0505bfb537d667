/* arc_decode.h - gzip, LZ4 and Zstandard streams, and raw deflate, decoded piece by piece.
 *
 * Shape    arc_decoder_run() takes what it can of the input and gives what fits into the output. Streams of several members or frames, one
 *          behind the other, are one stream; what follows the last and is none is passed over.
 * Owns     the codec's state.
 * Errors   ERR_BAD_ARCHIVE: not such a stream.
 * Thread   one at a time; takes as long as the bytes take: a pool's.
 * Source   RFC 1951, RFC 1952, LZ4 frame format 1.6.2, RFC 8878.
 */
#ifndef SLUICE_ARCHIVE_ARC_DECODE_H
#define SLUICE_ARCHIVE_ARC_DECODE_H

#include <stddef.h>

#include "archive/arc_format.h"
#include "base/err.h"

struct arc_decoder;
/* ARC_ZIP: raw deflate. */
struct arc_decoder *arc_decoder_new(enum arc_format format);
void arc_decoder_free(struct arc_decoder *d); /* NULL is legal */
/* The input begins at a restart point: a frame, or a block that does not depend on others (arc_lz4.h). */
void arc_decoder_resume(struct arc_decoder *d);

/* What follows the last frame is an error, too. */
void arc_decoder_be_strict(struct arc_decoder *d);

struct arc_decode_io {
    const char *in;
    size_t in_n, in_used;
    char *out;
    size_t out_n, out_made;
    bool frame_ended; /* at in_used; another may follow */
};
/* Neither input used nor output made: it wants more of either. */
MUST_USE enum err arc_decoder_run(struct arc_decoder *d, struct arc_decode_io *io);
/* Whether the input may end here. */
bool arc_decoder_is_whole(const struct arc_decoder *d);

#endif
