/* buckets_own.h - internal to buckets*.c: the table, and records in meta.
 *
 * Owns     the table its records.
 * Thread   any.
 */
#ifndef SLUICE_STORE_BUCKETS_OWN_H
#define SLUICE_STORE_BUCKETS_OWN_H

#include <pthread.h>

#include "base/buf.h"
#include "store/buckets.h"

enum { BUCKET_RECORD_MAX = 4096 + BUCKET_PROPS_MAX };

struct bucket_record {
    struct arena arena; /* holds the strs */
    struct bucket bucket;
    uint64_t revision;
};

struct buckets {
    struct meta *meta;
    pthread_rwlock_t lock;
    struct {                            /* guarded by lock */
        struct bucket_record **records; /* by name */
        size_t n, cap;
        size_t wide;       /* records of buckets with copies on several nodes */
        uint64_t revision; /* the last that the watch told: an older answer to a put of our own is out of date */
    } locked;
};

/* A change that took effect in meta; `b` NULL: removed. Not told: it was ours, and when the watch is past it the table
 * is right already or newer. */
void buckets_apply(struct buckets *t, struct str name, const struct bucket *b, uint64_t revision, bool told);
/* The key in meta. */
struct str bucket_key(struct arena *arena, struct str name);

#endif
