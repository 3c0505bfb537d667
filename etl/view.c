#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "etl/view_own.h"
#include "store/access.h"

/* ---- reads ---- */

enum { TRIES = 8 };

struct read_op {
    struct op op;
    struct view_at at;
    const struct obj_head_req *req;
    struct obj_head_res *head;
    struct obj_get_res *get; /* NULL: obj_head */
    struct call *whole;
    struct view_make_req make;
    struct view_make_res made;
    struct obj_get_req inner_req;
    struct obj_get_res inner;
    unsigned tries;
};

static step_fn read_make, read_open, read_opened, read_end;

static enum step_next read_make(struct op *op)
{
    struct read_op *r = OP(op, struct read_op);

    r->make = (struct view_make_req){&r->at, r->req->arena, r->req->key};
    r->made = (struct view_make_res){.mark = ""};
    view_make(&r->make, &r->made, op_call(op, read_open));
    return STEP_WAIT;
}

/* Conditions are about the result: it is told apart from others by its ETag, and is read as what was found. */
static enum step_next read_open(struct op *op)
{
    struct read_op *r = OP(op, struct read_op);
    struct store *inner = r->at.v->env.inner;
    enum err e = cond_check_read(&r->req->cond, &r->made.info, clock_wall_ns() / NS_PER_S);

    if (e != ERR_OK) {
        *r->head = (struct obj_head_res){.info = r->made.info};
        return op_fail(op, e);
    }
    r->inner_req.head = *r->req;
    r->inner_req.head.cond = (struct cond)COND_INIT;
    r->inner_req.head.cond.if_match = etag_str(&r->made.info.etag);
    if (r->get)
        store_obj_get(inner, &r->inner_req, &r->inner, op_try(op, read_opened));
    else
        store_obj_head(inner, &r->inner_req.head, &r->inner.head, op_try(op, read_opened));
    return STEP_WAIT;
}

static enum step_next read_opened(struct op *op)
{
    struct read_op *r = OP(op, struct read_op);
    enum err e = op->call.err;

    if (e == ERR_PRECONDITION || e == ERR_NO_SUCH_KEY) /* made anew by another gateway, or evicted, in between */
        return ++r->tries < TRIES ? op_go(op, read_make) : op_fail(op, ERR_BUSY);
    if (e != ERR_OK && e != ERR_INVALID_RANGE)
        return op_fail(op, e);
    access_note(r->req->bucket.uid, r->req->key);
    *r->head = r->inner.head;
    r->head->info = r->made.info;
    if (r->get) {
        r->get->body = r->inner.body;
        r->inner.body = NULL;
    }
    return e == ERR_OK ? op_go(op, read_end) : op_fail(op, e);
}

static enum step_next read_end(struct op *op)
{
    struct read_op *r = OP(op, struct read_op);

    source_close(r->inner.body);
    if (op->err != ERR_OK && r->get) {
        source_close(r->get->body);
        r->get->body = NULL;
    }
    call_finish(r->whole, op->err);
    return STEP_DONE;
}

static void read_cancel(void *arg)
{
    op_cancel(&((struct read_op *)arg)->op, ERR_CANCELLED);
}

static void read_begin(struct store *s, const struct obj_head_req *req, struct obj_head_res *head,
                       struct obj_get_res *get, struct call *call)
{
    struct read_op *r = ARENA_NEW(req->arena, struct read_op);
    enum err e = view_find(view_of(s), req->arena, req->bucket, &r->at);

    if (e != ERR_OK) {
        call_finish(call, e);
        return;
    }
    r->req = req;
    r->head = head;
    r->get = get;
    r->whole = call;
    op_start(&r->op, call->loop, "view_read", read_make, read_end);
    call_on_cancel(call, read_cancel, r);
}

void view_obj_head(struct store *s, const struct obj_head_req *req, struct obj_head_res *res, struct call *call)
{
    if (req->bucket.view && !req->cached)
        read_begin(s, req, res, NULL, call);
    else
        store_obj_head(view_of(s)->env.inner, req, res, call);
}

