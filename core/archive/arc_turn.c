#include "archive/arc_turn.h"

#include <pthread.h>

#include "base/hash.h"

enum { TURN_SLOTS = 256, END_SLOTS = 4096 };

struct end {
    uint64_t uid, key[2], size, end;
    int64_t mtime_ns;
    struct etag etag;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct arc_turn *turns[TURN_SLOTS]; /* guarded by lock; in order of arrival */
static struct end ends[END_SLOTS];         /* guarded by lock */

/* ---- turns ---- */

static bool is_same(const struct arc_turn *a, const struct arc_turn *b)
{
    return a->uid == b->uid && str_eq(a->key, b->key);
}

static struct arc_turn **slot_of(const struct arc_turn *t)
{
    return &turns[hash_place(t->key, t->uid) % TURN_SLOTS];
}

static void take_out(struct arc_turn *t)
{
    struct arc_turn **at = slot_of(t);

    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    t->next = NULL;
    t->state = TURN_NONE;
}

static void turn_cancel(void *arg)
{
    struct arc_turn *t = arg;

    pthread_mutex_lock(&lock);
    bool waits = t->state == TURN_WAITS;
    if (waits)
        take_out(t);
    pthread_mutex_unlock(&lock);
    if (waits)
        call_finish(t->call, ERR_CANCELLED);
}

void arc_turn_take(struct arc_turn *t, uint64_t bucket_uid, struct str key, struct call *call)
{
    struct arc_turn **at;
    unsigned before = 0;

    *t = (struct arc_turn){.uid = bucket_uid, .key = key, .call = call};
    pthread_mutex_lock(&lock);
    for (at = slot_of(t); *at; at = &(*at)->next)
        before += is_same(*at, t);
    if (before < ARC_TURNS_MAX) {
        *at = t;
        t->state = before ? TURN_WAITS : TURN_HELD;
    }
    pthread_mutex_unlock(&lock);
    if (before == 0)
        call_finish(call, ERR_OK);
    else if (before >= ARC_TURNS_MAX)
        call_finish(call, ERR_BUSY);
    else
        call_on_cancel(call, turn_cancel, t);
}

void arc_turn_drop(struct arc_turn *t)
{
    struct arc_turn *next = NULL;

    pthread_mutex_lock(&lock);
    if (t->state == TURN_HELD) {
        take_out(t);
        for (next = *slot_of(t); next && !is_same(next, t);)
            next = next->next;
        if (next)
            next->state = TURN_HELD;
    }
    struct call *call = next ? next->call : NULL;
    pthread_mutex_unlock(&lock);
    if (call)
        call_finish(call, ERR_OK);
}

/* ---- ends ---- */

static struct end end_of(uint64_t uid, struct str key, const struct object_info *info)
{
    struct end e = {.uid = uid, .size = info->size, .mtime_ns = info->mtime_ns};
    struct digest d;

    hash_of(HASH_XXH128, key, &d);
    memcpy(e.key, d.b, sizeof(e.key));
    e.etag.n = info->etag.n;
    memcpy(e.etag.text, info->etag.text, info->etag.n);
    return e;
}

static struct end *end_slot(const struct end *e)
{
    return &ends[(e->key[0] ^ e->uid) % END_SLOTS];
}

void arc_end_note(uint64_t bucket_uid, struct str key, const struct object_info *info, uint64_t end)
{
    struct end e = end_of(bucket_uid, key, info);

    e.end = end;
    pthread_mutex_lock(&lock);
    *end_slot(&e) = e;
    pthread_mutex_unlock(&lock);
}

bool arc_end_known(uint64_t bucket_uid, struct str key, const struct object_info *info, uint64_t *end)
{
    struct end e = end_of(bucket_uid, key, info);
    bool known;

    pthread_mutex_lock(&lock);
    const struct end *there = end_slot(&e);
    known = there->uid == e.uid && there->key[0] == e.key[0] && there->key[1] == e.key[1] && there->size == e.size &&
            there->mtime_ns == e.mtime_ns && str_eq(etag_str(&there->etag), etag_str(&e.etag));
    if (known)
        *end = there->end;
    pthread_mutex_unlock(&lock);
    return known;
}
