#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "shim.h"

/* What every container has of /dev. */
static const char *const devices[] = {"null", "zero", "full", "random", "urandom"};
enum { DEVICE_COUNT = sizeof(devices) / sizeof(*devices) };

void shim_refuse(const struct shim *s, const char *what)
{
    struct shim_said said = {.kind = SHIM_REFUSED};

    snprintf(said.text, sizeof(said.text), "can't %s: %s%s", what, strerror(errno),
             s->orders->isolate ? " (without its isolation no sidecar is started: see etl.isolation)" : "");
    (void)shim_send(SHIM_CONTROL_FD, &said, sizeof(said), NULL, 0);
    _exit(EXIT_FAILURE);
}

static void must(const struct shim *s, int result, const char *what)
{
    if (result < 0)
        shim_refuse(s, what);
}

/* ---- user namespaces ---- */

static bool write_proc(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        close(fd);
    return ok;
}

/* A user namespace where we are whom we were. */
static bool own_users(int and_flags)
{
    char map[64];
    uint32_t uid = geteuid(), gid = getegid();

    if (unshare(CLONE_NEWUSER | and_flags) != 0)
        return false;
    prctl(PR_SET_DUMPABLE, 1); /* else these files are root's; nobody else is here yet who could look */
    bool ok = write_proc("/proc/self/setgroups", "deny");
    snprintf(map, sizeof(map), "%u %u 1", uid, uid);
    ok = ok && write_proc("/proc/self/uid_map", map);
    snprintf(map, sizeof(map), "%u %u 1", gid, gid);
    ok = ok && write_proc("/proc/self/gid_map", map);
    prctl(PR_SET_DUMPABLE, 0);
    return ok;
}

void shim_leave(struct shim *s)
{
    bool ok = s->root ? unshare(CLONE_NEWPID) == 0 : own_users(CLONE_NEWPID);

    if (!ok)
        shim_refuse(s, s->root ? "have namespaces here" : "have user namespaces here");
}

/* ---- mounts ---- */

/* Sets or clears MS_RDONLY of a mount and leaves its other flags. */
static int set_readonly(const char *path, bool readonly, unsigned at_flags)
{
    struct mount_attr attr = {0};
    struct statvfs st;

    *(readonly ? &attr.attr_set : &attr.attr_clr) = MOUNT_ATTR_RDONLY;
    if (mount_setattr(AT_FDCWD, path, at_flags, &attr, sizeof(attr)) == 0)
        return 0;
    if (errno != ENOSYS || statvfs(path, &st) != 0)
        return -1;
    /* Linux < 5.12: this mount alone. ST_ and MS_ are the same but for ST_RELATIME, which is the default. */
    unsigned long flags = st.f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME);
    return mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | flags | (readonly ? MS_RDONLY : 0), NULL);
}

/* The directory or file that `fd` is, at `path`. */
static int bind_fd(int fd, const char *path)
{
    char name[64];

    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    return mount(name, path, NULL, MS_BIND, NULL);
}

