/* jobs_kit.h - a machine of memory for tests of jobs: a store, buckets, meta, and an engine that is there or not.
 *
 * Shape    while the engine runs, its loop and the store are its own: the kit_*() on objects are for before and after.
 * Owns     everything; kit_open() and kit_close() around each test.
 * Thread   the test's.
 */
#ifndef SLUICE_TESTS_JOBS_KIT_H
#define SLUICE_TESTS_JOBS_KIT_H

#include "base/doc.h"
#include "store/buckets.h"
#include "store/system.h"
#include "target/job.h"

struct kit {
    struct loop *loop, *asking; /* the engine's, and that of who asks for jobs */
    struct meta *meta;
    struct store *store;
    struct buckets *buckets;
    struct offload *pool;
    struct arena arena;
    struct jobs *jobs;
    struct job_env env;
};
extern struct kit kit;

int kit_open(void **state);
int kit_close(void **state);
/* For calls on the loop that is the thread's now. */
struct call *kit_call(void);
enum err kit_wait(void);

struct bucket kit_bucket(const char *name);
void kit_put(struct bucket_id bucket, struct str key, struct str content);
bool kit_has(struct bucket_id bucket, const char *key);
/* Whole content; p == NULL: there is none. */
struct str kit_get(struct bucket_id bucket, struct str key);
unsigned kit_count(struct bucket_id bucket, const char *prefix);

/* The engine. */
void kit_start_engine(uint64_t bytes_per_s);
void kit_stop_engine(void);
enum err kit_job(const char *kind, const char *spec, char id[JOB_ID_MAX + 1]);
const struct doc *kit_look(const char *id);
/* Its state when it has ended. */
const char *kit_end_of(const char *id);
uint64_t kit_number(const char *id, const char *name);

#endif
