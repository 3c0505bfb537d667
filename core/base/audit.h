/* audit.h - a record of who did what, as lines of JSON in a file of its own.
 *
 * Shape    audit_add() copies a line into a bounded queue; a thread of its own writes. One for the process, as the log is.
 * Units    bytes, nanoseconds.
 * Errors   when the disk is slower than requests come, or the file can't be written, lines are dropped, counted
 *          (sluice_audit_dropped_total) and told in the log: requests do not wait for the audit.
 * Thread   any; audit_open() and audit_close(): main, before and after the loops.
 */
#ifndef SLUICE_BASE_AUDIT_H
#define SLUICE_BASE_AUDIT_H

#include "err.h"
#include "str.h"

enum { AUDIT_WHY_MAX = 256, AUDIT_QUEUE_MAX = 4 << 20, AUDIT_LINE_MAX = 16 << 10 };

/* `all`: every request, not only those that change how the server or a bucket is set up. BLOCKING. */
MUST_USE enum err audit_open(const char *path, bool all, char why[AUDIT_WHY_MAX]);
/* Writes what is queued. Harmless when there is none. BLOCKING. */
void audit_close(void);
/* Whether a request is to be told; `administrative`: it changes how something is set up. */
bool audit_wants(bool administrative);

struct audit_entry {
    struct str id;   /* of the request */
    const char *api; /* "s3", "iam", "native" */
    const char *peer;
    struct str method, path; /* without the query, which may hold signatures */
    const char *action;
    struct str key, who; /* access key or subject; who that is, as policies name it. Empty: left out */
    struct str bucket, object;
    int status;
    const char *error; /* its code; NULL: none */
    uint64_t bytes, took_ns;
};
void audit_add(const struct audit_entry *e);

#endif
