#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "process_own.h"

enum {
    READY_MS = 30000,
    END_MS = 10000, /* until what is in the sandbox is gone; only a broken file system takes that long */
    NANOS_PER_MS = 1000000,
    WORDS_MAX = 2 * ETL_COMMAND_MAX,
    ORDERS_MAX = 4 << 20,
    /* Outside of the ports that the kernel gives to callers. */
    LISTEN_PORT = 61079,
    /* Descriptors are moved out of the way of 0 to 4, which the shim has them as. */
    FD_MIN = 16,
};

/* ---- the command ---- */

/* Its row's command, or STR_NONE. */
static bool find_image(const struct etl_process_conf *conf, struct str image, struct str *command)
{
    for (size_t i = 0; i < conf->image_count; i++) {
        struct str rest = conf->images[i], name = str_split(&rest, '=');
        bool any = str_ends(name, STR("*"));
        name.n -= any;
        if (any ? str_starts(image, name) : str_eq(image, name)) {
            *command = rest;
            return true;
        }
    }
    return false;
}

/* "{image}" in a row's word. */
static struct str with_image(struct arena *a, struct str word, struct str image)
{
    size_t at = str_find(word, STR("{image}"));

    if (at == SIZE_MAX)
        return word;
    struct str rest = str_skip(word, at + sizeof("{image}") - 1);
    return arena_printf(a, STR_FMT STR_FMT STR_FMT, (int)at, word.p, STR_ARG(image), STR_ARG(rest));
}

static size_t find_words(struct process_instance *i, const struct etl_spec *spec, struct str words[WORDS_MAX])
{
    struct str row = STR_NONE;
    size_t n = 0;

    if (spec->image.n)
        (void)find_image(&i->runtime->conf, spec->image, &row);
    while (row.n && n < ETL_COMMAND_MAX) {
        struct str word = str_split(&row, ' ');
        if (word.n)
            words[n++] = with_image(&i->arena, word, spec->image);
    }
    for (size_t k = 0; k < spec->command_count && k < ETL_COMMAND_MAX; k++)
        words[n++] = spec->command[k];
    return n;
}

/* ---- what the shim is told ---- */

static bool has_nul(struct str s)
{
    return str_find_char(s, 0) != SIZE_MAX;
}

static bool env_is_valid(const struct etl_env *env)
{
    return env->name.n && !has_nul(env->name) && !has_nul(env->value) && str_find_char(env->name, '=') == SIZE_MAX;
}

static void add_z(struct buf *b, struct str s)
{
    buf_add_str(b, s);
    buf_add_char(b, 0);
}

static void add_env(struct buf *b, const struct etl_env *env)
{
    buf_add_str(b, env->name);
    buf_add_char(b, '=');
    add_z(b, env->value);
}

/* The first of a name counts (shim.c): what the spec says, then what the engine says, then ours. */
static bool add_all_env(struct buf *b, const struct etl_env *env, size_t n, uint32_t *count)
{
    for (size_t k = n; k-- > 0;) { /* of two in one list the last */
        if (!env_is_valid(&env[k]))
            return false;
        add_env(b, &env[k]);
        ++*count;
    }
    return true;
}

static void add_own_env(struct process_instance *i, const struct etl_start_req *req, struct buf *b, uint32_t *count)
{
    bool isolated = i->runtime->conf.isolation == ETL_ISOLATE;
    struct arena *a = &i->arena;
    struct str tmp = isolated ? STR("/tmp") : arena_printf(a, STR_FMT "/tmp", STR_ARG(i->dir));
    struct str direct = req->spec->direct_put ? STR("true") : STR("false");
    struct str port = arena_u64(a, i->port), path = i->runtime->conf.path;
    const struct etl_env own[] = {
        {STR("AIS_TARGET_URL"),
         arena_printf(a, "http://127.0.0.1:%u" STR_FMT, i->listen_port, STR_ARG(req->target_path))},
        {STR("direct_put"), direct},
        {STR("DIRECT_PUT"), direct},
        {STR("PATH"), path.n ? path : STR("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")},
        {STR("HOME"), arena_printf(a, STR_FMT "/home", STR_ARG(tmp))},
        {STR("TMPDIR"), tmp},
        {STR("LANG"), STR("C.UTF-8")},
        {STR("PORT"), port},
        {STR("ETL_PORT"), port},
    };
    (void)add_all_env(b, own, sizeof(own) / sizeof(*own), count);
}

static void set_limits(struct process_instance *i, const struct etl_spec *spec, struct shim_orders *o)
{
    const struct etl_process_conf *conf = &i->runtime->conf;

    if (i->cgroup.n)
        return;
    /* Elsewhere the kernel would count the threads of all that this user runs, and of us when it is us. */
    o->processes = o->isolate ? conf->processes_max : 0;
    o->memory = spec->resources.memory_limit ? spec->resources.memory_limit : conf->memory_max;
    o->low = spec->resources.cpu_limit != 0;
}

