#include <stdlib.h>

#include "base/clock.h"
#include "store/digests.h"
#include "store/memdata.h"

/* The reference: the body is read, then old and new bytes become a blob of their own. */
struct splice_op {
    struct op op;
    struct memstore *m;
    const struct obj_splice_req *req;
    struct obj_splice_res *res;
    struct call *whole;
    struct source *empty;
    struct memobject *from; /* what is spliced */
    struct membody body;
    struct memobject *object;
    struct memgate gate;
};

static step_fn splice_start, splice_read, splice_gated, splice_commit, splice_end; /* in order */

static struct memobject *here(const struct splice_op *p)
{
    return membucket_find(memstore_bucket(p->m, p->req->bucket.uid), p->req->key);
}

static enum step_next splice_start(struct op *op)
{
    struct splice_op *p = OP(op, struct splice_op);
    const struct obj_splice_req *req = p->req;
    struct memobject *o = here(p);
    enum err e = cond_check_write(&req->cond, o ? &o->info : NULL);

    if (e == ERR_OK && !o)
        e = ERR_NO_SUCH_KEY;
    if (e == ERR_OK && o->info.layout.n)
        e = ERR_NOT_IMPLEMENTED;
    if (e == ERR_OK && (req->offset > o->info.size || req->cut > o->info.size - req->offset))
        e = ERR_INVALID_RANGE;
    if (e == ERR_OK && o->info.size - req->cut > req->size_max)
        e = ERR_ENTITY_TOO_LARGE;
    if (e != ERR_OK)
        return op_fail(op, e);
    o->refs++;
    p->from = o;
    if (!req->body)
        p->empty = source_memory(STR(""), NULL, NULL);
    p->body.source = p->empty ? p->empty : req->body;
    p->body.check = req->check;
    p->body.size_max = req->size_max - (o->info.size - req->cut);
    membody_read(&p->body, op_call(op, splice_read));
    return STEP_WAIT;
}

/* Appends bytes [offset, offset + len) of `o`. */
static void add_range(struct memblob *to, const struct memobject *o, uint64_t offset, uint64_t len)
{
    for (uint32_t i = 0; i < o->part_count && len; i++) {
        const struct memblob *b = o->parts[i].blob;
        uint64_t size = o->parts[i].info.size, n;
        if (offset >= size) {
            offset -= size;
            continue;
        }
        n = size - offset < len ? size - offset : len;
        memcpy(memblob_reserve(to, (size_t)n), b->p + offset, (size_t)n);
        to->n += (size_t)n;
        len -= n;
        offset = 0;
    }
}

static struct memobject *splice_object(struct splice_op *p)
{
    const struct obj_splice_req *req = p->req;
    const struct object_info *old = &p->from->info;
    const struct memblob *body = p->body.blob;
    struct memblob *all = memblob_new();
    struct object_info info = *old;

    add_range(all, p->from, 0, req->offset);
    memcpy(memblob_reserve(all, body->n + 1), body->p, body->n);
    all->n += body->n;
    add_range(all, p->from, req->offset + req->cut, old->size - req->offset - req->cut);
    info.size = all->n;
    info.mtime_ns = clock_wall_ns();
    info.checksum = (struct checksum){0};
    info.parts = 0;
    info.upload_id = STR_NONE;
    etag_splice(&info.etag, &old->etag, old->parts == 0, req->offset, req->cut, p->body.digests->of[HASH_MD5].b);
    struct memobject *o = memobject_new(req->key, &info, 1);
    o->parts[0] = (struct mempart){
        {.number = 1, .size = info.size, .mtime_ns = info.mtime_ns, .etag = info.etag, .checksum = info.checksum}, all};
    return o;
}

static enum step_next splice_read(struct op *op)
{
    struct splice_op *p = OP(op, struct splice_op);

    p->object = splice_object(p);
    if (!p->req->gate)
        return op_go(op, splice_commit);
    memgate_enter(&p->gate, p->req->gate, p->req->arena, p->object, op_call(op, splice_gated));
    return STEP_WAIT;
}

static enum step_next splice_gated(struct op *op)
{
    struct splice_op *p = OP(op, struct splice_op);

    p->object = memgate_take(&p->gate);
    return op_go(op, splice_commit);
}

static enum step_next splice_commit(struct op *op)
{
    struct splice_op *p = OP(op, struct splice_op);
    struct membucket *b = memstore_bucket(p->m, p->req->bucket.uid);
    struct memobject *current = here(p);
    enum err e;

    if (b->sealed)
        return op_fail(op, ERR_NO_SUCH_BUCKET);
    if ((e = cond_check_write(&p->req->cond, current ? &current->info : NULL)) != ERR_OK)
        return op_fail(op, e);
    if (current != p->from)
        return op_fail(op, current ? ERR_CONFLICT : ERR_NO_SUCH_KEY);
    if (!p->req->gate)
        memobject_follow(p->object, current);
    object_info_copy(p->req->arena, &p->res->info, &p->object->info);
    membucket_put(b, p->object);
    p->object = NULL;
    return op_go(op, splice_end);
}

static enum step_next splice_end(struct op *op)
{
    struct splice_op *p = OP(op, struct splice_op);

    membody_release(&p->body);
    source_close(p->empty);
    if (p->object)
        memobject_unref(p->object);
    if (p->from)
        memobject_unref(p->from);
    call_finish(p->whole, op->err == ERR_AGAIN ? ERR_CONFLICT : op->err);
    return STEP_DONE;
}

static void splice_cancel(void *arg)
{
    op_cancel(&((struct splice_op *)arg)->op, ERR_CANCELLED);
}

void memstore_obj_splice(struct store *s, const struct obj_splice_req *req, struct obj_splice_res *res, struct call *c)
{
    struct splice_op *p = ARENA_NEW(req->arena, struct splice_op);

    *p = (struct splice_op){.m = MEMSTORE(s), .req = req, .res = res, .whole = c};
    op_start(&p->op, c->loop, "splice", splice_start, splice_end);
    call_on_cancel(c, splice_cancel, p);
}
