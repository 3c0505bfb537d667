/* limits.h - how many requests a second a bucket's tag, or that of a user or role, lets through.
 *
 * Shape    one table for the process: a theoretical arrival time per name (the generic cell rate algorithm), so that a second's worth may come at
 *          once. Where the table is full the one that has been quiet longest is forgotten: it starts afresh.
 * Units    requests per second; CLOCK_MONOTONIC nanoseconds.
 * Errors   ERR_BUSY (SlowDown), which clients answer by waiting.
 * Thread   any; no locks.
 * Source   docs/limits.md
 */
#ifndef SLUICE_S3API_LIMITS_H
#define SLUICE_S3API_LIMITS_H

#include "base/arena.h"
#include "base/err.h"
#include "store/quota.h"

struct s3_request;
struct setting_read;
struct tag;

enum { LIMITS_SLOTS = 4096, LIMITS_NEAR = 8 };

struct limits;
struct limits *limits_new(void);
void limits_free(struct limits *); /* NULL is legal */
/* Counts a request of `id` (never 0) when there is room for it. */
bool limits_take(struct limits *, uint64_t id, uint32_t per_s, uint64_t now_ns);

/* What the tags of a bucket say, in its "tagging" document. */
struct bucket_limits {
    uint32_t per_s; /* 0: no limit */
    struct quota_limits quota;
    bool odd; /* tags that would not be taken today */
};
/* For struct quotas_conf: what the parsed document says. */
bool limits_quota(const void *parsed, struct quota_limits *out);
/* ERR_INVALID_TAG for a tag of ours that says nothing. */
MUST_USE enum err limits_of_tags(const struct tag *tags, size_t n, struct bucket_limits *out);
/* Only the owner changes tags of ours: whether `made` (NULL: none are left) may take the place of what there is. */
enum err limits_may_change(struct s3_request *r, const void *made);

/* The request counts, or is refused. */
MUST_USE enum err limits_user(struct s3_request *r);
MUST_USE enum err limits_bucket(struct s3_request *r);

#endif
