/* job_repair.h - a damaged object of this node, made anew from another node that has the same version.
 *
 * Shape    the other members of the key are asked, at member level, until one has the very same (mtime, ETag); its bytes replace those that are
 *          here. What was replaced or deleted meanwhile is left alone, so no lock is needed.
 * Owns     a repair lives in req->arena.
 * Errors   ERR_CORRUPT: nobody else has it, or the bucket keeps one copy; ERR_UNAVAILABLE: who may have it can't be asked; those of
 *          stores.
 * Thread   the engine's loop.
 */
#ifndef SLUICE_TARGET_JOB_REPAIR_H
#define SLUICE_TARGET_JOB_REPAIR_H

#include "target/job.h"

struct job_repair_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    const struct object_info *info; /* of what is here */
};
struct job_repair_res {
    bool repaired; /* false, without an error: it is not here any more */
    uint64_t bytes;
};
void job_repair(const struct job_env *env, const struct job_repair_req *req, struct job_repair_res *res,
                struct call *call);

#endif
