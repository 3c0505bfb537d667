/* rest.h - questions by HTTP to those who run containers: a Unix socket of this machine, or TLS.
 *
 * Shape    one question, one connection: they are rare. Answers are in memory, or handed on in pieces.
 * Units    milliseconds, bytes.
 * Owns     rest_res_release() after rest_ask(), whatever that returned.
 * Errors   ERR_UNAVAILABLE, ERR_TIMEOUT, ERR_TOO_LARGE, ERR_CANCELLED, with a sentence in `why`; any HTTP status is a success. What is answered
 *          is input from outside: bounded, and never asserted.
 * Thread   any; everything blocks.
 * Source   RFC 9112.
 */
#ifndef SLUICE_ETL_REST_H
#define SLUICE_ETL_REST_H

#include <stdatomic.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/doc.h"
#include "etl/spec.h"
#include "http/tls.h"

enum {
    REST_ASK_MS = 30000, /* most questions are answered at once; a machine under load takes its time */
    REST_BODY_MAX = 4 << 20,
};

struct rest_site {
    const char *name;  /* "the container engine", for sentences */
    struct str socket; /* path of its Unix socket */
    const char *host;  /* a name or an address, for TLS; NULL: the socket */
    uint16_t port;
    struct tls_client *tls;
    /* The sentence for a connection that failed. */
    void (*unreachable)(const struct rest_site *site, int errnum, char why[ETL_WHY_MAX]);
};
struct rest_req {
    const char *method, *path;
    struct str headers;      /* lines more, each with its end; empty: none */
    struct str body;         /* STR_NONE: none */
    const char *type;        /* of the body; NULL: JSON */
    uint32_t timeout_ms;     /* of the whole; 0 = REST_ASK_MS */
    size_t body_max;         /* of the answer; 0 = REST_BODY_MAX */
    const atomic_bool *quit; /* NULL, or: ends it soon with ERR_CANCELLED */
    /* When set, takes the body of an answer of success as it comes; false: enough. */
    bool (*on_piece)(void *arg, struct str piece);
    void *arg;
};
struct rest_res {
    int status;
    struct buf body; /* what on_piece did not take */
};
MUST_USE enum err rest_ask(const struct rest_site *site, const struct rest_req *req, struct rest_res *res,
                           char why[ETL_WHY_MAX]);
/* A request that turns its connection, of a Unix socket, into a stream: *fd, non-blocking; what has come of the stream already is in `early`. With
 * any status but 101 and 200 there is none: *fd is -1. */
MUST_USE enum err rest_hijack(const struct rest_site *site, const struct rest_req *req, struct rest_res *res, int *fd,
                              struct buf *early, char why[ETL_WHY_MAX]);
void rest_res_release(struct rest_res *res);
/* The answer as a tree, in the arena. */
MUST_USE enum err rest_json(const struct rest_site *site, const struct rest_res *res, struct arena *a, struct doc **out,
                            char why[ETL_WHY_MAX]);

/* The text at "State.ExitCode"; STR_NONE: none. Keys have no dots. */
struct str rest_text(const struct doc *d, const char *path);
const struct doc *rest_at(const struct doc *d, const char *path);
/* `what` and what others say, for a sentence: no control characters. */
void rest_say(char why[ETL_WHY_MAX], const char *what, struct str text);

/* A connected, non-blocking TCP socket. ERR_UNAVAILABLE, ERR_TIMEOUT; errno tells. */
MUST_USE enum err rest_connect(const struct sockaddr *sa, socklen_t len, uint32_t ms, int *fd);

#endif
