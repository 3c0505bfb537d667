#include "target/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "target/mountpath.h"

/* Registered metrics live as long as the process: mountpaths that are opened again find theirs. */
struct gauges {
    struct gauges *next;
    struct str dir;
    struct metric total, free, full;
};

struct keeper {
    struct mountpath *mountpath;
    uint32_t full_percent, high_percent;
    bool async;
    bool high;  /* was said in the log */
    bool close; /* to the end of the space: look more often */
    struct gauges *gauges;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, worked_off;
    struct { /* guarded by lock */
        struct segment_id *ids;
        size_t count, cap;
        bool busy, stop;
    } locked;
};

static struct metric removed = {.name = "sluice_store_segments_removed_total",
                                .help = "Content files removed after their object was replaced or deleted",
                                .kind = METRIC_COUNTER};

/* ---- free space ---- */

static struct gauges *gauges_get(struct str dir)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct gauges *all;
    struct gauges *g;
    char *labels = NULL;

    pthread_mutex_lock(&lock);
    for (g = all; g && !str_eq(g->dir, dir); g = g->next)
        ;
    if (!g) {
        g = NEW(struct gauges);
        if (asprintf(&labels, "mountpath=%s", log_quote(dir)) < 0)
            abort();
        g->dir = str_n(strndup(dir.p, dir.n), dir.n);
        g->total = (struct metric){.name = "sluice_mountpath_bytes",
                                   .labels = labels,
                                   .help = "Size of the file system under a mountpath",
                                   .kind = METRIC_GAUGE};
        g->free = (struct metric){.name = "sluice_mountpath_free_bytes",
                                  .labels = labels,
                                  .help = "Bytes free for the server under a mountpath",
                                  .kind = METRIC_GAUGE};
        g->full = (struct metric){.name = "sluice_mountpath_full",
                                  .labels = labels,
                                  .help = "1: writes to this mountpath are refused for lack of space",
                                  .kind = METRIC_GAUGE};
        metric_register(&g->total);
        metric_register(&g->free);
        metric_register(&g->full);
        if (!all)
            metric_register(&removed);
        g->next = all;
        all = g;
    }
    pthread_mutex_unlock(&lock);
    return g;
}

enum { COMPACTION_MAX = 1 << 30, RESERVE_MIN = 2 << 20, CLOSE_MS = 50 };

static uint64_t measure_every_ns(const struct keeper *k)
{
    return k->close ? CLOSE_MS * UINT64_C(1000000) : (uint64_t)NS_PER_S;
}

/* What must stay free for the index, so that deletes always go through: room to flush and to compact. */
static uint64_t index_reserve(const struct mountpath *m)
{
    uint64_t compaction = kv_disk_bytes(m->kv) / 2;

    if (compaction > COMPACTION_MAX)
        compaction = COMPACTION_MAX;
    return kv_unflushed(m->kv) + 2 * m->index_buffer + compaction + RESERVE_MIN;
}

static void tell(struct keeper *k, bool full, bool high, unsigned percent, uint64_t available)
{
    struct mountpath *m = k->mountpath;

    if (full != atomic_load(&m->full))
        log_warn(STR_NONE, full ? "mountpath full: writes are refused" : "mountpath has room again: writes go on",
                 "mountpath=%s percent=%u free_bytes=%llu", log_quote(m->dir), percent, (unsigned long long)available);
    else if (high != k->high)
        log_warn(STR_NONE, high ? "mountpath is filling up" : "mountpath is below the warning level again",
                 "mountpath=%s percent=%u", log_quote(m->dir), percent);
}

static void measure(struct keeper *k)
{
    struct mountpath *m = k->mountpath;
    struct statvfs fs;

    if (statvfs(m->dir.p, &fs) != 0) {
        log_error(STR_NONE, "can't read the free space", "mountpath=%s errno=%d", log_quote(m->dir), errno);
        return;
    }
    /* as df counts: what is reserved for root is not ours */
    uint64_t used = (uint64_t)fs.f_blocks - fs.f_bfree, ours = used + fs.f_bavail;
    uint64_t available = (uint64_t)fs.f_bavail * fs.f_frsize, reserve = index_reserve(m);
    unsigned percent = ours ? (unsigned)(used * 100 / ours) : 0;
    unsigned nodes = fs.f_files ? (unsigned)((fs.f_files - fs.f_favail) * 100 / fs.f_files) : 0;
    bool full = percent > k->full_percent || nodes > k->full_percent || available < reserve;
    bool high = percent > k->high_percent || nodes > k->high_percent;

    metric_set(&k->gauges->total, (int64_t)(fs.f_blocks * fs.f_frsize));
    metric_set(&k->gauges->free, (int64_t)available);
    metric_set(&k->gauges->full, full);
    tell(k, full, high, percent, available);
    k->high = high;
    k->close = available < 4 * reserve;
    atomic_store(&m->full, full);
}

