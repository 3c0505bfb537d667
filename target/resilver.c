/* The thread of the disks: brings objects to where they belong, takes out what fails, closes what nobody uses. */
#include "target/disks_own.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

enum {
    KEYS_AT_ONCE = 128, /* read from an index at a time */
    MOVES_AT_ONCE = 4,
    STEP_LOOK = 20000, /* keys looked at between two glances at the rest of the world */
    TEND_MS = 1000,
    AGAIN_S = 5, /* after a pass that left something */
    REPAIRS_MAX = 256,
};

static struct metric moved_objects = {.name = "sluice_resilver_objects_total",
                                      .help = "Objects that were brought to the mountpath where they belong",
                                      .kind = METRIC_COUNTER};
static struct metric moved_bytes = {
    .name = "sluice_resilver_bytes_total", .help = "Bytes of those objects", .kind = METRIC_COUNTER};
static struct metric under_way = {.name = "sluice_resilver_running",
                                  .help = "1: objects are being brought to the mountpaths where they belong",
                                  .kind = METRIC_GAUGE};
static struct metric mountpaths_out = {.name = "sluice_mountpaths_out",
                                       .help = "Mountpaths that are disabled: their objects can't be read",
                                       .kind = METRIC_GAUGE};

/* ---- copies that were found damaged ---- */

struct repair {
    struct repair *next;
    struct bucket_id bucket;
    struct mountpath_uuid bad;
    size_t key_len;
    char key[STORE_KEY_MAX];
};

void disks_repair(struct disks *d, const struct bucket_id *bucket, struct str key, const struct mountpath_uuid *bad)
{
    struct repair *r;

    pthread_mutex_lock(&d->lock);
    bool known = d->repair_count >= REPAIRS_MAX;
    for (r = d->repairs; r && !known; r = r->next)
        known = r->bucket.uid == bucket->uid && str_eq(str_n(r->key, r->key_len), key);
    if (!known) {
        r = NEW(struct repair);
        r->bucket = *bucket;
        r->bucket.name = STR_NONE; /* the table knows it */
        r->bad = *bad;
        r->key_len = key.n;
        memcpy(r->key, key.p, key.n);
        r->next = d->repairs;
        d->repairs = r;
        d->repair_count++;
    }
    pthread_mutex_unlock(&d->lock);
    disks_wake(d);
}

/* ---- a pass ---- */

struct pass {
    struct disks *d;
    struct loop *loop;
    struct store *store;
    struct disk_use *use;
    size_t at; /* the mountpath that is walked */
    bool failed;
    uint64_t seen;
    /* keys of the index that are not in place */
    struct arena keys;
    struct str key[KEYS_AT_ONCE];
    struct bucket_id bucket[KEYS_AT_ONCE];
    size_t count, next;
    unsigned open;
};

/* One key being settled. */
struct mover {
    struct pass *pass;
    struct arena arena;
    struct disk_settle_req req;
    struct disk_settle_res res;
    struct call call;
};

static bool is_over(const struct pass *p)
{
    return atomic_load(&p->d->stop) || p->use->set != atomic_load(&p->d->set);
}

static void mover_done(struct call *c)
{
    struct mover *m = CONTAINER(c, struct mover, call);
    struct pass *p = m->pass;

    if (c->err != ERR_OK)
        p->failed = true;
    if (c->err == ERR_OK && m->res.changed) {
        atomic_fetch_add(&p->d->moved, 1);
        atomic_fetch_add(&p->d->moved_bytes, m->res.bytes);
        metric_add(&moved_objects, 1);
        metric_add(&moved_bytes, (int64_t)m->res.bytes);
    }
    arena_release(&m->arena);
    free(m);
    p->open--;
}

static void move(struct pass *p, const struct bucket_id *bucket, struct str key, int bad)
{
    struct mover *m = NEW(struct mover);

    m->pass = p;
    m->req = (struct disk_settle_req){.arena = &m->arena, .bucket = *bucket, .key = key, .bad = bad};
    p->open++;
    call_begin(&m->call, p->loop, mover_done);
    disks_settle_key(p->store, &m->req, &m->res, &m->call);
}

/* A few at a time. */
static void move_all(struct pass *p)
{
    for (p->next = 0; p->next < p->count || p->open;) {
        while (p->next < p->count && p->open < MOVES_AT_ONCE && !atomic_load(&p->d->stop)) {
            move(p, &p->bucket[p->next], p->key[p->next], -1);
            p->next++;
        }
        if (atomic_load(&p->d->stop))
            p->count = p->next;
        if (p->open)
            loop_turn(p->loop, 100);
    }
    p->count = 0;
}

static bool is_in_place(struct pass *p, uint64_t uid, struct str key, struct bucket_id *bucket)
{
    *bucket = (struct bucket_id){.uid = uid};
    if (bucket_table_find(p->d->buckets, uid, bucket))
        return false; /* the other copies must be looked at */
    return disk_place(p->use->set, uid, key) == p->at;
}

