/* web.h - what the client verbs say to a server: one request at a time over a connection that is kept.
 *
 * Shape    blocking; bodies come from a function and go to a function, so that nothing is held in memory but small answers.
 * Units    bytes; milliseconds.
 * Owns     web_open() to web_close(); texts of an answer live until the next request.
 * Errors   web_ask() is false when there was no answer (`why` says so in a sentence); any status is an answer.
 * Thread   one at a time per struct web.
 * Source   libcurl easy interface; the native API, docs/native-api.md.
 */
#ifndef SLUICE_CLI_WEB_H
#define SLUICE_CLI_WEB_H

#include "base/arena.h"
#include "base/buf.h"

enum { WEB_WHY_MAX = 512, WEB_TEXT_MAX = 64 << 20, WEB_HEADERS_MAX = 8 };
#define WEB_SIZE_UNKNOWN UINT64_MAX

/* Where the server is and who asks. Texts are NUL-terminated; NULL = none. */
struct web_conf {
    const char *endpoint; /* "http://127.0.0.1:9000", without "/v1" */
    const char *token;    /* bearer token */
    const char *ca_file;
    bool insecure;      /* don't verify the server's certificate */
    unsigned timeout_s; /* without a byte in either direction; 0 = 300 */
};

struct web;
struct web *web_open(const struct web_conf *conf);
void web_close(struct web *w); /* NULL is legal */

struct web_req {
    const char *method; /* "GET" */
    struct str path;    /* encoded, "/v1/objects/b/k" */
    struct str query;   /* encoded, without '?'; empty = none */
    struct str json;    /* p != NULL: sent as application/json */
    /* Content: up to `size` bytes into p, *n of them, 0 at the end. False: it can't be read; the request is broken off. */
    bool (*read)(void *arg, char *p, size_t size, size_t *n);
    uint64_t body_size; /* of what `read` gives; WEB_SIZE_UNKNOWN: until it ends */
    /* Takes the body of a successful answer; false breaks off. NULL: it is kept as text. */
    bool (*write)(void *arg, const char *p, size_t n);
    void *arg;
    const char *headers[WEB_HEADERS_MAX]; /* "Range: bytes=0-9"; the first NULL ends them */
};
struct web_res {
    int status;
    struct str text; /* of an error, and of a success without `write` */
    uint64_t length; /* Content-Length; WEB_SIZE_UNKNOWN when there was none */
    char why[WEB_WHY_MAX];
};
bool web_ask(struct web *w, const struct web_req *req, struct web_res *res);
/* Value of a header of the last answer, any case; p == NULL: none. */
struct str web_header(const struct web *w, const char *name);
static inline bool web_is_ok(const struct web_res *res)
{
    return res->status >= 200 && res->status < 300;
}

/* Percent-encodes all but unreserved characters and, when `slashes`, '/'. */
void web_encode(struct buf *out, struct str s, bool slashes);

#endif
