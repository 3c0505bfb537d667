#include "target/moving_own.h"

/* Uploads in parts stay at the target that began them, whatever becomes of the placement meanwhile. */

/* ---- where is it ---- */

static step_fn find_ask, find_asked, find_end;

/* The next other node, or -1. */
static int next_node(struct uploads_find *f)
{
    const struct map *map = f->map;

    for (; f->at < map->node_count; f->at++) {
        const struct map_node *n = &map->nodes[f->at];
        if (str_eq(n->id, f->handle->moving->self))
            continue;
        if (n->state != NODE_MAINTENANCE)
            return f->at;
        f->missed = true;
    }
    return -1;
}

static enum step_next find_ask(struct op *op)
{
    struct uploads_find *f = OP(op, struct uploads_find);
    int at = next_node(f);

    if (at < 0)
        return op_fail(op, f->missed ? ERR_UNAVAILABLE : ERR_NO_SUCH_UPLOAD);
    memcpy(f->place.from, f->map->nodes[at].id.p, NODE_ID_LEN);
    store_part_list(moving_from(f->handle, &f->place), &f->req, &f->res, op_try(op, find_asked));
    return STEP_WAIT;
}

static enum step_next find_asked(struct op *op)
{
    struct uploads_find *f = OP(op, struct uploads_find);

    if (op->call.err == ERR_OK)
        return op_go(op, find_end);
    if (op->call.err == ERR_UNAVAILABLE || op->call.err == ERR_TIMEOUT || op->call.err == ERR_BUSY)
        f->missed = true;
    else if (op->call.err != ERR_NO_SUCH_UPLOAD)
        return op_fail(op, op->call.err);
    f->at++;
    return op_go(op, find_ask);
}

static enum step_next find_end(struct op *op)
{
    struct uploads_find *f = OP(op, struct uploads_find);

    map_release(f->map);
    call_finish(f->whole, op->err);
    return STEP_DONE;
}

static void find_cancel(void *arg)
{
    op_cancel(&((struct uploads_find *)arg)->op, ERR_CANCELLED);
}

void uploads_find_run(struct uploads_find *f, struct call *whole)
{
    f->whole = whole;
    f->map = members_map(f->handle->moving->members);
    f->place = (struct moving_place){.where = MOVING_COMING, .epoch = f->map->epoch};
    f->req = (struct part_list_req){
        .arena = f->arena, .bucket = f->bucket, .key = f->key, .upload_id = f->upload_id, .max = 1};
    op_start(&f->op, whole->loop, "find_upload", find_ask, find_end);
    call_on_cancel(whole, find_cancel, f);
}

/* ---- calls about it ---- */

struct forward {
    struct op op;
    struct moving_handle *handle;
    struct uploads_forward what;
    struct part_list_req probe_req;
    struct part_list_res probe;
    struct uploads_find find;
};

static step_fn forward_probe, forward_probed, forward_found, forward_end;

static void ask(const struct uploads_forward *w, struct store *at, struct call *call)
{
    switch (w->method) {
    case UPLOADS_PART:
        store_upload_part(at, w->req, w->res, call);
        break;
    case UPLOADS_ABORT:
        store_upload_abort(at, w->req, w->res, call);
        break;
    case UPLOADS_LIST:
        store_part_list(at, w->req, w->res, call);
        break;
    }
}

static enum step_next forward_probe(struct op *op)
{
    struct forward *f = OP(op, struct forward);

    store_part_list(f->handle->env.mine, &f->probe_req, &f->probe, op_try(op, forward_probed));
    return STEP_WAIT;
}

static enum step_next forward_probed(struct op *op)
{
    struct forward *f = OP(op, struct forward);
    const struct uploads_forward *w = &f->what;

    if (op->call.err == ERR_OK) {
        ask(w, f->handle->env.mine, op_call(op, forward_end));
        return STEP_WAIT;
    }
    if (op->call.err != ERR_NO_SUCH_UPLOAD)
        return op_fail(op, op->call.err);
    f->find = (struct uploads_find){
        .handle = f->handle, .arena = w->arena, .bucket = w->bucket, .key = w->key, .upload_id = w->upload_id};
    uploads_find_run(&f->find, op_call(op, forward_found));
    return STEP_WAIT;
}

static enum step_next forward_found(struct op *op)
{
    struct forward *f = OP(op, struct forward);

    ask(&f->what, moving_from(f->handle, &f->find.place), op_call(op, forward_end));
    return STEP_WAIT;
}

static enum step_next forward_end(struct op *op)
{
    call_finish(OP(op, struct forward)->what.whole, op->err);
    return STEP_DONE;
}

static void forward_cancel(void *arg)
{
    op_cancel(&((struct forward *)arg)->op, ERR_CANCELLED);
}

void uploads_forward(struct moving_handle *h, const struct uploads_forward *what)
{
    struct moving_place place;
    struct forward *f;

    moving_place(h->moving, what->bucket.uid, what->key, &place);
    if (place.where == MOVING_LEAVING || place.where == MOVING_FOREIGN) { /* asked by the owner, who looks for it */
        ask(what, h->env.mine, what->whole);
        return;
    }
    f = ARENA_NEW(what->arena, struct forward);
    f->handle = h;
    f->what = *what;
    f->probe_req = (struct part_list_req){
        .arena = what->arena, .bucket = what->bucket, .key = what->key, .upload_id = what->upload_id, .max = 1};
    op_start(&f->op, what->whole->loop, "forward", forward_probe, forward_end);
    call_on_cancel(what->whole, forward_cancel, f);
}
