/* token.h - JSON Web Tokens: who somebody is, signed, until when.
 *
 * Shape    three base64url texts with dots between. The algorithm is given by the key that is configured, never by the token: a token that
 *          names another one is refused.
 * Units    Unix seconds.
 * Owns     results live in the arena.
 * Errors   ERR_ACCESS_DENIED with a sentence that tells nothing secret.
 * Thread   any; public keys are read-only once made.
 * Source   RFC 7515, 7518 (HS256, RS256, ES256), 7519; RFC 8725.
 */
#ifndef SLUICE_BASE_TOKEN_H
#define SLUICE_BASE_TOKEN_H

#include "base/arena.h"
#include "base/doc.h"
#include "base/err.h"

enum { TOKEN_MAX = 16384, TOKEN_WHY_MAX = 128, TOKEN_SKEW_S = 60, TOKEN_KEYS_MAX = 16 };

/* Public keys of others whose tokens are believed. */
struct token_public;
/* From PEM texts: RSA (RS256; at least 2048 bits) and P-256 (ES256). ERR_INVALID_ARGUMENT with a sentence. */
MUST_USE enum err token_public_new(struct str pem, struct token_public **out, char why[TOKEN_WHY_MAX]);
/* The same from a file; ERR_NOT_FOUND when it can't be read. BLOCKING. */
MUST_USE enum err token_public_open(const char *path, struct token_public **out, char why[TOKEN_WHY_MAX]);
/* From a JSON Web Key Set (RFC 7517): keys of other kinds, and for other uses, are left out. ERR_INVALID_ARGUMENT: none is left. */
MUST_USE enum err token_public_jwks(struct str json, struct token_public **out, char why[TOKEN_WHY_MAX]);
/* Whether the token names (`kid`) a key of that set, or none at all. */
bool token_public_knows(const struct token_public *p, struct arena *a, struct str token);
void token_public_free(struct token_public *p); /* NULL is legal */

struct token_keys {
    struct str hs256;                       /* empty: none are accepted */
    const struct token_public *public_keys; /* NULL: none */
    struct str issuer, audience; /* what tokens of public keys must say in `iss` and `aud`; empty: anything */
};
struct token {
    struct str subject;
    int64_t expires_s;
    bool own;   /* HS256: made with the owner's secret */
    bool admin; /* it says so */
    const struct doc *claims;
};
/* `exp` must be there and not be past; `nbf` must not be to come. */
MUST_USE enum err token_read(struct arena *a, struct str text, const struct token_keys *keys, int64_t now_s,
                             struct token *out, char why[TOKEN_WHY_MAX]);
/* An HS256 token. */
struct str token_make(struct arena *a, struct str key, struct str subject, int64_t now_s, int64_t expires_s);
/* The HS256 key that belongs to a secret access key: who has the secret can make tokens, and tokens don't tell the secret. */
void token_key_of(struct str secret, uint8_t out[32]);

#endif
