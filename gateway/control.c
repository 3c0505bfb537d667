#include "control.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/metrics.h"
#include "base/op.h"

enum { METRICS_TEXT_MAX = 8 << 20, STATM_MAX = 128 };

struct control {
    struct control_conf conf;
    int64_t started_wall_ns;
    uint64_t started_mono_ns;
    atomic_bool draining;
};

/* One answer; lives in its request's arena. */
struct answer {
    struct op op;
    struct control *control;
    struct http_req *req;
    struct offload_task task;
    void (*print)(const struct control *, struct buf *);
    struct buf text;
    int status;
    const char *type;
    struct http_header headers[3];
};

static step_fn answer_render, answer_rendered, answer_send, answer_end; /* in order; health begins with answer_send */

/* ---- what the process says of itself ---- */

static void gauge(struct buf *out, const char *name, const char *help, double value)
{
    buf_addf(out, "# HELP %s %s\n# TYPE %s gauge\n%s %.17g\n", name, help, name, name, value);
}

static double resident_bytes(void)
{
    char text[STATM_MAX];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : -1;
    struct str rest = str_n(text, n > 0 ? (size_t)n : 0);
    uint64_t pages = 0;

    if (fd >= 0)
        close(fd);
    str_split(&rest, ' ');
    return str_to_u64(str_split(&rest, ' '), UINT64_MAX, &pages) ? (double)pages * (double)sysconf(_SC_PAGESIZE) : 0;
}

/* Linux 6.2 and up tell the number as the directory's size; before, it is counted. */
static double open_descriptors(void)
{
    struct stat st;
    double n = 0;
    DIR *dir;

    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
        return (double)st.st_size;
    if ((dir = opendir("/proc/self/fd")) == NULL)
        return 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n - 1; /* the one used for counting */
}

