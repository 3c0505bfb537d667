#include "sidecar.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "etl/etls_own.h"

#define MS UINT64_C(1000000)

enum {
    PROBE_MS = 100,       /* between two questions whether it is ready, ... */
    PROBE_MAX_MS = 1000,  /* ... more and more */
    LOOK_MS = 250,        /* between two looks whether it still runs */
    USAGE_MS = 4000,      /* between two looks at what it uses */
    PAUSE_MS = 200,       /* before it is started again, ... */
    PAUSE_MAX_MS = 30000, /* ... doubled each time, ... */
    HEALTHY_MS = 60000,   /* ... until it has been well for so long */
    GRACE_MS = 5000,      /* of one that is to end */
    FAILED_GRACE_MS = 1000,
    CUT_MS = 5000, /* who still uses its instance then is cut off */
    AGAIN_MS = 1000,
    SOON_MS = 20,
    PARKED_MS = 3600000,
    ROOM_MS = 1000, /* between two looks whether there is room for one more */
};

/* The life of a sidecar. Between life_started and life_stopped there is an instance; life_gone always runs. */
static step_fn life_begin, life_started, life_look, life_looked, life_probed, life_ready, life_watch, life_check,
    life_checked, life_down, life_held, life_released, life_unserved, life_stopped, life_parked, life_end, life_removed,
    life_gone;

static bool is_alone(const struct sidecar *s)
{
    return !s->engine->conf.runtime || s->refused;
}

static void set_state(struct sidecar *s, enum sidecar_state state, const char *error)
{
    pthread_mutex_lock(&s->engine->lock);
    s->locked.state = state;
    if (error)
        snprintf(s->locked.error, sizeof(s->locked.error), "%s", error);
    s->locked.changes++;
    sidecar_wake(s);
    pthread_mutex_unlock(&s->engine->lock);
    sidecar_save(s, true);
}

static enum step_next sleep_then(struct sidecar *s, uint64_t ms, struct call *call)
{
    etl_nap(&s->nap, ms, call);
    return STEP_WAIT;
}

static struct sidecar_task *work(struct sidecar *s)
{
    s->work = (struct sidecar_task){.s = s, .instance = s->instance, .fd = -1, .listener = -1};
    return &s->work;
}

/* ---- start ---- */

/* What a spec needs that this node's runtime has not. */
static enum err check_served(const struct etl_runtime *runtime, const struct etl_spec *spec, char why[ETL_WHY_MAX])
{
    if (!spec->kubernetes.n || runtime->ops->pods)
        return ERR_OK;
    snprintf(why, ETL_WHY_MAX, "%.400s (but where etl.runtime is kubernetes)", spec->kubernetes.p);
    return ERR_NOT_IMPLEMENTED;
}

static enum err run_start(struct offload_task *task)
{
    struct sidecar_task *w = CONTAINER(task, struct sidecar_task, task);
    struct etl_runtime *runtime = w->s->engine->conf.runtime;
    const struct etl_record *r = &w->s->record;
    const struct str direct_put = r->spec.direct_put ? STR("true") : STR("false");
    const struct etl_env env[] = {{STR("DIRECT_PUT"), direct_put}, {STR("direct_put"), direct_put}};
    struct arena arena = ARENA_INIT;
    enum err e = check_served(runtime, &r->spec, w->why);

    if (e != ERR_OK)
        return e;
    e = runtime->ops->start(
        runtime,
        &(struct etl_start_req){.spec = &r->spec,
                                .id = str_z(w->s->locked.id), /* changed by this life alone */
                                .env = env,
                                .env_count = sizeof(env) / sizeof(*env),
                                .target_path = arena_printf(&arena, "/v1/etl/_object/" STR_FMT "/" STR_FMT,
                                                            STR_ARG(w->s->name), STR_ARG(r->secret))},
        &w->instance, w->why);
    if (e == ERR_OK)
        w->listener = runtime->ops->listener(w->instance);
    arena_release(&arena);
    return e;
}

static enum step_next life_begin(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);

    if (s->stopping)
        return op_go(op, life_end);
    if (is_alone(s)) {
        if (s->refused)
            snprintf(s->why, sizeof(s->why), "this node runs %d ETLs already", ETL_RUNNING_MAX);
        else
            snprintf(s->why, sizeof(s->why), "this node runs no ETLs");
        return op_go(op, life_stopped);
    }
    pthread_mutex_lock(&s->engine->lock);
    snprintf(s->locked.id, sizeof(s->locked.id), STR_FMT "-%u", STR_ARG(s->name), ++s->engine->incarnations);
    pthread_mutex_unlock(&s->engine->lock);
    set_state(s, SIDECAR_STARTING, NULL);
    s->began_ns = loop_now_ns(op->loop);
    s->up_ns = 0;
    s->probe_ms = PROBE_MS;
    s->usage = (struct etl_usage){0};
    s->cpu = 0;
    offload_run(s->engine->slow, &work(s)->task, run_start, op_try(op, life_started));
    return STEP_WAIT;
}

