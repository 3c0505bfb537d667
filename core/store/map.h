/* map.h - who is in the cluster and where keys live: one immutable value per epoch, and the placement computed from it.
 *
 * Shape    a map is shared and never changed; struct members (members.h) hands out the current one. Its record is the meta
 *          key "map": {"format":1,"epoch":n,"moving_since":n,"term":n,"nodes":[{"id","zone","address","public","weight","state",
 *          "sync","out_since","share","previous","share_zone","previous_zone"}...],"gone":[{"id","share","previous","share_zone",
 *          "previous_zone"}...]}; without "sync" a node is in sync, without zones of placements they are its own. A node's share is its weight in the placement, previous its weight in the placement that
 *          objects are moved away from; without the member it has none. Whether a node is alive is not in the map (members.h).
 *          What nodes are and what the placement is may differ: only one move goes on at a time, so what changes meanwhile
 *          (a node added, decommissioned, of another weight) waits in the map and becomes the next move by map_settled().
 * Units    weights: capacity in GiB, at least 1.
 * Owns     a map owns all it points to; map_hold() and map_release() count who uses it.
 * Errors   map_parse(): ERR_CORRUPT for what is no map, ERR_NOT_IMPLEMENTED for a newer format.
 * Thread   any.
 * Source   weighted rendezvous hashing: hrw.h.
 */
#ifndef SLUICE_STORE_MAP_H
#define SLUICE_STORE_MAP_H

#include "base/arena.h"
#include "base/err.h"
#include "store/object.h"

enum {
    MAP_NODES_MAX = 1024,
    MAP_COPIES_MAX = 32,
    MAP_ZONE_MAX = 64,
    MAP_ADDRESS_MAX = 300,
    NODE_ID_LEN = 16 /* hex digits */
};

enum node_state {
    NODE_ACTIVE,
    NODE_MAINTENANCE, /* keeps its keys, is not asked for them: they are unavailable unless there is redundancy */
    NODE_LEAVING,     /* decommissioned: its keys move to the others, then it goes */
};
/* "active" */
struct str node_state_name(enum node_state s);

/* Whether a node has everything that was written to the buckets with copies on several nodes. For buckets of one copy it means nothing. */
enum node_sync {
    SYNC_IN,       /* takes part in all writes */
    SYNC_OUT,      /* was silent for a lease, or in maintenance: writes go on without it */
    SYNC_CATCHING, /* is back: takes part in all writes, gets what it has missed, answers no reads */
};
struct str node_sync_name(enum node_sync s);

struct map_node {
    struct str id;
    struct str zone;           /* failure domain; empty = the node itself */
    struct str address;        /* internal "HOST:PORT" */
    struct str public_address; /* for redirects of native clients; empty = none */
    uint32_t weight;           /* what it shall have in the placement */
    enum node_state state;
    enum node_sync sync;
    uint64_t out_since; /* epoch by which it was first left out; 0 when in sync */
    uint64_t seed;      /* of the id; map.c fills it */
};

/* A node and its weight in one placement. */
struct map_share {
    uint16_t node; /* position in nodes */
    uint32_t weight;
    uint16_t zone_no; /* shares of one zone have the same; map.c fills it */
    struct str zone;  /* by which it is placed: where the node was when the placement was made */
};

struct map {
    uint64_t epoch; /* 0 = there is none yet */
    const struct map_node *nodes;
    uint16_t node_count;
    /* The placement. A node that waits for the end of a move to get its share is not in it; count 0 = no placement was made yet. */
    const struct map_share *shares;
    uint16_t share_count;
    /* The placement that objects are moved away from; count 0 = nothing is being moved. */
    const struct map_share *previous;
    uint16_t previous_count;
    uint64_t moving_since; /* epoch that began the move; epochs of changes meanwhile are of the same move. 0 = none */
    uint64_t
        term; /* epoch of the last change of a placement or of a sync: leads may have changed, keys may have to be settled since.
                      * In the record "term"; a record without it: its epoch */
    struct map_own *own; /* map.c's */
};

