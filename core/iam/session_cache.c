#include "iam/session_cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"

struct kept {
    struct arena arena; /* holds the token and all of the session */
    struct str token;
    struct session session;
    _Atomic uint32_t refs;
};
struct session_cache {
    pthread_mutex_t lock;
    struct kept *slots[SESSION_CACHE_SLOTS]; /* guarded by lock */
};

struct session_cache *session_cache_new(void)
{
    struct session_cache *c = NEW(struct session_cache);

    pthread_mutex_init(&c->lock, NULL);
    return c;
}

static void unref(void *arg)
{
    struct kept *k = arg;

    if (!k || atomic_fetch_sub(&k->refs, 1) != 1)
        return;
    arena_release(&k->arena);
    free(k);
}

void session_cache_free(struct session_cache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < SESSION_CACHE_SLOTS; i++)
        unref(c->slots[i]);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* With a reference for the caller; NULL: it is not there. */
static struct kept *take(struct session_cache *c, struct kept **slot, struct str token)
{
    struct kept *k;

    pthread_mutex_lock(&c->lock);
    k = *slot && str_eq_secret((*slot)->token, token) ? *slot : NULL;
    if (k)
        atomic_fetch_add(&k->refs, 1);
    pthread_mutex_unlock(&c->lock);
    return k;
}

static void keep(struct session_cache *c, struct kept **slot, struct kept *k)
{
    struct kept *old;

    atomic_fetch_add(&k->refs, 1);
    pthread_mutex_lock(&c->lock);
    old = *slot;
    *slot = k;
    pthread_mutex_unlock(&c->lock);
    unref(old);
}

enum err session_cache_open(struct session_cache *c, struct idents *t, struct arena *a, struct str token, int64_t now_s,
                            struct session *out)
{
    struct kept **slot = &c->slots[hash_place(token, 1) % SESSION_CACHE_SLOTS], *k = take(c, slot, token);
    enum err e;

    if (!k) {
        k = NEW(struct kept);
        k->refs = 1;
        k->token = arena_str(&k->arena, token);
        if ((e = session_open(t, &k->arena, k->token, now_s, &k->session)) != ERR_OK) {
            unref(k);
            return e;
        }
        keep(c, slot, k);
    }
    arena_defer(a, unref, k);
    *out = k->session;
    return now_s < k->session.expires_s ? ERR_OK : ERR_EXPIRED_TOKEN;
}
