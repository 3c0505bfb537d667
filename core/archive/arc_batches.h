/* arc_batches.h - the batches of this process: how many may run, which do, which ended a moment ago.
 *
 * Shape    a table under a lock; who answers a batch begins it here and ends it here. People look at it, and may abort one: its stream ends
 *          with an error at the next pull.
 * Errors   ERR_BUSY: as many run as may, or they need as much memory as they may; the client comes again in a moment.
 * Thread   any.
 */
#ifndef SLUICE_ARCHIVE_ARC_BATCHES_H
#define SLUICE_ARCHIVE_ARC_BATCHES_H

#include "base/arena.h"
#include "base/err.h"

enum { BATCH_ID_LEN = 12, BATCHES_KEPT = 128, BATCH_RETRY_AFTER_S = 1 };

struct arc_batches_conf {
    unsigned running_max; /* batches at a time */
    uint64_t bytes_max;   /* of memory that their windows may take together */
    uint64_t
        soft_errors_max; /* entries of one batch that may be missing although the client goes on with errors; 0: any number */
};
struct arc_batches;
struct arc_batches *arc_batches_new(const struct arc_batches_conf *conf);
/* None runs. */
void arc_batches_free(struct arc_batches *b);
const struct arc_batches_conf *arc_batches_conf(const struct arc_batches *b);

/* ---- who answers one ---- */

struct arc_batch_run;
/* `bytes`: what its window may take; `bucket`: the one in the request, may be empty. */
MUST_USE enum err arc_batches_begin(struct arc_batches *b, struct str bucket, uint64_t bytes,
                                    struct arc_batch_run **out);
/* One more entry with its bytes. */
void arc_batch_count(struct arc_batch_run *r, uint64_t bytes);
bool arc_batch_aborted(struct arc_batch_run *r);
struct str arc_batch_id(const struct arc_batch_run *r);
void arc_batches_end(struct arc_batches *b, struct arc_batch_run *r, enum err e);

/* ---- who looks ---- */

struct arc_batch_snap {
    struct str id, bucket;
    int64_t started_ns, ended_ns; /* wall clock; ended_ns 0: it runs */
    uint64_t objects, bytes;
    bool aborted;
    enum err err; /* how it ended */
};
/* All that are known, the oldest first; in the arena. */
size_t arc_batches_list(struct arc_batches *b, struct arena *arena, struct arc_batch_snap **out);
/* False: no such batch. One that has ended stays as it is. */
bool arc_batches_abort(struct arc_batches *b, struct str id);

#endif
