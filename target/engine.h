/* engine.h - the inside of the local store, shared by its methods' files.
 *
 * Shape    struct local is the engine, a struct local_handle one loop's view of it. Methods are steps over lookups,
 *          ingest, segments and commits.
 * Owns     see local.h.
 * Thread   the engine: any; a handle: its loop.
 */
#ifndef SLUICE_TARGET_ENGINE_H
#define SLUICE_TARGET_ENGINE_H

#include "base/op.h"
#include "target/index.h"
#include "target/ingest.h"
#include "target/local.h"
#include "target/mountpath.h"

struct gc;
struct disks;
struct local {
    struct local_conf conf; /* mountpaths is not kept */
    struct disks *disks;    /* the mountpaths: disks.h */
    struct extent_cache *extents;
    struct gc *gc;
};
/* One mountpath as a store: the methods below work on it alone. */
struct local_member {
    struct store store;
    struct local *local;
    struct mountpath *mountpath;
};
static inline struct local *local_of(struct store *s)
{
    return CONTAINER(s, struct local_member, store)->local;
}
static inline struct mountpath *local_at(struct store *s)
{
    return CONTAINER(s, struct local_member, store)->mountpath;
}
/* For the metrics: a body of that many bytes was opened for reading, or written. */
void local_count_read(uint64_t bytes);
void local_count_written(uint64_t bytes);

/* ---- looking up a record ---- */

enum lookup_want {
    WANT_RECORD,
    WANT_MANIFEST, /* with its manifest, if the body is one */
    WANT_BODY,     /* with its inline bytes or manifest */
};
struct lookup {
    struct local *local;
    struct mountpath *mountpath;
    uint64_t bucket_uid;
    struct str key;
    enum lookup_want want;
    struct hot *found; /* the caller's reference */
    struct offload_task task;
    const struct hot *known; /* of lookup_check() */
};
/* `key` is borrowed until the lookup is done. */
void lookup_init(struct lookup *u, struct local *l, struct mountpath *m, uint64_t bucket_uid, struct str key,
                 enum lookup_want want);
/* Never blocks. ERR_OK, ERR_NO_SUCH_KEY, ERR_CORRUPT, ERR_IO; ERR_AGAIN: lookup_run() it. */
MUST_USE enum err lookup_now(struct lookup *u);
/* On the io pool. */
void lookup_run(struct lookup *u, struct call *call);
/* Whether the record is still `known`; ERR_CONFLICT: another one is there. Nothing is found. */
void lookup_check(struct lookup *u, const struct hot *known, struct call *call);

/* Reads a part of what `h` (with its body) says. With a layout: nothing. */
/* What is kept in the index of a body that came into memory, for the record: its id and kind, and the bytes, encrypted if the body is to be. They live in
 * the arena or in `in`. */
MUST_USE enum err local_keep_inline(struct mountpath *m, const struct ingest *in, struct arena *arena, struct record *r,
                                    struct str *bytes);
MUST_USE enum err local_source(struct local *l, struct mountpath *m, struct hot *h, uint64_t offset, uint64_t len,
                               struct source **out);

/* Keeps the segments of `h` (with its body) from losing their names until extent_cache_let_go(); false: it has none. The list is of
 * `arena`. Those of a record that was replaced earlier may be gone all the same: lookup_check() tells. */
bool local_hold(struct local *l, const struct hot *h, struct extent_hold *hold, struct arena *arena);

/* ---- changing a record, within a commit ---- */

