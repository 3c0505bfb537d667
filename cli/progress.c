#include "progress.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum { BAR = 30, LINE_MAX_LEN = 160 };

struct progress {
    const char *what;
    uint64_t total, things_total, began_ns;
    _Atomic uint64_t bytes, things;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool ended; /* guarded by lock */
};

const char *progress_size(uint64_t bytes, char out[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double n = (double)bytes;
    unsigned unit = 0;

    while (n >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        n /= 1024;
        unit++;
    }
    snprintf(out, 32, unit ? "%.1f %s" : "%.0f %s", n, units[unit]);
    return out;
}

static double part_of(const struct progress *p, uint64_t bytes, uint64_t things)
{
    double part = p->total          ? (double)bytes / (double)p->total
                  : p->things_total ? (double)things / (double)p->things_total
                                    : -1;

    return part > 1 ? 1 : part;
}

static void draw(struct progress *p)
{
    uint64_t bytes = atomic_load(&p->bytes), things = atomic_load(&p->things);
    double s = (double)(clock_mono_ns() - p->began_ns) / 1e9, part = part_of(p, bytes, things);
    char size[32], rate[32], bar[BAR + 1];

    if (part >= 0) {
        for (int i = 0; i < BAR; i++)
            bar[i] = i < (int)(part * BAR) ? '#' : '-';
        bar[BAR] = '\0';
        fprintf(stderr, "\r\033[K%s [%s] %3.0f%%", p->what, bar, part * 100);
    } else {
        fprintf(stderr, "\r\033[K%s", p->what);
    }
    if (things || p->things_total)
        fprintf(stderr, "  %llu", (unsigned long long)things);
    if (p->things_total)
        fprintf(stderr, "/%llu", (unsigned long long)p->things_total);
    fprintf(stderr, "  %s  %s/s", progress_size(bytes, size),
            progress_size((uint64_t)((double)bytes / (s > 0 ? s : 1)), rate));
}

static void *run(void *arg)
{
    struct progress *p = arg;

    pthread_mutex_lock(&p->lock);
    while (!p->ended) {
        struct timespec until;
        draw(p);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 500000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&p->wake, &p->lock, &until);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

struct progress *progress_begin(const char *what, uint64_t total, uint64_t things, bool quiet)
{
    struct progress *p;

    if (quiet || !isatty(STDERR_FILENO))
        return NULL;
    p = NEW(struct progress);
    p->what = what;
    p->total = total;
    p->things_total = things;
    p->began_ns = clock_mono_ns();
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    if (pthread_create(&p->thread, NULL, run, p) != 0) {
        free(p);
        return NULL;
    }
    return p;
}

void progress_add(struct progress *p, uint64_t bytes, uint64_t things)
{
    if (!p)
        return;
    atomic_fetch_add(&p->bytes, bytes);
    atomic_fetch_add(&p->things, things);
}

void progress_end(struct progress *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->ended = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    draw(p);
    fputc('\n', stderr);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->wake);
    free(p);
}
