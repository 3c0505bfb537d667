#include "base/log.h"
#include "target/redundant_own.h"

/* An upload lives on the node that led its key when it began; its parts have one copy. Whoever leads the key now asks the others for an upload
 * that it doesn't know. */

typedef void ask_fn(struct store *, const void *req, void *res, struct call *);

struct seek_op {
    struct op op;
    struct red_handle *handle;
    struct bucket_id bucket;
    struct str key, upload_id;
    ask_fn *ask; /* NULL: a Complete */
    const void *req;
    void *res;
    struct arena *arena;
    struct call *whole;
    struct part_list_req probe_req;
    struct part_list_res probe;
    const struct map *map; /* held while others are asked */
    uint16_t at;           /* who is asked */
    bool missing;          /* somebody couldn't be */
    const struct upload_complete_req *complete;
};

static step_fn seek_own, seek_probed, seek_next, seek_asked, seek_end;

static enum step_next seek_own(struct op *op)
{
    struct seek_op *s = OP(op, struct seek_op);
    struct red_place place;

    red_place(s->handle, &s->bucket, s->key, &place);
    if (!place.leads)
        return op_fail(op, ERR_STALE_EPOCH);
    store_part_list(s->handle->env.mine, &s->probe_req, &s->probe, op_try(op, seek_probed));
    return STEP_WAIT;
}

static enum step_next seek_probed(struct op *op)
{
    struct seek_op *s = OP(op, struct seek_op);
    enum err e = op->call.err;

    if (e != ERR_OK && e != ERR_NO_SUCH_UPLOAD)
        return op_fail(op, e);
    if (e == ERR_OK && s->complete) {
        red_complete(s->handle, s->complete, s->res, NULL, op_call(op, seek_end));
        return STEP_WAIT;
    }
    if (e == ERR_OK) {
        s->ask(s->handle->env.mine, s->req, s->res, op_call(op, seek_end));
        return STEP_WAIT;
    }
    s->map = members_map(s->handle->redundant->members);
    return op_go(op, seek_next);
}

static enum step_next seek_next(struct op *op)
{
    struct seek_op *s = OP(op, struct seek_op);

    for (; s->at < s->map->node_count; s->at++) {
        const struct map_node *n = &s->map->nodes[s->at];
        if (str_eq(n->id, s->handle->redundant->self))
            continue;
        if (n->state == NODE_MAINTENANCE || !members_alive(s->handle->redundant->members, n->id)) {
            s->missing = true;
            continue;
        }
        store_part_list(red_store(s->handle, n->id.p, s->map->epoch), &s->probe_req, &s->probe, op_try(op, seek_asked));
        return STEP_WAIT;
    }
    if (s->complete) { /* of a Complete that is repeated the upload is gone, but the object tells of it */
        red_complete(s->handle, s->complete, s->res, NULL, op_call(op, seek_end));
        return STEP_WAIT;
    }
    if (s->missing)
        return op_fail(op, ERR_UNAVAILABLE);
    s->ask(s->handle->env.mine, s->req, s->res, op_call(op, seek_end)); /* it knows why: the bucket may be gone */
    return STEP_WAIT;
}

static struct store *holder(struct seek_op *s)
{
    return red_store(s->handle, s->map->nodes[s->at].id.p, s->map->epoch);
}

static enum step_next seek_asked(struct op *op)
{
    struct seek_op *s = OP(op, struct seek_op);

    if (op->call.err != ERR_OK) {
        s->missing = s->missing || op->call.err != ERR_NO_SUCH_UPLOAD;
        s->at++;
        return op_go(op, seek_next);
    }
    if (s->complete) {
        red_complete(s->handle, s->complete, s->res, s->map->nodes[s->at].id.p, op_call(op, seek_end));
        return STEP_WAIT;
    }
    s->ask(holder(s), s->req, s->res, op_call(op, seek_end));
    return STEP_WAIT;
}

static enum step_next seek_end(struct op *op)
{
    struct seek_op *s = OP(op, struct seek_op);
    enum err e = op->err;

    if (e == ERR_NO_SUCH_UPLOAD && s->missing)
        e = ERR_UNAVAILABLE;
    map_release(s->map);
    call_finish(s->whole, e);
    return STEP_DONE;
}

static void seek_cancel(void *arg)
{
    op_cancel(&((struct seek_op *)arg)->op, ERR_CANCELLED);
}

