#include "settings.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define F(field) CONFIG_FIELD(struct settings, field)

/* Groups ("limits.") stay together: they are printed as one block. */
static const struct config_option options[] = {
    {"data", CONFIG_LIST, F(data), "",
     "Directories that hold the objects, one per disk. The first one also holds the "
     "bucket records and generated credentials."},
    {"listen", CONFIG_TEXT, F(listen), "127.0.0.1:9000",
     "Address and port to serve on; `:9000` is every address, port 0 any free one. Speaks TLS when `tls.cert` is set "
     "and `tls.listen` is not. May be empty when `tls.listen` is set."},
    {"tls.listen", CONFIG_TEXT, F(tls_listen), "", "A second address that speaks TLS while `listen` stays plain."},
    {"tls.cert", CONFIG_TEXT, F(tls_cert), "", "PEM file with the certificate and its chain. Read again on SIGHUP."},
    {"tls.key", CONFIG_TEXT, F(tls_key), "", "PEM file with the private key."},
    {"auth", CONFIG_CHOICE, F(auth), "signed",
     "`signed` asks every S3 request for a signature; `none` serves everybody as the owner and is refused on "
     "addresses other than loopback.",
     .choices = "signed|none"},
    {"access_key", CONFIG_TEXT, F(access_key), "",
     "The access key that may sign. Without it a pair is generated at the first start and kept in the first data "
     "directory."},
    {"secret_key", CONFIG_TEXT, F(secret_key), "", "The secret of `access_key`. Never printed or logged.",
     .secret = true},
    {"region", CONFIG_TEXT, F(region), "us-east-1",
     "The region that answers name. Any region is accepted in signatures."},
    {"domains", CONFIG_LIST, F(domains), "",
     "Domains for virtual-host style: a request to `BUCKET.DOMAIN` is for that bucket."},
    {"website_domains", CONFIG_LIST, F(website_domains), "",
     "Domains whose subdomains are websites: `BUCKET.DOMAIN` is answered as docs/websites.md says."},
    {"durability", CONFIG_CHOICE, F(store.durability), "sync",
     "`sync` answers once data and index are on disk; `async` survives a crash of the process, but a power cut may "
     "lose "
     "the last seconds of answered writes.",
     .choices = "sync|async"},
    {"redundancy", CONFIG_TEXT, F(redundancy_text), "none",
     "What buckets are made with that are made without the header `x-sluice-redundancy`: `none`; `mirror=N` keeps N "
     "copies "
     "on different disks of a machine; in a cluster `replicas=N` keeps objects on N targets, and `ec=D+P` cuts large "
     "ones into D slices of data and P of parity on D+P targets. A bucket keeps what it was made with."},
    {"threads", CONFIG_COUNT, F(threads), "0", "Event loops that serve connections; 0 = one per core.", .max = 1024},
    {"io_threads", CONFIG_COUNT, F(io_threads), "16", "Threads for disk work that blocks.", .min = 1, .max = 1024},
    {"cpu_threads", CONFIG_COUNT, F(cpu_threads), "0", "Threads for hashing and decoding; 0 = one per core.",
     .max = 1024},
    {"drain_timeout", CONFIG_DURATION_MS, F(drain_timeout_ms), "30s",
     "How long requests may go on after SIGTERM or SIGINT before they are cut.", .max = 86400000},
    {"limits.connections_max", CONFIG_COUNT, F(limits.connections_max), "8192",
     "Open connections per event loop and address; beyond it no more are accepted until some close.", .min = 1},
    {"limits.head_max", CONFIG_SIZE, F(limits.head_max), "64KiB", "Request line and headers: 431 beyond.", .min = 1024,
     .max = 1 << 20},
    {"limits.headers_max", CONFIG_COUNT, F(limits.headers_max), "128", "Number of headers: 431 beyond.", .min = 8,
     .max = 4096},
    {"limits.head_timeout", CONFIG_DURATION_MS, F(limits.head_timeout_ms), "10s",
     "From the first byte of a request to the end of its headers.", .min = 1},
    {"limits.body_timeout", CONFIG_DURATION_MS, F(limits.body_timeout_ms), "60s",
     "Without a byte of a body that is being read.", .min = 1},
    {"limits.idle_timeout", CONFIG_DURATION_MS, F(limits.idle_timeout_ms), "75s",
     "A connection that is kept open between requests.", .min = 1},
    {"limits.send_timeout", CONFIG_DURATION_MS, F(limits.send_timeout_ms), "60s",
     "Without progress while an answer is being sent.", .min = 1},
    {"limits.drain_body_max", CONFIG_SIZE, F(limits.drain_body_max), "256KiB",
     "How much of a refused body is read and dropped to keep the connection; beyond it the connection is closed."},
    {"store.inline_max", CONFIG_SIZE, F(store.inline_max), "16KiB",
     "Objects up to this size live in the index instead of a file of their own.", .max = 65536},
    {"store.cache_bytes", CONFIG_SIZE, F(store.cache_bytes), "0",
     "Memory for hot records and small bodies; 0 = a sixteenth of the machine's or container's, 64MiB to 4GiB."},
    {"store.index_cache_bytes", CONFIG_SIZE, F(store.index_cache_bytes), "256MiB", "Memory for blocks of the index.",
     .min = 1 << 20},
    {"store.open_files_max", CONFIG_COUNT, F(store.open_files_max), "4096", "Content files kept open for reading.",
     .min = 16},
    {"store.full_percent", CONFIG_COUNT, F(store.full_percent), "97",
     "A disk that is fuller refuses writes with InsufficientStorage.", .min = 1, .max = 100},
    {"store.high_percent", CONFIG_COUNT, F(store.high_percent), "90",
     "A disk that is fuller is reported in log and metrics.", .min = 1, .max = 100},
    {"store.orphan_grace", CONFIG_DURATION_S, F(store.orphan_grace_s), "1h",
     "How old a content file that no record names must be before it is removed."},
    {"store.verify_reads", CONFIG_BOOL, F(store.verify_reads), "false",
     "Check block hashes before bytes leave; costs a read of the block for each range."},
    {"store.allow_missing", CONFIG_BOOL, F(store.allow_missing), "false",
     "Start even though a data directory that belongs to the server can't be used: it counts as disabled."},
    {"tokens.keys", CONFIG_TEXT, F(tokens_keys), "",
     "PEM file with public keys, RSA (RS256) or P-256 (ES256): who has a token signed by one of them is the owner at "
     "`/v1`. Tokens of `sluice token` are always accepted."},
    {"tokens.issuer", CONFIG_TEXT, F(tokens_issuer), "", "What such a token must say in `iss`; empty = anything."},
    {"tokens.audience", CONFIG_TEXT, F(tokens_audience), "", "What such a token must say in `aud`; empty = anything."},
    {"encryption.key_file", CONFIG_TEXT, F(encryption_key_file), "",
     "File with the master keys under which encrypted objects are kept (docs/encryption.md), one per line, the first "
     "for "
     "what is new; the same on every node. Empty = nothing can be encrypted."},
    {"encryption.key", CONFIG_TEXT, F(encryption_key), "",
     "A master key instead of such a file, 32 characters or more.", .secret = true},
    {"identity.key_file", CONFIG_TEXT, F(identity_key_file), "",
     "File with the key that secrets of users and tokens of sessions are sealed with, the same on every gateway; empty "
     "= "
     "a key that follows from `secret_key` (docs/identities.md)."},
    {"identity.oidc_issuer", CONFIG_TEXT, F(oidc_issuer), "",
     "Identity provider whose tokens let people assume roles (AssumeRoleWithWebIdentity): what they say in `iss`."},
    {"identity.oidc_audience", CONFIG_TEXT, F(oidc_audience), "", "What such a token must say in `aud`."},
    {"identity.oidc_keys", CONFIG_TEXT, F(oidc_keys), "",
     "The provider's key set (JWKS): an address, fetched when it is needed and every hour, or a file."},
    {"archives.cache", CONFIG_SIZE, F(archives_cache), "256MiB",
     "Server and gateway: memory for the indexes of archives (docs/archives.md)."},
    {"batch.running_max", CONFIG_COUNT, F(batches.running_max), "64",
     "Batches (`/v1/ml/moss`, `POST /bucket?batch`) answered at a time; more are told to come again.", .min = 1},
    {"batch.memory_max", CONFIG_SIZE, F(batches.bytes_max), "512MiB",
     "Memory that the windows of all batches may take: 5 MiB each, 15 MiB of a compressed one."},
    {"batch.soft_errors_max", CONFIG_COUNT, F(batches.soft_errors_max), "0",
     "Entries of one batch that may be missing when its client goes on with errors; 0 = any number."},
    {"jobs.bandwidth", CONFIG_SIZE, F(jobs_bandwidth), "0",
     "Target: bytes per second that background jobs of this process (rebalance, scrub) may move or read together; 0 = "
     "no limit."},
    {"space.low", CONFIG_COUNT, F(space_low), "75",
     "How full the data directories may be, in percent, after copies of remote objects were evicted.", .max = 100},
    {"space.high", CONFIG_COUNT, F(space_high), "90",
     "How full they must be, in percent, for copies of remote objects to be evicted, least recently used first.",
     .min = 1, .max = 100},
    {"lifecycle.day", CONFIG_DURATION_S, F(lifecycle_day_s), "24h",
     "How long a day of lifecycle rules and inventories is; another length is for trying them out.", .min = 1},
    {"download.private", CONFIG_BOOL, F(download_private), "false",
     "Downloads may come from loopback, private and link-local addresses, too: whoever may start one reaches what this "
     "machine "
     "reaches."},
    {"promote.dirs", CONFIG_TEXT, F(promote_dirs), "",
     "Directories of this machine, separated by `:`, whose files may be promoted to objects; empty = none."},
    {"etl.runtime", CONFIG_CHOICE, F(etl_runtime), "process",
     "Server and target: what sidecars of ETLs run as (docs/etl.md): `process` of this machine, containers of "
     "`docker`, Pods of `kubernetes`, "
     "or none: `off`.",
     .choices = "process|docker|kubernetes|off"},
    {"etl.isolation", CONFIG_CHOICE, F(etl_isolation), "sandbox",
     "How processes of ETLs are kept apart: a `sandbox` of namespaces, without which none is started, or `none`: they "
     "reach "
     "what this machine reaches, and only their user keeps them from its files.",
     .choices = "sandbox|none"},
    {"etl.images", CONFIG_LIST, F(etl_images), "",
     "`IMAGE=COMMAND`: what an image that a specification names stands for where sidecars are processes. IMAGE may end "
     "in `*`; the command goes in front of the specification's own."},
    {"etl.path", CONFIG_TEXT, F(etl_path), "", "Where processes of ETLs find programs, as in PATH; empty = as usual."},
    {"etl.user", CONFIG_COUNT, F(etl_uid), "0",
     "User and group id of processes of ETLs, where the server runs as root, and of Pods whose image says none; 0 = "
     "nobody's, 65534."},
    {"etl.memory_max", CONFIG_SIZE, F(etl_memory_max), "0",
     "Memory of a sidecar whose specification says nothing of it; 0 = no limit."},
    {"etl.dir", CONFIG_TEXT, F(etl_dir), "",
     "Directory for the private files of ETLs, emptied at the start; empty = `etl` in the first data directory."},
    {"etl.docker_socket", CONFIG_TEXT, F(etl_docker_socket), "/var/run/docker.sock",
     "Where the Docker Engine, or Podman, answers."},
    {"etl.kube_server", CONFIG_TEXT, F(kube_server), "",
     "Where the Kubernetes API server answers, `https://HOST:PORT`; empty = as its Pods are told."},
    {"etl.kube_token_file", CONFIG_TEXT, F(kube_token_file), "",
     "File with the token for the API server, read anew for each question; empty = the Pod's service account's."},
    {"etl.kube_ca_file", CONFIG_TEXT, F(kube_ca_file), "",
     "PEM file with who has signed the API server's certificate; empty = the Pod's service account's."},
    {"etl.kube_namespace", CONFIG_TEXT, F(kube_namespace), "", "Namespace of the Pods of ETLs; empty = the Pod's own."},
    {"etl.kube_node", CONFIG_TEXT, F(kube_node), "",
     "What Kubernetes calls this node, where Pods of ETLs are to run; empty = `NODE_NAME` of the environment, or the "
     "node of the Pod itself."},
    {"etl.kube_pod", CONFIG_TEXT, F(kube_pod), "",
     "The server's own Pod, to which Pods of ETLs belong; empty = `POD_NAME` of the environment, or the Pod's host "
     "name."},
    {"etl.kube_address", CONFIG_TEXT, F(kube_address), "",
     "IP address of the server at which Pods of ETLs reach it; empty = `POD_IP` of the environment, or the Pod's own."},
    {"etl.admins", CONFIG_LIST, F(etl_admins), "",
     "Who may make, stop and delete ETLs beside the owner: access keys, and subjects (`sub`) of tokens."},
    {"cluster.etcd", CONFIG_LIST, F(cluster_etcd), "",
     "Where etcd answers, `http://HOST:2379` or `https://...`; tried in turn. Gateways, targets and `sluice cluster` "
     "need it."},
    {"cluster.prefix", CONFIG_TEXT, F(cluster_prefix), "/sluice/default/",
     "What all keys of this cluster in etcd begin with; another one is another cluster."},
    {"cluster.user", CONFIG_TEXT, F(cluster_user), "", "User at etcd, when it asks for one."},
    {"cluster.password", CONFIG_TEXT, F(cluster_password), "", "Password of `cluster.user`. Never printed or logged.",
     .secret = true},
    {"cluster.ca", CONFIG_TEXT, F(cluster_ca), "",
     "PEM file with the CA of etcd's certificates; empty = the system's."},
    {"cluster.cert", CONFIG_TEXT, F(cluster_cert), "", "PEM file with the client certificate to show to etcd."},
    {"cluster.key", CONFIG_TEXT, F(cluster_key), "", "PEM file with the private key of `cluster.cert`."},
    {"cluster.secret", CONFIG_TEXT, F(cluster_secret), "",
     "The secret that the nodes of a cluster share and sign their requests with: 16 to 256 bytes, the same everywhere. "
     "Never printed or logged.",
     .secret = true},
    {"cluster.secret_file", CONFIG_TEXT, F(cluster_secret_file), "",
     "File to read `cluster.secret` from; a newline at its end does not count."},
    {"cluster.zone", CONFIG_TEXT, F(cluster_zone), "",
     "Target: what fails together with others of the same name, such as a rack; empty = the target alone."},
    {"cluster.internal_listen", CONFIG_TEXT, F(cluster_internal_listen), "127.0.0.1:9100",
     "Target: address and port for other nodes; port 0 is any free one. Keep it off public networks."},
    {"cluster.advertise", CONFIG_TEXT, F(cluster_advertise), "",
     "Target: `HOST:PORT` where other nodes reach `cluster.internal_listen`; empty = as it is bound."},
    {"cluster.public_address", CONFIG_TEXT, F(cluster_public_address), "",
     "Target: `HOST:PORT` where clients could reach it; kept in the map, empty = nowhere."},
    {"cluster.weight", CONFIG_COUNT, F(cluster_weight), "0",
     "Target: its share of the keys, in GiB; 0 = the capacity of its disks."},
    {"cluster.lease", CONFIG_DURATION_S, F(lease_s), "5s",
     "Target: after so long without a sign of it the others take it for dead.", .min = 2, .max = 600},
    {"cluster.share_listen", CONFIG_BOOL, F(cluster_share_listen), "false",
     "Gateway: let other gateways of the same user listen on the same address of this machine; the kernel spreads "
     "connections over them."},
    {"cluster.tls_cert", CONFIG_TEXT, F(cluster_tls_cert), "",
     "PEM file with the certificate for TLS between nodes. Set on all nodes or on none."},
    {"cluster.tls_key", CONFIG_TEXT, F(cluster_tls_key), "", "PEM file with the private key of `cluster.tls_cert`."},
    {"cluster.tls_ca", CONFIG_TEXT, F(cluster_tls_ca), "",
     "PEM file with the CA that the certificates of other nodes must be from. Gateways: this alone turns TLS on."},
    {"log.level", CONFIG_CHOICE, F(log_level), "info", "The most talkative level that is written.",
     .choices = "error|warn|info|debug"},
    {"log.format", CONFIG_CHOICE, F(log_format), "text", "`text` is key=value, `json` one object per line.",
     .choices = "text|json"},
    {"log.access", CONFIG_BOOL, F(log_access), "false", "One line per request."},
    {"logging.flush", CONFIG_DURATION_MS, F(log_flush_ms), "60s",
     "After what time lines of access logs (PutBucketLogging, docs/logging.md) are written to their bucket.",
     .min = 100},
    {"notifications.webhooks", CONFIG_LIST, F(webhooks), "",
     "`NAME=ADDRESS` of webhooks that buckets may send their events to (docs/notifications.md), the same on every "
     "node."},
    {"notifications.token_file", CONFIG_TEXT, F(webhook_tokens), "",
     "File with a line `NAME TOKEN` for each webhook that is to get `Authorization: Bearer TOKEN`."},
    {"notifications.ca", CONFIG_TEXT, F(webhook_ca), "",
     "PEM file with the CA of the webhooks' certificates; empty = the system's."},
    {"notifications.private", CONFIG_BOOL, F(webhook_private), "false",
     "Webhooks may be at loopback, private and link-local addresses, too."},
    {"notifications.dir", CONFIG_TEXT, F(notify_dir), "",
     "Directory where events wait for their webhooks; empty = `notifications` in the first data directory. A gateway "
     "of "
     "a cluster has none: it needs this where there are webhooks."},
    {"notifications.queue", CONFIG_COUNT, F(webhook_queue), "100000",
     "Events that may wait for one webhook; further ones are dropped, logged and counted.", .min = 1},
    {"notifications.keep", CONFIG_DURATION_S, F(webhook_keep_s), "168h",
     "For how long an event is tried; then it is dropped, logged and counted.", .min = 1},
    {"audit.file", CONFIG_TEXT, F(audit_file), "",
     "Server and gateway: file that gets a line of JSON for each request that changes how something is set up "
     "(docs/operations.md); empty = none."},
    {"audit.all", CONFIG_BOOL, F(audit_all), "false", "All requests are audited, not only those."},
};

