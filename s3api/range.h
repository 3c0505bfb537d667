/* range.h - the Range header and x-amz-copy-source-range.
 *
 * Shape    pure parsers over a header's value; range_resolve() of store/object.h applies the result to a size.
 * Errors   a Range that can't be understood is as good as none (RFC 9110 section 14.2); a copy's must be exact.
 * Thread   any.
 * Source   RFC 9110 section 14.1.1; S3 API: GetObject, UploadPartCopy.
 */
#ifndef SLUICE_S3API_RANGE_H
#define SLUICE_S3API_RANGE_H

#include "store/object.h"

/* "bytes=a-b", "bytes=a-" or "bytes=-n"; RANGE_ALL for everything else, several ranges included. Numbers too large for
 * 63 bits are taken as the largest. */
void range_parse(struct str value, struct range *out);
/* Only "bytes=a-b" with a <= b, else ERR_INVALID_ARGUMENT. */
MUST_USE enum err range_parse_copy(struct str value, struct range *out);

#endif
