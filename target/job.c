#include "job.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "target/job_own.h"
#include "target/job_prune.h"

/* The engine: a tick on its loop saves what has changed; a scan of the records, at once after one has changed and now and then anyway, begins,
 * stops and ends. */
enum {
    TICK_MS = 200,
    SOON_MS = 2,       /* after something has happened */
    GAP_MS = 25,       /* between two scans: a burst of changes is one */
    DUE_MS = 600,      /* kinds that begin by themselves are asked */
    SCAN_MS = 10000,   /* at the latest */
    KEPT_MS = 3600000, /* how long more than JOBS_KEPT_LONG that have ended are kept */
    AGAIN_MS = 50,     /* the next that is too old */
};
#define MS UINT64_C(1000000)

/* Outlives the engine: a watch can't be taken back. */
struct bell {
    struct bell *next;
    struct engine *engine; /* guarded by bells_lock; NULL when it is closed */
    atomic_bool rung;
    atomic_bool posted; /* `post` is on its way */
    struct post post;
};
static pthread_mutex_t bells_lock = PTHREAD_MUTEX_INITIALIZER;
static struct bell *bells; /* guarded by bells_lock; so that none is ever lost */

struct engine {
    struct jobs jobs;
    pthread_t thread;
    struct timer tick;
    struct post close;
    struct bell *bell;
    uint64_t scan_ns, due_ns; /* when the next scan is at the latest; when kinds are asked again */
    uint64_t scanned_ns;      /* when the last began */
    /* the scan */
    struct op op;
    bool scanning;
    struct arena arena;
    char after[META_KEY_MAX];
    size_t after_n;
    struct meta_list_req list_req, at_req;
    struct meta_list_res list, at;
    uint32_t pos; /* in the page */
    struct job_record record;
    struct meta_get_req get_req;
    struct meta_get_res got;
    struct meta_put_req put_req;
    struct meta_put_res put;
    /* to be pruned: the one that ended first */
    unsigned ended_count;
    uint64_t oldest_ms;
    char oldest[JOB_ID_MAX + 1];
    struct job_prune prune;
};

/* in order; scan_own to scan_judged for each record that needs it */
static step_fn scan_due, scan_list, scan_listed, scan_next, scan_own, scan_known, scan_judge, scan_judged, scan_prune,
    scan_end;

/* ---- kinds that begin by themselves ---- */

static enum step_next scan_due(struct op *op)
{
    struct engine *g = OP(op, struct engine);
    struct job_record r = {.started_by = STR("sluice"), .created_ms = job_now_ms()};
    char why[DOC_WHY_MAX];
    struct doc *spec;
    struct str text;

    for (const struct job_kind *const *at = job_kinds; *at; at++) {
        const struct job_kind *k = *at;
        if (!k->due || !k->due(&g->jobs.env, &g->arena, &r.id, &text) || part_find(&g->jobs, r.id) ||
            js_read(&g->arena, text, &spec, why) != ERR_OK)
            continue;
        r.kind = str_z(k->name);
        r.spec = spec;
        g->put_req = (struct meta_put_req){.key = job_key(&g->arena, r.id), .value = job_record_text(&g->arena, &r)};
        meta_put(g->jobs.env.meta, &g->put_req, &g->put, op_try(op, scan_list)); /* or another target was faster */
        return STEP_WAIT;
    }
    return op_go(op, scan_list);
}

/* ---- the records ---- */

static enum step_next scan_list(struct op *op)
{
    struct engine *g = OP(op, struct engine);

    g->list_req = (struct meta_list_req){
        .arena = &g->arena, .prefix = JOB_KEY, .after = str_n(g->after, g->after_n), .max = META_LIST_MAX};
    meta_list(g->jobs.env.meta, &g->list_req, &g->list, op_call(op, scan_listed));
    return STEP_WAIT;
}

static enum step_next scan_listed(struct op *op)
{
    struct engine *g = OP(op, struct engine);

    g->pos = 0;
    return op_go(op, scan_next);
}

static void note_ended(struct engine *g)
{
    const struct job_record *r = &g->record;

    if (g->ended_count++ == 0 || r->ended_ms < g->oldest_ms) {
        g->oldest_ms = r->ended_ms;
        memcpy(g->oldest, r->id.p, r->id.n);
        g->oldest[r->id.n] = 0;
    }
}

