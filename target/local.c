#include "target/engine.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "target/disks.h"
#include "target/gc.h"

/* ---- metrics ---- */

static struct metric reads = {
    .name = "sluice_store_reads_total", .help = "Bodies of objects opened for reading", .kind = METRIC_COUNTER};
static struct metric read_bytes = {
    .name = "sluice_store_read_bytes_total", .help = "Bytes of those bodies", .kind = METRIC_COUNTER};
static struct metric writes = {
    .name = "sluice_store_writes_total", .help = "Objects and parts written", .kind = METRIC_COUNTER};
static struct metric written_bytes = {
    .name = "sluice_store_written_bytes_total", .help = "Bytes of those objects and parts", .kind = METRIC_COUNTER};

static void register_metrics(void)
{
    metric_register(&reads);
    metric_register(&read_bytes);
    metric_register(&writes);
    metric_register(&written_bytes);
}

void local_count_read(uint64_t bytes)
{
    metric_add(&reads, 1);
    metric_add(&read_bytes, (int64_t)bytes);
}

void local_count_written(uint64_t bytes)
{
    metric_add(&writes, 1);
    metric_add(&written_bytes, (int64_t)bytes);
}

enum err local_open(const struct local_conf *conf, struct local **out, char why[512])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct local *l = NEW(struct local);
    enum err e;

    pthread_once(&once, register_metrics);
    l->conf = *conf;
    l->conf.mountpaths = NULL;
    l->extents = extent_cache_new(conf->open_files_max);
    why[0] = 0;
    if ((e = disks_open(l, conf, why)) != ERR_OK) {
        local_close(l);
        return e;
    }
    l->gc = gc_start(l);
    disks_start(l->disks);
    *out = l;
    return ERR_OK;
}

void local_close(struct local *l)
{
    gc_stop(l->gc);
    disks_close(l->disks);
    extent_cache_free(l->extents);
    free(l);
}
