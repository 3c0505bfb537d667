/* Against a Docker Engine of its own, in a network namespace of its own; where none can run, all of it is skipped. */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "etl/docker_own.h"

#define IMAGE "sluice-test/sidecar:1"

static char top[64], socket_path[96];
static pid_t engine;
static struct docker_api api;
static struct etl_runtime *runtime;

/* ---- the engine ---- */

static void lo_up(void)
{
    struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    (void)ioctl(fd, SIOCSIFFLAGS, &r);
    close(fd);
}

static void engine_run(void)
{
    char data[96], exec[96], pid[96], host[128], log[96];

    snprintf(data, sizeof(data), "%s/data", top);
    snprintf(exec, sizeof(exec), "%s/exec", top);
    snprintf(pid, sizeof(pid), "%s/pid", top);
    snprintf(log, sizeof(log), "%s/log", top);
    snprintf(host, sizeof(host), "unix://%s", socket_path);
    int fd = open(log, O_WRONLY | O_CREAT, 0600);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* a test that crashes leaves none */
    dup2(fd, 1);
    dup2(fd, 2);
    execlp("dockerd", "dockerd", "--data-root", data, "--exec-root", exec, "--pidfile", pid, "-H", host,
           "--bridge=none", NULL);
    _exit(127);
}

static bool engine_answers(void)
{
    struct arena a = ARENA_INIT;
    char why[ETL_WHY_MAX];
    struct doc *d;
    bool ok = docker_ask(&api, &a, &(struct rest_req){.method = "GET", .path = "/version"}, &d, why) == ERR_OK;

    arena_release(&a);
    return ok;
}

static bool engine_start(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return false;
    lo_up();
    engine = fork();
    if (engine == 0)
        engine_run();
    for (int k = 0; k < 600; k++) {
        int status;
        if (waitpid(engine, &status, WNOHANG) == engine)
            return false;
        if (engine_answers())
            return true;
        usleep(100000);
    }
    return false;
}

static void engine_stop(void)
{
    if (engine > 0 && kill(engine, SIGTERM) == 0)
        (void)waitpid(engine, NULL, 0);
}

/* A tar with the one file. */
static struct str image_tar(void)
{
    int fd = open(SIDECAR, O_RDONLY);
    struct stat st;

    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    size_t n = (size_t)st.st_size, whole = 512 + (n + 511) / 512 * 512 + 1024;
    char *p = mem_new(whole);
    snprintf(p, 100, "sidecar");
    snprintf(p + 100, 8, "0000755");
    snprintf(p + 108, 8, "0000000");
    snprintf(p + 116, 8, "0000000");
    snprintf(p + 124, 12, "%011zo", n);
    snprintf(p + 136, 12, "00000000000");
    memset(p + 148, ' ', 8);
    p[156] = '0';
    memcpy(p + 257,
           "ustar\0"
           "00",
           8);
    unsigned sum = 0;
    for (int k = 0; k < 512; k++)
        sum += (unsigned char)p[k];
    snprintf(p + 148, 8, "%06o", sum);
    assert_int_equal(read(fd, p + 512, n), (ssize_t)n);
    close(fd);
    return str_n(p, whole);
}

static bool nothing(void *arg, struct str piece)
{
    (void)arg, (void)piece;
    return true;
}

static void image_make(const char *name, const char *changes)
{
    struct arena a = ARENA_INIT;
    struct str tar = image_tar(), path = arena_printf(&a, "/images/create?fromSrc=-&repo=%s&changes=%s", name, changes);
    char why[ETL_WHY_MAX] = "";
    struct rest_req req = {.method = "POST", .path = path.p, .body = tar, .on_piece = nothing};

    if (docker_ask(&api, &a, &req, NULL, why) != ERR_OK)
        fail_msg("%s", why);
    free((char *)tar.p);
    arena_release(&a);
}

static unsigned count(const char *path)
{
    struct arena a = ARENA_INIT;
    char why[ETL_WHY_MAX] = "";
    struct doc *d;
    unsigned n = 0;

    if (docker_ask(&api, &a, &(struct rest_req){.method = "GET", .path = path}, &d, why) != ERR_OK)
        fail_msg("%s", why);
    for (const struct doc *row = d->first; row; row = row->next)
        n += str_starts(rest_text(row, "Name"), STR("sluice-")) || rest_at(row, "Names");
    arena_release(&a);
    return n;
}

