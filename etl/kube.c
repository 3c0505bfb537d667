#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "etl/spec_own.h"
#include "kube_own.h"

enum {
    ID_MAX = KUBE_NAME_MAX - 9, /* "-" and 8 random digits come behind it */
    CONNECT_MS = 1000,
    STOP_SLACK_MS = 30000,
    FORCED_MS = 10000,
    LOG_LINES = 5000,
    LOG_READ_MAX = 32 << 20, /* of these lines */
    NO_METRICS_S = 60,
    NOBODY = 65534,
};
#define NANOS_PER_S UINT64_C(1000000000)

static struct kube_runtime *runtime_of(struct etl_runtime *r)
{
    return CONTAINER(r, struct kube_runtime, runtime);
}

static struct kube_instance *instance_of(struct etl_instance *i)
{
    return CONTAINER(i, struct kube_instance, instance);
}

/* ---- start ---- */

/* It becomes the front of a Pod's name, and a label's value. */
static bool id_is_valid(struct str id)
{
    bool ok = id.n && id.n <= ID_MAX && id.p[0] != '-';

    for (size_t k = 0; ok && k < id.n; k++)
        ok = (id.p[k] >= 'a' && id.p[k] <= 'z') || (id.p[k] >= '0' && id.p[k] <= '9') || id.p[k] == '-';
    return ok;
}

static struct etl_env *copy_env(struct arena *a, const struct etl_env *from, size_t n)
{
    struct etl_env *out = arena_new(a, (n + 1) * sizeof(*out));

    for (size_t k = 0; k < n; k++)
        out[k] = (struct etl_env){arena_str(a, from[k].name), arena_str(a, from[k].value)};
    return out;
}

static void copy_spec(struct kube_instance *i, const struct etl_spec *from)
{
    struct arena *a = &i->arena;
    struct str *words = arena_new(a, (from->command_count + 1) * sizeof(*words));

    i->spec = *from;
    i->spec.name = arena_str(a, from->name);
    i->spec.health = arena_str(a, from->health);
    i->spec.image = arena_str(a, from->image);
    for (size_t k = 0; k < from->command_count; k++)
        words[k] = arena_str(a, from->command[k]);
    i->spec.command = words;
    i->spec.env = copy_env(a, from->env, from->env_count);
    i->spec.pod = arena_str(a, from->pod);
    i->spec.kubernetes = STR_NONE; /* that is here */
}

/* The Pod that it was made from; the sidecar's container keeps its name. */
static enum err take_pod(struct kube_instance *i, char why[ETL_WHY_MAX])
{
    char reason[DOC_WHY_MAX] = "";

    snprintf(i->container, sizeof(i->container), STR_FMT, STR_ARG(i->spec.name));
    if (!i->spec.pod.n)
        return ERR_OK;
    if (spec_read_tree(&i->arena, i->spec.pod, &i->pod, reason) != ERR_OK) {
        rest_say(why, "its Pod can't be read: ", str_z(reason));
        return ERR_INVALID_ARGUMENT;
    }
    const struct doc *list = rest_at(i->pod, "spec.containers");
    struct str name = list ? rest_text(list->first, "name") : STR_NONE;
    if (name.n > KUBE_NAME_MAX) {
        snprintf(why, ETL_WHY_MAX, "spec.containers[0].name: longer than %d characters", KUBE_NAME_MAX);
        return ERR_INVALID_ARGUMENT;
    }
    if (name.n)
        snprintf(i->container, sizeof(i->container), STR_FMT, STR_ARG(name));
    return ERR_OK;
}

static struct kube_instance *instance_new(struct kube_runtime *r, const struct etl_start_req *req)
{
    struct kube_instance *i = NEW(struct kube_instance);

    i->instance.runtime = &r->runtime;
    i->runtime = r;
    i->id = arena_str(&i->arena, req->id);
    copy_spec(i, req->spec);
    i->more = copy_env(&i->arena, req->env, req->env_count);
    i->more_count = req->env_count;
    i->listener = -1;
    return i;
}

static enum err enter(struct kube_instance *i, char why[ETL_WHY_MAX])
{
    struct kube_runtime *r = i->runtime;
    bool taken = false;

