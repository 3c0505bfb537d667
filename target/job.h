/* job.h - work in the background, on all targets of a cluster at once: start, look, stop, go on after a restart.
 *
 * Shape    a job is a record in meta, "job/<id>": {"format":1,"kind","id","spec":{...},"created_ms","stop":bool,"started_by","state","ended_ms"};
 *          every target that follows it (jobs_open()), or the one machine, runs its part on a loop of its own, and keeps "job_at/<id>/<node>": {"state","ok","failed",
 *          "skipped","bytes","at","note","errors":[first few, by name],"began_ms","ended_ms"}: about once a second while it changes, and at the
 *          end. `at` is where to go on: a kind's own text. The job has ended when all targets of the map have ended their parts. What a client
 *          sees is the snapshot made of these records (job_look()), nothing else. Those that have ended are kept for an hour, at most
 *          JOBS_KEPT, and the last JOBS_KEPT_LONG longer; "jobs/<id>/..." in the system bucket goes with them.
 *          A kind is one row in job_kinds.c and one file. A spec with "node" is for that target alone.
 * Owns     the engine owns its thread; env->loop and the handles on it are the caller's, who closes them after jobs_close().
 * Errors   ERR_NOT_FOUND: no such job; ERR_INVALID_ARGUMENT: no such kind, or not by people; ERR_CONFLICT: one of that kind runs;
 *          ERR_UNAVAILABLE: meta.
 * Thread   jobs_open/close: main. Kinds run on the engine's loop.
 */
#ifndef SLUICE_TARGET_JOB_H
#define SLUICE_TARGET_JOB_H

#include "archive/arcs.h"
#include "etl/door.h"
#include "base/doc.h"
#include "base/op.h"
#include "store/bucket_conf.h"
#include "store/buckets.h"
#include "store/jobs.h"
#include "store/members.h"
#include "store/remote.h"
#include "target/local.h"

enum {
    JOB_ID_MAX = 64,
    JOB_AT_MAX = 4096,
    JOB_NOTE_MAX = 256,
    JOB_ERRORS_MAX = 16,
    JOBS_MAX = 4000,
    JOBS_KEPT = 1000,
    JOBS_KEPT_LONG = 100
};

enum job_state { JOB_RUNNING, JOB_DONE, JOB_FAILED, JOB_STOPPED };

/* What a kind works with; all are of the engine's loop. */
struct moving;
struct redundant;
struct job_env {
    struct loop *loop;
    struct store *mine;       /* this target's own */
    struct store *moving;     /* moving.h, for moving_settle(); NULL where nothing moves (one machine) */
    struct store *redundant;  /* redundant.h, for redundant_settle(); the same */
    struct redundant *engine; /* for redundant_clean() */
    struct store *all;        /* the whole cluster as clients see it: shard.h, behind backend.h */
    struct remote_env remote; /* to ask one other target */
    struct local *local;
    struct members *members; /* NULL on one machine */
    struct arcs *arcs;       /* over `all`; NULL: archives can't be looked into */
    struct etl_door *door;   /* objects through ETLs; NULL: there are none here */
    struct buckets *buckets;
    struct bucket_confs *confs; /* their documents */
    struct meta *meta;
    struct offload *io, *cpu;
    struct str self;
    struct str promote_dirs; /* directories that promote may read, separated by ':'; empty: none */
    uint64_t began_ms;       /* when this process began: jobs that are its own are named by it */
    uint64_t bytes_per_s;    /* what jobs of this node may move together; 0 = no limit */
    struct job_space {       /* of the data directories */
        const struct str *dirs;
        size_t dir_count;
        unsigned low, high; /* percent: beyond `high` cached objects are evicted until `low` */
    } space;
    int64_t lifecycle_day_s; /* how long a day of lifecycle rules is; 0 = 24 hours */
    bool download_private;   /* downloads may come from addresses of this machine and its networks */
};

struct job_counts {
    uint64_t ok, failed, skipped, bytes;
};
/* One job's part at this node while it runs; embedded in the kind's own struct. */
struct job {
    const struct job_kind *kind;
    const struct job_env *env;
    struct str id;
    const struct doc *spec; /* valid while it runs */
    struct arena arena;     /* the same */
    bool stopping;          /* asked to end: no new work, then job_end(JOB_STOPPED) */
    uint64_t ok, failed, skipped, bytes;
    char at[JOB_AT_MAX];     /* written by the kind; what it was when the process ended */
    struct job_counts kept;  /* by the kind, too: what was counted up to `at`, where what is behind it is done again */
    bool keeps;              /* it does that */
    bool goes_on;            /* an earlier process has begun it; it may have done more than `at` says */
    char note[JOB_NOTE_MAX]; /* what it waits for, for people */
    struct part *part;       /* the engine's */
};
struct job_kind {
    const char *name;
    size_t size;      /* of the kind's struct, which begins with struct job; zeroed */
    bool startable;   /* by people; the others begin by themselves */
    bool per_cluster; /* one at a time */
    /* Is the spec right; `why`: a sentence. May be NULL: only {} is right. */
    enum err (*check)(const struct doc *spec, char why[256]);
    /* Begins or goes on from job->at. It must call job_end() once, later. */
    void (*run)(struct job *job);
    /* job->stopping was set; may be NULL. */
    void (*stop)(struct job *job);
    /* For kinds that begin by themselves: whether one is due now, and what its id and spec are. Asked about twice a second. */
    bool (*due)(const struct job_env *env, struct arena *arena, struct str *id, struct str *spec);
};
/* Ends with NULL. */
extern const struct job_kind *const job_kinds[];

/* For kinds: */
void job_end(struct job *job, enum job_state state);
/* Counts a failure and keeps its text if it is among the first. */
void job_failed(struct job *job, struct str what, enum err e);
/* A pass begins anew: what failed before is forgotten. */
void job_forgive(struct job *job);
/* Finishes when what was moved, `bytes` now included, is within what the node's jobs may move. */
void job_throttle(struct job *job, uint64_t bytes, struct call *call);
void job_sleep(struct job *job, uint32_t ms, struct call *call);

struct jobs;
MUST_USE enum err jobs_open(const struct job_env *env, struct jobs **out);
/* Kinds are told to stop; their parts go on when the process is back. Before `meta` is closed. */
void jobs_close(struct jobs *j);

/* ---- for gateways, the command line and kinds that begin by themselves: only meta is needed (store/jobs.h) ---- */

/* ERR_INVALID_ARGUMENT: unknown kind, or its check failed. */
void job_start(struct meta *meta, const struct job_start_req *req, struct job_start_res *res, struct call *call);
void job_stop(struct meta *meta, const struct job_stop_req *req, struct call *call);
void job_look(struct meta *meta, const struct job_look_req *req, struct job_look_res *res, struct call *call);

#endif
