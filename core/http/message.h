/* message.h - a request and a response as the rest of the code sees them.
 *
 * Shape    the server calls the handler when a head is complete; the handler pulls req->body if it wants it and answers exactly once
 *          with http_respond(). The request lives until the call of http_respond() is done.
 * Units    lengths in bytes.
 * Owns     everything in a request belongs to its arena (req->arena). http_respond() takes res->body.
 * Errors   see the functions.
 * Thread   the loop of the connection.
 * Source   RFC 9110, RFC 9112.
 */
#ifndef SLUICE_HTTP_MESSAGE_H
#define SLUICE_HTTP_MESSAGE_H

#include "base/arena.h"
#include "base/source.h"

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_PUT, HTTP_POST, HTTP_DELETE, HTTP_OPTIONS, HTTP_PATCH, HTTP_OTHER };

struct http_header {
    struct str name;  /* requests: lower-cased; responses: as to be sent */
    struct str value; /* raw bytes, OWS trimmed at both ends */
};

#define HTTP_LENGTH_UNKNOWN UINT64_MAX

struct http_req {
    enum http_method method;
    struct str method_text;
    /* raw, as received, e.g. "/b/k%20?x=1" (an absolute-form target is reduced to its path and query, its authority
     * replaces the Host value, RFC 9112 section 3.2.2) */
    struct str target;
    struct str path;                   /* raw part of target before '?' */
    struct str query;                  /* raw part behind '?', empty when none */
    bool has_query;                    /* there was a '?' */
    int minor_version;                 /* HTTP/1.x */
    bool secure;                       /* came over TLS */
    const char *tls_version;           /* "1.3"; NULL without */
    const struct http_header *headers; /* all, in order, duplicates kept; Host, Content-Length, Expect, ... included */
    size_t header_count;
    struct str host; /* value of Host or the absolute form's authority */
    /* NULL when there is none (no Content-Length or 0, no chunked). The server closes it, not the handler. Its first
     * read sends "100 Continue" when the client expects that. Fails with ERR_CLIENT_GONE, ERR_INCOMPLETE_BODY (bad
     * chunk framing), ERR_TIMEOUT. */
    struct source *body;
    uint64_t body_len; /* Content-Length; 0 without a body; HTTP_LENGTH_UNKNOWN when chunked */
    bool expects_continue;
    struct arena *arena;
    struct loop *loop;
    char id[16];   /* request id, upper-case hex, not terminated: str_n(req->id, 16) */
    char peer[48]; /* the client's address and port as text, NUL-terminated */
    /* Set by the handler: runs once, on the loop, when the connection is gone before http_respond() was called.
     * The handler must still call http_respond(), which then finishes with ERR_CLIENT_GONE at once. */
    void (*on_abort)(struct http_req *);
    void *user; /* the handler's */
};

struct http_res {
    int status;
    /* Date, Content-Length, Connection and Transfer-Encoding are the server's business */
    const struct http_header *headers;
    size_t header_count;
    struct source *body; /* NULL = empty. Size unknown -> chunked (HTTP/1.1) or close (1.0). */
    /* Content-Length to state when there is no body: for HEAD and 304. HTTP_LENGTH_UNKNOWN = do not state one.
     * Ignored when body is set (its size counts). For any other empty answer leave 0. */
    uint64_t stated_length;
    bool close; /* close the connection after this response */
};

/* Characters of a token, as lower case; 0: none of them. RFC 9110 section 5.6.2. */
extern const char http_token_chars[256];
/* Whether this could be the name of a header. */
bool http_is_token(struct str s);

/* Value of the first header of that (lower-case) name, STR_NONE (p == NULL) when absent. */
struct str http_header_get(const struct http_req *req, struct str name);
/* How many headers have that name. */
size_t http_header_count(const struct http_req *req, struct str name);

/* Sends the response; `call` finishes when the last byte was handed to the kernel or the connection broke (ERR_CLIENT_GONE,
 * ERR_TIMEOUT for a reader that is too slow, or the source's error: then the connection is cut so that the client notices).
 * The request and its arena are released after the call is done. A HEAD answer never sends body bytes.
 * Cancelling the call closes the connection. */
void http_respond(struct http_req *req, const struct http_res *res, struct call *call);

/* From now on the orderly end of what the client sends counts as its leaving, though it may be half a close: for answers that cost much more than
 * anything that would close by halves is worth. on_abort may follow, later. */
void http_end_is_leaving(struct http_req *req);

/* What handles requests. One per loop. */
struct http_handler {
    void (*on_request)(struct http_handler *, struct http_req *);
};

/* Reason phrase for a status, "OK". Static. */
const char *http_reason(int status);

#endif
