#include "role_s3.h"

#include <stdio.h>

#include "base/audit.h"
#include "base/clock.h"
#include "base/hash.h"
#include "cli/banner.h"
#include "cli/private_file.h"
#include "s3api/limits.h"
#include "s3api/settings.h"
#include "target/job.h"

static enum err open_credentials(struct role_s3 *s3, struct role *r, struct str dir, char why[ROLE_WHY_MAX])
{
    const struct settings *s = &r->settings;
    enum err e;

    e = credentials_get(&r->arena, s->access_key, s->secret_key, dir, &s3->credentials, why);
    if (e == ERR_OK && (e = creds_put(s3->creds, s3->credentials.access_key, s3->credentials.secret_key)) != ERR_OK)
        snprintf(why, ROLE_WHY_MAX, "the access key or its secret is empty or too long");
    return e;
}

static enum err open_provider(struct role_s3 *s3, const struct role *r, char why[ROLE_WHY_MAX])
{
    const struct settings *s = &r->settings;
    struct oidc_conf conf = {s->oidc_issuer, s->oidc_audience, s->oidc_keys};
    char reason[TOKEN_WHY_MAX];
    enum err e;

    if (!conf.issuer.n && !conf.audience.n && !conf.keys.n)
        return ERR_OK;
    if (!conf.issuer.n || !conf.audience.n || !conf.keys.n) {
        snprintf(why, ROLE_WHY_MAX,
                 "identity.oidc_issuer, identity.oidc_audience and identity.oidc_keys belong together");
        return ERR_INVALID_ARGUMENT;
    }
    if ((e = oidc_open(&conf, &s3->oidc, reason)) != ERR_OK)
        snprintf(why, ROLE_WHY_MAX, "identity.oidc_keys: " STR_FMT ": %s", STR_ARG(conf.keys), reason);
    return e;
}

/* Secrets are sealed with what all gateways know: a key of its own, or else what follows from the owner's secret. */
static enum err open_identities(struct role_s3 *s3, struct role *r, struct meta *meta, char why[ROLE_WHY_MAX])
{
    struct str file = r->settings.identity_key_file, secret = s3->credentials.secret_key;
    char reason[PRIVATE_FILE_WHY_MAX];
    enum err e;

    if (file.n && (e = private_file_read(&r->arena, file.p, &secret, reason)) != ERR_OK) {
        snprintf(why, ROLE_WHY_MAX, "identity.key_file: %s", reason);
        return e;
    }
    if ((e = idents_open(meta, secret, &s3->idents)) != ERR_OK) {
        snprintf(why, ROLE_WHY_MAX, "cannot open the records of identities (%s)", err_name(e));
        return e;
    }
    creds_follow(s3->creds, s3->idents);
    return open_provider(s3, r, why);
}

/* Names that stay the same as long as what they are made of: the cluster's place in etcd or the owner's key; where we listen. */
static void name_ourselves(struct role_s3 *s3, const struct role *r)
{
    const struct settings *s = &r->settings;
    struct str cluster = s->cluster_etcd.count ? s->cluster_prefix : s3->credentials.access_key;

    snprintf(s3->cluster_id, sizeof(s3->cluster_id), "%016llx", (unsigned long long)hash_place(cluster, 1));
    snprintf(s3->node_id, sizeof(s3->node_id), "%08llx", (unsigned long long)hash_place(s->listen, 2) & 0xffffffff);
}

static enum err open_native(struct role_s3 *s3, const struct role *r, char why[ROLE_WHY_MAX])
{
    const char *keys = r->settings.tokens_keys.n ? r->settings.tokens_keys.p : NULL;
    char reason[TOKEN_WHY_MAX];

    name_ourselves(s3, r);
    s3->shared = native_shared_new();
    s3->batches = arc_batches_new(&r->settings.batches);
    s3->native = (struct native_conf){
        .cluster_id = str_z(s3->cluster_id), .node_id = str_z(s3->node_id), .started_ns = (uint64_t)clock_wall_ns()};
    if (r->settings.auth == AUTH_SIGNED) {
        token_key_of(s3->credentials.secret_key, s3->token_key);
        s3->native.token_key = str_n(s3->token_key, sizeof(s3->token_key));
    }
    if (keys && token_public_open(keys, &s3->token_public, reason) != ERR_OK) {
        snprintf(why, ROLE_WHY_MAX, "tokens.keys: %s: %s", keys, reason);
        return ERR_INVALID_ARGUMENT;
    }
    s3->native.token_public = s3->token_public;
    s3->native.token_issuer = r->settings.tokens_issuer;
    s3->native.token_audience = r->settings.tokens_audience;
    return ERR_OK;
}

enum err role_s3_open(struct role_s3 *s3, struct role *r, struct meta *meta, struct str dir, char why[ROLE_WHY_MAX])
{
    const struct settings *s = &r->settings;
    char reason[AUDIT_WHY_MAX];
    enum err e;

