/* Against the real thing: each of these executables is its own shim. */
#include "unit.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "process_box.h"

char top[64], dir[96], secrets[256];
struct etl_runtime *runtime;
enum etl_isolation isolation;

/* ---- a runtime and its sidecars ---- */

void open_runtime(void)
{
    static struct str hidden[1], images[3];
    struct etl_process_conf conf = {.dir = str_z(dir), .isolation = isolation, .processes_max = 64};
    char why[ETL_WHY_MAX] = "";

    hidden[0] = str_z(secrets);
    images[0] = STR("lib/shell=/bin/sh -c");
    images[1] = STR("lib/echo-*=/bin/echo of {image}");
    conf.hidden = hidden;
    conf.hidden_count = 1;
    conf.images = images;
    conf.image_count = 2;
    if (etl_process_open(&conf, &runtime, why) != ERR_OK)
        fail_msg("%s", why);
}

int set_up(void **state)
{
    (void)state;
    snprintf(top, sizeof(top), "/tmp/sluice-test-XXXXXX");
    assert_non_null(mkdtemp(top));
    chmod(top, 0755);
    snprintf(dir, sizeof(dir), "%s/etl", top);
    open_runtime();
    return 0;
}

int tear_down(void **state)
{
    (void)state;
    if (runtime)
        runtime->ops->close(runtime);
    runtime = NULL;
    assert_int_equal(process_dir_remove(top, false), ERR_OK);
    return 0;
}

uint16_t free_port(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t len = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    close(fd);
    return ntohs(sa.sin_port);
}

struct sidecar *sidecar(const char *id, enum etl_comm comm)
{
    struct sidecar *s = NEW(struct sidecar);

    s->id = id;
    s->spec = (struct etl_spec){
        .name = STR("thing"), .comm = comm, .port = isolation == ETL_ISOLATE ? ETL_PORT : free_port()};
    return s;
}

enum err start(struct sidecar *s, const struct str *words, size_t n)
{
    struct etl_start_req req = {
        .spec = &s->spec, .id = str_z(s->id), .env = s->env, .target_path = STR("/v1/etl/_object/thing/key")};

    for (size_t k = 0; k < 4 && s->env[k].name.n; k++)
        req.env_count++;
    s->spec.command = words;
    s->spec.command_count = n;
    return runtime->ops->start(runtime, &req, &s->i, s->why);
}

struct sidecar *shell(const char *id, const char *script)
{
    struct sidecar *s = sidecar(id, ETL_HPUSH);
    struct str words[] = {STR("/bin/sh"), STR("-c"), str_z(script)};

    if (start(s, words, 3) != ERR_OK)
        fail_msg("%s", s->why);
    return s;
}

void stop(struct sidecar *s, uint32_t grace_ms)
{
    if (s->i)
        runtime->ops->stop(s->i, grace_ms);
    free(s);
}

bool alive(struct sidecar *s)
{
    return runtime->ops->alive(s->i, s->why);
}

const char *log_of(struct sidecar *s)
{
    struct buf b = BUF_INIT(ETL_LOG_MAX);

    runtime->ops->logs(s->i, &b);
    memcpy(s->log, b.n ? b.p : "", b.n);
    s->log[b.n] = 0;
    buf_release(&b);
    return s->log;
}

void until_ended(struct sidecar *s)
{
    for (int k = 0; k < 1000 && alive(s); k++)
        usleep(10000);
    assert_false(alive(s));
}

/* What the script wrote, when it has ended. */
void says(const char *script, const char *expected)
{
    struct sidecar *s = shell("says-1", script);

    until_ended(s);
    assert_string_equal(log_of(s), expected);
    stop(s, 0);
}

void until_logged(struct sidecar *s, const char *text)
{
    for (int k = 0; k < 1000 && !strstr(log_of(s), text); k++)
        usleep(10000);
    if (!strstr(s->log, text))
        fail_msg("no \"%s\" in: %s", text, s->log);
}

static const char server[] =
    "import http.server as h,os\n"
    "class H(h.BaseHTTPRequestHandler):\n"
    "  def do_GET(s):\n"
    "    b=os.environ.get('TEXT','hello').encode()\n"
    "    s.send_response(200);s.send_header('Content-Length',str(len(b)));s.end_headers();s.wfile.write(b)\n"
    "h.ThreadingHTTPServer(('127.0.0.1',int(os.environ['PORT'])),H).serve_forever()\n";

struct sidecar *web(const char *id, const char *text)
{
    struct sidecar *s = sidecar(id, ETL_HPUSH);
    struct str words[] = {STR("/usr/bin/python3"), STR("-c"), str_z(server)};

