#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proc_tree.h"
#include "process_own.h"

enum {
    ID_MAX = 128,
    NOBODY = 65534,
    PROCESSES_MAX = 256,
    SHIM_PROCESSES = 2, /* of a sandbox: control groups count them as well */
    ANSWER_MS = 5000,
    CONNECT_MS = 1000,
    EXEC_WAIT_MS = 10000,
    NANOS_PER_MS = 1000000,
};

static struct process_runtime *runtime_of(struct etl_runtime *r)
{
    return CONTAINER(r, struct process_runtime, runtime);
}

static struct process_instance *instance_of(struct etl_instance *i)
{
    return CONTAINER(i, struct process_instance, instance);
}

/* Whether there is something to be read before `until`. */
static bool readable(int fd, short events, uint64_t until)
{
    struct pollfd p = {.fd = fd, .events = events};

    for (;;) {
        uint64_t now = clock_mono_ns();
        int ms = now < until ? (int)((until - now) / NANOS_PER_MS) + 1 : 0;
        int n = poll(&p, 1, ms);
        if (n > 0)
            return true;
        if ((n < 0 && errno != EINTR) || ms == 0)
            return false;
    }
}

static uint64_t in_ms(uint32_t ms)
{
    return clock_mono_ns() + (uint64_t)ms * NANOS_PER_MS;
}

/* ---- start ---- */

static bool id_is_valid(struct str id)
{
    bool ok = id.n && id.n <= ID_MAX && id.p[0] != '.';

    for (size_t k = 0; k < id.n; k++)
        ok = ok && id.p[k] != '/' && id.p[k] > ' ' && id.p[k] < 0x7F;
    return ok;
}

/* It listens at a port of the machine: somebody else's there would be taken for it. */
static bool port_is_free(uint16_t port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
              bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;

    if (fd >= 0)
        close(fd);
    return ok;
}

static bool listen_here(struct process_instance *i)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t len = sizeof(sa);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    i->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (i->listener < 0 || bind(i->listener, (struct sockaddr *)&sa, sizeof(sa)) != 0 ||
        listen(i->listener, SOMAXCONN) != 0 || getsockname(i->listener, (struct sockaddr *)&sa, &len) != 0)
        return false;
    i->listen_port = ntohs(sa.sin_port);
    return true;
}

/* Its place in the table, and its port when that is the machine's. */
static enum err enter(struct process_instance *i, struct str id, bool listens, char why[ETL_WHY_MAX])
{
    struct process_runtime *r = i->runtime;
    enum err e = ERR_OK;

    pthread_mutex_lock(&r->lock);
    for (struct process_instance *o = r->locked.first; o && e == ERR_OK; o = o->next) {
        if (str_eq(o->dir, i->dir)) {
            snprintf(why, ETL_WHY_MAX, "there is one named " STR_FMT " already", STR_ARG(id));
            e = ERR_EXISTS;
        } else if (listens && i->host_network && o->host_network && o->port == i->port) {
            snprintf(why, ETL_WHY_MAX,
                     "port %u of this machine is another ETL's: with its network only one can have it", i->port);
            e = ERR_EXISTS;
        }
    }
    if (e == ERR_OK && listens && i->host_network && !port_is_free(i->port)) {
        snprintf(why, ETL_WHY_MAX,
                 "port %u of this machine is in use, which the ETL needs as it has the machine's network", i->port);
        e = ERR_EXISTS;
    }
    if (e == ERR_OK) {
        i->next = r->locked.first;
        r->locked.first = i;
    }
    pthread_mutex_unlock(&r->lock);
    return e;
}

static void leave(struct process_instance *i)
{
    struct process_instance **at = &i->runtime->locked.first;

    pthread_mutex_lock(&i->runtime->lock);
    while (*at != i)
        at = &(*at)->next;
    *at = i->next;
    pthread_mutex_unlock(&i->runtime->lock);
}

