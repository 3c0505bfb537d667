/* cred.h - access keys: who may sign.
 *
 * Shape    a small table of the owner's keys, then the keys of identities, then what tokens of sessions say; signing keys are cached.
 * Owns     copies of keys and secrets.
 * Errors   ERR_INVALID_ACCESS_KEY; of tokens ERR_INVALID_TOKEN, ERR_EXPIRED_TOKEN.
 * Thread   any.
 */
#ifndef SLUICE_S3API_CRED_H
#define SLUICE_S3API_CRED_H

#include "base/err.h"
#include "base/hash.h"
#include "iam/idents.h"

enum { ACCESS_KEY_MAX = 128, SECRET_KEY_MAX = IDENT_SECRET_MAX };

struct creds;
struct creds *creds_new(void);
void creds_free(struct creds *);
/* Adds or replaces a key of the owner. ERR_INVALID_ARGUMENT: empty or too long. Before loops run. */
MUST_USE enum err creds_put(struct creds *, struct str access_key, struct str secret);
/* Whose keys and sessions are known besides. Before loops run; outlived by `idents`. */
void creds_follow(struct creds *, struct idents *idents);
/* NULL: there are none. */
struct idents *creds_idents(const struct creds *);
/* The owner's first key, by which the account is told from others; empty: none. */
struct str creds_account(const struct creds *);

/* Who signs with a key; `token`: of a session, empty: none. Texts live in the arena. */
MUST_USE enum err creds_find(struct creds *, struct arena *a, struct str access_key, struct str token, int64_t now_s,
                             struct iam_key *out);
/* HMAC state of the SigV4 signing key for (key, day "20250101", region, service "s3"), cached. */
struct sigv4_scope {
    struct str access_key, day, region, service;
};
void creds_signing_key(struct creds *, const struct iam_key *key, const struct sigv4_scope *scope, struct hmac *out);
/* 64 hex digits that stand for the owner of the storage in listings, stable for a key. */
void creds_owner_id(struct str access_key, char out[64]);

#endif
