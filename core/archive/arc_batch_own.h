/* arc_batch_own.h - internal to arc_batch*.c.
 *
 * Thread   the loop's.
 */
#ifndef SLUICE_ARCHIVE_ARC_BATCH_OWN_H
#define SLUICE_ARCHIVE_ARC_BATCH_OWN_H

#include "archive/arc_batch.h"
#include "base/buf.h"
#include "base/op.h"

enum { BATCH_TRANSFORMS = 8 }; /* at a time: each may have ARC_RESULT_MAX in memory */

struct arc_batch_stream_conf {
    struct loop *loop;
    struct source *archive;   /* taken */
    struct str before, after; /* live as long as the stream */
    struct arc_batches *batches;
    struct arc_batch_run *run; /* ended with the stream */
};
struct source *arc_batch_stream(const struct arc_batch_stream_conf *conf);

/* The rows as entries of an archive, one after the other; lives in the arena. */
struct batch_walk {
    const struct arc_batch_req *req;
    struct arc_batch *batch;
    struct arc_batch_run *run;
    size_t row;
    uint32_t member; /* of a row that selects */
    uint64_t soft;   /* entries that are missing so far */
    struct str missing;
    struct buf status;
    bool status_open;
    enum err err;
};
/* The archive's source; `w` is filled but for what begins at zero. */
struct source *batch_walk_open(struct batch_walk *w);
/* How a row is called in the archive; `member` empty: the object itself. */
struct str batch_name(struct arena *a, const struct arc_batch *b, const struct arc_batch_row *r, struct str member);

#endif
