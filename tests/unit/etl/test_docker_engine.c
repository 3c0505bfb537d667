/* Against engines that are none, or go mad at one question: nothing of what they say may be relied on. */
#include "unit.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "etl/docker_own.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OK "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
#define NO "HTTP/1.1 204 No Content\r\n\r\n"

/* ---- the engine ---- */

struct row {
    const char *ask; /* how the request begins; "*": anything behind it */
    struct str say;
};
#define SAY(text)                                                                                                      \
    {                                                                                                                  \
        text, sizeof(text) - 1                                                                                         \
    }
/* What a good one would say, by the containers' and networks' names for all. */
static const struct row good[] = {
    {"GET /version",
     SAY(OK "{\"ApiVersion\":\"1.41\",\"MinAPIVersion\":\"1.12\",\"Components\":[{\"Name\":\"Engine\"}]}")},
    {"GET /v1.41/info", SAY(OK "{\"InitBinary\":\"docker-init\",\"OSType\":\"linux\"}")},
    {"GET /v1.41/containers/json", SAY(OK "[{\"Id\":\"" ID "\"}]")},
    {"GET /v1.41/networks?", SAY(OK "[{\"Id\":\"" ID "\"}]")},
    {"GET /v1.41/images/", SAY(OK "{\"Config\":{\"User\":\"\"}}")},
    {"POST /v1.41/images/create", SAY(OK "{\"status\":\"Pulling\"}\r\n{\"error\":\"no such image\"}\r\n")},
    {"POST /v1.41/networks/create", SAY("HTTP/1.1 201 Created\r\n\r\n{\"Id\":\"" ID "\",\"Warning\":\"\"}")},
    {"GET /v1.41/networks/" ID,
     SAY(OK "{\"IPAM\":{\"Config\":[{\"Subnet\":\"127.0.0.0/8\",\"Gateway\":\"127.0.0.1\"}]}}")},
    {"POST /v1.41/containers/create",
     SAY("HTTP/1.1 201 Created\r\n\r\n{\"Id\":\"" ID "\",\"Warnings\":[\"careful\"]}")},
    {"POST /v1.41/containers/" ID "/start", SAY(NO)},
    {"GET /v1.41/containers/" ID "/json", SAY(OK "{\"State\":{\"Running\":false,\"ExitCode\":3,\"OOMKilled\":false}}")},
    {"GET /v1.41/containers/" ID "/logs", SAY(OK "\1\0\0\0\0\0\0\4text\2\0\0\0\0\0\0\3err")},
    {"GET /v1.41/containers/" ID "/stats", SAY(OK "{\"cpu_stats\":{\"cpu_usage\":{\"total_usage\":1}},\"memory_stats\":"
                                                  "{\"usage\":5},\"pids_stats\":{\"current\":1}}")},
    {"POST /v1.41/containers/" ID "/attach", SAY("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: "
                                                 "tcp\r\n\r\n\1\0\0\0\0\0\0\4text\2\0\0\0\0\0\0\3err")},
    {"POST /v1.41/containers/" ID "/stop", SAY(NO)},
    {"DELETE /v1.41/containers/" ID, SAY(NO)},
    {"DELETE /v1.41/networks/" ID, SAY(NO)},
};
enum { GOOD = sizeof(good) / sizeof(*good) };

