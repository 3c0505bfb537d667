/* arc_lz4.h - where an LZ4 stream can be read from: the borders of blocks that do not depend on those before.
 *
 * Shape    a walk is given the stream's bytes and stops before each such block. Frames whose blocks carry sums of their own or need a
 *          dictionary have none. The bytes are not judged: the codec does that.
 *          A block is read through a frame header made up for it, ARC_LZ4_HEAD. A sum of a frame's content may follow the blocks then.
 * Thread   any; pure.
 * Source   LZ4 frame format 1.6.2.
 */
#ifndef SLUICE_ARCHIVE_ARC_LZ4_H
#define SLUICE_ARCHIVE_ARC_LZ4_H

#include "base/str.h"

/* Independent blocks of up to 4 MiB, no sums. */
#define ARC_LZ4_HEAD STR("\x04\x22\x4d\x18\x60\x70\x73")

enum arc_lz4_state {
    WALK_MAGIC,
    WALK_FLAGS,
    WALK_HEAD_REST,
    WALK_BLOCK_HEAD,
    WALK_BLOCK,
    WALK_SUM,
    WALK_SKIP_HEAD,
    WALK_LOST
};

/* All zeros is the begin of a stream. */
struct arc_lz4_walk {
    enum arc_lz4_state state;
    unsigned char field[4]; /* gathered when the state is about a number */
    size_t field_n;
    uint64_t left; /* bytes to pass over */
    bool independent, block_sums, content_sum;
};
/* How many of the bytes belong before the next border, maybe all; *border: one is there. */
size_t arc_lz4_walk(struct arc_lz4_walk *w, const char *p, size_t n, bool *border);

#endif