    if (s->audit_file.n && audit_open(s->audit_file.p, s->audit_all, reason) != ERR_OK) {
        snprintf(why, ROLE_WHY_MAX, "audit.file: " STR_FMT ": %s", STR_ARG(s->audit_file), reason);
        return ERR_INVALID_ARGUMENT;
    }
    s3->creds = creds_new();
    s3->limits = limits_new();
    s3->archives = arc_cache_new(s->archives_cache);
    s3->conf = (struct s3api_conf){
        s->auth == AUTH_NONE,     s->region,    s->domains.items, s->domains.count, s->website_domains.items,
        s->website_domains.count, s->log_access};
    s3->conf.redundancy = s->redundancy;
    s3->conf.encrypts = s->encryption_key_file.n || s->encryption_key.n;
    s3->conf.log_flush_ms = s->log_flush_ms;
    s3->conf.lifecycle_day_s = s->lifecycle_day_s;
    if ((e = role_open_tls(r, 0, s->tls_cert, s->tls_key, why)) != ERR_OK)
        return e;
    if ((e = buckets_open(meta, &s3->buckets)) != ERR_OK) {
        snprintf(why, ROLE_WHY_MAX, "cannot open the bucket records (%s)", err_name(e));
        return e;
    }
    if ((e = bucket_confs_open(meta, s3_doc_kinds, s3_doc_kind_count, &s3->confs)) != ERR_OK) {
        snprintf(why, ROLE_WHY_MAX, "cannot open the documents of buckets (%s)", err_name(e));
        return e;
    }
    if (s->auth == AUTH_SIGNED &&
        ((e = open_credentials(s3, r, dir, why)) != ERR_OK || (e = open_identities(s3, r, meta, why)) != ERR_OK))
        return e;
    s3->quotas = quotas_new(&(struct quotas_conf){s3->confs, limits_quota});
    if ((e = role_notify_open(&s3->notify, r, dir, s3->confs, s3->buckets, why)) != ERR_OK)
        return e;
    s3->meta = meta;
    s3->backends = backends_new(s3->buckets, r->io, r->cpu);
    return open_native(s3, r, why);
}

void role_s3_close(struct role_s3 *s3)
{
    audit_close();
    role_notify_close(&s3->notify);
    quotas_free(s3->quotas);
    if (s3->shared)
        native_shared_free(s3->shared);
    token_public_free(s3->token_public);
    backends_free(s3->backends);
    arc_batches_free(s3->batches);
    if (s3->confs)
        bucket_confs_close(s3->confs);
    if (s3->buckets)
        buckets_close(s3->buckets);
    if (s3->creds)
        creds_free(s3->creds);
    limits_free(s3->limits);
    idents_close(s3->idents);
    oidc_close(s3->oidc);
    arc_cache_free(s3->archives);
}

enum err role_s3_listen(struct role *r, const struct front_role *role, const struct control_role *control,
                        char why[ROLE_WHY_MAX])
{
    const struct settings *s = &r->settings;
    struct front_conf conf = {.threads = s->threads,
                              .listen = {{s->listen, s->tls_listen.n ? NULL : r->tls[0]}, {s->tls_listen, r->tls[0]}},
                              .limits = s->limits,
                              .io = r->io,
                              .cpu = r->cpu,
                              .role = *role,
                              .control = *control};

    return front_open(&conf, &r->front, why);
}

struct arcs *role_s3_arcs(const struct role_s3 *s3, const struct role *r, struct loop *loop, struct store *store)
{
    return arcs_new(&(struct arcs_env){loop, store, s3->buckets, r->cpu, s3->archives});
}

struct gateway *role_s3_gateway(const struct role_s3 *s3, const struct role *r, struct loop *loop, struct arcs *arcs,
                                struct etl_door *door, struct control *control)
{
    static const struct jobs_ops jobs = {job_start, job_stop, job_look};

    return gateway_new(&(struct gateway_env){.s3 = {.loop = loop,
                                                    .store = arcs_store(arcs),
                                                    .arcs = arcs,
                                                    .buckets = s3->buckets,
                                                    .confs = s3->confs,
                                                    .creds = s3->creds,
                                                    .limits = s3->limits,
                                                    .batches = s3->batches,
                                                    .door = door,
                                                    .announcer = role_notify_announcer(&s3->notify),
                                                    .cpu = r->cpu,
                                                    .conf = &s3->conf},
                                             .native = {.meta = s3->meta,
                                                        .arcs = arcs,
                                                        .io = r->io,
                                                        .jobs = &jobs,
                                                        .members = s3->members,
                                                        .backends = s3->backends,
                                                        .conf = &s3->native,
                                                        .etl = s3->etl,
                                                        .etl_names = s3->etl_names,
                                                        .shared = s3->shared},
                                             .control = control,
                                             .oidc = s3->oidc});
}

void role_s3_tell(const struct role_s3 *s3, const struct role *r)
{
    banner_print(&(struct banner){&r->settings, r->settings.auth == AUTH_SIGNED ? &s3->credentials : NULL,
                                  front_bound(r->front, 0), front_bound(r->front, 1)});
}
