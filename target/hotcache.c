#include "target/hotcache.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/metrics.h"

enum { SHARDS = 32, BUCKETS_MIN = 256, ENTRY_SHARE = 8 /* one entry may take 1/8 of a shard */ };

/* A write under way: readers of this key must not install. */
struct writing {
    struct writing *next;
    uint64_t hash;
    struct str key; /* the writer's, until it ends */
};

struct shard {
    pthread_mutex_t lock;
    struct {               /* guarded by lock */
        uint64_t sequence; /* of writes begun */
        struct writing *writing, *spare;
        struct hot **buckets;
        size_t bucket_count; /* power of two */
        size_t count, bytes;
        struct hot *newest, *oldest;
    } locked;
} __attribute__((aligned(128)));

struct hotcache {
    size_t shard_bytes_max;
    struct shard shards[SHARDS];
};

static struct metric hits = {.name = "sluice_store_cache_lookups_total",
                             .labels = "result=\"hit\"",
                             .help = "Lookups of records in the hot cache",
                             .kind = METRIC_COUNTER};
static struct metric misses = {.name = "sluice_store_cache_lookups_total",
                               .labels = "result=\"miss\"",
                               .help = "Lookups of records in the hot cache",
                               .kind = METRIC_COUNTER};
static struct metric held = {
    .name = "sluice_store_cache_bytes", .help = "Bytes held by the hot cache", .kind = METRIC_GAUGE};

/* ---- entries ---- */

enum err hot_new(struct str key, struct str raw, struct str body, struct hot **out)
{
    struct record rec;
    enum err e = record_decode(raw, &rec);

    if (e != ERR_OK)
        return e;
    size_t attrs = rec.info.attr_count * sizeof(struct attr);
    size_t bytes = sizeof(struct hot) + attrs + key.n + raw.n + body.n;
    struct hot *h = mem_alloc(bytes);
    struct attr *a = (struct attr *)(void *)(h + 1);
    char *p = (char *)(h + 1) + attrs;

    *h = (struct hot){.bytes = bytes, .hash = hash_place(key, 0)};
    atomic_init(&h->refs, 1);
    memcpy(p, key.p, key.n);
    memcpy(p + key.n, raw.p, raw.n);
    if (body.n)
        memcpy(p + key.n + raw.n, body.p, body.n);
    h->key = str_n(p, key.n);
    h->raw = str_n(p + key.n, raw.n);
    h->body = str_n(p + key.n + raw.n, body.n);
    if ((e = record_decode(h->raw, &h->rec)) != ERR_OK || !record_attrs(&h->rec, a)) {
        free(h);
        return ERR_CORRUPT;
    }
    h->rec.info.attrs = a;
    h->has_body = body.p || h->rec.kind == BODY_EMPTY || h->rec.kind == BODY_SEGMENT;
    *out = h;
    return ERR_OK;
}

bool hot_set_mtime(struct hot *h, int64_t mtime_ns)
{
    struct record r = h->rec;
    struct buf raw = BUF_INIT(RECORD_MAX);

    r.info.mtime_ns = mtime_ns;
    bool fits = record_encode(&raw, &r) == ERR_OK && raw.n == h->raw.n; /* such numbers take 9 bytes */
    if (fits) {
        memcpy((char *)(uintptr_t)h->raw.p, raw.p, raw.n); /* within h */
        h->rec.info.mtime_ns = mtime_ns;
    }
    buf_release(&raw);
    return fits;
}

struct hot *hot_ref(struct hot *h)
{
    atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
    return h;
}

void hot_unref(void *arg)
{
    struct hot *h = arg;

    if (h && atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) == 1)
        free(h);
}

/* ---- a shard's table and its row of ages ---- */

static struct hot **slot(struct shard *s, uint64_t hash, struct str key)
{
    struct hot **at = &s->locked.buckets[(hash >> 8) & (s->locked.bucket_count - 1)];

    while (*at && ((*at)->hash != hash || !str_eq((*at)->key, key)))
        at = &(*at)->chain;
    return at;
}

static void age_out(struct shard *s, struct hot *h)
{
    *(h->newer ? &h->newer->older : &s->locked.newest) = h->older;
    *(h->older ? &h->older->newer : &s->locked.oldest) = h->newer;
    h->newer = h->older = NULL;
}

static void age_in(struct shard *s, struct hot *h)
{
    h->older = s->locked.newest;
    h->newer = NULL;
    *(s->locked.newest ? &s->locked.newest->newer : &s->locked.oldest) = h;
    s->locked.newest = h;
}

/* Takes it out of the table; the reference goes to the caller. */
static struct hot *take_out(struct shard *s, struct hot **at)
{
    struct hot *h = *at;

    *at = h->chain;
    h->chain = NULL;
    age_out(s, h);
    s->locked.count--;
    s->locked.bytes -= h->bytes;
    metric_add(&held, -(int64_t)h->bytes);
    return h;
}

static void grow(struct shard *s)
{
    size_t n = s->locked.bucket_count * 2;
    struct hot **wider = mem_new(n * sizeof(*wider));

    for (size_t i = 0; i < s->locked.bucket_count; i++) {
        struct hot *h = s->locked.buckets[i];
        while (h) {
            struct hot *next = h->chain, **to = &wider[(h->hash >> 8) & (n - 1)];
            h->chain = *to;
            *to = h;
            h = next;
        }
    }
    free(s->locked.buckets);
    s->locked.buckets = wider;
    s->locked.bucket_count = n;
}

