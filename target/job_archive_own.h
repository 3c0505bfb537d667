/* job_archive_own.h - internal to job_archive*.c.
 *
 * Thread   the engine's loop.
 */
#ifndef SLUICE_TARGET_JOB_ARCHIVE_OWN_H
#define SLUICE_TARGET_JOB_ARCHIVE_OWN_H

#include "archive/arc_pack.h"
#include "base/buf.h"
#include "target/job_select.h"

struct archive_item; /* an entry that is on its way */
struct archive {
    struct job job;
    struct op op;
    struct arena arena;
    struct bucket_look_req look_req;
    struct bucket_look_res looked;
    struct bucket to;
    struct str name;
    enum arc_format format;
    bool base_only, with_bucket, appends, goes_on;
    struct job_select select;
    bool is_open;
    struct arcs_look_req old_req;
    struct arcs_look_res old; /* index NULL: there is none, or it isn't appended to */
    uint32_t old_at;          /* members of it that were given: of what is written anew */
    bool splices;
    bool begun; /* an entry was asked for */
    struct source *body;
    struct body_check check;
    struct obj_put_req put_req;
    struct obj_put_res put;
    struct obj_splice_req splice_req;
    struct obj_splice_res splice;
    /* the walk */
    struct call step, *next_call;
    struct arc_entry *out;
    bool *end;
    struct str key;
    uint64_t unpaid; /* bytes that were not throttled yet */
    struct archive_item *items;
    uint64_t added;
    struct call *closing;
    bool closed;
    /* the report */
    struct buf report;
    struct op report_op;
    struct call *reporting;
    struct system_bucket_res system;
    struct body_check report_check;
    struct obj_put_req report_req;
    struct obj_put_res report_put;
    struct source *report_body;
};

/* The source of what is added; finishes archive->closing when all of it is gone. */
struct source *archive_walk_open(struct archive *a);
/* Where archives are read and written. */
static inline struct store *archive_store(const struct archive *a)
{
    return a->job.env->arcs ? arcs_store(a->job.env->arcs) : a->job.env->all;
}

#endif
