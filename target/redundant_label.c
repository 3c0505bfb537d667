/* Other attributes or tags for an object whose content is in slices: its record changes with every member, its slices stay. */
#include "base/clock.h"
#include "base/log.h"
#include "target/redundant_own.h"

struct label_peer {
    struct group_call member;
    struct obj_import_req req;
    struct obj_import_res res;
    struct body_check check;
};

struct label_op {
    struct op op;
    struct red_handle *handle;
    const struct obj_copy_req *req;
    struct obj_copy_res *res;
    struct call *whole;
    struct red_lock lock;
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct object_info info; /* as it will be */
    struct call_group group;
    struct label_peer peers[RED_PEERS_MAX];
    struct label_peer own;
};

static step_fn label_lock, label_locked, label_decide, label_pushed, label_end;

static enum step_next label_lock(struct op *op)
{
    struct label_op *l = OP(op, struct label_op);

    l->lock =
        (struct red_lock){.handle = l->handle, .arena = l->req->arena, .bucket = l->req->bucket, .key = l->req->key};
    red_lock_run(&l->lock, op_call(op, label_locked));
    return STEP_WAIT;
}

static enum step_next label_locked(struct op *op)
{
    struct label_op *l = OP(op, struct label_op);

    l->head_req = (struct obj_head_req){
        .arena = l->req->arena, .bucket = l->req->bucket, .key = l->req->key, .cond = COND_INIT, .parts = true};
    store_obj_head(l->handle->env.mine, &l->head_req, &l->head, op_call(op, label_decide));
    return STEP_WAIT;
}

static enum err decide(struct label_op *l)
{
    const struct obj_copy_req *req = l->req;
    enum err e = cond_check_copy_source(&req->src_cond, &l->head.info, clock_wall_ns() / NS_PER_S);

    if (e == ERR_OK)
        e = cond_check_write(&req->cond, &l->head.info);
    if (e == ERR_OK && !l->head.info.layout.n) /* replaced by something small since it was looked at */
        e = ERR_CONFLICT;
    if (e == ERR_OK && l->lock.place.members < redundancy_min_copies(req->bucket.redundancy))
        e = ERR_UNAVAILABLE;
    return e;
}

static void tell(struct label_op *l, struct label_peer *p, struct store *store, struct call *call)
{
    p->req = (struct obj_import_req){.arena = l->req->arena,
                                     .bucket = l->req->bucket,
                                     .key = l->req->key,
                                     .info = l->info,
                                     .parts = l->head.parts,
                                     .part_count = l->head.part_count,
                                     .check = &p->check,
                                     .force = true};
    store_obj_import(store, &p->req, &p->res, call);
}

static enum step_next label_decide(struct op *op)
{
    struct label_op *l = OP(op, struct label_op);
    const struct red_place *place = &l->lock.place;
    enum err e = decide(l);

    if (e != ERR_OK)
        return op_fail(op, e);
    l->info = l->head.info;
    l->info.mtime_ns++; /* what tells versions of a key apart */
    if (l->req->replace_attrs) {
        l->info.attrs = l->req->info.attrs;
        l->info.attr_count = l->req->info.attr_count;
    }
    if (l->req->change_attrs)
        object_change_attrs(l->req->arena, &l->head.info, &l->req->info, &l->info);
    if (l->req->replace_tags)
        l->info.tags = l->req->info.tags;
    call_group_init(&l->group, op_call(op, label_pushed));
    for (unsigned i = 0; i < place->n; i++)
        if (place->peers[i].is_now && !place->peers[i].self)
            tell(l, &l->peers[i], red_store(l->handle, place->peers[i].id, place->epoch),
                 group_call(&l->group, &l->peers[i].member));
    call_group_seal(&l->group);
    return STEP_WAIT;
}

static enum step_next label_pushed(struct op *op)
{
    struct label_op *l = OP(op, struct label_op);

    tell(l, &l->own, l->handle->env.mine, op_call(op, label_end));
    return STEP_WAIT;
}

static enum step_next label_end(struct op *op)
{
    struct label_op *l = OP(op, struct label_op);
    bool pushing = op->err != ERR_OK && op->err != ERR_CANCELLED && l->info.layout.n;

    if (op->err == ERR_OK)
        l->res->info = l->info;
    else if (pushing)
        log_info(l->req->arena->id, "change of attributes did not reach all members", "key=%s err=%s",
                 log_quote(l->req->key), err_name(op->err));
    red_lock_drop(&l->lock);
    call_finish(l->whole, op->err);
    return STEP_DONE;
}

static void label_cancel(void *arg)
{
    op_cancel(&((struct label_op *)arg)->op, ERR_CANCELLED);
}

void red_label(struct red_handle *h, const struct obj_copy_req *req, struct obj_copy_res *res, struct call *c)
{
    struct label_op *l = ARENA_NEW(req->arena, struct label_op);

    *l = (struct label_op){.handle = h, .req = req, .res = res, .whole = c};
    op_start(&l->op, c->loop, "red_label", label_lock, label_end);
    call_on_cancel(c, label_cancel, l);
}