static enum step_next life_started(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);

    s->unserved = op->call.err == ERR_NOT_IMPLEMENTED;
    if (op->call.err != ERR_OK) {
        snprintf(s->why, sizeof(s->why), "it can't be started: %.400s",
                 s->work.why[0] ? s->work.why : err_text(op->call.err));
        return op_go(op, life_stopped);
    }
    s->instance = s->work.instance;
    if (s->work.listener >= 0)
        s->server = etl_objects_serve(s->engine->objects, s->work.listener, s->name, s->record.secret);
    pthread_mutex_lock(&s->engine->lock);
    s->locked.instance = s->locked.held = s->instance;
    pthread_mutex_unlock(&s->engine->lock);
    s->why[0] = 0;
    return s->record.spec.comm == ETL_IO ? op_go(op, life_ready) : op_go(op, life_look);
}

/* ---- until it is ready ---- */

static enum err run_look(struct offload_task *task)
{
    struct sidecar_task *w = CONTAINER(task, struct sidecar_task, task);
    const struct etl_runtime_ops *ops = w->instance->runtime->ops;

    w->alive = ops->alive(w->instance, w->why);
    return w->alive ? ops->dial(w->instance, &w->fd) : ERR_OK;
}

static enum step_next life_look(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);

    if (s->stopping)
        return op_go(op, life_down);
    offload_run(s->engine->conf.io, &work(s)->task, run_look, op_try(op, life_looked));
    return STEP_WAIT;
}

static enum step_next not_yet(struct sidecar *s, const char *reason)
{
    uint64_t limit = s->record.spec.init_timeout_ms, ms = s->probe_ms;

    if (loop_now_ns(s->op.loop) - s->began_ns > limit * MS) {
        snprintf(s->why, sizeof(s->why), "it was not ready within %g s: %.400s", (double)limit / 1000, reason);
        return op_go(&s->op, life_down);
    }
    s->probe_ms = ms * 3 / 2 < PROBE_MAX_MS ? ms * 3 / 2 : PROBE_MAX_MS;
    return sleep_then(s, ms, op_try(&s->op, life_look));
}

static enum step_next life_looked(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);
    char reason[ETL_WHY_MAX];

    if (s->stopping) {
        if (s->work.fd >= 0)
            (void)close(s->work.fd);
        return op_go(op, life_down);
    }
    if (op->call.err == ERR_OK && !s->work.alive) {
        snprintf(s->why, sizeof(s->why), "it ended before it was ready: %.400s", s->work.why);
        return op_go(op, life_down);
    }
    if (op->call.err != ERR_OK) {
        if (s->work.alive && s->work.why[0]) /* what it waits for */
            snprintf(reason, sizeof(reason), "%s", s->work.why);
        else
            snprintf(reason, sizeof(reason), "nothing listens on its port %u", s->record.spec.port);
        return not_yet(s, reason);
    }
    etl_probe(&s->probe, s->work.fd, s->record.spec.health, &s->status, op_try(op, life_probed));
    return STEP_WAIT;
}

static enum step_next life_probed(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);
    char reason[256];

    if (s->stopping)
        return op_go(op, life_down);
    if (op->call.err == ERR_OK && s->status == 200)
        return op_go(op, life_ready);
    if (op->call.err == ERR_OK)
        snprintf(reason, sizeof(reason), "GET %.160s is answered with %d", log_quote(s->record.spec.health), s->status);
    else
        snprintf(reason, sizeof(reason), "GET %.160s is not answered", log_quote(s->record.spec.health));
    return not_yet(s, reason);
}

/* ---- while it is ready ---- */

static enum step_next life_ready(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);

    if (s->stopping)
        return op_go(op, life_down);
    s->up_ns = s->usage_ns = loop_now_ns(op->loop);
    s->ups++;
    log_info(STR_NONE, "etl is ready", "etl=" STR_FMT " instance=%s ms=%u", STR_ARG(s->name), s->locked.id,
             (unsigned)((s->up_ns - s->began_ns) / MS));
    set_state(s, SIDECAR_READY, NULL);
    return op_go(op, life_watch);
}

static enum step_next life_watch(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);

    if (s->stopping)
        return op_go(op, life_down);
    return sleep_then(s, LOOK_MS, op_try(op, life_check));
}

static enum err run_check(struct offload_task *task)
{
    struct sidecar_task *w = CONTAINER(task, struct sidecar_task, task);
    const struct etl_runtime_ops *ops = w->instance->runtime->ops;

