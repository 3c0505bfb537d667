/* job_own.h - internal to job*.c: records of jobs in meta, and parts of jobs that run here.
 *
 * Owns     what is read from a record lives in the arena handed in.
 * Errors   ERR_CORRUPT: not a record, and it was logged; ERR_NOT_IMPLEMENTED: of a later format.
 * Thread   records: any; parts: the engine's loop.
 */
#ifndef SLUICE_TARGET_JOB_OWN_H
#define SLUICE_TARGET_JOB_OWN_H

#include "base/buf.h"
#include "target/job.h"

#define JOB_KEY    STR("job/")
#define JOB_AT_KEY STR("job_at/")

struct job_record {
    struct str id, kind, started_by;
    const struct doc *spec;
    uint64_t created_ms, ended_ms;
    bool stop;
    enum job_state state;
};
MUST_USE enum err job_record_read(struct arena *a, struct str text, struct job_record *out);
struct str job_record_text(struct arena *a, const struct job_record *r);

/* One target's part. */
struct job_at {
    enum job_state state;
    uint64_t ok, failed, skipped, bytes, began_ms, ended_ms;
    struct str at, note;
    bool keeps;
    struct job_counts kept;
    struct str errors[JOB_ERRORS_MAX];
    unsigned error_count;
};
MUST_USE enum err job_at_read(struct arena *a, struct str text, struct job_at *out);
struct str job_at_text(struct arena *a, const struct job_at *p);
/* The members of both, without `at`, into an object that is open. */
void job_record_json(struct buf *b, const struct job_record *r);
/* The same, but lists and long texts of the spec are left out. */
void job_record_brief(struct buf *b, const struct job_record *r);
void job_at_json(struct buf *b, const struct job_at *p);

struct str job_key(struct arena *a, struct str id);
struct str job_at_key(struct arena *a, struct str id, struct str node); /* node empty: the prefix of all */
struct str job_state_name(enum job_state s);
/* Whether the spec is for that target. */
bool job_is_for(const struct job_record *r, struct str node);
const struct job_kind *job_kind_find(struct str name);
uint64_t job_now_ms(void);

/* The kinds, each in the file of its name. */
extern const struct job_kind job_archive;
extern const struct job_kind job_cleanup;
extern const struct job_kind job_copy, job_copy_list;
extern const struct job_kind job_delete;
extern const struct job_kind job_download;
extern const struct job_kind job_inventory;
extern const struct job_kind job_lifecycle;
extern const struct job_kind job_lru;
extern const struct job_kind job_prefetch, job_evict;
extern const struct job_kind job_promote;
extern const struct job_kind job_dsort;
extern const struct job_kind job_etl, job_etl_list;
extern const struct job_kind job_rebalance;
extern const struct job_kind job_scrub;
extern const struct job_kind job_shard;

/* ---- parts: job_part.c ---- */

enum { JOB_TEXT_MAX = 1500 };
struct part {
    struct part *next;
    struct jobs *jobs;
    struct job *job; /* NULL: it has ended here */
    char id[JOB_ID_MAX + 1];
    char *errors[JOB_ERRORS_MAX]; /* owned */
    unsigned error_count;
    enum job_state state;
    uint64_t began_ms, ended_ms;
    bool saved;         /* its end is in meta */
    bool judging;       /* somebody should look whether all parts have ended */
    bool judged;        /* a scan did, at least once */
    bool listed;        /* the scan that goes on has seen its record */
    uint64_t saved_sum; /* of what was saved last */
    uint64_t saved_ns;  /* when */
    bool saving_end;    /* what is being saved is the last */
    /* the save that goes on */
    struct call save;
    struct arena save_arena;
    struct meta_put_req put_req;
    struct meta_put_res put;
};

struct jobs {
    struct job_env env;
    struct part *parts;
    uint64_t free_ns; /* when what was moved so far is within what may be moved */
    bool closing;
    struct engine *engine; /* job.c's */
};
/* Something has happened that a scan should see. */
void jobs_look_soon(struct jobs *j);
/* Begins the part of the record, or goes on with it when `at` is not NULL. */
struct part *part_begin(struct jobs *j, const struct job_record *r, const struct job_at *at);
/* One that has ended before. */
struct part *part_ended(struct jobs *j, struct str id, enum job_state state);
struct part *part_find(struct jobs *j, struct str id);
void part_stop(struct part *p);
/* Writes what has changed, once a second or at its end. */
void part_save(struct part *p);
/* Not while it runs or is being saved. */
void part_drop(struct part *p);

#endif
