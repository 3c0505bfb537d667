/* remote.h - the store of one other node, over peer connections.
 *
 * Shape    a store whose methods are wire requests (wire.h) to the node's internal address in the current map.
 * Owns     nothing it is given.
 * Errors   those of the node's store, and ERR_UNAVAILABLE when it can't be reached, has left the map, or the exchange broke. A request that
 *          is refused for its epoch is repeated once with the newer map, if nothing of its body was taken.
 * Thread   the loop's.
 */
#ifndef SLUICE_STORE_REMOTE_H
#define SLUICE_STORE_REMOTE_H

#include "http/peer.h"
#include "store/members.h"
#include "store/store.h"

struct remote_env {
    struct loop *loop;
    struct peer_pool *peers;
    struct members *members;
    struct str cluster_key;
    bool member; /* asks nodes for what they have themselves ("/rpc/1/member/..."): redundant.h */
};
/* For peer_conf.is_there: whether a node of the map that is alive has this address. `members`: struct members. */
bool remote_is_there(void *members, struct str address);
/* `id` is copied. */
struct store *remote_store_new(const struct remote_env *env, struct str id);
/* The epoch that calls from now on carry: that of the map by which the caller chose this node, whatever map is current when they are sent.
 * Such a call is not repeated by the remote when it is refused for its epoch, since another node may be the right one now: it waits until
 * the newer map is known here and fails with ERR_STALE_EPOCH. 0 (when new): the current map's, and repeated. */
void remote_store_at(struct store *remote, uint64_t epoch);

#endif
