/* fsck_state.h - what the halves of fsck share: a mountpath opened offline, its files, its report.
 *
 * Shape    fsck.c opens and drives, fsck_check.c compares index and files, fsck_rebuild.c restores the index, fsck_format.c the format file.
 * Owns     fsck.c owns the state.
 * Errors   findings are lines on stdout, counted; an error returned ends the check of this mountpath.
 * Thread   BLOCKING; main thread.
 */
#ifndef SLUICE_TARGET_FSCK_STATE_H
#define SLUICE_TARGET_FSCK_STATE_H

#include "target/fsck.h"
#include "target/index.h"
#include "target/mountpath.h"

enum { FSCK_NAME_MAX = 1100 };

struct fsck_file {
    struct segment_id id;
    uint64_t file_size;
    uint32_t refs;  /* records, manifests and parts that name it */
    uint64_t size;  /* of its content, once it was looked at */
    bool described; /* a record names it as its description */
};
/* A count in the index: of the records that have a body, or of the entries of manifests that name a segment (and the records
 * whose body it is). */
struct fsck_refs {
    struct segment_id body;
    uint64_t said, seen;
};

struct fsck {
    const struct fsck_options *options;
    void *arg; /* of whoever calls fsck_each() */
    struct str dir;
    char name[FSCK_NAME_MAX];
    struct kv *kv;
    struct segment_dir *segments;
    struct fsck_file *files; /* sorted by id */
    size_t file_count, file_cap;
    struct fsck_refs *refs; /* sorted by body */
    size_t ref_count, ref_cap;
    uint64_t objects, parts, bytes, damaged, orphans, inline_records, inline_shares, inline_bodies, manifest_records,
        manifest_shares, manifests;
};

/* A line of the report: damage (counted), or a note. */
void fsck_damage(struct fsck *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void fsck_note(struct fsck *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The object's key, quoted, for the report; until the next call. */
const char *fsck_name(struct fsck *f, struct str index_key);

/* Calls fn for every key of a type. */
MUST_USE enum err fsck_each(struct fsck *f, enum index_type type,
                            enum err (*fn)(struct fsck *f, struct str key, struct str value));
struct fsck_file *fsck_find(struct fsck *f, const struct segment_id *id);
/* Forgets what was found, lists the files anew. */
MUST_USE enum err fsck_list_files(struct fsck *f);

/* Compares everything; counts damage and orphans. */
MUST_USE enum err fsck_check(struct fsck *f);
/* Adds to the index what descriptions of unreferenced segments say and it lacks; recounts references. After fsck_check(). */
MUST_USE enum err fsck_rebuild(struct fsck *f, uint64_t *restored);
/* Before any directory is opened: writes sluice.format anew where it is lost and can be known. */
void fsck_restore_formats(const struct fsck_options *o);

#endif
