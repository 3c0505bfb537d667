/* role_stores.h - one loop's stores of a process that has disks, from these to what clients see.
 *
 * Shape    disks; of a target around them: moving, copies, the whole cluster; then buckets with a remote behind them, then views.
 * Owns     the stores of the loop; what the environment names outlives them.
 * Thread   the loop's; close: also once its thread has ended (loop_adopt()).
 */
#ifndef SLUICE_ROLE_STORES_H
#define SLUICE_ROLE_STORES_H

#include "role_cluster.h"
#include "role_etl.h"
#include "store/announce.h"
#include "store/backend.h"
#include "store/quota.h"
#include "target/local.h"
#include "target/moving.h"
#include "target/redundant.h"

struct role_stores_env {
    struct role *role;
    struct local *local;
    struct backends *backends;
    struct buckets *buckets;
    struct arc_cache *archives;        /* of views' members */
    struct role_etl *etl;              /* NULL: views can't be read */
    const struct announcer *announcer; /* NULL: no webhooks */
    struct quotas *quotas;
    /* of a target; NULL on one machine */
    struct role_cluster *cluster;
    struct moving *moving;
    struct redundant *redundant;
};
struct role_stores {
    struct peer_pool *peers;
    struct remote_env remote;
    struct store *mine;    /* the disks */
    struct store *moving;  /* around it: buckets of one copy */
    struct store *wide;    /* around both: all buckets */
    struct store *shard;   /* all nodes */
    struct store *kept;    /* buckets with a remote, too */
    struct etl_door *door; /* over `kept` */
    struct arcs *arcs;     /* the same; NULL without views */
    struct store *views;   /* buckets that show others through ETLs, too; NULL without */
    struct store *told;    /* around that: webhooks are told of writes; NULL without */
    struct store *bounded; /* around that: quotas of buckets */
    struct store *all;     /* as clients see it: the outermost of these */
};
void role_stores_open(struct role_stores *s, const struct role_stores_env *env, struct loop *loop);
/* Harmless on a zeroed one. */
void role_stores_close(struct role_stores *s);

#endif
