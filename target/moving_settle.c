#include "base/log.h"
#include "target/moving_own.h"

/* delete at P on a condition that no object fulfils: OK when there is none. P answers when writes that it had let in are through, so
 * that get, import and delete work on an object that changes no more. */
enum { SETTLE_TRIES = 4 };

static step_fn settle_clear, settle_cleared, settle_got, settle_parts, settle_import, settle_imported, settle_end;

static enum step_next settle_clear(struct op *op)
{
    struct settle *s = OP(op, struct settle);

    if (s->place->asleep)
        return op_fail(op, ERR_UNAVAILABLE);
    s->delete_req = (struct obj_delete_req){.arena = s->arena, .bucket = s->bucket, .key = s->key, .cond = COND_INIT};
    s->delete_req.bucket.versions = VERSIONS_OFF; /* it moves: no version of it stays there */
    s->delete_req.cond.if_match = s->etag.n ? s->etag : MOVING_MARK;
    store_obj_delete(moving_from(s->handle, s->place), &s->delete_req, &s->delete_res, op_try(op, settle_cleared));
    return STEP_WAIT;
}

static enum step_next settle_cleared(struct op *op)
{
    struct settle *s = OP(op, struct settle);

    if (op->call.err == ERR_OK) {
        s->moved = s->etag.n > 0;
        return op_go(op, settle_end);
    }
    if (op->call.err != ERR_PRECONDITION)
        return op_fail(op, op->call.err);
    if (++s->tries > SETTLE_TRIES)
        return op_fail(op, ERR_CONFLICT);
    s->get_req = (struct obj_get_req){{.arena = s->arena, .bucket = s->bucket, .key = s->key, .cond = COND_INIT}};
    s->get_req.head.cond.if_none_match = MOVING_MARK;
    s->get = (struct obj_get_res){0};
    store_obj_get(moving_from(s->handle, s->place), &s->get_req, &s->get, op_try(op, settle_got));
    return STEP_WAIT;
}

static enum step_next settle_got(struct op *op)
{
    struct settle *s = OP(op, struct settle);

    if (op->call.err == ERR_NO_SUCH_KEY) { /* gone with its bucket */
        s->etag = STR_NONE;
        return op_go(op, settle_clear);
    }
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    s->head = (struct obj_head_res){0};
    if (s->get.head.info.parts == 0)
        return op_go(op, settle_import);
    s->head_req = s->get_req.head;
    s->head_req.parts = true;
    store_obj_head(moving_from(s->handle, s->place), &s->head_req, &s->head, op_call(op, settle_parts));
    return STEP_WAIT;
}

static enum step_next settle_parts(struct op *op)
{
    struct settle *s = OP(op, struct settle);
    const struct object_info *a = &s->get.head.info, *b = &s->head.info;

    if (a->mtime_ns != b->mtime_ns || !str_eq(etag_str(&a->etag), etag_str(&b->etag)))
        return op_fail(op, ERR_CONFLICT);
    return op_go(op, settle_import);
}

static enum step_next settle_import(struct op *op)
{
    struct settle *s = OP(op, struct settle);

    s->check = (struct body_check){0};
    s->import_req = (struct obj_import_req){.arena = s->arena,
                                            .bucket = s->bucket,
                                            .key = s->key,
                                            .info = s->get.head.info,
                                            .parts = s->head.parts,
                                            .part_count = s->head.part_count,
                                            .body = s->get.body,
                                            .check = &s->check,
                                            .as_new = s->as_new};
    store_obj_import(s->handle->env.mine, &s->import_req, &s->import, op_try(op, settle_imported));
    return STEP_WAIT;
}

static enum step_next settle_imported(struct op *op)
{
    struct settle *s = OP(op, struct settle);

    source_close(s->get.body);
    s->get.body = NULL;
    if (op->call.err != ERR_OK) {
        log_warn(STR_NONE, "object can't be moved", "key=%s error=%s", log_quote(s->key), err_name(op->call.err));
        return op_fail(op, op->call.err);
    }
    s->bytes = s->get.head.info.size;
    s->etag = arena_printf(s->arena, STR_FMT ", \"" STR_FMT "\"", STR_ARG(MOVING_MARK),
                           STR_ARG(etag_str(&s->get.head.info.etag)));
    return op_go(op, settle_clear);
}

static enum step_next settle_end(struct op *op)
{
    struct settle *s = OP(op, struct settle);

    source_close(s->get.body);
    s->get.body = NULL;
    call_finish(s->whole, op->err);
    return STEP_DONE;
}

static void settle_cancel(void *arg)
{
    op_cancel(&((struct settle *)arg)->op, ERR_CANCELLED);
}

void settle_run(struct settle *s, struct call *whole)
{
    s->whole = whole;
    op_start(&s->op, whole->loop, "settle", settle_clear, settle_end);
    call_on_cancel(whole, settle_cancel, s);
}

/* ---- the mover's way in ---- */

struct mover {
    struct op op;
    struct moving_handle *handle;
    const struct moving_settle_req *req;
    struct moving_settle_res *res;
    struct call *whole;
    struct moving_place place;
    struct keylock lock;
    struct settle settle;
};

static step_fn mover_start, mover_settled, mover_end;

static enum step_next mover_start(struct op *op)
{
    struct mover *m = OP(op, struct mover);
    const struct moving_settle_req *req = m->req;

    if (!keylock_try(m->handle->moving->locks, &m->lock, req->bucket.uid, req->key, KEYLOCK_EXCLUSIVE))
        return op_fail(op, ERR_BUSY);
    moving_place(m->handle->moving, req->bucket.uid, req->key, &m->place);
    if (m->place.where != MOVING_COMING)
        return op_go(op, mover_end);
    m->settle = (struct settle){
        .handle = m->handle, .place = &m->place, .arena = req->arena, .bucket = req->bucket, .key = req->key};
    settle_run(&m->settle, op_call(op, mover_settled));
    return STEP_WAIT;
}

static enum step_next mover_settled(struct op *op)
{
    struct mover *m = OP(op, struct mover);

    *m->res = (struct moving_settle_res){.moved = m->settle.moved, .bytes = m->settle.bytes};
    return op_go(op, mover_end);
}

static enum step_next mover_end(struct op *op)
{
    struct mover *m = OP(op, struct mover);

    keylock_drop(&m->lock);
    call_finish(m->whole, op->err);
    return STEP_DONE;
}

static void mover_cancel(void *arg)
{
    op_cancel(&((struct mover *)arg)->op, ERR_CANCELLED);
}

void moving_settle(struct store *moving, const struct moving_settle_req *req, struct moving_settle_res *res,
                   struct call *call)
{
    struct mover *m = ARENA_NEW(req->arena, struct mover);

    *m = (struct mover){.handle = MOVING(moving), .req = req, .res = res, .whole = call};
    *res = (struct moving_settle_res){0};
    op_start(&m->op, call->loop, "move", mover_start, mover_end);
    call_on_cancel(call, mover_cancel, m);
}