static void cover(const struct shim *s, const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return; /* what isn't there needs no hiding */
    must(s, mount("none", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=555"),
         "hide a directory");
}

static void own_dev(const struct shim *s)
{
    int fds[DEVICE_COUNT];
    char name[64];

    for (size_t i = 0; i < DEVICE_COUNT; i++) {
        snprintf(name, sizeof(name), "/dev/%s", devices[i]);
        must(s, fds[i] = open(name, O_PATH | O_CLOEXEC), "open a device");
    }
    must(s, mount("none", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,mode=755"), "mount /dev");
    for (size_t i = 0; i < DEVICE_COUNT; i++) {
        snprintf(name, sizeof(name), "/dev/%s", devices[i]);
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        must(s, fd, "make a device");
        close(fd);
        must(s, bind_fd(fds[i], name), "mount a device");
        close(fds[i]);
    }
    must(s, mkdir("/dev/shm", 0755), "make /dev/shm");
    must(s, mount("none", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64m,mode=1777"),
         "mount /dev/shm");
    must(s, symlink("/proc/self/fd", "/dev/fd"), "make /dev/fd");
    must(s, symlink("/proc/self/fd/0", "/dev/stdin"), "make /dev/stdin");
    must(s, symlink("/proc/self/fd/1", "/dev/stdout"), "make /dev/stdout");
    must(s, symlink("/proc/self/fd/2", "/dev/stderr"), "make /dev/stderr");
    must(s, set_readonly("/dev", true, 0), "protect /dev");
}

static int open_below(const struct shim *s, const char *name)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s", s->dir, name);
    return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* The machine's files, none of which can be written; those directories alone that are the sidecar's own. */
static void own_mounts(const struct shim *s)
{
    must(s, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "part from the machine's mounts");
    int tmp = open_below(s, "tmp"), share = open_below(s, "share");
    if (tmp < 0 || share < 0)
        shim_refuse(s, "open its private directory");
    must(s, set_readonly("/", true, AT_RECURSIVE), "protect the machine's files");
    own_dev(s);
    must(s, mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2"), "mount /proc");
    for (char **h = s->hidden; *h; h++)
        cover(s, *h);
    if (!s->orders->network)
        cover(s, "/run"); /* sockets of the machine's services; names of other hosts need some of them */
    must(s, bind_fd(tmp, "/tmp"), "mount /tmp");
    must(s, set_readonly("/tmp", false, 0), "mount /tmp");
    if (access("/var/tmp", F_OK) == 0 && bind_fd(tmp, "/var/tmp") == 0)
        must(s, set_readonly("/var/tmp", false, 0), "mount /var/tmp");
    must(s, bind_fd(share, "/tmp/share"), "mount its shared directory");
    must(s, set_readonly("/tmp/share", true, 0), "mount its shared directory");
    close(tmp);
    close(share);
}

/* ---- network ---- */

static void own_network(struct shim *s)
{
    struct ifreq lo = {.ifr_name = "lo"};
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(s->orders->listen_port)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    must(s, fd, "make a socket");
    must(s, ioctl(fd, SIOCGIFFLAGS, &lo), "begin its network");
    lo.ifr_flags |= IFF_UP;
    must(s, ioctl(fd, SIOCSIFFLAGS, &lo), "begin its network");
    close(fd);
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(s, s->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "make a socket");
    must(s, bind(s->listener, (struct sockaddr *)&sa, sizeof(sa)), "listen for its calls");
    must(s, listen(s->listener, SOMAXCONN), "listen for its calls");
}

/* ---- users ---- */

static void drop_root(const struct shim *s)
{
    const struct shim_orders *o = s->orders;

    if (!s->root)
        return;
    shim_drop_bounds();
    must(s, setgroups(0, NULL), "leave its groups");
    must(s, setresgid(o->gid, o->gid, o->gid), "change its group");
    must(s, setresuid(o->uid, o->uid, o->uid), "change its user"); /* which takes the capabilities */
}

static void settle(const struct shim *s)
{
    must(s, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "give up privileges");
    must(s, prctl(PR_SET_DUMPABLE, 0), "be unreadable to its sidecar");
    must(s, prctl(PR_SET_PDEATHSIG, SIGKILL), "end with the server"); /* changes of users clear it */
}

void shim_sandbox(struct shim *s)
{
    int flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | (s->orders->network ? 0 : CLONE_NEWNET);

    must(s, unshare(flags), "have namespaces here");
    must(s, sethostname("etl", 3), "name itself");
    own_mounts(s);
    if (!s->orders->network)
        own_network(s);
    drop_root(s);
    /* The kernel counts processes by user, and by namespace of users: in one of their own these don't share a limit with others of that user.
     * Where that is forbidden they do. */
    if (s->root && !own_users(0))
        errno = 0;
    must(s, chdir("/tmp/home"), "enter its home");
    settle(s);
}

void shim_unconfined(struct shim *s)
{
    char home[4096];

    drop_root(s);
    snprintf(home, sizeof(home), "%s/tmp/home", s->dir);
    must(s, chdir(home), "enter its home");
    must(s, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "give up privileges");
    must(s, prctl(PR_SET_DUMPABLE, 0), "be unreadable to its sidecar");
}