    pthread_mutex_lock(&r->lock);
    for (struct kube_instance *o = r->locked.first; o; o = o->next)
        taken |= str_eq(o->id, i->id);
    if (!taken) {
        i->next = r->locked.first;
        r->locked.first = i;
    }
    pthread_mutex_unlock(&r->lock);
    if (taken)
        snprintf(why, ETL_WHY_MAX, "there is one named " STR_FMT " already", STR_ARG(i->id));
    return taken ? ERR_EXISTS : ERR_OK;
}

static void instance_release(struct kube_instance *i)
{
    if (i->listener >= 0)
        close(i->listener);
    arena_release(&i->arena);
    free(i);
}

/* Nobody looks for its Pod any more. */
static void instance_free(struct kube_instance *i)
{
    struct kube_instance **at = &i->runtime->locked.first;

    pthread_mutex_lock(&i->runtime->lock);
    while (*at != i)
        at = &(*at)->next;
    *at = i->next;
    pthread_mutex_unlock(&i->runtime->lock);
    instance_release(i);
}

static enum err check(const struct kube_runtime *r, const struct etl_start_req *req, char why[ETL_WHY_MAX])
{
    (void)r;
    if (!id_is_valid(req->id)) {
        rest_say(why, "this can't be the name of a Pod: ", req->id);
        return ERR_INVALID_ARGUMENT;
    }
    if (req->spec->comm == ETL_IO) {
        snprintf(why, ETL_WHY_MAX,
                 "communication: io:// is not supported where sidecars are Pods: a Pod for each object takes seconds");
        return ERR_NOT_IMPLEMENTED;
    }
    if (!req->spec->image.n) {
        snprintf(why, ETL_WHY_MAX, "runtime.image: is missing, and sidecars are Pods here");
        return ERR_INVALID_ARGUMENT;
    }
    return ERR_OK;
}

static void name_of(struct kube_instance *i, char out[KUBE_NAME_MAX + 1])
{
    pthread_mutex_lock(&i->runtime->lock);
    memcpy(out, i->locked.name, sizeof(i->locked.name));
    pthread_mutex_unlock(&i->runtime->lock);
}

/* ---- images that say no user ---- */

static uint64_t hash_of(struct str image)
{
    uint64_t h = UINT64_C(14695981039346656037); /* FNV-1a: a wrong answer costs nothing but a name */

    for (size_t k = 0; k < image.n; k++)
        h = (h ^ (unsigned char)image.p[k]) * UINT64_C(1099511628211);
    return h;
}

static bool says_no_user(struct kube_runtime *r, struct str image)
{
    uint64_t h = hash_of(image);
    bool found = false;

    pthread_mutex_lock(&r->lock);
    for (unsigned k = 0; k < r->locked.root_count && k < KUBE_ROOTS_MAX; k++)
        found |= r->locked.roots[k] == h;
    pthread_mutex_unlock(&r->lock);
    return found;
}

/* It is made again, as nobody. What was there never ran. */
static bool make_as_user(struct kube_instance *i, char why[ETL_WHY_MAX])
{
    struct kube_runtime *r = i->runtime;
    char ignored[ETL_WHY_MAX], name[KUBE_NAME_MAX + 1];

    name_of(i, name);
    (void)!kube_delete(r, name, 0, ignored); /* what is left of it is removed by the next one, or at the end */
    pthread_mutex_lock(&r->lock);
    r->locked.roots[r->locked.root_count++ % KUBE_ROOTS_MAX] = hash_of(i->spec.image);
    pthread_mutex_unlock(&r->lock);
    return kube_make(i, true, why) == ERR_OK;
}

static enum err kube_start(struct etl_runtime *runtime, const struct etl_start_req *req, struct etl_instance **out,
                           char why[ETL_WHY_MAX])
{
    struct kube_runtime *r = runtime_of(runtime);
    struct kube_instance *i;
    enum err e;

    why[0] = 0;
    if ((e = check(r, req, why)) != ERR_OK)
        return e;
    i = instance_new(r, req);
    if ((e = take_pod(i, why)) != ERR_OK || (e = enter(i, why)) != ERR_OK) {
        instance_release(i);
        return e;
    }
    if ((e = kube_listen(r, &i->listener, req->target_path, &i->arena, &i->url, why)) == ERR_OK)
        e = kube_make(i, says_no_user(r, i->spec.image), why);
    if (e != ERR_OK) {
        instance_free(i);
        return e;
    }
    *out = &i->instance;
    return ERR_OK;
}