void settings_defaults(struct settings *s)
{
    *s = (struct settings){.limits = HTTP_LIMITS_DEFAULT, .store = LOCAL_CONF_DEFAULT};
    s->config = config_new(options, sizeof(options) / sizeof(*options), "SLUICE_", s);
}

void settings_free(struct settings *s)
{
    config_free(s->config);
    s->config = NULL;
    free(s->secret_text);
    s->secret_text = NULL;
}

/* Cores this process may use. */
static uint32_t cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

    return n > 0 ? (uint32_t)n : 1;
}

/* A number in a file of the kernel's; 0 when there is none. */
static uint64_t number_in(const char *path)
{
    char text[32] = "";
    FILE *f = fopen(path, "re");
    uint64_t n = 0;

    if (f && fgets(text, sizeof(text), f)) {
        struct str line = str_z(text);
        (void)str_to_u64(str_split(&line, '\n'), UINT64_MAX, &n); /* "max" is none */
    }
    if (f)
        fclose(f);
    return n;
}

/* What this process may use: the machine's, or less in a container (cgroups v2 and v1). */
static uint64_t memory_bytes(void)
{
    static const char *const limits[] = {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    uint64_t all = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;

    for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
        uint64_t limit = number_in(limits[i]);
        if (limit && limit < all)
            all = limit;
    }
    return all;
}

static uint64_t cache_share(void)
{
    uint64_t share = memory_bytes() / 16;

    return share < UINT64_C(64) << 20 ? UINT64_C(64) << 20 : share > UINT64_C(4) << 30 ? UINT64_C(4) << 30 : share;
}

enum err settings_load(struct settings *s, int argc, char **argv, char why[SETTINGS_WHY_MAX])
{
    enum err e;

    settings_defaults(s);
    if ((e = config_load(s->config, argc, argv, environ)) != ERR_OK) {
        snprintf(why, SETTINGS_WHY_MAX, "%s", config_why(s->config));
        settings_free(s);
        return e;
    }
    if (s->threads == 0)
        s->threads = cores();
    if (s->cpu_threads == 0)
        s->cpu_threads = cores();
    if (s->store.cache_bytes == 0)
        s->store.cache_bytes = cache_share();
    log_setup(s->log_level, s->log_format == LOG_FORMAT_JSON);
    if (config_suspect(s->config))
        log_warn(STR_NONE, "variable is not an option", "name=%s", log_quote(str_z(config_suspect(s->config))));
    return ERR_OK;
}
