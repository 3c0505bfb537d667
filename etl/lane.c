#include <stdlib.h>

#include "base/mem.h"
#include "etl/lane_run.h"

enum { TURN_MS = 50 };

/* ---- incarnations that are gone ---- */

void lane_forget(struct etl_lane *l, struct str id, bool cut)
{
    struct etl_forget *f;

    if (l->locked.closed || id.n >= sizeof(f->id))
        return;
    f = NEW(struct etl_forget);
    f->cut = cut;
    memcpy(f->id, id.p, id.n);
    f->next = l->locked.forgets;
    l->locked.forgets = f;
    if (!l->locked.posted) {
        l->locked.posted = true;
        loop_post(l->loop, &l->post);
    }
}

static void cut_runs(struct etl_lane *l, struct str id)
{
    for (struct run *r = l->runs, *next; r; r = next) {
        next = r->next;
        if (run_uses(r, id))
            run_cut(r);
    }
}

/* What was posted may come after the lane was closed: then it is the last that knows of it. */
static void on_forget(struct post *p)
{
    struct etl_lane *l = CONTAINER(p, struct etl_lane, post);
    struct etl_forget *list;

    if (!l->wire) {
        free(l);
        return;
    }
    pthread_mutex_lock(&l->engine->lock);
    list = l->locked.forgets;
    l->locked.forgets = NULL;
    l->locked.posted = false;
    pthread_mutex_unlock(&l->engine->lock);
    while (list) {
        struct etl_forget *f = list;
        list = f->next;
        etl_wire_forget(l->wire, str_z(f->id));
        if (f->cut)
            cut_runs(l, str_z(f->id));
        free(f);
    }
}

/* ---- the door ---- */

static void lane_run(struct etl_door *d, const struct etl_run_req *req, struct etl_run_res *res, struct call *call)
{
    run_start(CONTAINER(d, struct etl_lane, door), req, res, call);
}

struct lane_logs {
    struct etls *engine;
    const struct etl_logs_req *req;
    struct buf log;
    struct etl_logs_res *res;
    struct call *whole;
    struct call call;
    struct offload_task task;
};

static enum err run_logs(struct offload_task *task)
{
    struct lane_logs *l = CONTAINER(task, struct lane_logs, task);

    return etls_logs(l->engine, l->req->name, &l->log);
}

static void logs_done(struct call *call)
{
    struct lane_logs *l = CONTAINER(call, struct lane_logs, call);
    struct call *whole = l->whole;
    enum err e = call->err;

    if (e == ERR_OK)
        l->res->text = arena_str(l->req->arena, buf_str(&l->log));
    buf_release(&l->log);
    free(l);
    call_finish(whole, e);
}

static void lane_logs(struct etl_door *d, const struct etl_logs_req *req, struct etl_logs_res *res, struct call *call)
{
    struct etl_lane *lane = CONTAINER(d, struct etl_lane, door);
    struct lane_logs *l = NEW(struct lane_logs);

    *l = (struct lane_logs){
        .engine = lane->engine, .req = req, .res = res, .whole = call, .log = BUF_INIT(2 * ETL_LOG_MAX)};
    *res = (struct etl_logs_res){.text = STR("")};
    call_begin(&l->call, lane->loop, logs_done);
    offload_run(lane->engine->conf.io, &l->task, run_logs, &l->call);
}

static void lane_close(struct etl_door *d)
{
    struct etl_lane *l = CONTAINER(d, struct etl_lane, door);
    struct etls *e = l->engine;
    struct etl_forget *list;
    bool posted;

    pthread_mutex_lock(&e->lock);
    struct etl_lane **at = &e->locked.lanes;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    l->locked.closed = true;
    posted = l->locked.posted;
    list = l->locked.forgets;
    pthread_mutex_unlock(&e->lock);
    while (list) {
        struct etl_forget *f = list;
        list = f->next;
        free(f);
    }
    while (etl_wire_is_busy(l->wire)) /* this is the loop's end, too */
        loop_turn(l->loop, TURN_MS);
    etl_wire_free(l->wire);
    l->wire = NULL;
    if (!posted)
        free(l);
}

static struct etl_instance *find(void *arg, struct str id)
{
    return etls_hold(arg, id);
}

static void drop(void *arg, struct etl_instance *instance)
{
    etls_drop(arg, instance);
}

struct etl_door *etls_lane(struct etls *e, struct loop *loop, struct store *all)
{
    static const struct etl_door_ops ops = {lane_run, lane_logs, lane_close};
    struct etl_lane *l = NEW(struct etl_lane);

    l->door.ops = &ops;
    l->engine = e;
    l->loop = loop;
    l->store = all;
    l->post.fn = on_forget;
    l->wire =
        etl_wire_new(&(struct etl_wire_conf){.loop = loop, .io = e->conf.io, .arg = e, .find = find, .drop = drop});
    pthread_mutex_lock(&e->lock);
    l->next = e->locked.lanes;
    e->locked.lanes = l;
    pthread_mutex_unlock(&e->lock);
    return &l->door;
}
