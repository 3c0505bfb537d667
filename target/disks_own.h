/* disks_own.h - internal to disks*.c and resilver.c.
 *
 * Thread   see disks.h.
 */
#ifndef SLUICE_TARGET_DISKS_OWN_H
#define SLUICE_TARGET_DISKS_OWN_H

#include "target/disks.h"

/* ---- disks.c ---- */

void disk_handle_open(struct disk_handle *h, struct local *l, struct loop *loop);
void disk_handle_close(struct disk_handle *h);
/* The next generation, to be changed, seated and published. */
struct disk_set *disk_set_copy(const struct disk_set *from);
/* After a change of its disks: their order, and who has keys. */
void disk_set_seat(struct disk_set *s);
/* BLOCKING until writes that decided by older sets have ended. With `change` held. */
void disks_publish(struct disks *d, struct disk_set *s);
/* Closes mountpaths that no request has any more. BLOCKING. With `change` held. */
void disks_retire(struct disks *d, void (*close)(struct disks *, struct mountpath *));

/* ---- disks_store.c ---- */

/* One mountpath as a store: for methods that are made of others. */
extern const struct store_ops disk_member_ops;

/* ---- disks_change.c ---- */

/* What the format file of the i-th says about all. */
void disk_set_format(const struct disk_set *s, size_t i, struct mountpath_format *out);
/* Writes it to all that are in use; fails when none took it. BLOCKING. */
MUST_USE enum err disks_save(const struct disk_set *s, char why[MOUNTPATH_WHY_MAX]);
/* The resilver has found everything in place by this set. */
void disks_calm(struct disks *d, const struct disk_set *by);
void disk_closed(struct disks *d, struct mountpath *m);

/* ---- disks_buckets.c: mirrored buckets, which indexes know by their uid only ---- */

struct bucket_table *bucket_table_new(void);
void bucket_table_free(struct bucket_table *t);
/* BLOCKING. Adds what the mountpath's index knows. */
MUST_USE enum err bucket_table_load(struct bucket_table *t, struct mountpath *m);
/* BLOCKING. Tells a mountpath that nobody writes to yet. */
MUST_USE enum err bucket_table_save(struct bucket_table *t, struct mountpath *m);
/* False: not a mirrored one. *out borrows from the table. */
bool bucket_table_find(struct bucket_table *t, uint64_t uid, struct bucket_id *out);
bool bucket_table_is_empty(struct bucket_table *t);
/* Durable on all mountpaths of the use that are in use, before the first object. */
struct bucket_note {
    struct op op;
    struct disk_handle *handle;
    struct disk_use *use;
    const struct bucket_id *bucket;
    struct call *whole;
    struct call_group group;
    struct note_commit *commits;
    struct arena *arena;
};
void bucket_note(struct bucket_note *n, struct call *whole); /* handle, use, bucket and arena are set */

/* ---- disks_settle.c ---- */

/* Makes one key be where it belongs by the use's set, and nowhere else. The key's lock is held. Not cancellable half-way. */
struct settle_seen {
    enum err err; /* ERR_OK, ERR_NOT_FOUND; else it could not be read */
    int64_t mtime_ns;
    struct etag etag;
};
struct disk_settle {
    struct op op;
    struct local *local;
    struct disk_use *use;
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    struct call *whole;
    bool drop_bad; /* the copy at `bad` counts as none */
    size_t bad;
    /* found */
    bool doubt; /* another one may be on mountpaths that don't answer */
    int right;  /* where it was found; -1: nowhere */
    struct object_info info;
    bool changed;
    uint64_t bytes;
    /* its own */
    char name[64]; /* of the bucket, when a description told it */
    size_t copies, rank_count, at;
    uint8_t rank[REDUNDANCY_COPIES_MAX];
    struct settle_seen seen[MOUNTPATHS_MAX];
    struct offload_task task;
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct obj_get_req get_req;
    struct obj_get_res get;
    struct body_check check;
    struct obj_import_req import_req;
    struct obj_import_res import;
    struct obj_delete_req delete_req;
    struct obj_delete_res delete_res;
};
void disk_settle(struct disk_settle *s, struct call *whole);

/* ---- disks_write.c ---- */

void disks_obj_put(struct store *, const struct obj_put_req *, struct obj_put_res *, struct call *);
void disks_obj_delete(struct store *, const struct obj_delete_req *, struct obj_delete_res *, struct call *);
void disks_obj_copy(struct store *, const struct obj_copy_req *, struct obj_copy_res *, struct call *);
void disks_obj_splice(struct store *, const struct obj_splice_req *, struct obj_splice_res *, struct call *);
void disks_obj_import(struct store *, const struct obj_import_req *, struct obj_import_res *, struct call *);
void disks_upload_create(struct store *, const struct upload_create_req *, struct upload_create_res *, struct call *);
void disks_upload_complete(struct store *, const struct upload_complete_req *, struct upload_complete_res *,
                           struct call *);
/* The resilver's: locks one key and settles it. */
struct disk_settle_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    int bad; /* a mountpath whose copy is damaged, or -1 */
};
struct disk_settle_res {
    bool changed;
    uint64_t bytes;
};
void disks_settle_key(struct store *, const struct disk_settle_req *, struct disk_settle_res *, struct call *);

/* ---- disks_upload.c: which mountpath has an upload ---- */

struct upload_where {
    struct local *local;
    struct disk_use *use;
    struct bucket_id bucket;
    struct str key, upload_id;
    struct offload_task task;
    size_t at; /* found; where the key belongs when there is none */
    bool found;
};
/* ERR_UNAVAILABLE: not found, and it may be on a mountpath that is out. */
void upload_where(struct upload_where *w, struct call *whole);
void disks_upload_part(struct store *, const struct upload_part_req *, struct upload_part_res *, struct call *);
void disks_upload_abort(struct store *, const struct upload_abort_req *, struct upload_abort_res *, struct call *);
void disks_part_list(struct store *, const struct part_list_req *, struct part_list_res *, struct call *);

/* ---- resilver.c ---- */

/* A copy was found damaged while another one could be read. Any thread; what is too much is left to a scrub. */
void disks_repair(struct disks *d, const struct bucket_id *bucket, struct str key, const struct mountpath_uuid *bad);

void *disks_main(void *disks); /* the thread */

/* ---- disks_admin.c: commands through a socket in the first data directory ---- */

struct disk_admin *disk_admin_start(struct disks *d, struct str dir); /* NULL: logged */
void disk_admin_stop(struct disk_admin *a);

#endif
