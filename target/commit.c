#include "target/commit.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

enum {
    QUEUE_MAX = 8192,
    BATCH_MAX = 512,      /* commits of a batch */
    CHANGES_MAX = 20000,  /* changes of a batch, if one commit does not bring more */
    BYTES_MAX = 16 << 20, /* the same for bytes */
    PENDING_SLOTS = 4096,
    CHANGE_SLOTS = 4096,
    SEALED_SLOTS = 64,
};

/* A change of the batch under way, by key. */
struct pending {
    struct pending *chain;  /* of its slot */
    struct pending *before; /* all of the batch, newest first */
    uint64_t hash;
    struct str key, value;
    bool deleted;
    bool caches; /* the hot cache is told */
    struct hot *hot;
};

struct sealed {
    struct sealed *next;
    uint64_t uid;
    unsigned seals; /* several may delete a bucket at a time: one that fails must not undo another's */
};

struct txn {
    struct committer *owner;
    struct kv_batch *batch;
    struct arena arena;
    struct pending *slots[PENDING_SLOTS];
    struct pending *newest;
    struct kv_value *pins; /* of values read from the index */
    size_t pin_count, pin_cap;
    struct segment_id *unlinks;
    size_t unlink_count, unlink_cap;
    uint16_t *changed; /* slots touched, once more to be counted after the write */
    size_t changed_count, changed_cap;
    size_t bytes;
};

struct committer {
    struct committer_conf conf;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct { /* guarded by lock */
        struct commit *head, **tail;
        size_t count;
        bool stop;
        bool idle; /* the thread waits for `wake` */
        struct sealed *sealed[SEALED_SLOTS];
    } locked;
    _Atomic bool broken;
    _Atomic uint64_t changes[CHANGE_SLOTS];
    struct txn txn; /* the thread's own */
};

static struct metric batches = {.name = "sluice_store_commit_seconds",
                                .help = "Time of group commits to the index, by batch",
                                .kind = METRIC_HISTOGRAM};
static struct metric commits = {.name = "sluice_store_commits_total",
                                .help = "Changes committed to the index (divide by batches for the group size)",
                                .kind = METRIC_COUNTER};
static struct metric failures = {.name = "sluice_store_commit_failures_total",
                                 .help = "Group commits that could not be written",
                                 .kind = METRIC_COUNTER};

/* ---- reading and appending ---- */

static struct pending *pending_find(struct txn *t, uint64_t hash, struct str key)
{
    struct pending *p = t->slots[hash % PENDING_SLOTS];

    while (p && (p->hash != hash || !str_eq(p->key, key)))
        p = p->chain;
    return p;
}

static struct pending *pending_get(struct txn *t, struct str key)
{
    uint64_t hash = hash_place(key, 1);
    struct pending *p = pending_find(t, hash, key);

    if (p)
        return p;
    p = ARENA_NEW(&t->arena, struct pending);
    p->hash = hash;
    p->key = key;
    p->chain = t->slots[hash % PENDING_SLOTS];
    t->slots[hash % PENDING_SLOTS] = p;
    p->before = t->newest;
    t->newest = p;
    return p;
}

enum err txn_get(struct txn *t, struct str key, struct str *out)
{
    struct pending *p = pending_find(t, hash_place(key, 1), key);
    struct kv_value v = {0};

    if (p) {
        if (p->deleted)
            return ERR_NOT_FOUND;
        *out = p->value;
        return ERR_OK;
    }
    enum err e = kv_get(t->owner->conf.kv, key, KV_DISK, &v);
    if (e != ERR_OK)
        return e;
    if (t->pin_count == t->pin_cap) {
        t->pin_cap = t->pin_cap ? t->pin_cap * 2 : 64;
        t->pins = mem_realloc(t->pins, t->pin_cap * sizeof(*t->pins));
    }
    t->pins[t->pin_count++] = v;
    t->bytes += v.bytes.n; /* it is pinned until the batch ends */
    *out = v.bytes;
    return ERR_OK;
}