/* Reads on behind `from`, and leaves there where to go on; empty: the end. */
static enum err look(struct pass *p, struct buf *from)
{
    const char end = INDEX_OBJECT + 1;
    struct kv *kv = p->use->set->disks[p->at].mountpath->kv;
    struct kv_iter *it = kv_iter_open(kv, &(struct kv_iter_options){.end = str_n(&end, 1), .once = true});
    size_t looked = 0;
    enum err e = ERR_OK;

    arena_release(&p->keys);
    kv_iter_seek(it, buf_str(from));
    for (; kv_iter_valid(it) && p->count < KEYS_AT_ONCE && looked < STEP_LOOK; kv_iter_next(it), looked++) {
        char unescaped[STORE_KEY_MAX];
        struct bucket_id bucket;
        struct str key;
        uint64_t uid;
        if (!index_parse(kv_iter_key(it), unescaped, &uid, &key, NULL)) {
            log_error(STR_NONE, "index key damaged", "bytes=%zu", kv_iter_key(it).n);
            p->failed = true;
            continue;
        }
        if (is_in_place(p, uid, key, &bucket))
            continue;
        p->bucket[p->count] = bucket;
        p->key[p->count++] = arena_str(&p->keys, key);
    }
    atomic_fetch_add(&p->d->checked, looked);
    if (kv_iter_valid(it)) {
        struct str at = arena_str(&p->keys, kv_iter_key(it));
        buf_reset(from);
        buf_add_str(from, at);
    } else {
        buf_reset(from);
        e = kv_iter_err(it);
    }
    kv_iter_close(it);
    return e;
}

static void tend(struct disks *d);

static enum err walk(struct pass *p)
{
    struct buf from = BUF_INIT(INDEX_KEY_MAX + 1);
    enum err e = ERR_OK;

    buf_add_char(&from, INDEX_OBJECT);
    while (from.n && e == ERR_OK && !is_over(p)) {
        e = look(p, &from);
        move_all(p);
        tend(p->d);
    }
    buf_release(&from);
    return e;
}

/* Whether the mountpath has uploads that don't belong there: they stay until they are completed or aborted. */
static bool has_strange_uploads(struct pass *p)
{
    const char begin = INDEX_UPLOAD, end = INDEX_UPLOAD + 1;
    struct kv *kv = p->use->set->disks[p->at].mountpath->kv;
    struct kv_iter *it = kv_iter_open(kv, &(struct kv_iter_options){.end = str_n(&end, 1), .once = true});
    bool found = false;

    for (kv_iter_seek(it, str_n(&begin, 1)); kv_iter_valid(it) && !found; kv_iter_next(it)) {
        char unescaped[STORE_KEY_MAX];
        struct bucket_id bucket;
        struct str key;
        uint64_t uid;
        found = index_parse(kv_iter_key(it), unescaped, &uid, &key, NULL) &&
                !(bucket_table_find(p->d->buckets, uid, &bucket) ? !p->use->set->disks[p->at].leaving
                                                                 : disk_place(p->use->set, uid, key) == p->at);
    }
    if (kv_iter_err(it) != ERR_OK)
        p->failed = true;
    kv_iter_close(it);
    return found;
}

static void pass_open(struct pass *p, struct disks *d)
{
    *p = (struct pass){.d = d, .loop = loop_new()};
    loop_adopt(p->loop);
    p->store = local_store(d->local, p->loop);
    p->use = disk_pin(disk_handle_of(p->store));
}

static void pass_close(struct pass *p)
{
    arena_release(&p->keys);
    disk_unpin(p->use);
    store_close(p->store);
    loop_free(p->loop);
}

/* True: everything is in place by the set that is still the current one. */
static bool pass_run(struct pass *p)
{
    const struct disk_set *s = p->use->set;
    bool uploads = false;

    for (p->at = 0; p->at < s->count && !is_over(p); p->at++)
        if (s->disks[p->at].mountpath && walk(p) != ERR_OK)
            p->failed = true;
    for (p->at = 0; p->at < s->count && !is_over(p); p->at++)
        uploads = uploads || (s->disks[p->at].mountpath && has_strange_uploads(p));
    if (uploads && !s->calm)
        log_info(STR_NONE, "moving waits for uploads to be completed or aborted", "%s", "");
    return !is_over(p) && !p->failed && !(uploads && !s->calm);
}

/* ---- repairs ---- */

static int find_disk(const struct disk_set *s, const struct mountpath_uuid *id)
{
    for (size_t i = 0; i < s->count; i++)
        if (memcmp(&s->disks[i].uuid, id, sizeof(*id)) == 0 && s->disks[i].mountpath)
            return (int)i;
    return -1;
}

