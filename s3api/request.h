/* request.h - one S3 request from its head to its answer.
 *
 * Shape    s3api.c fills it in and starts its op with the steps of the route; every step finds it by S3(op).
 * Owns     lives in the http request's arena; so does everything an operation allocates (arena_defer for the rest).
 * Errors   the s3_*() getters say in their comments what they refuse, and set a message that names the parameter.
 * Thread   the connection's loop.
 * Source   S3 API reference, "Common request headers".
 */
#ifndef SLUICE_S3API_REQUEST_H
#define SLUICE_S3API_REQUEST_H

#include "iam/policy.h"
#include "s3api/reply.h"
#include "s3api/route.h"
#include "s3api/s3api.h"
#include "s3api/xml.h"
#include "store/notification.h"

struct identity; /* auth.h */
struct auth_failure;

/* What policies are told of a request besides its head. */
enum { SAID_TAGS_MAX = 4 }; /* the object, its archive, and those of a copy's source */
struct s3_said {
    const struct http_req *form; /* PostObject: the fields as headers of a PUT; NULL: the request's own count */
    bool has_tags;               /* `tags` instead of x-amz-tagging */
    struct str tags;             /* canonical: that the object shall have */
    uint64_t policy_uid;         /* of the bucket whose policy was looked up last; 0: none */
    const struct policy *policy;
    bool policy_broken;
    bool has_lock; /* these instead of x-amz-object-lock-* */
    struct str lock_mode, lock_until, lock_hold;
    struct { /* that objects have: looked up before anybody is asked */
        uint64_t uid;
        struct str key, tags, acl;
        bool missing;
    } looked[SAID_TAGS_MAX];
    unsigned looked_count;
};

/* Where a store has an object. */
struct s3_place {
    struct bucket_id bucket;
    struct str key;
};

struct s3_request {
    struct op op;
    struct http_req *http;
    struct arena *arena; /* == http->arena */
    const struct s3api_env *env;

    struct identity *who;           /* filled before the first step */
    struct str access_key;          /* of `who`; may be empty when everybody is served as the owner */
    struct str account;             /* the owner's: whose buckets and objects are all that are made */
    struct iam_principal principal; /* `who`, as policies name them */
    struct s3_said said;

    const struct route *route; /* NULL until routed */
    enum s3_level level;
    struct str bucket_name;
    struct str key;        /* decoded bytes, valid UTF-8, 1..KEY_MAX; empty below object level */
    bool bucket_from_host; /* virtual-host style */
    struct query_param *query;
    size_t query_count;
    uint64_t subs;                  /* set of SUB() */
    struct bucket bucket;           /* filled before the first step at bucket and object level (not for CreateBucket) */
    char owner_id[64];              /* of the bucket; at service level of the caller */
    const struct bucket *looked_in; /* where a key is missing when one is; NULL: `bucket` */
    struct s3_place place;          /* what an operation that takes a versionId works on; before the first step */
    bool names_version;             /* by a versionId: `version`, found by version_guard */
    struct object_version version;

    bool website;   /* asked for as a page of one */
    int web_status; /* of the answer, when it is an error page; 0: none */

    void *state; /* the operation's own, made by its first step with ARENA_NEW */
    struct s3_reply reply;
    struct str host_id;  /* x-amz-id-2: who answers */
    uint64_t started_ns; /* monotonic */
};

/* The request whose op this is. */
#define S3(o) CONTAINER(o, struct s3_request, op)

/* Decoded value of a query parameter: p == NULL when absent, otherwise not NULL even when empty. The first one counts.
 */
struct str s3_query(const struct s3_request *r, struct str name);
/* Value of a request header by lower-case name; p == NULL when absent. */
struct str s3_header(const struct s3_request *r, struct str name);
/* A decimal query parameter; absent or empty: `def`. Larger than `cap`: cap. Not a number: ERR_INVALID_ARGUMENT. */
MUST_USE enum err s3_query_count(struct s3_request *r, struct str name, uint32_t cap, uint32_t def, uint32_t *out);
/* Parameters whose values are echoed: ERR_INVALID_ARGUMENT when one isn't UTF-8 or holds NUL, which XML can't say. No
 * key or name has such bytes. */
MUST_USE enum err s3_query_texts(struct s3_request *r, const struct str *names, size_t n);
/* encoding-type: true for "url", ERR_INVALID_ARGUMENT for anything else that isn't empty. */
MUST_USE enum err s3_query_encoding(struct s3_request *r, bool *url);
static inline struct str s3_owner(const struct s3_request *r)
{
    return str_n(r->owner_id, sizeof(r->owner_id));
}

/* Who asks, in the arena, for whoever is told of a write: `kind` when the method alone does not say what it is. */
const struct cause *s3_cause(struct s3_request *r, enum event_kind kind);

/* The region that a bucket is said to be in; never empty. */
struct str s3_bucket_region(const struct s3_request *r, const struct bucket *b);

/* Puts into the error what S3 tells about a signature that is refused. */
void s3_explain(struct s3_request *r, const struct auth_failure *why);

/* Reads the whole body (decoded, at most `max` bytes) and verifies its digests: Content-MD5, x-amz-checksum-*, payload
 * hash. `need_digest`: ERR_INVALID_REQUEST without Content-MD5 or checksum. Empty: ERR_MALFORMED_XML is the caller's to
 * say. ERR_TOO_LARGE, ERR_BAD_DIGEST, ERR_SHA256_MISMATCH, and what the source fails with. */
struct s3_read_req {
    struct s3_request *request;
    size_t max;
    bool need_digest;
    bool digests_object; /* x-amz-checksum-* is about the object that is completed, not about these bytes */
};
struct s3_read_res {
    struct str body; /* in the request's arena */
};
void s3_read_body(struct s3_request *r, const struct s3_read_req *req, struct s3_read_res *res, struct call *call);
/* The same, then parsed, off the loop when it is large. ERR_MALFORMED_XML also for an empty body. */
struct s3_xml_res {
    struct xml_doc doc; /* released with the request */
};
void s3_read_xml(struct s3_request *r, const struct s3_read_req *req, struct s3_xml_res *res, struct call *call);

#endif
