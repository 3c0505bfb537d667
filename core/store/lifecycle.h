/* lifecycle.h - what becomes of a bucket's objects and uploads with time: the rules of a LifecycleConfiguration.
 *
 * Shape    rules with a filter each; an object ends when the first of the rules that fit says so. Days are counted from its last change and end
 *          at the next midnight (UTC).
 * Units    times: Unix seconds. Days are `day_s` long: 86,400 but where rules are tried out.
 * Owns     rules live in the arena they were read into.
 * Errors   ERR_MALFORMED_XML, ERR_INVALID_REQUEST, ERR_INVALID_ARGUMENT, ERR_NOT_IMPLEMENTED, with a sentence in `why`.
 * Thread   any; pure.
 * Source   S3 API: PutBucketLifecycleConfiguration; S3 User Guide, "Lifecycle configuration elements".
 */
#ifndef SLUICE_STORE_LIFECYCLE_H
#define SLUICE_STORE_LIFECYCLE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/xml.h"

enum { LIFECYCLE_RULES_MAX = 1000, LIFECYCLE_TAGS_MAX = 10, LIFECYCLE_WHY_MAX = 512, LIFECYCLE_DAY_S = 86400 };

struct lifecycle_rule {
    struct str id;
    bool enabled;
    struct str prefix;
    struct str tags[LIFECYCLE_TAGS_MAX]; /* "key=value" as object_info.tags has them */
    unsigned tag_count;
    uint64_t larger_than,
        smaller_than; /* bytes; 0 and UINT64_MAX: any. larger_than has no effect on empty objects without has_larger */
    bool has_larger;
    uint32_t days;       /* objects end so long after their last change; 0: not by days */
    int64_t date_s;      /* objects end then; 0: not by date */
    uint32_t abort_days; /* uploads end so long after they were begun; 0: never */
    uint32_t older_days; /* older versions end so long after the next newer was made; 0: never */
    uint32_t newer_kept; /* but for so many of them, the newest */
    bool markers;        /* delete markers end when nothing is left behind them */
};
struct lifecycle {
    struct lifecycle_rule *rules;
    size_t n;
};
/* Reads a document: the root is LifecycleConfiguration. */
MUST_USE enum err lifecycle_read(struct arena *arena, const struct xml_doc *doc, struct lifecycle **out,
                                 char why[LIFECYCLE_WHY_MAX]);

struct lifecycle_object {
    struct str key;
    uint64_t size;
    int64_t mtime_s;
    struct str tags; /* as object_info has them */
    bool tags_known; /* otherwise rules with tags are taken to fit */
};
#define LIFECYCLE_NEVER INT64_MAX
/* When the object ends; *rule (may be NULL): by which. LIFECYCLE_NEVER: by none. */
int64_t lifecycle_ends(const struct lifecycle *l, const struct lifecycle_object *o, int64_t day_s,
                       const struct lifecycle_rule **rule);
/* When an older version ends: its next newer was made at `since_s`, and there are `newer` older versions that are newer than it. */
int64_t lifecycle_older_ends(const struct lifecycle *l, const struct lifecycle_object *o, int64_t since_s,
                             uint32_t newer, int64_t day_s);
/* When a delete marker that is all there is of a key ends. */
int64_t lifecycle_marker_ends(const struct lifecycle *l, struct str key, int64_t mtime_s, int64_t day_s);
/* When an upload that was begun then is given up. */
int64_t lifecycle_upload_ends(const struct lifecycle *l, struct str key, int64_t began_s, int64_t day_s);

#endif
