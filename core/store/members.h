/* members.h - this process's view of the cluster: the current map, who is alive, and changes of both.
 *
 * Shape    follows the meta keys "map" and "alive/<id>"; a target joins with members_join(). Map changes are compare-and-swaps of the
 *          record, so that two of them never both succeed. An id that was removed is kept as "removed/<id>" and never joins again.
 * Owns     keeps its own references to maps. `meta` outlives it.
 * Errors   ERR_UNAVAILABLE while the meta store can't be reached, ERR_CONFLICT: somebody else changed it meanwhile and the change
 *          does not apply any more.
 * Thread   shared by all loops; calls finish on their own loop.
 *          members_map(), members_alive(), members_fence(): any thread, without waiting.
 * Source   docs/consistency.md states the rule that these functions carry out.
 */
#ifndef SLUICE_STORE_MEMBERS_H
#define SLUICE_STORE_MEMBERS_H

#include "store/map.h"
#include "store/meta.h"

struct members_conf {
    struct meta *meta;
    struct str self;  /* id of this target; empty for a gateway */
    uint32_t lease_s; /* a target that is silent for so long counts as not alive */
};

struct members;
/* Loads the map (there may be none yet) and follows it. BLOCKING, before loops run. */
MUST_USE enum err members_open(const struct members_conf *conf, struct members **out);
/* Ends the lease. */
void members_close(struct members *m);

/* The newest map this process knows; map_release() it. Never NULL: epoch 0 while there is none. */
const struct map *members_map(struct members *m);
/* Whether the node's lease is held, as far as this process knows. While the meta store is away everybody is as they were. */
bool members_alive(struct members *m, struct str id);

/* Whether this target's own lease is held for certain: it was renewed, counted from when that was asked for, less than its time to live
 * ago (CLOCK_BOOTTIME, so that a process or machine that slept knows). Only then nobody else can have been told that it is out. */
bool members_confirmed(struct members *m);
/* Keeps the sync of nodes as it is: puts those out whose lease has ended, and brings this one back when it was put out. Only while
 * `wanted(arg)` says that there is a bucket with copies on several nodes. Runs until members_close(). Before loops run. */
void members_watch_sync(struct members *m, bool (*wanted)(void *arg), void *arg);

/* What a target does with the epoch of a request.
 *   ERR_OK            it is ours; *out = our map, to be released
 *   ERR_STALE_EPOCH   it is older than the newest that was ever seen here, in a map or in a request: the sender refreshes
 *   ERR_UNAVAILABLE   it is newer than our map: from now on older requests are refused, and the map is fetched;
 *                     members_wait() for it, then try again */
MUST_USE enum err members_fence(struct members *m, uint64_t epoch, const struct map **out);
/* Finishes when the map has at least that epoch; asks the meta store rather than waiting for its watch. ERR_TIMEOUT after
 * timeout_ms. */
struct members_wait_req {
    uint64_t epoch;
    uint32_t timeout_ms;
};
void members_wait(struct members *m, const struct members_wait_req *req, struct call *call);

/* Adds this target to the map, or updates its addresses and weight there, and holds its lease from then on, also across outages
 * of the meta store. While there is no placement it waits, at most a second or so after the last that came, to make one with all that are
 * there; later its coming begins a move, or it is a member that holds nothing until the move that is going on has ended.
 * ERR_BUSY: another process holds the lease of that id: one of another address that is still there after waiting for the lease to run
 * out (a target that was killed comes back at its own address at once). ERR_CONFLICT: its id was removed; what it holds is out of date.
 * ERR_UNAVAILABLE: the meta store can't be reached for half a minute. BLOCKING, before loops run. `why`: a sentence. */
MUST_USE enum err members_join(struct members *m, const struct map_node *self, char why[256]);
/* Ends the lease at once, so that others stop asking this target; all else goes on. BLOCKING. Harmless when it has not joined. */
void members_leave(struct members *m);

/* An administrator's change, or the end of a move; repeats the compare-and-swap while others get in between. A state that is so
 * already is ERR_OK. ERR_NOT_FOUND: no such node; ERR_CONFLICT: see map.h; ERR_UNAVAILABLE may come after it took effect. */
enum members_verb {
    MEMBERS_ACTIVATE,
    MEMBERS_MAINTENANCE,
    MEMBERS_DECOMMISSION,
    MEMBERS_REMOVE,
    MEMBERS_SETTLED,
    MEMBERS_OUT, /* its lease has ended: only carried out while it is not held, as etcd says in the same transaction */
    MEMBERS_CATCH, /* it is back */
};
struct members_change_req {
    enum members_verb verb;
    struct str id; /* of the node; MEMBERS_SETTLED: none */
    /* MEMBERS_SETTLED: the term that has ended, as all have told that take part in writes, reachable or not; in another one nothing is
     * done: ERR_CONFLICT. And the fewest copies on several nodes that a bucket has, 0 = not known (map_settled_width()). */
    uint64_t epoch;
    unsigned width;
};
struct members_change_res {
    uint64_t epoch; /* of the map that resulted */
};
void members_change(struct members *m, const struct members_change_req *req, struct members_change_res *res,
                    struct call *call);

#endif