/* ---- end ---- */

/* Nobody tells, maybe: the watch may be broken. */
static bool is_gone(struct kube_instance *i, uint32_t ms)
{
    enum { TURN_MS = 250, TURN_MAX_MS = 2000 };
    char why[ETL_WHY_MAX];

    for (uint32_t k = 0, turn = TURN_MS; k < ms; k += turn, turn = turn < TURN_MAX_MS ? 2 * turn : turn) {
        if (kube_await_gone(i, ms - k < turn ? ms - k : turn))
            return true;
        struct arena a = ARENA_INIT;
        struct str path = arena_printf(&a, "/pods/%s", i->locked.name);
        enum err e =
            kube_ask(&i->runtime->api, &a,
                     &(struct kube_req){.method = "GET", .verb = "get", .resource = "pods", .path = path.p}, NULL, why);
        arena_release(&a);
        if (e == ERR_NOT_FOUND)
            return true;
    }
    return false;
}

static bool remove_pod(struct kube_instance *i, uint32_t grace_s, uint32_t ms, char why[ETL_WHY_MAX])
{
    enum err e = kube_delete(i->runtime, i->locked.name, grace_s, why);

    if (e == ERR_OK && !is_gone(i, ms)) {
        snprintf(why, ETL_WHY_MAX, "it is still there, %u s after it should have ended", ms / 1000 - grace_s);
        return false;
    }
    return e == ERR_OK || e == ERR_NOT_FOUND;
}

static void kube_stop(struct etl_instance *instance, uint32_t grace_ms)
{
    struct kube_instance *i = instance_of(instance);
    uint32_t grace_s = (grace_ms + 999) / 1000;
    char why[ETL_WHY_MAX] = "";

    if (!(grace_s && remove_pod(i, grace_s, grace_s * 1000 + STOP_SLACK_MS, why)) && !remove_pod(i, 0, FORCED_MS, why))
        log_error(STR_NONE, "etl pod not removed", "pod=%s reason=%s", i->locked.name, log_quote(str_z(why)));
    instance_free(i);
}

static bool kube_alive(struct etl_instance *instance, char why[ETL_WHY_MAX])
{
    struct kube_instance *i = instance_of(instance);
    bool ended, root;

    pthread_mutex_lock(&i->runtime->lock);
    ended = i->locked.gone || i->locked.state.ended;
    root = i->locked.state.wants_root && !i->locked.as_user && !i->locked.gone;
    i->locked.as_user |= root;
    snprintf(why, ETL_WHY_MAX, "%s", i->locked.gone ? "somebody has removed its Pod" : i->locked.state.why);
    pthread_mutex_unlock(&i->runtime->lock);
    return root ? make_as_user(i, why) : !ended;
}

/* ---- connections ---- */

static bool address_of(struct kube_instance *i, struct sockaddr_storage *sa, socklen_t *len)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)sa;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)sa;
    char text[INET6_ADDRSTRLEN];

    pthread_mutex_lock(&i->runtime->lock);
    memcpy(text, i->locked.state.address, sizeof(text));
    pthread_mutex_unlock(&i->runtime->lock);
    memset(sa, 0, sizeof(*sa));
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(i->spec.port);
        *len = sizeof(*v4);
        return true;
    }
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(i->spec.port);
    *len = sizeof(*v6);
    return inet_pton(AF_INET6, text, &v6->sin6_addr) == 1;
}

static enum err kube_dial(struct etl_instance *instance, int *out)
{
    struct sockaddr_storage sa;
    socklen_t len;

    if (!address_of(instance_of(instance), &sa, &len))
        return ERR_UNAVAILABLE;
    return rest_connect((struct sockaddr *)&sa, len, CONNECT_MS, out) == ERR_OK ? ERR_OK : ERR_UNAVAILABLE;
}

