#include "rpc_fixture.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/wire.h"

/* ---- members that a test turns by hand ---- */

const struct map *members_map(struct members *m)
{
    return &m->map;
}

void map_release(const struct map *m)
{
    (void)m;
}

int map_find(const struct map *m, struct str id)
{
    for (int i = 0; i < m->node_count; i++)
        if (str_eq(m->nodes[i].id, id))
            return i;
    return -1;
}

bool members_alive(struct members *m, struct str id)
{
    (void)id;
    return !m->away;
}

enum err members_fence(struct members *m, uint64_t epoch, const struct map **out)
{
    if (epoch < m->map.epoch || epoch < m->seen)
        return ERR_STALE_EPOCH;
    m->seen = epoch;
    if (epoch > m->map.epoch)
        return ERR_UNAVAILABLE;
    *out = &m->map;
    return ERR_OK;
}

void members_wait(struct members *m, const struct members_wait_req *req, struct call *call)
{
    m->waits++;
    if (m->map.epoch < req->epoch && m->coming)
        m->map.epoch = m->coming;
    call_finish(call, m->map.epoch >= req->epoch ? ERR_OK : ERR_TIMEOUT);
}

static void members_init(struct members *m, const char *address)
{
    *m = (struct members){.node = {.id = STR("0123456789abcdef"), .address = str_z(address), .weight = 1},
                          .share = {0, 1},
                          .map = {.epoch = 5, .node_count = 1, .share_count = 1}};
    m->map.nodes = &m->node;
    m->map.shares = &m->share;
}

/* ---- the two sides ---- */

void rpc_fixture_open(struct rpc_fixture *f, struct loop *loop, struct store *mine)
{
    char why[256] = "";
    int fd = -1;

    *f = (struct rpc_fixture){.loop = loop, .io = offload_new("io", 1, 16)};
    if (http_listen(STR("127.0.0.1:0"), &fd, f->address, why) != ERR_OK) {
        fprintf(stderr, "%s\n", why);
        abort();
    }
    members_init(&f->gateway, f->address);
    members_init(&f->target, f->address);
    f->rpc = rpc_new(&(struct rpc_env){.loop = loop, .mine = mine, .members = &f->target, .cluster_key = RPC_KEY});
    struct http_server_conf conf = {
        .loop = loop, .handler = rpc_handler(f->rpc), .limits = HTTP_LIMITS_DEFAULT, .listen_fd = fd};
    conf.limits.head_max = WIRE_HEAD_MAX;
    f->server = http_server_new(&conf);
    f->peers = peer_pool_new(&(struct peer_conf){.loop = loop, .io = f->io});
    f->remote = remote_store_new(
        &(struct remote_env){.loop = loop, .peers = f->peers, .members = &f->gateway, .cluster_key = RPC_KEY},
        f->gateway.node.id);
}

static void drained(struct call *c)
{
    (void)c;
}

void rpc_fixture_close(struct rpc_fixture *f)
{
    struct call call = {0};

    store_close(f->remote);
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
