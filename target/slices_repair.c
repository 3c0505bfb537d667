#include "target/slices_own.h"

static bool is_here(const struct slices_env *env, const struct place *p)
{
    return p->exists && str_eq(str_n(p->id, NODE_ID_LEN), env->self);
}

bool slice_is_named(const struct slices_env *env, struct bucket_id bucket, const struct object_info *record,
                    const struct slices_name *name, struct version *v)
{
    struct places places;

    if (record->layout.n == 0)
        return false;
    if (version_init(v, env, bucket, name->key, record->layout) != ERR_OK) {
        v->env = NULL;
        return true;
    }
    if (v->id != name->id || name->slice >= version_slices(v))
        return false;
    version_places(v, &places);
    return is_here(env, &places.now[name->slice]) || is_here(env, &places.before[name->slice]);
}

struct repairing {
    struct op op;
    const struct slices_env *env;
    const struct slices_repair_req *req;
    struct slices_repair_res *res;
    struct call *whole;
    struct slices_name name;
    struct version version;
    struct obj_head_req own_req, head_req;
    struct obj_head_res own, head;
    struct slice_rebuild rebuild;
    struct body_check check;
    struct obj_put_req put_req;
    struct obj_put_res put;
};

static step_fn repair_look, repair_ask, repair_asked, repair_rebuilt, repair_put, repair_end;

/* Its record says whose it is. */
static enum step_next repair_look(struct op *op)
{
    struct repairing *r = OP(op, struct repairing);

    r->own_req = (struct obj_head_req){
        .arena = r->req->arena, .bucket = slices_bucket(r->req->bucket), .key = r->req->slice_key, .cond = COND_INIT};
    store_obj_head(r->env->mine, &r->own_req, &r->own, op_call(op, repair_ask));
    return STEP_WAIT;
}

static enum step_next repair_ask(struct op *op)
{
    struct repairing *r = OP(op, struct repairing);
    enum err e = slices_parse(r->req->slice_key, &r->own.info, &r->name);

    if (e != ERR_OK)
        return op_fail(op, e);
    r->head_req =
        (struct obj_head_req){.arena = r->req->arena, .bucket = r->req->bucket, .key = r->name.key, .cond = COND_INIT};
    store_obj_head(r->req->all, &r->head_req, &r->head, op_try(op, repair_asked));
    return STEP_WAIT;
}

static enum step_next repair_asked(struct op *op)
{
    struct repairing *r = OP(op, struct repairing);

    if (op->call.err == ERR_NO_SUCH_KEY)
        return op_go(op, repair_end); /* litter */
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    if (!slice_is_named(r->env, r->req->bucket, &r->head.info, &r->name, &r->version))
        return op_go(op, repair_end);
    if (!r->version.env)
        return op_fail(op, ERR_NOT_IMPLEMENTED);
    r->version.shadow.encrypted = object_is_encrypted(&r->head.info);
    r->rebuild = (struct slice_rebuild){.version = &r->version,
                                        .arena = r->req->arena,
                                        .wanted = r->name.slice,
                                        .len = erasure_stored(&r->version.layout, r->name.slice)};
    slice_rebuild_run(&r->rebuild, op_call(op, repair_rebuilt));
    return STEP_WAIT;
}

static enum step_next repair_rebuilt(struct op *op)
{
    struct repairing *r = OP(op, struct repairing);

    slice_put_req(&r->version, r->name.slice, r->req->arena, &r->check, &r->put_req);
    r->put_req.body = r->rebuild.source;
    store_obj_put(r->env->mine, &r->put_req, &r->put, op_call(op, repair_put));
    return STEP_WAIT;
}

static enum step_next repair_put(struct op *op)
{
    struct repairing *r = OP(op, struct repairing);

    r->res->repaired = true;
    r->res->bytes = r->put.info.size;
    return op_go(op, repair_end);
}

static enum step_next repair_end(struct op *op)
{
    struct repairing *r = OP(op, struct repairing);

    source_close(r->rebuild.source);
    call_finish(r->whole, op->err);
    return STEP_DONE;
}

static void repair_cancel(void *arg)
{
    op_cancel(&((struct repairing *)arg)->op, ERR_CANCELLED);
}

void slices_repair(const struct slices_env *env, const struct slices_repair_req *req, struct slices_repair_res *res,
                   struct call *whole)
{
    struct repairing *r = ARENA_NEW(req->arena, struct repairing);

    r->env = env;
    r->req = req;
    r->res = res;
    r->whole = whole;
    *res = (struct slices_repair_res){0};
    op_start(&r->op, env->loop, "slices_repair", repair_look, repair_end);
    call_on_cancel(whole, repair_cancel, r);
}
