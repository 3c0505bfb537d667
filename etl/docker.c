#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "docker_own.h"

enum {
    ID_MAX = 128,
    CONNECT_MS = 1000,
    STOP_SLACK_MS = 30000,
};

static struct docker_runtime *runtime_of(struct etl_runtime *r)
{
    return CONTAINER(r, struct docker_runtime, runtime);
}

static struct docker_instance *instance_of(struct etl_instance *i)
{
    return CONTAINER(i, struct docker_instance, instance);
}

/* ---- start ---- */

/* It becomes part of a container's name, and of a directory's. */
static bool id_is_valid(struct str id)
{
    bool ok = id.n && id.n <= ID_MAX && id.p[0] != '.';

    for (size_t k = 0; ok && k < id.n; k++) {
        char c = id.p[k];
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
             c == '.';
    }
    return ok;
}

static const struct etl_env *copy_env(struct arena *a, const struct etl_start_req *req, size_t *n)
{
    const struct etl_spec *spec = req->spec;
    struct etl_env *out = arena_new(a, (req->env_count + spec->env_count + 1) * sizeof(*out));

    *n = 0;
    for (size_t k = 0; k < req->env_count; k++) /* what the spec says stands behind it, and so wins */
        out[(*n)++] = (struct etl_env){arena_str(a, req->env[k].name), arena_str(a, req->env[k].value)};
    for (size_t k = 0; k < spec->env_count; k++)
        out[(*n)++] = (struct etl_env){arena_str(a, spec->env[k].name), arena_str(a, spec->env[k].value)};
    return out;
}

static struct docker_instance *instance_new(struct docker_runtime *r, const struct etl_start_req *req)
{
    struct docker_instance *i = NEW(struct docker_instance);
    struct arena *a = &i->arena;
    struct str *words = arena_new(a, (req->spec->command_count + 1) * sizeof(*words));

    i->instance.runtime = &r->runtime;
    i->runtime = r;
    i->id = arena_str(a, req->id);
    i->spec = *req->spec;
    i->spec.name = i->spec.health = i->spec.pod = STR_NONE; /* of no use here */
    i->spec.image = arena_str(a, req->spec->image);
    for (size_t k = 0; k < req->spec->command_count; k++)
        words[k] = arena_str(a, req->spec->command[k]);
    i->spec.command = words;
    i->spec.env = copy_env(a, req, &i->spec.env_count);
    i->listener = i->log_fd = -1;
    pthread_mutex_init(&i->lock, NULL);
    return i;
}

static enum err enter(struct docker_instance *i, char why[ETL_WHY_MAX])
{
    struct docker_runtime *r = i->runtime;
    bool taken = false;

    pthread_mutex_lock(&r->lock);
    for (struct docker_instance *o = r->locked.first; o; o = o->next)
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

static void leave(struct docker_instance *i)
{
    struct docker_instance **at = &i->runtime->locked.first;

    pthread_mutex_lock(&i->runtime->lock);
    while (*at != i)
        at = &(*at)->next;
    *at = i->next;
    pthread_mutex_unlock(&i->runtime->lock);
}

static void instance_release(struct docker_instance *i)
{
    pthread_mutex_destroy(&i->lock);
    arena_release(&i->arena);
    free(i);
}

static void instance_free(struct docker_instance *i)
{
    if (i->container[0])
        (void)docker_remove(i->runtime, i->container); /* which has logged it */
    if (i->listener >= 0)
        close(i->listener);
    if (i->log_fd >= 0)
        close(i->log_fd);
    if (i->log)
        process_log_free(&i->runtime->logs, i->log);
    if (i->dir.n)
        (void)!process_dir_remove(i->dir.p, false); /* the same */
    leave(i);
    instance_release(i);
}

/* The pipe that commands' stderr goes into. */
static enum err open_log(struct docker_instance *i, char why[ETL_WHY_MAX])
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) != 0 || fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0) {
        snprintf(why, ETL_WHY_MAX, "no pipe for its log: %s", strerror(errno));
        return err_from_errno(errno);
    }
    i->log_fd = fds[1];
    i->log = process_log_new(&i->runtime->logs, fds[0]);
    return ERR_OK;
}