/* A record whose job has not ended. Returns the step that has to wait for something, or NULL. */
static step_fn *take(struct engine *g)
{
    const struct job_record *r = &g->record;
    struct part *p = part_find(&g->jobs, r->id);

    if (!p)
        return job_kind_find(r->kind) && job_is_for(r, g->jobs.env.self) ? scan_own : NULL;
    p->listed = true;
    if (r->stop)
        part_stop(p);
    p->judged |= p->judging;
    return p->judging ? scan_judge : NULL;
}

static enum step_next scan_next(struct op *op)
{
    struct engine *g = OP(op, struct engine);

    while (g->pos < g->list.count) {
        const struct meta_entry *e = &g->list.entries[g->pos++];
        struct part *p;
        step_fn *next;

        if (job_record_read(&g->arena, e->value, &g->record) != ERR_OK)
            continue;
        if (g->record.state == JOB_RUNNING) {
            if ((next = take(g)) != NULL)
                return next == scan_own ? op_go(op, scan_own) : op_go(op, scan_judge);
            continue;
        }
        note_ended(g);
        if ((p = part_find(&g->jobs, g->record.id)) != NULL)
            p->listed = true;
    }
    if (!g->list.truncated || g->list.count == 0)
        return op_go(op, scan_prune);
    struct str last = g->list.entries[g->list.count - 1].key;
    g->after_n = last.n < sizeof(g->after) ? last.n : 0;
    memcpy(g->after, last.p, g->after_n);
    return op_go(op, scan_list);
}

/* ---- a job that is new here ---- */

static enum step_next scan_known(struct op *op)
{
    struct engine *g = OP(op, struct engine);
    struct job_at at;
    enum err e = op->call.err;
    struct part *p;

    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return op_fail(op, e);
    if (e == ERR_OK && job_at_read(&g->arena, g->got.value, &at) != ERR_OK)
        e = ERR_NOT_FOUND;
    if (g->jobs.closing)
        return op_fail(op, ERR_CANCELLED);
    if (e == ERR_OK && at.state != JOB_RUNNING)
        p = part_ended(&g->jobs, g->record.id, at.state);
    else
        p = part_begin(&g->jobs, &g->record, e == ERR_OK ? &at : NULL);
    p->listed = true;
    if (g->record.stop)
        part_stop(p);
    return op_go(op, scan_next);
}

static enum step_next scan_own(struct op *op)
{
    struct engine *g = OP(op, struct engine);

    g->get_req = (struct meta_get_req){&g->arena, job_at_key(&g->arena, g->record.id, g->jobs.env.self)};
    meta_get(g->jobs.env.meta, &g->get_req, &g->got, op_try(op, scan_known));
    return STEP_WAIT;
}

/* ---- a job whose part here has ended: have all? ---- */

static enum step_next scan_judge(struct op *op)
{
    struct engine *g = OP(op, struct engine);

    g->at_req = (struct meta_list_req){
        .arena = &g->arena, .prefix = job_at_key(&g->arena, g->record.id, STR("")), .max = META_LIST_MAX};
    meta_list(g->jobs.env.meta, &g->at_req, &g->at, op_call(op, scan_judged));
    return STEP_WAIT;
}

/* The part of that node, or NULL. */
static const struct meta_entry *at_of(const struct engine *g, struct str node)
{
    for (uint32_t i = 0; i < g->at.count; i++)
        if (str_ends(g->at.entries[i].key, node))
            return &g->at.entries[i];
    return NULL;
}

/* What one node's part has come to. */
static enum job_state state_at(struct engine *g, struct str node)
{
    const struct meta_entry *e = at_of(g, node);
    struct job_at at;

    return e && job_at_read(&g->arena, e->value, &at) == ERR_OK ? at.state : JOB_RUNNING;
}

/* False: one has not ended. `worst`: what the job's end is called. */
static bool have_ended(struct engine *g, enum job_state *worst)
{
    const struct map *map;
    bool all = true;

    if (!g->jobs.env.members) {
        *worst = state_at(g, g->jobs.env.self);
        return *worst != JOB_RUNNING;
    }
    map = members_map(g->jobs.env.members);
    *worst = JOB_DONE;
    for (uint16_t i = 0; i < map->node_count && all; i++) {
        enum job_state state;
        if (!job_is_for(&g->record, map->nodes[i].id))
            continue;
        state = state_at(g, map->nodes[i].id);
        all = state != JOB_RUNNING;
        if (all && (state == JOB_FAILED || *worst == JOB_DONE))
            *worst = state;
    }
    map_release(map);
    return all;
}

