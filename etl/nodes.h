/* nodes.h - transforms at the nodes of a cluster: the door of a gateway.
 *
 * Shape    POST ETL_NODES_RUN to the node that has the object (of a body: that would have it), signed as all requests between nodes (nodehead.h); its
 *          description (MessagePack) is the header "sluice-req", a body is the content. The answer is the result, described by "sluice-res";
 *          an error has "sluice-err: NAME". When that node can't be reached and nothing of a body is gone, others are asked in the order
 *          of the placement: they read the object from where it is.
 *          POST ETL_NODES_LOGS to a node, described by the ETL's name: the answer is its log.
 * Owns     nothing it is given.
 * Errors   those of the node's door (etls.h); ERR_UNAVAILABLE: no node can be reached; ERR_TOO_LARGE: the arguments are too long to be sent.
 * Thread   the loop's.
 */
#ifndef SLUICE_ETL_NODES_H
#define SLUICE_ETL_NODES_H

#include "etl/etls.h"
#include "store/remote.h"

#define ETL_NODES_RUN  "/etl/1/run"
#define ETL_NODES_LOGS "/etl/1/logs"

/* Closed like any door. */
struct etl_door *etl_nodes_door(const struct remote_env *env);

/* Descriptions. What is decoded borrows from the bytes, or lives in the arena; a request for an object comes with its obj_get_req. */
void etl_nodes_put_req(struct buf *b, const struct etl_run_req *req);
MUST_USE enum err etl_nodes_get_req(struct str bytes, struct arena *arena, struct etl_run_req *req);
/* All but the body; longer texts are cut. */
void etl_nodes_put_res(struct buf *b, const struct etl_run_res *res);
MUST_USE enum err etl_nodes_get_res(struct str bytes, struct arena *arena, struct etl_run_res *res);

#endif