/* The index's, but for what the batch has changed. */
static enum err first_written(struct txn *t, struct str begin, struct str end, struct str *key, struct str *value)
{
    struct kv_iter *it = kv_iter_open(t->owner->conf.kv, &(struct kv_iter_options){.end = end});
    enum err e = ERR_NOT_FOUND;

    kv_iter_seek(it, begin);
    while (kv_iter_valid(it) && pending_find(t, hash_place(kv_iter_key(it), 1), kv_iter_key(it)))
        kv_iter_next(it);
    if (kv_iter_valid(it)) {
        *key = arena_str(&t->arena, kv_iter_key(it));
        *value = arena_str(&t->arena, kv_iter_value(it));
        t->bytes += key->n + value->n;
        e = ERR_OK;
    } else if (kv_iter_err(it) != ERR_OK) {
        e = kv_iter_err(it);
    }
    kv_iter_close(it);
    return e;
}

enum err txn_first(struct txn *t, struct str begin, struct str end, struct str *key, struct str *value)
{
    enum err e = first_written(t, begin, end, key, value);

    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return e;
    for (const struct pending *p = t->newest; p; p = p->before) {
        if (p->deleted || !p->value.p || str_cmp(p->key, begin) < 0 || str_cmp(p->key, end) >= 0 ||
            (e == ERR_OK && str_cmp(p->key, *key) >= 0))
            continue;
        *key = p->key;
        *value = p->value;
        e = ERR_OK;
    }
    return e;
}

void txn_put(struct txn *t, struct str key, struct str value)
{
    struct pending *p = pending_get(t, key);

    p->deleted = false;
    p->value = value;
    kv_batch_put(t->batch, key, value);
    t->bytes += key.n + value.n;
}

void txn_delete(struct txn *t, struct str key)
{
    struct pending *p = pending_get(t, key);

    p->deleted = true;
    p->value = STR_NONE;
    kv_batch_delete(t->batch, key);
    t->bytes += key.n;
}

void txn_delete_range(struct txn *t, struct str begin, struct str end)
{
    kv_batch_delete_range(t->batch, begin, end);
    t->bytes += begin.n + end.n;
}

void txn_cache(struct txn *t, struct str key, struct hot *h)
{
    struct pending *p = pending_get(t, key);

    hot_unref(p->hot);
    p->hot = h;
    p->caches = true;
}

void txn_unlink(struct txn *t, const struct segment_id *id)
{
    if (t->unlink_count == t->unlink_cap) {
        t->unlink_cap = t->unlink_cap ? t->unlink_cap * 2 : 64;
        t->unlinks = mem_realloc(t->unlinks, t->unlink_cap * sizeof(*t->unlinks));
    }
    t->unlinks[t->unlink_count++] = *id;
}

struct arena *txn_arena(struct txn *t)
{
    return &t->arena;
}

/* ---- sealed buckets ---- */

static struct sealed **sealed_find(struct committer *c, uint64_t uid)
{
    struct sealed **at = &c->locked.sealed[uid % SEALED_SLOTS];

    while (*at && (*at)->uid != uid)
        at = &(*at)->next;
    return at;
}

void txn_seal(struct txn *t, uint64_t uid)
{
    struct committer *c = t->owner;

    pthread_mutex_lock(&c->lock);
    struct sealed **at = sealed_find(c, uid);
    if (!*at) {
        *at = NEW(struct sealed);
        (*at)->uid = uid;
    }
    (*at)->seals++;
    pthread_mutex_unlock(&c->lock);
}

void committer_unseal(struct committer *c, uint64_t uid, bool all)
{
    pthread_mutex_lock(&c->lock);
    struct sealed **at = sealed_find(c, uid), *gone = *at;
    if (gone && (--gone->seals == 0 || all))
        *at = gone->next;
    else
        gone = NULL;
    pthread_mutex_unlock(&c->lock);
    free(gone);
}