    w->alive = ops->alive(w->instance, w->why);
    if (w->alive && w->counted)
        w->counted = ops->usage(w->instance, &w->usage) == ERR_OK;
    return ERR_OK;
}

static enum step_next life_check(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);

    if (s->stopping)
        return op_go(op, life_down);
    work(s)->counted = loop_now_ns(op->loop) - s->usage_ns >= USAGE_MS * MS;
    offload_run(s->engine->conf.io, &s->work.task, run_check, op_try(op, life_checked));
    return STEP_WAIT;
}

/* What it uses goes into its status when it has changed by more than little: that is written to meta. */
static void take_usage(struct sidecar *s)
{
    uint64_t now = loop_now_ns(s->op.loop), former = s->usage.memory, memory = s->work.usage.memory;
    double seconds = (double)(now - s->usage_ns) / 1e9;
    double cpu = seconds > 0 ? (s->work.usage.cpu_seconds - s->usage.cpu_seconds) / seconds : 0;
    bool tell =
        memory > former + former / 16 || memory + former / 16 < former || cpu > s->cpu + 0.05 || cpu < s->cpu - 0.05;

    s->usage_ns = now;
    s->usage.cpu_seconds = s->work.usage.cpu_seconds;
    if (!tell)
        return;
    s->usage.memory = memory;
    s->cpu = cpu > 0 ? cpu : 0;
    pthread_mutex_lock(&s->engine->lock);
    s->locked.changes++;
    pthread_mutex_unlock(&s->engine->lock);
}

static enum step_next life_checked(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);

    if (op->call.err != ERR_OK) /* the pool is busy */
        return op_go(op, life_watch);
    if (!s->work.alive) {
        snprintf(s->why, sizeof(s->why), "it ended: %.400s", s->work.why);
        return op_go(op, life_down);
    }
    if (s->work.counted)
        take_usage(s);
    if (loop_now_ns(op->loop) - s->up_ns > HEALTHY_MS * MS)
        s->pause_ms = 0;
    return op_go(op, life_watch);
}

/* ---- its end: nobody uses the instance any more, then it is stopped ---- */

static enum step_next life_down(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);

    pthread_mutex_lock(&s->engine->lock);
    s->locked.instance = NULL;
    pthread_mutex_unlock(&s->engine->lock);
    set_state(s, s->stopping ? SIDECAR_STOPPING : SIDECAR_STARTING, s->why);
    etls_forget(s->engine, str_z(s->locked.id), false);
    s->began_ns = loop_now_ns(op->loop);
    s->cut = false;
    return op_go(op, life_held);
}

/* Those of an instance that has ended by itself end soon; of one that is to end they have some time. */
static enum step_next life_held(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);
    bool late = loop_now_ns(op->loop) - s->began_ns > CUT_MS * MS;
    unsigned holders;

    pthread_mutex_lock(&s->engine->lock);
    holders = s->locked.holders;
    if (!holders)
        s->locked.held = NULL;
    pthread_mutex_unlock(&s->engine->lock);
    if (!holders)
        return op_go(op, life_released);
    if (late && !s->cut) {
        s->cut = true;
        etls_forget(s->engine, str_z(s->locked.id), true);
    }
    return sleep_then(s, SOON_MS, op_try(op, life_held));
}

static enum step_next life_released(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);
    struct etl_object_server *server = s->server;

    if (!server)
        return op_go(op, life_unserved);
    s->server = NULL;
    etl_objects_end(server, op_try(op, life_unserved));
    return STEP_WAIT;
}

/* What it wrote last is kept: it tells why it ended. */
static enum err run_stop(struct offload_task *task)
{
    struct sidecar_task *w = CONTAINER(task, struct sidecar_task, task);
    struct buf log = BUF_INIT(2 * ETL_LOG_MAX);

    w->instance->runtime->ops->logs(w->instance, &log);
    w->tail_n = log.n < sizeof(w->tail) ? log.n : sizeof(w->tail);
    if (w->tail_n)
        memcpy(w->tail, log.p + log.n - w->tail_n, w->tail_n);
    buf_release(&log);
    w->instance->runtime->ops->stop(w->instance, w->grace_ms);
    return ERR_OK;
}

static enum step_next life_unserved(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);

    work(s)->grace_ms = s->stopping ? GRACE_MS : FAILED_GRACE_MS;
    offload_run(s->engine->slow, &s->work.task, run_stop, op_try(op, life_stopped));
    return STEP_WAIT;
}

static void keep_tail(struct sidecar *s)
{
    pthread_mutex_lock(&s->engine->lock);
    memcpy(s->locked.tail, s->work.tail, s->work.tail_n);
    s->locked.tail_n = s->work.tail_n;
    pthread_mutex_unlock(&s->engine->lock);
}

