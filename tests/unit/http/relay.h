/* relay.h - a server that passes every request on to another one and its response back. For tests of core/http.
 *
 * Thread   its own; start and stop from the test's.
 */
#ifndef SLUICE_TESTS_HTTP_RELAY_H
#define SLUICE_TESTS_HTTP_RELAY_H

#include <pthread.h>
#include <stdatomic.h>

#include "http/peer.h"
#include "http/server.h"

struct relay {
    struct loop *loop;
    struct http_server *server;
    struct http_handler handler;
    struct peer_pool *pool;
    struct peer_conf conf; /* of the pool */
    struct tls_context *tls;
    const char *upstream; /* "HOST:PORT" */
    bool expect;
    int listen_fd;
    char bound[64];
    uint16_t port;
    pthread_t thread;
    atomic_bool up;
    atomic_int failed, aborts; /* requests that got no response; clients gone before */
    struct post post;
    struct call drained;
};

/* upstream, conf, tls, expect are filled in. */
void relay_start(struct relay *r, const struct http_limits *limits);
void relay_stop(struct relay *r);
/* A connected blocking socket. */
int relay_open(const struct relay *r);

#endif
