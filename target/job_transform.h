/* job_transform.h - one object of a job through ETLs into another: what copies with a transform do with each key.
 *
 * Shape    the stages of a job's spec ("etl":[{"name":"resize","args":""},...]) are read once; then job_transform() per object.
 * Owns     everything lives in the key's arena.
 * Errors   those of etl_run() and of the store; res->text is what a sidecar said.
 * Thread   the engine's loop.
 */
#ifndef SLUICE_TARGET_JOB_TRANSFORM_H
#define SLUICE_TARGET_JOB_TRANSFORM_H

#include "etl/door.h"
#include "target/job.h"

/* "etl" of a spec; ERR_INVALID_ARGUMENT with a sentence. */
MUST_USE enum err job_stages(struct arena *arena, const struct doc *spec, const struct etl_stage **stages,
                             size_t *count, char why[256]);

struct job_transform_req {
    struct arena *arena;
    const struct job_env *env;
    const struct etl_stage *stages;
    size_t stage_count;
    struct bucket_id from, to;
    struct str key, name; /* of the object, and of what becomes of it */
    bool members;         /* each member of the archive `key` for itself */
    bool dry;             /* the result is read and dropped */
    int64_t since_ns;     /* not 0: a result that is as new was made by this job already, and is kept */
};
struct job_transform_res {
    uint64_t bytes; /* of the result */
    struct str text;
};
void job_transform(const struct job_transform_req *req, struct job_transform_res *res, struct call *call);

#endif
