#include "archive/arc_batches.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

enum { BUCKET_SHOWN = 64 };

struct arc_batch_run {
    struct arc_batch_run *next;
    char id[BATCH_ID_LEN], bucket[BUCKET_SHOWN];
    size_t bucket_n;
    uint64_t window;
    int64_t started_ns, ended_ns;
    _Atomic uint64_t objects, bytes;
    atomic_bool aborted;
    enum err err;
};

struct arc_batches {
    struct arc_batches_conf conf;
    pthread_mutex_t lock;
    struct {
        struct arc_batch_run *first, **tail; /* the oldest first */
        unsigned running, ended;
        uint64_t bytes;
    } locked;
};

struct arc_batches *arc_batches_new(const struct arc_batches_conf *conf)
{
    struct arc_batches *b = NEW(struct arc_batches);

    b->conf = *conf;
    pthread_mutex_init(&b->lock, NULL);
    b->locked.tail = &b->locked.first;
    return b;
}

void arc_batches_free(struct arc_batches *b)
{
    if (!b)
        return;
    while (b->locked.first) {
        struct arc_batch_run *r = b->locked.first;
        b->locked.first = r->next;
        free(r);
    }
    pthread_mutex_destroy(&b->lock);
    free(b);
}

const struct arc_batches_conf *arc_batches_conf(const struct arc_batches *b)
{
    return &b->conf;
}

/* The oldest of those that have ended goes. */
static void forget_one(struct arc_batches *b)
{
    struct arc_batch_run **at = &b->locked.first, *r;

    while (*at && (*at)->ended_ns == 0)
        at = &(*at)->next;
    if (!(r = *at))
        return;
    *at = r->next;
    if (!*at)
        b->locked.tail = at;
    b->locked.ended--;
    free(r);
}

enum err arc_batches_begin(struct arc_batches *b, struct str bucket, uint64_t bytes, struct arc_batch_run **out)
{
    struct arc_batch_run *r = NEW(struct arc_batch_run);
    uint8_t random[BATCH_ID_LEN / 2];

    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), r->id);
    r->bucket_n = bucket.n < BUCKET_SHOWN ? bucket.n : BUCKET_SHOWN;
    if (r->bucket_n)
        memcpy(r->bucket, bucket.p, r->bucket_n);
    r->window = bytes;
    r->started_ns = clock_wall_ns();
    pthread_mutex_lock(&b->lock);
    bool may = b->locked.running < b->conf.running_max &&
               (b->locked.running == 0 || b->locked.bytes + bytes <= b->conf.bytes_max);
    if (may) {
        b->locked.running++;
        b->locked.bytes += bytes;
        *b->locked.tail = r;
        b->locked.tail = &r->next;
    }
    pthread_mutex_unlock(&b->lock);
    if (!may) {
        free(r);
        return ERR_BUSY;
    }
    *out = r;
    return ERR_OK;
}

void arc_batch_count(struct arc_batch_run *r, uint64_t bytes)
{
    atomic_fetch_add_explicit(&r->objects, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&r->bytes, bytes, memory_order_relaxed);
}

bool arc_batch_aborted(struct arc_batch_run *r)
{
    return atomic_load_explicit(&r->aborted, memory_order_relaxed);
}

struct str arc_batch_id(const struct arc_batch_run *r)
{
    return str_n(r->id, sizeof(r->id));
}

void arc_batches_end(struct arc_batches *b, struct arc_batch_run *r, enum err e)
{
    pthread_mutex_lock(&b->lock);
    r->ended_ns = clock_wall_ns();
    r->err = e;
    b->locked.running--;
    b->locked.bytes -= r->window;
    if (++b->locked.ended > BATCHES_KEPT)
        forget_one(b);
    pthread_mutex_unlock(&b->lock);
}

static struct arc_batch_snap snap(struct arena *arena, struct arc_batch_run *r)
{
    return (struct arc_batch_snap){
        .id = arena_str(arena, str_n(r->id, sizeof(r->id))),
        .bucket = arena_str(arena, str_n(r->bucket, r->bucket_n)),
        .started_ns = r->started_ns,
        .ended_ns = r->ended_ns,
        .objects = atomic_load_explicit(&r->objects, memory_order_relaxed),
        .bytes = atomic_load_explicit(&r->bytes, memory_order_relaxed),
        .aborted = atomic_load_explicit(&r->aborted, memory_order_relaxed),
        .err = r->err,
    };
}

size_t arc_batches_list(struct arc_batches *b, struct arena *arena, struct arc_batch_snap **out)
{
    size_t n = 0;

    pthread_mutex_lock(&b->lock);
    size_t count = (size_t)b->locked.running + b->locked.ended;
    *out = arena_alloc(arena, (count ? count : 1) * sizeof(**out));
    for (struct arc_batch_run *r = b->locked.first; r && n < count; r = r->next)
        (*out)[n++] = snap(arena, r);
    pthread_mutex_unlock(&b->lock);
    return n;
}

bool arc_batches_abort(struct arc_batches *b, struct str id)
{
    bool found = false;

    pthread_mutex_lock(&b->lock);
    for (struct arc_batch_run *r = b->locked.first; r && !found; r = r->next) {
        found = str_eq(str_n(r->id, sizeof(r->id)), id);
        if (found && r->ended_ns == 0)
            atomic_store_explicit(&r->aborted, true, memory_order_relaxed);
    }
    pthread_mutex_unlock(&b->lock);
    return found;
}