static enum err orders(struct process_instance *i, const struct etl_start_req *req, struct buf *b,
                       char why[ETL_WHY_MAX])
{
    const struct etl_process_conf *conf = &i->runtime->conf;
    struct shim_orders o;
    struct str words[WORDS_MAX];
    bool valid = !has_nul(req->target_path);

    memset(&o, 0, sizeof(o)); /* padding is written, too */
    o.isolate = conf->isolation == ETL_ISOLATE;
    o.network = i->host_network;
    o.uid = conf->uid;
    o.gid = conf->gid;
    o.listen_port = i->listen_port;
    set_limits(i, req->spec, &o);
    buf_add(b, &o, sizeof(o));
    add_z(b, i->dir);
    add_z(b, i->cgroup);
    for (size_t k = 0; k < conf->hidden_count; k++, o.hidden_count++)
        add_z(b, conf->hidden[k]);
    add_z(b, conf->dir); /* that of the others */
    o.hidden_count++;
    o.word_count = (uint32_t)find_words(i, req->spec, words);
    for (size_t k = 0; k < o.word_count; k++) {
        valid = valid && !has_nul(words[k]);
        add_z(b, words[k]);
    }
    valid = valid && add_all_env(b, req->spec->env, req->spec->env_count, &o.env_count) &&
            add_all_env(b, req->env, req->env_count, &o.env_count);
    add_own_env(i, req, b, &o.env_count);
    if (!valid || b->over) {
        snprintf(why, ETL_WHY_MAX, "%s",
                 valid ? "the command and its environment are too large"
                       : "a word of the command, or a variable of env, can't be one: it has a NUL byte, or its name is "
                         "empty or has an '='");
        return ERR_INVALID_ARGUMENT;
    }
    if (o.word_count == 0) {
        snprintf(why, ETL_WHY_MAX,
                 "the spec has no command, and no row of etl.images says what the image '" STR_FMT "' is on this node",
                 STR_ARG(req->spec->image));
        return ERR_INVALID_ARGUMENT;
    }
    memcpy(b->p, &o, sizeof(o));
    return ERR_OK;
}

/* A file without a name that holds it. -1: errno. */
static int file_of(const struct buf *b)
{
    int fd = memfd_create("sluice-etl", MFD_CLOEXEC);
    size_t done = 0;

    while (fd >= 0 && done < b->n) {
        ssize_t n = write(fd, b->p + done, b->n - done);
        if (n <= 0) {
            close(fd);
            return -1;
        }
        done += (size_t)n;
    }
    return fd;
}

/* ---- the shim ---- */

/* fds: its control socket, its orders, its output. */
static int spawn(const int fds[3], pid_t *pid)
{
    static char exe[] = "/proc/self/exe", name[] = "sluice", verb[] = "etl-shim";
    char *argv[] = {name, verb, NULL}, *no_env[] = {NULL}; /* ours has secrets */
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fds[2], 1);
    posix_spawn_file_actions_adddup2(&actions, fds[2], 2);
    posix_spawn_file_actions_adddup2(&actions, fds[0], SHIM_CONTROL_FD);
    posix_spawn_file_actions_adddup2(&actions, fds[1], SHIM_ORDERS_FD);
    posix_spawn_file_actions_addclosefrom_np(&actions, SHIM_ORDERS_FD + 1);
    int errnum = posix_spawn(pid, exe, &actions, &attr, argv, no_env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    return errnum;
}

static int moved(int fd)
{
    int up = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, FD_MIN);

    if (fd >= 0)
        close(fd);
    return up;
}

