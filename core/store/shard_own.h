/* shard_own.h - internal to shard*.c: the nodes of the map and the stores by which they are asked.
 *
 * Owns     the shard holds the map that `nodes` goes by. A node's store is made when first asked and closed when the node has left the map
 *          and its last user is gone.
 * Thread   the loop's.
 */
#ifndef SLUICE_STORE_SHARD_OWN_H
#define SLUICE_STORE_SHARD_OWN_H

#include "base/mem.h"
#include "store/shard.h"

enum { SHARD_TRIES = 3 /* plans of one call: the map may change under it */ };

struct shard_node {
    struct store *store;
    bool carries_epoch; /* a remote store */
    bool is_mine;
    bool gone;
    unsigned users;
    uint64_t logged_ns; /* when it was last said to be unavailable */
    uint64_t unsaid;    /* calls refused since */
};

struct shard {
    struct store store;
    struct shard_env env;
    const struct map *map;
    struct shard_node **nodes; /* by position in map; NULL: not asked yet */
    uint64_t logged_ns;        /* when it was last said that there are none */
};

#define SHARD(s) CONTAINER(s, struct shard, store)

/* Follows the newest map and returns it; valid until the loop's next callback, or for as long as it is held. */
const struct map *shard_map(struct shard *s);
/* The newest map differs from the one with this epoch. */
bool shard_map_changed(struct shard *s, uint64_t epoch);
/* One more user of the node at that position of shard_map(). ERR_UNAVAILABLE (logged here): it is not to be asked just now. */
MUST_USE enum err shard_node_use(struct shard *s, uint16_t at, struct shard_node **out);
/* ERR_UNAVAILABLE, logged here. */
enum err shard_no_nodes(struct shard *s);
/* The same without using it: not logged. */
bool shard_node_usable(const struct shard *s, uint16_t at);
void shard_node_done(struct shard_node *n);
/* The node's store; the next call goes by the map with this epoch. */
struct store *shard_node_at(struct shard_node *n, uint64_t epoch);
/* Whether a plan by the map with `epoch` that ended in `e` is worth another one. */
bool shard_try_again(struct shard *s, uint64_t epoch, enum err e);

/* A node that holds keys or held some before the change that is being carried out. */
struct shard_part {
    uint16_t at;
    uint32_t weight, weight_before; /* 0: not in that placement */
};
/* All of them, in `arena`, by the map of shard_map(). */
size_t shard_parts(struct shard *s, struct arena *arena, struct shard_part **out);

/* Position of the node that answers for a key: its owner, or the lead of its members. By the map of shard_map(). ERR_UNAVAILABLE, logged
 * here: there are no nodes. */
MUST_USE enum err shard_lead(struct shard *s, const struct bucket_id *b, struct str key, uint16_t *out);
/* Which of the nodes a listing of a bucket with copies on several nodes asks; `usable`: which it could. ERR_UNAVAILABLE: something might
 * be left out. */
MUST_USE enum err shard_choose(const struct map *m, struct redundancy r, const struct shard_part *parts, size_t n,
                               const bool *usable, bool *ask);
/* The same for what has no copies: uploads. */
MUST_USE enum err shard_choose_any(struct redundancy r, const struct shard_part *parts, size_t n, const bool *usable,
                                   bool *ask);
/* Whether that what this node says of the key counts. */
bool shard_knows(const struct map *m, const struct bucket_id *b, struct str key, uint16_t node);

/* The methods in files of their own. */
void shard_obj_list(struct store *, const struct obj_list_req *, struct obj_list_res *, struct call *);
void shard_upload_list(struct store *, const struct upload_list_req *, struct upload_list_res *, struct call *);
void shard_bucket_purge(struct store *, const struct bucket_purge_req *, struct bucket_purge_res *, struct call *);

#endif
