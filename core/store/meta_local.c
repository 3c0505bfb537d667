#include <pthread.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/kv.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/metawatch.h"

/* On disk: key -> revision (8 bytes, big-endian), value. Keys of our own sort before all others. */
#define KEY_FORMAT   STR("\0format")
#define KEY_LEASES   STR("\0lease/")   /* and a key: it goes with the process that put it */
#define KEY_REVISION STR("\0revision") /* the last one given out, so that none comes back after a delete */
enum { FORMAT = 1, REVISION_LEN = 8 };

struct meta_local {
    struct meta meta;
    struct offload *pool;
    struct kv *kv;
    pthread_mutex_t lock; /* orders writes and what watchers are told */
    struct {              /* guarded by lock */
        uint64_t revision;
        struct metawatch *watches;
        struct meta_lease *leases;
    } locked;
};

#define LOCAL(m) CONTAINER(m, struct meta_local, meta)

/* ---- records ---- */

static void put_be64(char out[8], uint64_t v)
{
    for (int i = 0; i < 8; i++)
        out[i] = (char)(v >> (56 - 8 * i));
}

static uint64_t get_be64(struct str s)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v = v << 8 | (uint8_t)s.p[i];
    return v;
}

static enum err damaged(struct str key)
{
    log_error(STR_NONE, "meta record is damaged", "key=%s", log_quote(key));
    return ERR_CORRUPT;
}

static enum err split(struct str key, struct str record, struct str *value, uint64_t *revision)
{
    if (record.n < REVISION_LEN)
        return damaged(key);
    *revision = get_be64(record);
    *value = str_skip(record, REVISION_LEN);
    return ERR_OK;
}

/* A number of our own; `missing` when there is none. */
static enum err read_number(struct kv *kv, struct str key, uint64_t missing, uint64_t *out)
{
    struct kv_value v = {0};
    enum err e = kv_get(kv, key, KV_DISK, &v);

    if (e == ERR_NOT_FOUND) {
        *out = missing;
        return ERR_OK;
    }
    if (e == ERR_OK && v.bytes.n != REVISION_LEN)
        e = damaged(key);
    if (e == ERR_OK)
        *out = get_be64(v.bytes);
    kv_value_release(&v);
    return e;
}

static void batch_number(struct kv_batch *b, struct str key, uint64_t v)
{
    char raw[REVISION_LEN];

    put_be64(raw, v);
    kv_batch_put(b, key, str_n(raw, sizeof(raw)));
}

/* ---- a call on its way over the pool ---- */

/* Results wait in `found` until the caller's loop copies them: an arena belongs to its loop. */
struct trip {
    struct offload_task task;
    struct call call;
    struct call *whole;
    struct meta_local *m;
    union {
        const struct meta_get_req *get;
        const struct meta_put_req *put;
        const struct meta_list_req *list;
    } req;
    union {
        struct meta_get_res *get;
        struct meta_put_res *put;
        struct meta_list_res *list;
    } res;
    uint64_t revision;
    struct buf found;      /* get: the value; list: keys and values one behind the other */
    struct entry *entries; /* list */
    uint32_t count;
    bool truncated;
};

struct entry {
    size_t key_n, value_n;
    uint64_t revision;
};

static struct trip *trip_new(struct meta *meta, struct call *whole, size_t found_max)
{
    struct trip *t = NEW(struct trip);

    t->m = LOCAL(meta);
    t->whole = whole;
    buf_init(&t->found, found_max);
    return t;
}

static void trip_go(struct trip *t, enum err (*run)(struct offload_task *), void (*done)(struct call *))
{
    call_begin(&t->call, t->whole->loop, done);
    offload_run(t->m->pool, &t->task, run, &t->call);
}

static void trip_end(struct trip *t)
{
    call_finish(t->whole, t->call.err);
    buf_release(&t->found);
    free(t->entries);
    free(t);
}

/* ---- get ---- */

static enum err get_run(struct offload_task *task)
{
    struct trip *t = CONTAINER(task, struct trip, task);
    struct kv_value v = {0};
    struct str value;
    enum err e;

    if ((e = kv_get(t->m->kv, t->req.get->key, KV_DISK, &v)) != ERR_OK)
        return e;
    if ((e = split(t->req.get->key, v.bytes, &value, &t->revision)) == ERR_OK) {
        buf_add_str(&t->found, value);
        e = buf_err(&t->found);
    }
    kv_value_release(&v);
    return e;
}

static void get_done(struct call *c)
{
    struct trip *t = CONTAINER(c, struct trip, call);

    if (c->err == ERR_OK)
        *t->res.get = (struct meta_get_res){arena_str(t->req.get->arena, buf_str(&t->found)), t->revision};
    trip_end(t);
}