static enum err make_dir(struct docker_instance *i, char why[ETL_WHY_MAX])
{
    struct str dir = arena_printf(&i->arena, STR_FMT "/" STR_FMT, STR_ARG(i->runtime->dir), STR_ARG(i->id));

    if (mkdir(dir.p, 0700) == 0 && chmod(dir.p, 0755) == 0) { /* whatever the umask: it is another user */
        i->dir = dir;
        return ERR_OK;
    }
    snprintf(why, ETL_WHY_MAX, "can't make its directory " STR_FMT ": %s", STR_ARG(dir), strerror(errno));
    return err_from_errno(errno);
}

static enum err connect_net(struct docker_instance *i, struct str path, char why[ETL_WHY_MAX])
{
    char text[INET_ADDRSTRLEN] = "";
    uint16_t port;
    enum err e;

    if ((e = docker_net(i->runtime, i->spec.network, &i->net, why)) != ERR_OK ||
        (e = docker_net_listen(i->runtime, i->net, &i->listener, &port, why)) != ERR_OK)
        return e;
    (void)inet_ntop(AF_INET, &i->net->gateway, text, sizeof(text));
    i->url = arena_printf(&i->arena, "http://%s:%u" STR_FMT, text, port, STR_ARG(path));
    return ERR_OK;
}

static enum err make_and_run(struct docker_instance *i, char why[ETL_WHY_MAX])
{
    const struct docker_env_list none = {NULL, 0};
    enum err e = docker_make(i, &none, false, i->container, why);

    return e == ERR_OK ? docker_run(i->runtime, i->container, why) : e;
}

/* An engine may tell of an init process that it does not find. */
static bool lacks_init(struct docker_runtime *r, const char *why)
{
    return strstr(why, "docker-init") && atomic_exchange(&r->init, false);
}

static enum err start_web(struct docker_instance *i, struct str path, char why[ETL_WHY_MAX])
{
    enum err e;

    if ((e = make_dir(i, why)) != ERR_OK || (e = connect_net(i, path, why)) != ERR_OK)
        return e;
    if ((e = make_and_run(i, why)) != ERR_OK && lacks_init(i->runtime, why)) {
        if (i->container[0])
            (void)docker_remove(i->runtime, i->container);
        i->container[0] = 0;
        e = make_and_run(i, why);
    }
    return e == ERR_OK && i->runtime->podman ? docker_net_check(i->runtime, i->net, why) : e;
}

static enum err start_io(struct docker_instance *i, char why[ETL_WHY_MAX])
{
    enum err e = i->spec.network ? docker_net(i->runtime, true, &i->net, why) : ERR_OK;

    return e == ERR_OK ? open_log(i, why) : e;
}

static enum err docker_start(struct etl_runtime *runtime, const struct etl_start_req *req, struct etl_instance **out,
                             char why[ETL_WHY_MAX])
{
    struct docker_runtime *r = runtime_of(runtime);
    struct docker_instance *i;
    enum err e;

    why[0] = 0;
    if (!id_is_valid(req->id)) {
        rest_say(why, "this can't be a sidecar's name: ", req->id);
        return ERR_INVALID_ARGUMENT;
    }
    i = instance_new(r, req);
    if ((e = enter(i, why)) != ERR_OK) {
        instance_release(i);
        return e;
    }
    e = docker_image(r, i->spec.image, req->spec->init_timeout_ms, &i->own_user, why);
    if (e == ERR_OK)
        e = i->spec.comm == ETL_IO ? start_io(i, why) : start_web(i, req->target_path, why);
    if (e != ERR_OK) {
        instance_free(i);
        return e;
    }
    *out = &i->instance;
    return ERR_OK;
}

/* ---- end ---- */

