#include "etcd_kit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const places[] = {"/usr/bin/etcd", "/usr/local/bin/etcd"};

static const char *binary(void)
{
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    return NULL;
}

bool etcd_is_installed(void)
{
    if (binary())
        return true;
    fprintf(stderr, "SKIPPED: no etcd on this machine, its backend is NOT tested (scripts/setup test installs it)\n");
    return false;
}

/* A port that was free a moment ago. */
static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) != 0 || getsockname(fd, (struct sockaddr *)&a, &n) != 0)
        abort();
    close(fd);
    return ntohs(a.sin_port);
}

void etcd_server_init(struct etcd_server *s, const char *name)
{
    *s = (struct etcd_server){0};
    snprintf(s->name, sizeof(s->name), "%s", name);
    snprintf(s->dir, sizeof(s->dir), "/tmp/sluice-etcd-XXXXXX");
    if (!mkdtemp(s->dir))
        abort();
    snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d", free_port());
    snprintf(s->peer_url, sizeof(s->peer_url), "http://127.0.0.1:%d", free_port());
}

static void become(const struct etcd_server *s)
{
    char data[96], log[96], cluster[300];
    const char *argv[24 + ETCD_EXTRA_MAX] = {binary(),    "--name",
                                             s->name,     "--data-dir",
                                             data,        "--listen-client-urls",
                                             s->url,      "--advertise-client-urls",
                                             s->url,      "--listen-peer-urls",
                                             s->peer_url, "--initial-advertise-peer-urls",
                                             s->peer_url, "--initial-cluster",
                                             cluster,     "--heartbeat-interval",
                                             "50",        "--election-timeout",
                                             "500",       "--unsafe-no-fsync"};
    int n = 20;

    snprintf(data, sizeof(data), "%s/data", s->dir);
    snprintf(log, sizeof(log), "%s/log", s->dir);
    if (s->cluster[0])
        snprintf(cluster, sizeof(cluster), "%s", s->cluster);
    else
        snprintf(cluster, sizeof(cluster), "%s=%s", s->name, s->peer_url);
    for (int i = 0; i < ETCD_EXTRA_MAX && s->extra[i]; i++)
        argv[n++] = s->extra[i];
    argv[n] = NULL;
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    execv(argv[0], (char **)(uintptr_t)argv);
    _exit(127);
}

void etcd_server_start(struct etcd_server *s)
{
    s->pid = fork();
    if (s->pid < 0)
        abort();
    if (s->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        become(s);
    }
}

void etcd_server_wait(const struct etcd_server *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    a.sin_port = htons((uint16_t)strtol(strrchr(s->url, ':') + 1, NULL, 10));
    for (int i = 0; i < 1000; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int r = connect(fd, (struct sockaddr *)&a, sizeof(a));
        close(fd);
        if (r == 0)
            return;
        if (waitpid(s->pid, NULL, WNOHANG) == s->pid)
            break;
        usleep(10000);
    }
    fprintf(stderr, "etcd does not start; its log is %s/log\n", s->dir);
    abort();
}

void etcd_server_kill(struct etcd_server *s)
{
    if (s->pid <= 0)
        return;
    kill(s->pid, SIGKILL);
    while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    s->pid = 0;
}

void etcd_server_pause(const struct etcd_server *s)
{
    /* the signal stops thread after thread: an answer may slip out in between */
    if (kill(s->pid, SIGSTOP) == 0)
        (void)waitpid(s->pid, NULL, WUNTRACED);
}

void etcd_server_resume(const struct etcd_server *s)
{
    kill(s->pid, SIGCONT);
}

static int remove_file(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

void etcd_server_release(struct etcd_server *s)
{
    etcd_server_kill(s);
    if (s->dir[0])
        nftw(s->dir, remove_file, 16, FTW_DEPTH | FTW_PHYS);
    s->dir[0] = 0;
}