void committer_seal_like(struct committer *c, struct committer *other)
{
    pthread_mutex_lock(&other->lock);
    for (size_t i = 0; i < SEALED_SLOTS; i++)
        for (const struct sealed *s = other->locked.sealed[i]; s; s = s->next) {
            struct sealed *mine = NEW(struct sealed);
            *mine = *s;
            pthread_mutex_lock(&c->lock);
            mine->next = c->locked.sealed[i];
            c->locked.sealed[i] = mine;
            pthread_mutex_unlock(&c->lock);
        }
    pthread_mutex_unlock(&other->lock);
}

enum err committer_check_bucket(struct committer *c, uint64_t uid)
{
    pthread_mutex_lock(&c->lock);
    bool sealed = *sealed_find(c, uid) != NULL;
    pthread_mutex_unlock(&c->lock);
    return sealed ? ERR_NO_SUCH_BUCKET : ERR_OK;
}

enum err txn_check_bucket(struct txn *t, uint64_t uid)
{
    return committer_check_bucket(t->owner, uid);
}

/* ---- notices of change ---- */

static uint16_t change_slot(const struct segment_id *id)
{
    return (uint16_t)(hash_place(str_n(id->b, SEGMENT_ID_LEN), 2) % CHANGE_SLOTS);
}

uint64_t committer_changes(struct committer *c, const struct segment_id *id)
{
    return atomic_load(&c->changes[change_slot(id)]);
}

uint64_t txn_changes(struct txn *t, const struct segment_id *id)
{
    return committer_changes(t->owner, id);
}

/* Counted now, for commits behind this one, and again once the change can be seen: who counted in between read too
 * early. */
void txn_changed(struct txn *t, const struct segment_id *id)
{
    uint16_t slot = change_slot(id);

    atomic_fetch_add(&t->owner->changes[slot], 1);
    if (t->changed_count == t->changed_cap) {
        t->changed_cap = t->changed_cap ? t->changed_cap * 2 : 64;
        t->changed = mem_realloc(t->changed, t->changed_cap * sizeof(*t->changed));
    }
    t->changed[t->changed_count++] = slot;
}

/* ---- a batch ---- */

/* The commits of one batch, in order, until it is full. */
static struct commit *apply_batch(struct committer *c, struct commit *list, struct commit **rest)
{
    struct txn *t = &c->txn;
    struct commit *m = list, **last = &list;
    size_t n = 0;

    while (m && n < BATCH_MAX && t->bytes < BYTES_MAX && kv_batch_count(t->batch) < CHANGES_MAX) {
        m->err = m->apply(m, t);
        last = &m->next;
        m = m->next;
        n++;
    }
    *last = NULL;
    *rest = m;
    metric_add(&commits, (int64_t)n);
    return list;
}

static enum err write_batch(struct committer *c)
{
    struct txn *t = &c->txn;
    struct pending *p;

    if (kv_batch_count(t->batch) == 0)
        return ERR_OK;
    for (p = t->newest; p; p = p->before)
        if (p->caches)
            hot_write_begin(c->conf.hot, p->key);
    enum err e = kv_write(c->conf.kv, t->batch, c->conf.sync);
    for (p = t->newest; p; p = p->before) {
        if (!p->caches)
            continue;
        if (e != ERR_OK)
            hot_unref(p->hot);
        hot_write_end(c->conf.hot, p->key, e == ERR_OK ? p->hot : NULL);
        p->caches = false;
    }
    for (size_t i = 0; i < t->changed_count; i++)
        atomic_fetch_add(&c->changes[t->changed[i]], 1);
    if (e != ERR_OK && e != ERR_NO_SPACE) {
        atomic_store(&c->broken, true);
        log_error(STR_NONE, "mountpath takes no more writes until restart", "mountpath=%s error=%s",
                  log_quote(c->conf.name), err_name(e));
    }
    if (e != ERR_OK)
        metric_add(&failures, 1);
    return e;
}