static void seek(struct store *store, const struct seek_op *what)
{
    struct seek_op *s = ARENA_NEW(what->arena, struct seek_op);

    *s = *what;
    s->handle = RED(store);
    s->probe_req = (struct part_list_req){
        .arena = s->arena, .bucket = s->bucket, .key = s->key, .upload_id = s->upload_id, .max = 1};
    op_start(&s->op, s->whole->loop, "red_upload", seek_own, seek_end);
    call_on_cancel(s->whole, seek_cancel, s);
}

#define SEEK(m)                                                                                                        \
    static void ask_##m(struct store *s, const void *req, void *res, struct call *c)                                   \
    {                                                                                                                  \
        store_##m(s, req, res, c);                                                                                     \
    }                                                                                                                  \
    void redundant_##m(struct store *s, const struct m##_req *r, struct m##_res *res, struct call *c)                  \
    {                                                                                                                  \
        if (!redundancy_is_wide(r->bucket.redundancy)) {                                                               \
            store_##m(RED(s)->env.single, r, res, c);                                                                  \
            return;                                                                                                    \
        }                                                                                                              \
        seek(s, &(struct seek_op){.bucket = r->bucket,                                                                 \
                                  .key = r->key,                                                                       \
                                  .upload_id = r->upload_id,                                                           \
                                  .ask = ask_##m,                                                                      \
                                  .req = r,                                                                            \
                                  .res = res,                                                                          \
                                  .arena = r->arena,                                                                   \
                                  .whole = c});                                                                        \
    }
SEEK(upload_part)
SEEK(upload_abort)
SEEK(part_list)

void redundant_upload_complete(struct store *s, const struct upload_complete_req *r, struct upload_complete_res *res,
                               struct call *c)
{
    if (!redundancy_is_wide(r->bucket.redundancy)) {
        store_upload_complete(RED(s)->env.single, r, res, c);
        return;
    }
    seek(s, &(struct seek_op){.bucket = r->bucket,
                              .key = r->key,
                              .upload_id = r->upload_id,
                              .complete = r,
                              .res = res,
                              .arena = r->arena,
                              .whole = c});
}

void redundant_upload_create(struct store *s, const struct upload_create_req *req, struct upload_create_res *res,
                             struct call *c)
{
    struct red_handle *h = RED(s);
    struct red_place place;

    if (!redundancy_is_wide(req->bucket.redundancy)) {
        store_upload_create(h->env.single, req, res, c);
        return;
    }
    red_place(h, &req->bucket, req->key, &place);
    if (place.leads)
        store_upload_create(h->env.mine, req, res, c);
    else
        call_finish(c, ERR_STALE_EPOCH);
}

/* ---- the bucket's end ---- */

struct purge_op {
    struct op op;
    struct red_handle *handle;
    const struct bucket_purge_req *req;
    struct bucket_purge_res *res;
    struct call *whole;
    struct bucket_purge_req slices_req;
    struct bucket_purge_res slices;
};

static step_fn purge_begin, purge_slices, purge_end;

static enum step_next purge_begin(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    store_bucket_purge(p->handle->env.mine, p->req, p->res, op_call(op, purge_slices));
    return STEP_WAIT;
}

/* With the objects' records the slices have gone; what is left is litter. */
static enum step_next purge_slices(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    if (p->req->seal && !p->req->objects)
        return op_go(op, purge_end);
    p->slices_req = *p->req;
    p->slices_req.bucket = slices_bucket(p->req->bucket);
    p->slices_req.objects = !p->req->unseal;
    store_bucket_purge(p->handle->env.mine, &p->slices_req, &p->slices, op_call(op, purge_end));
    return STEP_WAIT;
}

static enum step_next purge_end(struct op *op)
{
    call_finish(OP(op, struct purge_op)->whole, op->err);
    return STEP_DONE;
}

void redundant_bucket_purge(struct store *s, const struct bucket_purge_req *req, struct bucket_purge_res *res,
                            struct call *c)
{
    struct red_handle *h = RED(s);
    struct purge_op *p;

    if (redundancy_slices(req->bucket.redundancy) == 0) {
        store_bucket_purge(redundancy_is_wide(req->bucket.redundancy) ? h->env.mine : h->env.single, req, res, c);
        return;
    }
    p = ARENA_NEW(req->arena, struct purge_op);
    *p = (struct purge_op){.handle = h, .req = req, .res = res, .whole = c};
    op_start(&p->op, c->loop, "red_purge", purge_begin, purge_end); /* not cancelled, only waited for */
}
