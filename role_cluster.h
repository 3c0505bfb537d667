/* role_cluster.h - a process's part in a cluster: shared state in etcd, who the other nodes are, how they are reached.
 *
 * Owns     all of it; lanes own their connections.
 * Errors   a sentence for a person in `why`.
 * Thread   main; role_cluster_peers() any.
 */
#ifndef SLUICE_ROLE_CLUSTER_H
#define SLUICE_ROLE_CLUSTER_H

#include "gateway/view.h"
#include "http/peer.h"
#include "role.h"
#include "store/remote.h"

struct role_cluster {
    struct role *role;
    struct meta *meta;
    struct members *members;
    struct tls_client *tls; /* to other nodes; NULL = plain */
    struct view view;
};
/* Waits for etcd when it is not there yet, with a log line now and then, for a while or until SIGTERM. `self`: id of a target,
 * empty for a gateway; borrowed. */
MUST_USE enum err role_cluster_open(struct role_cluster *c, struct role *r, struct str self, char why[ROLE_WHY_MAX]);
void role_cluster_close(struct role_cluster *c);
/* A loop's connections to other nodes. */
struct peer_pool *role_cluster_peers(const struct role_cluster *c, struct loop *loop);
struct remote_env role_cluster_remote(const struct role_cluster *c, struct loop *loop, struct peer_pool *peers);
/* What operators are told of the cluster; `arg` of all is &c->view. */
struct control_role role_cluster_control(struct role_cluster *c);

#endif
