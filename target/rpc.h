/* rpc.h - a target's answer to other nodes: the store's methods over HTTP (wire.h).
 *
 * Shape    a http_handler for the internal listener: signature, epoch, method, run it on `mine`, answer. GET /v1/health and /v1/metrics are the
 *          gateway's control, served beside it by whoever owns the listener.
 * Owns     nothing it is given.
 * Errors   ERR_ACCESS_DENIED for anything unsigned, before the body is looked at; ERR_STALE_EPOCH with the newer epoch; otherwise the
 *          store's.
 * Thread   one per loop.
 */
#ifndef SLUICE_TARGET_RPC_H
#define SLUICE_TARGET_RPC_H

#include "store/members.h"
#include "store/wire.h"
#include "http/message.h"

struct rpc_env {
    struct loop *loop;
    struct store *mine;
    struct store *member; /* answers WIRE_MEMBER_PREFIX; NULL: nothing is there */
    /* Tells `member` the epoch of the request whose method is run next: redundant_member_at(). May be NULL. */
    void (*member_at)(struct store *member, uint64_t epoch);
    struct members *members;
    struct str cluster_key;
};
struct rpc;
struct rpc *rpc_new(const struct rpc_env *env);
struct http_handler *rpc_handler(struct rpc *r);
/* No requests outstanding. */
void rpc_free(struct rpc *r);

#endif