static void close_all(int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static enum err begin(struct process_instance *i, const struct buf *told, char why[ETL_WHY_MAX])
{
    int sockets[2] = {-1, -1}, pipes[2] = {-1, -1}, file = file_of(told), errnum = 0;

    if (file < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0 ||
        pipe2(pipes, O_CLOEXEC) != 0 || fcntl(pipes[0], F_SETFL, O_NONBLOCK) != 0)
        errnum = errno;
    int theirs[3] = {moved(sockets[1]), moved(file), moved(pipes[1])};
    if (errnum == 0 && (theirs[0] < 0 || theirs[1] < 0 || theirs[2] < 0))
        errnum = EMFILE;
    if (errnum == 0)
        errnum = spawn(theirs, &i->shim);
    close_all(theirs, 3);
    if (errnum) {
        i->shim = -1;
        close_all((int[]){sockets[0], pipes[0]}, 2);
        snprintf(why, ETL_WHY_MAX, "can't run its sandbox: %s", strerror(errnum));
        return err_from_errno(errnum);
    }
    i->asking.control = sockets[0];
    i->log = process_log_new(&i->runtime->logs, pipes[0]);
    return ERR_OK;
}

static enum err ready(struct process_instance *i, char why[ETL_WHY_MAX])
{
    struct pollfd p = {.fd = i->asking.control, .events = POLLIN};
    struct shim_said said;
    int fds[SHIM_FDS_MAX], n;

    do
        n = poll(&p, 1, READY_MS);
    while (n < 0 && errno == EINTR);
    int got = n == 1 ? shim_recv(p.fd, &said, sizeof(said), fds) : -1;
    if (got == 1 && said.kind == SHIM_READY) {
        if (i->listener < 0)
            i->listener = fds[0];
        return ERR_OK;
    }
    if (got == 1)
        snprintf(why, ETL_WHY_MAX, "%.*s", SHIM_TEXT_MAX, said.text);
    else
        snprintf(why, ETL_WHY_MAX, "its sandbox %s",
                 got == 0 ? "ended while it was being made" : "was not ready in time");
    return ERR_UNAVAILABLE;
}

enum err process_shim_start(struct process_instance *i, const struct etl_start_req *req, char why[ETL_WHY_MAX])
{
    struct buf told = BUF_INIT(ORDERS_MAX);
    enum err e;

    if (!i->host_network)
        i->listen_port = req->spec->port == LISTEN_PORT ? LISTEN_PORT + 1 : LISTEN_PORT;
    e = orders(i, req, &told, why);
    if (e == ERR_OK)
        e = begin(i, &told, why);
    buf_release(&told);
    if (e == ERR_OK && (e = ready(i, why)) != ERR_OK)
        process_shim_end(i);
    return e;
}

static bool is_gone(pid_t pid, uint32_t ms)
{
    uint64_t until = clock_mono_ns() + (uint64_t)ms * NANOS_PER_MS;
    useconds_t step = 200;

    for (;;) {
        int got = waitpid(pid, NULL, WNOHANG);
        if (got == pid || (got < 0 && errno == ECHILD))
            return true;
        if (clock_mono_ns() >= until)
            return false;
        usleep(step);
        step = step < 10000 ? step * 2 : step;
    }
}

void process_shim_end(struct process_instance *i)
{
    if (i->shim <= 0)
        return;
    close(i->asking.control); /* the sandbox ends with it */
    i->asking.control = -1;
    if (!is_gone(i->shim, END_MS)) {
        log_error(STR_NONE, "etl sandbox killed", "dir=%s reason=\"it does not end\"", log_quote(i->dir));
        kill(i->shim, SIGKILL); /* and with it the first process of its namespace: PR_SET_PDEATHSIG */
        (void)is_gone(i->shim, END_MS);
    }
    i->shim = -1;
    process_log_free(&i->runtime->logs, i->log);
    i->log = NULL;
}

/* ---- a command in it ---- */

static enum err send_run(struct process_instance *i, const int *fds, size_t n)
{
    struct shim_req req = {.kind = SHIM_RUN};

    if (shim_send(i->asking.control, &req, sizeof(req), fds, n))
        return ERR_OK;
    return errno == EAGAIN ? ERR_BUSY : ERR_UNAVAILABLE;
}

static enum err run_piped(struct process_instance *i, const struct buf *env, int *in, int *out, int status)
{
    int to[2] = {-1, -1}, from[2] = {-1, -1}, file = file_of(env);
    enum err e = ERR_OK;

    if (file < 0 || pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0 ||
        fcntl(to[1], F_SETFL, O_NONBLOCK) != 0 || fcntl(from[0], F_SETFL, O_NONBLOCK) != 0)
        e = err_from_errno(errno);
    if (e == ERR_OK)
        e = send_run(i, (int[]){status, to[0], from[1], file}, 4);
    close_all((int[]){to[0], from[1], file}, 3);
    if (e != ERR_OK) {
        close_all((int[]){to[1], from[0]}, 2);
        return e;
    }
    *in = to[1];
    *out = from[0];
    return ERR_OK;
}

enum err process_run(struct process_instance *i, const struct etl_env *env, size_t env_count, int *in, int *out,
                     int *status)
{
    struct buf text = BUF_INIT(ORDERS_MAX);
    int sockets[2];
    uint32_t count = 0;
    enum err e = ERR_OK;

    if (!add_all_env(&text, env, env_count, &count) || text.over)
        e = ERR_INVALID_ARGUMENT;
    else if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0)
        e = err_from_errno(errno);
    if (e == ERR_OK) {
        e = in ? run_piped(i, &text, in, out, sockets[1]) : send_run(i, &sockets[1], 1);
        close(sockets[1]);
        if (e == ERR_OK)
            *status = sockets[0];
        else
            close(sockets[0]);
    }
    buf_release(&text);
    return e;
}
