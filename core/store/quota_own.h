/* quota_own.h - what quota.c and quota_count.c share. */
#ifndef SLUICE_STORE_QUOTA_OWN_H
#define SLUICE_STORE_QUOTA_OWN_H

#include <pthread.h>

#include "base/op.h"
#include "store/quota.h"

struct quota_use {
    uint64_t bytes, objects;
};

/* What is known of a bucket. Guarded by the table's lock. */
struct quota {
    struct quota *next;
    uint64_t uid;
    struct quota_use counted; /* by the last count */
    struct quota_use done;    /* written since that began */
    struct quota_use flying;  /* let in, not yet written */
    struct quota_use before;  /* `done` when the count that runs began */
    bool known, counting;
    bool dirty;                           /* something went, or was replaced, since the last count began */
    uint64_t began_ns, ended_ns, took_ns; /* the last count; monotonic */
};

enum { QUOTA_SLOTS = 256 };
struct quotas {
    struct quotas_conf conf;
    pthread_mutex_t lock;
    struct quota *slots[QUOTA_SLOTS]; /* guarded by lock */
};

struct quota_count;
struct quota_store {
    struct store store;
    struct store_ops ops;
    struct quotas *quotas;
    struct store *inner;
    struct quota_count *counts; /* that run on this loop */
};

/* Begins a count of a bucket whose `counting` is set already. */
void quota_count_start(struct quota_store *s, struct quota *q, const struct bucket_id *b);
/* Ends those that run. */
void quota_count_drain(struct quota_store *s);
/* `sum`: NULL when it failed. */
void quota_counted(struct quotas *t, struct quota *q, const struct quota_use *sum);

#endif
