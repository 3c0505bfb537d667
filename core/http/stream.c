#include "stream.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

enum { RECORD_MAX = 16384 }; /* TLS plaintext of one record */

void stream_tune(int fd)
{
    int on = 1, unsent = STREAM_UNSENT;

    /* without them all works, only slower */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
}

static enum tls_want outcome(ssize_t r, enum tls_want blocked, size_t *n)
{
    if (r >= 0) {
        *n = (size_t)r;
        return TLS_OK;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK ? blocked : TLS_BROKEN;
}

static enum tls_want read_tls(struct stream *s, char *buf, size_t len, size_t *n)
{
    enum tls_want w = TLS_OK;
    size_t got = 0, step;

    while (got < len) {
        w = tls_read(s->tls, buf + got, len - got, &step);
        if (w != TLS_OK)
            break;
        got += step;
    }
    if (got == 0)
        return w;
    *n = got; /* an end or failure shows itself again at the next read */
    return TLS_OK;
}

enum tls_want stream_read(struct stream *s, void *buf, size_t len, size_t *n)
{
    ssize_t r;

    if (s->tls)
        return read_tls(s, buf, len, n);
    do
        r = recv(s->fd, buf, len, 0);
    while (r < 0 && errno == EINTR);
    return r == 0 ? TLS_CLOSED : outcome(r, TLS_WANT_READ, n);
}

static enum tls_want write_tls(struct stream *s, const struct iovec v[2], size_t *n)
{
    char joined[RECORD_MAX];

    if (v[0].iov_len == 0)
        return tls_write(s->tls, v[1].iov_base, v[1].iov_len, n);
    if (v[0].iov_len >= sizeof(joined) || v[1].iov_len == 0)
        return tls_write(s->tls, v[0].iov_base, v[0].iov_len, n);
    /* head and body in one record, and so in one packet */
    size_t second = sizeof(joined) - v[0].iov_len;
    if (second > v[1].iov_len)
        second = v[1].iov_len;
    memcpy(joined, v[0].iov_base, v[0].iov_len);
    memcpy(joined + v[0].iov_len, v[1].iov_base, second);
    return tls_write(s->tls, joined, v[0].iov_len + second, n);
}

enum tls_want stream_write(struct stream *s, const struct iovec v[2], bool more, size_t *n)
{
    struct msghdr m = {.msg_iov = (struct iovec *)v, .msg_iovlen = 2};
    ssize_t r;

    if (s->tls)
        return write_tls(s, v, n);
    if (v[0].iov_len == 0) {
        m.msg_iov++;
        m.msg_iovlen--;
    }
    do
        r = sendmsg(s->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0));
    while (r < 0 && errno == EINTR);
    return outcome(r, TLS_WANT_WRITE, n);
}

enum tls_want stream_sendfile(struct stream *s, int file, uint64_t offset, size_t len, size_t *n, int *file_error)
{
    off_t at = (off_t)offset;
    ssize_t r;

    do
        r = sendfile(s->fd, file, &at, len);
    while (r < 0 && errno == EINTR);
    *file_error = r < 0 && (errno == EIO || errno == EINVAL || errno == EBADF) ? errno : 0;
    return outcome(r, TLS_WANT_WRITE, n);
}

void stream_shutdown(struct stream *s)
{
    if (s->tls)
        tls_end(s->tls);
    /* fails only when the connection is gone already */
    (void)shutdown(s->fd, SHUT_WR);
}

uint64_t stream_unacked(const struct stream *s)
{
    int queued = 0;

    return ioctl(s->fd, SIOCOUTQ, &queued) == 0 && queued > 0 ? (uint64_t)queued : 0;
}
