#include "gateway/native_counts.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

struct entry {
    struct count count; /* `after` is the heap's */
    uint64_t uid, asked_ns;
    size_t id_n;
    char *id; /* NULL: free */
    bool taken;
};

struct native_counts {
    pthread_mutex_t lock;
    struct { /* guarded by lock */
        struct entry entries[COUNTS_MAX];
    } locked;
};

struct native_counts *native_counts_new(void)
{
    struct native_counts *t = NEW(struct native_counts);

    pthread_mutex_init(&t->lock, NULL);
    return t;
}

static void drop(struct entry *e)
{
    free(e->id);
    free((void *)(uintptr_t)e->count.after.p);
    *e = (struct entry){.id = NULL};
}

void native_counts_free(struct native_counts *t)
{
    for (size_t i = 0; i < COUNTS_MAX; i++)
        drop(&t->locked.entries[i]);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static struct entry *find(struct native_counts *t, uint64_t uid, struct str id)
{
    for (size_t i = 0; i < COUNTS_MAX; i++) {
        struct entry *e = &t->locked.entries[i];
        if (e->id && e->uid == uid && str_eq(str_n(e->id, e->id_n), id))
            return e;
    }
    return NULL;
}

/* A free one, or the one that was not asked for longest; NULL when all are being worked on. Old ones go on the way. */
static struct entry *room(struct native_counts *t, uint64_t now_ns)
{
    struct entry *best = NULL;

    for (size_t i = 0; i < COUNTS_MAX; i++) {
        struct entry *e = &t->locked.entries[i];
        if (e->taken)
            continue;
        if (e->id && now_ns - e->asked_ns > COUNTS_KEPT_S * (uint64_t)NS_PER_S)
            drop(e);
        if (!best || (best->id && (!e->id || e->asked_ns < best->asked_ns)))
            best = e;
    }
    return best;
}

static struct entry *add(struct native_counts *t, uint64_t uid, struct str id, uint64_t now_ns)
{
    struct entry *e = room(t, now_ns);

    if (!e)
        return NULL;
    drop(e);
    *e = (struct entry){.count = COUNT_INIT, .uid = uid, .id_n = id.n, .id = mem_alloc(id.n + 1)};
    memcpy(e->id, id.p, id.n);
    return e;
}

bool native_counts_take(struct native_counts *t, struct arena *arena, uint64_t uid, struct str id, struct count *out)
{
    uint64_t now_ns = clock_mono_ns();
    struct entry *e;
    bool taken = false;

    if (!id.n || id.n > COUNT_ID_MAX)
        return false;
    pthread_mutex_lock(&t->lock);
    e = find(t, uid, id);
    if (!e)
        e = add(t, uid, id, now_ns);
    if (e && !e->taken) {
        e->asked_ns = now_ns;
        e->taken = !e->count.done;
        *out = e->count;
        out->after = arena_str(arena, e->count.after);
        taken = true;
    }
    pthread_mutex_unlock(&t->lock);
    return taken;
}

void native_counts_give(struct native_counts *t, uint64_t uid, struct str id, const struct count *now)
{
    struct entry *e;

    pthread_mutex_lock(&t->lock);
    if ((e = find(t, uid, id)) != NULL) {
        char *after = mem_alloc(now->after.n + 1);
        if (now->after.n)
            memcpy(after, now->after.p, now->after.n);
        free((void *)(uintptr_t)e->count.after.p);
        e->count = *now;
        e->count.after = str_n(after, now->after.n);
        e->asked_ns = clock_mono_ns();
        e->taken = false;
    }
    pthread_mutex_unlock(&t->lock);
}
