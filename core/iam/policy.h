/* policy.h - AWS policy documents: read once, then asked for each request.
 *
 * Shape    policy_read() makes a tree of statements; policy_evaluate() says what one policy thinks of a request: nothing, allow, deny. Who asks
 *          several takes the largest verdict (a deny wins) and treats POLICY_SILENT as a refusal.
 * Units    iam_request.now_s: Unix seconds.
 * Owns     a policy lives in the arena it was read into; a request borrows all it points to.
 * Errors   ERR_MALFORMED_POLICY, with a sentence in `why`.
 * Thread   any; a policy is read-only once read.
 * Source   IAM User Guide, "Grammar of the IAM JSON policy language", "Condition operators", "Policy evaluation logic"; Amazon S3 User Guide,
 *          "The meaning of public".
 *
 * Keys of conditions and variables are written small up to a slash, and as they are behind it: "aws:sourceip",
 * "s3:existingobjecttag/Team". These are answered here, from the principal and now_s, and never looked up, so that nothing a client sends can
 * stand for them: aws:username, aws:userid, aws:principalarn, aws:principalaccount, aws:principaltype, aws:currenttime, aws:epochtime.
 */
#ifndef SLUICE_IAM_POLICY_H
#define SLUICE_IAM_POLICY_H

#include "base/arena.h"
#include "base/err.h"

enum {
    POLICY_TEXT_MAX = 20 << 10, /* of a bucket's policy; others have smaller limits of their own */
    POLICY_STATEMENTS_MAX = 500,
    POLICY_WHY_MAX = 256
};

enum policy_kind {
    POLICY_IDENTITY, /* of users, groups, roles, sessions: no principals, resources required */
    POLICY_RESOURCE, /* of a bucket: principals and resources required */
    POLICY_TRUST     /* who may assume a role: principals, no resources */
};

struct policy;
MUST_USE enum err policy_read(struct arena *a, struct str json, enum policy_kind kind, struct policy **out,
                              char why[POLICY_WHY_MAX]);
/* Whether each action is one of the service ("s3") and each resource can be `root` ("arn:aws:s3:::bucket") or something below it. */
MUST_USE enum err policy_within(const struct policy *p, struct str service, struct str root, char why[POLICY_WHY_MAX]);

/* The account that everybody here belongs to. There is one, so what it is called says nothing. */
#define IAM_ACCOUNT     "000000000000"
#define IAM_ACCOUNT_ARN "arn:aws:iam::" IAM_ACCOUNT ":root"

enum iam_principal_kind {
    IAM_ANONYMOUS, /* only "*" means it */
    IAM_OWNER,     /* the account itself: its root credentials */
    IAM_USER,
    IAM_SESSION,   /* of an assumed role */
    IAM_FEDERATED, /* known to an identity provider only: for trust policies */
    IAM_SERVICE
};
struct iam_principal {
    enum iam_principal_kind kind;
    struct str account; /* 12 digits; empty: none */
    struct str
        arn; /* "arn:aws:iam::<account>:root", "...:user/<path><name>"; "arn:aws:sts::<account>:assumed-role/<role>/<session>";
                         * IAM_FEDERATED: of the provider, or its name; IAM_SERVICE: "ec2.amazonaws.com" */
    struct str role_arn; /* IAM_SESSION: "arn:aws:iam::<account>:role/<path><name>" */
    struct str name;     /* aws:username; empty: that key is not there */
    struct str id;       /* aws:userid; of a session "<role's id>:<session>" */
    struct str canonical_id;
};

struct iam_values {
    const struct str *items;
    size_t n;
};
/* The values of a key; false: the request has none. They stay until the evaluation is over. */
typedef bool iam_lookup_fn(void *arg, struct str key, struct iam_values *out);

struct iam_request {
    const struct iam_principal *principal;
    struct str action;   /* "s3:GetObject" */
    struct str resource; /* "arn:aws:s3:::bucket/key"; not looked at by trust policies */
    int64_t now_s;
    iam_lookup_fn *lookup; /* NULL: no other keys */
    void *arg;
};

/* In this order: of several the largest counts. */
enum policy_verdict { POLICY_SILENT, POLICY_ALLOW, POLICY_DENY };
enum policy_verdict policy_evaluate(const struct policy *p, const struct iam_request *req);

/* ---- for who checks a document ---- */

/* A statement, by its number below policy_count(): whether it is about an action, by any of its patterns; about what `root` means alone, or about
 * something below it; asks for a key that begins so; says what it is not about. */
unsigned policy_count(const struct policy *p);
bool policy_names(const struct policy *p, unsigned statement, struct str action);
bool policy_means(const struct policy *p, unsigned statement, struct str root, bool below);
bool policy_statement_asks(const struct policy *p, unsigned statement, struct str key_prefix);
bool policy_excepts(const struct policy *p, unsigned statement);
/* Whether a condition or variable needs a key that begins so (small letters): "s3:existingobjecttag/". */
bool policy_asks(const struct policy *p, struct str key_prefix);
/* Whether `knows` every key that it asks for; else *unknown is one. */
bool policy_keys_known(const struct policy *p, bool (*knows)(struct str key), struct str *unknown);
/* S3's meaning: allows everybody something, without a condition that only fixed senders fulfil. */
bool policy_is_public(const struct policy *p);

#endif
