/* policy_own.h - what a policy is made of; for policy*.c only.
 *
 * Owns     all in the policy's arena.
 */
#ifndef SLUICE_IAM_POLICY_OWN_H
#define SLUICE_IAM_POLICY_OWN_H

#include "base/doc.h"
#include "iam/glob.h"
#include "iam/policy.h"

enum { POLICY_KEY_MAX = 512 };

enum cond_type {
    COND_STRING,      /* equal */
    COND_STRING_CASE, /* equal but for the case of letters */
    COND_LIKE,
    COND_NUMERIC,
    COND_DATE,
    COND_BOOL,
    COND_BINARY,
    COND_IP,
    COND_ARN,
    COND_NULL
};
enum cond_order { COND_EQ, COND_LT, COND_LE, COND_GT, COND_GE };
enum cond_set { COND_ONE, COND_ALL, COND_ANY }; /* ForAllValues, ForAnyValue */

struct cond_value {
    union {
        struct glob glob; /* STRING, STRING_CASE (small letters), LIKE, ARN */
        double number;    /* NUMERIC; DATE: Unix seconds */
        bool truth;       /* BOOL; NULL: must be absent */
        struct str bytes; /* BINARY, as base64 */
        struct {
            uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
            unsigned prefix;   /* of 128 bits */
        } ip;
    };
};
struct cond {
    enum cond_type type;
    enum cond_order order;
    enum cond_set set;
    bool negate, if_exists;
    struct str key;
    struct cond_value *values;
    unsigned n;
};

enum principal_type {
    PRINCIPAL_ALL,       /* "*" */
    PRINCIPAL_ACCOUNT,   /* text: 12 digits */
    PRINCIPAL_ARN,       /* text: all of it; empty account: any */
    PRINCIPAL_NAME,      /* of a user, or a unique id */
    PRINCIPAL_CANONICAL, /* 64 hex digits */
    PRINCIPAL_FEDERATED,
    PRINCIPAL_SERVICE
};
struct principal_item {
    enum principal_type type;
    struct str text;
};
struct principal_list {
    struct principal_item *items;
    unsigned n;
    bool all_but; /* NotPrincipal */
    bool present;
};
struct glob_list {
    struct glob *items;
    unsigned n;
    bool all_but; /* NotAction, NotResource */
    bool present;
};

struct statement {
    bool deny;
    struct principal_list principals;
    struct glob_list actions, resources; /* actions in small letters */
    struct cond *conds;
    unsigned cond_count;
};
struct policy {
    enum policy_kind kind;
    bool variables; /* Version 2012-10-17 */
    struct statement *statements;
    unsigned n;
};

/* While reading. */
struct policy_reader {
    struct arena *arena;
    struct policy *policy;
    char *why;
};
MUST_USE enum err policy_refuse(struct policy_reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A text, or each text of a list, in turn; numbers and truths are texts, too. NULL: no more. An object is no text. */
const struct doc *policy_first(const struct doc *d);
/* Whether `d` is a scalar that says something, or a list of such. */
bool policy_is_texts(const struct doc *d);
/* The form of keys that policy.h describes. */
struct str policy_key(struct arena *a, struct str text);

MUST_USE enum err principal_read(struct policy_reader *r, const struct doc *d, struct principal_list *out);
/* Whether the statement is about this one. IAM User Guide, "AWS account principals": an account that is denied is all who belong to it, and so
 * is one that may assume a role; that a bucket's policy allows an account lets in its owner, who may hand that on by policies of users. Whom
 * NotPrincipal spares, must be named. */
bool principal_fits(const struct principal_list *l, const struct iam_principal *who, bool whole_account);
MUST_USE enum err condition_read(struct policy_reader *r, const struct doc *d, struct statement *out);

/* One evaluation. */
struct evaluation {
    const struct iam_request *req;
    char action[128]; /* in small letters */
    size_t action_n;
    char expanded[GLOB_MAX]; /* of the pattern that is matched now */
};
struct key_room {
    struct str value;
    char text[32];
};
/* Keys that the policy itself knows, then the caller's. `room` is for the value of one. */
bool evaluation_values(const struct evaluation *ev, struct str key, struct key_room *room, struct iam_values *out);
/* `g` without variables; false: one of them has no value. */
bool evaluation_expand(struct evaluation *ev, const struct glob *g, struct str *out);
bool condition_fits(struct evaluation *ev, const struct cond *c);
/* A network of IPv4 addresses. */
bool cond_is_v4(const struct cond_value *net);

#endif