/* Takes the reference. What has to go is chained through `chain` onto *dropped, to be freed outside of the lock. */
static void put_in(struct hotcache *c, struct shard *s, struct hot *h, struct hot **dropped)
{
    struct hot **at = slot(s, h->hash, h->key);

    if (*at) {
        struct hot *old = take_out(s, at);
        old->chain = *dropped;
        *dropped = old;
    }
    if (s->locked.count >= s->locked.bucket_count)
        grow(s);
    at = &s->locked.buckets[(h->hash >> 8) & (s->locked.bucket_count - 1)];
    h->chain = *at;
    *at = h;
    age_in(s, h);
    s->locked.count++;
    s->locked.bytes += h->bytes;
    metric_add(&held, (int64_t)h->bytes);
    while (s->locked.bytes > c->shard_bytes_max && s->locked.oldest) {
        struct hot *old = take_out(s, slot(s, s->locked.oldest->hash, s->locked.oldest->key));
        old->chain = *dropped;
        *dropped = old;
    }
}

/* An entry off the table is reached by nobody else through `chain`: readers hold it by reference and never follow it.
 */
static void drop_all(struct hot *h)
{
    while (h) {
        struct hot *next = h->chain;
        hot_unref(h);
        h = next;
    }
}

static struct shard *shard_of(struct hotcache *c, uint64_t hash)
{
    return &c->shards[hash % SHARDS];
}

/* ---- readers ---- */

static bool is_being_written(const struct shard *s, uint64_t hash, struct str key)
{
    for (const struct writing *w = s->locked.writing; w; w = w->next)
        if (w->hash == hash && str_eq(w->key, key))
            return true;
    return false;
}

struct hot *hot_find(struct hotcache *c, struct str key, struct hot_ticket *t)
{
    uint64_t hash = hash_place(key, 0);
    struct shard *s = shard_of(c, hash);

    pthread_mutex_lock(&s->lock);
    struct hot *h = *slot(s, hash, key);
    if (h) {
        hot_ref(h);
        if (h != s->locked.newest) {
            age_out(s, h);
            age_in(s, h);
        }
    }
    t->sequence = s->locked.sequence;
    t->valid = h || !s->locked.writing || !is_being_written(s, hash, key);
    pthread_mutex_unlock(&s->lock);
    metric_add(h ? &hits : &misses, 1);
    return h;
}

void hot_install(struct hotcache *c, const struct hot_ticket *t, struct hot *h)
{
    struct shard *s = shard_of(c, h->hash);
    struct hot *dropped = NULL;

    if (!t->valid || h->bytes > c->shard_bytes_max / ENTRY_SHARE)
        return;
    pthread_mutex_lock(&s->lock);
    struct hot *there = *slot(s, h->hash, h->key);
    /* of two readers of the same state the one that knows the body wins */
    if (t->sequence == s->locked.sequence && (!there || h->has_body))
        put_in(c, s, hot_ref(h), &dropped);
    pthread_mutex_unlock(&s->lock);
    drop_all(dropped);
}

/* ---- the writer ---- */

void hot_write_begin(struct hotcache *c, struct str key)
{
    uint64_t hash = hash_place(key, 0);
    struct shard *s = shard_of(c, hash);
    struct hot *old = NULL;

    pthread_mutex_lock(&s->lock);
    struct writing *w = s->locked.spare;
    if (w)
        s->locked.spare = w->next;
    else
        w = NEW(struct writing);
    *w = (struct writing){s->locked.writing, hash, key};
    s->locked.writing = w;
    s->locked.sequence++;
    struct hot **at = slot(s, hash, key);
    if (*at)
        old = take_out(s, at);
    pthread_mutex_unlock(&s->lock);
    hot_unref(old);
}

void hot_write_end(struct hotcache *c, struct str key, struct hot *h)
{
    uint64_t hash = hash_place(key, 0);
    struct shard *s = shard_of(c, hash);
    struct hot *dropped = NULL, *useless = NULL;

    pthread_mutex_lock(&s->lock);
    struct writing **at = &s->locked.writing;
    while (*at && ((*at)->hash != hash || !str_eq((*at)->key, key)))
        at = &(*at)->next;
    assert(*at);
    struct writing *w = *at;
    *at = w->next;
    w->next = s->locked.spare;
    s->locked.spare = w;
    if (h && h->bytes <= c->shard_bytes_max / ENTRY_SHARE)
        put_in(c, s, h, &dropped);
    else
        useless = h;
    pthread_mutex_unlock(&s->lock);
    drop_all(dropped);
    hot_unref(useless);
}

/* ---- the cache ---- */

static void register_metrics(void)
{
    metric_register(&hits);
    metric_register(&misses);
    metric_register(&held);
}

struct hotcache *hotcache_new(uint64_t bytes_max)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct hotcache *c = aligned_alloc(_Alignof(struct hotcache), sizeof(*c));

    if (!c)
        abort();
    memset(c, 0, sizeof(*c));
    pthread_once(&once, register_metrics);
    c->shard_bytes_max = (size_t)(bytes_max / SHARDS);
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shards[i];
        pthread_mutex_init(&s->lock, NULL);
        s->locked.bucket_count = BUCKETS_MIN;
        s->locked.buckets = mem_new(BUCKETS_MIN * sizeof(*s->locked.buckets));
    }
    return c;
}

void hotcache_free(struct hotcache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shards[i];
        assert(!s->locked.writing);
        while (s->locked.oldest)
            hot_unref(take_out(s, slot(s, s->locked.oldest->hash, s->locked.oldest->key)));
        while (s->locked.spare) {
            struct writing *w = s->locked.spare;
            s->locked.spare = w->next;
            free(w);
        }
        free(s->locked.buckets);
        pthread_mutex_destroy(&s->lock);
    }
    free(c);
}
