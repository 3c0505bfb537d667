/* rpc_fixture.h - a gateway's remote store and a target's rpc in one process and on one loop, over a real connection.
 *
 * Shape    rpc_fixture_open() around a store; members of both sides are counters that the test turns.
 * Owns     nothing but what it makes: `mine` stays the caller's.
 * Thread   the loop's.
 */
#ifndef SLUICE_TESTS_RPC_FIXTURE_H
#define SLUICE_TESTS_RPC_FIXTURE_H

#include "http/server.h"
#include "store/remote.h"
#include "target/rpc.h"

#define RPC_KEY  STR("the key of the cluster under test")
#define RPC_NODE STR("0123456789abcdef")

/* One side's view of the cluster; stands in for members.c, which would need a meta store and time. */
struct members {
    uint64_t epoch; /* of its map */
    struct str address;
    bool left;       /* the node is not in the map */
    bool away;       /* the node is not alive */
    uint64_t seen;   /* newest epoch of a request */
    uint64_t coming; /* what members_wait() finds in the meta store; 0 = it is away */
    unsigned waits;
};

struct rpc_fixture {
    struct loop *loop;
    struct offload *io;
    struct members gateway, target;
    struct peer_pool *peers;
    struct http_server *server;
    struct rpc *rpc;
    struct store *remote;
    struct store *member;  /* another, which asks the target for what it has itself */
    uint64_t member_epoch; /* of the last request to `member` of rpc_fixture_open_member() */
    char address[64];
};

/* Both sides know a map of epoch 5. */
void rpc_fixture_open(struct rpc_fixture *f, struct loop *loop, struct store *mine);
/* `member` (the caller's) answers requests for what the target itself has. */
void rpc_fixture_open_member(struct rpc_fixture *f, struct loop *loop, struct store *mine, struct store *member);
/* Nothing may be under way. */
void rpc_fixture_close(struct rpc_fixture *f);

#endif
