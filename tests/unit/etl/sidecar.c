#include "unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/serve.h"
#include "sidecar.h"

/* ---- the server ---- */

struct visit {
    struct sidecar *sidecar;
    int fd, n;
};

static void *serve_visit(void *arg)
{
    struct visit v = *(struct visit *)arg;

    free(arg);
    v.sidecar->script(v.sidecar, v.fd, v.n);
    close(v.fd);
    return NULL;
}

static void serve_apart(struct sidecar *s, int fd)
{
    struct visit *v = NEW(struct visit);

    *v = (struct visit){s, fd, atomic_fetch_add(&s->accepted, 1)};
    if (s->each_n == (int)(sizeof(s->each) / sizeof(s->each[0])) ||
        pthread_create(&s->each[s->each_n++], NULL, serve_visit, v) != 0)
        abort();
}

static void *serve(void *arg)
{
    struct sidecar *s = arg;
    struct pollfd p = {.fd = s->listener, .events = POLLIN};
    struct timeval limit = {.tv_sec = 10};

    while (!atomic_load(&s->stop)) {
        if (poll(&p, 1, 20) != 1)
            continue;
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        if (s->many) {
            serve_apart(s, fd);
            continue;
        }
        s->script(s, fd, atomic_fetch_add(&s->accepted, 1));
        close(fd);
    }
    return NULL;
}

static enum err fake_dial(struct etl_instance *i, int *fd)
{
    struct sidecar *s = CONTAINER(i, struct sidecar, instance);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(s->port)};

    atomic_fetch_add(&s->dials, 1);
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int got = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (got < 0 || connect(got, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
        if (got >= 0)
            close(got);
        return ERR_UNAVAILABLE;
    }
    fcntl(got, F_SETFL, O_NONBLOCK);
    *fd = got;
    return ERR_OK;
}

static bool fake_alive(struct etl_instance *i, char why[ETL_WHY_MAX])
{
    struct sidecar *s = CONTAINER(i, struct sidecar, instance);

    why[0] = 0;
    return !atomic_load(&s->stop);
}

static void start(struct sidecar *s, void (*script)(struct sidecar *, int, int), const char *answer, bool many)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t len = sizeof(sa);
    static const struct etl_runtime_ops ops = {.name = "fake", .dial = fake_dial, .alive = fake_alive};

    memset(s, 0, sizeof(*s));
    s->runtime.ops = &ops;
    s->instance.runtime = &s->runtime;
    s->script = script;
    s->answer = answer;
    s->many = many;
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->listener < 0 || bind(s->listener, (struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(s->listener, 50) != 0 ||
        getsockname(s->listener, (struct sockaddr *)&sa, &len) != 0)
        abort();
    s->port = ntohs(sa.sin_port);
    if (pthread_create(&s->thread, NULL, serve, s) != 0)
        abort();
}

void sidecar_start(struct sidecar *s, void (*script)(struct sidecar *, int, int), const char *answer)
{
    start(s, script, answer, false);
}

void sidecar_start_many(struct sidecar *s, void (*script)(struct sidecar *, int, int))
{
    start(s, script, NULL, true);
}

void sidecar_stop(struct sidecar *s)
{
    atomic_store(&s->stop, true);
    if (s->script) {
        pthread_join(s->thread, NULL);
        for (int i = 0; i < s->each_n; i++)
            pthread_join(s->each[i], NULL);
        close(s->listener);
    }
    if (s->dir[0]) {
        char log[128];
        snprintf(log, sizeof(log), "%s/log", s->dir);
        unlink(log);
        rmdir(s->dir);
    }
    assert_int_equal(atomic_load(&s->held), 0);
    assert_int_equal(atomic_load(&s->running), 0);
}

static struct etl_instance *fake_find(void *arg, struct str id)
{
    struct sidecar *s = arg;

    if (atomic_load(&s->absent) || !str_eq(id, STR("thing-1")))
        return NULL;
    atomic_fetch_add(&s->held, 1);
    return &s->instance;
}

static void fake_drop(void *arg, struct etl_instance *i)
{
    struct sidecar *s = arg;

    if (i != &s->instance)
        abort();
    atomic_fetch_sub(&s->held, 1);
}

struct etl_wire *sidecar_wire(struct sidecar *s, uint32_t connections_max)
{
    return etl_wire_new(&(struct etl_wire_conf){ask_loop, ask_io, s, fake_find, fake_drop, connections_max});
}

/* ---- the command ---- */

static void run_child(struct sidecar *s, const struct etl_env *env, size_t env_count, int in, int out)
{
    char log[128];

    snprintf(log, sizeof(log), "%s/log", s->dir);
    int err = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    for (size_t i = 0; i < env_count; i++)
        setenv(env[i].name.p, env[i].value.p ? env[i].value.p : "", 1);
    dup2(in, 0);
    dup2(out, 1);
    dup2(err, 2);
    execl("/bin/sh", "sh", "-c", s->command, (char *)NULL);
    _exit(127);
}

