/* rpc_etl.h - a target's answer to gateways that want an object transformed (etl/nodes.h).
 *
 * Shape    a http_handler for ETL_NODES_RUN beside rpc.h's, on the same listener: signature, description, run it through `door`, answer.
 * Owns     nothing it is given.
 * Errors   ERR_ACCESS_DENIED for anything unsigned, before the body is looked at; otherwise the door's.
 * Thread   one per loop.
 */
#ifndef SLUICE_TARGET_RPC_ETL_H
#define SLUICE_TARGET_RPC_ETL_H

#include "etl/nodes.h"
#include "http/message.h"

struct rpc_etl_env {
    struct loop *loop;
    struct etl_door *door;
    struct str cluster_key;
};
struct rpc_etl;
struct rpc_etl *rpc_etl_new(const struct rpc_etl_env *env);
/* Whether a request is for it. */
bool rpc_etl_takes(const struct http_req *req);
struct http_handler *rpc_etl_handler(struct rpc_etl *r);
/* No requests outstanding. NULL is legal. */
void rpc_etl_free(struct rpc_etl *r);

#endif
