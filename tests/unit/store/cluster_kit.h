/* cluster_kit.h - a cluster in one loop: memory stores as nodes, with a map, lives and faults as a test wants them.
 *
 * Shape    one cluster at a time. cluster_open() makes nodes "0000000000000001" and so on, all of them in the map and alive.
 * Owns     the nodes' stores live until cluster_close(), whoever closes the handles that cluster_node_store() gave.
 */
#ifndef SLUICE_TESTS_STORE_CLUSTER_KIT_H
#define SLUICE_TESTS_STORE_CLUSTER_KIT_H

#include "kit.h"
#include "store/memdata.h"
#include "store/shard.h"

enum { CLUSTER_MAX = 16 };

struct cluster_node {
    struct store *memory;
    char id[NODE_ID_LEN + 1];
    uint32_t weight;        /* 0: not in the placement */
    uint32_t weight_before; /* 0: not in the placement before */
    enum node_state state;
    enum node_sync sync;
    uint64_t out_since;
    bool alive;
    enum err fail;         /* what every call ends in; ERR_OK: none */
    unsigned fail_times;   /* only so many of them; 0: every one */
    bool fail_after;       /* only after the method did its work */
    unsigned stale;        /* so many calls end in ERR_STALE_EPOCH, having done nothing */
    unsigned turns;        /* every call waits up to so many turns before it begins */
    unsigned calls, lists; /* how many began */
    uint64_t asked;        /* entries asked for by listings */
    unsigned handles;      /* open */
};

struct cluster {
    struct loop *loop;
    struct cluster_node nodes[CLUSTER_MAX];
    unsigned count;
    uint64_t random;
    /* Called when a call reaches a node, before it begins. */
    void (*on_call)(struct cluster_node *n);
};

extern struct cluster cluster;

/* The first `in_map` of them are in the map. */
void cluster_open(struct loop *loop, unsigned nodes, unsigned in_map);
void cluster_close(void);
/* Makes a map of what the nodes say now: the next epoch. */
void cluster_remap(void);
/* Begins a move: the placement so far is the previous one. */
void cluster_move_begin(void);
void cluster_move_end(void);
struct store *cluster_shard(void);
/* A handle of the node's store. */
struct store *cluster_node_store(void *arg, struct str id);
struct cluster_node *cluster_owner(struct bucket_id bucket, struct str key);
/* All that have a key's objects, best first; returns how many. */
size_t cluster_members(struct bucket_id bucket, struct str key, struct cluster_node *out[CLUSTER_MAX]);
struct cluster_node *cluster_owner_before(struct bucket_id bucket, struct str key);
struct membucket *cluster_bucket(struct cluster_node *n, struct bucket_id bucket);
uint64_t cluster_random(uint64_t below);

#endif
