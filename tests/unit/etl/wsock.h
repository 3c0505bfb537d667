/* wsock.h - the server's side of a WebSocket, for scripts of a sidecar (sidecar.h): blocking, and written apart from the product's.
 *
 * Thread   that of the script.
 */
#ifndef SLUICE_TESTS_ETL_WSOCK_H
#define SLUICE_TESTS_ETL_WSOCK_H

#include "sidecar.h"

struct wsock_message {
    int op;  /* 1, 2; 8: the other side closed it, 0: the connection ended */
    char *p; /* malloc */
    size_t n;
    unsigned frames; /* it came in */
    unsigned pongs;  /* before and in between */
    bool bad;        /* a frame was not as a client's must be */
};

/* Takes the request, answers it, with these header lines besides. */
bool wsock_shake(struct sidecar *s, int fd, const char *more);
/* One frame, unmasked, into p of cap bytes: the first byte of its head, or -1. */
int wsock_frame(int fd, char *p, size_t cap, size_t *n);
/* False when none came; release what came before. */
bool wsock_take(int fd, struct wsock_message *m);
void wsock_release(struct wsock_message *m);
/* A frame with that first byte. */
void wsock_say(int fd, int first, const char *p, size_t n);
void wsock_say_z(int fd, int first, const char *z);
/* The control message and the object. */
bool wsock_object(int fd, struct wsock_message *control, struct wsock_message *object);

#endif
