/* splice_plan.h - which ranges of segments an object consists of after a splice, and which of them are better written anew.
 *
 * Shape    splice_plan_init() from the old record, splice_plan_decide() once the size of the body is known; then the caller writes what the
 *          plan says, and splice_plan_finish() with the segments that were made. A small result is written anew whole. Otherwise pieces that were
 *          appended one by one are put together in growing portions, so that each byte is written anew a few times at most (once for each
 *          8-fold of what was appended, never in portions of more than SPLICE_MERGE_MAX), and an object stays at some dozens of pieces; one that was
 *          cut up all over at about SPLICE_PIECES.
 * Units    bytes of content.
 * Errors   ERR_NOT_IMPLEMENTED: more pieces than a manifest takes. ERR_CORRUPT: the record or manifest.
 * Thread   pure.
 */
#ifndef SLUICE_TARGET_SPLICE_PLAN_H
#define SLUICE_TARGET_SPLICE_PLAN_H

#include "target/engine.h"

enum {
    SPLICE_WHOLE_MAX = 64 << 10, /* results up to this are written anew; bodies up to this wait in memory */
    SPLICE_PIECES = 1000,        /* more are not wanted */
    SPLICE_RUN = 32,             /* pieces that become one when there are too many */
    SPLICE_TAIL = 16,            /* pieces at the end, at least, that are put together */
    SPLICE_GROWTH = 8,           /* ... to something that many times as large as the largest of them */
};
#define SPLICE_MERGE_MAX (UINT64_C(64) << 20)

struct splice_pieces {
    struct extent *list;
    size_t count, cap;
};

struct splice_plan {
    uint64_t size, offset, cut; /* of the old object */
    struct splice_pieces old;
    bool bare; /* the old content is in the index: nothing of it can be referred to */
    /* decided */
    bool whole;                    /* prefix, body, suffix become one segment, or inline bytes */
    uint64_t merge_from, merge_to; /* of the old object's content: written anew, in front of a body that is in memory */
    /* finished */
    struct splice_pieces pieces;
    struct txn_share *shares;
    size_t share_count;
};

MUST_USE enum err splice_plan_init(struct splice_plan *p, const struct hot *from, uint64_t offset, uint64_t cut);
void splice_plan_decide(struct splice_plan *p, uint64_t body_size);
/* `body`: where the body is, len 0: nowhere. `fresh`: the segment of what was written anew, when there is any; a body in memory is at its
 * end, and `body` says so. */
MUST_USE enum err splice_plan_finish(struct splice_plan *p, const struct extent *body, const struct segment_id *fresh);
void splice_plan_release(struct splice_plan *p);

#endif
