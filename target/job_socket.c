#include "job_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "target/job.h"

enum { PATIENCE_MS = 5000, TURN_MS = 1000 };

struct job_socket {
    struct meta *meta;
    struct loop *loop; /* of the thread, for calls */
    pthread_t thread;
    int listen_fd, wake_fd, dir_fd;
};

/* ---- what is asked ---- */

static void done(struct call *c)
{
    (void)c;
}

static enum err end(struct job_socket *s, struct call *call)
{
    while (call_is_pending(call))
        loop_turn(s->loop, TURN_MS);
    return call->err;
}

static enum err look(struct job_socket *s, struct arena *a, struct str id, struct str *out)
{
    struct job_look_req req = {.arena = a, .id = id};
    struct job_look_res res = {0};
    struct call call = {0};
    enum err e;

    call_begin(&call, s->loop, done);
    job_look(s->meta, &req, &res, &call);
    if ((e = end(s, &call)) == ERR_OK)
        *out = res.json;
    return e;
}

static enum err start(struct job_socket *s, struct arena *a, struct str line, struct str *out)
{
    struct job_start_req req = {.arena = a, .started_by = STR("sluice job start")};
    struct job_start_res res = {0};
    struct call call = {0};
    enum err e;

    req.kind = str_split(&line, ' ');
    req.spec = line;
    call_begin(&call, s->loop, done);
    job_start(s->meta, &req, &res, &call);
    e = end(s, &call);
    *out = arena_str(a, e == ERR_OK ? res.id : str_z(res.why));
    return e;
}

static enum err stop(struct job_socket *s, struct arena *a, struct str id)
{
    struct job_stop_req req = {a, id};
    struct call call = {0};

    call_begin(&call, s->loop, done);
    job_stop(s->meta, &req, &call);
    return end(s, &call);
}

static void answer(struct job_socket *s, struct str line, struct buf *out)
{
    struct arena arena = ARENA_INIT;
    struct str verb = str_split(&line, ' '), text = STR("");
    enum err e = ERR_INVALID_ARGUMENT;

    if (str_eq(verb, STR("list")))
        e = look(s, &arena, STR(""), &text);
    else if (str_eq(verb, STR("show")) && line.n)
        e = look(s, &arena, line, &text);
    else if (str_eq(verb, STR("start")))
        e = start(s, &arena, line, &text);
    else if (str_eq(verb, STR("stop")))
        e = stop(s, &arena, line);
    buf_addf(out, e == ERR_OK ? "ok\n" : "error %s\n", err_name(e));
    buf_add_str(out, text);
    buf_add_char(out, '\n');
    arena_release(&arena);
}

/* ---- the socket ---- */

/* Until the line's end; 0: none came. */
static size_t read_line(int fd, char *line)
{
    uint64_t until = clock_mono_ns() + PATIENCE_MS * UINT64_C(1000000);
    size_t n = 0;

    while (n < JOB_LINE_MAX && clock_mono_ns() < until) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t got = poll(&p, 1, PATIENCE_MS) == 1 ? read(fd, line + n, JOB_LINE_MAX - n) : 0;
        if (got <= 0)
            return 0;
        char *newline = memchr(line + n, '\n', (size_t)got);
        n += (size_t)got;
        if (newline)
            return (size_t)(newline - line);
    }
    return 0;
}

static void serve(struct job_socket *s, int fd)
{
    const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    struct buf out = BUF_INIT(JOB_ANSWER_MAX);
    char *line = mem_alloc(JOB_LINE_MAX);
    size_t n = read_line(fd, line), sent = 0;

    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (n)
        answer(s, str_n(line, n), &out);
    while (sent < out.n) {
        ssize_t some = send(fd, out.p + sent, out.n - sent, MSG_NOSIGNAL);
        if (some <= 0)
            break;
        sent += (size_t)some;
    }
    free(line);
    buf_release(&out);
    close(fd);
}

static void *socket_main(void *arg)
{
    struct job_socket *s = arg;

    loop_adopt(s->loop);
    for (;;) {
        struct pollfd p[] = {{.fd = s->listen_fd, .events = POLLIN}, {.fd = s->wake_fd, .events = POLLIN}};
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            break;
        if (p[1].revents)
            break;
        int fd = p[0].revents ? accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (fd >= 0)
            serve(s, fd);
    }
    return NULL;
}

/* The path of a socket is short: it is named through the open directory. */
int job_socket(int dir_fd, struct sockaddr_un *out)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(out->sun_path, sizeof(out->sun_path), "/proc/self/fd/%d/%s", dir_fd, JOB_SOCKET);
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static bool socket_open(struct job_socket *s, struct str dir)
{
    struct sockaddr_un name;
    mode_t mask;
    bool bound;

    s->dir_fd = open(dir.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    s->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (s->dir_fd < 0 || s->wake_fd < 0)
        return false;
    s->listen_fd = job_socket(s->dir_fd, &name);
    (void)unlinkat(s->dir_fd, JOB_SOCKET, 0); /* of a process before us: the directory's lock is ours */
    mask = umask(0177);
    bound = s->listen_fd >= 0 && bind(s->listen_fd, (struct sockaddr *)&name, sizeof(name)) == 0;
    umask(mask);
    return bound && listen(s->listen_fd, 8) == 0;
}

static void socket_free(struct job_socket *s)
{
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    if (s->dir_fd >= 0) {
        (void)unlinkat(s->dir_fd, JOB_SOCKET, 0);
        close(s->dir_fd);
    }
    if (s->loop)
        loop_free(s->loop);
    free(s);
}

struct job_socket *job_socket_start(struct meta *meta, struct str dir)
{
    struct job_socket *s = NEW(struct job_socket);
    sigset_t all, old;
    bool started;

    *s = (struct job_socket){.meta = meta, .listen_fd = -1, .wake_fd = -1, .dir_fd = -1};
    if (!socket_open(s, dir)) {
        log_warn(STR_NONE, "no socket for sluice job", "directory=%s errno=%s", log_quote(dir), strerrorname_np(errno));
        socket_free(s);
        return NULL;
    }
    s->loop = loop_new();
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    started = pthread_create(&s->thread, NULL, socket_main, s) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!started) {
        perror("sluice: pthread_create");
        abort();
    }
    pthread_setname_np(s->thread, "jobs-socket");
    return s;
}

void job_socket_stop(struct job_socket *s)
{
    const uint64_t one = 1;

    if (!s)
        return;
    if (write(s->wake_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
        abort(); /* an eventfd takes it */
    pthread_join(s->thread, NULL);
    loop_adopt(s->loop);
    socket_free(s);
}
