/* access_log.h - a line per request, delivered into a bucket, for buckets whose owner asks for it.
 *
 * Shape    lines of a bucket gather in memory, of each loop by itself, and become an object of the target bucket when they are older than a
 *          minute or make ACCESS_LOG_OBJECT bytes. Best effort, as S3 has it: a crash loses what was not written, and so does a target bucket that
 *          refuses or is gone, after ACCESS_LOG_TRIES; that is counted and logged.
 * Units    milliseconds, bytes.
 * Owns     its lines. What the environment names outlives it.
 * Thread   the loop's; free: the loop turns until all is written, at most ACCESS_LOG_DRAIN_MS.
 * Source   S3 User Guide, "Logging requests with server access logging", "Amazon S3 server access log format".
 */
#ifndef SLUICE_S3API_ACCESS_LOG_H
#define SLUICE_S3API_ACCESS_LOG_H

#include "s3api/s3api.h"

enum {
    ACCESS_LOG_OBJECT = 1 << 20,
    ACCESS_LOG_MEMORY = 16 << 20, /* of all lines of a loop */
    ACCESS_LOG_TRIES = 3,
    ACCESS_LOG_DRAIN_MS = 5000,
    ACCESS_LOG_LINE = 8192
};

struct s3_request;
struct setting_read;

/* What a BucketLoggingStatus says. */
struct logging {
    struct str bucket, prefix;
    bool partitioned;   /* PartitionedPrefix */
    bool by_event_time; /* of it: the day of the requests, not that of the delivery */
};
enum err logging_read(struct setting_read *s);
/* Whether the target is there, and may be written to by who asks. */
enum err logging_fits(struct s3_request *r, const void *made);

struct access_logs;
struct access_logs *access_logs_new(const struct s3api_env *env);
void access_logs_free(struct access_logs *);
/* The request has ended. Nothing, unless its bucket wants a log. */
void access_logs_add(struct access_logs *, const struct s3_request *r, uint64_t took_ns);

#endif
