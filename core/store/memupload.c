#include <stdlib.h>

#include "base/clock.h"
#include "base/op.h"
#include "store/digests.h"
#include "store/memdata.h"
#include "store/multipart.h"

/* ---- create, abort ---- */

/* Time before chance, so that ids sort by creation. */
static struct str make_id(struct arena *arena, int64_t now_ns)
{
    uint8_t raw[UPLOAD_ID_LEN / 2];
    char *hex = arena_alloc(arena, UPLOAD_ID_LEN);

    for (int i = 0; i < 8; i++)
        raw[i] = (uint8_t)((uint64_t)now_ns >> (56 - 8 * i));
    random_bytes(raw + 8, sizeof(raw) - 8);
    hex_encode(raw, sizeof(raw), hex);
    return str_n(hex, UPLOAD_ID_LEN);
}

void memstore_upload_create(struct store *s, const struct upload_create_req *req, struct upload_create_res *res,
                            struct call *c)
{
    struct membucket *b = memstore_bucket(MEMSTORE(s), req->bucket.uid);

    if (b->sealed) {
        call_finish(c, ERR_NO_SUCH_BUCKET);
        return;
    }
    struct memupload *u = NEW(struct memupload);
    u->created_ns = clock_wall_ns();
    u->key = arena_str(&u->arena, req->key);
    u->id = make_id(&u->arena, u->created_ns);
    u->initiator = arena_str(&u->arena, req->initiator);
    object_info_copy(&u->arena, &u->info, &req->info);
    u->alg = req->checksum;
    u->type = req->type;
    if (!upload_checksum(&u->alg, &u->type)) {
        arena_release(&u->arena);
        free(u);
        call_finish(c, ERR_INVALID_REQUEST);
        return;
    }
    membucket_add_upload(b, u);
    res->upload_id = arena_str(req->arena, u->id);
    call_finish(c, ERR_OK);
}

void memstore_upload_abort(struct store *s, const struct upload_abort_req *req, struct upload_abort_res *res,
                           struct call *c)
{
    struct membucket *b = memstore_bucket(MEMSTORE(s), req->bucket.uid);
    struct memupload *u = membucket_find_upload(b, req->key, req->upload_id);

    (void)res;
    if (u)
        membucket_remove_upload(b, u);
    call_finish(c, u ? ERR_OK : ERR_NO_SUCH_UPLOAD);
}

/* ---- a part ---- */

struct part_op {
    struct op op;
    struct memstore *m;
    const struct upload_part_req *req;
    struct upload_part_res *res;
    struct call *whole;
    struct membody body;
};

static step_fn part_read, part_commit, part_end;

static enum err find_upload(struct memstore *m, struct bucket_id bucket, struct str key, struct str id,
                            struct membucket **b, struct memupload **u)
{
    *b = memstore_bucket(m, bucket.uid);
    *u = membucket_find_upload(*b, key, id);
    if ((*b)->sealed)
        return ERR_NO_SUCH_BUCKET;
    return *u ? ERR_OK : ERR_NO_SUCH_UPLOAD;
}

static enum step_next part_read(struct op *op)
{
    struct part_op *p = OP(op, struct part_op);

    membody_read(&p->body, op_call(op, part_commit));
    return STEP_WAIT;
}

/* The upload may have gone while the body came in. */
static enum step_next part_commit(struct op *op)
{
    struct part_op *p = OP(op, struct part_op);
    const struct digests *d = p->body.digests;
    struct membucket *b;
    struct memupload *u;
    enum err e = find_upload(p->m, p->req->bucket, p->req->key, p->req->upload_id, &b, &u);

    if (e != ERR_OK)
        return op_fail(op, e);
    struct part_info info = {.number = p->req->number,
                             .size = p->body.blob->n,
                             .mtime_ns = clock_wall_ns(),
                             .checksum = {.digest = d->of[d->checksum], .type = CHECKSUM_FULL_OBJECT}};
    etag_from_md5(&info.etag, d->of[HASH_MD5].b);
    memupload_put(u, &info, p->body.blob);
    p->body.blob = NULL;
    p->res->part = info;
    return op_go(op, part_end);
}

static enum step_next part_end(struct op *op)
{
    struct part_op *p = OP(op, struct part_op);

    membody_release(&p->body);
    call_finish(p->whole, op->err);
    free(p);
    return STEP_DONE;
}

static void part_cancel(void *arg)
{
    op_cancel(&((struct part_op *)arg)->op, ERR_CANCELLED);
}

void memstore_upload_part(struct store *s, const struct upload_part_req *req, struct upload_part_res *res,
                          struct call *c)
{
    struct membucket *b;
    struct memupload *u;
    enum err e = find_upload(MEMSTORE(s), req->bucket, req->key, req->upload_id, &b, &u);

    if (e == ERR_OK && !upload_takes_checksum(u->alg, req->check->checksum))
        e = ERR_CHECKSUM_TYPE;
    if (e != ERR_OK) {
        call_finish(c, e);
        return;
    }
    struct part_op *p = NEW(struct part_op);
    *p = (struct part_op){.m = MEMSTORE(s), .req = req, .res = res, .whole = c};
    p->body.source = req->body;
    p->body.check = req->check;
    p->body.checksum = u->alg;
    p->body.size_max = req->size_max;
    op_start(&p->op, c->loop, "part", part_read, part_end);
    call_on_cancel(c, part_cancel, p); /* the first step always waits, so the op is still there */
}

/* ---- complete ---- */

enum { COMPLETE_TRIES = 8 };

static const struct mempart *find_part(const struct memupload *u, uint32_t number)
{
    uint32_t at = memupload_seek(u, number);

    return at < u->part_count && u->parts[at].info.number == number ? &u->parts[at] : NULL;
}

