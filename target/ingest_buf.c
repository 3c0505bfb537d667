#include "target/ingest_buf.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "target/direct.h"

#ifdef __SANITIZE_ADDRESS__
enum { SLABS = 1, SLABS_USED = 0 }; /* each buffer is malloc's own, so that a use after the upload's end is seen */
#else
enum { SLABS = INGEST_BUDGET / INGEST_SLAB, SLABS_USED = SLABS };
#endif
enum {
    PER_SLAB = INGEST_SLAB / INGEST_BUF,
    SLAB_FULL = (1 << PER_SLAB) - 1,
};

/* One mapping, made once: mapping and unmapping memory under load would have every thread that touches a fresh page wait
 * (mmap_lock), loops among them. A slab is a huge page where the kernel gives one: it copies into it and writes from it
 * with less work. */
static struct {
    pthread_mutex_t lock;
    char *mem;            /* set once; NULL: no memory, or no slabs */
    unsigned used[SLABS]; /* guarded by lock, as is all below; sets of 1u << buffer */
    bool touched[SLABS];  /* the slab has pages */
    size_t idle_slabs;    /* touched ones without a used buffer */
    size_t buffers;       /* in use */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void region_map(void)
{
    size_t n = (size_t)(SLABS + 1) * INGEST_SLAB;
    char *p = SLABS_USED ? mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                         : MAP_FAILED;

    if (p == MAP_FAILED)
        return;
    pool.mem = p + (INGEST_SLAB - (uintptr_t)p % INGEST_SLAB) % INGEST_SLAB;
    (void)!madvise(pool.mem, (size_t)SLABS * INGEST_SLAB, MADV_HUGEPAGE);
}

static double bytes_used(void *arg)
{
    (void)arg;
    return (double)ingest_buf_used();
}

static struct metric used_metric = {.name = "sluice_upload_buffer_bytes",
                                    .help = "Buffers of uploads in use.",
                                    .kind = METRIC_CALLBACK,
                                    .read = bytes_used};

static void setup_once(void)
{
    metric_register(&used_metric);
    region_map();
}

/* NULL: all are full. */
static char *slab_take(void)
{
    size_t found = SLABS;
    unsigned n = 0;

    for (size_t i = 0; i < SLABS && pool.mem; i++) {
        /* the fullest, so that others become idle; one with pages rather than one without */
        bool better = found == SLABS || pool.used[i] > pool.used[found] ||
                      (pool.used[i] == pool.used[found] && pool.touched[i] && !pool.touched[found]);
        if (pool.used[i] != SLAB_FULL && better)
            found = i;
    }
    if (found == SLABS)
        return NULL;
    pool.idle_slabs -= pool.used[found] == 0 && pool.touched[found];
    pool.touched[found] = true;
    while (pool.used[found] & 1u << n)
        n++;
    pool.used[found] |= 1u << n;
    return pool.mem + found * INGEST_SLAB + n * (size_t)INGEST_BUF;
}

/* False: the buffer is no slab's. */
static bool slab_put(const char *buf)
{
    size_t i;

    if (!pool.mem || buf < pool.mem || buf >= pool.mem + (size_t)SLABS * INGEST_SLAB)
        return false;
    i = (size_t)(buf - pool.mem) / INGEST_SLAB;
    pool.used[i] &= ~(1u << (size_t)(buf - pool.mem) % INGEST_SLAB / INGEST_BUF);
    if (pool.used[i] == 0 && ++pool.idle_slabs > INGEST_SLABS_KEPT) {
        pool.idle_slabs--;
        pool.touched[i] = false;
        (void)!madvise(pool.mem + i * INGEST_SLAB, INGEST_SLAB, MADV_DONTNEED);
    }
    return true;
}

char *ingest_buf_get(bool must)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char *buf = NULL;
    bool refused;

    pthread_once(&once, setup_once);
    pthread_mutex_lock(&pool.lock);
    refused = !must && (pool.buffers + 1) * INGEST_BUF > INGEST_BUDGET;
    if (!refused) {
        pool.buffers++;
        buf = slab_take();
    }
    pthread_mutex_unlock(&pool.lock);
    if (refused)
        return NULL;
    return buf ? buf : mem_aligned(DIRECT_ALIGN, INGEST_BUF);
}

void ingest_buf_put(char *buf)
{
    bool own;

    if (!buf)
        return;
    pthread_mutex_lock(&pool.lock);
    pool.buffers--;
    own = !slab_put(buf);
    pthread_mutex_unlock(&pool.lock);
    if (own)
        free(buf);
}

size_t ingest_buf_used(void)
{
    pthread_mutex_lock(&pool.lock);
    size_t n = pool.buffers * INGEST_BUF;
    pthread_mutex_unlock(&pool.lock);
    return n;
}
