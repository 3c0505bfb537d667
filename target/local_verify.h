/* local_verify.h - whether what this node stores of an object is still what was stored.
 *
 * Shape    one object at a time, from the disk (around the page cache where the file system can): block hashes of every
 *          segment, and of every part, or of the whole, the checksum that its record keeps. Pages of keys: store_obj_list()
 *          on the node's own store, with any bucket's uid.
 * Owns     a MiB of memory and one descriptor per call.
 * Errors   ERR_CORRUPT, ERR_IO: res->damage says where (logged as well); ERR_NO_SUCH_KEY; ERR_UNAVAILABLE: its mountpath is out. An object that is replaced or deleted meanwhile
 *          is not damaged.
 * Thread   the loop of the call; works on the io pool, a few MiB at a time. Cancellable.
 */
#ifndef SLUICE_TARGET_LOCAL_VERIFY_H
#define SLUICE_TARGET_LOCAL_VERIFY_H

#include "target/local.h"

struct local_verify_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
};
/* Also filled on error, as far as it came; strs are the arena's. */
struct local_verify_res {
    struct object_info info; /* of what was looked at last, without attrs and tags */
    uint64_t bytes;          /* of content that were read and are right; with a layout none */
    struct str damage;       /* "segment <32 hex>: the MiB at 3145728", for people; empty: none */
};
/* All copies of a mirrored one: a damaged one is replaced by a sound one later, in the background. */
void local_verify(struct local *l, const struct local_verify_req *req, struct local_verify_res *res, struct call *call);

/* What one mountpath has. */
struct mountpath;
void local_verify_at(struct local *l, struct mountpath *m, const struct local_verify_req *req,
                     struct local_verify_res *res, struct call *call);

#endif
