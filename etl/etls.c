#include "etls.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "etl/etls_own.h"
#include "etl/lane_own.h"

/* The engine: a tick on its loop has sidecars tell what has changed; a scan of the records, at once after one has changed and now and then
 * anyway, starts and stops them. */
enum {
    TICK_MS = 200,
    SOON_MS = 2,
    SCAN_MS = 10000, /* at the latest */
    AGAIN_MS = 1000, /* after one that failed */
    SLOW_THREADS = 16,
    SLOW_QUEUE = 8 * ETL_RUNNING_MAX,
};
#define MS UINT64_C(1000000)

/* Outlives the engine: a watch can't be taken back. */
struct etl_bell {
    struct etl_bell *next;
    struct etls *engine; /* guarded by bells_lock; NULL when it is closed */
    atomic_bool rung;
    atomic_bool posted; /* `post` is on its way */
    struct post post;
};
static pthread_mutex_t bells_lock = PTHREAD_MUTEX_INITIALIZER;
static struct etl_bell *bells; /* guarded by bells_lock; so that none is ever lost */

/* ---- the table ---- */

/* With the lock, or on the engine's loop. */
static struct sidecar *find(struct etls *e, struct str name)
{
    for (struct sidecar *s = e->locked.sidecars; s; s = s->next)
        if (str_eq(s->name, name))
            return s;
    return NULL;
}

struct sidecar *etls_find(struct etls *e, struct str name)
{
    struct sidecar *s;

    pthread_mutex_lock(&e->lock);
    s = find(e, name);
    if (s)
        s->locked.refs++;
    pthread_mutex_unlock(&e->lock);
    return s;
}

struct etl_instance *etls_hold(struct etls *e, struct str id)
{
    struct etl_instance *found = NULL;

    pthread_mutex_lock(&e->lock);
    for (struct sidecar *s = e->locked.sidecars; s && !found; s = s->next) {
        if (s->locked.state != SIDECAR_READY || !s->locked.instance || !str_eq(str_z(s->locked.id), id))
            continue;
        found = s->locked.instance;
        s->locked.holders++;
    }
    pthread_mutex_unlock(&e->lock);
    return found;
}

void etls_drop(struct etls *e, struct etl_instance *instance)
{
    pthread_mutex_lock(&e->lock);
    for (struct sidecar *s = e->locked.sidecars; s; s = s->next) {
        if (s->locked.held == instance) {
            s->locked.holders--;
            break;
        }
    }
    pthread_mutex_unlock(&e->lock);
}

void etls_gone(struct etls *e, struct sidecar *s)
{
    struct sidecar **at = &e->locked.sidecars;

    pthread_mutex_lock(&e->lock);
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    e->locked.count -= !s->refused;
    pthread_mutex_unlock(&e->lock);
    sidecar_unref(s);
    atomic_store(&e->bell->rung, true); /* another of its name may wait for that */
    etls_look_soon(e);
}

void etls_forget(struct etls *e, struct str id, bool cut)
{
    pthread_mutex_lock(&e->lock);
    for (struct etl_lane *l = e->locked.lanes; l; l = l->next)
        lane_forget(l, id, cut);
    pthread_mutex_unlock(&e->lock);
}

/* ---- the scan ---- */

static step_fn scan_list, scan_listed, scan_left, scan_left_listed, scan_left_next, scan_end;

static enum step_next scan_list(struct op *op)
{
    struct etls *e = OP(op, struct etls);

    arena_release(&e->arena);
    e->list_req = (struct meta_list_req){
        .arena = &e->arena, .prefix = ETL_KEY, .after = str_n(e->after, e->after_n), .max = META_LIST_MAX};
    meta_list(e->conf.meta, &e->list_req, &e->list, op_call(op, scan_listed));
    return STEP_WAIT;
}

static void set_after(struct etls *e)
{
    struct str last = e->list.entries[e->list.count - 1].key;

    e->after_n = last.n < sizeof(e->after) ? last.n : 0;
    memcpy(e->after, last.p, e->after_n);
}

