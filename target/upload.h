/* upload.h - what the methods on multipart uploads share: finding an upload, checking it within a commit.
 *
 * Shape    upload_find_init(), then upload_find_now() on the loop and upload_find_run() when that says ERR_AGAIN.
 * Owns     upload_find_release() frees the record's bytes.
 * Errors   ERR_NO_SUCH_UPLOAD, ERR_CORRUPT, ERR_IO.
 * Thread   the loop of the call.
 */
#ifndef SLUICE_TARGET_UPLOAD_H
#define SLUICE_TARGET_UPLOAD_H

#include "target/engine.h"
#include "target/sealing.h"

struct upload_find {
    struct local *local;
    struct mountpath *mountpath;
    uint64_t bucket_uid;
    struct str key; /* borrowed */
    struct segment_id id;
    struct offload_task task;
    /* found */
    enum hash_alg alg;
    enum checksum_type type;
    bool encrypted; /* what it becomes */
    struct buf raw; /* the upload record */
};
bool upload_id_parse(struct str text, struct segment_id *out);
MUST_USE enum err upload_find_init(struct upload_find *f, struct local *l, struct mountpath *m, uint64_t bucket_uid,
                                   struct str key, struct str id);
MUST_USE enum err upload_find_now(struct upload_find *f);
MUST_USE enum err upload_find_on_disk(struct upload_find *f); /* BLOCKING */
void upload_find_run(struct upload_find *f, struct call *call);
void upload_find_release(struct upload_find *f);

/* Whether the upload still exists and its bucket takes writes. */
MUST_USE enum err txn_check_upload(struct txn *t, const struct upload_find *f);

/* Calls fn for the parts of an upload with numbers behind `after`, ascending, until it returns false. BLOCKING. */
MUST_USE enum err upload_parts_each(struct mountpath *m, const struct segment_id *upload, uint32_t after,
                                    bool (*fn)(void *arg, uint32_t number, const struct part_record *p), void *arg);

/* Within a commit that ends an upload: deletes its part records, not their segments. */
void txn_delete_parts(struct txn *t, const struct segment_id *upload);

/* The end of an upload whose record was deleted: drops its parts with their segments. Never fails: what can't be dropped now is
 * left to garbage collection. */
struct parts_drop {
    struct commit commit;
    struct mountpath *mountpath;
    struct segment_id upload;
    struct offload_task task;
    struct segment_id *segments; /* read on the pool */
    size_t count, cap;
    struct call *whole;
    struct call call;
    struct offload *io;
};
void parts_drop_run(struct parts_drop *d, struct mountpath *m, const struct segment_id *upload, struct offload *io,
                    struct call *whole);

#endif