static void local_get(struct meta *meta, const struct meta_get_req *req, struct meta_get_res *res, struct call *c)
{
    enum err e = meta_check_key(req->key);

    if (e != ERR_OK) {
        call_finish(c, e);
        return;
    }
    struct trip *t = trip_new(meta, c, META_VALUE_MAX);
    t->req.get = req;
    t->res.get = res;
    trip_go(t, get_run, get_done);
}

/* ---- put ---- */

static enum err current_revision(struct meta_local *m, struct str key, uint64_t *out)
{
    struct kv_value v = {0};
    struct str value;
    enum err e = kv_get(m->kv, key, KV_DISK, &v);

    if (e == ERR_NOT_FOUND) {
        *out = 0;
        return ERR_OK;
    }
    if (e == ERR_OK)
        e = split(key, v.bytes, &value, out);
    kv_value_release(&v);
    return e;
}

/* Whether the key's mark as a lease's is written or taken away with it. */
enum mark { MARK_STAYS, MARK_SET, MARK_GOES };

static void batch_mark(struct kv_batch *b, struct str key, enum mark mark)
{
    struct buf name = BUF_INIT(META_KEY_MAX + 16);

    buf_add_str(&name, KEY_LEASES);
    buf_add_str(&name, key);
    if (mark == MARK_SET)
        kv_batch_put(b, buf_str(&name), STR(""));
    else if (mark == MARK_GOES)
        kv_batch_delete(b, buf_str(&name));
    buf_release(&name);
}

static enum err write_record(struct meta_local *m, const struct meta_put_req *req, uint64_t revision, enum mark mark)
{
    struct kv_batch *b = kv_batch_new();
    struct buf record = BUF_INIT(REVISION_LEN + META_VALUE_MAX);
    char raw[REVISION_LEN];

    if (req->remove) {
        kv_batch_delete(b, req->key);
    } else {
        put_be64(raw, revision);
        buf_add(&record, raw, sizeof(raw));
        buf_add_str(&record, req->value);
        kv_batch_put(b, req->key, buf_str(&record));
    }
    if (req->vacates.n)
        kv_batch_delete(b, req->vacates);
    batch_number(b, KEY_REVISION, revision);
    batch_mark(b, req->key, mark);
    enum err e = kv_write(m->kv, b, true);
    kv_batch_free(b);
    buf_release(&record);
    return e;
}

static enum err put_locked(struct meta_local *m, const struct meta_put_req *req, enum mark mark, uint64_t *revision)
{
    uint64_t current, other = 0, vacated = 0;
    enum err e = current_revision(m, req->key, &current);

    if (e == ERR_OK && req->absent.n)
        e = current_revision(m, req->absent, &other);
    if (e == ERR_OK && req->vacates.n)
        e = current_revision(m, req->vacates, &vacated);
    if (e != ERR_OK)
        return e;
    if (other || vacated != req->vacates_revision || (req->revision != META_ANY && req->revision != current))
        return ERR_CONFLICT;
    *revision = m->locked.revision + 1;
    if ((e = write_record(m, req, *revision, mark)) != ERR_OK)
        return e;
    m->locked.revision = *revision;
    if (req->vacates.n)
        metawatch_tell(m->locked.watches, req->vacates, STR_NONE, *revision, true);
    if (!req->remove || current) /* removing nothing is no change */
        metawatch_tell(m->locked.watches, req->key, req->value, *revision, req->remove);
    return ERR_OK;
}

static enum err put_run(struct offload_task *task)
{
    struct trip *t = CONTAINER(task, struct trip, task);

    pthread_mutex_lock(&t->m->lock);
    enum err e = put_locked(t->m, t->req.put, MARK_STAYS, &t->revision);
    pthread_mutex_unlock(&t->m->lock);
    return e;
}

static void put_done(struct call *c)
{
    struct trip *t = CONTAINER(c, struct trip, call);

    if (c->err == ERR_OK)
        t->res.put->revision = t->revision;
    trip_end(t);
}

static void local_put(struct meta *meta, const struct meta_put_req *req, struct meta_put_res *res, struct call *c)
{
    enum err e = meta_check_put(req);

    if (e != ERR_OK) {
        call_finish(c, e);
        return;
    }
    struct trip *t = trip_new(meta, c, 0);
    t->req.put = req;
    t->res.put = res;
    trip_go(t, put_run, put_done);
}

/* ---- list ---- */

enum { LIST_BYTES_MAX = 16 << 20 };

static bool is_wanted(const struct kv_iter *it, struct str prefix)
{
    return kv_iter_valid(it) && str_starts(kv_iter_key(it), prefix);
}