/* Pure: the best `want` places of a key, best first; while zones remain unused, one per zone, then a second one and so on. Returns
 * how many: fewer when there are fewer nodes. */
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
/* Who has the objects of one key in a bucket with copies on `want` nodes. */
struct map_members {
    uint16_t nodes[MAP_COPIES_MAX]; /* positions, best first */
    size_t count;
    int lead; /* index in nodes: the first in sync and in use; when there is none, of those that went out last the first (all others may
               * have missed writes), whether it can be reached or not. -1: no placement */
};
void map_members(const struct map *m, uint64_t bucket_uid, struct str key, size_t want, struct map_members *out);
/* By the placement before; count 0: nothing is being moved. */
void map_members_before(const struct map *m, uint64_t bucket_uid, struct str key, size_t want, struct map_members *out);
/* Whether what that member has is right, as far as a member can know: it is in sync, or went out last. */
bool map_member_knows(const struct map *m, const struct map_members *s, size_t member);

/* Position of the node, or -1. */
int map_find(const struct map *m, struct str id);
/* Weight of the node at that position in a placement of this map; 0 = it holds nothing there. */
uint32_t map_share_of(const struct map_share *shares, size_t share_count, int node);

/* One more user. */
const struct map *map_hold(const struct map *m);
/* NULL is legal. */
void map_release(const struct map *m);
/* The map before there is one: epoch 0, no nodes. */
const struct map *map_none(void);
MUST_USE enum err map_parse(struct str record, const struct map **out);
/* The record of a map, in `arena`. */
struct str map_record(const struct map *m, struct arena *arena);

/* Changes: a new map with epoch + 1. A change of the placement begins a move, or waits for the end of the one that is going on: none
 * is ever refused because of a move. An address that changes moves nothing; a zone says where copies go, so it is a change of the
 * placement. A node that leaves goes at once when it holds nothing. ERR_EXISTS / ERR_NOT_FOUND; ERR_CONFLICT: no node would be left to hold objects; ERR_INVALID_ARGUMENT: not a node's
 * id, zone, address or weight; ERR_TOO_LARGE: over MAP_NODES_MAX. */
MUST_USE enum err map_add(const struct map *m, const struct map_node *node, const struct map **out);
/* Addresses, zone, weight. */
MUST_USE enum err map_update(const struct map *m, const struct map_node *node, const struct map **out);
/* ERR_CONFLICT also for maintenance of a node that leaves: its objects would be out of reach while they are moved. */
MUST_USE enum err map_set_state(const struct map *m, struct str id, enum node_state state, const struct map **out);
/* OUT: another node saw its lease end; refused (ERR_CONFLICT) when no other would be in sync. Maintenance puts it out, too. CATCHING: the node
 * itself, when it is back; a node that is in stays in. ERR_EXISTS: it is so already. Begins a term. */
MUST_USE enum err map_set_sync(const struct map *m, struct str id, enum node_sync sync, const struct map **out);
/* A node that is gone for good, with what only it held. A move that is going on begins anew. Its place stays known until all others
 * have settled (map_members() leaves it out): who takes it over had nothing to do with those keys, and must not be taken for one
 * who knows. So it begins a move even where keys of one copy go nowhere. */
MUST_USE enum err map_remove(const struct map *m, struct str id, const struct map **out);
/* All objects are where they belong: drops `previous` and the nodes that were leaving, begins the move that was waiting; who was catching
 * up is in sync, unless a node that is still out went out later and there may be keys that only those have who are not in sync: their
 * newest version is there. That begins a term. A move goes on while so many nodes of the placement before are out that some keys may be on
 * none of the others. `width`: the fewest copies on several nodes that any bucket has; 0 = not known, 2.
 * ERR_CONFLICT: nothing is being moved, and nobody could be in sync now. */
MUST_USE enum err map_settled_width(const struct map *m, unsigned width, const struct map **out);
MUST_USE static inline enum err map_settled(const struct map *m, const struct map **out)
{
    return map_settled_width(m, 0, out);
}

/* How a cluster begins: nodes gather in a map without a placement, which nobody can write by; then one change makes the first
 * placement of all of them, and nothing needs to be moved. ERR_CONFLICT: there is a placement already. */
MUST_USE enum err map_gather(const struct map *m, const struct map_node *node, const struct map **out);
MUST_USE enum err map_form(const struct map *m, const struct map **out);

#endif
