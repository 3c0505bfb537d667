#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/metawatch.h"

struct entry {
    struct str key, value; /* value: heap; key: behind the struct */
    uint64_t revision;
};

struct meta_memory {
    struct meta meta;
    pthread_mutex_t lock;
    struct {                    /* guarded by lock */
        struct entry **entries; /* by key */
        size_t n, cap;
        uint64_t revision;
        struct metawatch *watches;
        struct meta_lease *leases;
    } locked;
};

#define MEMORY(m) CONTAINER(m, struct meta_memory, meta)

static size_t seek(const struct meta_memory *m, struct str key)
{
    size_t low = 0, high = m->locked.n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (str_cmp(m->locked.entries[mid]->key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct entry *find(const struct meta_memory *m, struct str key)
{
    size_t at = seek(m, key);

    return at < m->locked.n && str_eq(m->locked.entries[at]->key, key) ? m->locked.entries[at] : NULL;
}

static void memory_get(struct meta *meta, const struct meta_get_req *req, struct meta_get_res *res, struct call *c)
{
    struct meta_memory *m = MEMORY(meta);
    enum err e = meta_check_key(req->key);

    pthread_mutex_lock(&m->lock);
    const struct entry *found = find(m, req->key);
    if (e == ERR_OK && found)
        *res = (struct meta_get_res){arena_str(req->arena, found->value), found->revision};
    else if (e == ERR_OK)
        e = ERR_NOT_FOUND;
    pthread_mutex_unlock(&m->lock);
    call_finish(c, e);
}

static struct entry *entry_new(struct str key)
{
    struct entry *n = mem_alloc(sizeof(*n) + key.n);

    memcpy(n + 1, key.p, key.n);
    *n = (struct entry){.key = str_n(n + 1, key.n)};
    return n;
}

static void entry_free(struct entry *n)
{
    free((void *)(uintptr_t)n->value.p);
    free(n);
}

static void insert(struct meta_memory *m, size_t at, struct entry *n)
{
    if (m->locked.n == m->locked.cap) {
        m->locked.cap = m->locked.cap ? m->locked.cap * 2 : 16;
        m->locked.entries = mem_realloc(m->locked.entries, m->locked.cap * sizeof(*m->locked.entries));
    }
    memmove(m->locked.entries + at + 1, m->locked.entries + at, (m->locked.n - at) * sizeof(*m->locked.entries));
    m->locked.entries[at] = n;
    m->locked.n++;
}

static void remove_entry(struct meta_memory *m, struct str key)
{
    size_t at = seek(m, key);
    struct entry *gone = m->locked.entries[at];

    m->locked.n--;
    memmove(m->locked.entries + at, m->locked.entries + at + 1, (m->locked.n - at) * sizeof(*m->locked.entries));
    entry_free(gone);
}

static void apply(struct meta_memory *m, const struct meta_put_req *req, struct entry *current)
{
    if (req->vacates.n)
        remove_entry(m, req->vacates);
    size_t at = seek(m, req->key);

    if (req->remove) {
        if (current)
            remove_entry(m, req->key);
        return;
    }
    if (!current)
        insert(m, at, current = entry_new(req->key));
    char *value = mem_alloc(req->value.n);
    if (req->value.n)
        memcpy(value, req->value.p, req->value.n);
    free((void *)(uintptr_t)current->value.p);
    current->value = str_n(value, req->value.n);
    current->revision = m->locked.revision;
}

static bool may_vacate(const struct meta_memory *m, const struct meta_put_req *req)
{
    const struct entry *other = req->vacates.n ? find(m, req->vacates) : NULL;

    return !req->vacates.n || (other && other->revision == req->vacates_revision);
}

static enum err put_now(struct meta_memory *m, const struct meta_put_req *req, struct meta_put_res *res)
{
    enum err e = meta_check_put(req);

    pthread_mutex_lock(&m->lock);
    struct entry *current = find(m, req->key);
    if (e == ERR_OK && req->revision != META_ANY && req->revision != (current ? current->revision : 0))
        e = ERR_CONFLICT;
    if (e == ERR_OK && req->absent.n && find(m, req->absent))
        e = ERR_CONFLICT;
    if (e == ERR_OK && !may_vacate(m, req))
        e = ERR_CONFLICT;
    if (e == ERR_OK) {
        bool told = !req->remove || current; /* removing nothing is no change */
        res->revision = ++m->locked.revision;
        apply(m, req, current);
        if (req->vacates.n)
            metawatch_tell(m->locked.watches, req->vacates, STR_NONE, res->revision, true);
        if (told)
            metawatch_tell(m->locked.watches, req->key, req->value, res->revision, req->remove);
    }
    pthread_mutex_unlock(&m->lock);
    return e;
}

static void memory_put(struct meta *meta, const struct meta_put_req *req, struct meta_put_res *res, struct call *c)
{
    call_finish(c, put_now(MEMORY(meta), req, res));
}

static void memory_list(struct meta *meta, const struct meta_list_req *req, struct meta_list_res *res, struct call *c)
{
    struct meta_memory *m = MEMORY(meta);
    uint32_t n = 0, max = req->max < META_LIST_MAX ? req->max : META_LIST_MAX;
    struct meta_entry *entries = arena_alloc(req->arena, max * sizeof(*entries));

    pthread_mutex_lock(&m->lock);
    size_t at = seek(m, str_cmp(req->prefix, req->after) > 0 ? req->prefix : req->after);
    if (at < m->locked.n && str_eq(m->locked.entries[at]->key, req->after))
        at++;
    for (; at < m->locked.n && str_starts(m->locked.entries[at]->key, req->prefix) && n < max; at++) {
        const struct entry *from = m->locked.entries[at];
        entries[n++] =
            (struct meta_entry){arena_str(req->arena, from->key), arena_str(req->arena, from->value), from->revision};
    }
    *res = (struct meta_list_res){entries, n, at < m->locked.n && str_starts(m->locked.entries[at]->key, req->prefix)};
    pthread_mutex_unlock(&m->lock);
    call_finish(c, ERR_OK);
}

static enum err memory_watch(struct meta *meta, struct str prefix, meta_watch_fn *fn, void *arg)
{
    struct meta_memory *m = MEMORY(meta);

    pthread_mutex_lock(&m->lock);
    for (size_t at = seek(m, prefix); at < m->locked.n && str_starts(m->locked.entries[at]->key, prefix); at++) {
        const struct entry *n = m->locked.entries[at];
        fn(arg, n->key, n->value, n->revision, false);
    }
    metawatch_add(&m->locked.watches, prefix, fn, arg);
    pthread_mutex_unlock(&m->lock);
    return ERR_OK;
}

/* ---- leases: a key that the end of the lease removes ---- */

struct meta_lease {
    struct meta_lease *next;
    size_t key_n;
    char key[];
};

static enum err memory_lease(struct meta *meta, const struct meta_lease_req *req, struct meta_lease **out)
{
    struct meta_memory *m = MEMORY(meta);
    struct meta_put_res res;
    enum err e = put_now(m, &(struct meta_put_req){.key = req->key, .value = req->value, .revision = META_ANY}, &res);

    if (e != ERR_OK)
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

static void memory_lease_end(struct meta *meta, struct meta_lease *l)
{
    struct meta_memory *m = MEMORY(meta);
    struct meta_put_res res;

    if (!l)
        return;
    pthread_mutex_lock(&m->lock);
    struct meta_lease **at = &m->locked.leases;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    pthread_mutex_unlock(&m->lock);
    (void)put_now(m, &(struct meta_put_req){.key = str_n(l->key, l->key_n), .revision = META_ANY, .remove = true},
                  &res); /* of a key that was put: it can't fail */
    free(l);
}

static bool memory_reachable(struct meta *meta)
{
    (void)meta;
    return true;
}

static void memory_close(struct meta *meta)
{
    struct meta_memory *m = MEMORY(meta);

    while (m->locked.leases)
        memory_lease_end(meta, m->locked.leases);
    for (size_t i = 0; i < m->locked.n; i++)
        entry_free(m->locked.entries[i]);
    free(m->locked.entries);
    metawatch_free(m->locked.watches);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

struct meta *meta_memory_new(void)
{
    static const struct meta_ops ops = {.name = "memory",
                                        .get = memory_get,
                                        .put = memory_put,
                                        .list = memory_list,
                                        .watch = memory_watch,
                                        .lease = memory_lease,
                                        .lease_end = memory_lease_end,
                                        .reachable = memory_reachable,
                                        .close = memory_close};
    struct meta_memory *m = NEW(struct meta_memory);

    m->meta.ops = &ops;
    pthread_mutex_init(&m->lock, NULL);
    return &m->meta;
}
