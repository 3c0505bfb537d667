#include "base/log.h"
#include "target/slices_own.h"

enum { TIDY_PAGE = 200 };

struct tidying {
    struct op op;
    const struct slices_env *env;
    const struct slices_tidy_req *req;
    struct slices_tidy_res *res;
    struct call *whole;
    struct obj_list_req list_req;
    struct obj_list_res list;
    uint32_t at; /* entry */
    struct obj_head_req own_req, record_req;
    struct obj_head_res own, record;
    struct slices_name name;
    struct obj_delete_req delete_req;
    struct obj_delete_res deleted;
};

static step_fn tidy_list, tidy_listed, tidy_look, tidy_own, tidy_record, tidy_deleted, tidy_next, tidy_end;

static enum step_next tidy_list(struct op *op)
{
    struct tidying *t = OP(op, struct tidying);

    t->list_req = (struct obj_list_req){
        .arena = t->req->arena, .bucket = slices_bucket(t->req->bucket), .after = t->req->after, .max = TIDY_PAGE};
    store_obj_list(t->env->mine, &t->list_req, &t->list, op_call(op, tidy_listed));
    return STEP_WAIT;
}

static enum step_next tidy_listed(struct op *op)
{
    struct tidying *t = OP(op, struct tidying);

    if (t->list.truncated && t->list.count)
        t->res->next = t->list.entries[t->list.count - 1].key;
    return op_go(op, tidy_look);
}

static enum step_next tidy_look(struct op *op)
{
    struct tidying *t = OP(op, struct tidying);

    while (t->at < t->list.count && t->list.entries[t->at].mtime_ns > t->req->older_than_ns) {
        t->at++;
        t->res->seen++;
    }
    if (t->at == t->list.count)
        return op_go(op, tidy_end);
    t->own_req = (struct obj_head_req){
        .arena = t->req->arena, .bucket = t->list_req.bucket, .key = t->list.entries[t->at].key, .cond = COND_INIT};
    store_obj_head(t->env->mine, &t->own_req, &t->own, op_try(op, tidy_own));
    return STEP_WAIT;
}

static enum step_next tidy_own(struct op *op)
{
    struct tidying *t = OP(op, struct tidying);

    if (op->call.err != ERR_OK)
        return op_go(op, tidy_next);
    if (slices_parse(t->own_req.key, &t->own.info, &t->name) != ERR_OK) {
        log_warn(STR_NONE, "not a slice among slices", "key=%s", log_quote(t->own_req.key));
        return op_go(op, tidy_next);
    }
    t->record_req =
        (struct obj_head_req){.arena = t->req->arena, .bucket = t->req->bucket, .key = t->name.key, .cond = COND_INIT};
    store_obj_head(t->req->all, &t->record_req, &t->record, op_try(op, tidy_record));
    return STEP_WAIT;
}

static enum step_next tidy_record(struct op *op)
{
    struct tidying *t = OP(op, struct tidying);
    struct version v;
    enum err e = op->call.err;

    if ((e != ERR_OK && e != ERR_NO_SUCH_KEY) ||
        (e == ERR_OK && slice_is_named(t->env, t->req->bucket, &t->record.info, &t->name, &v)))
        return op_go(op, tidy_next);
    log_info(STR_NONE, "slice is litter", "key=%s slice=" STR_FMT, log_quote(t->name.key), STR_ARG(t->own_req.key));
    t->delete_req = (struct obj_delete_req){
        .arena = t->req->arena, .bucket = t->list_req.bucket, .key = t->own_req.key, .cond = COND_INIT};
    store_obj_delete(t->env->mine, &t->delete_req, &t->deleted, op_try(op, tidy_deleted));
    return STEP_WAIT;
}

static enum step_next tidy_deleted(struct op *op)
{
    struct tidying *t = OP(op, struct tidying);

    if (op->call.err == ERR_OK && t->deleted.existed) {
        t->res->removed++;
        t->res->bytes += t->own.info.size;
    }
    return op_go(op, tidy_next);
}

static enum step_next tidy_next(struct op *op)
{
    struct tidying *t = OP(op, struct tidying);

    t->res->seen++;
    t->at++;
    return op_go(op, tidy_look);
}

static enum step_next tidy_end(struct op *op)
{
    call_finish(OP(op, struct tidying)->whole, op->err);
    return STEP_DONE;
}

static void tidy_cancel(void *arg)
{
    op_cancel(&((struct tidying *)arg)->op, ERR_CANCELLED);
}

void slices_tidy(const struct slices_env *env, const struct slices_tidy_req *req, struct slices_tidy_res *res,
                 struct call *whole)
{
    struct tidying *t = ARENA_NEW(req->arena, struct tidying);

    t->env = env;
    t->req = req;
    t->res = res;
    t->whole = whole;
    *res = (struct slices_tidy_res){0};
    op_start(&t->op, env->loop, "slices_tidy", tidy_list, tidy_end);
    call_on_cancel(whole, tidy_cancel, t);
}
