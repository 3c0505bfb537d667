/* lock.h - S3 Object Lock: what keeps a version from being deleted. The store decides that where it deletes (version_is_locked());
 * here is how locks are asked for.
 *
 * Shape    a version's mode, date and legal hold are kept headers of it; the default of a bucket is its document "object-lock".
 * Errors   ERR_INVALID_REQUEST, ERR_INVALID_ARGUMENT, ERR_MALFORMED_XML with a message; ERR_ACCESS_DENIED.
 * Thread   the request's loop.
 * Source   S3 API: PutObject (x-amz-object-lock-*), PutObjectRetention, PutObjectLockConfiguration; User Guide, "How S3 Object Lock works".
 */
#ifndef SLUICE_S3API_LOCK_H
#define SLUICE_S3API_LOCK_H

#include "s3api/request.h"
#include "s3api/settings.h"

/* Takes x-amz-object-lock-* of a write, or the bucket's default retention, into info->attrs, which others have filled. */
MUST_USE enum err lock_collect(struct s3_request *r, struct object_info *info);

/* Of the document: the default retention. */
struct lock_default {
    struct str mode; /* empty: none */
    int64_t seconds;
};
/* A setting_read reader. */
enum err lock_setting_read(struct setting_read *s);

#endif