static int kube_listener(struct etl_instance *instance)
{
    struct kube_instance *i = instance_of(instance);
    int fd = i->listener;

    i->listener = -1;
    return fd;
}

static enum err kube_exec(struct etl_instance *instance, const struct etl_env *env, size_t env_count, int *in, int *out,
                          uint64_t *child)
{
    (void)instance, (void)env, (void)env_count, (void)in, (void)out, (void)child;
    return ERR_NOT_IMPLEMENTED; /* start() says so */
}

static int kube_exec_wait(struct etl_instance *instance, uint64_t child, bool kill_it, char why[ETL_WHY_MAX])
{
    (void)instance, (void)child, (void)kill_it;
    snprintf(why, ETL_WHY_MAX, "there is no such command");
    return 1;
}

/* ---- what is known of it ---- */

struct tail {
    char *ring; /* ETL_LOG_MAX bytes */
    uint64_t written;
};

static bool on_log(void *arg, struct str piece)
{
    struct tail *t = arg;

    while (piece.n) {
        size_t at = t->written % ETL_LOG_MAX, n = ETL_LOG_MAX - at < piece.n ? ETL_LOG_MAX - at : piece.n;
        memcpy(t->ring + at, piece.p, n);
        piece = str_skip(piece, n);
        t->written += n;
    }
    return t->written < LOG_READ_MAX;
}

static void put_tail(const struct tail *t, struct buf *out)
{
    uint64_t from = t->written > ETL_LOG_MAX ? t->written - ETL_LOG_MAX : 0;
    size_t at = from % ETL_LOG_MAX, n = (size_t)(t->written - from);
    size_t first = n < ETL_LOG_MAX - at ? n : ETL_LOG_MAX - at;

    buf_add(out, t->ring + at, first);
    buf_add(out, t->ring, n - first);
}

static void kube_logs(struct etl_instance *instance, struct buf *out)
{
    struct kube_instance *i = instance_of(instance);
    struct tail t = {.ring = mem_alloc(ETL_LOG_MAX)};
    struct arena a = ARENA_INIT;
    char why[ETL_WHY_MAX], container[KUBE_NAME_MAX + 1], name[KUBE_NAME_MAX + 1];

    pthread_mutex_lock(&i->runtime->lock);
    kube_label_value(str_z(i->locked.state.log), container); /* what the API server told goes into a path */
    memcpy(name, i->locked.name, sizeof(name));
    pthread_mutex_unlock(&i->runtime->lock);
    struct str path = arena_printf(&a, "/pods/%s/log?container=%s&tailLines=%d", name, container, LOG_LINES);
    struct kube_req req = {
        .method = "GET", .verb = "get", .resource = "pods/log", .path = path.p, .on_piece = on_log, .arg = &t};
    enum err e = kube_ask(&i->runtime->api, &a, &req, NULL, why);
    put_tail(&t, out); /* what has come is better than nothing */
    if (e == ERR_ACCESS_DENIED)
        buf_add_str(out, str_z(why));
    free(t.ring);
    arena_release(&a);
}

/* "1234567n", "12u", "3m", "1": cores. */
static double cores_of(struct str s)
{
    double scale = 1;
    uint64_t n = 0;

    if (s.n && strchr("num", s.p[s.n - 1])) {
        scale = s.p[s.n - 1] == 'n' ? 1e-9 : s.p[s.n - 1] == 'u' ? 1e-6 : 1e-3;
        s.n--;
    }
    return str_to_u64(s, UINT64_MAX, &n) ? (double)n * scale : 0;
}