/* The object's current record; ERR_NOT_FOUND. Its strs are valid until the batch ends. */
MUST_USE enum err txn_object(struct txn *t, struct str index_key, struct record *out);
/* Lets go of what the record's body occupies. Fails only before any change. */
MUST_USE enum err txn_release_body(struct txn *t, const struct record *r);
enum txn_how {
    /* Another record has the same body: one more reference. Otherwise inline bytes or manifest are stored with it. */
    TXN_SHARES_BODY = 1 << 0,
    /* Otherwise it becomes later than that of what is replaced. */
    TXN_KEEPS_MTIME = 1 << 1,
    /* In buckets with versions: it is the same version, of the same time, that says something else. */
    TXN_SAME_VERSION = 1 << 2,
};
/* A segment that the old body of a splice has entries of, or the new one. */
struct txn_share {
    struct segment_id id;
    uint32_t old, now; /* entries */
    bool made;         /* nobody has entries of it yet */
};
struct txn_splice {
    const struct cond *cond;
    struct str from;                /* the record that it was made of, encoded */
    const struct txn_share *shares; /* each segment once; of a single segment `old` is 1 */
    size_t share_count;
    bool keeps_mtime;
};
/* ERR_CONFLICT: the record at h->key is not `from` any more. Then, as txn_replace(): what the old body had and `h` hasn't is let go of,
 * what both have stays. */
MUST_USE enum err txn_check_same(struct txn *t, struct str index_key, const struct cond *cond, struct str from);
MUST_USE enum err txn_splice(struct txn *t, uint64_t bucket_uid, struct hot *h, const struct txn_splice *s);
/* Replaces the record at h->key (which may be absent) by `h`, which nobody else has yet, or, as the bucket wants it, makes an older version
 * of it. Checks the bucket and the condition first. Takes no reference: the cache gets one of its own. */
MUST_USE enum err txn_replace(struct txn *t, const struct bucket_id *bucket, const struct cond *cond, struct hot *h,
                              unsigned how);
/* The same once bucket, condition and counts were looked at, of a bucket with versions. `old` NULL: there is none; `old_raw` is its record. */
struct txn_current {
    const struct record *rec;
    struct str raw;
};
MUST_USE enum err txn_keep_version(struct txn *t, const struct bucket_id *bucket, struct hot *h,
                                   const struct txn_current *old);
/* Deletes in a bucket with versions, and of one version: the whole of a commit. */
MUST_USE enum err txn_delete_version(struct txn *t, const struct obj_delete_req *req, struct obj_delete_res *res);

/* ---- the methods of a member ---- */

/* Never block. What is small and in memory is answered at once, without a call; ERR_AGAIN: it is not, ask by the method. */
MUST_USE enum err local_get_now(struct store *, const struct obj_get_req *, struct obj_get_res *);
MUST_USE enum err local_head_now(struct store *, const struct obj_head_req *, struct obj_head_res *);
void local_obj_head(struct store *, const struct obj_head_req *, struct obj_head_res *, struct call *);
void local_obj_get(struct store *, const struct obj_get_req *, struct obj_get_res *, struct call *);
void local_obj_put(struct store *, const struct obj_put_req *, struct obj_put_res *, struct call *);
void local_obj_delete(struct store *, const struct obj_delete_req *, struct obj_delete_res *, struct call *);
void local_obj_copy(struct store *, const struct obj_copy_req *, struct obj_copy_res *, struct call *);
void local_obj_splice(struct store *, const struct obj_splice_req *, struct obj_splice_res *, struct call *);
void local_obj_import(struct store *, const struct obj_import_req *, struct obj_import_res *, struct call *);
void local_upload_create(struct store *, const struct upload_create_req *, struct upload_create_res *, struct call *);
void local_upload_part(struct store *, const struct upload_part_req *, struct upload_part_res *, struct call *);
void local_upload_complete(struct store *, const struct upload_complete_req *, struct upload_complete_res *,
                           struct call *);
void local_upload_abort(struct store *, const struct upload_abort_req *, struct upload_abort_res *, struct call *);
void local_part_list(struct store *, const struct part_list_req *, struct part_list_res *, struct call *);

/* ---- the methods of all mountpaths together, whose set the caller keeps ---- */

struct disk_set;
void local_obj_list(struct local *, struct disk_set *, const struct obj_list_req *, struct obj_list_res *,
                    struct call *);
void local_upload_list(struct local *, struct disk_set *, const struct upload_list_req *, struct upload_list_res *,
                       struct call *);
void local_bucket_purge(struct local *, struct disk_set *, const struct bucket_purge_req *, struct bucket_purge_res *,
                        struct call *);

#endif
