#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim.h"

bool shim_send(int fd, const void *p, size_t n, const int *fds, size_t fd_count)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * SHIM_FDS_MAX)];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)p, n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t sent;

    if (fd_count) {
        m.msg_control = control.room;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
    }
    do
        sent = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)n;
}

static size_t take_fds(struct msghdr *m, int fds[SHIM_FDS_MAX])
{
    size_t n = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t got = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < got; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (n < SHIM_FDS_MAX)
                fds[n++] = fd;
            else
                close(fd);
        }
    }
    return n;
}

int shim_recv(int fd, void *p, size_t n, int fds[SHIM_FDS_MAX])
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int) * SHIM_FDS_MAX)];
    } control = {0};
    struct iovec iov = {p, n};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control)};
    ssize_t got;

    for (size_t i = 0; i < SHIM_FDS_MAX; i++)
        fds[i] = -1;
    do
        got = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == ECONNRESET ? 0 : -1;
    size_t count = take_fds(&m, fds);
    if ((size_t)got == n && !(m.msg_flags & (MSG_CTRUNC | MSG_TRUNC)))
        return 1;
    for (size_t i = 0; i < count; i++) {
        close(fds[i]);
        fds[i] = -1;
    }
    return 0;
}
