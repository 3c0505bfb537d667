/* objreq.h - what the object operations share: parameters that they check or refuse, details of their errors.
 *
 * Shape    small checks over a struct s3_request; each sets the message that names the parameter.
 * Errors   ERR_NOT_IMPLEMENTED, ERR_INVALID_ARGUMENT, ERR_INVALID_REQUEST, ERR_NO_SUCH_VERSION, ERR_MISSING_LENGTH.
 * Thread   the request's loop.
 * Source   S3 API reference, the pages of the object actions.
 */
#ifndef SLUICE_S3API_OBJREQ_H
#define SLUICE_S3API_OBJREQ_H

#include "s3api/checksum.h"
#include "s3api/request.h"
#include "store/object.h"

/* Headers that ask for something Sluice doesn't do (encryption, grants, appending): ERR_NOT_IMPLEMENTED,
 * so that nobody believes that it was done. x-amz-acl may say what is the case anyway. */
MUST_USE enum err objreq_refuse_unsupported(struct s3_request *r);
/* The partNumber of a query: 1..PARTS_MAX. `present` may be NULL when it must be there. */
MUST_USE enum err objreq_part_number(struct s3_request *r, bool *present, uint32_t *out);
/* A body without any length. */
MUST_USE enum err objreq_check_length(struct s3_request *r);
/* Adds to the error what S3 tells with it: Key, Condition. `cond` may be NULL. Returns e. */
enum err objreq_fail(struct s3_request *r, enum err e, struct str key, const struct cond *cond);
/* body_open() that closes itself with the request. ERR_ENTITY_TOO_LARGE when it says that it is longer than `max`. */
MUST_USE enum err objreq_body_open(struct s3_request *r, struct body *b, uint64_t max);
/* x-amz-copy-source and the bucket it names. ERR_NO_SUCH_BUCKET, ERR_ACCESS_DENIED
 * (x-amz-source-expected-bucket-owner). */
struct objreq_source {
    struct bucket bucket;
    struct str key;
    struct str version; /* as sent; p == NULL: what is current */
};
MUST_USE enum err objreq_copy_source(struct s3_request *r, struct objreq_source *out);
/* x-amz-expiration, when a lifecycle rule of the bucket says when the object ends. */
void objreq_reply_expiration(struct s3_request *r, const struct object_info *info);
/* The checksum of a part as header or element: without type and count. Nothing for HASH_NONE. */
void objreq_reply_digest(struct s3_request *r, const struct digest *d);
void objreq_xml_digest(struct buf *b, const struct digest *d);

#endif