/* ---- removing ---- */

static bool write_back(struct keeper *k)
{
    int fd = open(k->mountpath->dir.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    bool done = fd >= 0 && syncfs(fd) == 0;
    if (!done)
        log_error(STR_NONE, "write-back failed", "mountpath=%s errno=%d", log_quote(k->mountpath->dir), errno);
    if (fd >= 0)
        close(fd);
    return done;
}

static void remove_all(struct keeper *k, const struct segment_id *ids, size_t n)
{
    struct mountpath *m = k->mountpath;

    /* What replaced them must be durable first. When it is not they stay, for the collection of orphans to find. */
    if (n && k->async && !write_back(k))
        return;
    for (size_t i = 0; i < n; i++) {
        if (extent_cache_unlink(m->extents, m->segments, &ids[i]) == ERR_OK)
            metric_add(&removed, 1);
    }
}

/* With the lock held; lets go of it meanwhile. */
static void work_off(struct keeper *k)
{
    struct segment_id *ids = k->locked.ids;
    size_t n = k->locked.count;

    k->locked.ids = NULL;
    k->locked.count = k->locked.cap = 0;
    k->locked.busy = true;
    pthread_mutex_unlock(&k->lock);
    remove_all(k, ids, n);
    free(ids);
    pthread_mutex_lock(&k->lock);
    k->locked.busy = false;
    pthread_cond_broadcast(&k->worked_off);
}

static void wait_for_work(struct keeper *k)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + measure_every_ns(k);
    until.tv_sec += (time_t)(ns / (uint64_t)NS_PER_S);
    until.tv_nsec = (long)(ns % (uint64_t)NS_PER_S);
    pthread_cond_timedwait(&k->wake, &k->lock, &until);
}

static void *keeper_main(void *arg)
{
    struct keeper *k = arg;
    uint64_t measured = 0;

    pthread_mutex_lock(&k->lock);
    while (!k->locked.stop || k->locked.count) {
        if (k->locked.count)
            work_off(k);
        else
            wait_for_work(k);
        if (clock_mono_ns() - measured >= measure_every_ns(k) && !k->locked.stop) {
            pthread_mutex_unlock(&k->lock);
            measured = clock_mono_ns();
            measure(k);
            extent_cache_reap(k->mountpath->extents, k->mountpath->segments);
            pthread_mutex_lock(&k->lock);
        }
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

void keeper_unlink(struct keeper *k, const struct segment_id *ids, size_t n)
{
    pthread_mutex_lock(&k->lock);
    if (k->locked.count + n > KEEPER_QUEUE_MAX) {
        n = 0; /* garbage collection will see to them */
    } else if (k->locked.count + n > k->locked.cap) {
        k->locked.cap = (k->locked.count + n) * 2;
        k->locked.ids = mem_realloc(k->locked.ids, k->locked.cap * sizeof(*ids));
    }
    if (n) {
        memcpy(k->locked.ids + k->locked.count, ids, n * sizeof(*ids));
        k->locked.count += n;
        pthread_cond_signal(&k->wake);
    }
    pthread_mutex_unlock(&k->lock);
}

void keeper_drain(struct keeper *k)
{
    pthread_mutex_lock(&k->lock);
    while (k->locked.count || k->locked.busy)
        pthread_cond_wait(&k->worked_off, &k->lock);
    pthread_mutex_unlock(&k->lock);
}

struct keeper *keeper_new(struct mountpath *m, const struct local_conf *conf)
{
    struct keeper *k = NEW(struct keeper);
    sigset_t all, old;

    k->mountpath = m;
    k->full_percent = conf->full_percent ? conf->full_percent : 97;
    k->high_percent = conf->high_percent ? conf->high_percent : 90;
    k->async = conf->durability == DURABILITY_ASYNC;
    k->gauges = gauges_get(m->dir);
    measure(k);
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->wake, NULL);
    pthread_cond_init(&k->worked_off, NULL);
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if (pthread_create(&k->thread, NULL, keeper_main, k) != 0) {
        perror("sluice: pthread_create");
        abort();
    }
    pthread_setname_np(k->thread, "keeper");
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return k;
}

void keeper_free(struct keeper *k)
{
    if (!k)
        return;
    pthread_mutex_lock(&k->lock);
    k->locked.stop = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    free(k->locked.ids);
    pthread_mutex_destroy(&k->lock);
    pthread_cond_destroy(&k->wake);
    pthread_cond_destroy(&k->worked_off);
    free(k);
}
