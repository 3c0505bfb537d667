/* The handle, and looking at an archive: what it is now and the index that fits.
 *
 * When a member was modified is when its archive was: an archive that is replaced may bring members whose own times lie before what
 * a client has seen, and If-Modified-Since with those would answer "not modified" about other bytes. A member's own time is in its
 * entry (arc_member.mtime_s) for whoever wants to tell it. */
#include "arcs.h"

#include <stdlib.h>

#include "archive/arcs_own.h"
#include "base/mem.h"

struct arc_id arc_id_of(const struct bucket_id *bucket, struct str key, enum arc_format asked)
{
    return (struct arc_id){*bucket, key, asked != ARC_NONE ? asked : arc_format_of_name(key)};
}

bool arc_id_is_kept(const struct arc_id *id)
{
    return id->format != ARC_NONE && id->format == arc_format_of_name(id->key);
}

/* ---- looking ---- */

struct look_op {
    struct op op;
    struct arcs *arcs;
    const struct arcs_look_req *req;
    struct arcs_look_res *res;
    struct call *whole;
    struct arc_id id;
    struct obj_head_req head;
    struct obj_head_res headed;
    struct arc_made made;
    unsigned tries;
};

static step_fn look_head, look_headed, look_made, look_end;

static enum step_next look_head(struct op *op)
{
    struct look_op *l = OP(op, struct look_op);

    l->headed = (struct obj_head_res){0};
    store_obj_head(l->arcs->env.store, &l->head, &l->headed, op_call(op, look_headed));
    return STEP_WAIT;
}

static enum step_next look_headed(struct op *op)
{
    struct look_op *l = OP(op, struct look_op);
    struct arc_known known;

    if (!arc_cache_get(l->arcs->env.cache, &l->id, &known))
        known = (struct arc_known){.size = UINT64_MAX};
    if (!arc_known_fits(&known, &l->headed.info)) {
        arcs_make(l->arcs, &l->id, &l->headed.info, known.index, &l->made, op_try(op, look_made));
        arc_index_unref(known.index);
        return STEP_WAIT;
    }
    if (known.index) {
        l->made.index = known.index;
        return op_go(op, look_end);
    }
    memcpy(l->made.why, known.why, sizeof(known.why));
    return op_fail(op, known.err);
}

static enum step_next look_made(struct op *op)
{
    struct look_op *l = OP(op, struct look_op);
    enum err e = op->call.err;
    bool changed = e == ERR_PRECONDITION || (e == ERR_OK && !arc_index_fits(l->made.index, &l->headed.info));

    if (!changed)
        return e == ERR_OK ? op_go(op, look_end) : op_fail(op, e);
    arc_index_unref(l->made.index);
    l->made.index = NULL;
    return ++l->tries < ARCS_TRIES_MAX ? op_go(op, look_head) : op_fail(op, ERR_CONFLICT);
}

static enum step_next look_end(struct op *op)
{
    struct look_op *l = OP(op, struct look_op);

    if (l->made.index)
        arena_defer(l->req->arena, arc_index_unref, l->made.index);
    if (op->err == ERR_OK) {
        l->res->info = l->headed.info;
        l->res->index = l->made.index;
    }
    memcpy(l->res->why, l->made.why, sizeof(l->res->why));
    call_finish(l->whole, op->err);
    return STEP_DONE;
}

static void look_cancel(void *arg)
{
    op_cancel(arg, ERR_CANCELLED);
}

void arcs_look(struct arcs *a, const struct arcs_look_req *req, struct arcs_look_res *res, struct call *call)
{
    struct look_op *l = ARENA_NEW(req->arena, struct look_op);

    l->arcs = a;
    l->req = req;
    l->res = res;
    l->whole = call;
    l->id = arc_id_of(&req->bucket, req->key, req->format);
    l->head = (struct obj_head_req){.arena = req->arena, .bucket = req->bucket, .key = req->key, .cond = COND_INIT};
    op_start(&l->op, call->loop, "look_archive", look_head, look_end);
    call_on_cancel(call, look_cancel, &l->op);
}

/* ---- the handle ---- */

struct arcs *arcs_new(const struct arcs_env *env)
{
    struct arcs *a = NEW(struct arcs);

    a->env = *env;
    arcs_store_init(a);
    arcs_keep_init(a);
    return a;
}

struct store *arcs_store(struct arcs *a)
{
    return &a->store;
}

/* What works behind requests is ended here, on the loop's own thread. */
void arcs_free(struct arcs *a)
{
    enum { TURN_MS = 20 };

    if (!a)
        return;
    a->closing = true;
    arcs_keep_stop(a);
    while (a->keeps || !arcs_make_idle(a))
        loop_turn(a->env.loop, TURN_MS);
    free(a);
}
