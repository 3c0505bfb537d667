/* One member. With an index in memory the archive is read at once, under If-Match of what the index tells about: one request to the store.
 * Whatever would be answered without reading (no such member, conditions, ranges, HEAD) is only answered after a look whether the
 * index still is of what is there. */
#include "archive/arcs_own.h"
#include "base/clock.h"

struct get_op {
    struct op op;
    struct arcs *arcs;
    const struct arcs_get_req *req;
    struct arcs_get_res *res;
    struct call *whole;
    struct arc_id id;
    struct arcs_look_res looked;
    struct arc_index *index; /* the arena's */
    uint32_t member;
    bool fresh; /* the archive was looked at */
    unsigned tries;
    struct arc_open_req open;
    struct arc_open_res opened;
};

static step_fn get_begin, get_look, get_looked, get_find, get_opened, get_end;

static enum step_next get_begin(struct op *op)
{
    struct get_op *g = OP(op, struct get_op);
    struct arc_known known;

    if (!arc_cache_get(g->arcs->env.cache, &g->id, &known) || !known.index)
        return op_go(op, get_look);
    g->index = known.index;
    arena_defer(g->req->archive.arena, arc_index_unref, known.index);
    return op_go(op, get_find);
}

static enum step_next get_look(struct op *op)
{
    struct get_op *g = OP(op, struct get_op);

    if (g->tries++ == ARCS_TRIES_MAX)
        return op_fail(op, ERR_CONFLICT);
    arcs_look(g->arcs, &g->req->archive, &g->looked, op_try(op, get_looked));
    return STEP_WAIT;
}

static enum step_next get_looked(struct op *op)
{
    struct get_op *g = OP(op, struct get_op);

    if (op->call.err != ERR_OK) {
        memcpy(g->res->why, g->looked.why, sizeof(g->res->why));
        return op_fail(op, op->call.err);
    }
    g->index = g->looked.index;
    g->fresh = true;
    return op_go(op, get_find);
}

/* Everything but the bytes. */
static enum err answer(struct get_op *g)
{
    struct arcs_get_res *res = g->res;
    struct object_info info;
    enum err e;

    if (!arc_index_find(g->index, g->req->member, &g->member, &res->member))
        return ERR_NO_SUCH_MEMBER;
    arc_index_etag(g->index, &res->member, &res->etag);
    res->mtime_ns = g->index->mtime_ns;
    info = (struct object_info){.size = res->member.size, .mtime_ns = res->mtime_ns, .etag = res->etag};
    e = cond_check_read(&g->req->cond, &info, clock_wall_ns() / NS_PER_S);
    return e != ERR_OK ? e : range_resolve(&g->req->range, info.size, &res->offset, &res->len);
}

static enum step_next get_find(struct op *op)
{
    struct get_op *g = OP(op, struct get_op);
    enum err e = answer(g);

    if (!g->fresh && (e != ERR_OK || g->req->head || g->res->len == 0))
        return op_go(op, get_look);
    if (e != ERR_OK)
        return op_fail(op, e);
    if (g->req->head)
        return op_go(op, get_end);
    g->open = (struct arc_open_req){.arena = g->req->archive.arena,
                                    .store = g->arcs->env.store,
                                    .cpu = g->arcs->env.cpu,
                                    .bucket = g->req->archive.bucket,
                                    .key = g->req->archive.key,
                                    .index = g->index,
                                    .member = g->member,
                                    .offset = g->res->offset,
                                    .len = g->res->len};
    arc_open(&g->open, &g->opened, op_try(op, get_opened));
    return STEP_WAIT;
}

static enum step_next get_opened(struct op *op)
{
    struct get_op *g = OP(op, struct get_op);

    if (op->call.err == ERR_PRECONDITION) { /* it has changed */
        arc_cache_drop(g->arcs->env.cache, &g->id);
        return op_go(op, get_look);
    }
    return op->call.err != ERR_OK ? op_fail(op, op->call.err) : op_go(op, get_end);
}

static enum step_next get_end(struct op *op)
{
    struct get_op *g = OP(op, struct get_op);

    if (op->err == ERR_OK)
        g->res->body = g->opened.body;
    else
        source_close(g->opened.body);
    call_finish(g->whole, op->err);
    return STEP_DONE;
}

static void get_cancel(void *arg)
{
    op_cancel(arg, ERR_CANCELLED);
}

void arcs_get(struct arcs *a, const struct arcs_get_req *req, struct arcs_get_res *res, struct call *call)
{
    const struct arcs_look_req *archive = &req->archive;
    struct get_op *g = ARENA_NEW(archive->arena, struct get_op);

    *res = (struct arcs_get_res){0};
    g->arcs = a;
    g->req = req;
    g->res = res;
    g->whole = call;
    g->id = arc_id_of(&archive->bucket, archive->key, archive->format);
    op_start(&g->op, call->loop, "get_member", get_begin, get_end);
    call_on_cancel(call, get_cancel, &g->op);
}
