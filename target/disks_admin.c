/* Commands to the running server: a socket in its first data directory that only its owner can open. One line comes, "VERB [DIR]"; the
 * answer is "ok" or "error" and text. */
#include "target/disks_own.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "target/disks_socket.h"

enum { LINE_LEN_MAX = 1024, TEXT_LEN_MAX = 256 << 10, PATIENCE_MS = 5000 };

struct disk_admin {
    struct disks *disks;
    pthread_t thread;
    int listen_fd, wake_fd, dir_fd;
};

static const struct {
    const char *name;
    enum disk_verb verb;
} verbs[] = {
    {"attach", DISK_ATTACH},   {"detach", DISK_DETACH}, {"detach-lost", DISK_DETACH_LOST},
    {"disable", DISK_DISABLE}, {"enable", DISK_ENABLE},
};

static void answer(struct disk_admin *a, struct str line, struct buf *out)
{
    char why[MOUNTPATH_WHY_MAX] = "no such command", dir[LINE_LEN_MAX];
    struct str verb = str_split(&line, ' ');
    enum err e = ERR_INVALID_ARGUMENT;

    if (str_eq(verb, STR("list"))) {
        buf_add_z(out, "ok\n");
        disks_print(a->disks, out);
        return;
    }
    snprintf(dir, sizeof(dir), STR_FMT, STR_ARG(line));
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (str_eq(verb, str_z(verbs[i].name)))
            e = disks_change(a->disks, verbs[i].verb, str_z(dir), why);
    buf_addf(out, e == ERR_OK ? "ok\n" : "error\n%s\n", why);
}

/* Until the line's end; 0: none came. */
static size_t read_line(int fd, char line[LINE_LEN_MAX])
{
    size_t n = 0;

    while (n < LINE_LEN_MAX) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t got = poll(&p, 1, PATIENCE_MS) == 1 ? read(fd, line + n, LINE_LEN_MAX - n) : 0;
        if (got <= 0)
            return 0;
        n += (size_t)got;
        char *end = memchr(line, '\n', n);
        if (end)
            return (size_t)(end - line);
    }
    return 0;
}

static void serve(struct disk_admin *a, int fd)
{
    struct buf out = BUF_INIT(TEXT_LEN_MAX);
    char line[LINE_LEN_MAX];
    size_t n = read_line(fd, line), sent = 0;

    if (n) {
        answer(a, str_n(line, n), &out);
        while (sent < out.n) {
            ssize_t done = send(fd, out.p + sent, out.n - sent, MSG_NOSIGNAL);
            if (done <= 0)
                break;
            sent += (size_t)done;
        }
    }
    buf_release(&out);
    close(fd);
}

static void *admin_main(void *arg)
{
    struct disk_admin *a = arg;

    for (;;) {
        struct pollfd p[] = {{.fd = a->listen_fd, .events = POLLIN}, {.fd = a->wake_fd, .events = POLLIN}};
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            break;
        if (p[1].revents)
            break;
        int fd = p[0].revents ? accept4(a->listen_fd, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (fd >= 0)
            serve(a, fd);
    }
    return NULL;
}

/* The path of a socket is short: it is named through the open directory. */
int disk_socket(int dir_fd, struct sockaddr_un *out)
{
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(out->sun_path, sizeof(out->sun_path), "/proc/self/fd/%d/%s", dir_fd, DISK_SOCKET);
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static bool admin_open(struct disk_admin *a, struct str dir)
{
    struct sockaddr_un name;
    mode_t mask;
    bool bound;

    a->dir_fd = open(dir.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    a->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (a->dir_fd < 0 || a->wake_fd < 0)
        return false;
    a->listen_fd = disk_socket(a->dir_fd, &name);
    (void)unlinkat(a->dir_fd, DISK_SOCKET, 0); /* of a process before us: the directory's lock is ours */
    mask = umask(0177);
    bound = a->listen_fd >= 0 && bind(a->listen_fd, (struct sockaddr *)&name, sizeof(name)) == 0;
    umask(mask);
    return bound && listen(a->listen_fd, 8) == 0;
}

static void admin_free(struct disk_admin *a)
{
    if (a->dir_fd >= 0) {
        (void)unlinkat(a->dir_fd, DISK_SOCKET, 0);
        close(a->dir_fd);
    }
    if (a->listen_fd >= 0)
        close(a->listen_fd);
    if (a->wake_fd >= 0)
        close(a->wake_fd);
    free(a);
}

struct disk_admin *disk_admin_start(struct disks *d, struct str dir)
{
    struct disk_admin *a = NEW(struct disk_admin);
    sigset_t all, old;
    bool started;

    *a = (struct disk_admin){.disks = d, .listen_fd = -1, .wake_fd = -1, .dir_fd = -1};
    if (!admin_open(a, dir)) {
        log_warn(STR_NONE, "no socket for sluice disk", "directory=%s errno=%s", log_quote(dir),
                 strerrorname_np(errno));
        admin_free(a);
        return NULL;
    }
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    started = pthread_create(&a->thread, NULL, admin_main, a) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!started) {
        perror("sluice: pthread_create");
        abort();
    }
    pthread_setname_np(a->thread, "admin");
    return a;
}

void disk_admin_stop(struct disk_admin *a)
{
    const uint64_t one = 1;

    if (!a)
        return;
    if (write(a->wake_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
        abort(); /* an eventfd takes it */
    pthread_join(a->thread, NULL);
    admin_free(a);
}
