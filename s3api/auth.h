/* auth.h - who sends a request: finds, checks and names the signature, and says how the body is protected.
 *
 * Shape    pure: no waiting, no allocation besides the request's arena.
 * Owns     nothing: results borrow from the request and its arena.
 * Errors   ERR_SIGNATURE, ERR_INVALID_ACCESS_KEY, ERR_TIME_SKEWED, ERR_REQUEST_EXPIRED, ERR_AUTH_HEADER_MALFORMED,
 *          ERR_AUTH_QUERY, ERR_HEADERS_NOT_SIGNED, ERR_ACCESS_DENIED, ERR_INVALID_TOKEN, ERR_EXPIRED_TOKEN, ERR_INVALID_ARGUMENT,
 *          ERR_INVALID_REQUEST, ERR_INVALID_URI, ERR_NOT_IMPLEMENTED (SigV4A).
 * Thread   any.
 * Source   S3 API: Authenticating Requests (Signature Version 4, Signature Version 2).
 */
#ifndef SLUICE_S3API_AUTH_H
#define SLUICE_S3API_AUTH_H

#include "base/clock.h"
#include "http/message.h"
#include "http/url.h"
#include "s3api/cred.h"

enum auth_kind { AUTH_ANONYMOUS, AUTH_V4_HEADER, AUTH_V4_QUERY, AUTH_V2_HEADER, AUTH_V2_QUERY };

/* What x-amz-content-sha256 says about the body. */
enum payload_mode {
    PAYLOAD_UNSIGNED,              /* raw body, nothing to compare */
    PAYLOAD_DIGEST,                /* raw body with this SHA-256 */
    PAYLOAD_SIGNED_CHUNKS,         /* STREAMING-AWS4-HMAC-SHA256-PAYLOAD */
    PAYLOAD_SIGNED_CHUNKS_TRAILER, /* STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER */
    PAYLOAD_UNSIGNED_TRAILER,      /* STREAMING-UNSIGNED-PAYLOAD-TRAILER */
};

/* What the signatures of chunks and trailers are chained to. */
struct chunk_signing {
    bool verify;     /* false only for requests that auth_skip() let through */
    struct hmac key; /* signing key of the scope */
    char seed[64];   /* signature of the head, hex */
    char timestamp[CLOCK_BASIC_LEN];
    struct str scope; /* "20130524/us-east-1/s3/aws4_request" */
};

struct identity {
    enum auth_kind kind;
    struct str access_key; /* empty: anonymous */
    struct iam_who iam;    /* whose key that is, unless anonymous */
    enum payload_mode payload;
    uint8_t payload_sha256[32];  /* PAYLOAD_DIGEST */
    struct chunk_signing chunks; /* PAYLOAD_SIGNED_* */
};

struct auth_input {
    const struct http_req *req;
    struct str bucket_from_host;     /* virtual-host style: the bucket; empty for path style */
    const struct query_param *query; /* of req->query, decoded */
    size_t query_count;
    struct str region;          /* the only region a scope may name; empty = any */
    struct str service;         /* that a scope must name; empty = "s3" */
    const uint8_t *body_sha256; /* of services that read it first, as their clients do not tell; NULL: as S3 does */
    int64_t now_s;
};

/* For the error document. Empty strs: leave the element out. */
struct auth_failure {
    struct str message;                                                  /* replaces the text of err.def */
    struct str access_key, string_to_sign, canonical_request, signature; /* AWSAccessKeyId, StringToSign,
                                                                            CanonicalRequest, SignatureProvided */
    struct str region;                                                   /* Region: what the scope should say */
    struct str headers_not_signed;                                       /* HeadersNotSigned: "x-amz-a, x-amz-b" */
    struct str request_time;                                             /* RequestTime as sent */
    struct str expires;                                                  /* Expires, ISO 8601 */
    struct str server_time;                                              /* ServerTime, ISO 8601 */
    uint32_t skew_max_ms;                                                /* MaxAllowedSkewMilliseconds; 0: leave out */
};

enum { AUTH_SKEW_MAX_S = 15 * 60, AUTH_EXPIRES_MAX_S = 7 * 24 * 3600 };

/* ERR_OK with kind AUTH_ANONYMOUS when the request carries no credentials of any form. */
MUST_USE enum err auth_check(struct creds *creds, const struct auth_input *in, struct arena *a, struct identity *out,
                             struct auth_failure *why);
/* For servers that serve everybody: checks no signature, takes only the payload mode and, if there is one, the access
 * key's name. */
MUST_USE enum err auth_skip(const struct auth_input *in, struct arena *a, struct identity *out,
                            struct auth_failure *why);

/* A signature over a POST form's policy (still in base64): exactly one of the two sets. Names as in the form. */
struct auth_post {
    struct str policy;
    struct str algorithm, credential, date, signature; /* x-amz-algorithm, -credential, -date, -signature */
    struct str v2_access_key, v2_signature;            /* AWSAccessKeyId, signature */
    struct str token;                                  /* x-amz-security-token */
    int64_t now_s;
};
MUST_USE enum err auth_check_post(struct creds *creds, const struct auth_post *form, struct str region, struct arena *a,
                                  struct identity *out, struct auth_failure *why);

#endif
