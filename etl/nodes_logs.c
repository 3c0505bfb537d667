#include <stdlib.h>

#include "base/op.h"
#include "etl/nodes_own.h"
#include "etl/runtime.h"
#include "store/nodehead.h"
#include "store/wire.h"

struct logs {
    struct op op;
    struct nodes *nodes;
    const struct etl_logs_req *req;
    struct etl_logs_res *res;
    struct call *whole;
    char digest[NODEHEAD_DIGEST];
    struct http_header headers[NODEHEAD_HEADERS + 1];
    struct peer_req send;
    struct peer_res answer;
    struct source_fill fill;
    size_t n;
};

static step_fn logs_send, logs_answered, logs_read, logs_end;

static bool find_node(struct logs *l, uint64_t *epoch)
{
    const struct map *map = members_map(l->nodes->env.members);
    int at = map_find(map, l->req->node);

    *epoch = map->epoch;
    if (at >= 0)
        l->send.address = arena_str(l->req->arena, map->nodes[at].address);
    map_release(map);
    return at >= 0;
}

static enum step_next logs_send(struct op *op)
{
    struct logs *l = OP(op, struct logs);
    struct arena *arena = l->req->arena;
    struct nodeauth_claim claim = {.method = STR("POST"),
                                   .target = STR(ETL_NODES_LOGS),
                                   .payload = NODEAUTH_STREAM,
                                   .digest = str_n(l->digest, sizeof(l->digest))};

    if (!find_node(l, &claim.epoch))
        return op_fail(op, ERR_NO_SUCH_ETL);
    nodehead_digest(l->req->name, l->digest);
    size_t n = nodehead_sign(&l->nodes->key, claim, arena, l->headers);
    l->headers[n++] = (struct http_header){STR("sluice-req"), wire_to_header(arena, l->req->name)};
    l->send.arena = arena;
    l->send.method = claim.method;
    l->send.target = claim.target;
    l->send.headers = l->headers;
    l->send.header_count = n;
    l->send.repeatable = true;
    peer_send(l->nodes->env.peers, &l->send, &l->answer, op_call(op, logs_answered));
    return STEP_WAIT;
}

static enum step_next logs_answered(struct op *op)
{
    struct logs *l = OP(op, struct logs);
    struct str name = peer_header(&l->answer, STR("sluice-err"));

    if (name.p)
        return op_fail(op, wire_err(name));
    if (l->answer.status != 200)
        return op_fail(op, ERR_INTERNAL);
    if (!l->answer.body)
        return op_go(op, logs_read);
    l->res->text.p = arena_alloc(l->req->arena, ETL_LOG_MAX);
    source_fill(&l->fill, l->answer.body, (char *)(uintptr_t)l->res->text.p, ETL_LOG_MAX, &l->n,
                op_call(op, logs_read));
    return STEP_WAIT;
}

static enum step_next logs_read(struct op *op)
{
    struct logs *l = OP(op, struct logs);

    l->res->text.n = l->n;
    return op_go(op, logs_end);
}

static enum step_next logs_end(struct op *op)
{
    struct logs *l = OP(op, struct logs);

    source_close(l->answer.body);
    call_finish(l->whole, op->err);
    free(l);
    return STEP_DONE;
}

static void logs_cancel(void *arg)
{
    op_cancel(&((struct logs *)arg)->op, ERR_CANCELLED);
}

void nodes_logs(struct etl_door *d, const struct etl_logs_req *req, struct etl_logs_res *res, struct call *whole)
{
    struct logs *l = NEW(struct logs);

    l->nodes = CONTAINER(d, struct nodes, door);
    l->req = req;
    l->res = res;
    l->whole = whole;
    *res = (struct etl_logs_res){.text = STR("")};
    if (!whole->cancelled)
        call_on_cancel(whole, logs_cancel, l);
    op_start(&l->op, whole->loop, "etl_logs", logs_send, logs_end);
}
