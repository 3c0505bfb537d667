#include "account.h"

#include "base/audit.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "s3api/access_log.h"
#include "s3api/request.h"

enum { CLASSES = 5, ROUTES_MAX = 192, LABELS_MAX = 96, TARGET_LOG_MAX = 512 };

/* Made by the first request of an action (and class); one more row for what was refused before it was routed. */
static _Atomic(struct metric *) counts[ROUTES_MAX + 1][CLASSES];
static _Atomic(struct metric *) times[ROUTES_MAX + 1];

static struct metric *metric_make(enum metric_kind kind, const char *name, const char *help, const char *action,
                                  const char *status)
{
    struct metric *m = NEW(struct metric);
    char *labels = mem_alloc(LABELS_MAX);

    snprintf(labels, LABELS_MAX, status ? "action=\"%s\",status=\"%s\"" : "action=\"%s\"", action, status);
    m->name = name;
    m->help = help;
    m->kind = kind;
    m->labels = labels;
    return m;
}

/* Two threads may make it at once: one wins, the other's is dropped. */
static struct metric *metric_publish(_Atomic(struct metric *) *slot, struct metric *made)
{
    struct metric *there = NULL;

    if (atomic_compare_exchange_strong(slot, &there, made)) {
        metric_register(made);
        return made;
    }
    free((char *)made->labels);
    free(made);
    return there;
}

static void count(size_t row, const char *action, int status, uint64_t took_ns)
{
    static const char *const classes[CLASSES] = {"1xx", "2xx", "3xx", "4xx", "5xx"};
    unsigned class = status >= 100 && status < 600 ? (unsigned)status / 100 - 1 : CLASSES - 1;
    struct metric *counter = atomic_load(&counts[row][class]), *time = atomic_load(&times[row]);

    if (!counter)
        counter =
            metric_publish(&counts[row][class],
                           metric_make(METRIC_COUNTER, "sluice_s3_requests_total",
                                       "S3 requests answered, by action and class of status.", action, classes[class]));
    if (!time)
        time = metric_publish(
            &times[row], metric_make(METRIC_HISTOGRAM, "sluice_s3_request_seconds",
                                     "Time from the head of a request to the last byte of its answer.", action, NULL));
    metric_add(counter, 1);
    metric_time(time, took_ns);
}

struct str account_target(const struct s3_request *r)
{
    static const struct str secrets[] = {{"X-Amz-Signature=", 16}, {"Signature=", 10}, {"X-Amz-Security-Token=", 21}};
    struct str rest = r->http->query, out = r->http->path;

    for (char sep = '?'; rest.n > 0; sep = '&') {
        struct str piece = str_split(&rest, '&');
        const char *hidden = "";
        for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
            if (str_starts_nocase(piece, secrets[i])) {
                piece = secrets[i];
                hidden = "...";
            }
        if (out.n > TARGET_LOG_MAX)
            break; /* log_quote() shows less than that */
        out = arena_printf(r->arena, STR_FMT "%c" STR_FMT "%s", STR_ARG(out), sep, STR_ARG(piece), hidden);
    }
    return out;
}

static void log_access(const struct s3_request *r, const char *action, uint64_t took_ns, enum err sent)
{
    log_info(str_n(r->http->id, sizeof(r->http->id)), "request",
             "peer=%s method=%s target=%s action=%s status=%d bytes=%llu ms=%.3f key=%s agent=%s sent=%s",
             r->http->peer, log_quote(r->http->method_text), log_quote(account_target(r)), action, r->reply.res.status,
             (unsigned long long)r->reply.body_bytes, (double)took_ns / 1e6, log_quote(r->access_key),
             log_quote(s3_header(r, STR("user-agent"))), err_name(sent));
}

/* Whether it changes how something is set up: requests about a service or bucket, but for those that are about objects. */
static bool is_administrative(const struct s3_request *r)
{
    static const char *const of_objects[] = {"PostObject", "DeleteObjects", "PostBatch"};

    if (!r->route || r->route->level == LEVEL_OBJECT || r->http->method == HTTP_GET || r->http->method == HTTP_HEAD ||
        r->http->method == HTTP_OPTIONS)
        return false;
    for (size_t i = 0; i < sizeof(of_objects) / sizeof(of_objects[0]); i++)
        if (str_eq(str_z(r->route->name), str_z(of_objects[i])))
            return false;
    return true;
}

static void audit(const struct s3_request *r, const char *action, uint64_t took_ns)
{
    audit_add(&(struct audit_entry){.id = str_n(r->http->id, sizeof(r->http->id)),
                                    .api = "s3",
                                    .peer = r->http->peer,
                                    .method = r->http->method_text,
                                    .path = r->http->path,
                                    .action = action,
                                    .key = r->access_key,
                                    .who = r->principal.arn,
                                    .bucket = r->bucket_name,
                                    .object = r->key,
                                    .status = r->reply.res.status,
                                    .error = r->reply.error,
                                    .bytes = r->reply.body_bytes,
                                    .took_ns = took_ns});
}

void account_request(const struct s3_request *r, enum err sent)
{
    uint64_t took_ns = clock_mono_ns() - r->started_ns;
    size_t row = r->route ? route_index(r->route) : ROUTES_MAX;
    const char *action = r->route ? r->route->name : "none";

    count(row < ROUTES_MAX ? row : ROUTES_MAX, action, r->reply.res.status, took_ns);
    if (audit_wants(is_administrative(r)))
        audit(r, action, took_ns);
    if (r->env->conf->access_log)
        log_access(r, action, took_ns, sent);
    if (r->env->logs)
        access_logs_add(r->env->logs, r, took_ns);
}
