/* session.h - temporary credentials that nobody keeps: all about them is sealed into their token.
 *
 * Shape    session_make() -> access key ("ASIA..."), secret, token; session_open() of what comes back.
 * Units    Unix seconds.
 * Owns     results live in the arena.
 * Errors   ERR_INVALID_TOKEN, ERR_EXPIRED_TOKEN; ERR_IAM_NO_MASTER_KEY; ERR_TOO_LARGE.
 * Thread   any.
 * Source   AWS STS API reference, "Credentials".
 */
#ifndef SLUICE_IAM_SESSION_H
#define SLUICE_IAM_SESSION_H

#include "iam/idents.h"

enum { SESSION_SECRET_LEN = 40, SESSION_POLICY_MAX = 2048, SESSION_TOKEN_MAX = 7168 };

struct session {
    struct str access_key, secret, token;
    int64_t expires_s;
    struct iam_who who; /* its scopes only when opened */
};
struct session_make_req {
    const struct iam_who *who;           /* kind, name, id, session */
    struct str policies[IAM_SCOPES_MAX]; /* texts that take away, read before; empty: none */
    int64_t expires_s;
};
MUST_USE enum err session_make(struct idents *, struct arena *a, const struct session_make_req *req,
                               struct session *out);
MUST_USE enum err session_open(struct idents *, struct arena *a, struct str token, int64_t now_s, struct session *out);

#endif