static enum err make_group(struct process_instance *i, const struct etl_spec *spec)
{
    struct process_runtime *r = i->runtime;
    struct process_limits limits = {spec->resources.memory_limit ? spec->resources.memory_limit : r->conf.memory_max,
                                    r->conf.processes_max + SHIM_PROCESSES, spec->resources.cpu_limit};

    if (!r->cgroup[0])
        return ERR_OK;
    struct str name =
        arena_printf(&i->arena, "%s/etl-" STR_FMT, r->cgroup, STR_ARG(str_skip(i->dir, r->conf.dir.n + 1)));
    process_cgroup_remove(name.p); /* an earlier server's */
    enum err e = process_cgroup_make(name.p, &limits);
    if (e == ERR_OK)
        i->cgroup = name;
    return e;
}

static void instance_free(struct process_instance *i)
{
    process_shim_end(i);
    if (i->listener >= 0)
        close(i->listener);
    if (i->fate.main >= 0)
        close(i->fate.main);
    if (i->cgroup.n)
        process_cgroup_remove(i->cgroup.p);
    (void)!process_dir_remove(i->dir.p, false); /* which has logged it */
    leave(i);
    pthread_mutex_destroy(&i->lock);
    pthread_mutex_destroy(&i->end_lock);
    arena_release(&i->arena);
    free(i);
}

static struct process_instance *instance_new(struct process_runtime *r, const struct etl_start_req *req)
{
    struct process_instance *i = NEW(struct process_instance);

    i->instance.runtime = &r->runtime;
    i->runtime = r;
    i->dir = arena_printf(&i->arena, STR_FMT "/" STR_FMT, STR_ARG(r->conf.dir), STR_ARG(req->id));
    i->host_network = req->spec->network || r->conf.isolation == ETL_UNCONFINED;
    i->port = req->spec->port;
    i->listener = i->asking.control = i->fate.main = -1;
    i->shim = -1;
    pthread_mutex_init(&i->lock, NULL);
    pthread_mutex_init(&i->end_lock, NULL);
    return i;
}

/* It is in the table. */
static enum err start_entered(struct process_instance *i, const struct etl_start_req *req, char why[ETL_WHY_MAX])
{
    const struct etl_process_conf *conf = &i->runtime->conf;
    enum err e;

    if ((e = process_dir_make(i->dir.p, conf->isolation == ETL_UNCONFINED, conf->uid, conf->gid)) != ERR_OK) {
        snprintf(why, ETL_WHY_MAX, "can't make its directory " STR_FMT, STR_ARG(i->dir));
        return e;
    }
    if ((e = make_group(i, req->spec)) != ERR_OK) {
        snprintf(why, ETL_WHY_MAX, "can't make its control group");
        return e;
    }
    if (i->host_network && !listen_here(i)) {
        snprintf(why, ETL_WHY_MAX, "can't listen for its calls: %s", strerror(errno));
        return ERR_BUSY;
    }
    if ((e = process_shim_start(i, req, why)) != ERR_OK || req->spec->comm == ETL_IO)
        return e;
    if ((e = process_run(i, NULL, 0, NULL, NULL, &i->fate.main)) != ERR_OK)
        snprintf(why, ETL_WHY_MAX, "its sandbox does not take its command");
    return e;
}

static enum err process_start(struct etl_runtime *runtime, const struct etl_start_req *req, struct etl_instance **out,
                              char why[ETL_WHY_MAX])
{
    why[0] = 0;
    if (!id_is_valid(req->id)) {
        snprintf(why, ETL_WHY_MAX, "'" STR_FMT "' can't be a sidecar's name", STR_ARG(req->id));
        return ERR_INVALID_ARGUMENT;
    }
    struct process_instance *i = instance_new(runtime_of(runtime), req);
    enum err e = enter(i, req->id, req->spec->comm != ETL_IO, why);
    if (e != ERR_OK) {
        pthread_mutex_destroy(&i->lock);
        pthread_mutex_destroy(&i->end_lock);
        arena_release(&i->arena);
        free(i);
        return e;
    }
    if ((e = start_entered(i, req, why)) != ERR_OK) {
        instance_free(i);
        return e;
    }
    *out = &i->instance;
    return ERR_OK;
}

