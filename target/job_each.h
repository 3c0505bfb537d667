/* job_each.h - one thing done to every object of a selection (job_select.h), several at a time, by the target that leads its key.
 *
 * Shape    names are taken in batches; of each, the keys that this target leads are given to `each`, `workers` at a time. Counts go to the job: ok,
 *          skipped (key->skipped; missing ones of a listing or template), failed. What fails is told completely, one JSON line each, in
 *          the system bucket: "jobs/<id>/report/<node>/<batch>" {"bucket","name","error","message"}; with tells_all each key:
 *          {"bucket","name","result":"ok|skipped|failed","to","bytes",...}. Busy keys are tried again, unreachable ones for a while.
 *          After each batch job->at is where to go on: "<phase>:<batch>:<job_select_at()>"; a batch that a crash cut short is done once more.
 * Owns     embedded in the kind's struct; zeroed but for the fields above the line. A key's memory is its arena.
 * Errors   those of opening and listing the selection; ERR_CONFLICT: with stop_on_error something failed. What failed in the batch
 *          that a stop cut short is counted, but not in the report.
 * Thread   the engine's loop.
 */
#ifndef SLUICE_TARGET_JOB_EACH_H
#define SLUICE_TARGET_JOB_EACH_H

#include "target/job_select.h"

enum { JOB_EACH_WORKERS = 8, JOB_EACH_WORKERS_MAX = 64, JOB_EACH_BATCH = 256 };

struct job_each_key {
    struct arena *arena;
    const struct bucket *bucket;
    struct str key;
    bool again; /* an earlier process may have done it already: how far it came is only known roughly */
    /* set by `each` */
    bool skipped;    /* nothing had to be done */
    uint64_t bytes;  /* moved */
    struct str to;   /* what came of it is called so; empty: nothing to be told */
    struct str text; /* of a failure: more than its error says; empty: none */
};
struct job_each_worker {
    struct op op;
    struct job_each *each;
    struct group_call *member;
    struct arena arena;
    struct job_each_key key;
    unsigned tries;
};
struct job_each {
    struct job *job;
    const struct doc *spec; /* the selection; the job's spec when NULL */
    void (*each)(void *arg, struct job_each_key *key, struct call *call);
    void *arg;
    unsigned workers;   /* 0 = JOB_EACH_WORKERS */
    bool stop_on_error; /* the first failure is the job's end */
    bool cached;        /* prefixes: only what is here (job_select.h) */
    bool whoever;       /* names that other targets lead, too */
    bool tells_all;     /* the report has every key, not only those that failed */
    char phase;         /* a letter: which of a kind's passes this is; 0 = 'a' */
    /* ---- */
    struct op op;
    struct call *whole;
    struct job_select select;
    bool is_open, resumed, at_end, failed;
    unsigned tries;
    uint64_t batch;     /* its number */
    struct arena arena; /* of the batch */
    struct str name;
    struct str keys[JOB_EACH_BATCH];
    unsigned count, next;
    struct call_group group;
    struct group_call members[JOB_EACH_WORKERS_MAX];
    struct job_each_worker all_workers[JOB_EACH_WORKERS_MAX];
    struct buf report; /* of the batch */
    struct system_bucket_res system;
    struct obj_put_req put_req;
    struct obj_put_res put;
    struct body_check check;
    struct source *body;
};
void job_each_run(struct job_each *e, struct call *whole);
/* What a pass ended with becomes the job's end: ERR_CANCELLED is JOB_STOPPED, other errors JOB_FAILED, with the error among the job's. */
void job_each_end(struct job *job, enum err e);
/* The phase that an earlier process was in; 'a' when there was none. */
char job_each_phase(const struct job *job);

/* Members of specs that several kinds have. */
bool job_spec_flag(const struct doc *spec, struct str name);
struct str job_spec_text(const struct doc *spec, struct str name);
uint64_t job_spec_number(const struct doc *spec, struct str name, uint64_t otherwise);
/* Whether all members of the spec are known: `names` ends with NULL. Else `why` says which is not. */
MUST_USE enum err job_spec_known(const struct doc *spec, const char *const *names, char why[256]);

#endif
