/* pipe.h - bytes on their way from one socket to another without being copied: splice(2) into a pipe and out of it.
 *
 * Shape    pipe_fill() moves what the one socket has, pipe_drain() what the other takes; what is in between stays in the pipe and
 *          goes first.
 * Owns     a pipe owns two descriptors; a pipe_list keeps some for reuse.
 * Errors   enum tls_want as in stream.h, without the errors' reasons: a read or write of the socket tells.
 * Thread   one loop's.
 * Source   splice(2); F_SETPIPE_SZ in fcntl(2) (a user without privileges gets less once they have many: it works all the same).
 */
#ifndef SLUICE_HTTP_PIPE_H
#define SLUICE_HTTP_PIPE_H

#include "http/tls.h"

enum { PIPE_SIZE = 1024 * 1024, PIPES_KEPT = 16 };

struct pipe {
    bool open;
    int in, out; /* written into, read from */
    size_t held; /* bytes in it */
};

struct pipe_list {
    struct pipe kept[PIPES_KEPT];
    unsigned n;
};

/* False: no descriptors left. */
bool pipe_get(struct pipe_list *l, struct pipe *p);
/* One that still holds bytes is closed. Harmless when not open. */
void pipe_put(struct pipe_list *l, struct pipe *p);
void pipe_list_release(struct pipe_list *l);

/* Into an empty pipe; TLS_CLOSED at the socket's end, TLS_BROKEN also when it can't be spliced. */
enum tls_want pipe_fill(struct pipe *p, int socket, size_t max, size_t *n);
/* Out of one that isn't empty. */
enum tls_want pipe_drain(struct pipe *p, int socket, size_t *n);

#endif