static unsigned containers(void)
{
    return count("/containers/json?all=true");
}

/* ---- a runtime and its sidecars ---- */

static char dir[96];

static void open_runtime(void)
{
    struct etl_docker_conf conf = {str_z(socket_path), STR("test"), str_z(dir), 64 << 20};
    char why[ETL_WHY_MAX] = "";

    if (etl_docker_open(&conf, &runtime, why) != ERR_OK)
        fail_msg("%s", why);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "%s/etl", top);
    open_runtime();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    runtime->ops->close(runtime);
    assert_int_equal(containers(), 0);
    assert_int_equal(count("/networks"), 0);
    return 0;
}

struct car {
    struct etl_spec spec;
    struct str words[4];
    struct etl_env env[2];
    struct etl_instance *i;
    char why[ETL_WHY_MAX];
};

static struct car *car(enum etl_comm comm, const char *what, const char *arg)
{
    struct car *c = NEW(struct car);

    c->words[0] = STR("/sidecar");
    c->words[1] = str_z(what);
    c->words[2] = str_z(arg);
    c->spec = (struct etl_spec){.name = STR("test-etl"),
                                .comm = comm,
                                .init_timeout_ms = 20000,
                                .image = STR(IMAGE),
                                .command = c->words,
                                .command_count = what ? arg ? 3 : 2 : 0,
                                .port = 8000,
                                .env = c->env};
    return c;
}

static enum err start(struct car *c, const char *id)
{
    return runtime->ops->start(
        runtime, &(struct etl_start_req){.spec = &c->spec, .id = str_z(id), .target_path = STR("/v1/etl/secret")},
        &c->i, c->why);
}

static void must_start(struct car *c, const char *id)
{
    if (start(c, id) != ERR_OK)
        fail_msg("%s", c->why);
}

static void stop(struct car *c, uint32_t grace_ms)
{
    if (c->i)
        runtime->ops->stop(c->i, grace_ms);
    free(c);
}

static int dial(struct car *c)
{
    char why[ETL_WHY_MAX];
    int fd = -1;

    for (int k = 0; k < 200; k++) {
        enum err e = runtime->ops->dial(c->i, &fd);
        if (e == ERR_OK)
            return fd;
        assert_int_equal(e, ERR_UNAVAILABLE);
        if (!runtime->ops->alive(c->i, why))
            fail_msg("it ended: %s", why);
        usleep(20000);
    }
    fail_msg("it does not listen");
    return -1;
}

/* The answer, status line and all, NUL-terminated; freed by the caller. */
static char *get(struct car *c, const char *path)
{
    int fd = dial(c);
    size_t n = 0, cap = 65536;
    char *p = mem_new(cap);
    ssize_t k;

    fcntl(fd, F_SETFL, 0);
    dprintf(fd, "GET %s HTTP/1.0\r\n\r\n", path);
    while (n < cap - 1 && (k = read(fd, p + n, cap - 1 - n)) > 0)
        n += (size_t)k;
    close(fd);
    return p;
}

static void expect(struct car *c, const char *path, const char *end)
{
    char *p = get(c, path);

    if (!str_ends(str_z(p), str_z(end)))
        fail_msg("GET %s: '%s', not '%s'", path, p, end);
    free(p);
}

static void until_ended(struct car *c, const char *why)
{
    for (int k = 0; k < 1000 && runtime->ops->alive(c->i, c->why); k++)
        usleep(20000);
    if (strcmp(c->why, why) != 0)
        fail_msg("'%s', not '%s'", c->why, why);
}

static bool logged(struct car *c, const char *text)
{
    struct buf log = BUF_INIT(2 * ETL_LOG_MAX);
    bool found = false;

    for (int k = 0; k < 100 && !found; k++) {
        buf_reset(&log);
        runtime->ops->logs(c->i, &log);
        found = log.n && str_find(buf_str(&log), str_z(text)) != SIZE_MAX;
        usleep(20000);
    }
    buf_release(&log);
    return found;
}

