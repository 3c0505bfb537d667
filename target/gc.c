#include "target/gc.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "target/disks.h"

enum {
    PASS_EVERY_S = 3600,
    FILES_AT_ONCE = 4 << 20, /* ids held in memory: 64 MiB; more take several rounds */
    REST_EVERY = 2000,       /* entries between two short sleeps */
    REST_MS = 2,
    DEAD_AT_ONCE = 256, /* parts of vanished uploads deleted in one commit */
};

struct gc {
    struct local *local;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    _Atomic bool stop;
    bool settled; /* guarded by lock: the first pass is over */
};

static struct metric orphans = {.name = "sluice_store_orphans_removed_total",
                                .help = "Content files without a record, removed by garbage collection",
                                .kind = METRIC_COUNTER};

/* ---- a set of ids: sorted, with a mark each ---- */

struct ids {
    struct segment_id *id;
    size_t count, cap;
    uint8_t *marks;
};

static void ids_add(struct ids *s, const struct segment_id *id)
{
    if (s->count == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 1024;
        s->id = mem_realloc(s->id, s->cap * sizeof(*s->id));
    }
    s->id[s->count++] = *id;
}

static int cmp_ids(const void *a, const void *b)
{
    return segment_id_cmp(a, b);
}

static void ids_sort(struct ids *s)
{
    if (s->count)
        qsort(s->id, s->count, sizeof(*s->id), cmp_ids);
    s->marks = mem_new(s->count + 1);
}

static const struct segment_id *ids_find(const struct ids *s, const struct segment_id *id)
{
    return s->count ? bsearch(id, s->id, s->count, sizeof(*s->id), cmp_ids) : NULL;
}

static void ids_mark(struct ids *s, const struct segment_id *id)
{
    const struct segment_id *at = ids_find(s, id);

    if (at)
        s->marks[at - s->id] = 1;
}

static void ids_release(struct ids *s)
{
    free(s->id);
    free(s->marks);
    *s = (struct ids){0};
}

/* ---- a pass ---- */

struct pass {
    struct local *local;
    struct mountpath *mountpath;
    const _Atomic bool *stop;
    int64_t young_ns; /* files changed after this stay */
    unsigned rounds, round;
    struct ids files;
    struct ids uploads;
    uint64_t seen;
};

static bool pass_rests(struct pass *p)
{
    if (++p->seen % REST_EVERY == 0) {
        const struct timespec t = {0, REST_MS * 1000000L};
        nanosleep(&t, NULL);
    }
    return p->stop && atomic_load(p->stop);
}

static enum err count_file(void *arg, const struct segment_seen *seen)
{
    struct pass *p = arg;

    (void)seen;
    p->seen++;
    return p->stop && atomic_load(p->stop) ? ERR_CANCELLED : ERR_OK;
}

static enum err take_file(void *arg, const struct segment_seen *seen)
{
    struct pass *p = arg;

    if (pass_rests(p))
        return ERR_CANCELLED;
    if (seen->id.b[SEGMENT_ID_LEN - 1] % p->rounds == p->round && seen->mtime_ns <= p->young_ns)
        ids_add(&p->files, &seen->id);
    return ERR_OK;
}

/* Those that have a name but no record yet. After the files were listed, before the snapshot is taken. */
static void mark_inflight(struct pass *p)
{
    struct mountpath *m = p->mountpath;

    pthread_mutex_lock(&m->inflight_lock);
    for (const struct inflight *f = m->inflight; f; f = f->next)
        ids_mark(&p->files, &f->id);
    pthread_mutex_unlock(&m->inflight_lock);
}

static enum err mark_object(struct pass *p, struct str key, struct str value)
{
    struct record r;
    enum err e = record_decode(value, &r);

    (void)key;
    if (e != ERR_OK)
        return e; /* what it refers to is not known: nothing may go */
    if (r.kind == BODY_SEGMENT)
        ids_mark(&p->files, &r.body);
    if (r.has_desc)
        ids_mark(&p->files, &r.desc);
    return ERR_OK;
}

static enum err mark_manifest(struct pass *p, struct str key, struct str value)
{
    struct manifest m;
    enum err e = manifest_decode(value, &m);

    (void)key;
    for (uint32_t i = 0; e == ERR_OK && i < m.count; i++) {
        struct manifest_part part;
        manifest_part(&m, i, &part);
        ids_mark(&p->files, &part.segment);
    }
    return e;
}

static enum err mark_part(struct pass *p, struct str key, struct str value)
{
    struct part_record r;
    enum err e = part_record_decode(value, &r);

    (void)key;
    if (e == ERR_OK)
        ids_mark(&p->files, &r.segment);
    return e;
}

