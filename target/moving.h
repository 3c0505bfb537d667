/* moving.h - a target's own store while the cluster changes: serves keys that are still at their previous owner.
 *
 * Shape    a store around `mine`. N, the owner of a key by the current map, answers everything; P is its owner by the map's
 *          `previous`, when that is another node.
 *            reads          N's store, then P, then N's again: it may just have moved.
 *            writes         settle first: the object is imported here and deleted at P, so that a condition sees the true object
 *                           and nothing newer is ever at P. Then N's store alone.
 *            uploads        stay where they were begun, also after the move: an upload that is unknown here is looked for at all other nodes.
 *                           What a Complete made there is settled before it is answered.
 *            lists, purges  pass: the shard asks all nodes.
 *          P serves, of keys that it does not own now, only what N asks of it: reads, calls of uploads, and deletes and
 *          Completes that N marks as its own. All else is refused with ERR_STALE_EPOCH.
 *          A delete at P waits for writes of that key which P let in before it knew the newer map, and they look at the map once
 *          more when they are let in; so what N then finds at P changes no more.
 * Owns     the engine is shared by all loops; moving_store() makes a loop's handle, which owns its remote stores, not `mine`.
 * Errors   ERR_STALE_EPOCH; ERR_UNAVAILABLE: P can't be reached; ERR_CONFLICT; those of the stores.
 * Thread   engine: any; a handle: its loop.
 * Source   docs/consistency.md
 */
#ifndef SLUICE_TARGET_MOVING_H
#define SLUICE_TARGET_MOVING_H

#include "store/remote.h"
#include "target/keylock.h"

struct moving;
/* `self` is copied. */
struct moving *moving_new(struct members *members, struct str self);
/* No handles left. */
void moving_free(struct moving *m);

struct moving_env {
    struct store *mine;
    struct remote_env remote;
    /* For tests: makes the store of a node instead of remote_store_new(); may be NULL. */
    struct store *(*node_store)(void *arg, struct str id);
    void *node_store_arg;
};
struct store *moving_store(struct moving *m, const struct moving_env *env);

/* Finishes when every write that this node let in by an older map than its present one has ended: what is here then of keys that it does
 * not own is all there will be, but for what their owners do. One at a time. */
void moving_quiet(struct store *moving, struct call *call);

/* The mover's: settles one key. Harmless for a key that is here already or not ours. ERR_BUSY: somebody writes it, who has settled it or
 * does so now: look again later. */
struct moving_settle_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
};
struct moving_settle_res {
    bool moved; /* it was at P */
    uint64_t bytes;
};
void moving_settle(struct store *moving, const struct moving_settle_req *req, struct moving_settle_res *res,
                   struct call *call);

#endif
