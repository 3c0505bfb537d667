/* reply.h - the one place where an outcome becomes an S3 response.
 *
 * Shape    steps add headers and a body, then `return op_go(op, reply_send)`; a failed op gets there by itself and
 *          becomes an <Error> document. Sends, counts, writes the access log, ends the request.
 * Owns     the response's parts are in the request's arena; reply_body() takes its source.
 * Errors   none: they end here.
 * Thread   the request's loop.
 * Source   S3 API reference, "Error responses", "Common response headers".
 */
#ifndef SLUICE_S3API_REPLY_H
#define SLUICE_S3API_REPLY_H

#include "base/buf.h"
#include "base/op.h"
#include "http/message.h"
#include "s3api/cors.h"
#include "store/object.h"

struct s3_request;

enum { REPLY_DETAILS_MAX = 12, REPLY_XML_MAX = 8 << 20 };

struct s3_reply {
    int status;       /* 0 = 200 */
    int error_status; /* instead of the table's, of an error; 0 = the table's */
    struct http_header *headers;
    size_t header_count, header_cap;
    struct source *body;
    struct buf xml;                                /* see reply_xml() */
    uint64_t stated_length;                        /* of a HEAD or 304 answer; HTTP_LENGTH_UNKNOWN otherwise */
    const char *error;                             /* its code, once it is one; NULL: it is none */
    struct str message;                            /* of the error, instead of err_text() */
    struct http_header details[REPLY_DETAILS_MAX]; /* further elements of <Error>: names and values */
    unsigned detail_count;
    bool keep_headers;                         /* an error sends them too */
    struct http_header cors[CORS_HEADERS_MAX]; /* what a browser is told, with errors too (cors.h) */
    unsigned cors_count;
    bool has_cors;       /* the bucket has rules, whether or not one fits */
    struct http_res res; /* what the server was handed */
    uint64_t body_bytes; /* that it will send, for the access log */
};

/* Before anything else; headers, xml buffer. */
void reply_init(struct s3_request *r);
void reply_status(struct s3_request *r, int status);
/* `name` as to be sent ("ETag"); name and value must live as long as the request. A value with CR, LF or NUL is
 * dropped. */
void reply_header(struct s3_request *r, struct str name, struct str value);
void reply_header_f(struct s3_request *r, struct str name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* ETag: "hex", Last-Modified. */
void reply_etag(struct s3_request *r, const struct etag *etag);
void reply_last_modified(struct s3_request *r, int64_t ns);
/* x-amz-checksum-<alg> and x-amz-checksum-type; nothing for HASH_NONE. */
void reply_checksum(struct s3_request *r, const struct checksum *c);
/* The buffer of an XML answer: whatever is in it when reply_send runs is the body, with Content-Type: application/xml.
 */
struct buf *reply_xml(struct s3_request *r);
/* Takes the source. Only bodies of GetObject come this way. */
void reply_body(struct s3_request *r, struct source *body);
/* The length a HEAD or 304 answer states. */
void reply_length(struct s3_request *r, uint64_t length);

/* What <Error> says in <Message> instead of the table's text. Returns e, so that
 * `return op_fail(op, reply_error(r, ERR_INVALID_ARGUMENT, "..."))` reads well. */
enum err reply_error(struct s3_request *r, enum err e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* One more element of <Error>: <Name>value</Name>. Beyond REPLY_DETAILS_MAX they are dropped. */
void reply_detail(struct s3_request *r, struct str name, struct str value);

/* The last step of every operation. Headers set before are sent with errors too only when reply_keep_headers() was
 * called (304, 416 and 412 need some of them). */
step_fn reply_send;
void reply_keep_headers(struct s3_request *r);

#endif