static enum err scan_type(struct pass *p, const struct kv_snapshot *snapshot, enum index_type type,
                          enum err (*fn)(struct pass *, struct str key, struct str value))
{
    const char begin = (char)type, end = (char)(type + 1);
    struct kv_iter *it = kv_iter_open(
        p->mountpath->kv, &(struct kv_iter_options){.end = str_n(&end, 1), .snapshot = snapshot, .once = true});
    enum err e = ERR_OK;

    for (kv_iter_seek(it, str_n(&begin, 1)); kv_iter_valid(it) && e == ERR_OK; kv_iter_next(it))
        e = pass_rests(p) ? ERR_CANCELLED : fn(p, kv_iter_key(it), kv_iter_value(it));
    if (e == ERR_OK)
        e = kv_iter_err(it);
    kv_iter_close(it);
    return e;
}

static enum err mark_referenced(struct pass *p)
{
    struct kv_snapshot *s = kv_snapshot_open(p->mountpath->kv);
    enum err e;

    if ((e = scan_type(p, s, INDEX_OBJECT, mark_object)) == ERR_OK &&
        (e = scan_type(p, s, INDEX_MANIFEST, mark_manifest)) == ERR_OK)
        e = scan_type(p, s, INDEX_PART, mark_part);
    kv_snapshot_close(p->mountpath->kv, s);
    return e;
}

static enum err sweep(struct pass *p, uint64_t *removed)
{
    for (size_t i = 0; i < p->files.count; i++) {
        char hex[SEGMENT_ID_HEX];
        if (p->files.marks[i])
            continue;
        if (pass_rests(p))
            return ERR_CANCELLED;
        segment_id_hex(&p->files.id[i], hex);
        if (extent_cache_unlink(p->local->extents, p->mountpath->segments, &p->files.id[i]) != ERR_OK)
            continue;
        log_info(STR_NONE, "orphan removed", "mountpath=%s segment=%.*s", log_quote(p->mountpath->dir), SEGMENT_ID_HEX,
                 hex);
        metric_add(&orphans, 1);
        ++*removed;
    }
    return ERR_OK;
}

static enum err sweep_segments(struct pass *p, uint64_t *removed)
{
    enum err e = segment_each(p->mountpath->segments, count_file, p);

    p->rounds = (unsigned)(p->seen / FILES_AT_ONCE) + 1;
    for (p->round = 0; p->round < p->rounds && e == ERR_OK; p->round++) {
        if ((e = segment_each(p->mountpath->segments, take_file, p)) == ERR_OK && p->files.count) {
            ids_sort(&p->files);
            mark_inflight(p);
            /* records may be in the index's log that no snapshot shows: the next start decides */
            if (committer_is_broken(p->mountpath->committer))
                e = ERR_CANCELLED;
            else if ((e = mark_referenced(p)) == ERR_OK)
                e = sweep(p, removed);
        }
        ids_release(&p->files);
    }
    return e;
}

/* ---- parts whose upload is gone: a crash in the middle of an abort ---- */

static enum err take_upload(struct pass *p, struct str key, struct str value)
{
    struct segment_id id;

    (void)value;
    if (key.n > SEGMENT_ID_LEN) {
        memcpy(id.b, key.p + key.n - SEGMENT_ID_LEN, SEGMENT_ID_LEN);
        ids_add(&p->uploads, &id);
    }
    return ERR_OK;
}

struct dead_parts {
    struct commit commit;
    struct call call;
    struct arena arena;
    struct str keys[DEAD_AT_ONCE];
    size_t count;
    bool done;
};

/* Nobody adds parts to an upload that is gone, so what was dead in the snapshot still is. */
static enum err drop_parts(struct commit *m, struct txn *t)
{
    struct dead_parts *d = CONTAINER(m, struct dead_parts, commit);

    for (size_t i = 0; i < d->count; i++) {
        struct part_record r;
        struct str raw;
        if (txn_get(t, d->keys[i], &raw) != ERR_OK || part_record_decode(raw, &r) != ERR_OK)
            continue;
        if (!segment_id_is_zero(&r.segment))
            txn_unlink(t, &r.segment);
        txn_delete(t, d->keys[i]);
    }
    return ERR_OK;
}

static void parts_dropped(struct call *c)
{
    CONTAINER(c, struct dead_parts, call)->done = true;
}

/* This thread has no loop of its own to wait on: a small one serves for the commit. */
static enum err drop_now(struct pass *p, struct dead_parts *d)
{
    struct loop *loop = loop_new();
    enum err e;

    loop_adopt(loop);
    d->done = false;
    call_begin(&d->call, loop, parts_dropped);
    commit_submit(p->mountpath->committer, &d->commit, drop_parts, &d->call);
    while (!d->done)
        loop_turn(loop, 1000);
    e = d->call.err;
    loop_free(loop);
    arena_release(&d->arena);
    d->count = 0;
    return e;
}

