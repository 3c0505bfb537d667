/* route.h - which S3 operation a request means.
 *
 * Shape    routes.def, one row per action: method, level, the sub-resources that must and may be named. Known
 *          sub-resources without a row of their own never fall through to another operation.
 * Errors   ERR_METHOD_NOT_ALLOWED; ERR_INVALID_ARGUMENT: sub-resources that exclude one another.
 * Thread   any: constant tables.
 * Source   S3 API reference, "Actions"; routes.def, actions.def
 */
#ifndef SLUICE_S3API_ROUTE_H
#define SLUICE_S3API_ROUTE_H

#include "base/op.h"
#include "http/message.h"
#include "http/url.h"

enum s3_level { LEVEL_SERVICE, LEVEL_BUCKET, LEVEL_OBJECT };

/* Query keys that choose an operation, and marks that are not query keys but do the same. SUB(ACL) is a set of one. */
enum s3_sub {
#define SUB_ROW(name, key) SUB_##name,
#include "routes.def"
#undef SUB_ROW
    SUB_COUNT
};
#define SUB(name) (UINT64_C(1) << SUB_##name)

struct route {
    const char *name; /* the action's: "PutObject" */
    enum http_method method;
    enum s3_level level;
    uint64_t must, may;  /* sets of subs; others than these make it another operation or none */
    unsigned permission; /* row of actions.def */
    step_fn *first;      /* NULL: not implemented, and the answer says so by name */
    unsigned flags;
};
enum {
    ROUTE_NO_BUCKET = 1, /* the bucket need not exist */
    ROUTE_OPEN =
        2, /* the head carries no signature: `first` runs at once, with nobody's identity and without the bucket */
};

/* The first steps live in the op_*.c files. */
#define ROUTE(method, level, must, may, name, first, flags) step_fn first;
#define UNBUILT(method, level, must, may, name, flags)
#include "routes.def"
#undef ROUTE
#undef UNBUILT

/* The set of subs that the query and headers name. Unknown keys don't count. */
uint64_t route_subs(const struct http_req *req, enum s3_level level, const struct query_param *query, size_t n);
/* On ERR_INVALID_ARGUMENT `clash` gets the names of the sub-resources, separated by ", ". A row without `first` is a
 * success. */
MUST_USE enum err route_find(enum http_method method, enum s3_level level, uint64_t subs, const struct route **out,
                             struct arena *a, struct str *clash);
/* The permission that the route needs, "s3:GetObject"; `version`: when a version is named. Empty: the operation asks for
 * each thing it touches. */
struct str route_permission(const struct route *r, bool version);
/* All rows, for metrics and tests. */
const struct route *route_table(size_t *n);
static inline size_t route_index(const struct route *r)
{
    size_t n;
    return (size_t)(r - route_table(&n));
}

#endif