/* ---- how it ends ---- */

static void tell_status(struct process_instance *i, int status, char why[ETL_WHY_MAX])
{
    if (WIFEXITED(status)) {
        snprintf(why, ETL_WHY_MAX, "exit status %d", WEXITSTATUS(status));
        return;
    }
    bool starved = i->cgroup.n && WTERMSIG(status) == SIGKILL && process_cgroup_starved(i->cgroup.p);
    snprintf(why, ETL_WHY_MAX, "killed by signal %d%s", WTERMSIG(status), starved ? " (out of memory)" : "");
}

static void tell_gone(struct process_instance *i, char why[ETL_WHY_MAX])
{
    bool starved = i->cgroup.n && process_cgroup_starved(i->cgroup.p);

    snprintf(why, ETL_WHY_MAX, "its sandbox has ended%s", starved ? " (out of memory)" : "");
}

/* What a command's socket says; true: it has ended, and `why` says how. `code` as of exec_wait(). */
static bool take_end(struct process_instance *i, int fd, char why[ETL_WHY_MAX], int *code)
{
    struct shim_said said;
    int fds[SHIM_FDS_MAX];
    int got = shim_recv(fd, &said, sizeof(said), fds);

    if (got < 0)
        return false;
    *code = 1;
    if (got == 0) {
        tell_gone(i, why);
    } else if (said.kind == SHIM_ENDED) {
        *code = WIFEXITED(said.value) ? WEXITSTATUS(said.value) : 128 + WTERMSIG(said.value);
        tell_status(i, said.value, why);
    } else {
        snprintf(why, ETL_WHY_MAX, "%.*s", SHIM_TEXT_MAX, said.text);
    }
    return true;
}

/* The main command's fate so far; the end_lock is held. */
static void look(struct process_instance *i)
{
    int code;
    siginfo_t info = {0};

    if (i->fate.ended)
        return;
    if (i->fate.main >= 0) {
        i->fate.ended = take_end(i, i->fate.main, i->fate.why, &code);
    } else if (waitid(P_PID, (id_t)i->shim, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) {
        tell_gone(i, i->fate.why);
        i->fate.ended = true;
    }
}

static bool process_alive(struct etl_instance *instance, char why[ETL_WHY_MAX])
{
    struct process_instance *i = instance_of(instance);

    pthread_mutex_lock(&i->end_lock);
    look(i);
    bool ended = i->fate.ended;
    snprintf(why, ETL_WHY_MAX, "%s", ended ? i->fate.why : "");
    pthread_mutex_unlock(&i->end_lock);
    return !ended;
}

static void process_stop(struct etl_instance *instance, uint32_t grace_ms)
{
    struct process_instance *i = instance_of(instance);
    int32_t sig = SIGTERM;

    look(i);
    if (i->fate.main >= 0 && !i->fate.ended && shim_send(i->fate.main, &sig, sizeof(sig), NULL, 0))
        (void)readable(i->fate.main, POLLIN, in_ms(grace_ms));
    instance_free(i);
}

/* ---- connections ---- */

/* A socket of its network: it belongs to the namespace in which it was made. */
static int ask_socket(struct process_instance *i)
{
    struct shim_req req = {.kind = SHIM_SOCKET};
    struct shim_said said;
    int fds[SHIM_FDS_MAX], fd = -1;
    uint64_t until = in_ms(ANSWER_MS);

    pthread_mutex_lock(&i->lock);
    req.seq = ++i->asking.seq;
    bool asked = shim_send(i->asking.control, &req, sizeof(req), NULL, 0);
    while (asked && readable(i->asking.control, POLLIN, until)) {
        int got = shim_recv(i->asking.control, &said, sizeof(said), fds);
        if (got == 0)
            break;
        if (got < 0)
            continue;
        if (said.kind == SHIM_SOCKET_MADE && (uint32_t)said.value == req.seq) {
            fd = fds[0];
            break;
        }
        if (fds[0] >= 0)
            close(fds[0]); /* the answer to one who waits no longer */
    }
    pthread_mutex_unlock(&i->lock);
    return fd;
}

static bool connect_to(int fd, uint16_t port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};
    int errnum = 0;
    socklen_t len = sizeof(errnum);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
        return true;
    return errno == EINPROGRESS && readable(fd, POLLOUT, in_ms(CONNECT_MS)) &&
           getsockopt(fd, SOL_SOCKET, SO_ERROR, &errnum, &len) == 0 && errnum == 0;
}

