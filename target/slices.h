/* slices.h - the slices of a cut object (erasure.h) over the nodes of its key's ranking.
 *
 * Shape    slice i belongs on the node that the map ranks i-th for the object's key. It is an ordinary object there, in the bucket's shadow
 *          (slices_bucket()), named by the object's key, the version's id and the slice's number, and never changed. Which version
 *          is the right one only the object's record tells: its layout. So slices need no order among nodes, and
 *          those that no record names are litter.
 *          Reading: the slice's node, its node by the placement before, then what `data` others give. A slice that breaks off is gone on
 *          with from the others.
 * Units    bytes.
 * Owns     nothing it is given; env outlives calls and bodies.
 * Errors   ERR_UNAVAILABLE: too few nodes can be reached; ERR_CORRUPT: too few slices are left, or no layout; those of the stores.
 * Thread   the loop of env.
 */
#ifndef SLUICE_TARGET_SLICES_H
#define SLUICE_TARGET_SLICES_H

#include "base/offload.h"
#include "store/members.h"
#include "store/store.h"

struct slices_env {
    struct loop *loop;
    struct offload *cpu;
    struct members *members;
    struct str self;    /* id of this node */
    struct store *mine; /* its own store */
    /* What another node has itself (member level), by the current map: a remote store is set to epoch 0. NULL: it can't be
     * asked. Stays the giver's; used at once. */
    struct store *(*node)(void *arg, struct str id);
    void *node_arg;
};

#define SLICES_UID  (UINT64_C(1) << 63) /* the shadow's uid is the bucket's with this bit turned */
#define SLICES_ATTR "x-sluice-key"      /* kept header of every slice: the object's key */
/* Where slices of a bucket's objects are: a bucket of one copy. */
struct bucket_id slices_bucket(struct bucket_id bucket);

/* ---- a slice by its name ---- */

enum { SLICES_KEY_LEN = 32 + 1 + 16 + 1 + 2 };
struct slices_name {
    struct str key; /* the object's */
    uint64_t id;    /* of the version */
    unsigned slice;
};
/* The slice's own key, in `arena`. */
struct str slices_key(struct arena *arena, const struct slices_name *name);
/* Back, from its key and attributes. ERR_CORRUPT: no slice. */
MUST_USE enum err slices_parse(struct str slice_key, const struct object_info *info, struct slices_name *out);

/* ---- all slices of a version ---- */

/* In a commit gate: makes the slices of the content and sends them. Nodes that are out are left out, all others must have theirs and there
 * must be redundancy_min_slices(), or it fails and takes away what it wrote. The layout is for visit->layout. */
struct slices_write_req {
    struct arena *arena;
    struct bucket_id bucket; /* with its redundancy */
    struct str key;
    struct gate_visit *visit;
};
struct slices_write_res {
    struct str layout; /* in `arena` */
};
void slices_write(const struct slices_env *env, const struct slices_write_req *req, struct slices_write_res *res,
                  struct call *call);

/* Bytes [offset, offset + len) of the content, len > 0. The first of them can be had when it answers; what goes wrong later is the body's. */
struct slices_read_req {
    struct bucket_id bucket;
    struct str key, layout; /* copied */
    uint64_t offset, len;
};
struct slices_read_res {
    struct source *body; /* exactly len bytes */
};
void slices_read(const struct slices_env *env, const struct slices_read_req *req, struct slices_read_res *res,
                 struct call *call);

/* Puts every slice in its place: those that are at a former node move, those that are missing, damaged or cut short are rebuilt. Of the version
 * that the record names, while nobody replaces it (the key's lock). ERR_UNAVAILABLE: not all nodes could be asked or
 * given theirs; what could be done was done. */
struct slices_settle_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key, layout;
    bool verify; /* read them all and compare with their own checksums */
};
struct slices_settle_res {
    unsigned moved, rebuilt; /* slices */
    uint64_t bytes;          /* sent or written */
};
void slices_settle(const struct slices_env *env, const struct slices_settle_req *req, struct slices_settle_res *res,
                   struct call *call);

/* Removes the slices of a version that no record names, wherever the map, or the placement before, may have put them. Nodes that can't be
 * reached keep theirs: litter. Ends with ERR_OK. */
struct slices_delete_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key, layout;
};
void slices_delete(const struct slices_env *env, const struct slices_delete_req *req, struct call *call);

/* ---- one slice of this node ---- */

/* Makes a damaged one anew out of the others, if the record names it. ERR_CORRUPT: too few of the others are left. */
struct slices_repair_req {
    struct arena *arena;
    struct bucket_id bucket; /* the objects' */
    struct store *all;       /* tells records: the whole cluster (shard.h) */
    struct str slice_key;
};
struct slices_repair_res {
    bool repaired;
    uint64_t bytes;
};
void slices_repair(const struct slices_env *env, const struct slices_repair_req *req, struct slices_repair_res *res,
                   struct call *call);

/* ---- litter ---- */

/* Of this node's own slices in a bucket, a page: removes those that no record names or that belong elsewhere, and which are older than any
 * write or read can take. `all` tells records: the whole cluster (shard.h). When a record can't be asked for its slices stay. */
struct slices_tidy_req {
    struct arena *arena;
    struct bucket_id bucket; /* the objects' */
    struct store *all;
    struct str after;      /* slices' keys */
    int64_t older_than_ns; /* wall clock: now less a grace */
};
struct slices_tidy_res {
    struct str next; /* `after` of the next page, in `arena`; empty: this was the last */
    uint32_t seen, removed;
    uint64_t bytes; /* removed */
};
void slices_tidy(const struct slices_env *env, const struct slices_tidy_req *req, struct slices_tidy_res *res,
                 struct call *call);

#endif
