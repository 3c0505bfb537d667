/* job_prune.h - removes a job that has ended: its objects in the system bucket, its parts, at last its record.
 *
 * Owns     embedded in its owner; what it reads lives in `arena`.
 * Errors   those of meta; objects that can't be deleted now are left for the next try, with the record.
 * Thread   the engine's loop.
 */
#ifndef SLUICE_TARGET_JOB_PRUNE_H
#define SLUICE_TARGET_JOB_PRUNE_H

#include "target/job.h"

struct job_prune {
    const struct job_env *env;
    struct arena *arena;
    struct str id;
    /* ---- */
    struct op op;
    struct call *whole;
    struct bucket_id system;
    struct obj_list_req list_req;
    struct obj_list_res list;
    struct obj_delete_req delete_req;
    struct obj_delete_res deleted;
    struct meta_list_req at_req;
    struct meta_list_res at;
    struct meta_put_req put_req;
    struct meta_put_res put;
    uint32_t next;
};
void job_prune(struct job_prune *p, struct call *call);

#endif