/* ---- life ---- */

static void a_sidecar_starts_answers_and_leaves_nothing(void **state)
{
    (void)state;
    struct car *c = car(ETL_HPUSH, "serve", NULL);

    must_start(c, "web-1");
    expect(c, "/health", "Running");
    expect(c, "/env?ETL_PORT", "8000");
    assert_true(logged(c, "serving\n"));
    assert_int_equal(containers(), 1);
    stop(c, 2000);
    assert_int_equal(containers(), 0);
}

static void the_command_of_an_image_is_run(void **state)
{
    (void)state;
    struct car *c = car(ETL_HPUSH, NULL, NULL);

    image_make("sluice-test/own:1", "CMD%20%5B%22/sidecar%22%2C%22serve%22%5D&changes=USER%201234");
    c->spec.image = STR("sluice-test/own:1");
    must_start(c, "own-1");
    expect(c, "/who", "1234:0 pid 1");
    stop(c, 0);
}

static void it_is_nobody_and_reads_its_share_only(void **state)
{
    (void)state;
    struct car *c = car(ETL_HPUSH, "serve", NULL);
    struct str host, inside;
    char path[256], query[256];

    must_start(c, "who-1");
    expect(c, "/who", "65534:65534 pid 1"); /* its pid is not 1 where the engine has an init process */
    assert_int_equal(runtime->ops->share(c->i, &host, &inside), ERR_OK);
    snprintf(path, sizeof(path), STR_FMT "/file", STR_ARG(host));
    int fd = open(path, O_WRONLY | O_CREAT, 0644);
    assert_int_equal(write(fd, "shared", 6), 6);
    close(fd);
    snprintf(query, sizeof(query), "/file?" STR_FMT "/file", STR_ARG(inside));
    expect(c, query, "shared");
    snprintf(query, sizeof(query), "/write?" STR_FMT "/other", STR_ARG(inside));
    expect(c, query, "HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n");
    expect(c, "/write?/tmp/mine", "HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n");
    stop(c, 0);
    assert_int_equal(access(path, F_OK), -1);
}

static void how_it_ended_is_told(void **state)
{
    (void)state;
    struct car *c = car(ETL_HPUSH, "serve", NULL);

    must_start(c, "ends-1");
    free(get(c, "/exit?3"));
    until_ended(c, "exit status 3");
    assert_true(logged(c, "I was told to exit"));
    stop(c, 1000);
}

static void out_of_memory_is_told(void **state)
{
    (void)state;
    struct car *c = car(ETL_HPUSH, "hog", NULL);

    c->spec.resources.memory_limit = 16 << 20;
    must_start(c, "hog-1");
    until_ended(c, "killed by signal 9 (out of memory)");
    stop(c, 1000);
}

static void one_that_ignores_the_signal_is_killed(void **state)
{
    (void)state;
    struct car *c = car(ETL_HPUSH, "deaf", NULL);
    uint64_t from;

    must_start(c, "deaf-1");
    from = clock_mono_ns();
    stop(c, 1000);
    assert_true(clock_mono_ns() - from < 10 * UINT64_C(1000000000));
    assert_int_equal(containers(), 0);
}

static void what_can_not_be_started_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *id, *image, *why;
    } rows[] = {{"x-1", "", "has no image"},
                {"x-1", "a/../../b", "can't be the name of an image"},
                {"x-1", "../x", "can't be the name of an image"},
                {"a/b", IMAGE, "can't be a sidecar's name"},
                {"x-1", "sluice.invalid/none:1", "can't be pulled: the container engine says: "}};

    for (size_t k = 0; k < sizeof(rows) / sizeof(*rows); k++) {
        struct car *c = car(ETL_HPUSH, "serve", NULL);
        c->spec.image = str_z(rows[k].image);
        assert_int_not_equal(start(c, rows[k].id), ERR_OK);
        if (!strstr(c->why, rows[k].why))
            fail_msg("'%s', not '%s'", c->why, rows[k].why);
        c->i = NULL;
        stop(c, 0);
    }
    struct car *c = car(ETL_HPUSH, "serve", NULL);
    c->env[0] = (struct etl_env){STR("A=B"), STR("c")};
    c->spec.env_count = 1;
    assert_int_equal(start(c, "x-1"), ERR_INVALID_ARGUMENT);
    c->i = NULL;
    stop(c, 0);
    assert_int_equal(containers(), 0);
}