static enum err fake_exec(struct etl_instance *i, const struct etl_env *env, size_t env_count, int *in, int *out,
                          uint64_t *child)
{
    struct sidecar *s = CONTAINER(i, struct sidecar, instance);
    int to[2], from[2];

    if (atomic_load(&s->slow_ms))
        usleep((useconds_t)atomic_load(&s->slow_ms) * 1000);
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
        abort();
    pid_t pid = fork();
    if (pid < 0)
        abort();
    if (pid == 0)
        run_child(s, env, env_count, to[0], from[1]);
    close(to[0]);
    close(from[1]);
    fcntl(to[1], F_SETFL, O_NONBLOCK);
    fcntl(from[0], F_SETFL, O_NONBLOCK);
    *in = to[1];
    *out = from[0];
    *child = (uint64_t)pid;
    atomic_fetch_add(&s->started, 1);
    int now = atomic_fetch_add(&s->running, 1) + 1;
    if (now > atomic_load(&s->most))
        atomic_store(&s->most, now);
    return ERR_OK;
}

static int fake_wait(struct etl_instance *i, uint64_t child, bool kill_it, char why[ETL_WHY_MAX])
{
    struct sidecar *s = CONTAINER(i, struct sidecar, instance);
    int status = 0;

    if (kill_it && kill(-(pid_t)child, SIGKILL) != 0) /* its group may not be there yet */
        kill((pid_t)child, SIGKILL);
    waitpid((pid_t)child, &status, 0);
    atomic_fetch_sub(&s->running, 1);
    snprintf(why, ETL_WHY_MAX, "exit status %d", WIFEXITED(status) ? WEXITSTATUS(status) : 128);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void fake_logs(struct etl_instance *i, struct buf *out)
{
    struct sidecar *s = CONTAINER(i, struct sidecar, instance);
    char name[128], text[8192];

    snprintf(name, sizeof(name), "%s/log", s->dir);
    FILE *f = fopen(name, "r");
    size_t n = f ? fread(text, 1, sizeof(text), f) : 0;
    buf_add(out, text, n);
    if (f)
        fclose(f);
}

void sidecar_command(struct sidecar *s, const char *command)
{
    static const struct etl_runtime_ops ops = {
        .name = "fake", .exec = fake_exec, .exec_wait = fake_wait, .logs = fake_logs};

    memset(s, 0, sizeof(*s));
    s->runtime.ops = &ops;
    s->instance.runtime = &s->runtime;
    s->command = command;
    snprintf(s->dir, sizeof(s->dir), "/tmp/sluice-test-XXXXXX");
    if (!mkdtemp(s->dir))
        abort();
}

/* ---- for scripts ---- */

void say_n(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        p += sent;
        n -= (size_t)sent;
    }
}

void say(int fd, const char *text)
{
    say_n(fd, text, strlen(text));
}

bool take_head(struct sidecar *s, int fd)
{
    size_t n = 0;
    char c;

    do {
        if (n + 1 >= sizeof(s->head) || recv(fd, &c, 1, 0) != 1)
            return false;
        s->head[n++] = c;
        s->head[n] = 0;
    } while (n < 4 || memcmp(s->head + n - 4, "\r\n\r\n", 4) != 0);
    return true;
}

static bool take(int fd, char *p, size_t n)
{
    return n == 0 || recv(fd, p, n, MSG_WAITALL) == (ssize_t)n;
}

static long take_sized(int fd, long at, long n)
{
    char buf[65536];

    while (n) {
        size_t step = n < (long)sizeof(buf) ? (size_t)n : sizeof(buf);
        if (!take(fd, buf, step))
            return -1;
        for (size_t i = 0; i < step; i++)
            if (buf[i] != serve_pattern((uint64_t)at++))
                return -1;
        n -= (long)step;
    }
    return at;
}

static long take_chunked(int fd)
{
    char line[32], end[2];
    long at = 0;

    for (;;) {
        size_t n = 0;
        memset(line, 0, sizeof(line));
        while (!strchr(line, '\n'))
            if (n + 1 >= sizeof(line) || !take(fd, line + n++, 1))
                return -1;
        long len = strtol(line, NULL, 16);
        if ((at = take_sized(fd, at, len)) < 0 || !take(fd, end, 2))
            return -1;
        if (len == 0)
            return at;
    }
}

long take_body(struct sidecar *s, int fd)
{
    const char *length = strstr(s->head, "Content-Length: ");

    if (strstr(s->head, "Transfer-Encoding: chunked"))
        return take_chunked(fd);
    return length ? take_sized(fd, 0, strtol(length + 16, NULL, 10)) : 0;
}

void until_closed(int fd)
{
    char buf[4096];

    while (recv(fd, buf, sizeof(buf), 0) > 0)
        ;
}

