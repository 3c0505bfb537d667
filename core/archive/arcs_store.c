/* The store around the store: every method goes through; those that change an archive see to its index. An index that can't be made
 * never fails a write: the object is one like any other. */
#include "archive/arcs_own.h"
#include "base/mem.h"

static struct arcs *of(struct store *s)
{
    return CONTAINER(s, struct arcs, store);
}

/* Methods that change nothing about archives. */
#define M(m)                                                                                                           \
    static void pass_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)              \
    {                                                                                                                  \
        store_##m(of(s)->env.store, req, res, c);                                                                      \
    }
STORE_METHODS(M)
#undef M

static void cancel_op(void *arg)
{
    op_cancel(arg, ERR_CANCELLED);
}

/* ---- put: scanned on its way ---- */

struct put_op {
    struct op op;
    struct arcs *arcs;
    struct obj_put_req req;
    struct obj_put_res *res;
    struct call *whole;
    struct arc_id id;
    struct arcs_tee *tee;
    struct arc_index *index;
};

static step_fn put_body, put_stored, put_indexed, put_end;

static enum step_next put_body(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);

    store_obj_put(p->arcs->env.store, &p->req, p->res, op_call(op, put_stored));
    return STEP_WAIT;
}

static enum step_next put_stored(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);

    arcs_tee_end(p->tee, &p->res->info, &p->index, op_try(op, put_indexed));
    return STEP_WAIT;
}

static enum step_next put_indexed(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);

    if (p->index) {
        arc_cache_put(p->arcs->env.cache, &p->id, p->index);
        arcs_keep_write(p->arcs, &p->id, p->index);
    } else {
        arc_cache_drop(p->arcs->env.cache, &p->id);
        arcs_keep_remove(p->arcs, &p->id);
    }
    return op_go(op, put_end);
}

static enum step_next put_end(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);

    arcs_tee_close(p->tee);
    arc_index_unref(p->index);
    call_finish(p->whole, op->err);
    return STEP_DONE;
}

/* ---- what is looked at afterwards ---- */

enum after_what {
    AFTER_GONE,
    AFTER_WRITTEN,
    AFTER_CHANGED, /* in part: the index of before may be of use for that of now */
};

struct after_op {
    struct call call;
    struct arcs *arcs;
    struct call *whole;
    struct arc_id id;
    enum after_what what;
};

static void after_done(struct call *c)
{
    struct after_op *o = CONTAINER(c, struct after_op, call);

    if (c->err == ERR_OK) {
        if (o->what != AFTER_CHANGED)
            arc_cache_drop(o->arcs->env.cache, &o->id);
        (o->what == AFTER_GONE ? arcs_keep_remove : arcs_keep_make)(o->arcs, &o->id);
    }
    call_finish(o->whole, c->err);
}

static void after_cancel(void *arg)
{
    call_cancel(&((struct after_op *)arg)->call);
}

/* The call to hand to the store instead of `whole`, which is begun already; when the key is no archive's: `whole`. */
static struct call *after(struct arcs *a, struct arena *arena, const struct bucket_id *bucket, struct str key,
                          enum after_what what, struct call *whole)
{
    struct arc_id id = arc_id_of(bucket, key, ARC_NONE);
    struct after_op *o;

    if (id.format == ARC_NONE)
        return whole;
    o = ARENA_NEW(arena, struct after_op);
    o->arcs = a;
    o->whole = whole;
    o->id = id;
    o->what = what;
    call_begin(&o->call, whole->loop, after_done);
    call_on_cancel(whole, after_cancel, o);
    return &o->call;
}

