/* server.h - the HTTP/1.1 server: listeners, limits, drain.
 *
 * Shape    one http_server per loop, each with its own SO_REUSEPORT listener on the same address; requests go to a http_handler.
 * Units    timeouts: milliseconds; sizes: bytes.
 * Owns     its listener and connections.
 * Errors   http_listen() says what was wrong with the address in `why`.
 * Thread   the server's loop; http_listen() and the shared struct tls_context from the main thread before loops run.
 * Source   RFC 9112.
 */
#ifndef SLUICE_HTTP_SERVER_H
#define SLUICE_HTTP_SERVER_H

#include "http/message.h"
#include "http/tls.h"

struct http_limits {
    uint32_t connections_max; /* of this server; accepting pauses beyond it */
    uint32_t head_max;        /* bytes of request line and headers: 431 beyond */
    uint32_t headers_max;     /* count: 431 beyond */
    uint32_t head_timeout_ms; /* from the first byte to the end of the head */
    uint32_t body_timeout_ms; /* without a byte while a body read is outstanding */
    uint32_t idle_timeout_ms; /* keep-alive connection without a request */
    uint32_t send_timeout_ms; /* without progress while a response is being sent */
    uint32_t drain_body_max;  /* bytes of an unread body that are dropped to keep a connection */
};
#define HTTP_LIMITS_DEFAULT                                                                                            \
    {                                                                                                                  \
        8192, 65536, 128, 10000, 60000, 75000, 60000, 262144                                                           \
    }

struct http_server;
struct http_server_conf {
    struct loop *loop;
    struct http_handler *handler;
    struct http_limits limits;
    struct tls_context *tls; /* NULL = plain */
    int listen_fd;           /* from http_listen(); taken */
};

/* Binds one listening socket (SO_REUSEPORT, non-blocking) to "HOST:PORT" ("[::1]:9000", ":9000", port 0 = any). Call once per loop with the
 * same address: for port 0 pass the first one's result. `bound` gets "HOST:PORT" as really bound. On error `why` holds a sentence for a person.
 * BLOCKING (may resolve a name): before loops run. */
MUST_USE enum err http_listen(struct str address, int *fd, char bound[64], char why[256]);
/* From now on another process of the same user may listen on the same port, and take its part of the connections. */
void http_listen_share(void);
struct http_server *http_server_new(const struct http_server_conf *conf);
/* Stops accepting; idle connections close, busy ones after their response; `call` finishes when none is left or after timeout_ms,
 * when the rest is cut. */
void http_server_drain(struct http_server *s, uint32_t timeout_ms, struct call *call);
/* After a drain. */
void http_server_free(struct http_server *s);
/* Connections open now. Any thread. */
uint32_t http_server_connections(const struct http_server *s);

#endif
