#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "docker_own.h"

enum { EXEC_WAIT_MS = 10000, PIECE = 64 << 10, PAUSE_US = 2000, PAUSE_MAX_US = 100000, NANOS_PER_MS = 1000000 };

/* A container for one command: an image need not have a shell, nor anything that waits, so nothing could be run in one that is there already.
 * Its thread carries bytes between the engine's stream and the pipes, as slowly as who is at their ends. */
struct docker_child {
    struct docker_child *next, **at; /* guarded by the instance's lock */
    struct docker_instance *instance;
    char container[DOCKER_ID_MAX + 1];
    pthread_t thread;
    int wake;        /* eventfd: give up */
    int sock;        /* to the engine */
    int in, out;     /* our ends of the pipes; -1: closed */
    bool out_broken; /* nobody reads */
    struct docker_frames frames;
    char *to, *from; /* PIECE each: for the command, and of the engine */
    size_t to_n, to_at, from_n;
    struct str rest, piece; /* of `from`: not looked at yet; for stdout */
};

/* ---- its thread ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static bool is_later(ssize_t n)
{
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static void read_in(struct docker_child *c)
{
    ssize_t n = read(c->in, c->to, PIECE);

    if (is_later(n))
        return;
    if (n > 0) {
        c->to_n = (size_t)n;
        c->to_at = 0;
        return;
    }
    close_fd(&c->in);
    shutdown(c->sock, SHUT_WR); /* the end of its stdin */
}

static void send_in(struct docker_child *c)
{
    ssize_t n = send(c->sock, c->to + c->to_at, c->to_n - c->to_at, MSG_NOSIGNAL);

    if (is_later(n))
        return;
    c->to_at += n > 0 ? (size_t)n : 0;
    if (n <= 0) { /* it reads no more */
        c->to_at = c->to_n = 0;
        close_fd(&c->in);
    } else if (c->to_at == c->to_n) {
        c->to_at = c->to_n = 0;
    }
}

/* The log's pipe is always read. */
static void write_log(struct docker_child *c, struct str s)
{
    while (s.n) {
        ssize_t n = write(c->instance->log_fd, s.p, s.n);
        if (n > 0)
            s = str_skip(s, (size_t)n);
        else if (errno != EINTR)
            return;
    }
}

/* Up to something for stdout. */
static void sort(struct docker_child *c)
{
    struct str piece;
    unsigned stream;

    while (!c->piece.n && docker_frames_next(&c->frames, &c->rest, &piece, &stream)) {
        if (stream == 2)
            write_log(c, piece);
        else if (!c->out_broken)
            c->piece = piece;
    }
    if (c->frames.bad)
        c->rest = STR_NONE;
}

static bool read_out(struct docker_child *c)
{
    ssize_t n = recv(c->sock, c->from, PIECE, 0);

    if (is_later(n))
        return true;
    if (n <= 0)
        return false;
    c->rest = str_n(c->from, (size_t)n);
    return true;
}

static void write_out(struct docker_child *c)
{
    ssize_t n = write(c->out, c->piece.p, c->piece.n);

    if (is_later(n))
        return;
    if (n > 0) {
        c->piece = str_skip(c->piece, (size_t)n);
        return;
    }
    c->out_broken = true; /* the command writes on, into nothing, until it is ended */
    c->piece = STR_NONE;
}

/* false: there is nothing more to do. */
static bool turn(struct docker_child *c)
{
    sort(c);
    short sock = (short)((c->piece.n ? 0 : POLLIN) | (c->to_n ? POLLOUT : 0));
    struct pollfd p[] = {{.fd = c->wake, .events = POLLIN},
                         {.fd = sock ? c->sock : -1, .events = sock},
                         {.fd = c->to_n ? -1 : c->in, .events = POLLIN},
                         {.fd = c->piece.n ? c->out : -1, .events = POLLOUT}};

    if (poll(p, 4, -1) < 0)
        return errno == EINTR;
    if (p[0].revents || c->frames.bad)
        return false;
    if (p[2].revents)
        read_in(c);
    if (p[3].revents)
        write_out(c);
    if (c->to_n && p[1].revents)
        send_in(c);
    if (!(sock & POLLIN) || !(p[1].revents & (POLLIN | POLLHUP | POLLERR)))
        return true;
    return read_out(c);
}

