/* moving_own.h - internal to moving*.c: a handle's nodes, where a key is, and settling it.
 *
 * Thread   the handle's loop.
 */
#ifndef SLUICE_TARGET_MOVING_OWN_H
#define SLUICE_TARGET_MOVING_OWN_H

#include "base/op.h"
#include "target/moving.h"

struct moving {
    struct members *members;
    struct str self;
    struct keylocks *locks;
};

struct moving_node {
    struct moving_node *next;
    struct store *store;
    bool carries_epoch; /* a remote store */
    char id[NODE_ID_LEN];
};

struct moving_handle {
    struct store store;
    struct moving *moving;
    struct moving_env env;
    struct moving_node *nodes; /* those that were asked; until close */
};
#define MOVING(s) CONTAINER(s, struct moving_handle, store)

enum moving_where {
    MOVING_OURS,    /* here, and nowhere else */
    MOVING_COMING,  /* ours, but maybe still at `from` */
    MOVING_LEAVING, /* another node's, but was ours before */
    MOVING_FOREIGN,
};
struct moving_place {
    enum moving_where where;
    uint64_t epoch;
    bool asleep; /* `from` is in maintenance */
    char from[NODE_ID_LEN];
};
void moving_place(struct moving *m, uint64_t uid, struct str key, struct moving_place *out);
/* P's store, whose next call goes by the map of `place`. */
struct store *moving_from(struct moving_handle *h, const struct moving_place *place);

/* Brings one key here for good; the key is locked by the caller. */
struct settle {
    struct op op;
    struct moving_handle *handle;
    const struct moving_place *place;
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    struct call *whole;
    unsigned tries;
    struct str etag; /* of what was imported; empty: nothing was seen */
    struct obj_delete_req delete_req;
    struct obj_delete_res delete_res;
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct obj_get_req get_req;
    struct obj_get_res get;
    struct body_check check;
    struct obj_import_req import_req;
    struct obj_import_res import;
    bool moved;
    uint64_t bytes;
};
/* `s` zeroed but for handle, place, arena, bucket, key. */
void settle_run(struct settle *s, struct call *whole);

#endif
