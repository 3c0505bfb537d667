/* redundant_own.h - internal to redundant*.c: who has a key, the nodes' stores, settling, pushing.
 *
 * What holds, and why:
 *   1. A lead answers a write only when every member that its map counts in (in sync or catching up) has it, itself last. So
 *      what a lead shows is on all of them, and whoever of them leads next has all that was ever answered or shown.
 *   2. Members check the epoch with the key's lock held, and answer heads under it. So once a new lead has heard from a member, no
 *      write by an older map gets into that member any more: a lead that was paused, or has not heard of the change, can't
 *      finish a write; what it had finished was seen. A lead whose other members are all out by its own map needs nobody's word; but
 *      then the newer map can't name another lead: only who was in sync, or went out last, leads.
 *   3. The key's lock at the lead is held from the decision of the condition to the lead's own commit: conditions are atomic, and pushes
 *      of two writes never mix. Versions of a key grow by mtime.
 *   4. A write that fails on the way leaves members that differ. The lead goes on with what it has; the next write or delete
 *      goes to all. When the lead changes, a term begins: the new lead settles the key before it answers, the newest version of those
 *      who know wins. That write then takes effect late, or never: nobody was told otherwise.
 *   5. A member that does not know (it was out) counts for nothing until it is in sync: what it has is replaced or deleted, be it newer.
 *   6. What a member missed while it was out it may have kept: of keys that moved away meanwhile it is no member any more, so nobody settles it.
 *      It drops those before it is in sync: else they would count if the key ever came back to it.
 *   7. Locks are taken in one order: the lead's first, then members'. A member refuses what comes by an older map before it waits for its
 *      lock, so that a new lead that waits for a former one's write is not waited for by it.
 *
 * Thread   the handle's loop.
 */
#ifndef SLUICE_TARGET_REDUNDANT_OWN_H
#define SLUICE_TARGET_REDUNDANT_OWN_H

#include <stdatomic.h>

#include "base/op.h"
#include "target/barrier.h"
#include "target/keylock.h"
#include "target/redundant.h"
#include "target/slices.h"

struct redundant {
    struct members *members;
    struct str self;
    struct keylocks *locks;
    _Atomic uint64_t clean; /* the term that is settled here */
    struct barrier changes; /* of keys, and heads: from before the map is looked at until their end */
};

struct linger;
struct red_node {
    struct red_node *next;
    struct store *store;
    bool carries_epoch; /* a remote store */
    char id[NODE_ID_LEN];
};

struct red_handle {
    struct store store;
    struct redundant *redundant;
    struct redundant_env env;
    struct slices_env slices;
    struct red_node *nodes;   /* those that were asked; until close */
    struct linger *lingerers; /* slices of replaced objects that are still kept; redundant_write.c's */
    unsigned lingering;
    uint64_t epoch; /* member handles: of the request whose call comes next */
};
#define RED(s) CONTAINER(s, struct red_handle, store)

/* ---- who has a key ---- */

enum { RED_PEERS_MAX = 2 * REDUNDANCY_COPIES_MAX };
struct red_peer {
    char id[NODE_ID_LEN];
    bool self;
    bool is_now; /* a member by the current placement */
    bool knows;  /* what it has counts */
    bool knew;   /* by the placement before */
};
struct red_place {
    uint64_t epoch, term;
    bool leads;
    bool belongs;                         /* this node is a member by one of the placements, in sync or not */
    bool moves;                           /* there is a placement before */
    bool settled;                         /* this node's term is clean and its lease sure: what it has is right */
    bool informed;                        /* of each placement somebody who knows is among the peers */
    unsigned n, members;                  /* members: of the current placement, that take part in writes */
    struct red_peer peers[RED_PEERS_MAX]; /* that are to be asked */
};
void red_place(struct red_handle *h, const struct bucket_id *bucket, struct str key, struct red_place *out);
/* What a node has itself, own or another's; its next call goes by that epoch. */
struct store *red_store(struct red_handle *h, const char id[NODE_ID_LEN], uint64_t epoch);