/* "it ended: exit status 1; its last output: ..." */
static void describe_end(struct sidecar *s, char error[SIDECAR_ERROR_MAX])
{
    snprintf(error, SIDECAR_ERROR_MAX, "%.400s%s%.*s", s->why, s->work.tail_n ? "; its last output:\n" : "",
             (int)s->work.tail_n, s->work.tail);
}

static enum step_next life_stopped(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);
    char error[SIDECAR_ERROR_MAX];
    bool lost = s->ups == 0 && s->record.stage == ETL_INITIALIZING;

    if (s->instance)
        keep_tail(s);
    else
        s->work.tail_n = 0;
    s->instance = NULL;
    if (s->stopping)
        return op_go(op, life_end);
    describe_end(s, error);
    log_warn(STR_NONE, "etl is not well", "etl=" STR_FMT " instance=%s error=%s", STR_ARG(s->name), s->locked.id,
             log_quote(str_z(s->why)));
    if (lost || is_alone(s)) {
        set_state(s, SIDECAR_FAILED, error);
        return op_go(op, life_parked);
    }
    s->restarts++;
    set_state(s, SIDECAR_STARTING, error);
    s->pause_ms = !s->pause_ms ? PAUSE_MS : s->pause_ms * 2 < PAUSE_MAX_MS ? s->pause_ms * 2 : PAUSE_MAX_MS;
    return sleep_then(s, s->pause_ms, op_try(op, life_begin));
}

/* One that was refused is not for long, maybe. */
static bool has_room(struct sidecar *s)
{
    struct etls *e = s->engine;
    bool room;

    pthread_mutex_lock(&e->lock);
    room = s->refused && e->locked.count < ETL_RUNNING_MAX;
    if (room) {
        s->refused = false;
        e->locked.count++;
    }
    pthread_mutex_unlock(&e->lock);
    return room;
}

static enum step_next life_parked(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);

    if (s->stopping)
        return op_go(op, life_end);
    if (has_room(s))
        return op_go(op, life_begin);
    return sleep_then(s, s->refused ? ROOM_MS : PARKED_MS, op_try(op, life_parked));
}

/* ---- the end: its status record goes ---- */

static enum step_next life_end(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);

    set_state(s, SIDECAR_STOPPING, NULL);
    s->ended = true;
    if (call_is_pending(&s->save))
        return sleep_then(s, SOON_MS, op_try(op, life_end));
    arena_release(&s->save_arena);
    s->put_req = (struct meta_put_req){
        .key = etl_at_key(&s->save_arena, s->name, str_z(s->engine->self)), .revision = META_ANY, .remove = true};
    meta_put(s->engine->conf.meta, &s->put_req, &s->put, op_try(op, life_removed));
    return STEP_WAIT;
}

static enum step_next life_removed(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);
    enum err e = op->call.err;

    arena_release(&s->save_arena);
    if (e == ERR_OK || e == ERR_NOT_FOUND || s->engine->closing)
        return op_go(op, life_gone);
    return sleep_then(s, AGAIN_MS, op_try(op, life_end));
}

static enum step_next life_gone(struct op *op)
{
    struct sidecar *s = OP(op, struct sidecar);

    log_info(STR_NONE, "etl is stopped", "etl=" STR_FMT, STR_ARG(s->name));
    etls_gone(s->engine, s);
    return STEP_DONE;
}

/* ---- begin and end ---- */

static bool is_direct(const struct etl_spec *spec)
{
    for (size_t i = 0; i < spec->env_count; i++)
        if (str_eq(spec->env[i].name, STR("ETL_DIRECT_FQN")))
            return str_eq_nocase(spec->env[i].value, STR("true")) || str_eq(spec->env[i].value, STR("1"));
    return false;
}

struct sidecar *sidecar_start(struct etls *e, struct str record, bool refused)
{
    struct sidecar *s = NEW(struct sidecar);

    if (etl_record_read(&s->arena, arena_str(&s->arena, record), &s->record) != ERR_OK) {
        arena_release(&s->arena);
        free(s);
        return NULL;
    }
    s->engine = e;
    s->name = s->record.spec.name;
    s->direct = is_direct(&s->record.spec);
    s->refused = refused;
    s->locked.refs = 1;
    s->locked.changes = 1;
    pthread_mutex_lock(&e->lock);
    s->next = e->locked.sidecars;
    e->locked.sidecars = s;
    e->locked.count += !refused;
    pthread_mutex_unlock(&e->lock);
    op_start(&s->op, e->loop, "sidecar", life_begin, life_gone);
    return s;
}

void sidecar_stop(struct sidecar *s)
{
    if (s->stopping)
        return;
    s->stopping = true;
    set_state(s, SIDECAR_STOPPING, NULL);
    etl_nap_wake(&s->nap);
    if (s->probe.call)
        call_cancel(s->probe.call);
}
