/* idents.h - identities: who there is, what they may do. A cache over meta that answers without waiting.
 *
 * Shape    a record per identity (ident.h) under "iam/<kind>/<name>"; all are in memory, kept current by a meta watch. Changes read the
 *          record from meta, change it and put it back if nobody else did meanwhile.
 * Units    Unix seconds.
 * Owns     a record lives as long as somebody refers to it; lookups lend it to an arena.
 * Errors   ERR_NO_SUCH_ENTITY, ERR_ENTITY_EXISTS, ERR_IAM_CONFLICT, ERR_UNAVAILABLE, and what the change fails with.
 * Thread   shared by all loops; calls finish on their own loop.
 * Source   IAM User Guide, "Policy evaluation logic".
 */
#ifndef SLUICE_IAM_IDENTS_H
#define SLUICE_IAM_IDENTS_H

#include "iam/ident.h"
#include "store/meta.h"

struct idents;
/* Loads all and follows them. Before loops run. `secret`: what the secrets of keys and sessions are sealed with; empty: none can be made. */
MUST_USE enum err idents_open(struct meta *meta, struct str secret, struct idents **out);
/* When `meta` tells no more. NULL is legal. */
void idents_close(struct idents *);
/* Whether there is a master key. */
bool idents_can_keep(const struct idents *);
/* NULL without a master key. */
const struct vault *idents_session_vault(const struct idents *);

/* NULL: none. There until the arena's end, and not to be changed. */
const struct ident *idents_find(struct idents *, struct arena *a, enum ident_kind kind, struct str name);
/* The first `max` of the kind behind `after` that `wants` takes (NULL: all), by name, lent to the arena; *more: there are others. */
typedef bool ident_wants_fn(void *arg, const struct ident *id);
unsigned idents_list(struct idents *, struct arena *a, enum ident_kind kind, struct str after, ident_wants_fn *wants,
                     void *arg, const struct ident **out, unsigned max, bool *more);

enum { IDENTS_MAX = 5000, IDENT_KEYS_MAX = 20000 }; /* of a kind; keys. All are in memory. */
size_t idents_size(struct idents *, enum ident_kind kind);

enum ident_change { IDENT_CREATE, IDENT_UPDATE, IDENT_REMOVE };
/* Changes what was read; called again when another one was faster. Of IDENT_CREATE: a new record with kind and name. */
typedef enum err ident_change_fn(void *arg, struct ident *id);
struct ident_change_req {
    struct arena *arena;
    enum ident_kind kind;
    struct str name;
    enum ident_change how;
    ident_change_fn *change; /* of IDENT_REMOVE: whether it may go; NULL: always */
    void *arg;
};
struct ident_change_res {
    const struct ident *now; /* as it was put; of IDENT_REMOVE: what it was */
};
/* The cache shows it before the call finishes. */
void ident_change(struct idents *, const struct ident_change_req *, struct ident_change_res *, struct call *);

/* ---- what somebody may ---- */

enum { IAM_SCOPES_MAX = 2 };
/* Who signed a request. */
struct iam_who {
    enum iam_principal_kind kind; /* IAM_OWNER, IAM_USER, IAM_SESSION */
    struct str name;              /* of the user or role */
    struct str id;                /* of that one: another's of the same name is not meant */
    struct str session;           /* IAM_SESSION: its name */
    const struct policy
        *scopes[IAM_SCOPES_MAX]; /* each must allow as well: of the key, of the session; NULL: allows nothing */
    unsigned scope_count;
    bool temporary;    /* of a session's token */
    int64_t expires_s; /* 0: never */
};

struct iam_key {
    char secret[IDENT_SECRET_MAX];
    uint8_t secret_n;
    uint64_t revision; /* changes when anything of the key does */
    struct iam_who who;
};
/* What an access key stands for, its texts in the arena. False: unknown, inactive, expired, or its user is gone. */
bool idents_key(struct idents *, struct arena *a, struct str access_key, int64_t now_s, struct iam_key *out);
/* As policies name them. False: not there any more. */
bool idents_principal(struct idents *, struct arena *a, const struct iam_who *who, struct iam_principal *out);
/* How many requests a second its tags let it have; 0: no limit. */
uint32_t idents_rate(struct idents *, const struct iam_who *who);
/* What the policies of who sent it say, without scopes. The owner: POLICY_ALLOW. */
enum policy_verdict idents_verdict(struct idents *, const struct iam_who *who, const struct iam_request *req);
/* What the scopes say together; POLICY_ALLOW without any. */
enum policy_verdict iam_who_scope(const struct iam_who *who, const struct iam_request *req);
/* Whether any of those policies asks for a key that begins so. */
bool idents_asks(struct idents *, const struct iam_who *who, struct str key_prefix);

#endif
