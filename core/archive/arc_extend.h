/* arc_extend.h - the index of a TAR that was appended to, from that of an earlier state: only what is new is read.
 *
 * Shape    an append is a splice at the end of the members, and the ETag of what a splice makes follows from the one before and the bytes that
 *          it brought (etag_splice()). So the new bytes prove by themselves that they were appended, one member at a time, to the state
 *          that the old index tells of. Anything else is no proof: then the archive is read as a whole.
 * Errors   ERR_NOT_FOUND: not so; errors of the store.
 * Thread   the loop's.
 */
#ifndef SLUICE_ARCHIVE_ARC_EXTEND_H
#define SLUICE_ARCHIVE_ARC_EXTEND_H

#include "archive/arc_scan.h"

#define ARC_EXTEND_MAX (UINT64_C(32) << 20) /* new bytes that are looked at */

struct arc_extend_req {
    struct arena *arena;
    struct store *store;
    struct offload *cpu;
    struct bucket_id bucket;
    struct str key;
    struct arc_index *old;   /* of an earlier state */
    struct object_info info; /* the state that is wanted */
};
struct arc_extend_res {
    struct arc_index *index; /* one reference, the caller's; its object is set */
    uint32_t appended;       /* members that the old one lacks */
};
/* Whether it is worth a try. */
bool arc_may_extend(const struct arc_index *old, const struct object_info *info);
void arc_extend(const struct arc_extend_req *req, struct arc_extend_res *res, struct call *call);

#endif