void view_obj_get(struct store *s, const struct obj_get_req *req, struct obj_get_res *res, struct call *call)
{
    res->body = NULL;
    if (req->head.bucket.view && !req->head.cached)
        read_begin(s, &req->head, &res->head, res, call);
    else
        store_obj_get(view_of(s)->env.inner, req, res, call);
}

/* ---- what a view does not take ---- */

#define REFUSE(m)                                                                                                      \
    static void view_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *call)           \
    {                                                                                                                  \
        if (req->bucket.view)                                                                                          \
            call_finish(call, ERR_METHOD_NOT_ALLOWED);                                                                 \
        else                                                                                                           \
            store_##m(view_of(s)->env.inner, req, res, call);                                                          \
    }
REFUSE(obj_put)
REFUSE(obj_import)
REFUSE(obj_splice)
REFUSE(upload_create)
REFUSE(upload_part)
REFUSE(upload_complete)
#undef REFUSE

/* Letting go of what is kept is no change of the view. */
static void view_obj_delete(struct store *s, const struct obj_delete_req *req, struct obj_delete_res *res,
                            struct call *call)
{
    struct obj_delete_req *kept;

    if (!req->bucket.view) {
        store_obj_delete(view_of(s)->env.inner, req, res, call);
    } else if (!req->evict) {
        call_finish(call, ERR_METHOD_NOT_ALLOWED);
    } else {
        kept = ARENA_NEW(req->arena, struct obj_delete_req);
        *kept = *req;
        kept->evict = false; /* nothing is behind it that the store below knows of */
        store_obj_delete(view_of(s)->env.inner, kept, res, call);
    }
}

/* The content of a view is not in its own bucket's store before it was asked for: it is read and written. */
static void view_obj_copy(struct store *s, const struct obj_copy_req *req, struct obj_copy_res *res, struct call *call)
{
    if (req->bucket.view)
        call_finish(call, ERR_METHOD_NOT_ALLOWED);
    else if (req->src_bucket.view)
        store_copy_by_stream(s, req, res, call);
    else
        store_obj_copy(view_of(s)->env.inner, req, res, call);
}

#define PASS(m)                                                                                                        \
    static void view_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *call)           \
    {                                                                                                                  \
        store_##m(view_of(s)->env.inner, req, res, call);                                                              \
    }
PASS(upload_abort)
PASS(upload_list)
PASS(part_list)
#undef PASS

/* What a view has kept is nothing that anybody put there. */
static void view_bucket_purge(struct store *s, const struct bucket_purge_req *req, struct bucket_purge_res *res,
                              struct call *call)
{
    struct bucket_purge_req *all = ARENA_NEW(req->arena, struct bucket_purge_req);

    *all = *req;
    all->objects |= req->bucket.view;
    store_bucket_purge(view_of(s)->env.inner, all, res, call);
}

/* ---- life ---- */

struct views *views_new(struct buckets *buckets, struct etl_names *names)
{
    struct views *v = NEW(struct views);

    v->buckets = buckets;
    v->names = names;
    turns_init(&v->turns);
    return v;
}

void views_free(struct views *v)
{
    if (!v)
        return;
    turns_destroy(&v->turns);
    free(v);
}

static void view_close(struct store *s)
{
    free(view_of(s));
}

struct store *view_store_new(const struct view_env *env)
{
    static const struct store_ops ops = {.name = "view",
                                         .obj_head = view_obj_head,
                                         .obj_get = view_obj_get,
                                         .obj_put = view_obj_put,
                                         .obj_delete = view_obj_delete,
                                         .obj_copy = view_obj_copy,
                                         .obj_import = view_obj_import,
                                         .obj_list = view_obj_list,
                                         .obj_splice = view_obj_splice,
                                         .upload_create = view_upload_create,
                                         .upload_part = view_upload_part,
                                         .upload_complete = view_upload_complete,
                                         .upload_abort = view_upload_abort,
                                         .upload_list = view_upload_list,
                                         .part_list = view_part_list,
                                         .bucket_purge = view_bucket_purge,
                                         .close = view_close};
    struct view *v = NEW(struct view);

    v->store.ops = &ops;
    v->store.loop = env->loop;
    v->env = *env;
    return &v->store;
}
