/* name.h - names of buckets and keys, and where they stand in a request's target.
 *
 * Shape    pure functions over the raw path and Host.
 * Owns     results are in the arena or part of the input.
 * Errors   ERR_INVALID_BUCKET_NAME, ERR_KEY_TOO_LONG, ERR_INVALID_URI, ERR_INVALID_ARGUMENT.
 * Thread   any.
 * Source   S3 User Guide, "General purpose bucket naming rules", "Naming Amazon S3 objects", "Virtual hosting of
 *          buckets".
 */
#ifndef SLUICE_S3API_NAME_H
#define SLUICE_S3API_NAME_H

#include "base/arena.h"
#include "base/err.h"
#include "store/object.h"

enum { BUCKET_NAME_MIN = 3, BUCKET_NAME_MAX = 63 };

/* 3..63 of a-z 0-9 . -, letter or digit at both ends and around dots, no IP address, no reserved affix. */
bool name_is_bucket(struct str name);
/* 1..KEY_MAX bytes of UTF-8 without NUL (XML can't carry one). Every other byte and every segment ("", ".", "..") is
 * legal. */
MUST_USE enum err name_check_key(struct str key);

struct target {
    struct str bucket; /* empty at service level */
    struct str key;    /* decoded; empty below object level */
    bool from_host;    /* virtual-host style */
};
/* `path` and `host` as in struct http_req. In path style "/s3" and "/s3/..." stand for "/" and "/...": two letters
 * can't be a bucket. Names are not checked, only decoded, once: ERR_INVALID_URI. */
MUST_USE enum err name_target(struct str path, struct str host, const struct str *domains, size_t domain_count,
                              struct arena *a, struct target *out);

#endif