/* A record that is new, or was not there as it is now. */
static void take_new(struct etls *e, const struct meta_entry *entry, struct sidecar *s)
{
    struct etl_record r;
    struct arena arena = ARENA_INIT;
    enum err err = etl_record_read(&arena, entry->value, &r);
    bool wanted = err == ERR_OK && etl_stage_now(&r, etl_now_ms()) != ETL_ABORTED;

    if (err != ERR_OK)
        log_error(STR_NONE, "the record of an etl can't be read", "key=%s error=%s", log_quote(entry->key),
                  err_name(err));
    if (s && wanted && str_eq(s->record.id, r.id)) {
        s->listed = true;
        s->revision = entry->revision;
        s->running = r.stage == ETL_RUNNING;
    } else if (!s && wanted && str_eq(r.spec.name, str_skip(entry->key, ETL_KEY.n))) {
        s = sidecar_start(e, entry->value, e->locked.count >= ETL_RUNNING_MAX);
        s->listed = true;
        s->revision = entry->revision;
        s->running = r.stage == ETL_RUNNING;
    }
    arena_release(&arena);
}

static void take(struct etls *e, const struct meta_entry *entry)
{
    struct sidecar *s = find(e, str_skip(entry->key, ETL_KEY.n));

    /* one that is being made is looked at each time: it may take too long */
    if (s && s->revision == entry->revision && s->running)
        s->listed = true;
    else
        take_new(e, entry, s);
}

static void stop_unlisted(struct etls *e)
{
    for (struct sidecar *s = e->locked.sidecars, *next; s; s = next) {
        next = s->next;
        if (!s->listed)
            sidecar_stop(s);
    }
}

static enum step_next scan_listed(struct op *op)
{
    struct etls *e = OP(op, struct etls);

    if (e->closing)
        return op_fail(op, ERR_CANCELLED);
    for (uint32_t i = 0; i < e->list.count; i++)
        take(e, &e->list.entries[i]);
    if (e->list.truncated && e->list.count) {
        set_after(e);
        return op_go(op, scan_list);
    }
    stop_unlisted(e);
    if (e->settled)
        return op_go(op, scan_end);
    e->after_n = 0;
    return op_go(op, scan_left);
}

/* ---- once: what an earlier process of this node has told, and nobody tells any more ---- */

static enum step_next scan_left(struct op *op)
{
    struct etls *e = OP(op, struct etls);

    arena_release(&e->arena);
    e->list_req = (struct meta_list_req){
        .arena = &e->arena, .prefix = ETL_AT_KEY, .after = str_n(e->after, e->after_n), .max = META_LIST_MAX};
    meta_list(e->conf.meta, &e->list_req, &e->list, op_call(op, scan_left_listed));
    return STEP_WAIT;
}

static enum step_next scan_left_listed(struct op *op)
{
    OP(op, struct etls)->pos = 0;
    return op_go(op, scan_left_next);
}

static enum step_next scan_left_next(struct op *op)
{
    struct etls *e = OP(op, struct etls);

    while (e->pos < e->list.count) {
        struct str key = e->list.entries[e->pos++].key, name, node;
        if (!etl_at_key_split(key, &name, &node) || !str_eq(node, str_z(e->self)) || find(e, name))
            continue;
        e->put_req = (struct meta_put_req){.key = key, .revision = META_ANY, .remove = true};
        meta_put(e->conf.meta, &e->put_req, &e->put, op_call(op, scan_left_next));
        return STEP_WAIT;
    }
    if (e->list.truncated && e->list.count) {
        set_after(e);
        return op_go(op, scan_left);
    }
    e->settled = true;
    return op_go(op, scan_end);
}

static enum step_next scan_end(struct op *op)
{
    struct etls *e = OP(op, struct etls);

    if (op->err != ERR_OK) {
        e->scan_ns = loop_now_ns(e->loop) + AGAIN_MS * MS;
        log_debug(STR_NONE, "etls can't be read", "error=%s", err_name(op->err));
    }
    arena_release(&e->arena);
    e->scanning = false;
    if (atomic_load(&e->bell->rung))
        etls_look_soon(e);
    return STEP_DONE;
}

