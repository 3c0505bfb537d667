/* redundant_kit.h - a cluster with copies in one loop: memory stores, each with its own view of the map, behind a switch that loses, delays and holds.
 *
 * Shape    one cluster at a time; node i has the id "000000000000000<i+1>". Maps are made by the real map_*() functions; members.h and
 *          remote.h are played here. What a node has is reached by node->memory, what clients are served by node->serves.
 * Thread   one loop.
 */
#ifndef SLUICE_TESTS_REDUNDANT_KIT_H
#define SLUICE_TESTS_REDUNDANT_KIT_H

#include "unit.h"

#include "store/memdata.h"
#include "target/redundant.h"

enum { RED_NODES = 6, RED_TURNS = 6 };

struct members {
    const struct map *map;
    uint64_t fence;
    struct red_test_node *node;
};
struct red_test_node {
    char id[NODE_ID_LEN + 1];
    struct members members;
    struct store *memory; /* what it has */
    struct store slow;    /* around it: waits while `held` */
    struct store *serves, *member;
    struct redundant *redundant;
    bool cut;        /* from all other nodes and from the map */
    bool alive;      /* as the others are told; it may hold its lease no longer than that */
    bool confirmed;  /* as it knows itself */
    bool held;       /* its disk: nothing is read or written until it is let go */
    bool hold_gates; /* what passed the gate waits before it commits */
    unsigned gates;  /* so many do */
    unsigned lost;   /* so many answers get lost after the method took effect */
    unsigned refuse; /* so many calls are not delivered */
    unsigned calls;  /* delivered by other nodes */
};

struct red_test {
    struct loop *loop;
    struct red_test_node nodes[RED_NODES];
    unsigned count;
    const struct map *newest;
    uint64_t seed;
    bool delays; /* calls between nodes take some turns */
    struct bucket_id bucket;
};
extern struct red_test red;

/* The first `in_map` of them are in the map and in sync. */
void red_open(struct loop *loop, unsigned nodes, unsigned in_map, struct redundancy r, uint64_t seed);
void red_close(void);
uint64_t red_random(uint64_t below);
struct red_test_node *red_node(struct str id);
struct red_test_node *red_at(uint16_t position); /* in the newest map */

/* ---- maps ---- */

/* Takes it; nobody knows of it yet. */
void red_publish(const struct map *map);
void red_learn(struct red_test_node *n);
void red_learn_all(void); /* who isn't cut off */
/* The node's lease has ended, and another node says so. False: it can't be. */
bool red_out(struct red_test_node *n);
void red_back(struct red_test_node *n);
void red_add(unsigned node);
/* The members of a key by the newest map, best first. */
struct map_members red_members(struct str key);
struct red_test_node *red_lead(struct str key);

/* ---- calls ---- */

typedef void red_ask_fn(struct store *, const void *req, void *res, struct call *);
/* From a client that knows `map`. */
void red_hop(struct red_test_node *to, const struct map *map, red_ask_fn *ask, const void *req, void *res,
             struct call *c);
#define M(m) void red_ask_##m(struct store *s, const void *req, void *res, struct call *c);
STORE_METHODS(M)
#undef M

/* Blocking, by the newest map, at that node or (NULL) the lead. */
struct red_wait {
    struct call call;
    bool done;
};
struct call *red_begin(struct red_wait *w);
enum err red_end(struct red_wait *w);
void red_turns(int n);
struct red_put {
    struct red_wait wait;
    struct arena arena;
    struct body_check check;
    struct source *body;
    struct obj_put_req req;
    struct obj_put_res res;
};
/* NULL cond: none. */
void red_put_start(struct red_put *p, struct red_test_node *at, struct str key, const char *content,
                   const struct cond *cond);
enum err red_put_end(struct red_put *p);
enum err red_put(struct red_test_node *at, struct str key, const char *content);
enum err red_delete(struct red_test_node *at, struct str key);
/* "" on ERR_NO_SUCH_KEY, "!" and the error's name on any other; static. */
const char *red_get(struct red_test_node *at, struct str key);
enum err red_settle(struct red_test_node *at, struct str key);
/* What the node has itself, "" = nothing. */
const char *red_has(struct red_test_node *n, struct str key);
/* Settles those keys everywhere as the scan of a term does, says so to all, ends the term. False: it couldn't be done. */
bool red_scan(const struct str *keys, unsigned n);

#endif
