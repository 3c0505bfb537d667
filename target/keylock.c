#include "keylock.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"

enum { STRIPES = 256 };

struct keylock_entry {
    struct keylock_entry *next;
    uint64_t hash;
    unsigned sharers, waiters;
    bool exclusive;
    struct keylock *first, **last; /* waiters in order */
};

struct keylocks {
    struct stripe {
        pthread_mutex_t lock;
        struct keylock_entry *entries; /* guarded by lock, with all that hangs on them */
    } stripes[STRIPES];
};

struct keylocks *keylocks_new(void)
{
    struct keylocks *k = NEW(struct keylocks);

    for (int i = 0; i < STRIPES; i++)
        pthread_mutex_init(&k->stripes[i].lock, NULL);
    return k;
}

void keylocks_free(struct keylocks *k)
{
    for (int i = 0; i < STRIPES; i++) {
        assert(!k->stripes[i].entries);
        pthread_mutex_destroy(&k->stripes[i].lock);
    }
    free(k);
}

static struct stripe *stripe_of(struct keylocks *k, uint64_t hash)
{
    return &k->stripes[hash % STRIPES];
}

/* Finds or makes the entry. The stripe is locked. */
static struct keylock_entry *entry_of(struct stripe *s, uint64_t hash)
{
    struct keylock_entry *e = s->entries;

    while (e && e->hash != hash)
        e = e->next;
    if (!e) {
        e = NEW(struct keylock_entry);
        e->hash = hash;
        e->last = &e->first;
        e->next = s->entries;
        s->entries = e;
    }
    return e;
}

static void entry_unused(struct stripe *s, struct keylock_entry *e)
{
    struct keylock_entry **at = &s->entries;

    if (e->sharers || e->exclusive || e->first)
        return;
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    free(e);
}

static bool is_free(const struct keylock_entry *e, enum keylock_mode mode)
{
    return !e->exclusive && (mode == KEYLOCK_SHARED || e->sharers == 0);
}

static void hold(struct keylock_entry *e, struct keylock *l)
{
    if (l->mode == KEYLOCK_EXCLUSIVE)
        e->exclusive = true;
    else
        e->sharers++;
    l->held = true;
}

/* Lets in whoever may come in now. The stripe is locked. */
static void serve(struct keylock_entry *e)
{
    while (e->first && is_free(e, e->first->mode)) {
        struct keylock *l = e->first;
        e->first = l->next;
        if (!e->first)
            e->last = &e->first;
        e->waiters--;
        l->waits = false;
        hold(e, l);
        call_finish(l->call, ERR_OK);
    }
}

static struct stripe *begin(struct keylocks *k, struct keylock *l, uint64_t uid, struct str key, enum keylock_mode mode)
{
    uint64_t hash = hash_place(key, uid);
    struct stripe *s = stripe_of(k, hash);

    pthread_mutex_lock(&s->lock);
    *l = (struct keylock){.locks = k, .mode = mode, .entry = entry_of(s, hash)};
    return s;
}

bool keylock_try(struct keylocks *k, struct keylock *l, uint64_t uid, struct str key, enum keylock_mode mode)
{
    struct stripe *s = begin(k, l, uid, key, mode);
    bool held = !l->entry->first && is_free(l->entry, mode);

    if (held)
        hold(l->entry, l);
    pthread_mutex_unlock(&s->lock);
    return held;
}

static void on_cancel(void *arg)
{
    struct keylock *l = arg;
    struct keylock_entry *e = l->entry;
    struct stripe *s = stripe_of(l->locks, e->hash); /* somebody waits or holds: the entry is there until our done */
    bool waited;

    pthread_mutex_lock(&s->lock);
    waited = l->waits;
    if (waited) {
        struct keylock **at = &e->first;
        while (*at != l)
            at = &(*at)->next;
        *at = l->next;
        for (e->last = &e->first; *e->last; e->last = &(*e->last)->next)
            ;
        e->waiters--;
        l->waits = false;
        serve(e);
        entry_unused(s, e);
    }
    pthread_mutex_unlock(&s->lock);
    if (waited)
        call_finish(l->call, ERR_CANCELLED);
}

void keylock_take(struct keylocks *k, struct keylock *l, uint64_t uid, struct str key, enum keylock_mode mode,
                  struct call *call)
{
    struct stripe *s = begin(k, l, uid, key, mode);
    struct keylock_entry *e = l->entry;
    bool now = !e->first && is_free(e, mode), full = e->waiters >= KEYLOCK_WAITERS_MAX;

    l->call = call;
    if (now) {
        hold(e, l);
    } else if (!full) {
        l->waits = true;
        e->waiters++;
        *e->last = l;
        e->last = &l->next;
    }
    pthread_mutex_unlock(&s->lock);
    if (now || full)
        call_finish(call, now ? ERR_OK : ERR_BUSY);
    else
        call_on_cancel(call, on_cancel, l);
}

void keylock_share(struct keylock *l)
{
    struct stripe *s = stripe_of(l->locks, l->entry->hash);

    assert(l->held && l->mode == KEYLOCK_EXCLUSIVE);
    pthread_mutex_lock(&s->lock);
    l->mode = KEYLOCK_SHARED;
    l->entry->exclusive = false;
    l->entry->sharers++;
    serve(l->entry);
    pthread_mutex_unlock(&s->lock);
}

void keylock_drop(struct keylock *l)
{
    if (!l->held)
        return;
    struct stripe *s = stripe_of(l->locks, l->entry->hash);
    pthread_mutex_lock(&s->lock);
    if (l->mode == KEYLOCK_EXCLUSIVE)
        l->entry->exclusive = false;
    else
        l->entry->sharers--;
    l->held = false;
    serve(l->entry);
    entry_unused(s, l->entry);
    pthread_mutex_unlock(&s->lock);
}
