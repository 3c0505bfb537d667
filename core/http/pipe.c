#include "pipe.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static void close_both(struct pipe *p)
{
    close(p->in);
    close(p->out);
}

bool pipe_get(struct pipe_list *l, struct pipe *p)
{
    int fd[2];

    if (l->n) {
        *p = l->kept[--l->n];
        return true;
    }
    if (pipe2(fd, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    (void)fcntl(fd[1], F_SETPIPE_SZ, PIPE_SIZE);
    *p = (struct pipe){.open = true, .in = fd[1], .out = fd[0]};
    return true;
}

void pipe_put(struct pipe_list *l, struct pipe *p)
{
    if (p->open && p->held == 0 && l->n < PIPES_KEPT)
        l->kept[l->n++] = *p;
    else if (p->open)
        close_both(p);
    *p = (struct pipe){0};
}

void pipe_list_release(struct pipe_list *l)
{
    while (l->n)
        close_both(&l->kept[--l->n]);
}

enum tls_want pipe_fill(struct pipe *p, int socket, size_t max, size_t *n)
{
    ssize_t r;

    assert(p->held == 0);
    do
        r = splice(socket, NULL, p->in, NULL, max < PIPE_SIZE ? max : PIPE_SIZE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return errno == EAGAIN ? TLS_WANT_READ : TLS_BROKEN;
    *n = p->held = (size_t)r;
    return r ? TLS_OK : TLS_CLOSED;
}

enum tls_want pipe_drain(struct pipe *p, int socket, size_t *n)
{
    ssize_t r;

    do
        r = splice(p->out, NULL, socket, NULL, p->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (r < 0 && errno == EINTR);
    if (r < 0 && errno == EAGAIN)
        return TLS_WANT_WRITE; /* the pipe isn't empty: it is the socket that is full */
    if (r <= 0)
        return TLS_BROKEN;
    p->held -= (size_t)r;
    *n = (size_t)r;
    return TLS_OK;
}
