/* job_scan.h - all keys that one store lists in a bucket, several worked on at a time: what moves, repairs and verifies.
 *
 * Shape    pages of a listing; of each, the keys that are wanted are given to `each`, JOB_SCAN_WORKERS at a time; what they moved is
 *          throttled. Counts go to the job: changed = ok, ERR_NO_SUCH_BUCKET = skipped. Busy keys are tried again.
 * Owns     embedded in its owner, zeroed but for the fields above the line; a key's memory is its arena.
 * Errors   those of the listing, and ERR_STALE_EPOCH of a key: the map has changed. All others of a key: job_failed() by its name.
 * Thread   the engine's loop.
 */
#ifndef SLUICE_TARGET_JOB_SCAN_H
#define SLUICE_TARGET_JOB_SCAN_H

#include "target/job.h"

enum { JOB_SCAN_WORKERS = 8, JOB_SCAN_PAGE = 500 };

struct job_scan_key {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    /* set by `each` */
    bool changed;
    uint64_t bytes; /* moved, or read */
};
struct job_scan_worker {
    struct op op;
    struct job_scan *scan;
    struct group_call *member;
    struct arena arena;
    struct job_scan_key key;
    unsigned tries;
};
struct job_scan {
    struct job *job;
    struct store *store;
    struct bucket_id bucket; /* its name lives as long as the scan */
    bool (*wanted)(void *arg, struct bucket_id bucket, struct str key);
    void (*each)(void *arg, struct job_scan_key *key, struct call *call);
    void *arg;
    struct str after;                             /* where to begin */
    void (*progress)(void *arg, struct str last); /* a page is done; may be NULL */
    /* ---- */
    struct op op;
    struct call *whole;
    struct arena arena; /* of the page */
    char last[STORE_KEY_MAX];
    size_t last_n;
    struct obj_list_req req;
    struct obj_list_res page;
    uint32_t next; /* in the page */
    struct call_group group;
    struct group_call members[JOB_SCAN_WORKERS];
    struct job_scan_worker workers[JOB_SCAN_WORKERS];
    unsigned running;
    uint64_t wanted_count;
};
void job_scan_run(struct job_scan *s, struct call *whole);

/* All buckets, by name, each followed by that of its older versions, if it has any (store/versions.h): from meta, not from the cache, which may be a moment behind. What is no record is a failure of the job. */
struct job_buckets {
    struct job *job;
    struct arena *arena; /* of what is found */
    /* ---- */
    struct op op;
    struct call *whole;
    struct meta_list_req req;
    struct meta_list_res page;
    struct bucket *all;
    size_t count, cap;
};
void job_buckets_run(struct job_buckets *b, struct call *whole);

#endif
