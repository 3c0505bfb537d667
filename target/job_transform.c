#include "target/job_transform.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/op.h"
#include "etl/each.h"

enum { PIECE = 128 << 10 };

static enum err refuse(char why[256], const char *text)
{
    snprintf(why, 256, "%s", text);
    return ERR_INVALID_ARGUMENT;
}

enum err job_stages(struct arena *arena, const struct doc *spec, const struct etl_stage **stages, size_t *count,
                    char why[256])
{
    const struct doc *list = doc_get(spec, STR("etl"));
    struct etl_stage *out = arena_new(arena, ETL_STAGES_MAX * sizeof(*out));

    *stages = out;
    *count = 0;
    if (!list || list->kind != DOC_LIST || list->count == 0 || list->count > ETL_STAGES_MAX)
        return refuse(why, "\"etl\" is a list of 1 to 16 stages, {\"name\",\"args\"} each");
    for (const struct doc *d = list->first; d; d = d->next) {
        const struct doc *name = d->kind == DOC_MAP ? doc_get(d, STR("name")) : NULL;
        const struct doc *args = d->kind == DOC_MAP ? doc_get(d, STR("args")) : NULL;
        if (!name || name->kind != DOC_SCALAR || !etl_stage_name_is_valid(name->text))
            return refuse(why, "\"etl\": each stage has the \"name\" of an ETL");
        if (args && (args->kind != DOC_SCALAR || args->text.n > ETL_ARGS_MAX))
            return refuse(why, "\"etl\": the \"args\" of a stage are a text");
        out[(*count)++] = (struct etl_stage){name->text, args ? args->text : STR("")};
    }
    return ERR_OK;
}

struct transform {
    struct op op;
    const struct job_transform_req *req;
    struct job_transform_res *res;
    struct call *whole;
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct obj_get_req object;
    struct etl_run_req run_req;
    struct etl_run_res run;
    struct etl_each_req each;
    struct body_check check;
    struct attr attr;
    struct obj_put_req put_req;
    struct obj_put_res put;
    char *piece;
    size_t n;
};

static step_fn transform_begin, transform_looked, transform_run, transform_each, transform_ran, transform_read,
    transform_dropped, transform_stored, transform_end;

static enum step_next transform_begin(struct op *op)
{
    struct transform *t = OP(op, struct transform);

    if (!t->req->env->door)
        return op_fail(op, ERR_NOT_IMPLEMENTED);
    if (t->req->dry || !t->req->since_ns)
        return op_go(op, transform_run);
    t->head_req =
        (struct obj_head_req){.arena = t->req->arena, .bucket = t->req->to, .key = t->req->name, .cond = COND_INIT};
    store_obj_head(t->req->env->all, &t->head_req, &t->head, op_try(op, transform_looked));
    return STEP_WAIT;
}

static enum step_next transform_looked(struct op *op)
{
    struct transform *t = OP(op, struct transform);

    if (op->call.err != ERR_OK || t->head.info.mtime_ns < t->req->since_ns)
        return op_go(op, transform_run);
    t->res->bytes = t->head.info.size;
    return op_go(op, transform_end);
}

static enum step_next transform_run(struct op *op)
{
    struct transform *t = OP(op, struct transform);
    const struct job_transform_req *q = t->req;

    t->object = (struct obj_get_req){.head = {.arena = q->arena, .bucket = q->from, .key = q->key, .cond = COND_INIT}};
    t->run_req = (struct etl_run_req){.arena = q->arena,
                                      .stages = q->stages,
                                      .stage_count = q->stage_count,
                                      .object = &t->object,
                                      .bucket = q->from.name,
                                      .key = q->key};
    if (q->members)
        return op_go(op, transform_each);
    etl_run(q->env->door, &t->run_req, &t->run, op_try(op, transform_ran));
    return STEP_WAIT;
}

static enum step_next transform_each(struct op *op)
{
    struct transform *t = OP(op, struct transform);
    const struct job_transform_req *q = t->req;

    t->each = (struct etl_each_req){.arena = q->arena,
                                    .loop = op->loop,
                                    .door = q->env->door,
                                    .arcs = q->env->arcs,
                                    .store = q->env->all,
                                    .cpu = q->env->cpu,
                                    .stages = q->stages,
                                    .stage_count = q->stage_count,
                                    .bucket = q->from,
                                    .key = q->key};
    etl_each(&t->each, &t->run, op_try(op, transform_ran));
    return STEP_WAIT;
}

static enum step_next transform_ran(struct op *op)
{
    struct transform *t = OP(op, struct transform);
    const struct job_transform_req *q = t->req;

    if (op->call.err != ERR_OK) {
        t->res->text = t->run.text;
        return op_fail(op, op->call.err);
    }
    if (q->dry) {
        t->piece = arena_alloc(q->arena, PIECE);
        return op_go(op, transform_read);
    }
    t->attr = (struct attr){STR("content-type"), t->run.content_type};
    t->put_req = (struct obj_put_req){.arena = q->arena,
                                      .bucket = q->to,
                                      .key = q->name,
                                      .info = {.attrs = &t->attr, .attr_count = t->attr.value.n ? 1 : 0},
                                      .cond = COND_INIT,
                                      .body = t->run.body,
                                      .check = &t->check,
                                      .size_max = OBJECT_SIZE_MAX};
    store_obj_put(q->env->all, &t->put_req, &t->put, op_call(op, transform_stored));
    return STEP_WAIT;
}

static enum step_next transform_stored(struct op *op)
{
    struct transform *t = OP(op, struct transform);

    t->res->bytes = t->put.info.size;
    return op_go(op, transform_end);
}

static enum step_next transform_read(struct op *op)
{
    struct transform *t = OP(op, struct transform);

    source_read(t->run.body, t->piece, PIECE, &t->n, op_call(op, transform_dropped));
    return STEP_WAIT;
}

static enum step_next transform_dropped(struct op *op)
{
    struct transform *t = OP(op, struct transform);

    t->res->bytes += t->n;
    return t->n ? op_go(op, transform_read) : op_go(op, transform_end);
}

static enum step_next transform_end(struct op *op)
{
    struct transform *t = OP(op, struct transform);

    source_close(t->run.body);
    call_finish(t->whole, op->err);
    return STEP_DONE;
}

static void transform_cancel(void *arg)
{
    op_cancel(&((struct transform *)arg)->op, ERR_CANCELLED);
}

void job_transform(const struct job_transform_req *req, struct job_transform_res *res, struct call *call)
{
    struct transform *t = ARENA_NEW(req->arena, struct transform);

    t->req = req;
    t->res = res;
    t->whole = call;
    *res = (struct job_transform_res){.text = STR("")};
    call_on_cancel(call, transform_cancel, t);
    op_start(&t->op, call->loop, "transform", transform_begin, transform_end);
}
