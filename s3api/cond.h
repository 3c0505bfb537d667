/* cond.h - If-* headers of a request as the condition that a store evaluates.
 *
 * Shape    one function per family of headers; fills a struct cond completely.
 * Owns     strs borrow from the request or its arena.
 * Errors   none: a date that can't be parsed and an empty list of ETags count as absent (RFC 9110 section 13.1).
 * Thread   the request's loop.
 * Source   S3 API: GetObject, PutObject, CopyObject; RFC 9110 section 13.1.
 */
#ifndef SLUICE_S3API_COND_H
#define SLUICE_S3API_COND_H

#include "http/message.h"
#include "store/object.h"

/* If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since. */
void cond_parse_read(const struct http_req *req, struct cond *out);
/* If-Match and If-None-Match: S3 knows no dates for writes and deletes. */
void cond_parse_write(const struct http_req *req, struct cond *out);
/* The four x-amz-copy-source-if-* headers. */
void cond_parse_copy_source(const struct http_req *req, struct cond *out);
/* The four x-amz-rename-source-if-* headers. */
void cond_parse_rename_source(const struct http_req *req, struct cond *out);

#endif
