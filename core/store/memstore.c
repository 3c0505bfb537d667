#include "memstore.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/op.h"
#include "store/digests.h"
#include "store/memdata.h"

/* ---- head and get ---- */

static int64_t now_s(void)
{
    return clock_wall_ns() / NS_PER_S;
}

static enum err locate_part(const struct memobject *o, uint32_t number, struct obj_head_res *res)
{
    uint64_t offset = 0;

    for (uint32_t i = 0; i < o->part_count; offset += o->parts[i++].info.size) {
        const struct part_info *part = &o->parts[i].info;
        if (part->number != number)
            continue;
        if (o->info.parts)
            res->part = *part;
        res->offset = offset;
        res->len = part->size;
        return ERR_OK;
    }
    return ERR_INVALID_PART_NUMBER;
}

static void list_parts(const struct memobject *o, struct arena *arena, struct obj_head_res *res)
{
    struct part_info *parts = arena_alloc(arena, o->info.parts * sizeof(*parts));

    for (uint32_t i = 0; i < o->info.parts; i++)
        parts[i] = o->parts[i].info;
    res->parts = parts;
    res->part_count = o->info.parts;
}

static enum err head(struct memstore *m, const struct obj_head_req *req, struct obj_head_res *res,
                     struct memobject **out)
{
    struct memobject *o = membucket_find(memstore_bucket(m, req->bucket.uid), req->key);
    enum err e;

    if (!o)
        return ERR_NO_SUCH_KEY;
    object_info_copy(req->arena, &res->info, &o->info);
    if ((e = cond_check_read(&req->cond, &o->info, now_s())) != ERR_OK)
        return e;
    if (req->part_number)
        e = locate_part(o, req->part_number, res);
    else
        e = range_resolve(&req->range, o->info.size, &res->offset, &res->len);
    if (e == ERR_OK && req->parts)
        list_parts(o, req->arena, res);
    *out = o;
    return e;
}

static void obj_head(struct store *s, const struct obj_head_req *req, struct obj_head_res *res, struct call *c)
{
    struct memobject *o;

    *res = (struct obj_head_res){0};
    call_finish(c, head(MEMSTORE(s), req, res, &o));
}

static void obj_get(struct store *s, const struct obj_get_req *req, struct obj_get_res *res, struct call *c)
{
    struct obj_head_req head_req = req->head;
    struct memobject *o;

    *res = (struct obj_get_res){0};
    head_req.parts = false;
    enum err e = head(MEMSTORE(s), &head_req, &res->head, &o);
    if (e == ERR_OK)
        res->body = memobject_source(o, res->head.offset, res->head.len);
    call_finish(c, e);
}

/* ---- put ---- */

struct put_op {
    struct op op;
    struct memstore *m;
    const struct obj_put_req *req;
    struct obj_put_res *res;
    struct call *whole;
    struct membody body;
    struct memobject *object;
    struct memgate gate;
};

static step_fn put_read, put_stored, put_gated, put_commit, put_end; /* in order */

static enum step_next put_read(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);

    p->body.source = p->req->body;
    p->body.check = p->req->check;
    p->body.size_max = p->req->size_max;
    membody_read(&p->body, op_call(op, put_stored));
    return STEP_WAIT;
}

static struct memobject *put_object(struct put_op *p)
{
    const struct digests *d = p->body.digests;
    struct object_info info = {.attrs = p->req->info.attrs,
                               .attr_count = p->req->info.attr_count,
                               .tags = p->req->info.tags,
                               .size = p->body.blob->n,
                               .mtime_ns = clock_wall_ns(),
                               .checksum = {.digest = d->of[d->checksum], .type = CHECKSUM_FULL_OBJECT}};

    etag_from_md5(&info.etag, d->of[HASH_MD5].b);
    struct memobject *o = memobject_new(p->req->key, &info, 1);
    o->parts[0] = (struct mempart){
        {.number = 1, .size = info.size, .mtime_ns = info.mtime_ns, .etag = info.etag, .checksum = info.checksum},
        p->body.blob};
    p->body.blob = NULL;
    return o;
}

static enum step_next put_stored(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);

    p->object = put_object(p);
    if (!p->req->gate)
        return op_go(op, put_commit);
    memgate_enter(&p->gate, p->req->gate, p->req->arena, p->object, op_call(op, put_gated));
    return STEP_WAIT;
}

