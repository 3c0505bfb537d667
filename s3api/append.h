/* append.h - PutObject at an offset: x-amz-write-offset-bytes.
 *
 * Shape    put_object() goes on here when it is wanted.
 * Errors   ERR_WRITE_OFFSET: the object has another size, or is not there; ERR_CONFLICT: it was replaced by one of the same size meanwhile;
 *          ERR_INVALID_REQUEST: headers that would change what the object has; what PutObject fails with.
 * Thread   the request's loop.
 * Source   S3 API: PutObject; User Guide, "Appending data to objects in directory buckets".
 */
#ifndef SLUICE_S3API_APPEND_H
#define SLUICE_S3API_APPEND_H

#include "s3api/request.h"

bool append_wanted(const struct s3_request *r);
step_fn append_object;

#endif
