#include "target/extent_cache.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

enum { SHARDS = 16 };

struct entry {
    struct extent_file file;
    /* guarded by the shard's lock */
    unsigned refs;
    bool listed; /* can be found */
    struct entry *bucket_next;
    struct entry *prev, *next; /* among the idle: listed and refs == 0 */
    /* guarded by footer_lock */
    pthread_mutex_t footer_lock;
    bool footer_tried;
    enum err footer_err;
    struct segment_footer footer;
};

struct shard {
    pthread_mutex_t lock;
    struct { /* guarded by lock */
        struct entry **buckets;
        struct entry idle; /* ring: next = used longest ago */
        unsigned idle_count, count;
        struct entry *left; /* to be closed, linked by next */
    } locked;
    /* in a cache line of its own, as loops on all cores come here */
} __attribute__((aligned(64)));

/* A segment that is to be removed when nobody holds it any more. */
struct put_off {
    struct segment_dir *dir;
    struct segment_id id;
};

struct extent_cache {
    struct shard shards[SHARDS];
    pthread_mutex_t holds_lock;
    struct { /* guarded by holds_lock */
        struct extent_hold *list;
        struct put_off *put_off;
        size_t count, cap;
    } held;
    size_t bucket_mask;
    unsigned idle_max; /* per shard */
};

static struct metric opened = {
    .name = "sluice_segments_opened_total", .help = "Segments opened for reading.", .kind = METRIC_COUNTER};

static void metrics_once(void)
{
    metric_register(&opened);
}

struct extent_cache *extent_cache_new(uint32_t open_max)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct extent_cache *c = aligned_alloc(64, sizeof(*c));
    size_t buckets = 16;

    assert(c);
    pthread_once(&once, metrics_once);
    *c = (struct extent_cache){.idle_max = (open_max + SHARDS - 1) / SHARDS};
    while (buckets < c->idle_max * 2u)
        buckets *= 2;
    c->bucket_mask = buckets - 1;
    pthread_mutex_init(&c->holds_lock, NULL);
    for (int i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shards[i];
        pthread_mutex_init(&s->lock, NULL);
        s->locked.buckets = mem_new(buckets * sizeof(*s->locked.buckets));
        s->locked.idle.prev = s->locked.idle.next = &s->locked.idle;
    }
    return c;
}

/* ---- one shard; its lock is held ---- */

/* Ids are random behind their time. */
static uint64_t hash_of_id(const struct segment_id *id)
{
    uint64_t h;

    memcpy(&h, id->b + SEGMENT_ID_LEN - sizeof(h), sizeof(h));
    return h;
}

static struct shard *shard_of(struct extent_cache *c, const struct segment_id *id)
{
    return &c->shards[hash_of_id(id) % SHARDS];
}

static struct entry **bucket_of(struct extent_cache *c, struct shard *s, const struct segment_id *id)
{
    return &s->locked.buckets[hash_of_id(id) / SHARDS & c->bucket_mask];
}

static struct entry *find(struct extent_cache *c, struct shard *s, const struct segment_dir *d,
                          const struct segment_id *id)
{
    struct entry *e = *bucket_of(c, s, id);

    while (e && !(segment_id_cmp(&e->file.id, id) == 0 && e->file.dir == d))
        e = e->bucket_next;
    return e;
}

static void idle_drop(struct shard *s, struct entry *e)
{
    e->prev->next = e->next;
    e->next->prev = e->prev;
    s->locked.idle_count--;
}

static void idle_add(struct shard *s, struct entry *e)
{
    e->next = &s->locked.idle;
    e->prev = s->locked.idle.prev;
    e->prev->next = e->next->prev = e;
    s->locked.idle_count++;
}

static struct extent_file *use(struct shard *s, struct entry *e)
{
    if (e->refs++ == 0)
        idle_drop(s, e);
    return &e->file;
}

static void leave(struct shard *s, struct entry *e)
{
    e->next = s->locked.left;
    s->locked.left = e;
}

/* It can't be found any more; closed by extent_cache_reap() after its last user. */
static void unlist(struct extent_cache *c, struct shard *s, struct entry *e)
{
    struct entry **at = bucket_of(c, s, &e->file.id);

    while (*at != e)
        at = &(*at)->bucket_next;
    *at = e->bucket_next;
    e->listed = false;
    s->locked.count--;
    if (e->refs == 0) {
        idle_drop(s, e);
        leave(s, e);
    }
}

/* ---- for users ---- */

struct extent_file *extent_cache_get(struct extent_cache *c, struct segment_dir *d, const struct segment_id *id)
{
    struct shard *s = shard_of(c, id);
    struct extent_file *f;
    struct entry *e;

