/* Writes and deletes: there first, then here. */
#include "backend_own.h"

struct write_op {
    struct backend_op o;
    const struct obj_put_req *put; /* one of the two */
    struct obj_put_res *put_res;
    struct obj_put_req inner_put;
    const struct upload_complete_req *complete;
    struct upload_complete_res *complete_res;
    struct upload_complete_req inner_complete;
    struct commit_gate gate;
    struct cond cond; /* for the remote */
    struct push_req push_req;
    struct push_res push;
    struct object_info *info; /* of the result */
    struct obj_head_req head;
    struct obj_head_res headed;
    struct obj_get_req get;
    struct obj_delete_req drop;
    struct obj_delete_res dropped;
    bool pushed;
    enum err failed;
};

static step_fn write_claimed, write_stored, write_headed, write_pushed, write_drop, write_dropped, write_end;

static struct write_op *write_of(struct op *op)
{
    return CONTAINER(op, struct write_op, o.op);
}

/* ---- the gate: stored, and seen by nobody yet ---- */

static void visit_read(void *arg, const struct range *range, struct arena *arena, struct obj_get_res *res,
                       struct call *call)
{
    struct gate_visit *v = arg;

    v->read(v, range, arena, res, call);
}

static void enter(struct commit_gate *gate, struct gate_visit *visit, struct call *call)
{
    struct write_op *w = CONTAINER(gate, struct write_op, gate);

    w->push_req = (struct push_req){.o = &w->o,
                                    .info = visit->info,
                                    .parts = visit->parts,
                                    .part_count = visit->part_count,
                                    .cond = &w->cond,
                                    .read = visit_read,
                                    .arg = visit};
    w->pushed = true;
    backend_push(&w->push_req, &w->push, call);
}

/* ---- a store without gates: what it has is sent, and dropped when the remote won't have it ---- */

static void inner_read(void *arg, const struct range *range, struct arena *arena, struct obj_get_res *res,
                       struct call *call)
{
    struct write_op *w = arg;
    struct obj_head_req head = {.arena = arena, .bucket = w->o.bucket, .key = w->o.key, .cond = COND_INIT};

    head.cond.if_match = etag_str(&w->headed.info.etag);
    head.range = *range;
    w->get.head = head;
    store_obj_get(w->o.b->env.inner, &w->get, res, call);
}

static enum step_next write_headed(struct op *op)
{
    struct write_op *w = write_of(op);

    w->push_req = (struct push_req){.o = &w->o,
                                    .info = &w->headed.info,
                                    .parts = w->headed.parts,
                                    .part_count = w->headed.part_count,
                                    .cond = &w->cond,
                                    .read = inner_read,
                                    .arg = w};
    w->pushed = true;
    backend_push(&w->push_req, &w->push, op_try(op, write_pushed));
    return STEP_WAIT;
}

/* ---- the operation ---- */

static enum step_next write_claimed(struct op *op)
{
    struct write_op *w = write_of(op);
    bool gates = w->o.b->env.gates;

    w->gate.enter = enter;
    if (w->put) {
        w->inner_put = *w->put;
        w->inner_put.cond = (struct cond)COND_INIT;
        w->inner_put.gate = gates ? &w->gate : NULL;
        store_obj_put(w->o.b->env.inner, &w->inner_put, w->put_res, op_call(op, write_stored));
    } else {
        w->inner_complete = *w->complete;
        w->inner_complete.cond = (struct cond)COND_INIT;
        w->inner_complete.gate = gates ? &w->gate : NULL;
        store_upload_complete(w->o.b->env.inner, &w->inner_complete, w->complete_res, op_call(op, write_stored));
    }
    return STEP_WAIT;
}

/* Whether the remote knows it by another ETag: then that is its name, and the copy here is not kept. */
static bool is_renamed(struct write_op *w)
{
    struct str there = etag_str(&w->push.etag);

    return w->pushed && there.n && !str_eq(there, etag_str(&w->info->etag));
}

static enum step_next write_stored(struct op *op)
{
    struct write_op *w = write_of(op);

    w->info = w->put ? &w->put_res->info : &w->complete_res->info;
    if (w->o.b->env.gates)
        return op_go(op, is_renamed(w) ? write_drop : write_end);
    w->head = (struct obj_head_req){
        .arena = w->o.arena, .bucket = w->o.bucket, .key = w->o.key, .cond = COND_INIT, .parts = true};
    store_obj_head(w->o.b->env.inner, &w->head, &w->headed, op_call(op, write_headed));
    return STEP_WAIT;
}

static enum step_next write_pushed(struct op *op)
{
    struct write_op *w = write_of(op);

    w->failed = op->call.err;
    return op_go(op, w->failed != ERR_OK || is_renamed(w) ? write_drop : write_end);
}

static enum step_next write_drop(struct op *op)
{
    struct write_op *w = write_of(op);

    if (w->failed == ERR_OK)
        w->info->etag = w->push.etag;
    w->drop = (struct obj_delete_req){
        .arena = w->o.arena, .bucket = w->o.bucket, .key = w->o.key, .cond = COND_INIT, .evict = true};
    store_obj_delete(w->o.b->env.inner, &w->drop, &w->dropped, op_try(op, write_dropped));
    return STEP_WAIT;
}

static enum step_next write_dropped(struct op *op)
{
    struct write_op *w = write_of(op);

    return w->failed != ERR_OK ? op_fail(op, w->failed) : op_go(op, write_end);
}

static enum step_next write_end(struct op *op)
{
    return backend_op_done(&write_of(op)->o, op->err);
}

static enum step_next write_claim(struct op *op)
{
    struct write_op *w = write_of(op);

    turn_take(&w->o.b->env.backends->turns, &w->o.claim, w->o.bucket.uid, w->o.key, op_call(op, write_claimed));
    return STEP_WAIT;
}

