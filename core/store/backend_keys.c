#include "backend_own.h"

static struct backend_claim **list_of(struct backends *b, uint64_t uid, struct str key)
{
    return &b->claims[hash_place(key, uid) % BACKEND_KEY_LISTS];
}

/* The first claim of that key behind `at`. Under the lock. */
static struct backend_claim *find(struct backend_claim *at, uint64_t uid, struct str key)
{
    while (at && (at->uid != uid || !str_eq(at->key, key)))
        at = at->next;
    return at;
}

static void drop(struct backend_claim *c)
{
    struct backend_claim **at = list_of(c->backends, c->uid, c->key);

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->listed = c->held = false;
}

static void cancel(void *arg)
{
    struct backend_claim *c = arg;
    bool waits;

    pthread_mutex_lock(&c->backends->lock);
    waits = c->listed && !c->held;
    if (waits)
        drop(c);
    pthread_mutex_unlock(&c->backends->lock);
    if (waits)
        call_finish(c->call, ERR_CANCELLED);
}

void backend_claim(struct backends *b, struct backend_claim *c, uint64_t uid, struct str key, struct call *call)
{
    struct backend_claim **at = list_of(b, uid, key);
    bool first;

    *c = (struct backend_claim){.backends = b, .uid = uid, .key = key, .call = call, .listed = true};
    pthread_mutex_lock(&b->lock);
    first = !find(*at, uid, key);
    while (*at)
        at = &(*at)->next;
    *at = c;
    c->held = first;
    pthread_mutex_unlock(&b->lock);
    if (first)
        call_finish(call, ERR_OK);
    else
        call_on_cancel(call, cancel, c);
}

void backend_release(struct backend_claim *c)
{
    struct backend_claim *next = NULL;
    struct call *call = NULL;

    if (!c->held)
        return;
    pthread_mutex_lock(&c->backends->lock);
    struct backend_claim *rest = c->next;
    uint64_t uid = c->uid;
    struct str key = c->key;
    drop(c);
    next = find(rest, uid, key);
    if (next) {
        next->held = true;
        call = next->call;
    }
    pthread_mutex_unlock(&c->backends->lock);
    if (call)
        call_finish(call, ERR_OK);
}

void backend_hand_over(struct backend_claim *from, struct backend_claim *to, struct str key)
{
    struct backend_claim **at = list_of(from->backends, from->uid, from->key);

    pthread_mutex_lock(&from->backends->lock);
    while (*at != from)
        at = &(*at)->next;
    *to = *from;
    to->key = key;
    *at = to;
    from->held = from->listed = false;
    pthread_mutex_unlock(&from->backends->lock);
}

bool backends_busy(struct backends *b, uint64_t uid, struct str key)
{
    pthread_mutex_lock(&b->lock);
    bool busy = find(*list_of(b, uid, key), uid, key) != NULL;
    pthread_mutex_unlock(&b->lock);
    return busy;
}

struct backends *backends_new(struct buckets *buckets, struct offload *io, struct offload *cpu)
{
    struct backends *b = NEW(struct backends);

    b->buckets = buckets;
    b->io = io;
    b->cpu = cpu;
    pthread_mutex_init(&b->lock, NULL);
    return b;
}

void backends_free(struct backends *b)
{
    if (!b)
        return;
    tls_client_free(b->tls);
    pthread_mutex_destroy(&b->lock);
    free(b);
}
