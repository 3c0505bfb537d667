#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "proc_tree.h"
#include "runtime.h"

enum {
    EXIT_NOT_RUN = 127, /* as shells have it */
    KILL_ROUNDS = 1000,
    KILL_ROUND_US = 5000,
};

#define FIRST_TO_GO "500" /* of 1000 */

struct command {
    pid_t pid;
    int fd; /* its socket */
    bool piped;
    bool killed; /* and no more is heard of its socket */
};

struct running {
    struct shim *shim;
    int signals;
    struct command commands[SHIM_COMMANDS_MAX];
    size_t count;
};

/* ---- orders ---- */

/* The next `count` strings at *at. */
static char **strings(char **at, char *end, size_t count)
{
    char **out = mem_new((count + 1) * sizeof(*out));

    for (size_t i = 0; i < count; i++) {
        char *stop = memchr(*at, 0, (size_t)(end - *at));
        if (!stop)
            _exit(EXIT_FAILURE);
        out[i] = *at;
        *at = stop + 1;
    }
    return out;
}

static bool orders_read(struct shim *s)
{
    struct stat st;

    if (fstat(SHIM_ORDERS_FD, &st) != 0 || fstat(SHIM_CONTROL_FD, &(struct stat){0}) != 0 ||
        (size_t)st.st_size < sizeof(struct shim_orders))
        return false;
    char *p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, SHIM_ORDERS_FD, 0);
    if (p == MAP_FAILED)
        return false;
    char *at = p + sizeof(struct shim_orders), *end = p + st.st_size;
    s->orders = (void *)p;
    char **own = strings(&at, end, 2);
    s->dir = own[0];
    s->cgroup = own[1];
    s->hidden = strings(&at, end, s->orders->hidden_count);
    s->words = strings(&at, end, s->orders->word_count);
    s->env = strings(&at, end, s->orders->env_count);
    s->root = geteuid() == 0;
    s->listener = -1;
    close(SHIM_ORDERS_FD);
    return true;
}

/* ---- a command, from its fork to its exec ---- */

/* The environment of the sandbox, what only this command has before it: the first of a name is the one that counts. */
static char **environment(const struct shim *s, int more)
{
    struct stat st = {0};
    char *p = NULL;
    size_t count = 0;

    if (more >= 0 && fstat(more, &st) == 0 && st.st_size) {
        p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, more, 0);
        if (p == MAP_FAILED)
            return NULL;
        for (char *at = p; at < p + st.st_size; at++)
            count += *at == 0;
    }
    char *at = p;
    char **out = strings(&at, p + st.st_size, count);
    out = mem_realloc(out, (count + s->orders->env_count + 1) * sizeof(*out));
    for (size_t i = 0; i < s->orders->env_count; i++) {
        const char *e = s->env[i];
        size_t name = strcspn(e, "=") + 1;
        bool covered = false;
        for (size_t j = 0; j < count && !covered; j++)
            covered = strncmp(out[j], e, name) == 0;
        if (!covered)
            out[count++] = s->env[i];
    }
    out[count] = NULL;
    return out;
}

static void not_run(int fd, const char *what, const char *about)
{
    struct shim_said said = {.kind = SHIM_NOT_RUN};

    snprintf(said.text, sizeof(said.text), "%s%s%s: %s", what, about[0] ? " " : "", about, strerror(errno));
    (void)shim_send(fd, &said, sizeof(said), NULL, 0);
    _exit(EXIT_NOT_RUN);
}

