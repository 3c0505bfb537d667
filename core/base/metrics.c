#include "metrics.h"

#include <pthread.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric *all, **tail = &all; /* guarded by lock */

void metric_register(struct metric *m)
{
    pthread_mutex_lock(&lock);
    m->next = NULL;
    *tail = m;
    tail = &m->next;
    pthread_mutex_unlock(&lock);
}

void metric_time(struct metric *m, uint64_t took_ns)
{
    uint64_t limit = 100000;
    int i = 0;

    while (i < METRIC_BUCKETS - 1 && took_ns > limit) {
        limit *= 2;
        i++;
    }
    atomic_fetch_add_explicit(&m->bucket[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->sum_ns, (int64_t)took_ns, memory_order_relaxed);
    metric_add(m, 1);
}

static void print_histogram(const struct metric *m, struct buf *out)
{
    const char *labels = m->labels ? m->labels : "", *comma = m->labels ? "," : "";
    int64_t total = 0;
    double limit = 0.0001;

    for (int i = 0; i < METRIC_BUCKETS - 1; i++, limit *= 2) {
        total += atomic_load_explicit(&m->bucket[i], memory_order_relaxed);
        buf_addf(out, "%s_bucket{%s%sle=\"%g\"} %lld\n", m->name, labels, comma, limit, (long long)total);
    }
    total += atomic_load_explicit(&m->bucket[METRIC_BUCKETS - 1], memory_order_relaxed);
    buf_addf(out, "%s_bucket{%s%sle=\"+Inf\"} %lld\n", m->name, labels, comma, (long long)total);
    buf_addf(out, "%s_sum{%s} %g\n", m->name, labels,
             (double)atomic_load_explicit(&m->sum_ns, memory_order_relaxed) / 1e9);
    buf_addf(out, "%s_count{%s} %lld\n", m->name, labels, (long long)total);
}

static void print_row(struct metric *m, struct buf *out)
{
    if (m->kind == METRIC_HISTOGRAM) {
        print_histogram(m, out);
        return;
    }
    buf_add_z(out, m->name);
    if (m->labels)
        buf_addf(out, "{%s}", m->labels);
    if (m->kind == METRIC_CALLBACK)
        buf_addf(out, " %.9g\n", m->read(m->arg));
    else
        buf_addf(out, " %lld\n", (long long)atomic_load_explicit(&m->value, memory_order_relaxed));
}

static bool is_first_of_name(const struct metric *m)
{
    for (const struct metric *o = all; o != m; o = o->next)
        if (strcmp(o->name, m->name) == 0)
            return false;
    return true;
}

void metrics_print(struct buf *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram", "gauge"};

    pthread_mutex_lock(&lock);
    for (struct metric *m = all; m; m = m->next) {
        if (!is_first_of_name(m))
            continue;
        buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, kinds[m->kind]);
        for (struct metric *o = m; o; o = o->next)
            if (strcmp(o->name, m->name) == 0)
                print_row(o, out);
    }
    pthread_mutex_unlock(&lock);
}