/* By the engine, or, where that has put an init process in front, by that. */
static void a_program_that_is_not_there_is_told(void **state)
{
    (void)state;
    struct car *c = car(ETL_HPUSH, "serve", NULL);

    c->words[0] = STR("/no-such-program");
    if (start(c, "none-1") == ERR_OK) {
        until_ended(c, "exit status 127");
        assert_true(logged(c, "/no-such-program"));
    } else {
        assert_non_null(strstr(c->why, "/no-such-program"));
        c->i = NULL;
    }
    stop(c, 0);
}

static void two_of_a_name_are_refused(void **state)
{
    (void)state;
    struct car *a = car(ETL_HPUSH, "serve", NULL), *b = car(ETL_HPUSH, "serve", NULL);

    must_start(a, "same-1");
    assert_int_equal(start(b, "same-1"), ERR_EXISTS);
    expect(a, "/health", "Running");
    stop(a, 0);
    stop(b, 0);
}

static void what_it_uses_is_told(void **state)
{
    (void)state;
    struct car *c = car(ETL_HPUSH, "serve", NULL);
    struct etl_usage u;

    must_start(c, "use-1");
    expect(c, "/health", "Running");
    assert_int_equal(runtime->ops->usage(c->i, &u), ERR_OK);
    assert_true(u.memory > 0 && u.memory < 64 << 20 && u.processes >= 1 && u.processes < 10 && u.cpu_seconds > 0);
    stop(c, 0);
}

static void one_that_somebody_removed_has_ended(void **state)
{
    (void)state;
    struct car *c = car(ETL_HPUSH, "serve", NULL);

    must_start(c, "gone-1");
    assert_true(docker_remove((struct docker_runtime *)runtime, ((struct docker_instance *)c->i)->container));
    until_ended(c, "somebody has removed its container");
    stop(c, 1000);
}

/* ---- its network ---- */

static void *answer_once(void *arg)
{
    int fd = *(int *)arg, c;
    char ask[1024];
    struct pollfd p = {.fd = fd, .events = POLLIN};

    if (poll(&p, 1, 10000) == 1 && (c = accept(fd, NULL, NULL)) >= 0) {
        ssize_t n = read(c, ask, sizeof(ask) - 1);
        ask[n > 0 ? n : 0] = 0;
        dprintf(c, "HTTP/1.0 200 OK\r\n\r\n%s",
                strstr(ask, "GET /v1/etl/secret/b/key ") ? "it asked well" : "it did not");
        close(c);
    }
    return NULL;
}

static void it_calls_its_node(void **state)
{
    (void)state;
    struct car *c = car(ETL_HPULL, "serve", NULL);
    pthread_t t;

    must_start(c, "calls-1");
    int fd = runtime->ops->listener(c->i);
    assert_true(fd >= 0);
    assert_int_equal(runtime->ops->listener(c->i), -1);
    assert_int_equal(pthread_create(&t, NULL, answer_once, &fd), 0);
    expect(c, "/b/key", "IT ASKED WELL");
    pthread_join(t, NULL);
    close(fd);
    stop(c, 0);
}

static void address_of(struct car *c, char *out, size_t size)
{
    struct sockaddr_in sa;
    socklen_t len = sizeof(sa);
    char text[INET_ADDRSTRLEN];
    int fd = dial(c);

    assert_int_equal(getpeername(fd, (struct sockaddr *)&sa, &len), 0);
    snprintf(out, size, "/reach?%s:8000", inet_ntop(AF_INET, &sa.sin_addr, text, sizeof(text)));
    close(fd);
}

