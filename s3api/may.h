/* may.h - whether who sent a request is allowed what it asks for.
 *
 * Shape    s3_may_route() asks once for the permission of the route (actions.def); operations that touch more than the route's
 *          bucket and key ask s3_may() for each thing: sources of copies, the keys of DeleteObjects, what headers ask for.
 *          The owner may do what no policy of the bucket denies; everybody else what one allows and none denies: the bucket's, or their
 *          own. Keys and sessions with a scope may only do what that allows, too.
 * Errors   ERR_ACCESS_DENIED.
 * Thread   the request's loop; answers without waiting, but for may_look.
 * Source   AWS Service Authorization Reference, Amazon S3; S3 User Guide, "How Amazon S3 authorizes a request".
 */
#ifndef SLUICE_S3API_MAY_H
#define SLUICE_S3API_MAY_H

#include "s3api/request.h"

/* Who sent it, from r->who. ERR_INVALID_ACCESS_KEY: was removed a moment ago. */
MUST_USE enum err s3_principal(struct s3_request *r);
/* Policies may want to know the tags of objects first: then this step comes before request_may. */
bool may_wants_look(struct s3_request *r);
step_fn may_look, request_may;

/* After the bucket was found and before the first step of the route. */
MUST_USE enum err s3_may_route(struct s3_request *r);
/* `action` as in policies: "s3:GetObject". An empty `key` means the bucket itself; a NULL bucket no bucket at all. */
MUST_USE enum err s3_may(struct s3_request *r, struct str action, const struct bucket *b, struct str key);
/* The same of one version; p == NULL: none is named. */
MUST_USE enum err s3_may_version(struct s3_request *r, struct str action, const struct bucket *b, struct str key,
                                 struct str version);
/* S3 does not tell who may not list a bucket that it has no such key: another error then. */
enum err s3_may_hide(struct s3_request *r, enum err e);
/* What the body says of tags and locks is known only later: the operation asks again then, with r->said filled. */
bool s3_may_later(struct s3_request *r);

/* ---- what policies ask requests (may_keys.c) ---- */

struct may_ask {
    struct s3_request *r;
    struct str action;
    const struct bucket *bucket;
    struct str key, version;
};
bool may_lookup(void *ask, struct str key, struct iam_values *out);
/* Whether an action's object has tags that policies can ask for. */
bool may_has_tags(struct str action);
/* s3:* keys that are none: policies with them are refused. */
bool may_knows_key(struct str key);

/* ---- the documents (op_policy.c, setting_access.c) ---- */

struct access_block {
    bool block_acls, ignore_acls, block_policy, restrict_buckets;
};
/* All false where there is none. */
struct access_block access_block_of(struct s3_request *r, const struct bucket *b);
/* NULL without one; *broken: there is one that can't be read. */
const struct policy *bucket_policy_of(struct s3_request *r, const struct bucket *b, bool *broken);
/* A document for `bucket`, checked. ERR_MALFORMED_POLICY. */
MUST_USE enum err bucket_policy_read(struct arena *a, struct str text, struct str bucket, const struct policy **out,
                                     char why[POLICY_WHY_MAX]);

#endif
