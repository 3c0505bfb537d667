/* native.h - the AIStore-native REST API under /v1, over a store.
 *
 * Shape    a http_handler beside that of s3api: parse -> who -> which operation (native_routes.def) -> run it -> answer. Operations are
 *          rows of steps as in s3api; what a request is: native_request.h. Calls that are known but not served answer 501 by their name.
 * Owns     nothing it is given: everything in the environment outlives it.
 * Thread   one per loop.
 * Source   AIStore's public API as its Python SDK 1.25 uses it; docs/native-api.md.
 */
#ifndef SLUICE_GATEWAY_NATIVE_H
#define SLUICE_GATEWAY_NATIVE_H

#include "archive/arcs.h"
#include "base/token.h"
#include "etl/names.h"
#include "http/client.h"
#include "s3api/s3api.h"
#include "store/jobs.h"
#include "store/backend.h"
#include "store/members.h"

struct native_conf {
    struct str cluster_id;                   /* "uuid" of the map; never empty */
    struct str node_id;                      /* who answers: "p[id]" */
    uint64_t started_ns;                     /* wall clock */
    struct str promote_dirs;                 /* directories that may be promoted from, separated by ':'; empty: none */
    struct str token_key;                    /* of HS256 tokens, token_key_of() the secret; empty: none are accepted */
    struct str token_issuer, token_audience; /* of those; empty: any */
    const struct token_public *token_public; /* whose RS256 and ES256 tokens are accepted; NULL: none's */
};

/* Who makes and looks at ETLs. */
struct native_etl {
    struct meta *meta;
    size_t (*nodes)(void *arg, struct arena *arena, const struct str **ids); /* that run sidecars: admin.h */
    void *arg;
    const struct str *admins; /* access keys and subjects of tokens that may make ETLs, beside the owner */
    size_t admin_count;
};

struct native_env {
    struct loop *loop;
    const struct s3api_env *s3; /* store, buckets, credentials, pools, conf: the same as S3's */
    struct meta *meta;
    struct arcs *arcs;
    struct offload *io;
    const struct jobs_ops *jobs;
    struct members *members; /* NULL on one machine */
    struct backends *backends;
    const struct native_conf *conf;
    const struct native_etl *etl; /* NULL: none here */
    struct etl_names *etl_names;  /* the same */
    struct native_shared
        *shared; /* of all loops of the process: finished queries, appends under way, batches. native_shared.h */
};

struct native;
struct native *native_new(const struct native_env *env);
struct http_handler *native_handler(struct native *n);
/* Whether this raw path is the native API's: "/v1/..." but for what control_takes(). */
bool native_takes(struct str path);
/* No requests outstanding. */
void native_free(struct native *n);

#endif
