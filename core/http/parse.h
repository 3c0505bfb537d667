/* parse.h - from bytes to a request head, and from chunk framing to body bytes; strict where leniency lets requests be
 * smuggled.
 *
 * Shape    head_scan() finds the head's end while bytes trickle in; head_parse() takes a complete request head apart,
 *          head_parse_response() a response's. chunked_decode() strips the framing in place.
 * Units    bytes.
 * Owns     a parsed head points into the caller's bytes and arena.
 * Errors   ERR_BAD_REQUEST, ERR_INVALID_URI, ERR_HEAD_TOO_LARGE, ERR_EXPECTATION; what each refusal is about stands
 *          beside its check. Responses: ERR_UNAVAILABLE.
 * Thread   any; pure.
 * Source   RFC 9112; libh2o's picohttpparser underneath.
 */
#ifndef SLUICE_HTTP_PARSE_H
#define SLUICE_HTTP_PARSE_H

#include <sys/types.h>

#include "http/message.h"

enum {
    HTTP_EMPTY_LINES_MAX = 4,        /* before a request line; RFC 9112 section 2.2 wants at least one tolerated */
    HTTP_CHUNK_EXT_MAX = 1024,       /* bytes of extensions on one chunk-size line */
    HTTP_CHUNK_OVERHEAD_MAX = 16384, /* extension bytes in all that are not paid for by data bytes */
    HTTP_TRAILERS_MAX = 8192,        /* bytes */
};

/* How far the search for a head's end has come. Zeroed = at the beginning. */
struct head_scan {
    size_t at;    /* bytes looked at */
    size_t start; /* where the request line begins: behind tolerated empty lines */
    size_t line;  /* where the current line begins */
    uint32_t lines;
};

/* `p` holds the n bytes received so far, of which the first s->at were seen before. Length of the head including its
 * empty line (counted from p; the head itself begins at s->start), 0 = more bytes needed, -1 = can't become a head. */
ssize_t head_scan(struct head_scan *s, const char *p, size_t n);

struct http_head {
    enum http_method method;
    struct str method_text;
    struct str target, path, query;
    bool has_query;
    int minor_version;
    struct http_header *headers; /* names lower-cased */
    size_t header_count;
    struct str host;
    uint64_t body_len; /* 0 = none, HTTP_LENGTH_UNKNOWN = chunked */
    bool keep_alive;
    bool expects_continue;
};

/* Takes a complete head of `lines` lines apart (head_scan()'s count, the empty one included). Changes the bytes (lower
 * case). */
MUST_USE enum err head_parse(struct arena *a, char *p, size_t n, uint32_t lines, struct http_head *out);

/* How a response's body ends: there is none, after `length` bytes, with its last chunk, with the connection. */
enum http_framing { HTTP_NO_BODY, HTTP_SIZED, HTTP_CHUNKED, HTTP_TO_CLOSE };

struct http_response_head {
    int status; /* 100..599 */
    int minor_version;
    struct http_header *headers; /* names lower-cased */
    size_t header_count;
    enum http_framing framing;
    uint64_t length; /* HTTP_SIZED: > 0 */
    bool keep_alive;
};

/* The same for a response; `to_head`: it answers a HEAD request and so has no body. */
MUST_USE enum err head_parse_response(struct arena *a, char *p, size_t n, uint32_t lines, bool to_head,
                                      struct http_response_head *out);

enum chunked_state {
    CHUNKED_SIZE,
    CHUNKED_EXT,
    CHUNKED_SIZE_LF,
    CHUNKED_DATA,
    CHUNKED_DATA_CR,
    CHUNKED_DATA_LF,
    CHUNKED_TRAILER,      /* at the beginning of a line */
    CHUNKED_TRAILER_LINE, /* within one */
    CHUNKED_TRAILER_LF,
    CHUNKED_END_LF,
    CHUNKED_DONE,
    CHUNKED_BAD,
};

/* Zeroed = at the beginning. */
struct chunked {
    enum chunked_state state;
    uint8_t digits;      /* of the size read so far */
    uint64_t left;       /* CHUNKED_DATA: bytes of this chunk still to come; CHUNKED_SIZE: the size so far */
    uint32_t ext, trail; /* bytes of this line's extensions; of all trailers */
    uint64_t overhead;   /* extension bytes minus data bytes, not below 0 */
};

/* Decodes buf[0..n) in place: *out_n body bytes stand at buf's front, *used input bytes were taken. *used < n only when
 * the body's end (CHUNKED_DONE) was met: what follows stands at buf + *used. CHUNKED_BAD: broken framing, for good. */
enum chunked_state chunked_decode(struct chunked *d, char *buf, size_t n, size_t *out_n, size_t *used);

#endif
