/* copy_source.h - x-amz-copy-source: which object to copy from.
 *
 * Shape    pure parser over the header's value.
 * Owns     results live in the arena or in the value.
 * Errors   ERR_INVALID_ARGUMENT, ERR_KEY_TOO_LONG, ERR_NOT_IMPLEMENTED (ARNs).
 * Thread   any.
 * Source   S3 API: CopyObject, UploadPartCopy.
 */
#ifndef SLUICE_S3API_COPY_SOURCE_H
#define SLUICE_S3API_COPY_SOURCE_H

#include "base/arena.h"
#include "base/err.h"

struct copy_source {
    struct str bucket, key; /* decoded */
    struct str version;     /* as sent; p == NULL: none */
};

/* "[/]bucket/key[?versionId=...]", percent-decoded once; "+" is a plus. */
MUST_USE enum err copy_source_parse(struct arena *a, struct str value, struct copy_source *out);

#endif