/* ---- making members equal; the key's lock is held ---- */

struct red_answer {
    struct group_call member;
    struct obj_head_req req;
    struct obj_head_res res;
    bool there;
};
struct red_fix { /* of one peer */
    struct call call;
    struct red_settle *settle;
    struct call *done;
    unsigned peer;
    struct group_call member;
    struct obj_get_req get_req;
    struct obj_get_res get;
    struct obj_import_req import_req;
    struct obj_import_res import;
    struct obj_delete_req delete_req;
    struct obj_delete_res deleted;
    struct body_check check;
};
struct red_settle {
    struct op op;
    struct red_handle *handle;
    const struct red_place *place;
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    bool content; /* slices, too */
    struct call *whole;
    struct call_group group;
    struct red_answer answers[RED_PEERS_MAX];
    struct red_fix fixes[RED_PEERS_MAX];
    int best; /* peer that has what is right; -1: nobody */
    struct slices_settle_req slices_req;
    struct slices_settle_res slices;
    bool changed;
    uint64_t bytes;
};
/* `s` zeroed but for handle, place, arena, bucket, key, content. */
void red_settle_run(struct red_settle *s, struct call *whole);

/* ---- the key under lock, settled if need be ---- */

struct red_lock {
    struct op op;
    struct red_handle *handle;
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    struct call *whole;
    struct keylock lock;
    uint64_t epoch; /* by which it was asked for */
    unsigned turn;  /* barrier_let_in() */
    bool counted;   /* until it is dropped */
    struct red_place place;
    struct red_settle *settle;
};
/* `l` zeroed but for handle, arena, bucket, key. ERR_STALE_EPOCH: this node does not lead the key. With ERR_OK the lock is held: red_lock_drop() it. */
void red_lock_run(struct red_lock *l, struct call *whole);
/* Harmless when it isn't held; also for who was cancelled and didn't see that it was. */
void red_lock_drop(struct red_lock *l);

/* ---- the methods in files of their own ---- */

void redundant_obj_put(struct store *, const struct obj_put_req *, struct obj_put_res *, struct call *);
void redundant_obj_copy(struct store *, const struct obj_copy_req *, struct obj_copy_res *, struct call *);
void redundant_obj_splice(struct store *, const struct obj_splice_req *, struct obj_splice_res *, struct call *);
void redundant_obj_delete(struct store *, const struct obj_delete_req *, struct obj_delete_res *, struct call *);
void redundant_upload_create(struct store *, const struct upload_create_req *, struct upload_create_res *,
                             struct call *);
void redundant_upload_part(struct store *, const struct upload_part_req *, struct upload_part_res *, struct call *);
void redundant_upload_complete(struct store *, const struct upload_complete_req *, struct upload_complete_res *,
                               struct call *);
void redundant_upload_abort(struct store *, const struct upload_abort_req *, struct upload_abort_res *, struct call *);
void redundant_part_list(struct store *, const struct part_list_req *, struct part_list_res *, struct call *);
void redundant_bucket_purge(struct store *, const struct bucket_purge_req *, struct bucket_purge_res *, struct call *);
/* A Complete by the lead, of an upload that is here (`holder` NULL), or on another node: then it is completed there and written
 * from there like any object. */
void red_complete(struct red_handle *h, const struct upload_complete_req *req, struct upload_complete_res *res,
                  const char *holder, struct call *c);
/* A copy of an object with a layout onto itself, by the lead: only its record is written, everywhere. ERR_CONFLICT: it has no layout
 * any more. */
void red_label(struct red_handle *h, const struct obj_copy_req *req, struct obj_copy_res *res, struct call *c);
/* What lingers is forgotten. */
void red_linger_end(struct red_handle *h);
/* Handles of both kinds. */
struct red_handle *red_handle_new(struct redundant *r, const struct redundant_env *env, const struct store_ops *ops);
void red_handle_close(struct store *s);

#endif
