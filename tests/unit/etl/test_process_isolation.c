#include "unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process_box.h"

static void two_listen_at_the_same_port(void **state)
{
    (void)state;
    struct sidecar *a = web("web-1", "I am one"), *b = web("web-2", "I am two");

    get(a, "I am one");
    get(b, "I am two");
    stop(a, 5000);
    get(b, "I am two");
    stop(b, 5000);
}

static void it_is_nobody(void **state)
{
    (void)state;
    if (geteuid() == 0)
        says("id -u; id -g; id -G; grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status",
             "65534\n65534\n65534\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:"
             "\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n");
    says("cat /proc/self/oom_score_adj", "500\n");
    says("ls /proc | grep '^[0-9]*$' >pids; [ $(wc -l <pids) -lt 9 ] && echo few; cat /proc/1/environ 2>/dev/null | wc "
         "-c; "
         "hostname; ls /proc/self/fd | tr '\\n' ' '",
         "few\n0\netl\n0 1 2 3 ");
}

static void it_writes_nowhere_else(void **state)
{
    (void)state;
    says("for f in /etc/x /x /opt/x /var/x /usr/x /dev/x /proc/x /tmp/share/x; do touch $f 2>/dev/null && echo $f; "
         "done; "
         "touch /tmp/x ~/x /var/tmp/y /dev/shm/x && pwd && ls -A / >/dev/null && ls -A /tmp | tr '\\n' ' '",
         "/tmp/home\nhome share x y ");
}

static void it_does_not_see_what_is_hidden(void **state)
{
    char script[1024];

    (void)state;
    snprintf(script, sizeof(script),
             "(ls -A %s 2>/dev/null; ls -A /run) | wc -l; cat %s/secret 2>/dev/null; ls %s 2>/dev/null; ls /dev | tr "
             "'\\n' ' '",
             secrets, secrets, dir);
    says(script, "0\nfd full null random shm stderr stdin stdout urandom zero ");
}

static void it_does_not_reach_the_machine(void **state)
{
    (void)state;
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t len = sizeof(sa);
    char script[1024];
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    snprintf(script, sizeof(script),
             "/usr/bin/python3 -c 'import socket,errno\n"
             "for a in ((\"127.0.0.1\",%u),(\"192.0.2.1\",80)):\n"
             "  s=socket.socket(); s.settimeout(3); print(errno.errorcode[s.connect_ex(a)])'; ls /sys/class/net "
             ">/dev/null; tail -n +3 /proc/net/dev | cut -d: -f1",
             ntohs(sa.sin_port));
    says(script, "ECONNREFUSED\nENETUNREACH\n    lo\n");
    close(fd);
}

static void it_is_denied_what_breaks_out(void **state)
{
    (void)state;
    says("/usr/bin/python3 -c 'import ctypes,os,errno\n"
         "l=ctypes.CDLL(None,use_errno=True)\n"
         "def t(n,f):\n"
         "  r=f(); print(n, errno.errorcode[ctypes.get_errno()] if r==-1 else r)\n"
         "t(\"mount\",lambda:l.mount(b\"none\",b\"/tmp\",b\"tmpfs\",0,None))\n"
         "t(\"umount\",lambda:l.umount2(b\"/proc\",2))\n"
         "t(\"unshare\",lambda:l.unshare(0x10000000))\n"
         "t(\"setns\",lambda:l.setns(0,0))\n"
         "t(\"ptrace\",lambda:l.ptrace(16,1,None,None))\n"
         "t(\"keyctl\",lambda:l.syscall(250,0,-3,0))\n"
         "t(\"clone\",lambda:l.syscall(56,0x10000011,0,0,0,0))\n"
         "t(\"clone3\",lambda:l.syscall(435,0,0))\n"
         "print(\"setuid\",l.setuid(0))\n"
         "os.kill(1,9); os.kill(1,15); print(\"alive\")'",
         "mount EPERM\numount EPERM\nunshare EPERM\nsetns EPERM\nptrace EPERM\nkeyctl EPERM\nclone EPERM\nclone3 "
         "ENOSYS\nsetuid -1\nalive\n");
}

static void processes_are_limited(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* its shim has a thread more, and only processes with one may have a user namespace of their own */
#endif
    struct sidecar *a = shell("many-1", "i=0; while [ $i -lt 40 ]; do sleep 100 & i=$((i+1)); done; echo forked; wait");
    struct sidecar *b = shell("many-2", "i=0; while [ $i -lt 40 ]; do sleep 100 & i=$((i+1)); done; echo forked; wait");
    struct sidecar *c = shell("many-3", "i=0; while [ $i -lt 80 ]; do sleep 100 & i=$((i+1)); done; echo forked; wait");

    until_logged(a, "forked");
    until_logged(b, "forked"); /* of the same user, but with a limit of its own */
    until_ended(c);
    assert_null(strstr(log_of(c), "forked"));
    stop(a, 0);
    stop(b, 0);
    stop(c, 0);
}

