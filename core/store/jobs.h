/* jobs.h - jobs as those see them who start, stop and look at them. What runs them is target/job.h.
 *
 * Shape    a table of functions that the process is given; on top of meta, so that no target needs to be there.
 * Owns     results live in req->arena.
 * Errors   ERR_NOT_FOUND: no such job; ERR_INVALID_ARGUMENT: no such kind, or not by people, or its spec is wrong; ERR_CONFLICT: one of that
 *          kind runs; ERR_UNAVAILABLE: meta.
 * Thread   the loop's.
 */
#ifndef SLUICE_STORE_JOBS_H
#define SLUICE_STORE_JOBS_H

#include "store/meta.h"

struct job_start_req {
    struct arena *arena;
    struct str kind;
    struct str id; /* empty: a new one is made */
    struct str
        spec; /* JSON object; empty: {}. At most JOB_SPEC_MAX bytes: longer lists go into an object, job_names.h */
    struct str started_by;
    bool ended; /* it is done already, and had no kind of its own: only the record is made that clients look at */
};
enum { JOB_SPEC_MAX = 256 << 10 };
struct job_start_res {
    struct str id;
    char why[256]; /* on ERR_INVALID_ARGUMENT: a sentence */
};
struct job_stop_req {
    struct arena *arena;
    struct str id;
};
/* A JSON text about one job, or {"jobs":[...]} of all when `id` is empty: those without the long lists of their specs, and only with `parts`
 * with what each node has done. */
struct job_look_req {
    struct arena *arena;
    struct str id;
    bool parts;
};
struct job_look_res {
    struct str json;
};

struct jobs_ops {
    void (*start)(struct meta *meta, const struct job_start_req *req, struct job_start_res *res, struct call *call);
    void (*stop)(struct meta *meta, const struct job_stop_req *req, struct call *call);
    void (*look)(struct meta *meta, const struct job_look_req *req, struct job_look_res *res, struct call *call);
};

#endif
