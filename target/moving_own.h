/* moving_own.h - internal to moving*.c: a handle's nodes, where a key is, and settling it.
 *
 * Thread   the handle's loop.
 */
#ifndef SLUICE_TARGET_MOVING_OWN_H
#define SLUICE_TARGET_MOVING_OWN_H

#include <stdatomic.h>

#include "base/op.h"
#include "target/barrier.h"
#include "target/moving.h"

/* The first of the ETags in a condition by which a target tells another that it asks as a key's owner; no object has it. A request that was
 * let in by an older map may find itself at a node that owns its key no more, and must not be taken for the owner's. */
#define MOVING_MARK STR("\"-\"")

struct moving {
    struct members *members;
    struct str self;
    struct keylocks *locks;
    struct barrier writes; /* counted from before they look at the map until their end */
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

/* Which other node has an upload: `place` tells. ERR_NO_SUCH_UPLOAD: none has; ERR_UNAVAILABLE: none of those that can be reached. */
struct uploads_find {
    struct op op;
    struct moving_handle *handle;
    struct arena *arena;
    struct bucket_id bucket;
    struct str key, upload_id;
    struct call *whole;
    const struct map *map; /* held */
    uint16_t at;           /* position of the node that is asked */
    bool missed;           /* one could not be asked */
    struct part_list_req req;
    struct part_list_res res;
    struct moving_place place;
};
/* `f` zeroed but for handle, arena, bucket, key, upload_id. */
void uploads_find_run(struct uploads_find *f, struct call *whole);

/* A call about an upload, to the node that has it. */
enum uploads_method { UPLOADS_PART, UPLOADS_ABORT, UPLOADS_LIST };
struct uploads_forward {
    enum uploads_method method;
    const void *req;
    void *res;
    struct arena *arena;
    struct bucket_id bucket;
    struct str key, upload_id;
    struct call *whole;
};
void uploads_forward(struct moving_handle *h, const struct uploads_forward *what);

/* Brings one key here for good; the key is locked by the caller. */
struct settle {
    struct op op;
    struct moving_handle *handle;
    const struct moving_place *place;
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    bool as_new; /* obj_import_req */
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
