#include "rpc_fixture.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/wire.h"

/* ---- members that a test turns by hand ---- */

const struct map *members_map(struct members *m)
{
    struct arena arena = ARENA_INIT;
    struct str node = arena_printf(&arena,
                                   "{\"id\":\"" STR_FMT "\",\"zone\":\"\",\"address\":\"" STR_FMT
                                   "\",\"public\":\"\",\"weight\":1,\"state\":\"active\"}",
                                   STR_ARG(RPC_NODE), STR_ARG(m->address));
    struct str record = arena_printf(&arena, "{\"format\":1,\"epoch\":%llu,\"nodes\":[" STR_FMT "]}",
                                     (unsigned long long)m->epoch, m->left ? 0 : (int)node.n, node.p);
    const struct map *map = NULL;
    enum err e = map_parse(record, &map);

    assert(e == ERR_OK);
    arena_release(&arena);
    return map;
}

bool members_alive(struct members *m, struct str id)
{
    (void)id;
    return !m->away;
}

enum err members_fence(struct members *m, uint64_t epoch, const struct map **out)
{
    if (epoch < m->epoch || epoch < m->seen)
        return ERR_STALE_EPOCH;
    m->seen = epoch;
    if (epoch > m->epoch)
        return ERR_UNAVAILABLE;
    *out = members_map(m);
    return ERR_OK;
}

void members_wait(struct members *m, const struct members_wait_req *req, struct call *call)
{
    m->waits++;
    if (m->epoch < req->epoch && m->coming)
        m->epoch = m->coming;
    call_finish(call, m->epoch >= req->epoch ? ERR_OK : ERR_TIMEOUT);
}

/* ---- the two sides ---- */

static struct rpc_fixture *fixture; /* rpc_env.member_at has no argument for it */

static void member_at(struct store *member, uint64_t epoch)
{
    (void)member;
    fixture->member_epoch = epoch;
}

void rpc_fixture_open(struct rpc_fixture *f, struct loop *loop, struct store *mine)
{
    rpc_fixture_open_member(f, loop, mine, NULL);
}

void rpc_fixture_open_member(struct rpc_fixture *f, struct loop *loop, struct store *mine, struct store *member)
{
    char why[256] = "";
    int fd = -1;

    *f = (struct rpc_fixture){.loop = loop, .io = offload_new("io", 1, 16)};
    if (http_listen(STR("127.0.0.1:0"), &fd, f->address, why) != ERR_OK) {
        fprintf(stderr, "%s\n", why);
        abort();
    }
    f->gateway = f->target = (struct members){.epoch = 5, .address = str_z(f->address)};
    fixture = f;
    f->rpc = rpc_new(&(struct rpc_env){.loop = loop,
                                       .mine = mine,
                                       .member = member,
                                       .member_at = member_at,
                                       .members = &f->target,
                                       .cluster_key = RPC_KEY});
    struct http_server_conf conf = {
        .loop = loop, .handler = rpc_handler(f->rpc), .limits = HTTP_LIMITS_DEFAULT, .listen_fd = fd};
    conf.limits.head_max = WIRE_HEAD_MAX;
    f->server = http_server_new(&conf);
    f->peers = peer_pool_new(
        &(struct peer_conf){.loop = loop, .io = f->io, .is_there = remote_is_there, .is_there_arg = &f->gateway});
    struct remote_env env = {.loop = loop, .peers = f->peers, .members = &f->gateway, .cluster_key = RPC_KEY};
    f->remote = remote_store_new(&env, RPC_NODE);
    env.member = true;
    f->member = remote_store_new(&env, RPC_NODE);
}

static void drained(struct call *c)
{
    (void)c;
}

void rpc_fixture_close(struct rpc_fixture *f)
{
    struct call call = {0};

    store_close(f->remote);
    store_close(f->member);
    peer_pool_free(f->peers);
    call_begin(&call, f->loop, drained);
    http_server_drain(f->server, 5000, &call);
    while (call_is_pending(&call))
        loop_turn(f->loop, 100);
    assert(http_server_connections(f->server) == 0);
    http_server_free(f->server);
    rpc_free(f->rpc);
    offload_free(f->io);
    for (int i = 0; i < 3; i++)
        loop_turn(f->loop, 0);
}