static enum err process_dial(struct etl_instance *instance, int *out)
{
    struct process_instance *i = instance_of(instance);
    int fd = i->host_network ? socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : ask_socket(i);

    if (fd < 0)
        return ERR_UNAVAILABLE;
    if (!connect_to(fd, i->port)) {
        close(fd);
        return ERR_UNAVAILABLE;
    }
    *out = fd;
    return ERR_OK;
}

static int process_listener(struct etl_instance *instance)
{
    struct process_instance *i = instance_of(instance);
    int fd = i->listener;

    i->listener = -1;
    return fd;
}

/* ---- commands with pipes ---- */

/* A child's number is that of its socket. */
static enum err process_exec(struct etl_instance *instance, const struct etl_env *env, size_t env_count, int *in,
                             int *out, uint64_t *child)
{
    int status;
    enum err e = process_run(instance_of(instance), env, env_count, in, out, &status);

    if (e == ERR_OK)
        *child = (uint64_t)status;
    return e;
}

static int process_exec_wait(struct etl_instance *instance, uint64_t child, bool kill_it, char why[ETL_WHY_MAX])
{
    int fd = (int)child, code = 1;

    snprintf(why, ETL_WHY_MAX, "it did not end within %d s", EXEC_WAIT_MS / 1000);
    if (kill_it)
        shutdown(fd, SHUT_WR);
    uint64_t until = in_ms(EXEC_WAIT_MS);
    while (readable(fd, POLLIN, until))
        if (take_end(instance_of(instance), fd, why, &code))
            break;
    close(fd);
    return code;
}

/* ---- what is known of it ---- */

static void process_logs_of(struct etl_instance *instance, struct buf *out)
{
    struct process_instance *i = instance_of(instance);

    process_log_read(&i->runtime->logs, i->log, out);
}

static enum err process_usage(struct etl_instance *instance, struct etl_usage *out)
{
    struct process_instance *i = instance_of(instance);
    bool isolated = i->runtime->conf.isolation == ETL_ISOLATE;

    if (i->cgroup.n)
        return process_cgroup_usage(i->cgroup.p, out);
    struct proc_sum sum = proc_tree_sum(i->shim, isolated ? 2 : 1); /* without the shim's own processes */
    *out = (struct etl_usage){(double)sum.cpu_ticks / (double)sysconf(_SC_CLK_TCK), sum.memory, sum.processes};
    return ERR_OK;
}

static enum err process_share(struct etl_instance *instance, struct str *host, struct str *inside)
{
    struct process_instance *i = instance_of(instance);

    pthread_mutex_lock(&i->lock);
    *host = arena_printf(&i->arena, STR_FMT "/share", STR_ARG(i->dir));
    pthread_mutex_unlock(&i->lock);
    *inside = i->runtime->conf.isolation == ETL_ISOLATE ? STR("/tmp/share") : *host;
    return ERR_OK;
}

/* ---- the runtime ---- */

static void process_close(struct etl_runtime *runtime)
{
    struct process_runtime *r = runtime_of(runtime);

    while (r->locked.first)
        process_stop(&r->locked.first->instance, 0);
    process_logs_close(&r->logs);
    pthread_mutex_destroy(&r->lock);
    arena_release(&r->arena);
    free(r);
}

