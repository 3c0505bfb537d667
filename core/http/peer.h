/* peer.h - the HTTP/1.1 client of the data path: requests to other nodes, bodies streamed both ways.
 *
 * Shape    one pool per loop; connections are kept alive per address and reused, the most recently used first. peer_send() is done when
 *          the final response head is there; its body is a source like any other: pulled, with back-pressure, and where both ends are plain
 *          sockets spliced (SPAN_SOCKET, source.h).
 * Units    milliseconds, bytes.
 * Owns     req->body stays the caller's and is read until the call is done (but see duplex). res->body is the caller's to close: closed before its end
 *          it takes the connection with it. Everything of res lives in the arena handed in.
 * Errors   ERR_UNAVAILABLE (no connection; or it broke before a response, then `sent` tells whether the peer may have acted),
 *          ERR_TIMEOUT, ERR_BUSY (too many requests wait for a connection), ERR_CANCELLED, errors of req->body. Any status is a success.
 *          res->body fails with ERR_UNAVAILABLE or ERR_TIMEOUT when the response breaks off: never a silent short body.
 * Thread   the loop's. Names are resolved on the offload pool, never on the loop.
 * Source   RFC 9112, RFC 9110 section 10.1.1 (Expect).
 */
#ifndef SLUICE_HTTP_PEER_H
#define SLUICE_HTTP_PEER_H

#include "base/offload.h"
#include "http/message.h"
#include "http/tls.h"

struct peer_conf {
    struct loop *loop;
    struct offload *io;           /* resolves names, dials */
    struct tls_client *tls;       /* NULL = plain TCP */
    uint32_t connect_timeout_ms;  /* 0 = 2 s */
    uint32_t progress_timeout_ms; /* without a byte either way; 0 = 60 s */
    uint32_t connections_max;     /* per address; 0 = 256 */
    uint32_t idle_timeout_ms;     /* 0 = 30 s: less than a server keeps idle ones */
    /* Whether there is a node at that address, as far as is known without waiting. Looked at four times a second: from one that is gone nothing
     * is waited for that has not moved for two seconds, neither an answer nor the rest of a body (ERR_UNAVAILABLE). May be NULL. */
    bool (*is_there)(void *arg, struct str address);
    void *is_there_arg;
    /* Not NULL: makes the connections, in place of resolving the name and connecting: a connected, non-blocking socket. BLOCKING, on `io`; may still
     * run for a request that is over, but not after peer_pool_free(), which waits for it. */
    enum err (*dial)(void *arg, struct str address, int *fd);
    void *dial_arg;
};

struct peer_pool;
struct peer_pool *peer_pool_new(const struct peer_conf *conf);
/* No calls and no bodies outstanding. */
void peer_pool_free(struct peer_pool *p);
/* The connections to that address that nobody uses are closed. */
void peer_pool_forget(struct peer_pool *p, struct str address);

struct peer_req {
    struct arena *arena;
    struct str address; /* "HOST:PORT" */
    struct str method, target;
    const struct http_header *headers; /* Host, Content-Length, Transfer-Encoding, Expect are peer.c's */
    size_t header_count;
    struct source *body; /* NULL = none. Size unknown: chunked */
    /* Ask before sending the body ("Expect: 100-continue"): a refusal then costs nothing and leaves the body unread. */
    bool expect;
    /* Safe to repeat on a fresh connection when a kept one turns out dead before any byte of a response came and nothing of
     * the body was taken. */
    bool repeatable;
    /* The response may begin before the peer has read all of the body: then sending goes on while res->body is being read, until either ends. So body
     * must live until res->body is closed; it is never being read between two reads of res->body, and when it fails, so does res->body. Without this
     * a response that comes early ends the sending. */
    bool duplex;
};
struct peer_res {
    int status;
    const struct http_header *headers; /* names lower-cased */
    size_t header_count;
    struct source *body; /* NULL = empty */
    bool body_taken;     /* something of req->body was read. Also set on error. */
    bool sent;           /* the head left this machine. Also set on error. */
};
void peer_send(struct peer_pool *p, const struct peer_req *req, struct peer_res *res, struct call *call);
/* Value of the first header of that lower-case name, STR_NONE when absent. */
struct str peer_header(const struct peer_res *res, struct str name);

#endif
