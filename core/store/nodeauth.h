/* nodeauth.h - how nodes of one cluster know each other's requests.
 *
 * Shape    HMAC-SHA256 with the cluster key over a version, method, target, epoch, time, payload mode and the digest of what describes
 *          the request, so that a signature is checked before a byte of the body is read. Times more than NODEAUTH_SKEW_S apart are refused.
 * Units    Unix milliseconds.
 * Errors   ERR_ACCESS_DENIED: wrong or no signature; ERR_TIME_SKEWED.
 * Thread   any.
 * Source   RFC 2104; fields are netstrings (D. J. Bernstein, 1997), so that none can pass for its neighbour.
 */
#ifndef SLUICE_STORE_NODEAUTH_H
#define SLUICE_STORE_NODEAUTH_H

#include "base/err.h"
#include "base/hash.h"

enum { NODEAUTH_SKEW_S = 300, NODEAUTH_HEX = 64, NODEAUTH_KEY_MIN = 16, NODEAUTH_KEY_MAX = 256 };

enum nodeauth_payload {
    NODEAUTH_DESCRIBED, /* the body is the description */
    NODEAUTH_STREAM,    /* the body is content behind a description; its digests are checked by the store */
};
struct nodeauth_claim {
    struct str method, target;
    uint64_t epoch;
    int64_t time_ms;
    enum nodeauth_payload payload;
    struct str digest; /* hex of the description's SHA-256 */
};
/* `key`: hmac_key() of the cluster key, made once. */
void nodeauth_sign(const struct hmac *key, const struct nodeauth_claim *claim, char hex[NODEAUTH_HEX]);
MUST_USE enum err nodeauth_check(const struct hmac *key, const struct nodeauth_claim *claim, struct str hex,
                                 int64_t now_ms);

#endif
