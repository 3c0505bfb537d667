/* ident.h - one user, group, role, managed policy or access key as it is kept: a JSON record.
 *
 * Shape    one struct for all kinds, as most of it is lists of names with texts; a kind uses what its comment says.
 * Units    Unix seconds.
 * Owns     all of it lives in the arena it was read into.
 * Errors   ERR_CORRUPT: not a record, logged by who reads it. ERR_IAM_LIMIT: a list is full.
 * Thread   any; read-only once shared.
 * Source   IAM API reference, "Data types"; IAM User Guide, "IAM and AWS STS quotas".
 */
#ifndef SLUICE_IAM_IDENT_H
#define SLUICE_IAM_IDENT_H

#include "base/buf.h"
#include "base/vault.h"
#include "iam/policy.h"

enum ident_kind { IDENT_USER, IDENT_GROUP, IDENT_ROLE, IDENT_POLICY, IDENT_KEY, IDENT_KINDS };
enum {
    IDENT_NAME_MAX = 128,
    IDENT_PATH_MAX = 512,
    IDENT_ID_MAX = 32,
    IDENT_TEXT_MAX = 10 << 10, /* of a policy */
    IDENT_INLINE_MAX = 20,
    IDENT_ATTACHED_MAX = 20,
    IDENT_GROUPS_MAX = 20,
    IDENT_TAGS_MAX = 50,
    IDENT_VERSIONS_MAX = 5,
    IDENT_SECRET_MAX = 128
};

/* Tags that mean something here. */
#define IDENT_TAG_OURS    "sluice:"
#define IDENT_TAG_RATE    "sluice:requests-per-second"
#define IDENT_TAG_BYTES   "sluice:quota-bytes" /* of buckets only */
#define IDENT_TAG_OBJECTS "sluice:quota-objects"
enum { IDENT_RATE_MAX = 1000000 };

struct ident_item {
    struct str name, text;
    int64_t at_s;                /* versions */
    const struct policy *policy; /* of inline policies and versions; NULL: it can't be read */
};
struct ident_list {
    struct ident_item *items; /* by name; versions and attached: in the order they came */
    unsigned n;
};

struct ident {
    enum ident_kind kind;
    struct str name; /* of a key: the access key */
    struct str path; /* "/", "/a/b/"; not of keys */
    struct str id;   /* never given twice: "AIDA...", "AGPA...", "AROA...", "ANPA..." */
    struct str description;
    int64_t created_s, changed_s;
    struct ident_list inlined;  /* user, group, role */
    struct ident_list attached; /* the same: names of managed policies */
    struct ident_list groups;   /* user */
    struct ident_list tags;     /* user, role, policy */
    struct ident_list versions; /* policy: "v1" */
    struct str current;         /* policy: the version that counts */
    uint64_t last_version;      /* policy */
    uint32_t per_s;             /* user, role: requests a second, by its tags; 0: no limit */
    struct str trust;           /* role */
    const struct policy *trusts;
    uint64_t session_max_s; /* role */
    struct str user;        /* key: whose; empty: the account's own */
    struct str user_id;
    bool active;       /* key */
    int64_t expires_s; /* key; 0: never */
    struct str scope;  /* key: a policy that takes away from what its user may; empty: none */
    const struct policy *scope_policy;
    struct str secret; /* key: in memory only; empty: it could not be opened */
    uint64_t revision; /* of the store; 0: not kept yet */
};

/* "user" */
struct str ident_kind_name(enum ident_kind kind);
/* The record. `vault` for the secrets of keys. */
void ident_write(const struct ident *id, const struct vault *vault, struct buf *out);
MUST_USE enum err ident_read(struct arena *a, enum ident_kind kind, struct str name, struct str json,
                             const struct vault *vault, struct ident **out);
/* "arn:aws:iam::000000000000:user/path/name" */
struct str ident_arn(struct arena *a, const struct ident *id);
/* The name in the ARN of a thing of that kind, without its path. STR_NONE: another kind, or none of ours. */
struct str ident_arn_name(struct str arn, enum ident_kind kind);
/* A new id of its kind. */
struct str ident_new_id(struct arena *a, enum ident_kind kind);
/* Random letters and digits. */
struct str ident_random(struct arena *a, size_t n, struct str alphabet);

/* A number of requests per second, 1 to IDENT_RATE_MAX. */
bool ident_rate(struct str text, uint32_t *per_s);
/* NULL without one. */
const struct ident_item *ident_find(const struct ident_list *l, struct str name);
/* Puts or replaces; `sorted`: by name, else behind the others. */
MUST_USE enum err ident_put(struct arena *a, struct ident_list *l, const struct ident_item *item, unsigned max,
                            bool sorted);
/* False: was not there. */
bool ident_drop(struct ident_list *l, struct str name);

#endif