    pthread_mutex_lock(&s->lock);
    e = find(c, s, d, id);
    f = e ? use(s, e) : NULL;
    pthread_mutex_unlock(&s->lock);
    return f;
}

void extent_cache_put(struct extent_cache *c, struct extent_file *f)
{
    struct entry *e;
    struct shard *s;

    if (!f)
        return;
    e = CONTAINER(f, struct entry, file);
    s = shard_of(c, &f->id);
    pthread_mutex_lock(&s->lock);
    if (--e->refs == 0) {
        if (e->listed) {
            idle_add(s, e);
            if (s->locked.idle_count > c->idle_max)
                unlist(c, s, s->locked.idle.next);
        } else {
            leave(s, e);
        }
    }
    pthread_mutex_unlock(&s->lock);
}

static void entry_free(struct entry *e)
{
    close(e->file.fd);
    segment_footer_release(&e->footer);
    pthread_mutex_destroy(&e->footer_lock);
    free(e);
}

static void shard_reap(struct shard *s)
{
    struct entry *e;

    pthread_mutex_lock(&s->lock);
    e = s->locked.left;
    s->locked.left = NULL;
    pthread_mutex_unlock(&s->lock);
    while (e) {
        struct entry *next = e->next;
        entry_free(e);
        e = next;
    }
}

/* Makes `e` known, or takes the entry that another thread has made meanwhile. */
static enum err insert(struct extent_cache *c, struct entry *e, struct extent_file **out)
{
    struct shard *s = shard_of(c, &e->file.id);
    enum err err = ERR_OK;
    struct entry *other;
    struct stat st;

    pthread_mutex_lock(&s->lock);
    if ((other = find(c, s, e->file.dir, &e->file.id)) != NULL) {
        *out = use(s, other);
    } else if (fstat(e->file.fd, &st) != 0) {
        err = err_from_errno(errno);
        log_error(STR_NONE, "segment not readable", "errno=%s", strerrorname_np(errno));
    } else {
        e->file.file_size = (uint64_t)st.st_size;
        e->refs = 1;
        /* Without a name it was unlinked since it was opened, and forget() may have been here before us. */
        if (st.st_nlink) {
            struct entry **bucket = bucket_of(c, s, &e->file.id);
            e->listed = true;
            e->bucket_next = *bucket;
            *bucket = e;
            s->locked.count++;
        }
        *out = &e->file;
    }
    pthread_mutex_unlock(&s->lock);
    if (other || err != ERR_OK)
        entry_free(e);
    return err;
}

enum err extent_cache_open(struct extent_cache *c, struct segment_dir *d, const struct segment_id *id,
                           struct extent_file **out)
{
    struct extent_file *known = extent_cache_get(c, d, id);
    struct entry *e;
    enum err err;
    int fd;

    if (known) {
        *out = known;
        return ERR_OK;
    }
    shard_reap(shard_of(c, id));
    if ((err = segment_open(d, id, &fd)) != ERR_OK)
        return err;
    metric_add(&opened, 1);
    e = NEW(struct entry);
    e->file = (struct extent_file){.fd = fd, .dir = d, .id = *id};
    pthread_mutex_init(&e->footer_lock, NULL);
    return insert(c, e, out);
}

enum err extent_cache_footer(struct extent_file *f, const struct segment_footer **out)
{
    struct entry *e = CONTAINER(f, struct entry, file);
    enum err err;

    pthread_mutex_lock(&e->footer_lock);
    if (!e->footer_tried) {
        e->footer_err = segment_footer_read(f->dir, f->fd, &f->id, &e->footer);
        e->footer_tried = e->footer_err == ERR_OK || e->footer_err == ERR_CORRUPT;
    }
    err = e->footer_err;
    pthread_mutex_unlock(&e->footer_lock);
    if (err == ERR_OK)
        *out = &e->footer;
    return err;
}

/* ---- removing, and what holds it up ---- */

void extent_cache_hold(struct extent_cache *c, struct extent_hold *h, const struct extent *list, size_t n)
{
    *h = (struct extent_hold){.list = list, .n = n, .least = list[0].id, .most = list[0].id};
    for (size_t i = 1; i < n; i++) {
        if (segment_id_cmp(&list[i].id, &h->least) < 0)
            h->least = list[i].id;
        if (segment_id_cmp(&list[i].id, &h->most) > 0)
            h->most = list[i].id;
    }
    pthread_mutex_lock(&c->holds_lock);
    h->next = c->held.list;
    if (h->next)
        h->next->prev = h;
    c->held.list = h;
    pthread_mutex_unlock(&c->holds_lock);
}

