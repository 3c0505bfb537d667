/* signing.h - a signing key from a key's name, for tests. */
#ifndef SLUICE_TEST_SIGNING_H
#define SLUICE_TEST_SIGNING_H

#include "s3api/cred.h"

/* False: an unknown key. */
static inline bool signing_secret(struct creds *c, struct str access_key, struct iam_key *out)
{
    struct arena a = {0};
    enum err e = creds_find(c, &a, access_key, STR_NONE, 0, out);

    arena_release(&a);
    return e == ERR_OK;
}

static inline bool signing_key(struct creds *c, struct str access_key, struct str day, struct str region,
                               struct hmac *out)
{
    struct iam_key k;

    if (!signing_secret(c, access_key, &k))
        return false;
    creds_signing_key(c, &k, &(struct sigv4_scope){access_key, day, region, STR("s3")}, out);
    return true;
}

#endif
