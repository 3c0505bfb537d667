/* arc_edit_own.h - internal to arc_edit*.c: one change under way.
 *
 * Shape    arc_edit.c finds out what there is and how to change it: TARs are patched, compressed ones on their way through decoder and encoder.
 *          arc_edit_zip.c makes the new bytes of a ZIP; arc_edit_index.c the index of a TAR that was spliced.
 * Thread   the loop's.
 */
#ifndef SLUICE_ARCHIVE_ARC_EDIT_OWN_H
#define SLUICE_ARCHIVE_ARC_EDIT_OWN_H

#include "archive/arc_edit.h"
#include "archive/arc_pack.h"
#include "archive/arc_patch.h"
#include "archive/arc_turn.h"
#include "base/op.h"

enum {
    EDIT_BUFFER_MAX = 256 << 10, /* content up to this is in memory, so that a change can be tried again */
    EDIT_PACK_MAX = 32 << 20,    /* of formats that are packed anew all content is */
    EDIT_ZIP_MAX = 32 << 20,     /* that of a ZIP always is */
    EDIT_TRIES_MAX = 16,
};

struct edit_op {
    struct op op;
    const struct arc_edit_req *req;
    struct arc_edit_res *res;
    struct call *whole;
    struct store *store;
    struct str member; /* without a leading "/" or "./" */
    enum arc_format format;
    /* the content */
    struct source *buffered; /* its own, of `bytes` */
    char *bytes;
    size_t got;
    struct source_fill fill;
    /* what there is */
    struct arc_turn turn;
    struct obj_head_req head_req;
    struct obj_head_res head;
    bool exists;
    struct arcs_look_req look_req;
    struct arcs_look_res look;
    unsigned tries;
    /* the change */
    struct buf header;
    struct arc_patch patch;
    uint64_t end, new_end; /* of the members of the TAR as it is, and as it will be */
    uint64_t offset, cut;  /* of one splice */
    bool one;              /* one splice is enough */
    int64_t mtime_s;       /* of the new member */
    struct offload_task task;
    struct arc_index *index; /* of the new archive */
    struct body_check check;
    struct source *body;
    struct obj_splice_req splice_req;
    struct obj_splice_res spliced;
    struct obj_put_req put_req;
    struct obj_put_res put;
    /* a ZIP that is packed anew */
    uint32_t at; /* the next member */
    bool added;
};

static inline bool edit_deletes(const struct edit_op *e)
{
    return e->req->change == ARC_DELETE;
}
/* Members of that name go. */
static inline bool edit_removes(const struct edit_op *e)
{
    return e->req->change == ARC_DELETE || e->req->change == ARC_REPLACE;
}

/* After a splice: e->index becomes that of the archive as it is now, where it follows from the former one. */
void edit_index(struct edit_op *e, struct call *call);
void edit_index_keep(struct edit_op *e);
/* Makes e->body, the bytes of the new ZIP; e->look is filled when there is an old one. Tells e->res->why on error. */
MUST_USE enum err edit_repack(struct edit_op *e);

#endif
