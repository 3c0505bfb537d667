/* native_request.h - one request of the native API from its head to its answer.
 *
 * Shape    native.c fills it in, reads an action message where the route wants one, finds the bucket, and starts the route's steps; every step
 *          finds it by NATIVE(op). An operation ends with `return op_go(op, native_send)`; a failed op gets there by itself and becomes
 *          AIStore's error document.
 * Owns     lives in the http request's arena; so does everything an operation allocates (arena_defer for the rest).
 * Errors   no expected error may have a status of 429 or 500..504: the SDK repeats those for a minute and a half. 400, 404, 409, 416, 501.
 * Thread   the connection's loop.
 */
#ifndef SLUICE_GATEWAY_NATIVE_REQUEST_H
#define SLUICE_GATEWAY_NATIVE_REQUEST_H

#include "base/doc.h"
#include "base/json.h"
#include "base/op.h"
#include "gateway/native.h"
#include "http/url.h"

enum { NATIVE_BODY_MAX = 32 << 20, NATIVE_NODES_MAX = 1 << 20, NATIVE_SEGMENTS_MAX = 8 };

enum native_provider { PROVIDER_AIS, PROVIDER_AWS, PROVIDER_GCP, PROVIDER_AZURE, PROVIDER_OCI };

/* A bucket as a client names it: by provider, namespace ("@uuid#name") and name. */
struct native_bucket {
    enum native_provider provider;
    struct str uuid, space; /* of the namespace; empty = global */
    struct str name;
    struct bucket found; /* when it was looked for: the bucket of ours that this is */
};

/* {"action","name","value"} */
struct native_action {
    struct str action, name;
    const struct doc *value; /* NULL: null or none */
};

struct native_request {
    struct op op;
    struct http_req *http;
    struct arena *arena; /* == http->arena */
    const struct native_env *env;
    struct str who; /* access key or subject; empty when everybody is served */
    bool admin;     /* the owner, a token made with the owner's secret, or one of an issuer that says so */
    const struct native_route *route;
    struct str raw[NATIVE_SEGMENTS_MAX]; /* path behind "/v1/", split at '/', not decoded; the last one has the rest */
    unsigned raw_count;
    struct native_bucket bucket; /* of /buckets/B and /objects/B/O, with the query's provider and namespace */
    struct str object;           /* decoded once; of /objects/B/O */
    struct query_param *query;
    size_t query_count;
    struct native_action action; /* when the route has NATIVE_ACTION */
    const struct doc *body;      /* the whole JSON body then (not all are action messages) */
    struct str raw_body;         /* when the route has NATIVE_RAW */
    void *state;                 /* the operation's own */
    /* the answer */
    int status; /* 0 = 200 */
    struct http_header *headers;
    size_t header_count, header_cap;
    struct buf text;        /* sent when `answer` is NULL */
    struct str type;        /* Content-Type of either; empty: application/json for text, none otherwise */
    struct source *answer;  /* a body; taken by native_send */
    uint64_t stated_length; /* of an answer to HEAD; HTTP_LENGTH_UNKNOWN otherwise */
    struct str message;     /* of the error, instead of what err.def says */
    struct str tcode;       /* "ErrBckNotFound", ... ; empty = left out */
    int error_status;       /* instead of the table's; 0 = the table's */
    uint64_t started_ns;
};
#define NATIVE(o) CONTAINER(o, struct native_request, op)

/* Value of a query parameter: p == NULL when absent. '+' is a space there. */
struct str native_query(const struct native_request *r, struct str name);
/* "1 t true y yes on" in any case. */
bool native_query_bool(const struct native_request *r, struct str name);
/* A member of the action's value; NULL when absent or null. Names are compared without regard to case, as AIStore does. */
const struct doc *native_value(const struct native_request *r, const char *name);
const struct doc *native_member(const struct doc *map, const char *name);
/* Text of a scalar member; p == NULL when absent. */
struct str native_text(const struct doc *map, const char *name);
bool native_flag(const struct doc *map, const char *name);
/* 0 when absent, or no number. */
uint64_t native_number(const struct doc *map, const char *name);