static enum err list_run(struct offload_task *task)
{
    struct trip *t = CONTAINER(task, struct trip, task);
    const struct meta_list_req *req = t->req.list;
    struct kv_iter *it = kv_iter_open(t->m->kv, &(struct kv_iter_options){.end = STR_NONE});
    struct str start = str_cmp(req->prefix, req->after) > 0 ? req->prefix : req->after, value;
    enum err e = ERR_OK;

    uint32_t max = req->max < META_LIST_MAX ? req->max : META_LIST_MAX;
    t->entries = mem_alloc(max * sizeof(*t->entries));
    kv_iter_seek(it, start.n ? start : STR("\1")); /* behind the keys of our own */
    if (kv_iter_valid(it) && str_eq(kv_iter_key(it), req->after))
        kv_iter_next(it);
    for (; is_wanted(it, req->prefix) && t->count < max; kv_iter_next(it)) {
        struct entry *n = &t->entries[t->count];
        struct str key = kv_iter_key(it);
        if ((e = split(key, kv_iter_value(it), &value, &n->revision)) != ERR_OK)
            break;
        if (key.n + value.n > LIST_BYTES_MAX - t->found.n)
            break;
        n->key_n = key.n;
        n->value_n = value.n;
        buf_add_str(&t->found, key);
        buf_add_str(&t->found, value);
        t->count++;
    }
    t->truncated = is_wanted(it, req->prefix);
    if (e == ERR_OK)
        e = kv_iter_err(it);
    kv_iter_close(it);
    return e;
}

static void list_done(struct call *c)
{
    struct trip *t = CONTAINER(c, struct trip, call);
    struct arena *arena = t->req.list->arena;

    if (c->err == ERR_OK) {
        struct meta_entry *entries = arena_alloc(arena, t->count * sizeof(*entries));
        struct str rest = arena_str(arena, buf_str(&t->found));
        for (uint32_t i = 0; i < t->count; i++) {
            const struct entry *n = &t->entries[i];
            entries[i] =
                (struct meta_entry){str_n(rest.p, n->key_n), str_n(rest.p + n->key_n, n->value_n), n->revision};
            rest = str_skip(rest, n->key_n + n->value_n);
        }
        *t->res.list = (struct meta_list_res){entries, t->count, t->truncated};
    }
    trip_end(t);
}

static void local_list(struct meta *meta, const struct meta_list_req *req, struct meta_list_res *res, struct call *c)
{
    struct trip *t = trip_new(meta, c, LIST_BYTES_MAX);

    t->req.list = req;
    t->res.list = res;
    trip_go(t, list_run, list_done);
}

/* ---- watch ---- */

static enum err tell_present(struct meta_local *m, struct str prefix, meta_watch_fn *fn, void *arg)
{
    struct kv_iter *it = kv_iter_open(m->kv, &(struct kv_iter_options){.end = STR_NONE});
    enum err e = ERR_OK;
    struct str value;
    uint64_t revision;

    for (kv_iter_seek(it, prefix.n ? prefix : STR("\1")); is_wanted(it, prefix) && e == ERR_OK; kv_iter_next(it)) {
        struct str key = kv_iter_key(it);
        if ((e = split(key, kv_iter_value(it), &value, &revision)) == ERR_OK)
            fn(arg, key, value, revision, false);
    }
    if (e == ERR_OK)
        e = kv_iter_err(it);
    kv_iter_close(it);
    return e;
}

static enum err local_watch(struct meta *meta, struct str prefix, meta_watch_fn *fn, void *arg)
{
    struct meta_local *m = LOCAL(meta);

    pthread_mutex_lock(&m->lock);
    enum err e = tell_present(m, prefix, fn, arg);
    if (e == ERR_OK)
        metawatch_add(&m->locked.watches, prefix, fn, arg);
    pthread_mutex_unlock(&m->lock);
    return e;
}

/* ---- leases: a key that goes with this process; its mark tells the next one what a crash left ---- */

struct meta_lease {
    struct meta_lease *next;
    size_t key_n;
    char key[];
};

static enum err put_marked(struct meta_local *m, const struct meta_put_req *req, enum mark mark)
{
    uint64_t revision;

    pthread_mutex_lock(&m->lock);
    enum err e = put_locked(m, req, mark, &revision);
    pthread_mutex_unlock(&m->lock);
    return e;
}

static enum err remove_leased(struct meta_local *m, struct str key)
{
    return put_marked(m, &(struct meta_put_req){.key = key, .revision = META_ANY, .remove = true}, MARK_GOES);
}

