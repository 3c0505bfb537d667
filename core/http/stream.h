/* stream.h - one connection's bytes, plain or under TLS, without waiting.
 *
 * Shape    each function tries once (TLS: record by record) and says what to wait for.
 * Owns     the TLS session; not the descriptor.
 * Errors   enum tls_want: TLS_CLOSED = the peer's orderly end, TLS_BROKEN = reset or worse.
 * Thread   the connection's loop.
 * Source   recv(2), sendmsg(2), sendfile(2); TCP_NODELAY, TCP_NOTSENT_LOWAT in tcp(7). SIGPIPE must be ignored: sendfile and OpenSSL have no MSG_NOSIGNAL.
 */
#ifndef SLUICE_HTTP_STREAM_H
#define SLUICE_HTTP_STREAM_H

#include <stdint.h>
#include <sys/uio.h>

#include "http/tls.h"

enum {
    STREAM_UNSENT =
        128 *
        1024, /* bytes that wait in a socket for the peer to read: enough to cover the time until we are asked for more */
};

struct stream {
    int fd;
    struct tls_stream *tls; /* NULL = plain */
};

/* Options of a new TCP socket. Writes are whole heads and bodies: they go out at once. Of bytes that the peer has no room for yet, few wait
 * in the socket, for two reasons: what waits there is memory that a slow reader ties up (4 MiB each by Linux's default), and is sent
 * while the peer's acknowledgements are handled, piece by piece and, on one machine, at the cost of the reader's core. */
void stream_tune(int fd);
/* As much as is there, up to len: *n > 0 with TLS_OK. Under TLS until nothing decrypted is left over or buf is full. */
enum tls_want stream_read(struct stream *s, void *buf, size_t len, size_t *n);
/* Whether a read may succeed though the descriptor isn't readable. */
static inline bool stream_has_pending(const struct stream *s)
{
    return s->tls && tls_has_pending(s->tls);
}
/* Both pieces as one packet or record where they fit; the first may be empty. `more`: further bytes follow at once.
 * After a wait repeat with the same bytes (TLS: or the same and more). *n may be less than asked with TLS_OK. */
enum tls_want stream_write(struct stream *s, const struct iovec v[2], bool more, size_t *n);
/* Plain streams only. TLS_OK with *n == 0: the file is shorter. *file_error: errno when reading the file failed, else
 * 0. */
enum tls_want stream_sendfile(struct stream *s, int file, uint64_t offset, size_t len, size_t *n, int *file_error);
/* No more writing; close_notify under TLS. */
void stream_shutdown(struct stream *s);
/* Bytes written but not yet acknowledged by the peer's kernel. */
uint64_t stream_unacked(const struct stream *s);

#endif
