/* native_batches.h - the batches of this process as jobs of kind "get-batch", for what lists, waits for and aborts jobs.
 *
 * Shape    the table itself is archive/arc_batches.h, shared with S3's batches; ids are BATCH_ID_LEN hex digits, of no other kind of job.
 * Thread   any.
 */
#ifndef SLUICE_GATEWAY_NATIVE_BATCHES_H
#define SLUICE_GATEWAY_NATIVE_BATCHES_H

#include "archive/arc_batches.h"
#include "gateway/native.h"

/* The oldest first; in the arena. */
static inline size_t native_batches_list(const struct native_env *env, struct arena *arena, struct arc_batch_snap **out)
{
    return arc_batches_list(env->s3->batches, arena, out);
}
/* False: no such batch. */
static inline bool native_batches_abort(const struct native_env *env, struct str id)
{
    return arc_batches_abort(env->s3->batches, id);
}

#endif