static void clear_batch(struct txn *t)
{
    for (struct pending *p = t->newest; p; p = p->before) {
        t->slots[p->hash % PENDING_SLOTS] = NULL;
        if (p->caches) /* never written */
            hot_unref(p->hot);
    }
    t->newest = NULL;
    for (size_t i = 0; i < t->pin_count; i++)
        kv_value_release(&t->pins[i]);
    t->pin_count = t->unlink_count = t->changed_count = t->bytes = 0;
    kv_batch_clear(t->batch);
    arena_release(&t->arena);
}

/* A verdict may rest on changes of the same batch: when they were not written, nobody gets one. */
static void finish_batch(struct commit *m, enum err written)
{
    while (m) {
        struct commit *next = m->next;
        enum err e = written != ERR_OK ? written : m->err;
        m->committed = e == ERR_OK;
        call_finish(m->call, e); /* the commit may be gone from here on */
        m = next;
    }
}

static void run_batches(struct committer *c, struct commit *list)
{
    struct txn *t = &c->txn;

    while (list) {
        struct commit *rest;
        uint64_t begun = clock_mono_ns();
        enum err e = ERR_IO;
        if (atomic_load(&c->broken)) {
            rest = NULL;
        } else {
            list = apply_batch(c, list, &rest);
            e = write_batch(c);
        }
        metric_time(&batches, clock_mono_ns() - begun);
        if (e == ERR_OK && t->unlink_count)
            c->conf.unlink(c->conf.arg, t->unlinks, t->unlink_count);
        clear_batch(t);
        finish_batch(list, e);
        list = rest;
    }
}

static void *committer_main(void *arg)
{
    struct committer *c = arg;

    pthread_mutex_lock(&c->lock);
    for (;;) {
        while (!c->locked.head && !c->locked.stop) {
            c->locked.idle = true;
            pthread_cond_wait(&c->wake, &c->lock);
        }
        c->locked.idle = false;
        struct commit *list = c->locked.head;
        if (!list)
            break;
        c->locked.head = NULL;
        c->locked.tail = &c->locked.head;
        c->locked.count = 0;
        pthread_mutex_unlock(&c->lock);
        run_batches(c, list);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* ---- the committer ---- */

static void register_metrics(void)
{
    metric_register(&batches);
    metric_register(&commits);
    metric_register(&failures);
}

struct committer *committer_new(const struct committer_conf *conf)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct committer *c = NEW(struct committer);
    sigset_t all, old;

    pthread_once(&once, register_metrics);
    c->conf = *conf;
    c->locked.tail = &c->locked.head;
    c->txn.owner = c;
    c->txn.batch = kv_batch_new();
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if (pthread_create(&c->thread, NULL, committer_main, c) != 0) {
        perror("sluice: pthread_create");
        abort();
    }
    pthread_setname_np(c->thread, "commit");
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return c;
}

void committer_free(struct committer *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->locked.stop = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    for (size_t i = 0; i < SEALED_SLOTS; i++) {
        while (c->locked.sealed[i]) {
            struct sealed *s = c->locked.sealed[i];
            c->locked.sealed[i] = s->next;
            free(s);
        }
    }
    kv_batch_free(c->txn.batch);
    free(c->txn.pins);
    free(c->txn.unlinks);
    free(c->txn.changed);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->wake);
    free(c);
}

void commit_submit(struct committer *c, struct commit *m, enum err (*apply)(struct commit *, struct txn *),
                   struct call *call)
{
    bool full, wake;

    *m = (struct commit){.apply = apply, .call = call};
    pthread_mutex_lock(&c->lock);
    full = c->locked.count >= QUEUE_MAX;
    wake = !full && c->locked.idle;
    if (!full) {
        *c->locked.tail = m;
        c->locked.tail = &m->next;
        c->locked.count++;
        c->locked.idle = false;
    }
    pthread_mutex_unlock(&c->lock);
    if (wake)
        pthread_cond_signal(&c->wake);
    if (full)
        call_finish(call, ERR_BUSY);
}

bool committer_is_broken(const struct committer *c)
{
    return atomic_load(&c->broken);
}