    s->env[0] = (struct etl_env){STR("TEXT"), str_z(text)};
    if (start(s, words, 3) != ERR_OK)
        fail_msg("%s", s->why);
    return s;
}

int dial(struct sidecar *s)
{
    int fd = -1;

    for (int k = 0; k < 1000; k++) {
        enum err e = runtime->ops->dial(s->i, &fd);
        if (e == ERR_OK)
            return fd;
        assert_int_equal(e, ERR_UNAVAILABLE);
        if (!alive(s))
            fail_msg("%s: %s", s->why, log_of(s));
        usleep(10000);
    }
    fail_msg("it does not listen: %s", log_of(s));
    return -1;
}

void read_all(int fd, char *out, size_t size)
{
    size_t n = 0;
    ssize_t got = 1;

    while (got > 0 && n + 1 < size) {
        struct pollfd p = {fd, POLLIN, 0};
        if (poll(&p, 1, 15000) != 1)
            break;
        got = read(fd, out + n, size - 1 - n);
        n += got > 0 ? (size_t)got : 0;
    }
    out[n] = 0;
}

void get(struct sidecar *s, const char *expected)
{
    char text[4096];
    int fd = dial(s);

    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(write(fd, "GET / HTTP/1.0\r\n\r\n", 18) == 18);
    read_all(fd, text, sizeof(text));
    close(fd);
    if (!strstr(text, expected))
        fail_msg("no \"%s\" in: %s", expected, text);
}

/* Of this machine, by its arguments. */
unsigned count_running(const char *argument)
{
    unsigned n = 0;
    DIR *d = opendir("/proc");
    struct dirent *e;
    char name[300], text[4096];

    while ((e = readdir(d))) {
        snprintf(name, sizeof(name), "/proc/%s/cmdline", e->d_name);
        int fd = open(name, O_RDONLY);
        ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof(text));
        if (fd >= 0)
            close(fd);
        n += got > 0 && memmem(text, (size_t)got, argument, strlen(argument)) != NULL;
    }
    closedir(d);
    return n;
}

unsigned count_in(const char *name)
{
    unsigned n = 0;
    DIR *d = opendir(name);

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

void put_text(const char *name, const char *file, const char *text)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", name, file);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

/* ---- as whom ---- */

static void sandboxes_are_not_permitted_here(void **state)
{
    (void)state;
    skip();
}

/* In namespaces already: whether they are of use. In containers they may not be. */
static int mounts(void)
{
    int status = 1;
    pid_t pid = fork(); /* the first in the namespace of processes */

    if (pid == 0)
        _exit(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
              mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0);
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}

static bool sandboxes(void)
{
    int status = 1, user = geteuid() != 0 ? CLONE_NEWUSER : 0;
    pid_t pid = fork();

    if (pid == 0)
        _exit(unshare(user | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) != 0 || mounts());
    return waitpid(pid, &status, 0) == pid && status == 0;
}

static const struct CMUnitTest none[] = {cmocka_unit_test(sandboxes_are_not_permitted_here)};

static int run_all(int (*run)(void))
{
    isolation = ETL_UNCONFINED;
    int failed = run();

    if (!sandboxes())
        return failed + cmocka_run_group_tests_name("isolated", none, NULL, NULL);
    isolation = ETL_ISOLATE;
    return failed + run();
}

/* As an ordinary user of whom nothing else is on the machine. */
static int run_as_another(int (*run)(void))
{
    enum { SOMEBODY = 54321 };
    int status = 1;
    pid_t pid = fork();

    if (pid == 0) {
        if (setgroups(0, NULL) != 0 || setresgid(SOMEBODY, SOMEBODY, SOMEBODY) != 0 ||
            setresuid(SOMEBODY, SOMEBODY, SOMEBODY) != 0)
            _exit(1);
        prctl(PR_SET_DUMPABLE, 1); /* for its own /proc/self */
        _exit(run_all(run) != 0);
    }
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}

/* A server that starts and is killed is a child here, of a process that has had threads. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

int box_main(int argc, char **argv, int (*run)(void))
{
    char here[128];

    if (argc > 1 && strcmp(argv[1], "etl-shim") == 0)
        return etl_shim_main(argc - 2, argv + 2);
    /* Somewhere that a sidecar would see. */
    if (!getcwd(here, sizeof(here)))
        return 1;
    snprintf(secrets, sizeof(secrets), "%s/hidden-%d", here, (int)getpid());
    if (mkdir(secrets, 0755) != 0)
        return 1;
    put_text(secrets, "secret", "secret");
    log_setup(LOG_ERROR, false);
    int failed = run_all(run);
    if (geteuid() == 0)
        failed += run_as_another(run);
    return process_dir_remove(secrets, false) != ERR_OK || failed;
}