/* In a namespace of users that may not have others. */
static void start_where_none_are_permitted(void)
{
    struct sidecar *s = sidecar("none-1", ETL_HPUSH);
    struct str words[] = {STR("true")};

    if (unshare(CLONE_NEWUSER) != 0)
        _exit(77);
    put_text("/proc/sys/user", "max_user_namespaces", "0");
    open_runtime();
    enum err e = start(s, words, 1);
    _exit(e == ERR_UNAVAILABLE && strstr(s->why, "user namespaces") && strstr(s->why, "etl.isolation") &&
                  count_in(dir) == 2
              ? 0
              : 1);
}

static void without_namespaces_nothing_starts(void **state)
{
    int status = 1;
    pid_t pid;

    (void)state;
    if (geteuid() == 0)
        skip();
    runtime->ops->close(runtime); /* whose thread the child would not have */
    runtime = NULL;
    pid = fork();
    if (pid == 0)
        start_where_none_are_permitted();
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void rows_of_images_are_checked(void **state)
{
    static const char *const rows[] = {"", "=x", "image", "image=", "image= "};
    struct str row;
    struct etl_process_conf conf = {.dir = str_z(dir), .images = &row, .image_count = 1};
    struct etl_runtime *other;
    char why[ETL_WHY_MAX];

    (void)state;
    for (size_t k = 0; k < 5; k++) {
        row = str_z(rows[k]);
        assert_int_equal(etl_process_open(&conf, &other, why), ERR_INVALID_ARGUMENT);
    }
}

/* ---- control groups, by a directory that looks like them: the machine of the tests may have none ---- */

static void has_text(const char *name, const char *file, const char *expected)
{
    char path[512], text[512];

    snprintf(path, sizeof(path), "%s/%s", name, file);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = 0;
    close(fd);
    assert_string_equal(text, expected);
}

static void a_group_is_found_where_limits_can_be_set(void **state)
{
    char mounts[256], own[256], line[512], group[128], found[512];

    (void)state;
    snprintf(group, sizeof(group), "%s/a.slice", top);
    mkdir(group, 0755);
    snprintf(line, sizeof(line),
             "24 18 0:22 / /proc rw - proc proc rw\n30 23 0:26 / %s rw,nosuid shared:4 - cgroup2 cgroup rw\n", top);
    put_text(top, "mounts", line);
    put_text(top, "own", "1:name=systemd:/other\n0::/a.slice\n");
    put_text(group, "cgroup.controllers", "cpuset cpu io memory pids\n");
    put_text(group, "cgroup.subtree_control", "");
    snprintf(mounts, sizeof(mounts), "%s/mounts", top);
    snprintf(own, sizeof(own), "%s/own", top);
    process_cgroup_find(mounts, own, found, sizeof(found));
    assert_string_equal(found, group);
    has_text(group, "cgroup.subtree_control", "+memory +pids +cpu");
    put_text(top, "own", "0::/a.slice/sluice\n"); /* where an earlier runtime put us */
    process_cgroup_find(mounts, own, found, sizeof(found));
    assert_string_equal(found, group);
    put_text(group, "cgroup.controllers", "cpu memory-not pids\n");
    process_cgroup_find(mounts, own, found, sizeof(found));
    assert_string_equal(found, "");
    put_text(top, "own", "4:memory:/a.slice\n");
    process_cgroup_find(mounts, own, found, sizeof(found));
    assert_string_equal(found, "");
}

static void a_group_counts(void **state)
{
    struct etl_usage use;

    (void)state;
    put_text(top, "cpu.stat", "usage_usec 2500000\nuser_usec 1\n");
    put_text(top, "memory.current", "4096\n");
    assert_int_equal(process_cgroup_usage(top, &use), ERR_UNAVAILABLE);
    put_text(top, "pids.current", "3\n");
    assert_int_equal(process_cgroup_usage(top, &use), ERR_OK);
    assert_true(use.cpu_seconds > 2.49 && use.cpu_seconds < 2.51);
    assert_int_equal(use.memory, 4096);
    assert_int_equal(use.processes, 3);
    put_text(top, "memory.events", "low 0\noom 1\noom_kill 0\n");
    assert_false(process_cgroup_starved(top));
    put_text(top, "memory.events", "low 0\noom 1\noom_kill 2\n");
    assert_true(process_cgroup_starved(top));
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
static const struct CMUnitTest tests[] = {
    T(two_listen_at_the_same_port),   T(it_is_nobody),
    T(it_writes_nowhere_else),        T(it_does_not_see_what_is_hidden),
    T(it_does_not_reach_the_machine), T(it_is_denied_what_breaks_out),
    T(processes_are_limited),         T(without_namespaces_nothing_starts),
    T(rows_of_images_are_checked),
};
static const struct CMUnitTest groups[] = {
    T(a_group_is_found_where_limits_can_be_set),
    T(a_group_counts),
};

static int run(void)
{
    if (isolation != ETL_ISOLATE)
        return cmocka_run_group_tests_name("control groups", groups, NULL, NULL);
    return cmocka_run_group_tests_name("isolated", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return box_main(argc, argv, run);
}
