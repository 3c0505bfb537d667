#include <stdlib.h>

#include "store/digests.h"
#include "store/import.h"
#include "store/memdata.h"

/* An object as another node has it: piece by piece, so that its parts are what they were. */
struct import_op {
    struct op op;
    struct memstore *m;
    const struct obj_import_req *req;
    struct obj_import_res *res;
    struct call *whole;
    struct source *empty;
    struct memobject *object;
    uint32_t at; /* the piece that is read */
    struct body_check check;
    struct membody body;
    struct import_window window;
    char past;
    size_t got;
};

static step_fn import_start, import_read, import_took, import_ended, import_commit, import_end; /* in order */

static const struct memobject *here(const struct import_op *i)
{
    return membucket_find(memstore_bucket(i->m, i->req->bucket.uid), i->req->key);
}

static struct part_info part_of(const struct obj_import_req *req, uint32_t n)
{
    const struct object_info *o = &req->info;

    if (o->parts)
        return req->parts[n];
    return (struct part_info){
        .number = 1, .size = o->size, .mtime_ns = o->mtime_ns, .etag = o->etag, .checksum = o->checksum};
}

static enum step_next import_start(struct op *op)
{
    struct import_op *i = OP(op, struct import_op);
    const struct memobject *o = here(i);
    enum err e = import_check(i->req);

    if (e != ERR_OK)
        return op_fail(op, e);
    if (import_keeps(o ? &o->info : NULL, i->req)) {
        i->res->kept = true;
        return op_go(op, import_end);
    }
    i->object = memobject_new(i->req->key, &i->req->info, import_pieces(i->req));
    if (i->req->info.layout.n) {
        for (uint32_t n = 0; n < i->object->part_count; n++)
            i->object->parts[n].info = part_of(i->req, n);
        return op_go(op, import_commit);
    }
    if (!i->req->body)
        i->empty = source_memory(STR(""), NULL, NULL);
    return op_go(op, import_read);
}

static enum step_next import_read(struct op *op)
{
    struct import_op *i = OP(op, struct import_op);
    struct source *body = i->empty ? i->empty : i->req->body;
    struct import_piece piece = import_piece(i->req, i->at);

    i->body = (struct membody){.source = body, .check = i->req->check, .size_max = piece.size};
    i->body.checksum = piece.checksum.alg;
    i->req->check->also |= 1u << i->req->check->checksum; /* what the sender announced stays computed */
    if (i->req->info.parts) {
        i->body.source = import_window(&i->window, body, piece.size);
        i->body.check = &i->check;
    }
    membody_read(&i->body, op_call(op, import_took));
    return STEP_WAIT;
}

static enum step_next import_took(struct op *op)
{
    struct import_op *i = OP(op, struct import_op);
    struct import_piece piece = import_piece(i->req, i->at);
    const struct digests *d = i->body.digests;
    struct mempart *part = &i->object->parts[i->at];
    enum err e = import_compare(&piece, i->body.blob->n, &d->of[HASH_MD5], &d->of[d->checksum]);

    if (e != ERR_OK)
        return op_fail(op, e);
    part->info = part_of(i->req, i->at);
    part->blob = i->body.blob;
    i->body.blob = NULL;
    membody_release(&i->body);
    i->body = (struct membody){0};
    if (++i->at < import_pieces(i->req))
        return op_go(op, import_read);
    if (i->req->info.parts == 0)
        return op_go(op, import_commit);
    source_read(i->empty ? i->empty : i->req->body, &i->past, 1, &i->got, op_call(op, import_ended));
    return STEP_WAIT;
}

/* The parts' bytes were there: the body must end cleanly as well. */
static enum step_next import_ended(struct op *op)
{
    struct import_op *i = OP(op, struct import_op);

    return i->got ? op_fail(op, ERR_BAD_DIGEST) : op_go(op, import_commit);
}

static enum step_next import_commit(struct op *op)
{
    struct import_op *i = OP(op, struct import_op);
    struct membucket *b = memstore_bucket(i->m, i->req->bucket.uid);
    const struct memobject *o = here(i);

    if (b->sealed)
        return op_fail(op, ERR_NO_SUCH_BUCKET);
    i->res->kept = import_keeps(o ? &o->info : NULL, i->req);
    if (!i->res->kept) {
        membucket_put(b, i->object);
        i->object = NULL;
    }
    return op_go(op, import_end);
}

static enum step_next import_end(struct op *op)
{
    struct import_op *i = OP(op, struct import_op);

    membody_release(&i->body);
    source_close(i->empty);
    if (i->object)
        memobject_unref(i->object);
    call_finish(i->whole, op->err);
    return STEP_DONE;
}

static void import_cancel(void *arg)
{
    op_cancel(&((struct import_op *)arg)->op, ERR_CANCELLED);
}

void memstore_obj_import(struct store *s, const struct obj_import_req *req, struct obj_import_res *res, struct call *c)
{
    struct import_op *i = ARENA_NEW(req->arena, struct import_op);

    *i = (struct import_op){.m = MEMSTORE(s), .req = req, .res = res, .whole = c};
    op_start(&i->op, c->loop, "import", import_start, import_end);
    call_on_cancel(c, import_cancel, i);
}
