#include "job_prune.h"

#include "store/system.h"
#include "target/job_own.h"

static step_fn prune_list, prune_delete, prune_ask, prune_parts, prune_record, prune_end;

static enum step_next prune_list(struct op *op)
{
    struct job_prune *p = OP(op, struct job_prune);

    if (!p->env->buckets || !system_bucket_find(p->env->buckets, p->arena, &p->system))
        return op_go(op, prune_ask);
    p->next = 0;
    p->list_req = (struct obj_list_req){.arena = p->arena,
                                        .bucket = p->system,
                                        .prefix = arena_printf(p->arena, "jobs/" STR_FMT "/", STR_ARG(p->id)),
                                        .max = LIST_MAX};
    store_obj_list(p->env->all, &p->list_req, &p->list, op_call(op, prune_delete));
    return STEP_WAIT;
}

static enum step_next prune_delete(struct op *op)
{
    struct job_prune *p = OP(op, struct job_prune);

    if (p->next == p->list.count)
        return p->list.truncated && p->list.count ? op_go(op, prune_list) : op_go(op, prune_ask);
    p->delete_req = (struct obj_delete_req){
        .arena = p->arena, .bucket = p->system, .key = p->list.entries[p->next++].key, .cond = COND_INIT};
    store_obj_delete(p->env->all, &p->delete_req, &p->deleted, op_call(op, prune_delete));
    return STEP_WAIT;
}

static enum step_next prune_ask(struct op *op)
{
    struct job_prune *p = OP(op, struct job_prune);

    p->next = 0;
    p->at_req =
        (struct meta_list_req){.arena = p->arena, .prefix = job_at_key(p->arena, p->id, STR("")), .max = META_LIST_MAX};
    meta_list(p->env->meta, &p->at_req, &p->at, op_call(op, prune_parts));
    return STEP_WAIT;
}

/* Another target may be at it, too. */
static enum step_next prune_parts(struct op *op)
{
    struct job_prune *p = OP(op, struct job_prune);

    if (p->next == p->at.count)
        return op_go(op, prune_record);
    p->put_req = (struct meta_put_req){.key = p->at.entries[p->next++].key, .revision = META_ANY, .remove = true};
    meta_put(p->env->meta, &p->put_req, &p->put, op_try(op, prune_parts));
    return STEP_WAIT;
}

static enum step_next prune_record(struct op *op)
{
    struct job_prune *p = OP(op, struct job_prune);

    p->put_req = (struct meta_put_req){.key = job_key(p->arena, p->id), .revision = META_ANY, .remove = true};
    meta_put(p->env->meta, &p->put_req, &p->put, op_try(op, prune_end));
    return STEP_WAIT;
}

static enum step_next prune_end(struct op *op)
{
    call_finish(OP(op, struct job_prune)->whole, op->err);
    return STEP_DONE;
}

static void prune_cancel(void *arg)
{
    op_cancel(&((struct job_prune *)arg)->op, ERR_CANCELLED);
}

void job_prune(struct job_prune *p, struct call *call)
{
    p->whole = call;
    op_start(&p->op, call->loop, "prune", prune_list, prune_end);
    call_on_cancel(call, prune_cancel, p);
}