/* Metrics tell how many cores are in use now: seconds are what that adds up to. */
static void add_usage(struct kube_instance *i, const struct doc *d, struct etl_usage *out)
{
    const struct doc *list = rest_at(d, "containers");
    uint64_t now = clock_mono_ns(), bytes;
    double cores = 0;

    *out = (struct etl_usage){0};
    for (const struct doc *c = list && list->kind == DOC_LIST ? list->first : NULL; c; c = c->next) {
        cores += cores_of(rest_text(c, "usage.cpu"));
        if (etl_memory_parse(rest_text(c, "usage.memory"), &bytes) == ERR_OK)
            out->memory += bytes;
    }
    pthread_mutex_lock(&i->runtime->lock);
    if (i->locked.used_ns)
        i->locked.cpu_seconds += cores * (double)(now - i->locked.used_ns) / (double)NANOS_PER_S;
    i->locked.used_ns = now;
    out->cpu_seconds = i->locked.cpu_seconds;
    pthread_mutex_unlock(&i->runtime->lock);
}

/* A Pod has none for a minute after it began; where nobody serves them that is asked now and then. */
static enum err kube_usage(struct etl_instance *instance, struct etl_usage *out)
{
    struct kube_instance *i = instance_of(instance);
    struct kube_runtime *r = i->runtime;
    struct arena a = ARENA_INIT;
    char why[ETL_WHY_MAX], name[KUBE_NAME_MAX + 1];
    struct doc *d;

    if (clock_mono_ns() < atomic_load(&r->no_metrics_until))
        return ERR_NOT_IMPLEMENTED;
    name_of(i, name);
    struct str path = arena_printf(&a, "/pods/%s", name);
    struct kube_req req = {.method = "GET",
                           .verb = "get",
                           .resource = "pods.metrics.k8s.io",
                           .group = "metrics.k8s.io/v1beta1",
                           .path = path.p};
    enum err e = kube_ask(&r->api, &a, &req, &d, why);
    if (e == ERR_OK)
        add_usage(i, d, out);
    else if (e != ERR_NOT_FOUND || !strstr(why, name)) /* else there are none of this Pod yet */
        atomic_store(&r->no_metrics_until, clock_mono_ns() + NO_METRICS_S * NANOS_PER_S);
    arena_release(&a);
    return e == ERR_OK ? ERR_OK : ERR_NOT_IMPLEMENTED;
}

/* ---- the runtime ---- */

static void kube_quit(struct etl_runtime *runtime)
{
    atomic_store(&runtime_of(runtime)->quit, true);
}

static void runtime_free(struct kube_runtime *r)
{
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->changed);
    arena_release(&r->arena);
    free(r);
}

static void kube_close(struct etl_runtime *runtime)
{
    struct kube_runtime *r = runtime_of(runtime);
    char why[ETL_WHY_MAX] = "";

    kube_quit(runtime);
    while (r->locked.first)
        kube_stop(&r->locked.first->instance, 0);
    if (kube_clear(r, why) != ERR_OK)
        log_warn(STR_NONE, "etl pods not listed", "reason=%s", log_quote(str_z(why)));
    atomic_store(&r->closing, true);
    kube_watch_end(r);
    runtime_free(r);
}

static void init_locks(struct kube_runtime *r)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &attr);
    pthread_condattr_destroy(&attr);
}

enum err etl_kube_open(const struct etl_kube_conf *conf, struct etl_runtime **out, char why[ETL_WHY_MAX])
{
    static const struct etl_runtime_ops ops = {.name = "kubernetes",
                                               .pods = true,
                                               .start = kube_start,
                                               .stop = kube_stop,
                                               .alive = kube_alive,
                                               .dial = kube_dial,
                                               .listener = kube_listener,
                                               .exec = kube_exec,
                                               .exec_wait = kube_exec_wait,
                                               .logs = kube_logs,
                                               .usage = kube_usage,
                                               .close = kube_close,
                                               .quit = kube_quit};
    struct kube_runtime *r = NEW(struct kube_runtime);
    enum err e;

    r->runtime.ops = &ops;
    r->memory_max = conf->memory_max;
    r->user = conf->user ? conf->user : NOBODY;
    init_locks(r);
    if ((e = kube_know(r, conf, why)) == ERR_OK &&
        (e = runtime_dir_take(&r->arena, conf->dir, &r->dir, r->mark, why)) == ERR_OK &&
        (e = kube_clear(r, why)) == ERR_OK)
        e = kube_watch_start(r, why);
    if (e != ERR_OK) {
        runtime_free(r);
        return e;
    }
    *out = &r->runtime;
    return ERR_OK;
}
