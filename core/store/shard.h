/* shard.h - one store over all nodes of the map: what a gateway serves, and what jobs on targets call `all`.
 *
 * Shape    a key's method goes to the node that the map places it on; listings ask all nodes and merge; bucket_purge asks all and unseals all
 *          when one refuses. Lists need no state between pages: the token is a key.
 * Owns     makes a remote store per node when first needed; `mine` (NULL on gateways) serves the node with the id `self`.
 * Errors   ERR_UNAVAILABLE when a node that must be asked is not alive: a listing is never silently short.
 * Thread   the loop's.
 */
#ifndef SLUICE_STORE_SHARD_H
#define SLUICE_STORE_SHARD_H

#include "store/remote.h"

struct shard_env {
    struct remote_env remote;
    struct str self;    /* id of this target; empty on a gateway */
    struct store *mine; /* its own store; not closed */
    /* For tests: makes the store of a node instead of remote_store_new(); may be NULL. */
    struct store *(*node_store)(void *arg, struct str id);
    void *node_store_arg;
};
struct store *shard_store_new(const struct shard_env *env);

#endif