static void default_signals(void)
{
    sigset_t none;

    for (int i = 1; i < NSIG; i++)
        (void)signal(i, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* fds: as of SHIM_RUN. */
static void become(const struct shim *s, const int fds[SHIM_FDS_MAX])
{
    const char *failed;
    char **env = environment(s, fds[3]);

    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* of what is in no PID namespace */
    if (!env || (fds[1] >= 0 && (dup2(fds[1], 0) < 0 || dup2(fds[2], 1) < 0)))
        not_run(fds[0], "pipes", "");
    (void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC); /* as they all are already */
    default_signals();
    environ = env;
    if ((failed = shim_limit(s)))
        not_run(fds[0], failed, "");
    execvp(s->words[0], s->words);
    not_run(fds[0], "could not run", s->words[0]);
}

/* Takes the descriptors. */
static void run(struct running *r, int fds[SHIM_FDS_MAX])
{
    struct shim_said said = {.kind = SHIM_NOT_RUN};
    pid_t pid = -1;

    if (fds[0] < 0 || (fds[1] >= 0 && fds[3] < 0) || !r->shim->words[0])
        errno = EINVAL;
    else if (r->count == SHIM_COMMANDS_MAX)
        errno = EAGAIN;
    else
        pid = fork();
    if (pid == 0)
        become(r->shim, fds);
    if (pid < 0) {
        snprintf(said.text, sizeof(said.text), "fork: %s", strerror(errno));
        if (fds[0] >= 0)
            (void)shim_send(fds[0], &said, sizeof(said), NULL, 0);
    } else {
        r->commands[r->count++] = (struct command){pid, fds[0], fds[1] >= 0, false};
    }
    for (size_t i = pid < 0 ? 0 : 1; i < SHIM_FDS_MAX; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* ---- what happens ---- */

static void make_socket(uint32_t seq)
{
    struct shim_said said = {.kind = SHIM_SOCKET_MADE, .value = (int32_t)seq};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    (void)shim_send(SHIM_CONTROL_FD, &said, sizeof(said), &fd, fd >= 0);
    if (fd >= 0)
        close(fd);
}

static void end_all(const struct shim *s)
{
    if (s->orders->isolate)
        _exit(EXIT_SUCCESS); /* the kernel kills the rest of a PID namespace with its first process */
    for (int i = 0; i < KILL_ROUNDS; i++) {
        proc_tree_kill(getpid());
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
            break; /* orphans would be ours as well: PR_SET_CHILD_SUBREAPER */
        usleep(KILL_ROUND_US);
    }
    _exit(EXIT_SUCCESS);
}

static void on_control(struct running *r)
{
    struct shim_req req;
    int fds[SHIM_FDS_MAX];
    int got = shim_recv(SHIM_CONTROL_FD, &req, sizeof(req), fds);

    if (got < 0)
        return;
    if (got == 0)
        end_all(r->shim);
    if (req.kind == SHIM_RUN)
        run(r, fds);
    else
        make_socket(req.seq);
}

static void on_command(struct command *c)
{
    int32_t sig;
    int fds[SHIM_FDS_MAX];
    int got = shim_recv(c->fd, &sig, sizeof(sig), fds);

    if (got < 0)
        return;
    /* Between its fork and setsid() it has no group of its own. */
    if (kill(-c->pid, got ? sig : SIGKILL) != 0)
        kill(c->pid, got ? sig : SIGKILL);
    c->killed = got == 0;
}

static void ended(struct running *r, struct command *c, int status)
{
    struct shim_said said = {.kind = SHIM_ENDED, .value = status};

    (void)shim_send(c->fd, &said, sizeof(said), NULL, 0);
    close(c->fd);
    *c = r->commands[--r->count];
}

/* What it left in its group would keep its pipes open; what left the group goes when no command runs. */
static void reap(struct running *r)
{
    siginfo_t info = {0};
    int status;

    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) {
        struct command *c = NULL;
        for (size_t i = 0; i < r->count && !c; i++)
            if (r->commands[i].pid == info.si_pid)
                c = &r->commands[i];
        bool piped = c && c->piped;
        if (piped)
            kill(-c->pid, SIGKILL); /* not reaped yet: the group's number can't be another's */
        waitpid(info.si_pid, &status, 0);
        if (c)
            ended(r, c, status);
        if (piped && r->count == 0 && r->shim->orders->isolate)
            kill(-1, SIGKILL); /* of this PID namespace */
        info.si_pid = 0;
    }
}

static void serve(struct shim *s)
{
    static struct running r; /* large */
    static struct pollfd polls[SHIM_COMMANDS_MAX + 2];
    struct signalfd_siginfo info[8];
    sigset_t set;

    r.shim = s;
    sigfillset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    r.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (r.signals < 0)
        shim_refuse(s, "signalfd");
    struct shim_said said = {.kind = SHIM_READY};
    if (!shim_send(SHIM_CONTROL_FD, &said, sizeof(said), &s->listener, s->listener >= 0))
        end_all(s);
    if (s->listener >= 0)
        close(s->listener);
    for (;;) {
        polls[0] = (struct pollfd){.fd = SHIM_CONTROL_FD, .events = POLLIN};
        polls[1] = (struct pollfd){.fd = r.signals, .events = POLLIN};
        size_t n = r.count;
        for (size_t i = 0; i < n; i++)
            polls[i + 2] = (struct pollfd){.fd = r.commands[i].killed ? -1 : r.commands[i].fd, .events = POLLIN};
        if (poll(polls, n + 2, -1) < 0)
            continue;
        for (size_t i = 0; i < n; i++)
            if (polls[i + 2].revents)
                on_command(&r.commands[i]);
        if (polls[1].revents) {
            (void)!read(r.signals, info, sizeof(info));
            reap(&r);
        }
        if (polls[0].revents)
            on_control(&r);
    }
}

/* Stands between the server, whose namespaces it shares, and the first process of the sandbox: unshare(2) moves children only. */
static void wait_for(pid_t pid)
{
    int status = 0;

    close_range(0, ~0U, 0);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static void join_cgroup(const struct shim *s)
{
    char name[4096];

    if (!s->cgroup[0])
        return;
    snprintf(name, sizeof(name), "%s/cgroup.procs", s->cgroup);
    int fd = open(name, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "0", 1) != 1)
        shim_refuse(s, "join its control group");
    close(fd);
}

/* When the machine has no memory left: before the server. What is forked inherits it. */
static void go_first(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    (void)!write(fd, FIRST_TO_GO, sizeof(FIRST_TO_GO) - 1);
    close(fd);
}

int etl_shim_main(int argc, char **argv)
{
    struct shim s = {0};

    (void)argc;
    (void)argv;
    if (!orders_read(&s)) {
        fputs("sluice: etl-shim is not for people: the server runs it for its ETLs\n", stderr);
        return 2;
    }
    umask(022);
    fcntl(SHIM_CONTROL_FD, F_SETFD, FD_CLOEXEC);
    close_range(SHIM_ORDERS_FD, ~0U, 0);
    join_cgroup(&s);
    go_first();
    if (s.orders->isolate) {
        shim_leave(&s);
        pid_t pid = fork();
        if (pid < 0)
            shim_refuse(&s, "fork");
        if (pid > 0)
            wait_for(pid);
        shim_sandbox(&s);
    } else {
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        shim_unconfined(&s);
    }
    serve(&s);
    return 0;
}
