/* sign_v4.h - requests to other S3 servers: their target and AWS Signature Version 4.
 *
 * Shape    pure. A path and parameters come as they are meant; the target comes out coded as it is signed.
 * Owns     results live in the given arena.
 * Thread   any.
 * Source   S3 API: Authenticating Requests: Using the Authorization Header. Tested against s3api/sigv4.c, which checks such signatures.
 */
#ifndef SLUICE_STORE_SIGN_V4_H
#define SLUICE_STORE_SIGN_V4_H

#include "base/arena.h"
#include "base/hash.h"
#include "http/message.h"

#define SIGN_V4_UNSIGNED STR("UNSIGNED-PAYLOAD")
enum { SIGN_V4_PARAMS_MAX = 12, SIGN_V4_HEADERS_MAX = 128 };

struct sign_v4_param {
    struct str name, value;
};
struct sign_v4_key {
    struct str access_key, secret_key, region;
};
struct sign_v4_req {
    struct str method, host;
    struct str path; /* not coded: "/bucket/any key" */
    const struct sign_v4_param *params;
    size_t param_count;
    const struct http_header *headers; /* all are signed; lower-case names, none of those that are added */
    size_t header_count;
    struct str payload; /* hex SHA-256 of the body, or SIGN_V4_UNSIGNED */
    int64_t time_s;
};
struct sign_v4_res {
    struct str target;
    const struct http_header *headers; /* the given ones, then x-amz-date, x-amz-content-sha256 and authorization */
    size_t header_count;
};
/* An empty access key: nothing is signed. */
void sign_v4(struct arena *a, const struct sign_v4_key *key, const struct sign_v4_req *req, struct sign_v4_res *res);

#endif