void extent_cache_let_go(struct extent_cache *c, struct extent_hold *h)
{
    pthread_mutex_lock(&c->holds_lock);
    *(h->prev ? &h->prev->next : &c->held.list) = h->next;
    if (h->next)
        h->next->prev = h->prev;
    pthread_mutex_unlock(&c->holds_lock);
}

static bool holds(const struct extent_hold *h, const struct segment_id *id)
{
    if (segment_id_cmp(id, &h->least) < 0 || segment_id_cmp(id, &h->most) > 0)
        return false;
    for (size_t i = 0; i < h->n; i++)
        if (segment_id_cmp(&h->list[i].id, id) == 0)
            return true;
    return false;
}

/* Whether somebody holds it; then it is noted for later. */
static bool is_put_off(struct extent_cache *c, struct segment_dir *d, const struct segment_id *id)
{
    const struct extent_hold *h;

    pthread_mutex_lock(&c->holds_lock);
    for (h = c->held.list; h && !holds(h, id); h = h->next)
        ;
    if (h) {
        if (c->held.count == c->held.cap) {
            c->held.cap = c->held.cap ? c->held.cap * 2 : 16;
            c->held.put_off = mem_realloc(c->held.put_off, c->held.cap * sizeof(*c->held.put_off));
        }
        c->held.put_off[c->held.count++] = (struct put_off){d, *id};
    }
    pthread_mutex_unlock(&c->holds_lock);
    return h;
}

static void forget(struct extent_cache *c, const struct segment_dir *d, const struct segment_id *id)
{
    struct shard *s = shard_of(c, id);
    struct entry *e;

    pthread_mutex_lock(&s->lock);
    if ((e = find(c, s, d, id)) != NULL)
        unlist(c, s, e);
    pthread_mutex_unlock(&s->lock);
    shard_reap(s);
}

enum err extent_cache_unlink(struct extent_cache *c, struct segment_dir *d, const struct segment_id *id)
{
    enum err e;

    if (is_put_off(c, d, id))
        return ERR_AGAIN;
    e = segment_unlink(d, id);
    forget(c, d, id); /* in this order: see insert() */
    return e;
}

/* Takes those of `d` from the list; the rest stays, as its directory may be closed by now. */
static struct put_off *put_off_take(struct extent_cache *c, const struct segment_dir *d, size_t *n)
{
    struct put_off *taken = NULL;
    size_t kept = 0;

    *n = 0;
    pthread_mutex_lock(&c->holds_lock);
    if (c->held.count)
        taken = mem_alloc(c->held.count * sizeof(*taken));
    for (size_t i = 0; i < c->held.count; i++) {
        if (c->held.put_off[i].dir == d)
            taken[(*n)++] = c->held.put_off[i];
        else
            c->held.put_off[kept++] = c->held.put_off[i];
    }
    c->held.count = kept;
    pthread_mutex_unlock(&c->holds_lock);
    return taken;
}

void extent_cache_reap(struct extent_cache *c, struct segment_dir *d)
{
    struct put_off *list;
    size_t n;

    for (int i = 0; i < SHARDS; i++)
        shard_reap(&c->shards[i]);
    list = put_off_take(c, d, &n);
    for (size_t i = 0; i < n; i++)
        (void)!extent_cache_unlink(c, list[i].dir, &list[i].id); /* logged there, or put off again */
    free(list);
}

/* ---- for the owner ---- */

void extent_cache_forget(struct extent_cache *c, struct segment_dir *d)
{
    size_t n;

    for (int i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shards[i];
        struct entry *e, *next;
        pthread_mutex_lock(&s->lock);
        for (e = s->locked.idle.next; e != &s->locked.idle; e = next) {
            next = e->next;
            if (e->file.dir == d)
                unlist(c, s, e);
        }
        pthread_mutex_unlock(&s->lock);
        shard_reap(s);
    }
    free(put_off_take(c, d, &n)); /* orphans now */
}

size_t extent_cache_count(struct extent_cache *c)
{
    size_t n = 0;

    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&c->shards[i].lock);
        n += c->shards[i].locked.count;
        pthread_mutex_unlock(&c->shards[i].lock);
    }
    return n;
}

void extent_cache_free(struct extent_cache *c)
{
    for (int i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shards[i];
        while (s->locked.idle.next != &s->locked.idle)
            unlist(c, s, s->locked.idle.next);
        assert(s->locked.count == 0);
        shard_reap(s);
        free(s->locked.buckets);
        pthread_mutex_destroy(&s->lock);
    }
    assert(!c->held.list);
    free(c->held.put_off); /* orphans now */
    pthread_mutex_destroy(&c->holds_lock);
    free(c);
}
