/* settings.h - everything a user can set, typed, with its defaults.
 *
 * Shape    one row of a table per option (settings.c); the rows fill this struct through base/config.h.
 * Units    as in the structs that the layers below take.
 * Owns     texts live until settings_free().
 * Errors   settings_load() puts a sentence for a person into `why`.
 * Thread   read-only once loaded.
 */
#ifndef SLUICE_CLI_SETTINGS_H
#define SLUICE_CLI_SETTINGS_H

#include "archive/arc_batches.h"
#include "base/config.h"
#include "base/log.h"
#include "etl/runtime.h"
#include "http/server.h"
#include "target/local.h"

enum auth_mode { AUTH_SIGNED, AUTH_NONE };
enum etl_runtime_kind { ETL_RUNTIME_PROCESS, ETL_RUNTIME_DOCKER, ETL_RUNTIME_KUBERNETES, ETL_RUNTIME_OFF };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };
enum { SETTINGS_WHY_MAX = 1100 };

struct settings {
    struct config *config;
    struct str listen, tls_listen; /* "HOST:PORT"; empty = none */
    struct str tls_cert, tls_key;  /* PEM files */
    struct config_list data;       /* directories, one per disk */
    enum auth_mode auth;
    struct str access_key, secret_key, region;
    struct config_list domains, website_domains;
    struct str tokens_keys, tokens_issuer, tokens_audience;
    struct str encryption_key_file, encryption_key;
    struct str identity_key_file, oidc_issuer, oidc_audience, oidc_keys;
    uint32_t threads, io_threads, cpu_threads; /* never 0 once loaded; nor is store.cache_bytes */
    uint32_t drain_timeout_ms;
    struct http_limits limits;
    struct str redundancy_text;
    struct redundancy redundancy; /* once checked: of redundancy_text */
    struct local_conf store;      /* without mountpaths and pools */
    uint64_t archives_cache;      /* bytes of indexes in memory */
    struct arc_batches_conf batches;
    uint64_t jobs_bandwidth;        /* bytes per second; 0 = no limit */
    uint32_t space_low, space_high; /* percent */
    uint32_t lifecycle_day_s;
    struct str promote_dirs; /* "/a:/b"; empty = none */
    bool download_private;
    enum etl_runtime_kind etl_runtime;
    enum etl_isolation etl_isolation;
    struct config_list etl_images; /* "IMAGE=COMMAND" */
    struct config_list etl_admins; /* access keys and subjects of tokens */
    struct str etl_path, etl_dir, etl_docker_socket;
    struct str kube_server, kube_token_file, kube_ca_file, kube_namespace, kube_node, kube_pod, kube_address;
    uint32_t etl_uid;        /* 0 = nobody */
    uint64_t etl_memory_max; /* bytes; 0 = no limit */
    enum log_level log_level;
    enum log_format log_format;
    bool log_access;
    uint32_t log_flush_ms;
    struct config_list webhooks; /* "NAME=ADDRESS" */
    struct str webhook_tokens, webhook_ca, notify_dir;
    bool webhook_private;
    uint32_t webhook_queue, webhook_keep_s;
    struct str audit_file;
    bool audit_all;

    /* roles of a cluster */
    struct config_list cluster_etcd; /* "http://HOST:PORT"; empty = no cluster */
    struct str cluster_prefix;       /* of all keys in etcd */
    struct str cluster_user, cluster_password;
    struct str cluster_ca, cluster_cert, cluster_key;     /* PEM files for etcd */
    struct str cluster_secret, cluster_secret_file;       /* once checked: cluster_secret, wherever it came from */
    struct str cluster_zone;                              /* empty = the node itself */
    struct str cluster_internal_listen;                   /* "HOST:PORT" */
    struct str cluster_advertise, cluster_public_address; /* empty = as bound; none */
    uint32_t cluster_weight;                              /* GiB; 0 = capacity of the disks */
    uint32_t lease_s;
    bool cluster_share_listen;
    struct str cluster_tls_ca, cluster_tls_cert, cluster_tls_key; /* PEM files for node-to-node TLS */
    char *secret_text;                                            /* owned: read from cluster_secret_file */
};

/* Fills `s` from the file, the environment and argv (flags only), and sets up logging. BLOCKING. */
MUST_USE enum err settings_load(struct settings *s, int argc, char **argv, char why[SETTINGS_WHY_MAX]);
/* What only a server needs to hold: a data directory, an address, TLS files in pairs, no open server beyond loopback.
 */
MUST_USE enum err settings_check_serve(struct settings *s, char why[SETTINGS_WHY_MAX]);
/* What a gateway and a target of a cluster need: etcd, the secret (read from its file here: BLOCKING), and the addresses of
 * their role. */
MUST_USE enum err settings_check_gateway(struct settings *s, char why[SETTINGS_WHY_MAX]);
MUST_USE enum err settings_check_target(struct settings *s, char why[SETTINGS_WHY_MAX]);
/* What any command that speaks with etcd needs. */
MUST_USE enum err settings_check_etcd(const struct settings *s, char why[SETTINGS_WHY_MAX]);
/* Reads redundancy_text; what serves clients includes it. */
MUST_USE enum err settings_check_redundancy(struct settings *s, char why[SETTINGS_WHY_MAX]);
/* Whether others could reach "HOST:PORT" by that text: not with an empty host, 0.0.0.0 or [::]. */
bool settings_is_wildcard(struct str address);
/* Only the defaults, for help and documentation. */
void settings_defaults(struct settings *s);
void settings_free(struct settings *s);

#endif