/* Who asks, in the arena, for whoever is told of a write (store.h). */
const struct cause *native_cause(struct native_request *r, enum event_kind kind);
void native_header(struct native_request *r, struct str name, struct str value);
void native_header_f(struct native_request *r, struct str name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Sets what the error document says. Returns e. The text must not be escaped in a way that turns '/' into '\/'. */
enum err native_error(struct native_request *r, enum err e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The errors that the SDK tells apart by their text: `bucket "ais://b" does not exist` (404), `ais://b/o does not exist` (404), ... */
enum err native_no_bucket(struct native_request *r, const struct native_bucket *b);
enum err native_no_object(struct native_request *r, const struct native_bucket *b, struct str object);
/* Turns an error of the store about this object into one of the native API: NO_SUCH_KEY, NO_SUCH_BUCKET, INVALID_RANGE, ... */
enum err native_fail(struct native_request *r, enum err e, const struct native_bucket *b, struct str object);
/* Last step of every operation. */
step_fn native_send;
/* PUT and DELETE of an object with a non-empty "archpath": a member of it (native_archput.c). The bucket must be found. */
step_fn native_archput, native_archdelete;

/* "ais://@uuid#ns/b" into the arena. */
struct str native_bucket_text(struct arena *a, const struct native_bucket *b);
/* A Bck JSON object {"name","provider","namespace":{...}} or the text of bck_to, object_to, uname: "ais/@uuid#ns/bucket/object".
 * ERR_INVALID_ARGUMENT with a message. */
MUST_USE enum err native_bucket_of_doc(struct native_request *r, const struct doc *d, struct native_bucket *out);
MUST_USE enum err native_bucket_of_uname(struct native_request *r, struct str uname, struct native_bucket *out,
                                         struct str *object);
/* ERR_INVALID_ARGUMENT, told: no bucket can have that name. */
MUST_USE enum err native_bucket_check(struct native_request *r, const struct native_bucket *b);
/* Which bucket of ours that is, and the other way round: "ns--b" is "b" of the namespace "#ns". */
struct str native_bucket_own_name(struct arena *a, const struct native_bucket *b);
void native_bucket_of_own(struct str own, struct native_bucket *out);
/* Of the request's path and query: bucket and object, behind so many segments. */
MUST_USE enum err native_path_bucket(struct native_request *r, unsigned segments);
/* Writes a Bck object. */
void native_bucket_json(struct buf *b, const struct native_bucket *bucket);
/* Looks for the bucket of ours: `found` is filled. A failure is told in the native form. System buckets
 * are never found. */
void native_bucket_find(struct native_request *r, struct native_bucket *b, struct call *call);

/* ---- routes: native_routes.def ---- */

enum {
    NATIVE_ACTION = 1, /* read a JSON body first; `action` may be empty */
    NATIVE_BUCKET = 2, /* the path names a bucket, which must exist: bucket.found is filled */
    NATIVE_NAMED = 4,  /* the path names a bucket that need not exist */
    NATIVE_OBJECT = 8, /* the path names an object, too */
    NATIVE_OPEN = 16,  /* without a token, too */
    NATIVE_RAW = 32,   /* read a body first, of whatever form: raw_body */
};
struct native_route {
    const char *name; /* for logs and 501: "create-bck", "GET objects" */
    enum http_method method;
    const char *path;   /* "buckets", "reverse/daemon" */
    const char *action; /* of the message; "" = no action; "*" = any */
    step_fn *first;     /* NULL: 501 */
    unsigned flags;
};

/* The first steps live in the native_*.c files. */
#define NROUTE(method, path, action, name, first, flags) step_fn first;
#define NUNSERVED(method, path, action, name)
#include "gateway/native_routes.def"
#undef NROUTE
#undef NUNSERVED

#endif
