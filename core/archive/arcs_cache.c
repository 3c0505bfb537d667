/* Decoded indexes by bucket and key, least recently used go first. */
#include <pthread.h>
#include <stdlib.h>

#include "archive/arcs_own.h"
#include "base/mem.h"
#include "base/metrics.h"

struct entry {
    struct entry *chain;         /* of its hash */
    struct entry *newer, *older; /* by last use */
    uint64_t hash, uid;
    enum arc_format format;
    struct arc_known known;
    size_t bytes;
    size_t key_n;
    char key[];
};

struct arc_cache {
    pthread_mutex_t lock;
    uint64_t bytes_max;
    size_t mask;
    /* guarded by lock */
    uint64_t bytes;
    struct entry *newest, *oldest;
    struct entry *slots[];
};

static struct metric hits = {.name = "sluice_archive_index_cache_hits_total",
                             .help = "Indexes of archives that were in memory when wanted.",
                             .kind = METRIC_COUNTER};
static struct metric misses = {.name = "sluice_archive_index_cache_misses_total",
                               .help = "Indexes of archives that were not in memory when wanted.",
                               .kind = METRIC_COUNTER};
static struct metric held = {
    .name = "sluice_archive_index_cache_bytes", .help = "Memory that indexes of archives take.", .kind = METRIC_GAUGE};

static void register_metrics(void)
{
    metric_register(&hits);
    metric_register(&misses);
    metric_register(&held);
}

enum { SLOTS_MIN = 1024, SLOTS_MAX = 1 << 18, BYTES_PER_SLOT = 4096 };

struct arc_cache *arc_cache_new(uint64_t bytes_max)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    size_t slots = SLOTS_MIN;
    struct arc_cache *c;

    pthread_once(&once, register_metrics);
    while (slots < SLOTS_MAX && slots < bytes_max / BYTES_PER_SLOT)
        slots *= 2;
    c = mem_new(sizeof(*c) + slots * sizeof(c->slots[0]));
    c->bytes_max = bytes_max;
    c->mask = slots - 1;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

/* ---- under the lock ---- */

static uint64_t hash_id(const struct arc_id *id)
{
    return hash_place(id->key, id->bucket.uid * 8 + id->format);
}

static struct entry **slot_of(struct arc_cache *c, const struct arc_id *id, uint64_t hash)
{
    struct entry **at = &c->slots[hash & c->mask];

    while (*at && !((*at)->hash == hash && (*at)->uid == id->bucket.uid && (*at)->format == id->format &&
                    str_eq(str_n((*at)->key, (*at)->key_n), id->key)))
        at = &(*at)->chain;
    return at;
}

static void unlink_use(struct arc_cache *c, struct entry *e)
{
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
}

static void link_newest(struct arc_cache *c, struct entry *e)
{
    e->newer = NULL;
    e->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = e;
    c->newest = e;
}

static void remove_at(struct arc_cache *c, struct entry **at)
{
    struct entry *e = *at;

    *at = e->chain;
    unlink_use(c, e);
    c->bytes -= e->bytes;
    metric_add(&held, -(int64_t)e->bytes);
    arc_index_unref(e->known.index);
    free(e);
}

static void remove_oldest(struct arc_cache *c)
{
    struct entry *e = c->oldest, **at = &c->slots[e->hash & c->mask];

    while (*at != e)
        at = &(*at)->chain;
    remove_at(c, at);
}

static void put(struct arc_cache *c, const struct arc_id *id, const struct arc_known *known)
{
    size_t bytes = sizeof(struct entry) + id->key.n + (known->index ? known->index->bytes : 0);
    uint64_t hash = hash_id(id);
    struct entry **at, *e;

    pthread_mutex_lock(&c->lock);
    at = slot_of(c, id, hash);
    if (*at)
        remove_at(c, at);
    if (bytes > c->bytes_max) {
        pthread_mutex_unlock(&c->lock);
        return;
    }
    while (c->bytes + bytes > c->bytes_max)
        remove_oldest(c);
    e = mem_alloc(sizeof(*e) + id->key.n);
    *e = (struct entry){.chain = c->slots[hash & c->mask],
                        .hash = hash,
                        .uid = id->bucket.uid,
                        .format = id->format,
                        .known = *known,
                        .bytes = bytes,
                        .key_n = id->key.n};
    memcpy(e->key, id->key.p, id->key.n);
    if (e->known.index)
        arc_index_ref(e->known.index);
    c->slots[hash & c->mask] = e;
    link_newest(c, e);
    c->bytes += bytes;
    metric_add(&held, (int64_t)bytes);
    pthread_mutex_unlock(&c->lock);
}

/* ---- for the others ---- */

bool arc_cache_get(struct arc_cache *c, const struct arc_id *id, struct arc_known *out)
{
    struct entry *e;

    pthread_mutex_lock(&c->lock);
    e = *slot_of(c, id, hash_id(id));
    if (e) {
        unlink_use(c, e);
        link_newest(c, e);
        *out = e->known;
        if (out->index)
            arc_index_ref(out->index);
    }
    pthread_mutex_unlock(&c->lock);
    metric_add(e ? &hits : &misses, 1);
    return e != NULL;
}

void arc_cache_put(struct arc_cache *c, const struct arc_id *id, struct arc_index *x)
{
    put(c, id, &(struct arc_known){.index = x});
}

void arc_cache_put_failure(struct arc_cache *c, const struct arc_id *id, const struct object_info *info, enum err e,
                           const char *why)
{
    struct arc_known known = {.err = e, .size = info->size, .mtime_ns = info->mtime_ns, .etag = info->etag};

    memcpy(known.why, why, strnlen(why, sizeof(known.why) - 1));
    put(c, id, &known);
}

void arc_cache_drop(struct arc_cache *c, const struct arc_id *id)
{
    struct entry **at;

    pthread_mutex_lock(&c->lock);
    at = slot_of(c, id, hash_id(id));
    if (*at)
        remove_at(c, at);
    pthread_mutex_unlock(&c->lock);
}

bool arc_known_fits(const struct arc_known *k, const struct object_info *info)
{
    if (k->index)
        return arc_index_fits(k->index, info);
    return k->size == info->size && k->mtime_ns == info->mtime_ns && str_eq(etag_str(&k->etag), etag_str(&info->etag));
}

void arc_cache_free(struct arc_cache *c)
{
    if (!c)
        return;
    while (c->oldest)
        remove_oldest(c);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
