/* attrs.h - the headers of a write that are kept with the object and come back with every GET.
 *
 * Shape    request headers -> struct attr list and tags of an object_info.
 * Owns     results live in the request's arena or are part of the request.
 * Errors   ERR_METADATA_TOO_LARGE, ERR_INVALID_STORAGE_CLASS, ERR_INVALID_TAG, ERR_INVALID_ARGUMENT (redirect).
 * Thread   the request's loop.
 * Source   S3 API: PutObject, CreateMultipartUpload, CopyObject; User Guide, "Working with object metadata".
 */
#ifndef SLUICE_S3API_ATTRS_H
#define SLUICE_S3API_ATTRS_H

#include "http/message.h"
#include "store/object.h"

/* Fills info->attrs and attr_count: Content-Type (default "binary/octet-stream") first, then what else was sent. Values
 * are kept byte by byte; user metadata under lower-case names, repeated names joined by ",". Content-Encoding loses its
 * "aws-chunked" tokens: they describe the upload, not the object. The storage class STANDARD is not kept, it is the
 * default. */
MUST_USE enum err attrs_collect(const struct http_req *req, struct object_info *info);
/* Not more than an object can keep, all together. */
MUST_USE enum err attrs_fit(const struct object_info *info);
/* Fills info->tags from x-amz-tagging; empty without the header. */
MUST_USE enum err attrs_collect_tags(const struct http_req *req, struct object_info *info);

#endif
