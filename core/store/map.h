/* map.h - who is in the cluster and where keys live: one immutable value per epoch, and the placement computed from it.
 *
 * Shape    a map is shared and never changed; struct members (members.h) hands out the current one. Its record is the meta
 *          key "map": {"format":1,"epoch":n,"nodes":[{"id","zone","address","public","weight","state"}...],
 *          "previous":[{"id","weight"}...]}. "previous" is there while objects move: the placement of the epoch before the
 *          change that is being carried out. Whether a node is alive is not in the map (members.h).
 * Units    weights: capacity in GiB, at least 1.
 * Owns     a map owns all it points to; map_hold() and map_release() count who uses it.
 * Errors   map_parse(): ERR_CORRUPT for what is no map, ERR_NOT_IMPLEMENTED for a newer format.
 * Thread   any.
 * Source   weighted rendezvous hashing: a node's score of a key is -weight / ln(h), h uniform in (0, 1)
 *          (Schindelhauer, Schomaker: "Weighted distributed hash tables", 2005).
 */
#ifndef SLUICE_STORE_MAP_H
#define SLUICE_STORE_MAP_H

#include "base/arena.h"
#include "base/err.h"
#include "store/object.h"

enum { MAP_NODES_MAX = 1024, MAP_COPIES_MAX = 32, NODE_ID_LEN = 16 /* hex digits */ };

enum node_state {
    NODE_ACTIVE,
    NODE_MAINTENANCE, /* keeps its keys, is not asked for them: they are unavailable unless there is redundancy */
    NODE_LEAVING,     /* decommissioned: its keys move to the others, then it goes */
};

struct map_node {
    struct str id;
    struct str zone;           /* failure domain; empty = the node itself */
    struct str address;        /* internal "HOST:PORT" */
    struct str public_address; /* for redirects of native clients; empty = none */
    uint32_t weight;
    enum node_state state;
    uint64_t seed; /* of the id */
};

/* A node and its weight in one placement. */
struct map_share {
    uint16_t node; /* position in nodes */
    uint32_t weight;
};

struct map {
    uint64_t epoch; /* 0 = there is none yet */
    const struct map_node *nodes;
    uint16_t node_count;
    /* The placement: all nodes but leaving ones. */
    const struct map_share *shares;
    uint16_t share_count;
    /* The placement that objects are moved away from; count 0 = nothing is being moved. */
    const struct map_share *previous;
    uint16_t previous_count;
    struct map_own *own; /* map.c's */
};

/* Pure: the best `want` places of a key, best first; while zones remain unused, one per zone. Returns how many: fewer when there
 * are fewer nodes. */
size_t map_rank(const struct map *m, const struct map_share *shares, size_t share_count, uint64_t bucket_uid,
                struct str key, size_t want, uint16_t *out);
static inline size_t map_place(const struct map *m, uint64_t bucket_uid, struct str key, size_t want, uint16_t *out)
{
    return map_rank(m, m->shares, m->share_count, bucket_uid, key, want, out);
}
/* Where it was before the change that is being carried out. 0: nothing is being moved. */
static inline size_t map_place_before(const struct map *m, uint64_t bucket_uid, struct str key, size_t want,
                                      uint16_t *out)
{
    return map_rank(m, m->previous, m->previous_count, bucket_uid, key, want, out);
}
/* Position of the node, or -1. */
int map_find(const struct map *m, struct str id);

/* One more user. */
const struct map *map_hold(const struct map *m);
/* NULL is legal. */
void map_release(const struct map *m);
MUST_USE enum err map_parse(struct str record, const struct map **out);
/* The record of a map, in `arena`. */
struct str map_record(const struct map *m, struct arena *arena);

/* Changes: a new map with epoch + 1. ERR_EXISTS / ERR_NOT_FOUND / ERR_BUSY: objects are still being moved because of an earlier
 * change; ERR_CONFLICT: it would leave no node. An address or zone that changes moves nothing and is never ERR_BUSY. */
MUST_USE enum err map_add(const struct map *m, const struct map_node *node, const struct map **out);
MUST_USE enum err map_update(const struct map *m, const struct map_node *node,
                             const struct map **out); /* addresses, zone, weight */
MUST_USE enum err map_set_state(const struct map *m, struct str id, enum node_state state, const struct map **out);
/* A node that is gone for good, with what only it held. */
MUST_USE enum err map_remove(const struct map *m, struct str id, const struct map **out);
/* All objects are where they belong: drops `previous` and the nodes that were leaving. */
MUST_USE enum err map_settled(const struct map *m, const struct map **out);

#endif