static enum err local_lease(struct meta *meta, const struct meta_lease_req *req, struct meta_lease **out)
{
    struct meta_put_req put = {.key = req->key, .value = req->value, .revision = META_ANY};
    struct meta_local *m = LOCAL(meta);
    enum err e = meta_check_put(&put);

    if (e != ERR_OK || (e = put_marked(m, &put, MARK_SET)) != ERR_OK)
        return e;
    struct meta_lease *l = mem_alloc(sizeof(*l) + req->key.n);
    l->key_n = req->key.n;
    memcpy(l->key, req->key.p, req->key.n);
    pthread_mutex_lock(&m->lock);
    l->next = m->locked.leases;
    m->locked.leases = l;
    pthread_mutex_unlock(&m->lock);
    *out = l;
    return ERR_OK;
}

static void local_lease_end(struct meta *meta, struct meta_lease *l)
{
    struct meta_local *m = LOCAL(meta);

    if (!l)
        return;
    pthread_mutex_lock(&m->lock);
    struct meta_lease **at = &m->locked.leases;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    pthread_mutex_unlock(&m->lock);
    enum err e = remove_leased(m, str_n(l->key, l->key_n));
    if (e != ERR_OK) /* its mark stays too: the next open removes it */
        log_warn(STR_NONE, "a lease's key could not be removed", "key=%s err=%s", log_quote(str_n(l->key, l->key_n)),
                 err_name(e));
    free(l);
}

/* What a process left that did not end its leases. */
static enum err drop_leftovers(struct meta_local *m)
{
    enum err e = ERR_OK;

    while (e == ERR_OK) {
        struct kv_iter *it = kv_iter_open(m->kv, &(struct kv_iter_options){.end = STR_NONE});
        struct buf key = BUF_INIT(META_KEY_MAX);
        kv_iter_seek(it, KEY_LEASES);
        bool found = is_wanted(it, KEY_LEASES);
        if (found)
            buf_add_str(&key, str_skip(kv_iter_key(it), KEY_LEASES.n));
        e = kv_iter_err(it);
        kv_iter_close(it);
        if (e == ERR_OK && found)
            e = key.over ? damaged(KEY_LEASES) : remove_leased(m, buf_str(&key));
        buf_release(&key);
        if (!found)
            break;
    }
    return e;
}

static bool local_reachable(struct meta *meta)
{
    (void)meta;
    return true;
}

static void local_close(struct meta *meta)
{
    struct meta_local *m = LOCAL(meta);

    while (m->locked.leases)
        local_lease_end(meta, m->locked.leases);
    kv_close(m->kv);
    metawatch_free(m->locked.watches);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* ---- open ---- */

/* Checks the format, or writes it into a new directory. */
static enum err settle_format(struct kv *kv, struct str dir)
{
    uint64_t format;
    enum err e = read_number(kv, KEY_FORMAT, 0, &format);

    if (e != ERR_OK || format == FORMAT)
        return e;
    if (format > FORMAT) {
        log_error(STR_NONE, "meta directory was written by a newer version", "dir=%s format=%llu supported=%d",
                  log_quote(dir), (unsigned long long)format, FORMAT);
        return ERR_UNAVAILABLE;
    }
    struct kv_batch *b = kv_batch_new();
    batch_number(b, KEY_FORMAT, FORMAT);
    e = kv_write(kv, b, true);
    kv_batch_free(b);
    return e;
}

enum err meta_local_open(struct str dir, struct offload *pool, struct meta **out)
{
    static const struct meta_ops ops = {.name = "local",
                                        .get = local_get,
                                        .put = local_put,
                                        .list = local_list,
                                        .watch = local_watch,
                                        .lease = local_lease,
                                        .lease_end = local_lease_end,
                                        .reachable = local_reachable,
                                        .close = local_close};
    struct meta_local *m = NEW(struct meta_local);
    char why[KV_WHY_MAX] = "";
    enum err e;

    pthread_mutex_init(&m->lock, NULL);
    m->meta.ops = &ops;
    m->pool = pool;
    e = kv_open(dir, &(struct kv_options){.create = true, .write_buffer_bytes = 4 << 20}, &m->kv, why);
    if (e != ERR_OK)
        log_error(STR_NONE, "meta directory can't be opened", "dir=%s why=%s", log_quote(dir), log_quote(str_z(why)));
    if (e == ERR_OK)
        e = settle_format(m->kv, dir);
    if (e == ERR_OK)
        e = read_number(m->kv, KEY_REVISION, 0, &m->locked.revision);
    if (e == ERR_OK)
        e = drop_leftovers(m);
    if (e != ERR_OK) {
        local_close(&m->meta);
        return e;
    }
    *out = &m->meta;
    return ERR_OK;
}