static void *carry(void *arg)
{
    struct docker_child *c = arg;

    while (turn(c))
        ;
    shutdown(c->sock, SHUT_RDWR); /* an engine that still writes does not wait for us */
    close_fd(&c->in);
    close_fd(&c->out);
    return NULL;
}

/* ---- begin ---- */

static void child_free(struct docker_child *c)
{
    close_fd(&c->in);
    close_fd(&c->out);
    close_fd(&c->sock);
    close_fd(&c->wake);
    free(c->to);
    free(c->from);
    free(c);
}

static enum err attach(struct docker_child *c, char why[ETL_WHY_MAX])
{
    struct arena a = ARENA_INIT;
    struct buf early = BUF_INIT(PIECE);
    struct str path = arena_printf(&a, "/containers/%s/attach?stream=1&stdin=1&stdout=1&stderr=1&logs=0", c->container);
    enum err e = docker_hijack(&c->instance->runtime->api, path.p, &c->sock, &early, why);

    if (e == ERR_OK && (e = buf_err(&early)) != ERR_OK)
        snprintf(why, ETL_WHY_MAX, "the container engine sends the output of a command that does not run yet");
    if (e == ERR_OK && early.n) {
        memcpy(c->from, early.p, early.n);
        c->rest = str_n(c->from, early.n);
    }
    buf_release(&early);
    arena_release(&a);
    return e;
}

static enum err open_pipes(struct docker_child *c, int *in, int *out)
{
    int to[2], from[2];

    if (pipe2(to, O_CLOEXEC | O_NONBLOCK) != 0)
        return err_from_errno(errno);
    if (pipe2(from, O_CLOEXEC | O_NONBLOCK) != 0) {
        enum err e = err_from_errno(errno);
        close(to[0]);
        close(to[1]);
        return e;
    }
    c->in = to[0];
    *in = to[1];
    c->out = from[1];
    *out = from[0];
    return ERR_OK;
}

/* A write to a pipe that nobody reads is an error there, not a signal. */
static int begin_thread(struct docker_child *c)
{
    sigset_t all, former;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &former);
    int errnum = pthread_create(&c->thread, NULL, carry, c);
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    if (errnum == 0)
        pthread_setname_np(c->thread, "etl-docker");
    return errnum;
}

static enum err begin(struct docker_child *c, int *in, int *out, char why[ETL_WHY_MAX])
{
    struct docker_runtime *r = c->instance->runtime;
    enum err e;