static void scan(struct etls *e)
{
    e->scanning = true;
    e->scan_ns = loop_now_ns(e->loop) + SCAN_MS * MS;
    e->after_n = 0;
    for (struct sidecar *s = e->locked.sidecars; s; s = s->next)
        s->listed = false;
    atomic_store(&e->bell->rung, false);
    op_start(&e->op, e->loop, "etls", scan_list, scan_end);
}

/* ---- ticks ---- */

static bool is_quiet(struct etls *e)
{
    bool removing;

    pthread_mutex_lock(&e->lock);
    removing = e->locked.removals > 0;
    pthread_mutex_unlock(&e->lock);
    return !e->scanning && !e->locked.sidecars && !removing;
}

static void on_tick(struct timer *t)
{
    struct etls *e = CONTAINER(t, struct etls, tick);

    if (e->closing && is_quiet(e)) { /* without a timer: the engine is freed before the loop */
        loop_stop(e->loop);
        return;
    }
    timer_set(e->loop, &e->tick, TICK_MS);
    if (e->closing)
        return;
    for (struct sidecar *s = e->locked.sidecars; s; s = s->next)
        sidecar_save(s, false);
    if (!e->scanning && (atomic_load(&e->bell->rung) || loop_now_ns(e->loop) >= e->scan_ns))
        scan(e);
}

void etls_look_soon(struct etls *e)
{
    timer_set(e->loop, &e->tick, SOON_MS);
}

/* ---- files that were handed to sidecars ---- */

struct removal {
    struct etls *engine;
    struct post post;
    struct call call;
    struct offload_task task;
    char path[];
};

static enum err run_removal(struct offload_task *task)
{
    struct removal *r = CONTAINER(task, struct removal, task);

    if (unlink(r->path) != 0 && errno != ENOENT) /* its sidecar may be gone, and all its files */
        log_warn(STR_NONE, "a file of an etl can't be removed", "errno=%d", errno);
    return ERR_OK;
}

static void removal_done(struct call *call)
{
    struct removal *r = CONTAINER(call, struct removal, call);
    struct etls *e = r->engine;

    if (call->err != ERR_OK) /* the pool is busy: it is one short call */
        run_removal(&r->task);
    pthread_mutex_lock(&e->lock);
    e->locked.removals--;
    pthread_mutex_unlock(&e->lock);
    free(r);
}

static void removal_begin(struct post *p)
{
    struct removal *r = CONTAINER(p, struct removal, post);

    call_begin(&r->call, r->engine->loop, removal_done);
    offload_run(r->engine->conf.io, &r->task, run_removal, &r->call);
}

void etls_remove_file(struct etls *e, const char *path)
{
    size_t n = strlen(path) + 1;
    struct removal *r = mem_new(sizeof(*r) + n);

    r->engine = e;
    r->post.fn = removal_begin;
    memcpy(r->path, path, n);
    pthread_mutex_lock(&e->lock);
    e->locked.removals++;
    pthread_mutex_unlock(&e->lock);
    loop_post(e->loop, &r->post);
}

/* ---- logs ---- */

/* What an incarnation that is gone wrote last. With the lock. */
static void add_tail(const struct sidecar *s, struct buf *out)
{
    buf_add(out, s->locked.tail, s->locked.tail_n);
}

enum err etls_logs(struct etls *e, struct str name, struct buf *out)
{
    struct etl_instance *instance = NULL;
    struct sidecar *s;

    pthread_mutex_lock(&e->lock);
    if ((s = find(e, name)) != NULL) {
        if ((instance = s->locked.instance) != NULL)
            s->locked.holders++;
        else
            add_tail(s, out);
    }
    pthread_mutex_unlock(&e->lock);
    if (!s)
        return ERR_NO_SUCH_ETL;
    if (instance) {
        instance->runtime->ops->logs(instance, out);
        etls_drop(e, instance);
    }
    return ERR_OK;
}

/* ---- life ---- */

