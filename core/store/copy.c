#include <stdlib.h>

#include "base/op.h"
#include "store/store.h"

/* Reads the source and writes it as a new object. The source's checksum guards the way: damage that nobody saw must not
 * become an object with a good checksum of its own. */
struct copy_op {
    struct op op;
    struct store *store;
    const struct obj_copy_req *req;
    struct obj_copy_res *res;
    struct call *whole;
    struct obj_get_req get;
    struct obj_get_res got;
    struct obj_put_req put;
    struct obj_put_res written;
    struct body_check check;
    bool put_begun;
};

static step_fn copy_read, copy_write, copy_end;

static enum step_next copy_read(struct op *op)
{
    struct copy_op *c = OP(op, struct copy_op);

    c->get.head = (struct obj_head_req){
        .arena = c->req->arena, .bucket = c->req->src_bucket, .key = c->req->src_key, .cond = c->req->src_cond};
    store_obj_get(c->store, &c->get, &c->got, op_try(op, copy_write));
    return STEP_WAIT;
}

/* What must come out when nothing was damaged on the way. */
static void copy_expect(struct copy_op *c, const struct object_info *from)
{
    struct body_check *k = &c->check;

    if (from->checksum.type == CHECKSUM_FULL_OBJECT) {
        k->want[k->want_count].digest = from->checksum.digest;
        k->want[k->want_count++].err = ERR_CORRUPT;
    }
    struct digest md5 = {.alg = HASH_MD5, .n = 16};
    if (etag_to_md5(&from->etag, md5.b)) {
        k->want[k->want_count].digest = md5;
        k->want[k->want_count++].err = ERR_CORRUPT;
    }
}

static enum step_next copy_write(struct op *op)
{
    struct copy_op *c = OP(op, struct copy_op);
    const struct obj_copy_req *req = c->req;
    const struct object_info *from = &c->got.head.info;
    enum err e = op->call.err;

    if (e != ERR_OK)
        return op_fail(op, e == ERR_NOT_MODIFIED ? ERR_PRECONDITION : e);
    if (from->size > req->size_max)
        return op_fail(op, ERR_INVALID_REQUEST);
    if (from->layout.n) /* nobody here has its content */
        return op_fail(op, ERR_NOT_IMPLEMENTED);
    c->check.checksum = req->checksum != HASH_NONE ? req->checksum : from->checksum.digest.alg;
    copy_expect(c, from);
    c->put = (struct obj_put_req){.arena = req->arena,
                                  .bucket = req->bucket,
                                  .key = req->key,
                                  .cond = req->cond,
                                  .body = c->got.body,
                                  .check = &c->check,
                                  .size_max = req->size_max,
                                  .gate = req->gate};
    const struct object_info *attrs = req->replace_attrs ? &req->info : from;
    c->put.info.attrs = attrs->attrs;
    c->put.info.attr_count = attrs->attr_count;
    if (req->change_attrs)
        object_change_attrs(req->arena, from, &req->info, &c->put.info);
    c->put.info.tags = req->replace_tags ? req->info.tags : from->tags;
    c->put_begun = true;
    store_obj_put(c->store, &c->put, &c->written, op_call(op, copy_end));
    return STEP_WAIT;
}

/* Cancelled when the put had just succeeded, it has succeeded. */
static enum step_next copy_end(struct op *op)
{
    struct copy_op *c = OP(op, struct copy_op);
    bool done = c->put_begun && op->call.err == ERR_OK;

    if (done)
        c->res->info = c->written.info;
    source_close(c->got.body);
    call_finish(c->whole, done ? ERR_OK : op->err);
    free(c);
    return STEP_DONE;
}

static void copy_cancel(void *arg)
{
    op_cancel(&((struct copy_op *)arg)->op, ERR_CANCELLED);
}

void store_copy_by_stream(struct store *s, const struct obj_copy_req *req, struct obj_copy_res *res, struct call *whole)
{
    struct copy_op *c = NEW(struct copy_op);

    c->store = s;
    c->req = req;
    c->res = res;
    c->whole = whole;
    op_start(&c->op, whole->loop, "copy", copy_read, copy_end);
    call_on_cancel(whole, copy_cancel, c); /* the first step always waits, so the op is still there */
}
