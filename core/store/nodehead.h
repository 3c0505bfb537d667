/* nodehead.h - the head of a request from node to node: what proves who asks, and by which map.
 *
 * Shape    headers sluice-epoch, sluice-date (ms), sluice-digest (of the request's description), sluice-auth (nodeauth.h), and sluice-id, the
 *          client's request id, if there is one.
 * Owns     what is signed lives in the arena.
 * Errors   ERR_ACCESS_DENIED: unsigned, or wrongly; ERR_TIME_SKEWED.
 * Thread   any.
 */
#ifndef SLUICE_STORE_NODEHEAD_H
#define SLUICE_STORE_NODEHEAD_H

#include "http/message.h"
#include "store/nodeauth.h"

enum { NODEHEAD_HEADERS = 5, NODEHEAD_DIGEST = 64 };

/* The digest of a description, in hex. */
void nodehead_digest(struct str description, char hex[NODEHEAD_DIGEST]);
/* Signs `claim` as of now and puts the headers into `out`; returns how many. claim->digest is not copied. */
size_t nodehead_sign(const struct hmac *key, struct nodeauth_claim claim, struct arena *arena,
                     struct http_header out[NODEHEAD_HEADERS]);
/* What a request claims, when it is signed with the key. Takes its id for the arena of the request. */
MUST_USE enum err nodehead_check(const struct hmac *key, const struct http_req *req, enum nodeauth_payload payload,
                                 struct nodeauth_claim *claim);

#endif
