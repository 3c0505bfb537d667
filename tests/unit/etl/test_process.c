#include "unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "process_box.h"

/* ---- life ---- */

static void a_server_starts_answers_and_stops(void **state)
{
    (void)state;
    struct sidecar *s = web("web-1", "hello");

    get(s, "hello");
    get(s, "hello");
    assert_true(alive(s));
    stop(s, 5000);
}

static void dial_before_it_listens_is_unavailable(void **state)
{
    (void)state;
    struct sidecar *s = shell("quiet-1", "sleep 100");
    int fd = -7;

    assert_int_equal(runtime->ops->dial(s->i, &fd), ERR_UNAVAILABLE);
    assert_int_equal(fd, -7);
    stop(s, 5000);
}

static void how_it_ended_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *script, *why;
    } rows[] = {{"exit 0", "exit status 0"},
                {"echo bye; exit 3", "exit status 3"},
                {"kill -9 $$", "killed by signal 9"},
                {"kill -11 $$", "killed by signal 11"}};

    for (size_t k = 0; k < 4; k++) {
        struct sidecar *s = shell("ends-1", rows[k].script);
        until_ended(s);
        assert_string_equal(s->why, rows[k].why);
        stop(s, 5000);
    }
}

static void what_can_not_be_run_is_told(void **state)
{
    (void)state;
    struct sidecar *s = sidecar("none-1", ETL_HPUSH);
    struct str words[] = {STR("no-such-program")};

    assert_int_equal(start(s, words, 1), ERR_OK);
    until_ended(s);
    assert_string_equal(s->why, "could not run no-such-program: No such file or directory");
    stop(s, 0);
}

static void a_spec_without_a_command_is_refused(void **state)
{
    (void)state;
    struct sidecar *s = sidecar("none-1", ETL_HPUSH);

    s->spec.image = STR("lib/unknown:1");
    assert_int_equal(start(s, NULL, 0), ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(s->why, "lib/unknown:1"));
    stop(s, 0);
}

static void bad_names_and_variables_are_refused(void **state)
{
    (void)state;
    static const char *const ids[] = {"", ".", "../x", "a/b", "a b"};
    struct str words[] = {STR("true")};

    for (size_t k = 0; k < 5; k++) {
        struct sidecar *s = sidecar(ids[k], ETL_HPUSH);
        assert_int_equal(start(s, words, 1), ERR_INVALID_ARGUMENT);
        stop(s, 0);
    }
    struct sidecar *s = sidecar("env-1", ETL_HPUSH);
    s->env[0] = (struct etl_env){STR("A=B"), STR("c")};
    assert_int_equal(start(s, words, 1), ERR_INVALID_ARGUMENT);
    s->env[0] = (struct etl_env){STR("A"), STR("c\0d")};
    assert_int_equal(start(s, words, 1), ERR_INVALID_ARGUMENT);
    stop(s, 0);
}

static void two_of_a_name_are_refused(void **state)
{
    (void)state;
    struct sidecar *a = shell("same-1", "sleep 100"), *b = sidecar("same-1", ETL_HPUSH);
    struct str words[] = {STR("true")};

    assert_int_equal(start(b, words, 1), ERR_EXISTS);
    assert_true(alive(a));
    stop(a, 0);
    stop(b, 0);
}

static void images_stand_for_commands(void **state)
{
    (void)state;
    struct sidecar *s = sidecar("image-1", ETL_HPUSH);
    struct str words[] = {STR("echo by the shell")};

    s->spec.image = STR("lib/shell");
    assert_int_equal(start(s, words, 1), ERR_OK);
    until_ended(s);
    assert_string_equal(log_of(s), "by the shell\n");
    runtime->ops->stop(s->i, 0);
    s->spec.image = STR("lib/echo-twice:2");
    words[0] = STR("it");
    assert_int_equal(start(s, words, 1), ERR_OK);
    until_ended(s);
    assert_string_equal(log_of(s), "of lib/echo-twice:2 it\n");
    stop(s, 0);
}

