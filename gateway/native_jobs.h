/* native_jobs.h - jobs as AIStore's clients see them: which kinds there are, what a snapshot is, and starting one.
 *
 * Shape    a kind has AIStore's name, the one it is displayed by, and the name of the engine's kind (store/jobs.h). What is told is made of
 *          job_look() of the whole cluster; batches, which the engine doesn't know, are added.
 * Owns     everything lives in the request's arena.
 * Thread   the loop's.
 */
#ifndef SLUICE_GATEWAY_NATIVE_JOBS_H
#define SLUICE_GATEWAY_NATIVE_JOBS_H

#include "gateway/native_request.h"
#include "store/system.h"

struct native_job_kind {
    const char *name, *display;
    const char *engine; /* NULL: there are no such jobs here */
    bool startable;     /* by `start`, without more than buckets */
    bool idles;         /* clients wait for it to be idle rather than to end */
};
/* By AIStore's name or the displayed one; NULL: unknown. */
const struct native_job_kind *native_job_kind_find(struct str name);
/* By the engine's name; NULL: AIStore has no such jobs. */
const struct native_job_kind *native_job_kind_of(struct str engine);

/* Members of a snapshot: RFC 3339 with milliseconds (0: Go's zero time), and a bucket of ours as a Bck. */
void native_time_json(struct buf *b, const char *name, uint64_t ms);
void native_own_bucket_json(struct buf *b, const char *name, struct str own);

/* Whether GET /cluster asks for jobs; then its first step is native_jobs_query. */
bool native_jobs_asks(struct str what);
step_fn native_jobs_query;
/* Of GET /jobs/ID/report. */

/* "copy-list-x3k9..." */
struct str native_job_id(struct arena *a, const char *prefix);
/* A job that an operation starts. `spec` is an open JSON object when names have been added; native_job_start() closes it. */
struct native_job {
    const char *engine;
    struct str id;
    struct buf spec;
    struct job_start_req req;
    struct job_start_res res;
};
/* `spec` is open then: {"bucket":... */
void native_job_begin(struct native_request *r, struct native_job *j, const char *engine, struct str bucket);
void native_job_text(struct native_job *j, const char *name, struct str value);
void native_job_number(struct native_job *j, const char *name, uint64_t value);
void native_job_flag(struct native_job *j, const char *name, bool value);
void native_job_start(struct native_request *r, struct native_job *j, struct call *call);
/* Ends the operation behind native_job_start(): the answer is the id as text, or why there is no job. */
enum step_next native_job_answer(struct op *op, const struct native_job *j);
/* The call's error as the native API tells it. */
enum err native_job_refused(struct native_request *r, const struct native_job *j, enum err e);

#endif
