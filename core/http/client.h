/* client.h - an HTTP client for what is off the data path: container engines, etcd, webhooks, other stores.
 *
 * Shape    one http_client per loop; one asynchronous call per exchange; bodies in memory, or the answer handed on in pieces.
 * Units    milliseconds, bytes.
 * Owns     idle connections, kept for reuse. A res is its caller's: http_client_res_release() after done.
 * Errors   ERR_UNAVAILABLE (no connection, or it broke), ERR_TIMEOUT, ERR_TOO_LARGE, ERR_BUSY, ERR_CANCELLED, ERR_INVALID_ARGUMENT;
 *          res->why says more to a person. Any HTTP status is a success: look at res->status.
 * Thread   the loop's.
 * Source   libcurl multi_socket interface. Environment proxies are ignored; redirects are not followed.
 */
#ifndef SLUICE_HTTP_CLIENT_H
#define SLUICE_HTTP_CLIENT_H

#include "base/buf.h"
#include "http/message.h"

enum { HTTP_CLIENT_CALLS_MAX = 256, HTTP_CLIENT_HEAD_MAX = 65536 };

struct http_client;
struct http_client *http_client_new(struct loop *loop);
/* With no call outstanding. */
void http_client_free(struct http_client *c);

struct http_client_req {
    const char *method; /* "GET" */
    const char *url;    /* http:// or https://; user and password in it are refused */
    const struct http_header *headers;
    size_t header_count;
    struct str body;                  /* STR_NONE: none */
    uint32_t connect_timeout_ms;      /* 0 = 10 s */
    uint32_t timeout_ms;              /* of the whole exchange; 0 = none */
    size_t body_max;                  /* of the answer; more fails with ERR_TOO_LARGE */
    const char *unix_socket;          /* path; NULL = TCP */
    const char *ca_file;              /* NULL = the system's */
    const char *cert_file, *key_file; /* the client's own, or NULL */
    bool insecure;                    /* don't verify the server */
    /* When set, takes the body of the answer as it comes (then body_max is 0 for no bound). It runs inside libcurl:
     * it must not call into this module; false breaks the exchange off with ERR_TOO_LARGE. */
    bool (*on_piece)(void *arg, struct str piece);
    void *on_piece_arg;
    bool public_only;        /* connects to no address of this machine or its networks (address.h): ERR_ACCESS_DENIED */
    uint32_t idle_timeout_s; /* without a byte that is waited for; 0 = none */
};

struct http_client_res {
    int status; /* 0 = none came */
    struct arena arena;
    struct http_header *headers; /* names lower-cased; of the final answer; complete when done */
    size_t header_count;
    struct buf body;
    char why[256];
};

/* `res` needs no preparation. */
void http_client_send(struct http_client *c, const struct http_client_req *req, struct http_client_res *res,
                      struct call *call);
/* The same with the body as a source: done when the head is there; the body is pulled, with back-pressure, and is to be closed before the
 * client is freed. It fails when the answer breaks off. Fields of `req` about the body are ignored; nothing of `req` is needed afterwards. */
void http_client_open(struct http_client *c, const struct http_client_req *req, struct http_client_res *res,
                      struct source **body, struct call *call);
void http_client_res_release(struct http_client_res *res);
/* Value of the first header of that lower-case name, STR_NONE when absent. */
struct str http_client_header(const struct http_client_res *res, struct str name);

#endif
