/* oidc.h - an identity provider whose tokens let people assume roles.
 *
 * Shape    the provider's key set comes from a file, once, or from an address: who finds that oidc_wants() fetches it and hands it to
 *          oidc_take(). oidc_read() believes tokens by what is there.
 * Units    Unix seconds.
 * Errors   ERR_INVALID_IDENTITY_TOKEN, with a sentence.
 * Thread   any.
 * Source   OpenID Connect Core 1.0; RFC 7517; STS API reference, AssumeRoleWithWebIdentity.
 */
#ifndef SLUICE_IAM_OIDC_H
#define SLUICE_IAM_OIDC_H

#include "base/token.h"

enum { OIDC_SET_MAX = 256 << 10, OIDC_FRESH_S = 3600, OIDC_AGAIN_S = 30 };

struct oidc_conf {
    struct str issuer;   /* "https://login.example.com/realm" */
    struct str audience; /* that tokens must be meant for */
    struct str keys;     /* "https://...", or a file */
};

struct oidc;
/* `conf` is copied. BLOCKING: reads the file. */
MUST_USE enum err oidc_open(const struct oidc_conf *conf, struct oidc **out, char why[TOKEN_WHY_MAX]);
void oidc_close(struct oidc *o); /* NULL is legal */
/* The issuer without "https://": how policies and ARNs call it. */
struct str oidc_name(const struct oidc *o);
/* An address to fetch now, because there are no keys yet, or they are old, or the token names another: for one asker at a time, and not
 * again soon. NULL: nothing is to be fetched. */
const char *oidc_wants(struct oidc *o, struct arena *a, struct str token, int64_t now_s);
MUST_USE enum err oidc_take(struct oidc *o, struct str json, int64_t now_s, char why[TOKEN_WHY_MAX]);
MUST_USE enum err oidc_read(struct oidc *o, struct arena *a, struct str token, int64_t now_s, struct token *out,
                            char why[TOKEN_WHY_MAX]);

#endif
