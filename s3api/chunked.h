/* chunked.h - the payload inside an aws-chunked body: frames, chunk signatures, trailers.
 *
 * Shape    struct chunk_parser is the pure decoder (bytes in, payload out, in place); chunked_source_new() puts it
 *          around a body.
 * Units    lengths: bytes.
 * Owns     the source borrows the inner body, the identity and the body_check; all outlive it. close frees the decoder
 *          only.
 * Errors   ERR_SIGNATURE (chunk or trailer), ERR_INCOMPLETE_BODY (framing, length), ERR_CHUNK_SIZE,
 *          ERR_MALFORMED_TRAILER, ERR_INVALID_REQUEST (trailer value), and the inner body's.
 * Thread   the loop of the request; hashing of big reads runs on the `cpu` pool.
 * Source   S3 API: Signature Calculations for the Authorization Header, Transferring Payload in Multiple Chunks;
 *          "Including Trailing Headers".
 */
#ifndef SLUICE_S3API_CHUNKED_H
#define SLUICE_S3API_CHUNKED_H

#include "base/source.h"
#include "s3api/auth.h"
#include "store/object.h"

enum {
    CHUNK_LINE_MAX = 4096, /* a chunk header or trailer line */
    CHUNK_SIZE_MIN = 8192, /* of a signed chunk that is not the last */
};

enum chunk_state {
    CHUNK_HEAD,     /* in "hex;chunk-signature=...\r\n" */
    CHUNK_DATA,     /* in the payload of a chunk */
    CHUNK_DATA_END, /* in the "\r\n" behind it */
    CHUNK_TRAILER,  /* in the lines behind the last chunk */
    CHUNK_END,      /* nothing may follow */
};

struct chunk_parser {
    const struct identity *who;
    struct body_check *check; /* a trailing checksum is added to check->want */
    enum hash_alg announced;  /* x-amz-trailer's algorithm; HASH_NONE: none was announced */
    uint64_t len;             /* decoded length as announced */
    enum chunk_state state;
    bool is_signed, has_trailers;
    bool got_trailer, got_trailer_signature;
    bool gap;            /* an empty line was seen behind the last chunk */
    bool small;          /* the last chunk was smaller than CHUNK_SIZE_MIN */
    uint64_t seen;       /* decoded bytes in all chunks so far, the current one whole */
    uint64_t chunk_left; /* bytes of this chunk still to come */
    SHA256_CTX sha256;   /* of this chunk */
    char signature[64];  /* stated for this chunk */
    char previous[64];   /* of the chunk before, or the seed */
    char trailer_signature[64];
    SHA256_CTX trailer_sha256;
    size_t line_n;
    char line[CHUNK_LINE_MAX];
};

void chunk_parser_init(struct chunk_parser *p, const struct identity *who, struct body_check *check,
                       enum hash_alg announced, uint64_t decoded_len);
/* Decodes n bytes of `buf` in place: *out_n payload bytes stand at its beginning afterwards. Any split is fine.
 * After an error the parser must not be used. */
MUST_USE enum err chunk_parse(struct chunk_parser *p, char *buf, size_t n, size_t *out_n);
/* The raw body has ended. */
MUST_USE enum err chunk_parser_end(const struct chunk_parser *p);

/* Yields the decoded payload of `inner`; its end is clean only when every signature, length and trailer was right.
 * size = decoded_len. `cpu` may be NULL: everything is hashed at once. */
struct source *chunked_source_new(struct loop *loop, struct source *inner, const struct identity *who,
                                  struct body_check *check, enum hash_alg announced, uint64_t decoded_len,
                                  struct offload *cpu);

#endif