static void repair_one(struct disks *d, struct repair *r)
{
    struct pass *p = NEW(struct pass);
    int bad;

    pass_open(p, d);
    bad = find_disk(p->use->set, &r->bad);
    (void)bucket_table_find(d->buckets, r->bucket.uid, &r->bucket);
    if (bad >= 0)
        move(p, &r->bucket, str_n(r->key, r->key_len), bad);
    while (p->open)
        loop_turn(p->loop, 100);
    if (bad >= 0)
        log_info(STR_NONE, p->failed ? "damaged copy not repaired" : "damaged copy repaired", "mountpath=%s key=%s",
                 log_quote(p->use->set->disks[bad].dir), log_quote(str_n(r->key, r->key_len)));
    pass_close(p);
    free(p);
}

static void repair_all(struct disks *d)
{
    struct repair *list, *next;

    pthread_mutex_lock(&d->lock);
    list = d->repairs;
    d->repairs = NULL;
    d->repair_count = 0;
    pthread_mutex_unlock(&d->lock);
    for (; list; list = next) {
        next = list->next;
        if (!atomic_load(&d->stop))
            repair_one(d, list);
        free(list);
    }
}

/* ---- the thread ---- */

/* No move is under way. */
static void tend(struct disks *d)
{
    struct disk_use *u = disks_hold(d);

    metric_set(&mountpaths_out, (int64_t)u->set->out);
    for (size_t i = 0; i < u->set->count; i++) {
        struct mountpath *m = u->set->disks[i].mountpath;
        const char *reason = m ? mountpath_fails(m) : NULL;
        if (reason && !atomic_exchange(&m->given_up, true))
            disks_fail(d, m, reason);
    }
    disks_let_go(d, u);
    pthread_mutex_lock(&d->change);
    disks_retire(d, disk_closed);
    pthread_mutex_unlock(&d->change);
}

static bool has_work(struct disks *d)
{
    const struct disk_set *s = atomic_load(&d->set);

    return !s->calm || s->behind || atomic_load(&d->again);
}

/* False: something is left to be done. */
static bool work(struct disks *d)
{
    struct pass *p = NEW(struct pass);
    bool done;

    atomic_store(&d->again, false);
    atomic_store(&d->resilvering, true);
    metric_set(&under_way, 1);
    atomic_store(&d->checked, 0);
    pass_open(p, d);
    done = pass_run(p);
    const struct disk_set *by = p->use->set; /* sets stay */
    bool over = is_over(p);
    pass_close(p);
    free(p);
    if (done && !(by->out && !by->calm))
        disks_calm(d, by);
    else
        atomic_store(&d->again, true);
    metric_set(&under_way, 0);
    atomic_store(&d->resilvering, false);
    return done || over;
}

static void register_metrics(void)
{
    metric_register(&moved_objects);
    metric_register(&moved_bytes);
    metric_register(&under_way);
    metric_register(&mountpaths_out);
}

static void wait_a_while(struct disks *d)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += TEND_MS / 1000;
    pthread_mutex_lock(&d->lock);
    if (!d->woken && !atomic_load(&d->stop))
        pthread_cond_timedwait(&d->wake, &d->lock, &until);
    d->woken = false;
    pthread_mutex_unlock(&d->lock);
}

void *disks_main(void *arg)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct disks *d = arg;
    const struct disk_set *tried = NULL;
    uint64_t next = 0;

    pthread_once(&once, register_metrics);
    while (!atomic_load(&d->stop)) {
        tend(d);
        repair_all(d);
        if (has_work(d) && (tried != atomic_load(&d->set) || clock_mono_ns() >= next)) {
            tried = atomic_load(&d->set);
            next = work(d) ? 0 : clock_mono_ns() + AGAIN_S * (uint64_t)NS_PER_S;
            continue;
        }
        wait_a_while(d);
    }
    repair_all(d); /* frees them */
    return NULL;
}

void disks_wake(struct disks *d)
{
    pthread_mutex_lock(&d->lock);
    d->woken = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
}

bool disks_settled(struct disks *d, unsigned ms)
{
    enum { POLL_MS = 2 };

    for (unsigned waited = 0;; waited += POLL_MS) {
        const struct timespec t = {0, POLL_MS * 1000000L};
        bool open = false;
        pthread_mutex_lock(&d->lock);
        const struct disk_set *s = atomic_load(&d->set);
        for (const struct disk_set *old = s->older; old; old = old->older)
            open = open || !old->closed;
        bool busy = open || d->repairs || atomic_load(&d->resilvering) || !atomic_load(&s->open);
        pthread_mutex_unlock(&d->lock);
        if (!busy && !has_work(d))
            return true;
        if (waited >= ms)
            return false;
        nanosleep(&t, NULL);
    }
}
