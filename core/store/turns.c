#include "turns.h"

static struct turn **list_of(struct turns *t, uint64_t uid, struct str key)
{
    return &t->list[hash_place(key, uid) % TURNS_LISTS];
}

/* The first claim of that key behind `at`. Under the lock. */
static struct turn *find(struct turn *at, uint64_t uid, struct str key)
{
    while (at && (at->uid != uid || !str_eq(at->key, key)))
        at = at->next;
    return at;
}

static void drop(struct turn *c)
{
    struct turn **at = list_of(c->turns, c->uid, c->key);

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->listed = c->held = false;
}

static void cancel(void *arg)
{
    struct turn *c = arg;
    bool waits;

    pthread_mutex_lock(&c->turns->lock);
    waits = c->listed && !c->held;
    if (waits)
        drop(c);
    pthread_mutex_unlock(&c->turns->lock);
    if (waits)
        call_finish(c->call, ERR_CANCELLED);
}

void turn_take(struct turns *t, struct turn *c, uint64_t uid, struct str key, struct call *call)
{
    struct turn **at = list_of(t, uid, key);
    bool first;

    *c = (struct turn){.turns = t, .uid = uid, .key = key, .call = call, .listed = true};
    pthread_mutex_lock(&t->lock);
    first = !find(*at, uid, key);
    while (*at)
        at = &(*at)->next;
    *at = c;
    c->held = first;
    pthread_mutex_unlock(&t->lock);
    if (first)
        call_finish(call, ERR_OK);
    else
        call_on_cancel(call, cancel, c);
}

void turn_end(struct turn *c)
{
    struct turn *next = NULL;
    struct call *call = NULL;

    if (!c->held)
        return;
    pthread_mutex_lock(&c->turns->lock);
    struct turn *rest = c->next;
    uint64_t uid = c->uid;
    struct str key = c->key;
    drop(c);
    next = find(rest, uid, key);
    if (next) {
        next->held = true;
        call = next->call;
    }
    pthread_mutex_unlock(&c->turns->lock);
    if (call)
        call_finish(call, ERR_OK);
}

void turn_hand_over(struct turn *from, struct turn *to, struct str key)
{
    struct turn **at = list_of(from->turns, from->uid, from->key);

    pthread_mutex_lock(&from->turns->lock);
    while (*at != from)
        at = &(*at)->next;
    *to = *from;
    to->key = key;
    *at = to;
    from->held = from->listed = false;
    pthread_mutex_unlock(&from->turns->lock);
}

bool turns_busy(struct turns *t, uint64_t uid, struct str key)
{
    pthread_mutex_lock(&t->lock);
    bool busy = find(*list_of(t, uid, key), uid, key) != NULL;
    pthread_mutex_unlock(&t->lock);
    return busy;
}

void turns_init(struct turns *t)
{
    *t = (struct turns){.list = {NULL}};
    pthread_mutex_init(&t->lock, NULL);
}

void turns_destroy(struct turns *t)
{
    pthread_mutex_destroy(&t->lock);
}
