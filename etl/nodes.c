#include "etl/nodes_own.h"

#include <stdlib.h>

#include "base/op.h"
#include "store/nodehead.h"
#include "store/wire.h"

enum { NODES_TRIED_MAX = MAP_COPIES_MAX < 8 ? MAP_COPIES_MAX : 8 };

/* One transform: described once, sent to one node after the other until one answers. */
struct ask {
    struct op op;
    struct nodes *nodes;
    const struct etl_run_req *req;
    struct etl_run_res *res;
    struct call *whole;
    struct str addresses[NODES_TRIED_MAX];
    size_t count, at;
    uint64_t epoch;
    struct str description;
    char digest[NODEHEAD_DIGEST];
    struct http_header headers[NODEHEAD_HEADERS + 1];
    struct peer_req send;
    struct peer_res answer;
};

static step_fn ask_begin, ask_next, ask_answered, ask_end;

/* The nodes of the placement that are alive, the best for this object first. */
static void find_nodes(struct ask *a)
{
    const struct etl_run_req *req = a->req;
    const struct map *map = members_map(a->nodes->env.members);
    uint64_t uid = req->object ? req->object->head.bucket.uid : 0;
    uint16_t ranked[NODES_TRIED_MAX];
    size_t n = map_place(map, uid, req->object ? req->object->head.key : req->key, NODES_TRIED_MAX, ranked);

    a->epoch = map->epoch;
    for (size_t i = 0; i < n && a->count < NODES_TRIED_MAX; i++) {
        const struct map_node *node = &map->nodes[ranked[i]];
        if (node->state != NODE_MAINTENANCE && members_alive(a->nodes->env.members, node->id))
            a->addresses[a->count++] = arena_str(req->arena, node->address);
    }
    map_release(map);
}

static enum step_next ask_begin(struct op *op)
{
    struct ask *a = OP(op, struct ask);
    struct buf b = BUF_INIT(WIRE_HEADER_MAX);
    enum err e;

    etl_nodes_put_req(&b, a->req);
    a->description = arena_str(a->req->arena, buf_str(&b));
    e = buf_err(&b);
    buf_release(&b);
    if (e != ERR_OK)
        return op_fail(op, ERR_TOO_LARGE);
    nodehead_digest(a->description, a->digest);
    find_nodes(a);
    return op_go(op, ask_next);
}

static enum step_next ask_next(struct op *op)
{
    struct ask *a = OP(op, struct ask);
    struct arena *arena = a->req->arena;
    struct nodeauth_claim claim = {.method = STR("POST"),
                                   .target = STR(ETL_NODES_RUN),
                                   .epoch = a->epoch,
                                   .payload = NODEAUTH_STREAM,
                                   .digest = str_n(a->digest, sizeof(a->digest))};
    size_t n;

    if (a->at == a->count)
        return op_fail(op, ERR_UNAVAILABLE);
    n = nodehead_sign(&a->nodes->key, claim, arena, a->headers);
    a->headers[n++] = (struct http_header){STR("sluice-req"), wire_to_header(arena, a->description)};
    a->answer = (struct peer_res){0};
    a->send = (struct peer_req){.arena = arena,
                                .address = a->addresses[a->at++],
                                .method = claim.method,
                                .target = claim.target,
                                .headers = a->headers,
                                .header_count = n,
                                .body = a->req->body,
                                .expect = a->req->body != NULL, /* a node that refuses leaves it to the next one */
                                .repeatable = !a->req->body};
    peer_send(a->nodes->env.peers, &a->send, &a->answer, op_try(op, ask_answered));
    return STEP_WAIT;
}

static enum err take_description(struct ask *a)
{
    struct str text = peer_header(&a->answer, STR("sluice-res")), bytes;
    enum err e;

    if (!text.p)
        return ERR_NOT_FOUND;
    if ((e = wire_from_header(a->req->arena, text, &bytes)) != ERR_OK)
        return e;
    return etl_nodes_get_res(bytes, a->req->arena, a->res);
}

static enum step_next ask_answered(struct op *op)
{
    struct ask *a = OP(op, struct ask);
    struct str name = peer_header(&a->answer, STR("sluice-err"));
    enum err e = op->call.err;

    if (e == ERR_OK) {
        enum err described = take_description(a); /* what went wrong has one, too, where the node's door has told it */
        bool needed = !name.p || str_eq(name, str_z(err_name(ERR_ETL)));
        e = name.p ? wire_err(name) : a->answer.status == 200 ? ERR_OK : ERR_INTERNAL;
        if (described != ERR_OK && (needed || described != ERR_NOT_FOUND))
            e = ERR_INTERNAL;
    }
    if (e == ERR_UNAVAILABLE && !a->answer.body_taken) {
        source_close(a->answer.body);
        a->answer.body = NULL;
        return op_go(op, ask_next);
    }
    if (e != ERR_OK)
        return op_fail(op, e);
    a->res->body = a->answer.body ? a->answer.body : source_memory(STR_NONE, NULL, NULL);
    a->answer.body = NULL;
    return op_go(op, ask_end);
}

static enum step_next ask_end(struct op *op)
{
    struct ask *a = OP(op, struct ask);

    source_close(a->answer.body);
    if (op->err != ERR_OK && a->res->body) {
        source_close(a->res->body);
        a->res->body = NULL;
    }
    call_finish(a->whole, op->err);
    free(a);
    return STEP_DONE;
}

static void ask_cancel(void *arg)
{
    op_cancel(&((struct ask *)arg)->op, ERR_CANCELLED);
}

static void nodes_run(struct etl_door *d, const struct etl_run_req *req, struct etl_run_res *res, struct call *whole)
{
    struct ask *a = NEW(struct ask);

    a->nodes = CONTAINER(d, struct nodes, door);
    a->req = req;
    a->res = res;
    a->whole = whole;
    *res = (struct etl_run_res){.body = NULL};
    if (!whole->cancelled)
        call_on_cancel(whole, ask_cancel, a);
    op_start(&a->op, whole->loop, "etl_nodes", ask_begin, ask_end);
}

static void nodes_close(struct etl_door *d)
{
    free(CONTAINER(d, struct nodes, door));
}

struct etl_door *etl_nodes_door(const struct remote_env *env)
{
    static const struct etl_door_ops ops = {nodes_run, nodes_logs, nodes_close};
    struct nodes *n = NEW(struct nodes);

    n->door.ops = &ops;
    n->env = *env;
    hmac_key(&n->key, env->cluster_key);
    return &n->door;
}
