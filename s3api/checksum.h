/* checksum.h - what a request says its body must hash to, and how checksums are written.
 *
 * Shape    body_open() for every operation that takes a body; the rest are pure parsers and printers.
 * Owns     struct body owns its decoder: body_close(). It must stay where it is until the store is done with its
 *          source.
 * Errors   ERR_INVALID_REQUEST, ERR_INVALID_DIGEST, ERR_MISSING_LENGTH, ERR_MALFORMED_TRAILER, ERR_INCOMPLETE_BODY;
 *          `message` (static text, empty: err.def's is right) says more.
 * Thread   the request's loop.
 * Source   S3 User Guide, "Checking object integrity"; S3 API: PutObject, CreateMultipartUpload.
 */
#ifndef SLUICE_S3API_CHECKSUM_H
#define SLUICE_S3API_CHECKSUM_H

#include "s3api/auth.h"
#include "store/object.h"

struct body {
    struct source *source; /* to hand to the store; NULL = empty */
    uint64_t len;          /* decoded; HTTP_LENGTH_UNKNOWN: "Transfer-Encoding: chunked" without another word */
    struct body_check check;
    bool has_checksum;  /* the client sent or announced an x-amz-checksum-*: check.checksum is its choice */
    bool own;           /* source is ours to close, not the server's */
    struct str message; /* on error */
};

/* Reads the headers and opens the body, decoding aws-chunked. check.checksum is the client's algorithm, or HASH_NONE.
 * Nothing of the body is read yet. On error nothing is left open. */
MUST_USE enum err body_open(const struct http_req *req, const struct identity *who, struct offload *cpu,
                            struct body *out);
/* The same for CompleteMultipartUpload, whose x-amz-checksum-* are the object's and not the document's. */
MUST_USE enum err body_open_complete(const struct http_req *req, const struct identity *who, struct offload *cpu,
                                     struct body *out);
/* Not while a read is outstanding. Harmless on a zeroed struct. */
void body_close(struct body *b);
/* For small bodies that were read into memory (XML documents): compares `bytes` with all of check->want. */
MUST_USE enum err body_verify(const struct body_check *check, struct str bytes);

/* "x-amz-checksum-crc32" and so on; STR_NONE for HASH_NONE. Static. */
struct str checksum_header_name(enum hash_alg alg);
/* HASH_NONE when it is none of the ten. Case does not matter. */
enum hash_alg checksum_by_header_name(struct str name);
/* The XML element: "ChecksumCRC32". Static. */
struct str checksum_element_name(enum hash_alg alg);
enum { CHECKSUM_TEXT_MAX = 100 };
/* base64, with "-N" when composite; not terminated, returns the length (0: no checksum). */
size_t checksum_print(const struct checksum *c, char out[CHECKSUM_TEXT_MAX]);
/* The other way; "-N" makes it CHECKSUM_COMPOSITE. False: not base64 of the right length. */
MUST_USE bool checksum_parse(enum hash_alg alg, struct str text, struct checksum *out);
/* "COMPOSITE", "FULL_OBJECT", "". Static. */
struct str checksum_type_name(enum checksum_type type);
/* The one x-amz-checksum-* header with a value ("-N" allowed), as for CompleteMultipartUpload. HASH_NONE in
 * out->digest.alg: none. */
MUST_USE enum err checksum_from_headers(const struct http_req *req, struct checksum *out, struct str *message);

/* How a multipart object will be checksummed: x-amz-checksum-algorithm and -type. Neither given: HASH_NONE,
 * CHECKSUM_NONE (the service's choice: CRC64NVME, FULL_OBJECT). */
MUST_USE enum err checksum_plan(const struct http_req *req, enum hash_alg *alg, enum checksum_type *type,
                                struct str *message);
/* Which types S3 allows for an algorithm, and the one it takes when none is named. */
bool checksum_type_allowed(enum hash_alg alg, enum checksum_type type);
enum checksum_type checksum_type_default(enum hash_alg alg);

#endif
