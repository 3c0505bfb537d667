/* encryption.h - what requests say about encryption at rest.
 *
 * Shape    x-amz-server-side-encryption: AES256 is kept with the object, and the store goes by that; a bucket can ask for it for all that is written
 *          to it. Keys of clients (SSE-C) and of key management services are refused.
 * Errors   ERR_NOT_IMPLEMENTED, ERR_INVALID_ENCRYPTION with a sentence.
 * Source   S3 API reference: PutObject, PutBucketEncryption; S3 User Guide, "Protecting data with server-side encryption".
 */
#ifndef SLUICE_S3API_ENCRYPTION_H
#define SLUICE_S3API_ENCRYPTION_H

#include "s3api/request.h"

/* Whether this server and the request's bucket can encrypt. */
enum err encryption_fits(struct s3_request *r);
/* Checks the request's header. ERR_OK: it is there and can be done. */
enum err encryption_check(struct s3_request *r, struct str value);
/* Keeps the request's header, which was checked, with the object. */
void encryption_collect(struct s3_request *r, struct object_info *info);
/* Says that what was written is encrypted; `info` (may be NULL) as it was asked for. */
void encryption_reply(struct s3_request *r, const struct object_info *info);

#endif
