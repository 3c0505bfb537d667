/* One result: looked for, and made by one at a time when it is not there. */
#include "base/log.h"
#include "etl/each.h"
#include "etl/view_own.h"

#define MARK STR("x-sluice-view")
enum { TRIES = 4 }; /* the source may be replaced while its result is made */

struct make {
    struct op op;
    const struct view_make_req *req;
    struct view_make_res *res;
    struct call *whole;
    struct turn turn;
    struct obj_head_req source_req, kept_req;
    struct obj_head_res source, kept;
    struct obj_get_req object;
    struct etl_run_req run;
    struct etl_each_req each;
    struct etl_run_res ran;
    struct body_check check;
    struct obj_put_req put;
    struct obj_put_res written;
    unsigned tries;
};

static step_fn make_source, make_look, make_looked, make_run, make_each, make_ran, make_put, make_end;

static struct store *inner(const struct make *m)
{
    return m->req->at->v->env.inner;
}

static enum step_next make_source(struct op *op)
{
    struct make *m = OP(op, struct make);
    const struct view_at *at = m->req->at;

    if (m->tries++ == TRIES)
        return op_fail(op, ERR_BUSY);
    if (!str_starts(m->req->key, at->conf.prefix))
        return op_fail(op, ERR_NO_SUCH_KEY);
    m->source_req =
        (struct obj_head_req){.arena = m->req->arena, .bucket = at->source.id, .key = m->req->key, .cond = COND_INIT};
    store_obj_head(inner(m), &m->source_req, &m->source, op_call(op, make_look));
    return STEP_WAIT;
}

static enum step_next make_look(struct op *op)
{
    struct make *m = OP(op, struct make);

    view_mark(m->req->at, &m->source.info.etag, m->res->mark);
    m->kept_req = (struct obj_head_req){
        .arena = m->req->arena, .bucket = m->req->at->bucket, .key = m->req->key, .cond = COND_INIT};
    store_obj_head(inner(m), &m->kept_req, &m->kept, op_try(op, make_looked));
    return STEP_WAIT;
}

static enum step_next make_looked(struct op *op)
{
    struct make *m = OP(op, struct make);
    enum err e = op->call.err;

    if (e == ERR_OK && view_unmark(m->req->arena, &m->kept.info, m->res->mark)) {
        m->res->info = m->kept.info;
        return op_go(op, make_end);
    }
    if (e != ERR_OK && e != ERR_NO_SUCH_KEY)
        return op_fail(op, e);
    if (m->turn.held)
        return op_go(op, make_run);
    /* whoever had the turn before may have made it */
    turn_take(&m->req->at->v->env.views->turns, &m->turn, m->req->at->bucket.uid, m->req->key,
              op_call(op, make_source));
    return STEP_WAIT;
}

static enum step_next make_run(struct op *op)
{
    struct make *m = OP(op, struct make);
    const struct view_at *at = m->req->at;

    m->object = (struct obj_get_req){m->source_req};
    m->object.head.cond.if_match = etag_str(&m->source.info.etag);
    m->run = (struct etl_run_req){.arena = m->req->arena,
                                  .stages = at->conf.stages,
                                  .stage_count = at->conf.stage_count,
                                  .object = &m->object,
                                  .bucket = at->source.id.name,
                                  .key = m->req->key};
    m->ran = (struct etl_run_res){.body = NULL};
    if (at->conf.members)
        return op_go(op, make_each);
    etl_run(at->v->env.door, &m->run, &m->ran, op_try(op, make_ran));
    return STEP_WAIT;
}

static enum step_next make_each(struct op *op)
{
    struct make *m = OP(op, struct make);
    const struct view_at *at = m->req->at;
    const struct view_env *env = &at->v->env;

    if (!env->arcs)
        return op_fail(op, ERR_NOT_IMPLEMENTED);
    m->each = (struct etl_each_req){.arena = m->req->arena,
                                    .loop = op->loop,
                                    .door = env->door,
                                    .arcs = env->arcs,
                                    .store = env->inner,
                                    .cpu = env->cpu,
                                    .stages = at->conf.stages,
                                    .stage_count = at->conf.stage_count,
                                    .bucket = at->source.id,
                                    .key = m->req->key};
    etl_each(&m->each, &m->ran, op_try(op, make_ran));
    return STEP_WAIT;
}

/* What the source is answered with, but for what is about its bytes; and the mark. */
static void describe(const struct make *m, struct object_info *info)
{
    const struct object_info *from = &m->source.info;
    struct attr *attrs = arena_alloc(m->req->arena, (from->attr_count + 2) * sizeof(*attrs));
    uint32_t n = 0;

    for (uint32_t i = 0; i < from->attr_count; i++) {
        struct str name = from->attrs[i].name;
        if (str_eq(name, STR("content-encoding")) || (m->ran.content_type.n && str_eq(name, STR("content-type"))))
            continue;
        attrs[n++] = from->attrs[i];
    }
    if (m->ran.content_type.n)
        attrs[n++] = (struct attr){STR("content-type"), m->ran.content_type};
    attrs[n++] = (struct attr){MARK, str_n(m->res->mark, VIEW_MARK_LEN)};
    *info = (struct object_info){.attrs = attrs, .attr_count = n};
}

static enum step_next make_ran(struct op *op)
{
    struct make *m = OP(op, struct make);

    if (op->call.err == ERR_PRECONDITION || op->call.err == ERR_NO_SUCH_KEY)
        return op_go(op, make_source);
    if (op->call.err != ERR_OK) {
        log_warn(m->req->arena->id, "an object of a view can't be made", "bucket=%s key=%s error=%s text=%s",
                 log_quote(m->req->at->bucket.name), log_quote(m->req->key), err_name(op->call.err),
                 log_quote(m->ran.text));
        return op_fail(op, op->call.err);
    }
    m->check = (struct body_check){0};
    m->put = (struct obj_put_req){.arena = m->req->arena,
                                  .bucket = m->req->at->bucket,
                                  .key = m->req->key,
                                  .cond = COND_INIT,
                                  .body = m->ran.body,
                                  .check = &m->check,
                                  .size_max = OBJECT_SIZE_MAX};
    describe(m, &m->put.info);
    store_obj_put(inner(m), &m->put, &m->written, op_call(op, make_put));
    return STEP_WAIT;
}

static enum step_next make_put(struct op *op)
{
    struct make *m = OP(op, struct make);

    m->res->info = m->written.info;
    m->res->info.attrs = m->put.info.attrs;
    m->res->info.attr_count = m->put.info.attr_count - 1; /* the mark is the last */
    return op_go(op, make_end);
}

static enum step_next make_end(struct op *op)
{
    struct make *m = OP(op, struct make);

    source_close(m->ran.body);
    turn_end(&m->turn);
    call_finish(m->whole, op->err);
    return STEP_DONE;
}

static void make_cancel(void *arg)
{
    op_cancel(&((struct make *)arg)->op, ERR_CANCELLED);
}

void view_make(const struct view_make_req *req, struct view_make_res *res, struct call *call)
{
    struct make *m = ARENA_NEW(req->arena, struct make);

    m->req = req;
    m->res = res;
    m->whole = call;
    op_start(&m->op, call->loop, "view_make", make_source, make_end);
    if (!call->cancelled)
        call_on_cancel(call, make_cancel, m);
}