    if ((e = attach(c, why)) != ERR_OK || (e = docker_run(r, c->container, why)) != ERR_OK)
        return e;
    if ((c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
        return err_from_errno(errno);
    if ((e = open_pipes(c, in, out)) != ERR_OK)
        return e;
    int errnum = begin_thread(c);
    if (errnum == 0)
        return ERR_OK;
    close(*in);
    close(*out);
    snprintf(why, ETL_WHY_MAX, "no thread for it: %s", strerror(errnum));
    return ERR_BUSY;
}

static void enter(struct docker_child *c)
{
    struct docker_instance *i = c->instance;

    pthread_mutex_lock(&i->lock);
    c->next = i->locked.children;
    c->at = &i->locked.children;
    if (c->next)
        c->next->at = &c->next;
    i->locked.children = c;
    pthread_mutex_unlock(&i->lock);
}

static void leave(struct docker_child *c)
{
    pthread_mutex_lock(&c->instance->lock);
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    pthread_mutex_unlock(&c->instance->lock);
}

enum err docker_exec(struct etl_instance *instance, const struct etl_env *env, size_t env_count, int *in, int *out,
                     uint64_t *child)
{
    struct docker_instance *i = CONTAINER(instance, struct docker_instance, instance);
    struct docker_env_list list = {env, env_count};
    struct docker_child *c = NEW(struct docker_child);
    char why[ETL_WHY_MAX] = "";

    c->instance = i;
    c->wake = c->sock = c->in = c->out = -1;
    c->to = mem_alloc(PIECE);
    c->from = mem_alloc(PIECE);
    enum err e = docker_make(i, &list, true, c->container, why);
    if (e == ERR_OK && (e = begin(c, in, out, why)) != ERR_OK)
        docker_remove(i->runtime, c->container);
    if (e != ERR_OK) {
        log_warn(STR_NONE, "etl command not run", "instance=" STR_FMT " reason=%s", STR_ARG(i->id),
                 log_quote(str_z(why)));
        write_log(c, str_z(why));
        write_log(c, STR("\n"));
        child_free(c);
        /* refused, not out of reach: trying again is of no use */
        return e == ERR_NOT_FOUND || e == ERR_CONFLICT || e == ERR_INVALID_ARGUMENT ? ERR_ETL : e;
    }
    enter(c);
    *child = (uint64_t)(uintptr_t)c;
    return ERR_OK;
}

/* ---- end ---- */

/* Its exit status. It is asked for now and then: engines differ in what their own ways to wait mean. */
static int wait_end(struct docker_child *c, bool *ended, char why[ETL_WHY_MAX])
{
    struct docker_runtime *r = c->instance->runtime;
    uint64_t until = clock_mono_ns() + (uint64_t)EXEC_WAIT_MS * NANOS_PER_MS;
    useconds_t pause = PAUSE_US;

    for (;;) {
        struct arena a = ARENA_INIT;
        struct doc *d;
        int code = 1;
        enum err e = docker_inspect(r, &a, c->container, &d, why);
        *ended = e == ERR_OK && !str_eq(rest_text(d, "State.Running"), STR("true"));
        if (*ended)
            code = docker_fate(d, why);
        arena_release(&a);
        if (code == 0)
            why[0] = 0;
        if (*ended || e != ERR_OK)
            return code;
        if (clock_mono_ns() >= until)
            break;
        usleep(pause);
        pause = 2 * pause < PAUSE_MAX_US ? 2 * pause : PAUSE_MAX_US;
    }
    snprintf(why, ETL_WHY_MAX, "it did not end within %d s", EXEC_WAIT_MS / 1000);
    return 1;
}

/* What it wrote is in the pipe, or somebody reads it; `now`: it is to be lost. */
static void end_thread(struct docker_child *c, bool now)
{
    struct timespec until;
    uint64_t one = 1;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += EXEC_WAIT_MS / 1000;
    if (now || pthread_timedjoin_np(c->thread, NULL, &until) != 0) {
        (void)!write(c->wake, &one, sizeof(one));
        pthread_join(c->thread, NULL);
    }
    close_fd(&c->sock); /* before the container is removed: that waits for who does not read */
}

int docker_exec_wait(struct etl_instance *instance, uint64_t child, bool kill_it, char why[ETL_WHY_MAX])
{
    struct docker_child *c = (struct docker_child *)(uintptr_t)child;
    bool ended = false;
    int code = 128 + SIGKILL;

    (void)instance;
    snprintf(why, ETL_WHY_MAX, "killed by signal %d", SIGKILL);
    if (!kill_it)
        code = wait_end(c, &ended, why);
    end_thread(c, !ended);
    (void)docker_remove(c->instance->runtime, c->container); /* which has logged it */
    leave(c);
    child_free(c);
    return code;
}

enum err docker_exec_usage(struct docker_instance *i, struct etl_usage *out)
{
    enum { CHILDREN_MAX = 64 };
    char ids[CHILDREN_MAX][DOCKER_ID_MAX + 1];
    struct etl_usage one;
    size_t n = 0;

    pthread_mutex_lock(&i->lock);
    for (struct docker_child *c = i->locked.children; c && n < CHILDREN_MAX; c = c->next)
        memcpy(ids[n++], c->container, sizeof(ids[0]));
    *out = (struct etl_usage){0};
    pthread_mutex_unlock(&i->lock);
    for (size_t k = 0; k < n; k++) {
        if (docker_usage_of(i->runtime, ids[k], &one) != ERR_OK)
            continue; /* it has ended */
        out->cpu_seconds += one.cpu_seconds;
        out->memory += one.memory;
        out->processes += one.processes;
    }
    return ERR_OK;
}
