#include "unit.h"

#include "base/metrics.h"

static double half(void *arg)
{
    return *(double *)arg / 2;
}

static void says(const struct buf *b, const char *text)
{
    if (str_find(buf_str(b), str_z(text)) == SIZE_MAX)
        fail_msg("\"%.*s\" does not hold \"%s\"", (int)b->n, b->p, text);
}

static void rows_of_a_name_stand_together(void **state)
{
    static struct metric get = {.name = "t_requests_total", .labels = "op=\"get\"", .help = "Requests."};
    static struct metric open = {.name = "t_open", .help = "Open.", .kind = METRIC_GAUGE};
    static struct metric put = {.name = "t_requests_total", .labels = "op=\"put\"", .help = "Requests."};
    struct buf out = BUF_INIT(1 << 16);

    (void)state;
    metric_register(&get);
    metric_register(&open);
    metric_register(&put);
    metric_add(&get, 2);
    metric_add(&put, 5);
    metric_set(&open, -3);
    metrics_print(&out);
    says(&out, "# HELP t_requests_total Requests.\n# TYPE t_requests_total counter\n"
               "t_requests_total{op=\"get\"} 2\nt_requests_total{op=\"put\"} 5\n# HELP t_open Open.\n"
               "# TYPE t_open gauge\nt_open -3\n");
    buf_release(&out);
}

static void a_histogram_counts_upwards(void **state)
{
    static struct metric m = {.name = "t_seconds", .help = "Time.", .kind = METRIC_HISTOGRAM};
    static struct metric labelled = {.name = "t_labelled", .labels = "a=\"b\"", .help = "T.", .kind = METRIC_HISTOGRAM};
    struct buf out = BUF_INIT(1 << 16);

    (void)state;
    metric_register(&m);
    metric_register(&labelled);
    metric_time(&m, 100000);      /* the first bucket, to the brim */
    metric_time(&m, 100001);      /* the second */
    metric_time(&m, 60000000000); /* beyond all */
    metric_time(&labelled, 1);
    metrics_print(&out);
    says(&out, "# TYPE t_seconds histogram\n");
    says(&out, "t_seconds_bucket{le=\"0.0001\"} 1\nt_seconds_bucket{le=\"0.0002\"} 2\n");
    says(&out, "t_seconds_bucket{le=\"1.6384\"} 2\nt_seconds_bucket{le=\"+Inf\"} 3\n");
    says(&out, "t_seconds_count{} 3\n");
    says(&out, "t_labelled_bucket{a=\"b\",le=\"0.0001\"} 1\n");
    says(&out, "t_labelled_count{a=\"b\"} 1\n");
    buf_release(&out);
}

static void a_callback_is_asked_when_printed(void **state)
{
    static double value = 5;
    static struct metric m = {.name = "t_half", .help = "Half.", .kind = METRIC_CALLBACK, .read = half, .arg = &value};
    struct buf out = BUF_INIT(1 << 16);

    (void)state;
    metric_register(&m);
    value = 3;
    metrics_print(&out);
    says(&out, "# TYPE t_half gauge\nt_half 1.5\n");
    buf_release(&out);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_a_name_stand_together),
        cmocka_unit_test(a_histogram_counts_upwards),
        cmocka_unit_test(a_callback_is_asked_when_printed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
