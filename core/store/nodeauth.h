/* nodeauth.h - how nodes of one cluster know each other's requests.
 *
 * Shape    HMAC-SHA256 with the cluster key over a version, method, target, epoch, time, payload mode and the digest of what describes the
 *          request (the wire header, and the body where that is the description). Times more than NODEAUTH_SKEW_S apart are refused.
 * Units    Unix milliseconds.
 * Errors   ERR_ACCESS_DENIED: wrong or no signature; ERR_TIME_SKEWED.
 * Thread   any.
 */
#ifndef SLUICE_STORE_NODEAUTH_H
#define SLUICE_STORE_NODEAUTH_H

#include "base/err.h"
#include "base/str.h"

enum { NODEAUTH_SKEW_S = 300, NODEAUTH_HEX = 64, NODEAUTH_KEY_MIN = 16, NODEAUTH_KEY_MAX = 256 };

enum nodeauth_payload {
    NODEAUTH_DESCRIBED, /* the body is the description and covered */
    NODEAUTH_STREAM,    /* the body is a stream behind a signed description; its digests are checked by the store */
};
struct nodeauth_claim {
    struct str method, target;
    uint64_t epoch;
    int64_t time_ms;
    enum nodeauth_payload payload;
    struct str description; /* bytes */
};
void nodeauth_sign(struct str cluster_key, const struct nodeauth_claim *claim, char hex[NODEAUTH_HEX]);
MUST_USE enum err nodeauth_check(struct str cluster_key, const struct nodeauth_claim *claim, struct str hex,
                                 int64_t now_ms);

#endif