static void arcs_obj_put(struct store *s, const struct obj_put_req *req, struct obj_put_res *res, struct call *call)
{
    struct arcs *a = of(s);
    struct arc_id id = arc_id_of(&req->bucket, req->key, ARC_NONE);
    struct put_op *p;

    if (id.format == ARC_NONE || id.format == ARC_ZIP || !req->body) {
        store_obj_put(a->env.store, req, res,
                      after(a, req->arena, &req->bucket, req->key, req->body ? AFTER_WRITTEN : AFTER_GONE, call));
        return;
    }
    p = ARENA_NEW(req->arena, struct put_op);
    p->arcs = a;
    p->req = *req;
    p->res = res;
    p->whole = call;
    p->id = id;
    p->tee = arcs_tee_open(call->loop, a->env.cpu, id.format, req->body);
    p->req.body = arcs_tee_source(p->tee);
    op_start(&p->op, call->loop, "put_archive", put_body, put_end);
    call_on_cancel(call, cancel_op, &p->op);
}

static void arcs_obj_copy(struct store *s, const struct obj_copy_req *req, struct obj_copy_res *res, struct call *c)
{
    struct arcs *a = of(s);

    store_obj_copy(a->env.store, req, res, after(a, req->arena, &req->bucket, req->key, AFTER_WRITTEN, c));
}

static void arcs_obj_splice(struct store *s, const struct obj_splice_req *req, struct obj_splice_res *res,
                            struct call *c)
{
    struct arcs *a = of(s);

    store_obj_splice(a->env.store, req, res, after(a, req->arena, &req->bucket, req->key, AFTER_CHANGED, c));
}

static void arcs_upload_complete(struct store *s, const struct upload_complete_req *req,
                                 struct upload_complete_res *res, struct call *c)
{
    struct arcs *a = of(s);

    store_upload_complete(a->env.store, req, res, after(a, req->arena, &req->bucket, req->key, AFTER_WRITTEN, c));
}

static void arcs_obj_delete(struct store *s, const struct obj_delete_req *req, struct obj_delete_res *res,
                            struct call *c)
{
    struct arcs *a = of(s);

    store_obj_delete(a->env.store, req, res, after(a, req->arena, &req->bucket, req->key, AFTER_GONE, c));
}

/* ---- purging a bucket ---- */

struct purge_op {
    struct op op;
    struct arcs *arcs;
    const struct bucket_purge_req *req;
    struct bucket_purge_res *res;
    struct call *whole;
};

static step_fn purge_objects, purge_indexes, purge_done, purge_end;

static enum step_next purge_objects(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    store_bucket_purge(p->arcs->env.store, p->req, p->res, op_call(op, purge_indexes));
    return STEP_WAIT;
}

static enum step_next purge_indexes(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    if (p->req->seal || p->req->unseal)
        return op_go(op, purge_end);
    arcs_keep_purge(p->arcs, p->req->arena, p->req->bucket.uid, op_try(op, purge_done));
    return STEP_WAIT;
}

static enum step_next purge_done(struct op *op)
{
    return op_go(op, purge_end);
}

static enum step_next purge_end(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    call_finish(p->whole, op->err);
    return STEP_DONE;
}

static void arcs_bucket_purge(struct store *s, const struct bucket_purge_req *req, struct bucket_purge_res *res,
                              struct call *c)
{
    struct purge_op *p = ARENA_NEW(req->arena, struct purge_op);

    p->arcs = of(s);
    p->req = req;
    p->res = res;
    p->whole = c;
    op_start(&p->op, c->loop, "purge_archives", purge_objects, purge_end);
    call_on_cancel(c, cancel_op, &p->op);
}

/* ---- the vtable ---- */

static void arcs_close(struct store *s)
{
    (void)s; /* arcs_free() */
}

void arcs_store_init(struct arcs *a)
{
    a->ops = (struct store_ops){
        .name = "archives",
#define M(m) .m = pass_##m,
        STORE_METHODS(M)
#undef M
            .close = arcs_close,
    };
    a->ops.obj_put = arcs_obj_put;
    a->ops.obj_copy = arcs_obj_copy;
    a->ops.obj_delete = arcs_obj_delete;
    a->ops.obj_splice = arcs_obj_splice;
    a->ops.upload_complete = arcs_upload_complete;
    a->ops.bucket_purge = arcs_bucket_purge;
    a->store = (struct store){.ops = &a->ops, .loop = a->env.loop};
}
