/* sigv4.h - AWS Signature Version 4 over a request: Authorization header, query, POST policy.
 *
 * Shape    sigv4_parse_*() -> sigv4_check(); auth.c decides which form a request has and what protects its body.
 * Owns     nothing: strs borrow from the request and its arena.
 * Errors   as in auth.h.
 * Thread   any.
 * Source   S3 API: Authenticating Requests: Using the Authorization Header; Using Query Parameters. The canonical URI
 * is decoded once and encoded again, never normalised.
 */
#ifndef SLUICE_S3API_SIGV4_H
#define SLUICE_S3API_SIGV4_H

#include "s3api/auth.h"

enum {
    SIGV4_SIGNATURE_LEN = 64,
    SIGV4_SIGNED_MAX = 128, /* names in SignedHeaders */
    SIGV4_REGION_MAX = 64,
};

struct sigv4 {
    bool presigned;
    struct str access_key, day, region, service;
    struct str scope; /* "day/region/s3/aws4_request" */
    struct str signed_headers, signature;
    struct str date;                 /* as sent; STR_NONE: none was */
    char timestamp[CLOCK_BASIC_LEN]; /* the same as it is signed */
    int64_t time_s;
    uint64_t expires_s; /* presigned */
};

/* `value` of Authorization, which begins with "AWS4-HMAC-SHA256"; the date from the headers. */
MUST_USE enum err sigv4_parse_header(const struct auth_input *in, struct str value, struct arena *a, struct sigv4 *out,
                                     struct auth_failure *why);
MUST_USE enum err sigv4_parse_query(const struct auth_input *in, struct arena *a, struct sigv4 *out,
                                    struct auth_failure *why);
/* Access key, day, region and scope of "KEY/20130524/us-east-1/s3/aws4_request". False: not of that form; service and
 * terminator are part of the form. */
MUST_USE bool sigv4_parse_credential(struct str credential, struct str service, struct sigv4 *out);
/* `payload` stands in the last line of the canonical request. On success *key is the scope's signing key. */
MUST_USE enum err sigv4_check(struct creds *creds, const struct iam_key *signer, const struct auth_input *in,
                              const struct sigv4 *s, struct str payload, struct arena *a, struct hmac *key,
                              struct auth_failure *why);

#endif
