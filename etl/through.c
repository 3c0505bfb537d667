#include "etl/through.h"

#include "base/mem.h"
#include "etl/door.h"

struct through {
    struct etl_run_req req;
    struct etl_run_res res;
    struct arc_through_res *to;
    struct call *whole;
    struct call call;
};

static void on_run(struct call *c)
{
    struct through *t = CONTAINER(c, struct through, call);

    if (c->err == ERR_OK)
        *t->to = (struct arc_through_res){.head = t->res.head, .body = t->res.body};
    else
        t->to->text = t->res.text;
    call_finish(t->whole, c->err);
}

static void on_cancel(void *arg)
{
    call_cancel(&((struct through *)arg)->call);
}

static enum err take_stages(const struct arc_through_req *req, struct etl_run_req *out, struct str *text)
{
    const struct arc_via *via = req->entry->via;
    const struct query_param query[] = {
        {STR("etl_name"), via->name}, {STR("etl_pipeline"), via->pipeline}, {STR("etl_args"), via->args}};
    char why[ETL_QUERY_WHY_MAX] = "";
    enum err e =
        etl_stages_of_query(req->arena, query, sizeof(query) / sizeof(query[0]), &out->stages, &out->stage_count, why);

    if (e != ERR_OK)
        *text = arena_str(req->arena, str_z(why));
    return e;
}

void etl_through(void *door, const struct arc_through_req *req, struct arc_through_res *res, struct call *call)
{
    struct through *t = ARENA_NEW(req->arena, struct through);
    const struct arc_entry *entry = req->entry;
    enum err e = door ? take_stages(req, &t->req, &res->text) : ERR_NOT_IMPLEMENTED;

    if (e != ERR_OK) {
        call_finish(call, e);
        return;
    }
    t->to = res;
    t->whole = call;
    t->req.arena = req->arena;
    t->req.object = req->object;
    t->req.body = req->body;
    t->req.size = req->size;
    t->req.bucket = entry->bucket.name;
    t->req.key = entry->member.n
                     ? arena_printf(req->arena, STR_FMT "/" STR_FMT, STR_ARG(entry->key), STR_ARG(entry->member))
                     : entry->key;
    call_begin(&t->call, call->loop, on_run);
    call_on_cancel(call, on_cancel, t);
    etl_run(door, &t->req, &t->res, &t->call);
}