static enum err sweep_parts(struct pass *p)
{
    static const char begin = INDEX_PART, end = INDEX_PART + 1;
    struct kv *kv = p->mountpath->kv;
    struct kv_snapshot *s = kv_snapshot_open(kv);
    struct kv_iter_options o = {.end = str_n(&end, 1), .snapshot = s, .once = true};
    struct dead_parts *d = NEW(struct dead_parts);
    struct kv_iter *it = kv_iter_open(kv, &o);
    enum err e = scan_type(p, s, INDEX_UPLOAD, take_upload);

    ids_sort(&p->uploads);
    for (kv_iter_seek(it, str_n(&begin, 1)); kv_iter_valid(it) && e == ERR_OK; kv_iter_next(it)) {
        struct str key = kv_iter_key(it);
        struct segment_id upload = {0};
        if (key.n == 1 + SEGMENT_ID_LEN + 4)
            memcpy(upload.b, key.p + 1, SEGMENT_ID_LEN);
        if (pass_rests(p))
            e = ERR_CANCELLED;
        else if (!ids_find(&p->uploads, &upload))
            d->keys[d->count++] = arena_str(&d->arena, key);
        if (d->count == DEAD_AT_ONCE)
            e = drop_now(p, d);
    }
    if (e == ERR_OK)
        e = kv_iter_err(it);
    kv_iter_close(it);
    kv_snapshot_close(kv, s);
    if (e == ERR_OK && d->count)
        e = drop_now(p, d);
    arena_release(&d->arena);
    free(d);
    ids_release(&p->uploads);
    return e;
}

enum err gc_pass(struct local *l, struct mountpath *m, uint32_t grace_s, const _Atomic bool *stop, uint64_t *removed)
{
    struct pass p = {.local = l, .mountpath = m, .stop = stop};
    uint64_t n = 0;
    enum err e;

    p.young_ns = grace_s ? clock_wall_ns() - (int64_t)grace_s * NS_PER_S : INT64_MAX;
    e = sweep_parts(&p);
    p.seen = 0;
    if (e == ERR_OK)
        e = sweep_segments(&p, &n);
    if (removed)
        *removed = n;
    if (n)
        log_info(STR_NONE, "orphans removed", "mountpath=%s segments=%llu", log_quote(m->dir), (unsigned long long)n);
    if (e != ERR_OK && e != ERR_CANCELLED)
        log_error(STR_NONE, "garbage collection stopped", "mountpath=%s error=%s", log_quote(m->dir), err_name(e));
    return e;
}

/* ---- the thread ---- */

static void pass_all(struct gc *g, uint32_t grace_s)
{
    struct disk_use *u = disks_hold(g->local->disks);

    for (size_t i = 0; i < u->set->count && !atomic_load(&g->stop); i++)
        if (u->set->disks[i].mountpath &&
            gc_pass(g->local, u->set->disks[i].mountpath, grace_s, &g->stop, NULL) != ERR_OK)
            continue; /* logged; the next pass tries again */
    disks_let_go(g->local->disks, u);
}

static void *gc_main(void *arg)
{
    struct gc *g = arg;
    struct timespec until;
    uint32_t grace_s = 0; /* at start-up nothing is young: whoever was writing is gone */

    pthread_mutex_lock(&g->lock);
    while (!atomic_load(&g->stop)) {
        pthread_mutex_unlock(&g->lock);
        pass_all(g, grace_s);
        grace_s = g->local->conf.orphan_grace_s;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += PASS_EVERY_S;
        pthread_mutex_lock(&g->lock);
        g->settled = true;
        pthread_cond_broadcast(&g->wake);
        int timed_out = 0;
        while (!atomic_load(&g->stop) && !timed_out)
            timed_out = pthread_cond_timedwait(&g->wake, &g->lock, &until);
    }
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

void gc_settle(struct gc *g)
{
    pthread_mutex_lock(&g->lock);
    while (!g->settled)
        pthread_cond_wait(&g->wake, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void register_metrics(void)
{
    metric_register(&orphans);
}

struct gc *gc_start(struct local *l)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct gc *g = NEW(struct gc);
    sigset_t all, old;

    pthread_once(&once, register_metrics);
    g->local = l;
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->wake, NULL);
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if (pthread_create(&g->thread, NULL, gc_main, g) != 0) {
        perror("sluice: pthread_create");
        abort();
    }
    pthread_setname_np(g->thread, "gc");
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return g;
}

void gc_stop(struct gc *g)
{
    if (!g)
        return;
    pthread_mutex_lock(&g->lock);
    atomic_store(&g->stop, true);
    pthread_cond_broadcast(&g->wake);
    pthread_mutex_unlock(&g->lock);
    pthread_join(g->thread, NULL);
    pthread_mutex_destroy(&g->lock);
    pthread_cond_destroy(&g->wake);
    free(g);
}
