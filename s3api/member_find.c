/* Keys that are members' and no objects: what would change them is refused, and what asks for more than bytes is not there yet. */
#include "s3api/member.h"
#include "s3api/objreq.h"

enum { SPLITS_MAX = 16 };

struct find_op {
    struct op op;
    struct s3_request *r;
    const struct member_find_req *req;
    struct member_find_res *res;
    struct call *whole;
    size_t from;
    unsigned splits;
    struct str member;
    struct arcs_look_req look;
    struct arcs_look_res looked;
    struct obj_head_req head;
    struct obj_head_res headed;
};

static step_fn find_next, find_looked, find_object, find_end;

static enum step_next find_next(struct op *op)
{
    struct find_op *f = OP(op, struct find_op);

    f->look = (struct arcs_look_req){f->r->arena, f->r->bucket.id, STR_NONE, ARC_NONE};
    if (f->splits++ == SPLITS_MAX || !arc_format_split(f->req->key, f->from, &f->look.key, &f->member))
        return op_go(op, find_end);
    f->from = f->look.key.n + 1;
    arcs_look(f->r->env->arcs, &f->look, &f->looked, op_try(op, find_looked));
    return STEP_WAIT;
}

static enum step_next find_looked(struct op *op)
{
    struct find_op *f = OP(op, struct find_op);
    enum err e = op->call.err;
    struct arc_member m;

    if (e == ERR_NO_SUCH_KEY || e == ERR_BAD_ARCHIVE || e == ERR_TOO_LARGE ||
        (e == ERR_OK && !f->req->within && !arc_index_find(f->looked.index, f->member, NULL, &m)))
        return op_go(op, find_next);
    if (e != ERR_OK)
        return op_fail(op, e);
    f->head =
        (struct obj_head_req){.arena = f->r->arena, .bucket = f->r->bucket.id, .key = f->req->key, .cond = COND_INIT};
    store_obj_head(f->r->env->store, &f->head, &f->headed, op_try(op, find_object));
    return STEP_WAIT;
}

static enum step_next find_object(struct op *op)
{
    struct find_op *f = OP(op, struct find_op);
    enum err e = op->call.err;

    if (e != ERR_OK && e != ERR_NO_SUCH_KEY)
        return op_fail(op, e);
    f->res->found = e == ERR_NO_SUCH_KEY;
    return op_go(op, find_end);
}

static enum step_next find_end(struct op *op)
{
    struct find_op *f = OP(op, struct find_op);

    call_finish(f->whole, op->err);
    return STEP_DONE;
}

static void find_cancel(void *arg)
{
    op_cancel(arg, ERR_CANCELLED);
}

void member_find(struct s3_request *r, const struct member_find_req *req, struct member_find_res *res,
                 struct call *call)
{
    struct find_op *f = ARENA_NEW(r->arena, struct find_op);

    *res = (struct member_find_res){false};
    f->r = r;
    f->req = req;
    f->res = res;
    f->whole = call;
    op_start(&f->op, call->loop, "find_member", find_next, find_end);
    call_on_cancel(call, find_cancel, &f->op);
}

/* ---- in front of operations ---- */

struct guard {
    struct member_find_req req;
    struct member_find_res res;
};

static step_fn guard_found;

/* Parts of an upload that was let begin, and its end, are let go on. */
bool member_guarded(const struct s3_request *r)
{
    return r->level == LEVEL_OBJECT && member_shown(r) && r->route->first != get_object &&
           r->route->first != head_object && !(r->subs & SUB(UPLOAD_ID)) && member_like(r->key);
}

enum step_next member_guard(struct op *op)
{
    struct s3_request *r = S3(op);
    struct guard *g = r->state = ARENA_NEW(r->arena, struct guard);

    g->req = (struct member_find_req){r->key, r->http->method == HTTP_PUT || r->http->method == HTTP_POST};
    member_find(r, &g->req, &g->res, op_call(op, guard_found));
    return STEP_WAIT;
}

static enum step_next guard_found(struct op *op)
{
    struct s3_request *r = S3(op);
    const struct guard *g = r->state;

    if (!g->res.found)
        return op_go_named(op, r->route->first, "first");
    if (r->http->method == HTTP_GET)
        return op_fail(op, reply_error(r, ERR_NOT_IMPLEMENTED, "%s of a member of an archive is not implemented.",
                                       r->route->name));
    return op_fail(op, reply_error(r, ERR_INVALID_REQUEST, MEMBER_WHY));
}

/* ---- DeleteObjects ---- */

struct delete_op {
    struct op op;
    struct s3_request *r;
    const struct obj_delete_req *req;
    struct obj_delete_res *res;
    struct call *whole;
    struct guard guard;
};

static step_fn delete_find, delete_found, delete_end;

static enum step_next delete_find(struct op *op)
{
    struct delete_op *d = OP(op, struct delete_op);

    d->guard.req.key = d->req->key;
    member_find(d->r, &d->guard.req, &d->guard.res, op_call(op, delete_found));
    return STEP_WAIT;
}

static enum step_next delete_found(struct op *op)
{
    struct delete_op *d = OP(op, struct delete_op);

    if (d->guard.res.found)
        return op_fail(op, ERR_INVALID_REQUEST);
    store_obj_delete(d->r->env->store, d->req, d->res, op_call(op, delete_end));
    return STEP_WAIT;
}

static enum step_next delete_end(struct op *op)
{
    struct delete_op *d = OP(op, struct delete_op);

    call_finish(d->whole, op->err);
    return STEP_DONE;
}

void member_obj_delete(struct s3_request *r, const struct obj_delete_req *req, struct obj_delete_res *res,
                       struct call *call)
{
    struct delete_op *d;

    if (!member_shown(r) || !member_like(req->key)) {
        store_obj_delete(r->env->store, req, res, call);
        return;
    }
    d = ARENA_NEW(r->arena, struct delete_op);
    d->r = r;
    d->req = req;
    d->res = res;
    d->whole = call;
    op_start(&d->op, call->loop, "delete_checked", delete_find, delete_end);
    call_on_cancel(call, find_cancel, &d->op);
}