/* Checks the request's parts against the upload's and computes what the object will say about itself. */
static enum err plan(const struct upload_complete_req *req, const struct memupload *u, struct object_info *info,
                     struct part_info *bad)
{
    struct multipart mp;
    enum err e = ERR_OK;

    multipart_init(&mp, u->alg, u->type);
    for (uint32_t i = 0; i < req->part_count && e == ERR_OK; i++) {
        const struct mempart *part = find_part(u, req->parts[i].number);
        e = multipart_add(&mp, &req->parts[i], part ? &part->info : NULL, req->any_size || i + 1 == req->part_count,
                          bad);
    }
    if (e == ERR_OK)
        e = multipart_finish(&mp, req, info);
    multipart_drop(&mp);
    return e;
}

static struct memobject *assemble(const struct upload_complete_req *req, const struct memupload *u,
                                  const struct object_info *info)
{
    struct memobject *o = memobject_new(u->key, info, req->part_count);

    for (uint32_t i = 0; i < req->part_count; i++) {
        o->parts[i] = *find_part(u, req->parts[i].number);
        o->parts[i].blob->refs++;
    }
    return o;
}

struct complete_op {
    struct op op;
    struct memstore *m;
    const struct upload_complete_req *req;
    struct upload_complete_res *res;
    struct call *whole;
    struct memobject *object;
    struct memgate gate;
    unsigned tries;
};

static step_fn complete_plan, complete_gated, complete_end; /* in order */

static enum err make(struct complete_op *c, struct memupload *u)
{
    struct object_info info = u->info;
    enum err e;

    info.upload_id = u->id;
    info.mtime_ns = clock_wall_ns();
    if ((e = plan(c->req, u, &info, &c->res->bad)) == ERR_OK)
        c->object = assemble(c->req, u, &info);
    return e;
}

static enum err commit(struct complete_op *c, struct membucket *b, struct memupload *u)
{
    struct memobject *current = membucket_find(b, c->req->key);
    enum err e = cond_check_write(&c->req->cond, current ? &current->info : NULL);

    if (e != ERR_OK)
        return e;
    if (!c->req->gate)
        memobject_follow(c->object, current);
    object_info_copy(c->req->arena, &c->res->info, &c->object->info);
    membucket_put(b, c->object);
    c->object = NULL;
    membucket_remove_upload(b, u);
    return ERR_OK;
}

/* The upload is gone: maybe because it was completed and the answer got lost. */
static enum err find_made(struct complete_op *c, struct membucket *b)
{
    const struct memobject *o = membucket_find(b, c->req->key);

    if (!o || !str_eq(o->info.upload_id, c->req->upload_id))
        return ERR_NO_SUCH_UPLOAD;
    object_info_copy(c->req->arena, &c->res->info, &o->info);
    return ERR_OK;
}

static enum step_next complete_plan(struct op *op)
{
    struct complete_op *c = OP(op, struct complete_op);
    struct membucket *b;
    struct memupload *u;
    enum err e = find_upload(c->m, c->req->bucket, c->req->key, c->req->upload_id, &b, &u);

    if (e == ERR_NO_SUCH_UPLOAD && (e = find_made(c, b)) == ERR_OK)
        return op_go(op, complete_end);
    if (e == ERR_OK)
        e = make(c, u);
    if (e == ERR_OK && c->req->gate) {
        c->gate = (struct memgate){.store = c->m, .req = c->req, .changes = u->changes};
        memgate_enter(&c->gate, c->req->gate, c->req->arena, c->object, op_try(op, complete_gated));
        return STEP_WAIT;
    }
    if (e == ERR_OK)
        e = commit(c, b, u);
    return e == ERR_OK ? op_go(op, complete_end) : op_fail(op, e);
}

/* Parts may have come or gone meanwhile, and a twin may have been faster. */
static enum step_next complete_gated(struct op *op)
{
    struct complete_op *c = OP(op, struct complete_op);
    struct membucket *b;
    struct memupload *u;
    enum err e = op->call.err;

    if (e == ERR_OK)
        c->object = memgate_take(&c->gate);
    if (e == ERR_OK && memgate_is_stale(&c->gate))
        e = ERR_AGAIN;
    if (e == ERR_OK && (e = find_upload(c->m, c->req->bucket, c->req->key, c->req->upload_id, &b, &u)) == ERR_OK)
        e = commit(c, b, u);
    if (e == ERR_AGAIN && ++c->tries < COMPLETE_TRIES) {
        memobject_unref(c->object);
        c->object = NULL;
        return op_go(op, complete_plan);
    }
    return e == ERR_OK ? op_go(op, complete_end) : op_fail(op, e == ERR_AGAIN ? ERR_CONFLICT : e);
}

static enum step_next complete_end(struct op *op)
{
    struct complete_op *c = OP(op, struct complete_op);

    if (c->object)
        memobject_unref(c->object);
    call_finish(c->whole, op->err);
    return STEP_DONE;
}

static void complete_cancel(void *arg)
{
    op_cancel(&((struct complete_op *)arg)->op, ERR_CANCELLED);
}

void memstore_upload_complete(struct store *s, const struct upload_complete_req *req, struct upload_complete_res *res,
                              struct call *c)
{
    struct complete_op *m = ARENA_NEW(req->arena, struct complete_op);

    *m = (struct complete_op){.m = MEMSTORE(s), .req = req, .res = res, .whole = c};
    op_start(&m->op, c->loop, "complete", complete_plan, complete_end);
    call_on_cancel(c, complete_cancel, m);
}