static void print_process(const struct control *c, struct buf *out)
{
    struct rusage usage;
    struct rlimit files;

    gauge(out, "process_resident_memory_bytes", "Resident memory.", resident_bytes());
    gauge(out, "process_open_fds", "Open descriptors.", open_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        gauge(out, "process_max_fds", "Most descriptors that may be open.", (double)files.rlim_cur);
    gauge(out, "process_start_time_seconds", "Unix time of the start.", (double)c->started_wall_ns / 1e9);
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        buf_addf(out,
                 "# HELP process_cpu_seconds_total Processor time used.\n# TYPE process_cpu_seconds_total counter\n"
                 "process_cpu_seconds_total %.6f\n",
                 (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}

static double uptime_s(const struct control *c)
{
    return (double)(clock_mono_ns() - c->started_mono_ns) / 1e9;
}

static void print_server(const struct control *c, struct buf *out)
{
    buf_addf(out,
             "# HELP sluice_build_info Always 1; the labels tell the build.\n# TYPE sluice_build_info gauge\n"
             "sluice_build_info{version=\"%s\"} 1\n",
             SLUICE_VERSION);
    gauge(out, "sluice_uptime_seconds", "Time since the start.", uptime_s(c));
    buf_add_z(out, "# HELP sluice_loop_stall_seconds_max Longest turn of an event loop since the last scrape.\n"
                   "# TYPE sluice_loop_stall_seconds_max gauge\n");
    for (unsigned i = 0; i < c->conf.loop_count; i++)
        buf_addf(out, "sluice_loop_stall_seconds_max{loop=\"%u\"} %.6f\n", i,
                 (double)loop_longest_turn_ns(c->conf.loops[i], true) / 1e9);
    buf_addf(out,
             "# HELP sluice_offload_tasks Tasks queued or running in a thread pool.\n"
             "# TYPE sluice_offload_tasks gauge\n"
             "sluice_offload_tasks{pool=\"io\"} %zu\nsluice_offload_tasks{pool=\"cpu\"} %zu\n",
             offload_depth(c->conf.io), offload_depth(c->conf.cpu));
}

static void print_metrics(const struct control *c, struct buf *out)
{
    print_server(c, out);
    print_process(c, out);
    if (c->conf.role.metrics)
        c->conf.role.metrics(c->conf.role.arg, out);
    metrics_print(out);
}

static void print_cluster(const struct control *c, struct buf *out)
{
    c->conf.role.cluster(c->conf.role.arg, out);
    buf_add_char(out, '\n');
}

/* ---- answering ---- */

static enum err render(struct offload_task *t)
{
    struct answer *a = CONTAINER(t, struct answer, task);

    a->print(a->control, &a->text);
    return buf_err(&a->text);
}

static enum step_next answer_render(struct op *op)
{
    struct answer *a = OP(op, struct answer);

    offload_run(a->control->conf.io, &a->task, render, op_try(op, answer_rendered));
    return STEP_WAIT;
}

static enum step_next answer_rendered(struct op *op)
{
    struct answer *a = OP(op, struct answer);

    a->status = op->call.err == ERR_OK ? 200 : 503;
    if (a->status != 200) {
        buf_reset(&a->text);
        buf_addf(&a->text, "%s\n", err_name(op->call.err));
    }
    return op_go(op, answer_send);
}

static enum step_next answer_send(struct op *op)
{
    struct answer *a = OP(op, struct answer);
    bool head = a->req->method == HTTP_HEAD;
    struct http_res res = {.status = a->status, .headers = a->headers, .stated_length = a->text.n};

    a->headers[res.header_count++] = (struct http_header){STR("Content-Type"), str_z(a->type)};
    a->headers[res.header_count++] = (struct http_header){STR("Cache-Control"), STR("no-store")};
    if (a->status == 405)
        a->headers[res.header_count++] = (struct http_header){STR("Allow"), STR("GET, HEAD")};
    if (!head && a->text.n)
        res.body = source_memory(buf_str(&a->text), NULL, NULL);
    http_respond(a->req, &res, op_call(op, answer_end));
    return STEP_WAIT;
}

/* Everything is in the request's arena. */
static enum step_next answer_end(struct op *op)
{
    (void)op;
    return STEP_DONE;
}

static void release_text(void *text)
{
    buf_release(text);
}

static struct answer *answer_new(struct control *c, struct http_req *req, int status, const char *type)
{
    struct answer *a = ARENA_NEW(req->arena, struct answer);

    a->control = c;
    a->req = req;
    a->status = status;
    a->type = type;
    buf_init(&a->text, METRICS_TEXT_MAX);
    arena_defer(req->arena, release_text, &a->text);
    return a;
}

/* "ready" (or AIStore's "readiness") among the parameters, with or without a value. */
static bool asks_ready(struct str query)
{
    while (query.n) {
        struct str one = str_split(&query, '&');
        struct str name = str_split(&one, '=');
        if (str_eq(name, STR("ready")) || str_eq(name, STR("readiness")))
            return true;
    }
    return false;
}

static void answer_health(struct control *c, struct http_req *req)
{
    const struct control_role *role = &c->conf.role;
    bool draining = atomic_load(&c->draining), ready = true;
    char why[CONTROL_WHY_MAX] = "";
    struct answer *a;

    if (!draining && asks_ready(req->query) && role->ready)
        ready = role->ready(role->arg, why);
    a = answer_new(c, req, draining || !ready ? 503 : 200, "application/json");
    js_object(&a->text);
    js_put_str(&a->text, "status", str_z(draining ? "draining" : ready ? "ok" : "not ready"));
    if (!ready)
        js_put_str(&a->text, "why", str_z(why));
    js_put_str(&a->text, "version", STR(SLUICE_VERSION));
    buf_addf(&a->text, ",\"uptime_seconds\":%.3f}\n", uptime_s(c)); /* which ends the object */
    op_start(&a->op, req->loop, "health", answer_send, answer_end);
}

static void answer_rendering(struct control *c, struct http_req *req, const char *type,
                             void (*print)(const struct control *, struct buf *))
{
    struct answer *a = answer_new(c, req, 200, type);

    a->print = print;
    op_start(&a->op, req->loop, "control", answer_render, answer_end);
}

static void answer_metrics(struct control *c, struct http_req *req)
{
    answer_rendering(c, req, "text/plain; version=0.0.4; charset=utf-8", print_metrics);
}

static void answer_cluster(struct control *c, struct http_req *req)
{
    answer_rendering(c, req, "application/json", print_cluster);
}

static void answer_refusal(struct control *c, struct http_req *req)
{
    struct answer *a = answer_new(c, req, 405, "application/json");

    buf_add_z(&a->text, "{\"error\":\"only GET and HEAD\"}\n");
    op_start(&a->op, req->loop, "control", answer_send, answer_end);
}

/* ---- public ---- */

static const struct control_path {
    const char *path;
    void (*answer)(struct control *, struct http_req *);
} paths[] = {{"/v1/health", answer_health}, {"/v1/metrics", answer_metrics}, {"/v1/cluster", answer_cluster}};

static const struct control_path *find(const struct control *c, struct str path)
{
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        if (str_eq(path, str_z(paths[i].path)))
            return paths[i].answer == answer_cluster && !c->conf.role.cluster ? NULL : &paths[i];
    return NULL;
}

bool control_takes(const struct control *c, const struct http_req *req)
{
    const struct control_path *p = find(c, req->path);

    if (!p || p->answer != answer_cluster)
        return p != NULL;
    return (req->method == HTTP_GET || req->method == HTTP_HEAD) && !str_starts(req->query, STR("what="));
}

void control_request(struct control *c, struct http_req *req)
{
    if (req->method == HTTP_GET || req->method == HTTP_HEAD)
        find(c, req->path)->answer(c, req);
    else
        answer_refusal(c, req);
}

void control_set_draining(struct control *c)
{
    atomic_store(&c->draining, true);
}

struct control *control_new(const struct control_conf *conf)
{
    struct control *c = NEW(struct control);

    c->conf = *conf;
    c->started_wall_ns = clock_wall_ns();
    c->started_mono_ns = clock_mono_ns();
    return c;
}

void control_free(struct control *c)
{
    free(c);
}