static void docker_stop(struct etl_instance *instance, uint32_t grace_ms)
{
    struct docker_instance *i = instance_of(instance);
    struct arena a = ARENA_INIT;
    char why[ETL_WHY_MAX];

    if (i->container[0] && grace_ms) {
        struct str path = arena_printf(&a, "/containers/%s/stop?t=%u", i->container, (grace_ms + 999) / 1000);
        struct rest_req req = {.method = "POST", .path = path.p, .timeout_ms = grace_ms + STOP_SLACK_MS};
        (void)!docker_ask(&i->runtime->api, &a, &req, NULL, why); /* it is removed in any case */
        arena_release(&a);
    }
    instance_free(i);
}

static bool docker_alive(struct etl_instance *instance, char why[ETL_WHY_MAX])
{
    struct docker_instance *i = instance_of(instance);
    struct arena a = ARENA_INIT;
    struct doc *d;
    bool alive = true;

    why[0] = 0;
    if (!i->container[0])
        return true;
    enum err e = docker_inspect(i->runtime, &a, i->container, &d, why);
    if (e == ERR_OK && !str_eq(rest_text(d, "State.Running"), STR("true"))) {
        (void)docker_fate(d, why);
        alive = false;
    } else if (e == ERR_NOT_FOUND) {
        snprintf(why, ETL_WHY_MAX, "somebody has removed its container");
        alive = false;
    }
    if (alive)
        why[0] = 0; /* also when the engine doesn't answer, which containers may well outlive */
    arena_release(&a);
    return alive;
}

/* ---- connections ---- */

static bool find_address(struct docker_instance *i, struct in_addr *out)
{
    struct arena a = ARENA_INIT;
    char why[ETL_WHY_MAX], text[INET_ADDRSTRLEN];
    struct str path = arena_printf(&a, "NetworkSettings.Networks.%s.IPAddress", i->net->name), address;
    struct doc *d;
    bool found = false;

    if (docker_inspect(i->runtime, &a, i->container, &d, why) == ERR_OK) {
        address = rest_text(d, path.p);
        if (address.n && address.n < sizeof(text)) {
            memcpy(text, address.p, address.n);
            text[address.n] = 0;
            found = inet_pton(AF_INET, text, out) == 1;
        }
    }
    arena_release(&a);
    return found;
}

static enum err docker_dial(struct etl_instance *instance, int *out)
{
    struct docker_instance *i = instance_of(instance);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(i->spec.port)};

    if (!i->container[0])
        return ERR_NOT_IMPLEMENTED;
    pthread_mutex_lock(&i->lock);
    if (!i->locked.address.s_addr && !find_address(i, &i->locked.address))
        i->locked.address.s_addr = 0;
    sa.sin_addr = i->locked.address;
    pthread_mutex_unlock(&i->lock);
    if (!sa.sin_addr.s_addr)
        return ERR_UNAVAILABLE;
    return rest_connect((struct sockaddr *)&sa, sizeof(sa), CONNECT_MS, out) == ERR_OK ? ERR_OK : ERR_UNAVAILABLE;
}

static int docker_listener(struct etl_instance *instance)
{
    struct docker_instance *i = instance_of(instance);
    int fd = i->listener;

    i->listener = -1;
    return fd;
}

/* ---- what is known of it ---- */

struct tail {
    struct docker_frames frames;
    char *ring; /* ETL_LOG_MAX bytes */
    uint64_t written;
};

static bool on_log(void *arg, struct str in)
{
    struct tail *t = arg;
    struct str piece;
    unsigned stream;

    while (docker_frames_next(&t->frames, &in, &piece, &stream)) {
        while (piece.n) {
            size_t at = t->written % ETL_LOG_MAX, n = ETL_LOG_MAX - at < piece.n ? ETL_LOG_MAX - at : piece.n;
            memcpy(t->ring + at, piece.p, n);
            piece = str_skip(piece, n);
            t->written += n;
        }
    }
    return !t->frames.bad;
}