static enum step_next put_gated(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);

    p->object = memgate_take(&p->gate);
    return op_go(op, put_commit);
}

static enum step_next put_commit(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);
    struct membucket *b = memstore_bucket(p->m, p->req->bucket.uid);
    struct memobject *current = membucket_find(b, p->req->key);
    enum err e;

    if (b->sealed)
        return op_fail(op, ERR_NO_SUCH_BUCKET);
    if ((e = cond_check_write(&p->req->cond, current ? &current->info : NULL)) != ERR_OK)
        return op_fail(op, e);
    if (!p->req->gate)
        memobject_follow(p->object, current);
    object_info_copy(p->req->arena, &p->res->info, &p->object->info);
    membucket_put(b, p->object);
    p->object = NULL;
    return op_go(op, put_end);
}

static enum step_next put_end(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);

    membody_release(&p->body);
    if (p->object)
        memobject_unref(p->object);
    call_finish(p->whole, op->err);
    free(p);
    return STEP_DONE;
}

static void put_cancel(void *arg)
{
    op_cancel(&((struct put_op *)arg)->op, ERR_CANCELLED);
}

static void obj_put(struct store *s, const struct obj_put_req *req, struct obj_put_res *res, struct call *c)
{
    struct put_op *p = NEW(struct put_op);

    p->m = MEMSTORE(s);
    p->req = req;
    p->res = res;
    p->whole = c;
    op_start(&p->op, c->loop, "put", put_read, put_end);
    call_on_cancel(c, put_cancel, p); /* the first step always waits, so the op is still there */
}

/* ---- delete, purge ---- */

static void obj_delete(struct store *s, const struct obj_delete_req *req, struct obj_delete_res *res, struct call *c)
{
    struct membucket *b = memstore_bucket(MEMSTORE(s), req->bucket.uid);
    struct memobject *o = membucket_find(b, req->key);
    enum err e = b->sealed ? ERR_NO_SUCH_BUCKET : cond_check_delete(&req->cond, o ? &o->info : NULL);

    if (e == ERR_OK) {
        *res = (struct obj_delete_res){.existed = o != NULL};
        if (o)
            membucket_remove(b, membucket_seek(b, req->key));
    }
    call_finish(c, e);
}

static void bucket_empty(struct membucket *b)
{
    while (b->upload_count)
        membucket_remove_upload(b, b->uploads[b->upload_count - 1]);
    while (b->object_count)
        membucket_remove(b, b->object_count - 1);
}

static void bucket_purge(struct store *s, const struct bucket_purge_req *req, struct bucket_purge_res *res,
                         struct call *c)
{
    struct membucket *b = memstore_bucket(MEMSTORE(s), req->bucket.uid);

    if (req->unseal) {
        b->sealed = false;
        res->removed = 0;
        call_finish(c, ERR_OK);
        return;
    }
    if (b->object_count && !req->objects) {
        call_finish(c, ERR_BUCKET_NOT_EMPTY);
        return;
    }
    b->sealed = true;
    res->removed = req->seal ? 0 : b->object_count + b->upload_count;
    if (!req->seal)
        bucket_empty(b);
    call_finish(c, ERR_OK);
}

static void close_store(struct store *s)
{
    struct memstore *m = MEMSTORE(s);

    for (size_t i = 0; i < m->bucket_count; i++) {
        struct membucket *b = m->buckets[i];
        bucket_empty(b);
        free(b->objects);
        free(b->uploads);
        free(b);
    }
    free(m->buckets);
    free(m);
}

static const struct store_ops memstore_ops = {
    .name = "memory",
    .obj_head = obj_head,
    .obj_get = obj_get,
    .obj_put = obj_put,
    .obj_delete = obj_delete,
    .obj_copy = store_copy_by_stream,
    .obj_import = memstore_obj_import,
    .obj_splice = memstore_obj_splice,
    .obj_list = memstore_obj_list,
    .upload_create = memstore_upload_create,
    .upload_part = memstore_upload_part,
    .upload_complete = memstore_upload_complete,
    .upload_abort = memstore_upload_abort,
    .upload_list = memstore_upload_list,
    .part_list = memstore_part_list,
    .bucket_purge = bucket_purge,
    .close = close_store,
};

struct store *memstore_new(struct loop *loop)
{
    struct memstore *m = NEW(struct memstore);

    m->store.ops = &memstore_ops;
    m->store.loop = loop;
    return &m->store;
}
