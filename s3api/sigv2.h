/* sigv2.h - AWS Signature Version 2 over a request: Authorization header and query. boto3 still presigns with it by
 * default.
 *
 * Owns     nothing: strs borrow from the request and its arena.
 * Errors   as in auth.h.
 * Thread   any.
 * Source   S3 Developer Guide, "Signing and Authenticating REST Requests"; botocore auth.py HmacV1Auth,
 * HmacV1QueryAuth.
 */
#ifndef SLUICE_S3API_SIGV2_H
#define SLUICE_S3API_SIGV2_H

#include "s3api/auth.h"

struct sigv2 {
    bool presigned;
    struct str access_key, signature;
    struct str date; /* the line of the text to sign: Date, Expires, or empty when x-amz-date is there */
};

/* `value` of Authorization, which begins with "AWS ". */
MUST_USE enum err sigv2_parse_header(const struct auth_input *in, struct str value, struct sigv2 *out,
                                     struct auth_failure *why);
MUST_USE enum err sigv2_parse_query(const struct auth_input *in, struct arena *a, struct sigv2 *out,
                                    struct auth_failure *why);
MUST_USE enum err sigv2_check(const struct iam_key *signer, const struct auth_input *in, const struct sigv2 *s,
                              struct arena *a, struct auth_failure *why);

#endif