void polite(struct sidecar *s, int fd, int n)
{
    (void)n;
    while (take_head(s, fd) && take_body(s, fd) >= 0)
        say(fd, s->answer);
}

void polite_once(struct sidecar *s, int fd, int n)
{
    (void)n;
    if (take_head(s, fd) && take_body(s, fd) >= 0)
        say(fd, s->answer);
}

/* ---- one object ---- */

/* The object's source must be left alone whenever we hold the result: then we might close both. */
static void watched(struct call *call)
{
    struct thing *t = CONTAINER(call, struct thing, watching);

    t->outstanding = false;
    call_finish(t->watched, call->err);
}

static void watch_cancel(void *arg)
{
    call_cancel(&((struct thing *)arg)->watching);
}

static void watch_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct thing *t = CONTAINER(s, struct thing, watch);

    assert_false(t->outstanding);
    t->outstanding = true;
    t->watched = call;
    call_begin(&t->watching, ask_loop, watched);
    call_on_cancel(call, watch_cancel, t);
    source_read(&t->gen.source, buf, len, n, &t->watching);
}

static void watch_close(struct source *s)
{
    (void)s;
    fail_msg("the object's source is its owner's to close");
}

void thing_body(struct thing *t, uint64_t size, bool tell_size)
{
    static const struct source_ops ops = {.name = "watch", .read = watch_read, .close = watch_close};

    gen_init(&t->gen, size, tell_size);
    t->watch = (struct source){&ops, t->gen.source.size};
    t->req.body = &t->watch;
    t->req.size = t->watch.size;
}

static void on_done(struct call *call)
{
    struct thing *t = CONTAINER(call, struct thing, call);

    assert_false(t->outstanding);
    t->done = true;
}

static void on_read(struct call *call)
{
    struct thing *t = CONTAINER(call, struct thing, read);

    assert_false(t->outstanding);
    t->read_done = true;
}

static struct str either(struct str s, struct str other)
{
    return s.p ? s : other;
}

void thing_begin(struct etl_wire *w, struct thing *t)
{
    loop_turn(ask_loop, 0);
    t->req.arena = &t->arena;
    t->req.id = either(t->req.id, STR("thing-1"));
    t->req.bucket = either(t->req.bucket, STR("bucket"));
    t->req.key = either(t->req.key, STR("key"));
    t->req.uname = either(t->req.uname, STR("ais/@#/bucket/key"));
    if (!t->req.timeout_ms)
        t->req.timeout_ms = 15000;
    t->done = false;
    call_begin(&t->call, ask_loop, on_done);
    etl_comm_run(w, &t->req, &t->res, &t->call);
}

enum err thing_wait(struct thing *t)
{
    ask_until(&t->done);
    return t->call.err;
}

static void keep(struct thing *t, const char *p, size_t n)
{
    if (t->body_n + n > t->body_cap)
        t->body = mem_realloc(t->body, t->body_cap = t->body_cap * 2 + n);
    memcpy(t->body + t->body_n, p, n);
    t->body_n += n;
}

static void begin_read(struct thing *t, size_t len)
{
    free(t->buf);
    t->buf = mem_alloc(len);
    t->read_done = false;
    call_begin(&t->read, ask_loop, on_read);
    source_read(t->res.body, t->buf, len, &t->n, &t->read);
}

static enum err end_read(struct thing *t)
{
    if (t->read.err == ERR_OK && t->n)
        keep(t, t->buf, t->n);
    return t->read.err;
}

enum err thing_read(struct thing *t, size_t len)
{
    begin_read(t, len);
    ask_until(&t->read_done);
    return end_read(t);
}

enum err thing_begin_read(struct thing *t, size_t len)
{
    begin_read(t, len);
    while (!t->read_done && !t->gen.hanging)
        loop_turn(ask_loop, 10);
    return t->read_done ? end_read(t) : ERR_OK;
}

enum err thing_drain(struct thing *t, bool peek)
{
    while (t->res.body) {
        struct span span = {.kind = SPAN_READ};
        if (peek)
            source_peek(t->res.body, &span);
        if (span.kind == SPAN_END)
            return ERR_OK;
        if (span.kind == SPAN_MEMORY) {
            keep(t, span.p, (size_t)span.len);
            source_consume(t->res.body, span.len);
            continue;
        }
        enum err e = thing_read(t, 50000);
        if (e != ERR_OK || t->n == 0)
            return e;
    }
    return ERR_OK;
}

enum err thing_run(struct etl_wire *w, struct thing *t)
{
    thing_begin(w, t);
    enum err e = thing_wait(t);
    return e == ERR_OK ? thing_drain(t, false) : e;
}

void thing_end(struct thing *t)
{
    assert_false(t->outstanding);
    source_close(t->res.body);
    assert_false(t->outstanding);
    free(t->body);
    free(t->buf);
    arena_release(&t->arena);
    *t = (struct thing){0};
}
