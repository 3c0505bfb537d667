/* role_s3.h - the side of a process that clients see: who may sign, the bucket directory, S3 on every loop.
 *
 * Owns     credentials and the bucket directory; lanes own their store.
 * Errors   a sentence for a person in `why`.
 * Thread   main; lanes on their loop's.
 */
#ifndef SLUICE_ROLE_S3_H
#define SLUICE_ROLE_S3_H

#include "cli/credentials.h"
#include "gateway/gateway.h"
#include "gateway/native_shared.h"
#include "role.h"
#include "role_notify.h"
#include "store/backend.h"

struct role_s3 {
    struct creds *creds;
    struct idents *idents; /* NULL: everybody is served */
    struct limits *limits;
    struct oidc *oidc;          /* NULL: no identity provider */
    struct arc_cache *archives; /* indexes, for all lanes */
    struct credentials credentials;
    struct buckets *buckets;
    struct bucket_confs *confs; /* their documents */
    struct role_notify notify;
    struct quotas *quotas;
    struct backends *backends;
    struct s3api_conf conf;
    struct meta *meta;
    struct members *members; /* set by the role of a cluster, before the loops run */
    struct native_conf native;
    const struct native_etl *etl; /* set by the role; NULL: none */
    struct etl_names *etl_names;  /* the same */
    struct native_shared *shared;
    struct arc_batches *batches;
    uint8_t token_key[32];
    struct token_public *token_public; /* NULL: none are configured */
    char cluster_id[17], node_id[9];
};
/* `dir` is where generated credentials are kept; empty: they are in the settings. Reads the clients' certificate too. */
MUST_USE enum err role_s3_open(struct role_s3 *s3, struct role *r, struct meta *meta, struct str dir,
                               char why[ROLE_WHY_MAX]);
/* After `meta` was closed. */
void role_s3_close(struct role_s3 *s3);
/* Opens the clients' listeners: r->front. */
MUST_USE enum err role_s3_listen(struct role *r, const struct front_role *role, const struct control_role *control,
                                 char why[ROLE_WHY_MAX]);
/* One loop's archives in a store, which is not closed with them. arcs_free() goes before its store. */
struct arcs *role_s3_arcs(const struct role_s3 *s3, const struct role *r, struct loop *loop, struct store *store);
/* One loop's front end over arcs_store(arcs); `door` may be NULL: no ETLs. */
struct gateway *role_s3_gateway(const struct role_s3 *s3, const struct role *r, struct loop *loop, struct arcs *arcs,
                                struct etl_door *door, struct control *control);
/* "sluice serves S3 at ..." and what to paste. */
void role_s3_tell(const struct role_s3 *s3, const struct role *r);

#endif