static void on_bell(struct post *p)
{
    struct etl_bell *b = CONTAINER(p, struct etl_bell, post);
    struct etls *e;

    atomic_store(&b->posted, false);
    pthread_mutex_lock(&bells_lock);
    e = b->engine;
    pthread_mutex_unlock(&bells_lock);
    if (e && !e->closing && !e->scanning)
        etls_look_soon(e);
}

/* Any thread. */
static void on_change(void *arg, struct str key, struct str value, uint64_t revision, bool removed)
{
    struct etl_bell *b = arg;

    (void)key, (void)value, (void)revision, (void)removed;
    atomic_store(&b->rung, true);
    pthread_mutex_lock(&bells_lock);
    if (b->engine && !atomic_exchange(&b->posted, true))
        loop_post(b->engine->loop, &b->post);
    pthread_mutex_unlock(&bells_lock);
}

static void on_close(struct post *p)
{
    struct etls *e = CONTAINER(p, struct etls, close);

    e->closing = true;
    if (e->conf.runtime && e->conf.runtime->ops->quit)
        e->conf.runtime->ops->quit(e->conf.runtime);
    if (e->scanning)
        op_cancel(&e->op, ERR_CANCELLED);
    for (struct sidecar *s = e->locked.sidecars, *next; s; s = next) {
        next = s->next;
        sidecar_stop(s);
    }
    timer_set(e->loop, &e->tick, 0);
}

static void *run(void *arg)
{
    struct etls *e = arg;

    loop_adopt(e->loop);
    e->objects =
        etl_objects_new(&(struct etl_objects_conf){.loop = e->loop, .all = e->conf.all, .buckets = e->conf.buckets});
    timer_set(e->loop, &e->tick, 0);
    loop_run(e->loop);
    etl_objects_free(e->objects);
    return NULL;
}

static struct etl_bell *bell_new(void)
{
    struct etl_bell *b = NEW(struct etl_bell);

    b->post.fn = on_bell;
    pthread_mutex_lock(&bells_lock);
    b->next = bells;
    bells = b;
    pthread_mutex_unlock(&bells_lock);
    return b;
}

static void begin(struct etls *e)
{
    pthread_mutex_lock(&bells_lock);
    e->bell->engine = e;
    pthread_mutex_unlock(&bells_lock);
    if (pthread_create(&e->thread, NULL, run, e) != 0) {
        perror("sluice: pthread_create");
        abort();
    }
    pthread_setname_np(e->thread, "etl");
}

enum err etls_open(const struct etls_conf *conf, struct etls **out, char why[ETL_WHY_MAX])
{
    struct etl_bell *bell;
    struct etls *e;
    enum err err;

    if (conf->self.n == 0 || conf->self.n >= ETL_NODE_MAX) {
        snprintf(why, ETL_WHY_MAX, "the name of this node is too long");
        return ERR_INVALID_ARGUMENT;
    }
    bell = bell_new();
    if ((err = meta_watch(conf->meta, ETL_KEY, on_change, bell)) != ERR_OK) {
        snprintf(why, ETL_WHY_MAX, "cannot follow the ETLs of the cluster (%s)", err_name(err));
        return err;
    }
    e = NEW(struct etls);
    e->conf = *conf;
    memcpy(e->self, conf->self.p, conf->self.n);
    e->loop = conf->loop;
    e->slow = offload_new("etl", SLOW_THREADS, SLOW_QUEUE);
    pthread_mutex_init(&e->lock, NULL);
    e->bell = bell;
    e->tick.fn = on_tick;
    e->close.fn = on_close;
    begin(e);
    *out = e;
    return ERR_OK;
}

void etls_close(struct etls *e)
{
    pthread_mutex_lock(&bells_lock);
    e->bell->engine = NULL;
    pthread_mutex_unlock(&bells_lock);
    loop_post(e->loop, &e->close);
    pthread_join(e->thread, NULL);
    offload_free(e->slow);
    if (e->conf.runtime)
        e->conf.runtime->ops->close(e->conf.runtime);
    pthread_mutex_destroy(&e->lock);
    free(e);
}