static void it_reaches_no_other_container(void **state)
{
    (void)state;
    struct car *a = car(ETL_HPUSH, "serve", NULL), *b = car(ETL_HPUSH, "serve", NULL),
               *o = car(ETL_HPUSH, "serve", NULL);
    char path[128], open_path[128];

    o->spec.network = true;
    must_start(a, "a-1");
    must_start(b, "b-1");
    must_start(o, "o-1");
    address_of(a, path, sizeof(path));
    address_of(o, open_path, sizeof(open_path));
    expect(a, path, "yes"); /* itself */
    expect(b, path, "no");
    expect(b, open_path, "no");
    expect(o, path, "no");
    expect(o, open_path, "yes");
    stop(a, 0);
    stop(b, 0);
    stop(o, 0);
}

/* ---- commands with pipes ---- */

static void start_io(struct car *c)
{
    must_start(c, "io-1");
    assert_int_equal(runtime->ops->listener(c->i), -1);
}

static size_t run_io(struct car *c, const char *in_bytes, size_t in_n, char *out_bytes, size_t out_max, int *code)
{
    struct etl_env env[] = {{STR("ETL_ARGS"), STR("a b")}};
    int in, out;
    uint64_t child;
    size_t at = 0, n = 0;

    assert_int_equal(runtime->ops->exec(c->i, env, 1, &in, &out, &child), ERR_OK);
    for (bool open = true; open;) {
        struct pollfd p[] = {{.fd = out, .events = POLLIN}, {.fd = in, .events = POLLOUT}};
        assert_true(poll(p, 2, 20000) > 0);
        if (in >= 0 && p[1].revents) {
            ssize_t k = at < in_n ? write(in, in_bytes + at, in_n - at) : 0;
            at += k > 0 ? (size_t)k : 0;
            if (k == 0 || (k < 0 && errno == EPIPE)) {
                close(in);
                in = -1;
            }
        }
        if (p[0].revents) {
            ssize_t k = read(out, out_bytes + n, out_max - n);
            open = k > 0;
            n += k > 0 ? (size_t)k : 0;
        }
    }
    if (in >= 0)
        close(in);
    close(out);
    *code = runtime->ops->exec_wait(c->i, child, false, c->why);
    return n;
}

static void commands_are_run_with_pipes(void **state)
{
    (void)state;
    enum { N = 3 << 20 };
    struct car *c = car(ETL_IO, "upper", NULL);
    char *in = mem_alloc(N), *out = mem_alloc(N + 1);
    int code;

    for (size_t k = 0; k < N; k++)
        in[k] = (char)("abcdefghij"[k % 10]);
    start_io(c);
    assert_int_equal(containers(), 0);
    assert_int_equal(run_io(c, "hello", 5, out, N, &code), 5);
    assert_memory_equal(out, "HELLO", 5);
    assert_int_equal(code, 0);
    assert_int_equal(run_io(c, in, 0, out, N, &code), 0);
    assert_int_equal(run_io(c, in, N, out, N + 1, &code), N);
    assert_int_equal(code, 0);
    for (size_t k = 0; k < N; k++)
        assert_int_equal(out[k], "ABCDEFGHIJ"[k % 10]);
    assert_int_equal(containers(), 0);
    free(in);
    free(out);
    stop(c, 0);
}

static void commands_have_arguments_and_fail(void **state)
{
    (void)state;
    struct car *c = car(ETL_IO, "args", "word"), *f = car(ETL_IO, "fail", NULL);
    char out[256];
    int code;

    start_io(c);
    assert_int_equal(run_io(c, "", 0, out, sizeof(out), &code), 13);
    assert_memory_equal(out, "a b word /tmp", 13);
    stop(c, 0);
    start_io(f);
    assert_int_equal(run_io(f, "xyz", 3, out, sizeof(out), &code), 0);
    assert_int_equal(code, 3);
    assert_string_equal(f->why, "exit status 3");
    assert_true(logged(f, "this went wrong"));
    stop(f, 0);
}

static void commands_without_end_are_killed(void **state)
{
    (void)state;
    static const char *const what[] = {"spew", "sleep", "upper", "deaf"};

    for (size_t k = 0; k < 4; k++) {
        struct car *c = car(ETL_IO, what[k], NULL);
        int in, out;
        uint64_t child;
        start_io(c);
        assert_int_equal(runtime->ops->exec(c->i, NULL, 0, &in, &out, &child), ERR_OK);
        usleep(200000);
        struct etl_usage u;
        assert_int_equal(runtime->ops->usage(c->i, &u), ERR_OK);
        assert_true(u.processes >= 1);
        assert_int_not_equal(runtime->ops->exec_wait(c->i, child, true, c->why), 0);
        close(in);
        close(out);
        assert_int_equal(containers(), 0);
        stop(c, 0);
    }
}

