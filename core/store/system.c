#include "system.h"

#include "base/op.h"

struct system_op {
    struct op op;
    struct call *whole;
    struct system_bucket_res *res;
    struct buckets *buckets;
    struct bucket_look_req look;
    struct bucket_look_res looked;
    struct bucket_create_req create;
    struct bucket_create_res created;
};

static step_fn system_look, system_looked, system_created, system_end;

static enum step_next system_look(struct op *op)
{
    struct system_op *s = OP(op, struct system_op);

    buckets_look(s->buckets, &s->look, &s->looked, op_try(op, system_looked));
    return STEP_WAIT;
}

static enum step_next system_looked(struct op *op)
{
    struct system_op *s = OP(op, struct system_op);

    if (op->call.err == ERR_OK) {
        s->res->bucket = s->looked.bucket;
        return op_go(op, system_end);
    }
    if (op->call.err != ERR_NO_SUCH_BUCKET)
        return op_fail(op, op->call.err);
    buckets_create(s->buckets, &s->create, &s->created, op_try(op, system_created));
    return STEP_WAIT;
}

/* Somebody else may have been faster. */
static enum step_next system_created(struct op *op)
{
    struct system_op *s = OP(op, struct system_op);

    if (op->call.err != ERR_OK && op->call.err != ERR_BUCKET_OWNED)
        return op_fail(op, op->call.err);
    s->res->bucket = s->created.bucket;
    return op_go(op, system_end);
}

static enum step_next system_end(struct op *op)
{
    struct system_op *s = OP(op, struct system_op);

    call_finish(s->whole, op->err);
    free(s);
    return STEP_DONE;
}

void system_bucket(struct buckets *b, struct arena *arena, struct system_bucket_res *res, struct call *call)
{
    struct system_op *s;

    if (buckets_find(b, arena, SYSTEM_BUCKET, &res->bucket) == ERR_OK) {
        call_finish(call, ERR_OK);
        return;
    }
    s = NEW(struct system_op);
    *s = (struct system_op){.whole = call,
                            .res = res,
                            .buckets = b,
                            .look = {arena, SYSTEM_BUCKET},
                            .create = {.arena = arena, .name = SYSTEM_BUCKET, .owner = STR("sluice")}};
    op_start(&s->op, call->loop, "system_bucket", system_look, system_end);
}

bool system_bucket_find(struct buckets *b, struct arena *arena, struct bucket_id *out)
{
    struct bucket bucket;

    if (buckets_find(b, arena, SYSTEM_BUCKET, &bucket) != ERR_OK)
        return false;
    *out = bucket.id;
    return true;
}
