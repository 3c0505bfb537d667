#include "base/log.h"
#include "base/op.h"
#include "store/shard_own.h"

/* A bucket goes when all nodes agree: without `objects` all of them seal it and look, and only then do they remove its uploads. Whatever fails
 * on the way, or who gives up, the bucket goes on everywhere. */
enum phase { PHASE_SEAL, PHASE_REMOVE, PHASE_UNSEAL };

struct purge_node {
    struct group_call member;
    struct shard_node *node;
    uint16_t at;
    struct bucket_purge_req req;
    struct bucket_purge_res res;
};

struct purge_op {
    struct op op;
    struct shard *shard;
    const struct bucket_purge_req *req;
    struct bucket_purge_res *res;
    struct call *whole;
    const struct map *map; /* held */
    unsigned tries;
    struct purge_node *nodes;
    size_t count;
    enum phase phase;
    bool sealed; /* perhaps; somewhere */
    enum err missing;
    uint64_t removed;
    struct call_group group;
};

static step_fn purge_plan, purge_sealed, purge_removed, purge_unsealed, purge_end;

static void leave(struct purge_op *p)
{
    for (size_t i = 0; i < p->count; i++)
        shard_node_done(p->nodes[i].node);
    p->count = 0;
    map_release(p->map);
    p->map = NULL;
}

/* What was begun is never cancelled, only waited for: a node that went on unnoticed might seal, or remove, behind the unsealing. */
static enum step_next ask_all(struct purge_op *p, enum phase phase, struct call *whole)
{
    p->phase = phase;
    p->sealed = phase != PHASE_UNSEAL;
    call_group_init(&p->group, whole);
    for (size_t i = 0; i < p->count; i++) {
        struct purge_node *n = &p->nodes[i];
        n->req = (struct bucket_purge_req){.arena = p->req->arena,
                                           .bucket = p->req->bucket,
                                           .objects = p->req->objects,
                                           .seal = phase == PHASE_SEAL,
                                           .unseal = phase == PHASE_UNSEAL};
        n->res = (struct bucket_purge_res){0};
        store_bucket_purge(shard_node_at(n->node, p->map->epoch), &n->req, &n->res, group_call(&p->group, &n->member));
    }
    call_group_seal(&p->group);
    return STEP_WAIT;
}

/* A change of the map counts more than what it led to, and that objects are there more than that nobody knows. */
static enum err worst(const struct purge_op *p)
{
    enum err worst = ERR_OK;

    for (size_t i = 0; i < p->count; i++) {
        enum err e = p->nodes[i].member.call.err;
        if (e != ERR_OK && worst != ERR_STALE_EPOCH &&
            (worst == ERR_OK || e == ERR_STALE_EPOCH || e == ERR_BUCKET_NOT_EMPTY))
            worst = e;
    }
    return worst;
}

/* Once more by the newer map, if it may help. What was sealed stays so meanwhile. */
static enum step_next again_or_fail(struct purge_op *p, enum err e)
{
    if (p->tries == SHARD_TRIES || !shard_try_again(p->shard, p->map->epoch, e))
        return op_fail(&p->op, e);
    leave(p);
    return op_go(&p->op, purge_plan);
}

static enum step_next purge_plan(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);
    const struct bucket_purge_req *req = p->req;
    struct shard_part *parts;
    enum err e;

    p->tries++;
    p->map = map_hold(shard_map(p->shard));
    size_t n = shard_parts(p->shard, req->arena, &parts);
    p->nodes = arena_new(req->arena, (n + 1) * sizeof(*p->nodes));
    p->missing = n ? ERR_OK : shard_no_nodes(p->shard);
    for (size_t i = 0; i < n; i++) {
        struct purge_node *node = &p->nodes[p->count];
        node->at = parts[i].at;
        if ((e = shard_node_use(p->shard, node->at, &node->node)) == ERR_OK)
            p->count++;
        else
            p->missing = e;
    }
    if (req->unseal)
        return ask_all(p, PHASE_UNSEAL, op_try(op, purge_unsealed));
    if (p->missing != ERR_OK)
        return op_fail(op, p->missing);
    return req->objects && !req->seal ? ask_all(p, PHASE_REMOVE, op_try(op, purge_removed))
                                      : ask_all(p, PHASE_SEAL, op_try(op, purge_sealed));
}

static enum step_next purge_sealed(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);
    enum err e = worst(p);

    if (e == ERR_OK && shard_map_changed(p->shard, p->map->epoch))
        e = ERR_STALE_EPOCH; /* a node that has come since is not sealed */
    if (e != ERR_OK)
        return again_or_fail(p, e);
    if (p->req->seal)
        return op_go(op, purge_end);
    return ask_all(p, PHASE_REMOVE, op_try(op, purge_removed));
}

static enum step_next purge_removed(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);
    enum err e = worst(p);

    for (size_t i = 0; i < p->count; i++)
        if (p->nodes[i].member.call.err == ERR_OK)
            p->removed += p->nodes[i].res.removed;
    if (e == ERR_OK && shard_map_changed(p->shard, p->map->epoch))
        e = ERR_STALE_EPOCH;
    return e != ERR_OK ? again_or_fail(p, e) : op_go(op, purge_end);
}

static enum step_next purge_unsealed(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);
    enum err e = worst(p);

    if (e != ERR_OK)
        return again_or_fail(p, e);
    return p->missing != ERR_OK ? op_fail(op, p->missing) : op_go(op, purge_end);
}

static void log_unsealed(const struct purge_op *p)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct purge_node *n = &p->nodes[i];
        if (n->member.call.err != ERR_OK)
            log_error(STR_NONE, "bucket stays sealed on a target", "target=" STR_FMT " bucket=%s error=%s",
                      STR_ARG(p->map->nodes[n->at].id), log_quote(p->req->bucket.name), err_name(n->member.call.err));
    }
}

/* Runs twice when there is something to undo. */
static enum step_next purge_end(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    if (op->err != ERR_OK && p->sealed && p->count)
        return ask_all(p, PHASE_UNSEAL, op_try(op, purge_end));
    if (op->err != ERR_OK && p->phase == PHASE_UNSEAL)
        log_unsealed(p);
    leave(p);
    if (op->err == ERR_OK)
        p->res->removed = p->removed;
    call_finish(p->whole, op->err);
    return STEP_DONE;
}

static void purge_cancel(void *arg)
{
    op_cancel(&((struct purge_op *)arg)->op, ERR_CANCELLED);
}

void shard_bucket_purge(struct store *s, const struct bucket_purge_req *req, struct bucket_purge_res *res,
                        struct call *c)
{
    struct purge_op *p = ARENA_NEW(req->arena, struct purge_op);

    p->shard = SHARD(s);
    p->req = req;
    p->res = res;
    p->whole = c;
    op_start(&p->op, c->loop, "shard_purge", purge_plan, purge_end);
    call_on_cancel(c, purge_cancel, p); /* the arena keeps `p` until the call is done */
}
