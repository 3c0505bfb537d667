#include "target/ingest_buf.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/metrics.h"

struct idle {
    struct idle *next;
};

static struct {
    pthread_mutex_t lock;
    struct idle *list; /* these and below: guarded by lock */
    size_t idle, used;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

#ifdef __SANITIZE_ADDRESS__
static const size_t kept = 0; /* so that a use after the upload's end is seen */
#else
static const size_t kept = INGEST_BUFS_KEPT;
#endif

static double bytes_used(void *arg)
{
    (void)arg;
    return (double)ingest_buf_used();
}

static struct metric used_metric = {.name = "sluice_upload_buffer_bytes",
                                    .help = "Buffers of uploads in use.",
                                    .kind = METRIC_CALLBACK,
                                    .read = bytes_used};

static void metrics_once(void)
{
    metric_register(&used_metric);
}

char *ingest_buf_get(bool must)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct idle *b = NULL;
    bool refused;

    pthread_once(&once, metrics_once);
    pthread_mutex_lock(&pool.lock);
    refused = !must && (pool.used + 1) * INGEST_BUF > INGEST_BUDGET;
    if (!refused) {
        pool.used++;
        if ((b = pool.list) != NULL) {
            pool.list = b->next;
            pool.idle--;
        }
    }
    pthread_mutex_unlock(&pool.lock);
    if (refused)
        return NULL;
    return b ? (char *)b : mem_alloc(INGEST_BUF);
}

void ingest_buf_put(char *buf)
{
    struct idle *b = (struct idle *)(void *)buf;

    if (!buf)
        return;
    pthread_mutex_lock(&pool.lock);
    pool.used--;
    if (pool.idle < kept) {
        b->next = pool.list;
        pool.list = b;
        pool.idle++;
        b = NULL;
    }
    pthread_mutex_unlock(&pool.lock);
    free(b);
}

size_t ingest_buf_used(void)
{
    pthread_mutex_lock(&pool.lock);
    size_t n = pool.used * INGEST_BUF;
    pthread_mutex_unlock(&pool.lock);
    return n;
}
