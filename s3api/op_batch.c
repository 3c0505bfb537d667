/* POST /BUCKET?batch: many objects and members as one archive. An extension: S3 has no such action; the document and the answer are those of
 * AIStore's get-batch (archive/arc_batch.h). */
#include "archive/arc_batch.h"
#include "base/json.h"
#include "s3api/may.h"
#include "etl/through.h"
#include "s3api/name.h"
#include "s3api/objreq.h"

enum { BATCH_BODY_MAX = 32 << 20, BATCH_NODES_MAX = 1 << 20, BATCH_BUCKETS_MAX = 1000 };

struct batch_bucket {
    struct str name;
    struct bucket_look_req req;
    struct bucket_look_res res;
};

struct batch_state {
    struct s3_read_req read;
    struct s3_read_res body;
    struct arc_batch batch;
    struct batch_bucket *buckets; /* other ones than the path's */
    size_t bucket_count, found;
    size_t *bucket_of; /* of each row; SIZE_MAX: the path's */
    struct arc_batch_req req;
    struct arc_batch_res res;
};

step_fn post_batch; /* routes.def */
static step_fn batch_parse, batch_find, batch_rows, batch_answer;

static void close_body(void *arg)
{
    source_close(((struct batch_state *)arg)->res.body);
}

enum step_next post_batch(struct op *op)
{
    struct s3_request *r = S3(op);
    struct batch_state *b = r->state = ARENA_NEW(r->arena, struct batch_state);

    if (!r->env->batches)
        return op_fail(op, ERR_NOT_IMPLEMENTED);
    arena_defer(r->arena, close_body, b);
    b->read = (struct s3_read_req){.request = r, .max = BATCH_BODY_MAX};
    s3_read_body(r, &b->read, &b->body, op_call(op, batch_parse));
    return STEP_WAIT;
}

static enum err bucket_of_row(struct s3_request *r, struct batch_state *b, size_t i)
{
    struct str name = b->batch.rows[i].bucket;

    if (b->batch.rows[i].uname.n || (b->batch.rows[i].provider.n && !str_eq(b->batch.rows[i].provider, STR("ais"))))
        return reply_error(r, ERR_INVALID_ARGUMENT, "an entry names its bucket by \"bucket\" alone");
    b->bucket_of[i] = SIZE_MAX;
    if (name.n == 0 || str_eq(name, r->bucket_name))
        return ERR_OK;
    if (!name_is_bucket(name))
        return ERR_INVALID_BUCKET_NAME;
    for (size_t k = b->bucket_count; k-- > 0;)
        if (str_eq(b->buckets[k].name, name)) {
            b->bucket_of[i] = k;
            return ERR_OK;
        }
    if (b->bucket_count == BATCH_BUCKETS_MAX)
        return reply_error(r, ERR_INVALID_ARGUMENT, "a batch can be of %d buckets at most", BATCH_BUCKETS_MAX);
    b->bucket_of[i] = b->bucket_count;
    b->buckets[b->bucket_count++].name = name;
    return ERR_OK;
}

static enum step_next batch_parse(struct op *op)
{
    struct s3_request *r = S3(op);
    struct batch_state *b = r->state;
    const struct js_bounds bounds = {BATCH_BODY_MAX, BATCH_NODES_MAX};
    char why[DOC_WHY_MAX] = "", wrong[ARC_WHY_MAX] = "";
    struct doc *d;
    enum err e;

    if (js_read_within(r->arena, b->body.body, &bounds, &d, why) != ERR_OK)
        return op_fail(op, reply_error(r, ERR_INVALID_REQUEST, "The body is no JSON: %s", why));
    if ((e = arc_batch_parse(r->arena, d, &b->batch, wrong)) != ERR_OK)
        return op_fail(op, reply_error(r, e, "%s", wrong));
    b->buckets = arena_new(r->arena, BATCH_BUCKETS_MAX * sizeof(*b->buckets));
    b->bucket_of = arena_alloc(r->arena, b->batch.count * sizeof(*b->bucket_of));
    for (size_t i = 0; i < b->batch.count; i++)
        if ((e = bucket_of_row(r, b, i)) != ERR_OK)
            return op_fail(op, e);
    return op_go(op, batch_find);
}

static enum step_next batch_find(struct op *op)
{
    struct s3_request *r = S3(op);
    struct batch_state *b = r->state;

    if (b->found == b->bucket_count)
        return op_go(op, batch_rows);
    struct batch_bucket *bucket = &b->buckets[b->found++];
    bucket->req = (struct bucket_look_req){r->arena, bucket->name};
    buckets_look(r->env->buckets, &bucket->req, &bucket->res, op_call(op, batch_find));
    return STEP_WAIT;
}

static enum step_next batch_rows(struct op *op)
{
    struct s3_request *r = S3(op);
    struct batch_state *b = r->state;

    for (size_t i = 0; i < b->batch.count; i++) {
        struct arc_batch_row *row = &b->batch.rows[i];
        const struct bucket *bucket =
            b->bucket_of[i] == SIZE_MAX ? &r->bucket : &b->buckets[b->bucket_of[i]].res.bucket;
        row->id = bucket->id;
        row->shown_bucket = bucket->id.name;
        row->shown_provider = STR("ais");
        row->err = name_check_key(row->objname);
        if (row->err == ERR_OK)
            row->err = s3_may(r, STR("s3:GetObject"), bucket, row->objname);
    }
    b->req = (struct arc_batch_req){.arena = r->arena,
                                    .loop = op->loop,
                                    .store = r->env->store,
                                    .arcs = r->env->arcs,
                                    .cpu = r->env->cpu,
                                    .batches = r->env->batches,
                                    .batch = &b->batch,
                                    .through = etl_through,
                                    .through_arg = r->env->door,
                                    .bucket = r->bucket_name};
    if (b->batch.transforms)
        http_end_is_leaving(r->http);
    arc_batch_open(&b->req, &b->res, op_try(op, batch_answer));
    return STEP_WAIT;
}

static enum step_next batch_answer(struct op *op)
{
    struct s3_request *r = S3(op);
    struct batch_state *b = r->state;

    if (op->call.err == ERR_BUSY) { /* 503 SlowDown is what S3's clients repeat by themselves */
        reply_header_f(r, STR("Retry-After"), "%d", BATCH_RETRY_AFTER_S);
        reply_keep_headers(r);
    }
    if (op->call.err != ERR_OK && b->res.bad != SIZE_MAX)
        return op_fail(op, objreq_fail(r, op->call.err, b->batch.rows[b->res.bad].objname, NULL));
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    reply_header(r, STR("Content-Type"), b->res.type);
    reply_body(r, b->res.body);
    b->res.body = NULL;
    return op_go(op, reply_send);
}
