/* cred.h - access keys: who may sign.
 *
 * Shape    a small table, read by every request, replaced as a whole.
 * Owns     copies of keys and secrets.
 * Thread   any; creds_find() takes a shared lock for the copy only.
 */
#ifndef SLUICE_S3API_CRED_H
#define SLUICE_S3API_CRED_H

#include "base/err.h"
#include "base/hash.h"

enum { ACCESS_KEY_MAX = 128, SECRET_KEY_MAX = 128 };

struct cred {
    char access_key[ACCESS_KEY_MAX];
    uint8_t access_key_n;
    char secret[SECRET_KEY_MAX];
    uint8_t secret_n;
};

struct creds;
struct creds *creds_new(void);
void creds_free(struct creds *);
/* Adds or replaces. ERR_INVALID_ARGUMENT: empty or too long. */
MUST_USE enum err creds_put(struct creds *, struct str access_key, struct str secret);
/* False: unknown key. */
bool creds_find(struct creds *, struct str access_key, struct cred *out);
/* HMAC state of the SigV4 signing key for (key, day "20250101", region, "s3"), cached. False: unknown access key. */
bool creds_signing_key(struct creds *, struct str access_key, struct str day, struct str region, struct hmac *out);
/* 64 hex digits that stand for the owner of the storage in listings, stable for a key. */
void creds_owner_id(struct str access_key, char out[64]);

#endif
