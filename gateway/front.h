/* front.h - the gateways of a process: one thread, loop and set of listeners per core.
 *
 * Shape    front_open() binds every listener, front_run() starts the threads, front_drain() asks them to end,
 *          front_fd() tells when they have.
 * Owns     loops, threads, gateways and the stores it makes.
 * Errors   front_open() puts a sentence for a person into `why`: a busy port, a bad address.
 * Thread   all functions: main.
 */
#ifndef SLUICE_GATEWAY_FRONT_H
#define SLUICE_GATEWAY_FRONT_H

#include "gateway/gateway.h"

enum { FRONT_WHY_MAX = 256 }; /* as http_listen() wants */

struct front_listen {
    struct str address;      /* "HOST:PORT"; empty = none */
    struct tls_context *tls; /* NULL = plain */
};

struct front_conf {
    unsigned threads;
    struct front_listen listen[GATEWAY_LISTENERS];
    struct http_limits limits;
    struct offload *io, *cpu;
    struct creds *creds;
    struct buckets *buckets;
    const struct s3api_conf *s3;
    struct store *(*store_new)(void *arg, struct loop *loop); /* a loop's handle; called on its thread */
    void *store_arg;
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
