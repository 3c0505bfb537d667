#include "archive/arc_extend.h"

#include "archive/arc_pack.h"
#include "base/op.h"

struct extend_op {
    struct op op;
    const struct arc_extend_req *req;
    struct arc_extend_res *res;
    struct call *whole;
    struct obj_get_req get;
    struct obj_get_res got;
    struct source_fill fill;
    char *bytes; /* from the old end on */
    size_t len, n;
    struct offload_task task;
};

static step_fn extend_get, extend_got, extend_read, extend_done, extend_end; /* in order */

bool arc_may_extend(const struct arc_index *old, const struct object_info *info)
{
    return old->format == ARC_TAR && info->parts == 0 && etag_is_spliced(&info->etag) && info->size > old->end &&
           info->size > old->size && info->mtime_ns > old->mtime_ns && info->size - old->end <= ARC_EXTEND_MAX;
}

static enum step_next extend_get(struct op *op)
{
    struct extend_op *x = OP(op, struct extend_op);
    const struct arc_extend_req *req = x->req;

    if (!arc_may_extend(req->old, &req->info))
        return op_fail(op, ERR_NOT_FOUND);
    x->get = (struct obj_get_req){{.arena = req->arena,
                                   .bucket = req->bucket,
                                   .key = req->key,
                                   .cond = COND_INIT,
                                   .range = {RANGE_FROM_TO, req->old->end, req->info.size - 1}}};
    x->get.head.cond.if_match = etag_str(&req->info.etag);
    store_obj_get(req->store, &x->get, &x->got, op_call(op, extend_got));
    return STEP_WAIT;
}

static enum step_next extend_got(struct op *op)
{
    struct extend_op *x = OP(op, struct extend_op);

    if (x->got.head.info.mtime_ns != x->req->info.mtime_ns)
        return op_fail(op, ERR_PRECONDITION);
    x->len = (size_t)(x->req->info.size - x->req->old->end);
    x->bytes = arena_alloc(x->req->arena, x->len + 1);
    source_fill(&x->fill, x->got.body, x->bytes, x->len, &x->n, op_call(op, extend_read));
    return STEP_WAIT;
}

/* ---- on the pool ---- */

/* The ETags that appending these members one by one makes, up to the one that the object has. */
static bool is_proven(const struct extend_op *x, const struct arc_index *fresh, bool was_spliced)
{
    const struct arc_index *old = x->req->old;
    struct etag etag = old->etag;
    uint64_t at = old->end, cut = old->size - old->end;
    static const char trailer[ARC_TAR_TRAILER];

    for (uint32_t i = 0; i < fresh->count; i++) {
        struct arc_member m;
        struct hash h;
        struct digest md5;
        struct etag next;
        arc_index_member(fresh, i, &m);
        if (old->end + m.head != at)
            return false;
        hash_init(&h, HASH_MD5);
        hash_update(&h, x->bytes + m.head, (size_t)(m.next - m.head));
        hash_update(&h, trailer, sizeof(trailer));
        hash_final(&h, &md5);
        etag_splice(&next, &etag, was_spliced || i, at, cut, md5.b);
        etag = next;
        at = old->end + m.next;
        cut = ARC_TAR_TRAILER;
    }
    return at + ARC_TAR_TRAILER == x->req->info.size && str_eq(etag_str(&etag), etag_str(&x->req->info.etag));
}

static enum err join(struct extend_op *x, const struct arc_index *fresh)
{
    struct arc_index *old = x->req->old;
    struct arc_building *b = arc_building_new(ARC_TAR);
    enum err e = ERR_OK;

    for (uint32_t i = 0; i < old->count + fresh->count && e == ERR_OK; i++) {
        struct arc_member m;
        if (i < old->count) {
            arc_index_member(old, i, &m);
        } else {
            arc_index_member(fresh, i - old->count, &m);
            m.head += old->end;
            m.offset += old->end;
            m.next += old->end;
        }
        e = arc_building_add(b, &m);
    }
    for (uint32_t i = 0; i < old->left_out && e == ERR_OK; i++)
        arc_building_left_out(b);
    if (e != ERR_OK) {
        arc_building_free(b);
        return e;
    }
    x->res->index = arc_building_seal(b, old->end + fresh->end);
    x->res->appended = fresh->count;
    arc_index_set_object(x->res->index, &x->req->info);
    return ERR_OK;
}

static enum err join_task(struct offload_task *t)
{
    struct extend_op *x = CONTAINER(t, struct extend_op, task);
    struct arc_scan *scan = arc_scan_new(ARC_TAR);
    struct arc_index *fresh = NULL;
    enum err e = ERR_NOT_FOUND;

    if (arc_scan_feed(scan, x->bytes, x->n) == ERR_OK && arc_scan_end(scan, &fresh) == ERR_OK && fresh->count &&
        fresh->left_out == 0 && (is_proven(x, fresh, true) || is_proven(x, fresh, false)))
        e = join(x, fresh);
    arc_index_unref(fresh);
    arc_scan_free(scan);
    return e;
}

static enum step_next extend_read(struct op *op)
{
    struct extend_op *x = OP(op, struct extend_op);

    if (x->n != x->len)
        return op_fail(op, ERR_PRECONDITION);
    offload_run(x->req->cpu, &x->task, join_task, op_call(op, extend_done));
    return STEP_WAIT;
}

static enum step_next extend_done(struct op *op)
{
    return op_go(op, extend_end);
}

static enum step_next extend_end(struct op *op)
{
    struct extend_op *x = OP(op, struct extend_op);

    source_close(x->got.body);
    if (op->err != ERR_OK) {
        arc_index_unref(x->res->index);
        x->res->index = NULL;
    }
    call_finish(x->whole, op->err);
    return STEP_DONE;
}

static void extend_cancel(void *arg)
{
    op_cancel(&((struct extend_op *)arg)->op, ERR_CANCELLED);
}

void arc_extend(const struct arc_extend_req *req, struct arc_extend_res *res, struct call *call)
{
    struct extend_op *x = ARENA_NEW(req->arena, struct extend_op);

    *x = (struct extend_op){.req = req, .res = res, .whole = call};
    *res = (struct arc_extend_res){0};
    op_start(&x->op, call->loop, "extend_index", extend_get, extend_end);
    call_on_cancel(call, extend_cancel, x);
}