static void a_term_is_a_chance_to_end_well(void **state)
{
    (void)state;
    struct sidecar *s =
        shell("term-1",
              "trap 'touch /tmp/share/x ended; echo so long; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
    char name[128];
    uint64_t at;

    until_logged(s, "ready");
    at = clock_mono_ns();
    snprintf(name, sizeof(name), "%s/term-1", dir);
    stop(s, 20000);
    assert_true(clock_mono_ns() - at < 10 * NS_PER_S);
    assert_int_equal(access(name, F_OK), -1);
}

static void whoever_ignores_term_is_killed(void **state)
{
    (void)state;
    struct sidecar *s = shell("deaf-1", "trap '' TERM; echo ready; while :; do sleep 98.7651; done");

    until_logged(s, "ready");
    stop(s, 200);
    assert_int_equal(count_running("98.7651"), 0);
}

static void whoever_leaves_its_group_is_killed(void **state)
{
    (void)state;
    struct sidecar *s =
        shell("forks-1", "(setsid sh -c '(setsid sleep 98.7652 &) ; echo left' &) ; trap '' TERM; sleep 98.7652");

    until_logged(s, "left");
    stop(s, 100);
    assert_int_equal(count_running("98.7652"), 0);
}

static void logs_are_the_last_of_it(void **state)
{
    (void)state;
    struct sidecar *s = shell(
        "log-1", "echo first >&2; i=0; while [ $i -lt 3000 ]; do printf '%0200d\\n' $i; i=$((i+1)); done; echo last");

    until_ended(s);
    const char *log = log_of(s);
    assert_int_equal(strlen(log), ETL_LOG_MAX);
    assert_null(strstr(log, "first"));
    assert_non_null(strstr(log, "2999\nlast\n"));
    stop(s, 0);
}

static void usage_is_of_its_processes(void **state)
{
    (void)state;
    struct sidecar *s =
        shell("use-1", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done; sleep 100 & sleep 100");
    struct etl_usage use;

    until_logged(s, "done");
    usleep(50000);
    assert_int_equal(runtime->ops->usage(s->i, &use), ERR_OK);
    assert_int_equal(use.processes, 3);
    assert_true(use.cpu_seconds > 0.01 && use.cpu_seconds < 60);
    assert_true(use.memory > 100 << 10 && use.memory < 100 << 20);
    stop(s, 0);
}

/* ---- the environment ---- */

static void nothing_of_ours_is_in_its_environment(void **state)
{
    (void)state;
    struct sidecar *s = sidecar("env-1", ETL_HPUSH);
    struct str words[] = {STR("/usr/bin/env")};
    struct etl_env more[] = {{STR("B"), STR("of the spec")}, {STR("C"), STR("c")}, {STR("C"), STR("d")}};
    char expected[1024];
    bool in = isolation == ETL_ISOLATE;

    setenv("SLUICE_SECRET_KEY", "secret", 1);
    s->env[0] = (struct etl_env){STR("A"), STR("a")};
    s->env[1] = (struct etl_env){STR("B"), STR("of the engine")};
    s->spec.env = more;
    s->spec.env_count = 3;
    s->spec.direct_put = true;
    assert_int_equal(start(s, words, 1), ERR_OK);
    until_ended(s);
    const char *url = strstr(log_of(s), "AIS_TARGET_URL=http://127.0.0.1:");
    assert_non_null(url);
    snprintf(expected, sizeof(expected),
             "C=d\nB=of the spec\nA=a\nETL_PORT=%u\nPORT=%u\nLANG=C.UTF-8\nTMPDIR=%s%s\nHOME=%s%s/home\n"
             "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
             "DIRECT_PUT=true\ndirect_put=true\n%s",
             s->spec.port, s->spec.port, in ? "" : dir, in ? "/tmp" : "/env-1/tmp", in ? "" : dir,
             in ? "/tmp" : "/env-1/tmp", url);
    assert_non_null(strstr(url, "/v1/etl/_object/thing/key\n"));
    /* Of equal names the first counts, so it has one of B, but two of C. */
    for (const char *line = expected; *line; line = strchr(line, '\n') + 1) {
        char one[256];
        snprintf(one, sizeof(one), "%.*s", (int)(strchr(line, '\n') + 1 - line), line);
        if (!strstr(s->log, one))
            fail_msg("no %s in %s", one, s->log);
    }
    assert_null(strstr(s->log, "secret"));
    assert_null(strstr(s->log, "of the engine"));
    assert_null(strstr(s->log, "C=c"));
    stop(s, 0);
}

/* ---- callbacks ---- */

static void it_reaches_the_listener(void **state)
{
    (void)state;
    static const char script[] = "import os,urllib.request as u\n"
                                 "print('got', u.urlopen(os.environ['AIS_TARGET_URL']+'/x').read().decode())\n";
    struct sidecar *s = sidecar("call-1", ETL_HPUSH);
    struct str words[] = {STR("/usr/bin/python3"), STR("-c"), str_z(script)};
    char text[4096];
    size_t n = 0;

    assert_int_equal(start(s, words, 3), ERR_OK);
    int listener = runtime->ops->listener(s->i);
    assert_true(listener >= 0);
    assert_int_equal(runtime->ops->listener(s->i), -1);
    struct pollfd p = {listener, POLLIN, 0};
    assert_int_equal(poll(&p, 1, 20000), 1);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    do {
        ssize_t got = read(fd, text + n, sizeof(text) - 1 - n);
        assert_true(got > 0);
        n += (size_t)got;
        text[n] = 0;
    } while (!strstr(text, "\r\n\r\n"));
    assert_non_null(strstr(text, "GET /v1/etl/_object/thing/key/x HTTP/1.1"));
    assert_true(write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nthat", 42) == 42);
    until_ended(s);
    assert_string_equal(log_of(s), "got that\n");
    close(fd);
    close(listener);
    stop(s, 0);
}

/* ---- commands with pipes ---- */

static struct sidecar *io_sidecar(const char *script)
{
    struct sidecar *s = sidecar("pipes-1", ETL_IO);
    static struct str words[3];

    words[0] = STR("/bin/sh");
    words[1] = STR("-c");
    words[2] = str_z(script);
    if (start(s, words, 3) != ERR_OK)
        fail_msg("%s", s->why);
    assert_true(alive(s));
    return s;
}

static uint64_t exec(struct sidecar *s, const char *text, char *out, size_t size)
{
    struct etl_env env[] = {{STR("ETL_ARGS"), STR("what was asked")}};
    int in, from;
    uint64_t child;

    assert_int_equal(runtime->ops->exec(s->i, env, 1, &in, &from, &child), ERR_OK);
    assert_true(fcntl(in, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(from, F_GETFL) & O_NONBLOCK);
    if (text)
        assert_true(write(in, text, strlen(text)) == (ssize_t)strlen(text));
    close(in);
    if (out)
        read_all(from, out, size);
    close(from);
    return child;
}

static void a_command_runs_per_object(void **state)
{
    (void)state;
    struct sidecar *s = io_sidecar("cat; echo \" $ETL_ARGS\"; echo noise >&2");
    char out[100];

    for (int k = 0; k < 5; k++) {
        uint64_t child = exec(s, "bytes", out, sizeof(out));
        assert_string_equal(out, "bytes what was asked\n");
        assert_int_equal(runtime->ops->exec_wait(s->i, child, false, s->why), 0);
        assert_string_equal(s->why, "exit status 0");
    }
    assert_string_equal(log_of(s), "noise\nnoise\nnoise\nnoise\nnoise\n");
    assert_true(alive(s));
    stop(s, 0);
}

static void a_command_that_fails_says_so(void **state)
{
    (void)state;
    struct sidecar *s = io_sidecar("read x; case $x in fail) exit 7;; die) kill -9 $$;; esac");
    char out[10];

    assert_int_equal(runtime->ops->exec_wait(s->i, exec(s, "fail\n", out, 10), false, s->why), 7);
    assert_string_equal(s->why, "exit status 7");
    assert_int_equal(runtime->ops->exec_wait(s->i, exec(s, "die\n", out, 10), false, s->why), 128 + 9);
    assert_string_equal(s->why, "killed by signal 9");
    stop(s, 0);
}

static void a_command_is_killed_with_what_it_left(void **state)
{
    (void)state;
    struct sidecar *s = io_sidecar("sleep 98.7653 & (setsid sleep 98.7653 &); sleep 98.7653");
    uint64_t at = clock_mono_ns(), child = exec(s, NULL, NULL, 0);

    usleep(200000);
    assert_int_equal(runtime->ops->exec_wait(s->i, child, true, s->why), 128 + 9);
    assert_true(clock_mono_ns() - at < 8 * NS_PER_S);
    for (int k = 0; k < 200 && isolation == ETL_ISOLATE && count_running("98.7653"); k++)
        usleep(10000);
    if (isolation == ETL_ISOLATE)
        assert_int_equal(count_running("98.7653"), 0);
    stop(s, 0);
    assert_int_equal(count_running("98.7653"), 0);
}

static void *exec_many(void *arg)
{
    struct sidecar *s = arg;
    char out[100], why[ETL_WHY_MAX];

    for (int k = 0; k < 20; k++) {
        uint64_t child = exec(s, "x", out, sizeof(out));
        assert_string_equal(out, "x");
        assert_int_equal(runtime->ops->exec_wait(s->i, child, false, why), 0);
    }
    return NULL;
}

static void commands_run_at_the_same_time(void **state)
{
    (void)state;
    struct sidecar *s = io_sidecar("cat");
    pthread_t threads[4];

    for (int k = 0; k < 4; k++)
        assert_int_equal(pthread_create(&threads[k], NULL, exec_many, s), 0);
    for (int k = 0; k < 4; k++)
        pthread_join(threads[k], NULL);
    stop(s, 0);
}

static void files_can_be_shared(void **state)
{
    (void)state;
    struct sidecar *s = io_sidecar("cat \"$(cat)\"; echo x >> \"$ETL_X\" || echo refused");
    struct str host, inside;
    char name[256], out[100];

    assert_int_equal(runtime->ops->share(s->i, &host, &inside), ERR_OK);
    snprintf(name, sizeof(name), STR_FMT "/file", STR_ARG(host));
    int fd = open(name, O_CREAT | O_WRONLY, 0644);
    assert_true(write(fd, "shared ", 7) == 7);
    close(fd);
    snprintf(name, sizeof(name), STR_FMT "/file", STR_ARG(inside));
    uint64_t child = exec(s, name, out, sizeof(out));
    assert_string_equal(out, "shared refused\n");
    assert_int_equal(runtime->ops->exec_wait(s->i, child, false, s->why), 0);
    stop(s, 0);
}

static void threads_and_processes_still_work(void **state)
{
    (void)state;
    says("/usr/bin/python3 -c 'import threading,subprocess,multiprocessing as m\n"
         "t=threading.Thread(target=lambda:print(\"thread\",flush=True)); t.start(); t.join()\n"
         "print(subprocess.run([\"echo\",\"process\"],capture_output=True).stdout.decode().strip(),flush=True)\n"
         "q=m.Queue(); p=m.Process(target=q.put,args=(\"queue\",)); p.start(); print(q.get(),flush=True); p.join()'",
         "thread\nprocess\nqueue\n");
}

static void memory_is_limited(void **state)
{
    (void)state;
    struct sidecar *s = sidecar("memory-1", ETL_HPUSH);
    struct str words[] = {STR("/usr/bin/python3"), STR("-c"),
                          STR("print('small', flush=True); x = b'x' * (400 << 20); print('large')")};

    s->spec.resources.memory_limit = 200 << 20;
    assert_int_equal(start(s, words, 3), ERR_OK);
    until_ended(s);
    assert_non_null(strstr(log_of(s), "small"));
    assert_null(strstr(log_of(s), "large"));
    stop(s, 0);
}

static void the_machines_network_has_one_port(void **state)
{
    (void)state;
    struct sidecar *a = sidecar("net-1", ETL_HPUSH), *b = sidecar("net-2", ETL_HPUSH);
    struct str words[] = {STR("/usr/bin/python3"), STR("-c"),
                          STR("import socket,os; s=socket.socket(); s.bind(('127.0.0.1',int(os.environ['PORT']))); "
                              "s.listen(); s.accept()[0].send(b'hi')")};
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t len = sizeof(sa);
    char text[16];
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    a->spec.port = b->spec.port = ntohs(sa.sin_port);
    a->spec.network = b->spec.network = true;
    assert_int_equal(start(a, words, 3), ERR_EXISTS);
    assert_non_null(strstr(a->why, "is in use"));
    close(fd);
    assert_int_equal(start(a, words, 3), ERR_OK);
    assert_int_equal(start(b, words, 3), ERR_EXISTS);
    assert_non_null(strstr(b->why, "another ETL's"));
    fd = dial(a);
    read_all(fd, text, sizeof(text));
    assert_string_equal(text, "hi");
    close(fd);
    stop(a, 0);
    stop(b, 0);
}

/* ---- what is left ---- */

static unsigned count_mounts(void)
{
    FILE *f = fopen("/proc/self/mountinfo", "r");
    unsigned n = 0;
    int c;

    while ((c = getc(f)) != EOF)
        n += c == '\n';
    fclose(f);
    return n;
}

static unsigned count_children(void)
{
    char name[64], text[4096];
    unsigned n = 0;

    snprintf(name, sizeof(name), "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(name, "r");
    size_t got = f ? fread(text, 1, sizeof(text), f) : 0;
    for (size_t k = 0; k < got; k++)
        n += text[k] == ' ';
    if (f)
        fclose(f);
    return n;
}

static void fifty_rounds_leave_nothing(void **state)
{
    (void)state;
    unsigned fds = count_in("/proc/self/fd"), mounts = count_mounts(), children = count_children();

    for (int k = 0; k < 50; k++) {
        struct sidecar *s = shell("round-1", "echo up; mkdir -p a/b/c; (setsid sleep 98.7654 &) ; sleep 98.7654");
        if (k % 2)
            until_logged(s, "up");
        stop(s, k % 3 ? 0 : 2000);
    }
    assert_in_range(count_in("/proc/self/fd"), 0, fds); /* fewer: what was there before them has gone meanwhile */
    assert_int_equal(count_mounts(), mounts);
    assert_in_range(count_children(), 0, children);
    assert_int_equal(count_running("98.7654"), 0);
    assert_int_equal(count_in(dir), 2);
}

static void directories_of_any_depth_are_removed(void **state)
{
    (void)state;
    says("i=0; while [ $i -lt 3000 ]; do mkdir ddddddddddddddddddddd && cd ddddddddddddddddddddd 2>/dev/null || break; "
         "touch f; i=$((i+1)); done; chmod 0 .; cd ~; mkdir closed; touch closed/f; chmod 0 closed; echo made",
         "made\n");
    assert_int_equal(count_in(dir), 2);
}

static void what_an_earlier_process_left_is_cleared(void **state)
{
    (void)state;
    char name[256];

    runtime->ops->close(runtime);
    runtime = NULL;
    snprintf(name, sizeof(name), "%s/old-1", dir);
    assert_int_equal(mkdir(name, 0700), 0);
    snprintf(name, sizeof(name), "%s/old-1/file", dir);
    close(open(name, O_CREAT | O_WRONLY, 0600));
    open_runtime();
    assert_int_equal(count_in(dir), 2);
}

/* The process that started it is killed. */
static void it_ends_with_its_server(void **state)
{
    (void)state;
    int pipes[2];
    char c;

    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        snprintf(dir, sizeof(dir), "%s/other", top);
        open_runtime();
        struct sidecar *s = shell("orphan-1", "trap '' TERM; (setsid sleep 98.7655 &) ; echo up; sleep 98.7655");
        until_logged(s, "up");
        (void)!write(pipes[1], "x", 1);
        pause();
    }
    close(pipes[1]);
    assert_int_equal(read(pipes[0], &c, 1), 1);
    assert_true(count_running("98.7655") >= 2);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    for (int k = 0; k < 500 && count_running("98.7655"); k++)
        usleep(10000);
    assert_int_equal(count_running("98.7655"), 0);
    close(pipes[0]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
static const struct CMUnitTest tests[] = {
    T(a_server_starts_answers_and_stops),
    T(dial_before_it_listens_is_unavailable),
    T(how_it_ended_is_told),
    T(what_can_not_be_run_is_told),
    T(a_spec_without_a_command_is_refused),
    T(bad_names_and_variables_are_refused),
    T(two_of_a_name_are_refused),
    T(images_stand_for_commands),
    T(a_term_is_a_chance_to_end_well),
    T(whoever_ignores_term_is_killed),
    T(whoever_leaves_its_group_is_killed),
    T(logs_are_the_last_of_it),
    T(usage_is_of_its_processes),
    T(nothing_of_ours_is_in_its_environment),
    T(it_reaches_the_listener),
    T(a_command_runs_per_object),
    T(a_command_that_fails_says_so),
    T(a_command_is_killed_with_what_it_left),
    T(commands_run_at_the_same_time),
    T(files_can_be_shared),
    T(threads_and_processes_still_work),
    T(memory_is_limited),
    T(the_machines_network_has_one_port),
    T(fifty_rounds_leave_nothing),
    T(directories_of_any_depth_are_removed),
    T(what_an_earlier_process_left_is_cleared),
    T(it_ends_with_its_server),
};

static int run(void)
{
    return cmocka_run_group_tests_name(isolation == ETL_ISOLATE ? "isolated" : "unconfined", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return box_main(argc, argv, run);
}