static void begin(struct write_op *w, struct call *call)
{
    op_start(&w->o.op, call->loop, "backend_write", write_claim, write_end);
    call_on_cancel(call, backend_op_cancel, &w->o);
}

void backend_obj_put(struct store *s, const struct obj_put_req *req, struct obj_put_res *res, struct call *call)
{
    if (!req->bucket.backend) {
        store_obj_put(backend_of(s)->env.inner, req, res, call);
        return;
    }
    struct write_op *w = ARENA_NEW(req->arena, struct write_op);
    if (backend_op_init(&w->o, s, req->arena, req->bucket, req->key, call) != ERR_OK)
        return;
    w->put = req;
    w->put_res = res;
    w->cond = req->cond;
    begin(w, call);
}

void backend_upload_complete(struct store *s, const struct upload_complete_req *req, struct upload_complete_res *res,
                             struct call *call)
{
    if (!req->bucket.backend) {
        store_upload_complete(backend_of(s)->env.inner, req, res, call);
        return;
    }
    struct write_op *w = ARENA_NEW(req->arena, struct write_op);
    if (backend_op_init(&w->o, s, req->arena, req->bucket, req->key, call) != ERR_OK)
        return;
    w->complete = req;
    w->complete_res = res;
    w->cond = req->cond;
    begin(w, call);
}

void backend_obj_copy(struct store *s, const struct obj_copy_req *req, struct obj_copy_res *res, struct call *call)
{
    if (req->bucket.backend || req->src_bucket.backend)
        store_copy_by_stream(s, req, res, call);
    else
        store_obj_copy(backend_of(s)->env.inner, req, res, call);
}

/* ---- deletes ---- */

struct delete_op {
    struct backend_op o;
    const struct obj_delete_req *req;
    struct obj_delete_res *res;
    struct obj_head_req head;
    struct obj_head_res headed;
    struct obj_delete_req inner;
    struct object_info info;
    bool existed;
};

static step_fn delete_claimed, delete_looked, delete_headed, delete_there, delete_gone, delete_here, delete_end;

static struct delete_op *delete_of(struct op *op)
{
    return CONTAINER(op, struct delete_op, o.op);
}

static enum step_next delete_claimed(struct op *op)
{
    struct delete_op *d = delete_of(op);

    if (d->req->evict)
        return op_go(op, delete_here);
    d->head = (struct obj_head_req){.arena = d->o.arena, .bucket = d->o.bucket, .key = d->o.key, .cond = COND_INIT};
    store_obj_head(d->o.b->env.inner, &d->head, &d->headed, op_try(op, delete_looked));
    return STEP_WAIT;
}

/* Only the remote decides conditions, and whether there was anything. */
static enum step_next delete_looked(struct op *op)
{
    struct delete_op *d = delete_of(op);

    d->existed = op->call.err == ERR_OK;
    if (d->existed && cond_is_empty(&d->req->cond))
        return op_go(op, delete_there);
    backend_ask(&d->o, STR("HEAD"), d->o.key, op_try(op, delete_headed));
    return STEP_WAIT;
}

static enum step_next delete_headed(struct op *op)
{
    struct delete_op *d = delete_of(op);
    enum err e = op->call.err;
    bool there = e == ERR_OK && s3_object_info(d->o.arena, &d->o.got.answer, 0, &d->info);

    if (e != ERR_OK && e != ERR_NO_SUCH_KEY)
        return op_fail(op, e);
    d->existed |= there;
    if ((e = cond_check_delete(&d->req->cond, there ? &d->info : NULL)) != ERR_OK)
        return op_fail(op, e);
    return op_go(op, there ? delete_there : delete_here);
}

static enum step_next delete_there(struct op *op)
{
    struct delete_op *d = delete_of(op);

    backend_ask(&d->o, STR("DELETE"), d->o.key, op_try(op, delete_gone));
    return STEP_WAIT;
}

static enum step_next delete_gone(struct op *op)
{
    struct delete_op *d = delete_of(op);

    source_close(d->o.got.answer.body);
    d->o.got.answer.body = NULL;
    if (op->call.err != ERR_OK && op->call.err != ERR_NO_SUCH_KEY)
        return op_fail(op, op->call.err);
    return op_go(op, delete_here);
}

static enum step_next delete_here(struct op *op)
{
    struct delete_op *d = delete_of(op);

    d->inner = *d->req;
    d->inner.cond = (struct cond)COND_INIT;
    store_obj_delete(d->o.b->env.inner, &d->inner, d->res, op_call(op, delete_end));
    return STEP_WAIT;
}

static enum step_next delete_end(struct op *op)
{
    struct delete_op *d = delete_of(op);

    if (op->err == ERR_OK)
        d->res->existed |= d->existed;
    return backend_op_done(&d->o, op->err);
}

static enum step_next delete_claim(struct op *op)
{
    struct delete_op *d = delete_of(op);

    turn_take(&d->o.b->env.backends->turns, &d->o.claim, d->o.bucket.uid, d->o.key, op_call(op, delete_claimed));
    return STEP_WAIT;
}

void backend_obj_delete(struct store *s, const struct obj_delete_req *req, struct obj_delete_res *res,
                        struct call *call)
{
    if (!req->bucket.backend) {
        store_obj_delete(backend_of(s)->env.inner, req, res, call);
        return;
    }
    struct delete_op *d = ARENA_NEW(req->arena, struct delete_op);
    if (backend_op_init(&d->o, s, req->arena, req->bucket, req->key, call) != ERR_OK)
        return;
    d->req = req;
    d->res = res;
    op_start(&d->o.op, call->loop, "backend_delete", delete_claim, delete_end);
    call_on_cancel(call, backend_op_cancel, &d->o);
}