static const struct str *copy_list(struct arena *a, const struct str *list, size_t n)
{
    struct str *out = arena_new(a, (n + 1) * sizeof(*out));

    for (size_t k = 0; k < n; k++)
        out[k] = arena_str(a, list[k]);
    return out;
}

static bool images_are_valid(const struct etl_process_conf *conf, char why[ETL_WHY_MAX])
{
    for (size_t k = 0; k < conf->image_count; k++) {
        struct str rest = conf->images[k], name = str_split(&rest, '=');
        if (name.n && str_trim(rest).n && str_find_char(conf->images[k], 0) == SIZE_MAX)
            continue;
        snprintf(why, ETL_WHY_MAX, "\"" STR_FMT "\" is no row of images: IMAGE=COMMAND", STR_ARG(conf->images[k]));
        return false;
    }
    return true;
}

/* The directory of sidecars, made and empty; its path does not depend on the working directory. */
static enum err take_dir(struct process_runtime *r)
{
    char *real = NULL;
    enum err e = ERR_OK;

    if ((mkdir(r->conf.dir.p, 0700) != 0 && errno != EEXIST) || !(real = realpath(r->conf.dir.p, NULL)))
        return err_from_errno(errno);
    r->conf.dir = arena_str(&r->arena, str_z(real));
    free(real);
    if ((e = process_dir_remove(r->conf.dir.p, true)) != ERR_OK)
        return e;
    bool outside = r->conf.isolation == ETL_UNCONFINED;
    return chmod(r->conf.dir.p, outside ? 0711 : 0700) == 0 ? ERR_OK : err_from_errno(errno);
}

static void copy_conf(struct process_runtime *r, const struct etl_process_conf *conf)
{
    struct etl_process_conf *c = &r->conf;
    bool root = geteuid() == 0;

    *c = *conf;
    c->dir = arena_str(&r->arena, conf->dir);
    c->path = arena_str(&r->arena, conf->path);
    c->images = copy_list(&r->arena, conf->images, conf->image_count);
    c->hidden = copy_list(&r->arena, conf->hidden, conf->hidden_count);
    c->uid = !root ? geteuid() : conf->uid ? conf->uid : NOBODY;
    c->gid = !root ? getegid() : conf->gid ? conf->gid : NOBODY;
    c->processes_max = conf->processes_max ? conf->processes_max : PROCESSES_MAX;
}

enum err etl_process_open(const struct etl_process_conf *conf, struct etl_runtime **out, char why[ETL_WHY_MAX])
{
    static const struct etl_runtime_ops ops = {"process",         false,           process_start,    process_stop,
                                               process_alive,     process_dial,    process_listener, process_exec,
                                               process_exec_wait, process_logs_of, process_usage,    process_share,
                                               process_close};
    struct process_runtime *r;
    enum err e;

    if (!images_are_valid(conf, why))
        return ERR_INVALID_ARGUMENT;
    r = NEW(struct process_runtime);
    r->runtime.ops = &ops;
    copy_conf(r, conf);
    if ((e = take_dir(r)) == ERR_OK)
        e = process_logs_open(&r->logs);
    if (e != ERR_OK) {
        snprintf(why, ETL_WHY_MAX, "the directory of sidecars, " STR_FMT ", can't be used: %s", STR_ARG(r->conf.dir),
                 err_text(e));
        arena_release(&r->arena);
        free(r);
        return e;
    }
    pthread_mutex_init(&r->lock, NULL);
    process_cgroup_find("/proc/self/mountinfo", "/proc/self/cgroup", r->cgroup, sizeof(r->cgroup));
    log_info(STR_NONE, "etl sidecars are processes", "dir=%s isolation=%s cgroup=%s", log_quote(r->conf.dir),
             conf->isolation == ETL_ISOLATE ? "on" : "off", r->cgroup[0] ? log_quote(str_z(r->cgroup)) : "none");
    *out = &r->runtime;
    return ERR_OK;
}