static void docker_logs(struct etl_instance *instance, struct buf *out)
{
    struct docker_instance *i = instance_of(instance);
    struct arena a = ARENA_INIT;
    char why[ETL_WHY_MAX];

    if (!i->container[0]) {
        process_log_read(&i->runtime->logs, i->log, out);
        return;
    }
    struct tail t = {.ring = mem_alloc(ETL_LOG_MAX)};
    struct str path = arena_printf(&a, "/containers/%s/logs?stdout=true&stderr=true&tail=all", i->container);
    struct rest_req req = {.method = "GET", .path = path.p, .on_piece = on_log, .arg = &t};
    (void)!docker_ask(&i->runtime->api, &a, &req, NULL, why); /* what has come is better than nothing */
    uint64_t from = t.written > ETL_LOG_MAX ? t.written - ETL_LOG_MAX : 0;
    size_t at = from % ETL_LOG_MAX, n = (size_t)(t.written - from);
    size_t first = n < ETL_LOG_MAX - at ? n : ETL_LOG_MAX - at;
    buf_add(out, t.ring + at, first);
    buf_add(out, t.ring, n - first);
    free(t.ring);
    arena_release(&a);
}

static enum err docker_usage(struct etl_instance *instance, struct etl_usage *out)
{
    struct docker_instance *i = instance_of(instance);

    return i->container[0] ? docker_usage_of(i->runtime, i->container, out) : docker_exec_usage(i, out);
}

static enum err docker_share_of(struct etl_instance *instance, struct str *host, struct str *inside)
{
    struct docker_instance *i = instance_of(instance);

    if (!i->dir.n)
        return ERR_NOT_IMPLEMENTED;
    *host = i->dir;
    *inside = str_z(docker_share);
    return ERR_OK;
}

/* ---- the runtime ---- */

static void docker_quit(struct etl_runtime *runtime)
{
    struct docker_runtime *r = runtime_of(runtime);

    atomic_store(&r->quit, true);
    pthread_mutex_lock(&r->lock);
    pthread_cond_broadcast(&r->pulled);
    pthread_mutex_unlock(&r->lock);
}

static void runtime_free(struct docker_runtime *r)
{
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->pulled);
    pthread_mutex_destroy(&r->net_lock);
    arena_release(&r->arena);
    free(r);
}

static void docker_close(struct etl_runtime *runtime)
{
    struct docker_runtime *r = runtime_of(runtime);

    docker_quit(runtime);
    docker_image_close(r);
    while (r->locked.first)
        docker_stop(&r->locked.first->instance, 0);
    docker_clear(r);
    process_logs_close(&r->logs);
    runtime_free(r);
}

static void init_locks(struct docker_runtime *r)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&r->lock, NULL);
    pthread_mutex_init(&r->net_lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->pulled, &attr);
    pthread_condattr_destroy(&attr);
}

enum err etl_docker_open(const struct etl_docker_conf *conf, struct etl_runtime **out, char why[ETL_WHY_MAX])
{
    static const struct etl_runtime_ops ops = {.name = "docker",
                                               .start = docker_start,
                                               .stop = docker_stop,
                                               .alive = docker_alive,
                                               .dial = docker_dial,
                                               .listener = docker_listener,
                                               .exec = docker_exec,
                                               .exec_wait = docker_exec_wait,
                                               .logs = docker_logs,
                                               .usage = docker_usage,
                                               .share = docker_share_of,
                                               .close = docker_close,
                                               .quit = docker_quit};
    struct docker_runtime *r = NEW(struct docker_runtime);
    char mark[RUNTIME_MARK_LEN + 1];
    enum err e;

    r->runtime.ops = &ops;
    r->api.socket = arena_str(&r->arena, conf->socket);
    r->memory_max = conf->memory_max;
    init_locks(r);
    if ((e = docker_greet(r, why)) != ERR_OK ||
        (e = runtime_dir_take(&r->arena, conf->dir, &r->dir, mark, why)) != ERR_OK)
        goto failed;
    r->label = arena_printf(&r->arena, STR_FMT "-%s", STR_ARG(conf->label), mark);
    docker_clear(r);
    if ((e = process_logs_open(&r->logs)) != ERR_OK) {
        snprintf(why, ETL_WHY_MAX, "no thread for the logs of sidecars");
        goto failed;
    }
    *out = &r->runtime;
    return ERR_OK;
failed:
    runtime_free(r);
    return e;
}
