/* members_own.h - what the files of members share: members.c (the view), members_join.c, members_change.c.
 *
 * Thread   as in members.h.
 */
#ifndef SLUICE_STORE_MEMBERS_OWN_H
#define SLUICE_STORE_MEMBERS_OWN_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/members.h"

#define MEMBERS_MAP     STR("map")
#define MEMBERS_ALIVE   STR("alive/")
#define MEMBERS_REMOVED STR("removed/") /* ids that never come back: written before they leave the map */

struct follower;
struct members {
    struct members_conf conf;
    char self[NODE_ID_LEN];
    struct follower *follower;
    atomic_bool fetching;        /* one reads the map for all that wait */
    struct meta_lease *lease;    /* of the thread that joins and leaves */
    struct members_sync *sync;   /* members_sync.c's; NULL = not begun */
    _Atomic uint64_t known_puts; /* of the lease when the map was last read for it */
    pthread_rwlock_t lock;
    struct { /* guarded by lock */
        const struct map *map;
        uint64_t fence;             /* newest epoch ever seen, in a map or a request */
        char (*alive)[NODE_ID_LEN]; /* ordered */
        size_t alive_n, alive_cap;
        char *lease_value; /* heap; NULL = has not joined */
    } locked;
};

/* Ends what members_watch_sync() began. Harmless when it has not. */
void members_sync_end(struct members *m);

/* A map that was read or written: takes over the reference; older ones than the current are dropped. */
void members_learn(struct members *m, const struct map *map);
/* The map of a record that a get answered; ERR_NOT_FOUND: the map before there is one. */
MUST_USE enum err members_read(enum err got, const struct meta_get_res *res, const struct map **map,
                               uint64_t *revision);

#endif