static enum step_next scan_judged(struct op *op)
{
    struct engine *g = OP(op, struct engine);
    const struct meta_entry *e = &g->list.entries[g->pos - 1];
    struct part *p = part_find(&g->jobs, g->record.id);
    struct job_record r = g->record;

    if (!have_ended(g, &r.state))
        return op_go(op, scan_next); /* the one that ends last sees it; a node that was removed: a later scan */
    r.ended_ms = job_now_ms();
    if (p)
        p->judging = false;
    g->put_req = (struct meta_put_req){.key = e->key, .value = job_record_text(&g->arena, &r), .revision = e->revision};
    meta_put(g->jobs.env.meta, &g->put_req, &g->put, op_try(op, scan_next)); /* or another target did */
    return STEP_WAIT;
}

/* ---- old ones ---- */

/* One in each scan. */
static enum step_next scan_prune(struct op *op)
{
    struct engine *g = OP(op, struct engine);
    bool old = g->ended_count > JOBS_KEPT_LONG && job_now_ms() > g->oldest_ms + KEPT_MS;

    if (g->ended_count <= JOBS_KEPT && !old)
        return op_go(op, scan_end);
    g->scan_ns = loop_now_ns(op->loop) + AGAIN_MS * MS;
    g->prune = (struct job_prune){.env = &g->jobs.env, .arena = &g->arena, .id = str_z(g->oldest)};
    job_prune(&g->prune, op_call(op, scan_end));
    return STEP_WAIT;
}

/* ---- the end of a scan ---- */

/* Parts whose record is gone, or says that the job has ended. */
static void forget_parts(struct engine *g)
{
    for (struct part *p = g->jobs.parts, *next; p; p = next) {
        next = p->next;
        if (p->listed)
            continue;
        part_stop(p);
        if (!p->job && !call_is_pending(&p->save))
            part_drop(p);
    }
}

static enum step_next scan_end(struct op *op)
{
    struct engine *g = OP(op, struct engine);

    if (op->err == ERR_OK)
        forget_parts(g);
    else if (op->err != ERR_CANCELLED)
        log_debug(STR_NONE, "jobs can't be read", "error=%s", err_name(op->err));
    arena_release(&g->arena);
    g->scanning = false;
    if (atomic_load(&g->bell->rung))
        jobs_look_soon(&g->jobs);
    return STEP_DONE;
}

static void scan(struct engine *g)
{
    g->scanning = true;
    g->scanned_ns = loop_now_ns(g->jobs.env.loop);
    g->scan_ns = g->scanned_ns + SCAN_MS * MS;
    g->after_n = 0;
    g->ended_count = 0;
    for (struct part *p = g->jobs.parts; p; p = p->next)
        p->listed = false;
    atomic_store(&g->bell->rung, false);
    op_start(&g->op, g->jobs.env.loop, "jobs", scan_due, scan_end);
}

/* ---- ticks ---- */

static bool is_due(struct engine *g)
{
    struct arena arena = ARENA_INIT;
    struct str id, spec;
    bool due = false;

    for (const struct job_kind *const *k = job_kinds; *k && !due; k++)
        due = (*k)->due && (*k)->due(&g->jobs.env, &arena, &id, &spec) && !part_find(&g->jobs, id);
    arena_release(&arena);
    return due;
}

/* Returns whether one has ended that no scan has looked at. */
static bool save_all(struct engine *g)
{
    bool fresh = false;

    for (struct part *p = g->jobs.parts; p; p = p->next) {
        part_save(p);
        fresh |= p->judging && !p->judged;
    }
    return fresh;
}

/* Whether nothing of the engine is under way any more. */
static bool is_quiet(struct engine *g)
{
    bool quiet = !g->scanning;

    for (struct part *p = g->jobs.parts; p; p = p->next) {
        if (p->job && p->state != JOB_RUNNING)
            p->saved = true; /* its end is told by the next process */
        part_stop(p);
        quiet &= !call_is_pending(&p->save) && (p->saved || !p->job);
    }
    return quiet;
}

