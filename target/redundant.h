/* redundant.h - a target's part in buckets whose objects are on several nodes: replicas and records of cut objects.
 *
 * Shape    a key's members are the first nodes of its ranking (map_members()). Its lead is the first that is in sync; what clients ask
 *          for goes there. A write runs under the key's lock at the lead: the body is stored, then (commit_gate) the condition is decided,
 *          the other members import the object, and last the lead commits: so what the lead shows is everywhere. A write
 *          that fails half-way may have taken effect or not; the next one, or settling, makes the members equal.
 *          Settling a key: ask all members, of the placement before as well during a move, whose answers wait for writes that they let in
 *          before they knew the newer map; the newest object among those in sync is right; the others import it, or delete what
 *          they have; nodes that are members no more lose theirs. Until a scan for the map's term has settled all keys that this
 *          node leads (redundant_clean()), and while its lease is in doubt (members_confirmed()), every request for a key settles it
 *          first.
 *          Buckets of one copy are passed on to `single` (moving.h).
 * Owns     the engine is shared by all loops; redundant_store() and redundant_member() make a loop's handles, which own their remote
 *          stores, not `mine` and `single`.
 * Errors   ERR_STALE_EPOCH: this node does not lead the key; ERR_UNAVAILABLE: too few members can be reached; those of the stores.
 * Thread   engine: any; a handle: its loop.
 * Source   docs/consistency.md, "Objects on several targets".
 */
#ifndef SLUICE_TARGET_REDUNDANT_H
#define SLUICE_TARGET_REDUNDANT_H

#include "store/members.h"
#include "store/remote.h"

struct redundant;
/* `self` is copied. */
struct redundant *redundant_new(struct members *members, struct str self);
/* No handles left. */
void redundant_free(struct redundant *r);

struct redundant_env {
    struct store *mine;       /* this node's own store */
    struct store *single;     /* for buckets of one copy; NULL for a member handle */
    struct remote_env remote; /* to other nodes, at member level */
    struct offload *cpu;      /* for the arithmetic of slices */
    /* For tests: makes the member-level store of a node instead of remote_store_new(); may be NULL. */
    struct store *(*node_store)(void *arg, struct str id);
    void *node_store_arg;
};
/* What clients, through gateways, ask this node. */
struct store *redundant_store(struct redundant *r, const struct redundant_env *env);
/* What leads ask this node as a member of a key ("/rpc/1/member/..."): its own store, where imports and deletes hold the key's lock
 * and look at the map once more when they have it (`epoch` by redundant_member_at()), and heads wait for writes that are let in. */
struct store *redundant_member(struct redundant *r, const struct redundant_env *env);
/* For whoever looks after slices; lives as long as the handle. */
struct slices_env;
const struct slices_env *redundant_slices(struct store *redundant);
/* The epoch of the request whose call comes next; ERR_STALE_EPOCH is decided against it. */
void redundant_member_at(struct store *member, uint64_t epoch);

/* Settles one key that this node leads: harmless for any other. With `content` it also looks at slices: those that are missing, on
 * the wrong node or damaged are put in place. ERR_UNAVAILABLE: not all members could be reached: look again later. */
struct redundant_settle_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    bool content;
};
struct redundant_settle_res {
    bool changed;   /* something was not in place */
    uint64_t bytes; /* that were sent or written for it */
};
void redundant_settle(struct store *redundant, const struct redundant_settle_req *req, struct redundant_settle_res *res,
                      struct call *call);
/* Finishes when all has ended that this node let in by an older map than its present one: writes that it led, and imports and deletes that
 * other leads sent. What it lists then shows all of it; a scan that lists before may miss a key. One at a time. */
void redundant_quiet(struct store *redundant, struct call *call);
/* All keys that this node leads were settled in that term (struct map). Any thread. */
void redundant_clean(struct redundant *r, uint64_t term);
bool redundant_is_clean(const struct redundant *r, uint64_t term);

#endif