static void a_command_that_starves_is_told_of(void **state)
{
    (void)state;
    struct car *c = car(ETL_IO, "hog", NULL);
    char out[16];
    int code;

    c->spec.resources.memory_limit = 16 << 20;
    start_io(c);
    (void)run_io(c, "", 0, out, sizeof(out), &code);
    assert_string_equal(c->why, "killed by signal 9 (out of memory)");
    assert_int_equal(code, 137);
    stop(c, 0);
}

/* ---- restarts ---- */

static void what_an_earlier_process_left_is_removed(void **state)
{
    (void)state;
    struct car *c = car(ETL_HPUSH, "serve", NULL);
    struct docker_runtime *former = (struct docker_runtime *)runtime, *other;
    char other_dir[96];

    must_start(c, "left-1");
    assert_int_equal(containers(), 1);
    snprintf(other_dir, sizeof(other_dir), "%s/other", top);
    memcpy(dir, other_dir, sizeof(dir)); /* another node of that name: it lets them be */
    open_runtime();
    other = (struct docker_runtime *)runtime;
    assert_int_equal(containers(), 1);
    other->runtime.ops->close(runtime);
    snprintf(dir, sizeof(dir), "%s/etl", top);
    open_runtime(); /* the same node */
    assert_int_equal(containers(), 0);
    assert_int_equal(count("/networks"), 0);
    runtime->ops->close(runtime);
    runtime = &former->runtime;
    stop(c, 0);
}

static void quit_ends_the_wait_for_an_image(void **state)
{
    (void)state;
    struct car *c = car(ETL_HPUSH, "serve", NULL);

    runtime->ops->quit(runtime);
    c->spec.image = STR("sluice.invalid/none:1");
    c->spec.init_timeout_ms = 3600000;
    assert_int_not_equal(start(c, "quit-1"), ERR_OK);
    c->i = NULL;
    stop(c, 0);
}

static void dockerd_can_not_run_here(void **state)
{
    (void)state;
    skip();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest none[] = {cmocka_unit_test(dockerd_can_not_run_here)};
    const struct CMUnitTest tests[] = {
        TEST(a_sidecar_starts_answers_and_leaves_nothing),
        TEST(the_command_of_an_image_is_run),
        TEST(it_is_nobody_and_reads_its_share_only),
        TEST(how_it_ended_is_told),
        TEST(out_of_memory_is_told),
        TEST(one_that_ignores_the_signal_is_killed),
        TEST(what_can_not_be_started_is_told),
        TEST(a_program_that_is_not_there_is_told),
        TEST(two_of_a_name_are_refused),
        TEST(what_it_uses_is_told),
        TEST(one_that_somebody_removed_has_ended),
        TEST(it_calls_its_node),
        TEST(it_reaches_no_other_container),
        TEST(commands_are_run_with_pipes),
        TEST(commands_have_arguments_and_fail),
        TEST(commands_without_end_are_killed),
        TEST(a_command_that_starves_is_told_of),
        TEST(what_an_earlier_process_left_is_removed),
        TEST(quit_ends_the_wait_for_an_image),
    };
    int failed;

    signal(SIGPIPE, SIG_IGN);

    snprintf(top, sizeof(top), "/tmp/sluice-docker-XXXXXX");
    if (!mkdtemp(top))
        return 1;
    snprintf(socket_path, sizeof(socket_path), "%s/d.sock", top);
    api.socket = str_z(socket_path);
    if (!engine_start()) {
        failed = cmocka_run_group_tests(none, NULL, NULL);
    } else {
        image_make(IMAGE, "ENV%20FROM%3Dscratch");
        failed = cmocka_run_group_tests(tests, NULL, NULL);
    }
    engine_stop();
    (void)!process_dir_remove(top, false);
    return failed;
}