/* Whether there is something to look at: now, or as soon as the last scan was long enough ago. */
static void scan_if_due(struct engine *g, bool fresh)
{
    uint64_t now = loop_now_ns(g->jobs.env.loop);
    bool wanted = fresh || atomic_load(&g->bell->rung) || now >= g->scan_ns;

    if (g->scanning)
        return;
    if (!wanted && now >= g->due_ns) {
        g->due_ns = now + DUE_MS * MS;
        wanted = is_due(g);
    }
    if (wanted && now >= g->scanned_ns + GAP_MS * MS)
        scan(g);
    else if (wanted)
        timer_set(g->jobs.env.loop, &g->tick, GAP_MS);
}

static void on_tick(struct timer *t)
{
    struct engine *g = CONTAINER(t, struct engine, tick);

    if (g->jobs.closing && is_quiet(g)) { /* without a timer: the engine is freed before the loop */
        loop_stop(g->jobs.env.loop);
        return;
    }
    timer_set(g->jobs.env.loop, &g->tick, TICK_MS);
    if (!g->jobs.closing)
        scan_if_due(g, save_all(g));
}

void jobs_look_soon(struct jobs *j)
{
    if (!j->closing)
        timer_set(j->env.loop, &j->engine->tick, SOON_MS);
}

/* ---- life ---- */

static void on_bell(struct post *p)
{
    struct bell *b = CONTAINER(p, struct bell, post);
    struct engine *g;

    atomic_store(&b->posted, false);
    pthread_mutex_lock(&bells_lock);
    g = b->engine;
    pthread_mutex_unlock(&bells_lock);
    if (g && !g->scanning)
        jobs_look_soon(&g->jobs);
}

/* Any thread. */
static void on_change(void *arg, struct str key, struct str value, uint64_t revision, bool removed)
{
    struct bell *b = arg;

    (void)key, (void)value, (void)revision, (void)removed;
    atomic_store(&b->rung, true);
    pthread_mutex_lock(&bells_lock);
    if (b->engine && !atomic_exchange(&b->posted, true))
        loop_post(b->engine->jobs.env.loop, &b->post);
    pthread_mutex_unlock(&bells_lock);
}

static void on_close(struct post *p)
{
    struct engine *g = CONTAINER(p, struct engine, close);

    g->jobs.closing = true;
    if (g->scanning)
        op_cancel(&g->op, ERR_CANCELLED);
    timer_set(g->jobs.env.loop, &g->tick, 0);
}

static void *run(void *arg)
{
    struct engine *g = arg;

    loop_adopt(g->jobs.env.loop);
    timer_set(g->jobs.env.loop, &g->tick, 0);
    loop_run(g->jobs.env.loop);
    return NULL;
}

enum err jobs_open(const struct job_env *env, struct jobs **out)
{
    struct bell *bell = NEW(struct bell);
    struct engine *g;
    enum err e;

    bell->post.fn = on_bell;
    pthread_mutex_lock(&bells_lock);
    bell->next = bells;
    bells = bell;
    pthread_mutex_unlock(&bells_lock);
    if ((e = meta_watch(env->meta, JOB_KEY, on_change, bell)) != ERR_OK)
        return e;
    g = NEW(struct engine);
    g->jobs.env = *env;
    g->jobs.engine = g;
    g->bell = bell;
    g->tick.fn = on_tick;
    g->close.fn = on_close;
    pthread_mutex_lock(&bells_lock);
    bell->engine = g;
    pthread_mutex_unlock(&bells_lock);
    if (pthread_create(&g->thread, NULL, run, g) != 0) {
        perror("sluice: pthread_create");
        abort();
    }
    pthread_setname_np(g->thread, "jobs");
    *out = &g->jobs;
    return ERR_OK;
}

void jobs_close(struct jobs *j)
{
    struct engine *g = j->engine;

    pthread_mutex_lock(&bells_lock);
    g->bell->engine = NULL;
    pthread_mutex_unlock(&bells_lock);
    loop_post(j->env.loop, &g->close);
    pthread_join(g->thread, NULL);
    while (j->parts)
        part_drop(j->parts);
    free(g);
}
