/* metrics.h - counters, gauges and histograms, printed as Prometheus text.
 *
 * Shape    a metric is a static struct registered once; rows of one name with different labels are separate metrics that share
 *          name and help.
 * Units    as the name says: _seconds, _bytes, _total.
 * Thread   any: relaxed atomics.
 * Source   Prometheus exposition format 0.0.4.
 */
#ifndef SLUICE_BASE_METRICS_H
#define SLUICE_BASE_METRICS_H

#include <stdatomic.h>

#include "buf.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_CALLBACK };
enum { METRIC_BUCKETS = 16 };

struct metric {
    const char *name;   /* "sluice_http_requests_total" */
    const char *labels; /* "op=\"get\"" or NULL */
    const char *help;
    enum metric_kind kind;
    _Atomic int64_t value;                  /* counter, gauge; histogram: number of samples */
    _Atomic int64_t sum_ns;                 /* histogram */
    _Atomic int64_t bucket[METRIC_BUCKETS]; /* histogram: bucket i counts samples <= 100 us * 2^i */
    double (*read)(void *arg);              /* METRIC_CALLBACK: a gauge computed when asked */
    void *arg;
    struct metric *next;
};

/* Adds a static or heap-allocated metric to the registry for the life of the process. Once per struct. */
void metric_register(struct metric *m);
static inline void metric_add(struct metric *m, int64_t by)
{
    atomic_fetch_add_explicit(&m->value, by, memory_order_relaxed);
}
static inline void metric_set(struct metric *m, int64_t to)
{
    atomic_store_explicit(&m->value, to, memory_order_relaxed);
}
/* A sample of a histogram of durations. */
void metric_time(struct metric *m, uint64_t took_ns);
/* The whole registry in registration order, rows of one name together. */
void metrics_print(struct buf *out);

#endif