static const struct str bad[] = {
    SAY(""),
    SAY("\0\0\0\0"),
    SAY("SSH-2.0-OpenSSH\r\n"),
    SAY("HTTP/1.1"),
    SAY("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}"),
    SAY("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}"),
    SAY("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}"),
    SAY("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
    SAY("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
    SAY("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffff\r\n{}"),
    SAY("HTTP/1.1 999 OK\r\n\r\n{}"),
    SAY("HTTP/1.1 101 OK\r\n\r\n{}"),
    SAY("HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n"),
    SAY("HTTP/1.1 500 No\r\n\r\n{\"message\":\"bad\\u0000 \\n day\"}"),
    SAY("HTTP/1.1 500 No\r\n\r\n{\"message\":{\"a\":1}}"),
    SAY("HTTP/1.1 404 No\r\n\r\n"),
    SAY("HTTP/1.1 409 No\r\n\r\n{\"message\":\"removal is in progress\"}"),
    SAY(OK),
    SAY(OK "null"),
    SAY(OK "[]"),
    SAY(OK "\"text\""),
    SAY(OK "{"),
    SAY(OK "{}"),
    SAY(OK "{\"Id\":7}"),
    SAY(OK "{\"Id\":\"../../etc/passwd\"}"),
    SAY(OK "[{\"Id\":\"..%2F\"},{\"Id\":{}},7,[[]]]"),
    SAY(OK "{\"ApiVersion\":\"1.40\"}"),
    SAY(OK "{\"ApiVersion\":\"2.41\"}"),
    SAY(OK "{\"ApiVersion\":\"1.41\",\"MinAPIVersion\":{},\"Components\":{\"Name\":[]}}"),
    SAY(OK "{\"IPAM\":{\"Config\":[{\"Gateway\":\"1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16\"},{\"Subnet\":\"::/0\"}]}}"),
    SAY(OK "{\"IPAM\":{\"Config\":{}}}"),
    SAY(OK "{\"State\":{\"Running\":[true],\"ExitCode\":-1}}"),
    SAY(OK "{\"State\":{\"ExitCode\":999999999999,\"Error\":\"\\u001b[0m\"}}"),
    SAY(OK "{\"StatusCode\":\"x\"}"),
    SAY(OK "{\"cpu_stats\":{\"cpu_usage\":{\"total_usage\":-1}},\"memory_stats\":[],\"pids_stats\":{\"current\":"
           "99999999999999}}"),
    SAY(OK "\1\0\0\0\xff\xff\xff\xff"
           "text"),
    SAY(OK "\7\0\0\0\0\0\0\1"
           "x"),
    SAY(OK "\1\1\1\1\0\0\0\1"
           "x"),
    SAY(OK "\1\0\0\0\0\0\0\0\1\0\0"),
    SAY("HTTP/1.1 101 X\r\n\r\n\1\0\0\0\xff\xff\xff\xff"
        "text"),
    SAY("HTTP/1.1 101 X\r\n\r\n\7\0\0\0\0\0\0\1"
        "x"),
    SAY("\xff"), /* a body without end */
    SAY("\xfe"), /* a head without end */
};
enum { BAD = sizeof(bad) / sizeof(*bad) };

static char top[64], socket_path[96], dir[96];
static struct etl_runtime *runtime;
static struct {
    pthread_t thread;
    int fd;
    atomic_int mad; /* the row of `good` that is answered with ... */
    atomic_int how; /* ... that of `bad`; -1: none */
    atomic_bool stopped;
} engine;

static void say(int c, struct str s)
{
    while (s.n) {
        ssize_t n = send(c, s.p, s.n, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        s = str_skip(s, (size_t)n);
    }
}

static void say_without_end(int c, bool head)
{
    static const char more[4096] = "X: x";
    struct timeval bound = {.tv_usec = 300000}; /* a stream that is not read yet: there are other questions */

    (void)setsockopt(c, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof(bound));
    say(c, head ? STR("HTTP/1.1 200 OK\r\nX: ") : STR(OK));
    while (send(c, more, sizeof(more), MSG_NOSIGNAL) > 0)
        ;
}

/* All of the request: a socket that is closed with something unread takes the answer with it. */
static struct str hear(int c)
{
    static char ask[65536];
    const char *end, *length;
    size_t n = 0, want = 0;

    while (n < sizeof(ask) - 1 && (!want || n < want)) {
        ssize_t got = recv(c, ask + n, sizeof(ask) - 1 - n, 0);
        if (got <= 0)
            break;
        ask[n += (size_t)got] = 0;
        if (!want && (end = strstr(ask, "\r\n\r\n"))) {
            length = strcasestr(ask, "\r\nContent-Length:");
            want = (size_t)(end + 4 - ask) + (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
        }
    }
    return str_n(ask, n);
}

static void answer(int c)
{
    struct str s = hear(c);

    for (int k = 0; k < GOOD; k++) {
        if (!str_starts(s, str_z(good[k].ask)))
            continue;
        struct str t = good[k].say;
        if (k == atomic_load(&engine.mad))
            t = bad[atomic_load(&engine.how)];
        if (t.n == 1)
            say_without_end(c, t.p[0] == '\xfe');
        else
            say(c, t);
        return;
    }
    say(c, STR("HTTP/1.1 404 Not Found\r\n\r\n{\"message\":\"page not found\"}"));
}

static void *serve(void *arg)
{
    (void)arg;
    while (!atomic_load(&engine.stopped)) {
        struct pollfd p = {.fd = engine.fd, .events = POLLIN};
        int c = poll(&p, 1, 50) == 1 ? accept(engine.fd, NULL, NULL) : -1;
        if (c < 0)
            continue;
        answer(c);
        shutdown(c, SHUT_WR);
        close(c);
    }
    return NULL;
}

static int set_up(void **state)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    (void)state;
    log_setup(LOG_ERROR, false);
    snprintf(top, sizeof(top), "/tmp/sluice-test-XXXXXX");
    assert_non_null(mkdtemp(top));
    snprintf(socket_path, sizeof(socket_path), "%s/d.sock", top);
    snprintf(dir, sizeof(dir), "%s/etl", top);
    memcpy(sa.sun_path, socket_path, sizeof(socket_path));
    engine.fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(engine.fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(engine.fd, 16), 0);
    atomic_store(&engine.mad, -1);
    atomic_store(&engine.stopped, false);
    assert_int_equal(pthread_create(&engine.thread, NULL, serve, NULL), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    atomic_store(&engine.stopped, true);
    pthread_join(engine.thread, NULL);
    close(engine.fd);
    assert_int_equal(process_dir_remove(top, false), ERR_OK);
    return 0;
}

/* ---- lives ---- */

static enum err open_runtime(char why[ETL_WHY_MAX])
{
    struct etl_docker_conf conf = {str_z(socket_path), STR("test"), str_z(dir), 0};

    return etl_docker_open(&conf, &runtime, why);
}

static void use_web(struct etl_instance *i)
{
    char why[ETL_WHY_MAX];
    struct buf log = BUF_INIT(2 * ETL_LOG_MAX);
    struct etl_usage u;
    int fd = -1;

    (void)runtime->ops->alive(i, why);
    if (runtime->ops->dial(i, &fd) == ERR_OK)
        close(fd);
    runtime->ops->logs(i, &log);
    (void)!runtime->ops->usage(i, &u);
    buf_release(&log);
}

static void use_io(struct etl_instance *i)
{
    char why[ETL_WHY_MAX], some[256];
    struct etl_usage u;
    uint64_t child;
    int in, out;

    if (runtime->ops->exec(i, NULL, 0, &in, &out, &child) != ERR_OK)
        return;
    (void)!write(in, "abc", 3);
    close(in);
    struct pollfd p = {.fd = out, .events = POLLIN};
    while (poll(&p, 1, 2000) == 1 && read(out, some, sizeof(some)) > 0)
        ;
    (void)!runtime->ops->usage(i, &u);
    (void)runtime->ops->exec_wait(i, child, false, why);
    close(out);
}

static enum err live(enum etl_comm comm, char why[ETL_WHY_MAX])
{
    struct etl_spec spec = {
        .name = STR("test-etl"), .comm = comm, .init_timeout_ms = 1000, .image = STR("x"), .port = 1};
    struct etl_start_req req = {.spec = &spec, .id = STR("x-1"), .target_path = STR("/x")};
    struct etl_instance *i;
    enum err e = open_runtime(why);

    if (e != ERR_OK)
        return e;
    if ((e = runtime->ops->start(runtime, &req, &i, why)) == ERR_OK) {
        if (comm == ETL_IO)
            use_io(i);
        else
            use_web(i);
        runtime->ops->stop(i, 1000);
    }
    runtime->ops->close(runtime);
    return e;
}

static void a_good_one_is_believed(void **state)
{
    (void)state;
    char why[ETL_WHY_MAX] = "";

    if (live(ETL_HPUSH, why) != ERR_OK || live(ETL_IO, why) != ERR_OK)
        fail_msg("%s", why);
}

static void a_mad_one_does_no_harm(void **state)
{
    (void)state;
    char why[ETL_WHY_MAX];

    for (int k = 0; k < GOOD; k++)
        for (int how = 0; how < BAD; how++) {
            atomic_store(&engine.how, how);
            atomic_store(&engine.mad, k);
            for (int io = 0; io < 2; io++) {
                why[0] = 0;
                if (live(io ? ETL_IO : ETL_HPUSH, why) != ERR_OK && !why[0])
                    fail_msg("'%s' answered with row %d is refused without a word", good[k].ask, how);
                for (const char *p = why; *p; p++)
                    if ((unsigned char)*p < 0x20)
                        fail_msg("'%s' answered with row %d makes a bad sentence", good[k].ask, how);
            }
        }
}

static void a_pull_that_fails_tells_why(void **state)
{
    (void)state;
    char why[ETL_WHY_MAX] = "";

    for (int how = 0; how < BAD; how++) /* the image is not there */
        if (str_starts(bad[how], STR("HTTP/1.1 404")))
            atomic_store(&engine.how, how);
    atomic_store(&engine.mad, 4);
    assert_int_not_equal(live(ETL_HPUSH, why), ERR_OK);
    assert_string_equal(
        why, "the image 'x' is not on this node, and can't be pulled: the container engine says: no such image");
}

static void where_none_is_that_is_told(void **state)
{
    (void)state;
    char why[ETL_WHY_MAX] = "", file[96], former[96];
    static char long_path[200];

    memcpy(former, socket_path, sizeof(former));
    snprintf(socket_path, sizeof(socket_path), "%s/none.sock", top);
    assert_int_equal(open_runtime(why), ERR_UNAVAILABLE);
    assert_non_null(strstr(why, "etl.docker_socket"));
    assert_non_null(strstr(why, "No such file or directory"));
    snprintf(file, sizeof(file), "%s/file", top);
    close(open(file, O_WRONLY | O_CREAT, 0600));
    memcpy(socket_path, file, sizeof(file));
    assert_int_equal(open_runtime(why), ERR_UNAVAILABLE);
    assert_non_null(strstr(why, "no engine runs"));
    memset(long_path, 'x', sizeof(long_path) - 1);
    struct etl_docker_conf conf = {str_z(long_path), STR("test"), str_z(dir), 0};
    assert_int_equal(etl_docker_open(&conf, &runtime, why), ERR_UNAVAILABLE);
    assert_non_null(strstr(why, "File name too long"));
    memcpy(socket_path, former, sizeof(former));
}

static void old_engines_are_refused(void **state)
{
    (void)state;
    char why[ETL_WHY_MAX] = "";

    for (int how = 0; how < BAD; how++)
        if (str_ends(bad[how], STR("{\"ApiVersion\":\"1.40\"}")))
            atomic_store(&engine.how, how);
    atomic_store(&engine.mad, 0);
    assert_int_equal(open_runtime(why), ERR_NOT_IMPLEMENTED);
    assert_non_null(strstr(why, "1.40"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_one_is_believed),     TEST(a_mad_one_does_no_harm),  TEST(a_pull_that_fails_tells_why),
        TEST(where_none_is_that_is_told), TEST(old_engines_are_refused),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
