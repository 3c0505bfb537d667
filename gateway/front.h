/* front.h - the serving part of a process: one thread, loop and set of listeners per core.
 *
 * Shape    front_open() binds every listener, front_run() starts the threads, front_drain() asks them to end,
 *          front_fd() tells when they have. What answers on a loop is the role's: struct front_role.
 * Owns     loops, threads, listeners and the control.
 * Errors   front_open() puts a sentence for a person into `why`: a busy port, a bad address.
 * Thread   all functions: main.
 */
#ifndef SLUICE_GATEWAY_FRONT_H
#define SLUICE_GATEWAY_FRONT_H

#include "gateway/control.h"
#include "http/server.h"

enum { FRONT_LISTENERS = 2, FRONT_WHY_MAX = 256 /* as http_listen() wants */ };

struct front_listen {
    struct str address;      /* "HOST:PORT"; empty = none */
    struct tls_context *tls; /* NULL = plain */
};

/* Both are called on a loop's thread. */
struct front_role {
    /* Before the first request; *handler answers them all. Returns what close() gets. */
    void *(*open)(void *arg, struct loop *loop, struct control *control, struct http_handler **handler);
    void (*close)(void *lane); /* no connections are left */
    void *arg;
};

struct front_conf {
    unsigned threads;
    struct front_listen listen[FRONT_LISTENERS];
    struct http_limits limits;
    struct offload *io, *cpu;
    struct front_role role;
    struct control_role control; /* what it tells operators beyond the process itself */
};

struct front;
/* BLOCKING. */
MUST_USE enum err front_open(const struct front_conf *conf, struct front **out, char why[FRONT_WHY_MAX]);
/* Where listener i is really bound, "HOST:PORT"; empty when there is none. */
const char *front_bound(const struct front *f, unsigned i);
/* The threads begin to serve. Signals that are blocked in the caller are blocked in them. */
void front_run(struct front *f);
/* Asks all loops to end: no new connections, requests get timeout_ms. */
void front_drain(struct front *f, uint32_t timeout_ms);
/* Readable once all loops have ended. */
int front_fd(const struct front *f);
/* After front_fd() was readable, or instead of front_run(). */
void front_close(struct front *f);

#endif
