/* What must hold for a role before anything is opened: sentences for a person. */
#include "settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "cli/bucket.h"
#include "s3api/cred.h"
#include "store/nodeauth.h"

/* ---- what must hold for a server ---- */

static enum err refuse(char why[SETTINGS_WHY_MAX], const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static enum err refuse(char why[SETTINGS_WHY_MAX], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, SETTINGS_WHY_MAX, fmt, ap);
    va_end(ap);
    return ERR_INVALID_ARGUMENT;
}

/* 127.0.0.0/8, ::1 and localhost, by their texts: a name that happens to resolve to loopback today is not enough. */
static bool is_loopback(struct str address)
{
    struct in_addr v4;
    struct str host = address;
    char text[INET_ADDRSTRLEN];

    while (host.n && host.p[host.n - 1] != ':')
        host.n--;
    if (host.n)
        host.n--;
    if (str_eq(host, STR("localhost")) || str_eq(host, STR("[::1]")))
        return true;
    if (host.n >= sizeof(text))
        return false;
    snprintf(text, sizeof(text), STR_FMT, STR_ARG(host));
    return inet_pton(AF_INET, text, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static enum err check_addresses(const struct settings *s, char why[SETTINGS_WHY_MAX])
{
    if (s->listen.n == 0 && s->tls_listen.n == 0)
        return refuse(why, "listen and tls.listen are both empty: there is nothing to serve on");
    if ((s->tls_cert.n == 0) != (s->tls_key.n == 0))
        return refuse(why, "tls.cert and tls.key belong together: %s is missing",
                      s->tls_cert.n ? "tls.key" : "tls.cert");
    if (s->tls_listen.n && s->tls_cert.n == 0)
        return refuse(why, "tls.listen needs tls.cert and tls.key");
    return ERR_OK;
}

static enum err check_auth(const struct settings *s, char why[SETTINGS_WHY_MAX])
{
    const struct str addresses[] = {s->listen, s->tls_listen};

    for (size_t i = 0; i < 2 && s->auth == AUTH_NONE; i++)
        if (addresses[i].n && !is_loopback(addresses[i]))
            return refuse(why,
                          "auth: none would let anyone who reaches " STR_FMT
                          " read and delete everything; it is only for loopback addresses such as 127.0.0.1:9000",
                          STR_ARG(addresses[i]));
    if ((s->access_key.n == 0) != (s->secret_key.n == 0))
        return refuse(why, "access_key and secret_key belong together: %s is missing",
                      s->access_key.n ? "secret_key" : "access_key");
    if (s->access_key.n >= ACCESS_KEY_MAX || s->secret_key.n >= SECRET_KEY_MAX)
        return refuse(why, "access_key and secret_key must be shorter than %d bytes", ACCESS_KEY_MAX);
    return ERR_OK;
}

static enum err check_store(const struct settings *s, char why[SETTINGS_WHY_MAX])
{
    if (s->data.count == 0)
        return refuse(why, "say where the objects shall live: --data DIR, once per disk");
    if (s->store.high_percent > s->store.full_percent)
        return refuse(why, "store.high_percent must not be above store.full_percent");
    return ERR_OK;
}

enum err settings_check_redundancy(struct settings *s, char why[SETTINGS_WHY_MAX])
{
    if (redundancy_parse(s->redundancy_text, &s->redundancy) != ERR_OK)
        return refuse(why, "redundancy: \"" STR_FMT "\" is not none, mirror=N, replicas=N or ec=DATA+PARITY",
                      STR_ARG(s->redundancy_text));
    return ERR_OK;
}

/* On one machine. */
static enum err check_copies(struct settings *s, char why[SETTINGS_WHY_MAX])
{
    char reason[BUCKET_WHY_MAX];
    enum err e = settings_check_redundancy(s, why);

    if (e == ERR_OK && bucket_fits_machine(s->data.count, s->redundancy, reason) != ERR_OK)
        e = refuse(why, "%s", reason);
    return e;
}

enum err settings_check_serve(struct settings *s, char why[SETTINGS_WHY_MAX])
{
    enum err e;

    if ((e = check_copies(s, why)) != ERR_OK)
        return e;
    if ((e = check_store(s, why)) != ERR_OK || (e = check_addresses(s, why)) != ERR_OK)
        return e;
    return check_auth(s, why);
}

/* ---- what must hold in a cluster ---- */

bool settings_is_wildcard(struct str address)
{
    return address.n == 0 || address.p[0] == ':' || str_starts(address, STR("0.0.0.0:")) ||
           str_starts(address, STR("[::]:"));
}

static bool is_url(struct str s)
{
    return (str_starts(s, STR("http://")) && s.n > strlen("http://")) ||
           (str_starts(s, STR("https://")) && s.n > strlen("https://"));
}

enum err settings_check_etcd(const struct settings *s, char why[SETTINGS_WHY_MAX])
{
    if (s->cluster_etcd.count == 0)
        return refuse(why, "say where etcd is: --cluster-etcd http://HOST:2379, once per member");
    for (size_t i = 0; i < s->cluster_etcd.count; i++)
        if (!is_url(s->cluster_etcd.items[i]))
            return refuse(why, "cluster.etcd: \"" STR_FMT "\" is not like http://HOST:2379",
                          STR_ARG(s->cluster_etcd.items[i]));
    if (s->cluster_prefix.n == 0 || s->cluster_prefix.p[0] != '/' ||
        s->cluster_prefix.p[s->cluster_prefix.n - 1] != '/')
        return refuse(why, "cluster.prefix must begin and end with a slash, as /sluice/default/ does");
    if ((s->cluster_user.n == 0) != (s->cluster_password.n == 0))
        return refuse(why, "cluster.user and cluster.password belong together: %s is missing",
                      s->cluster_user.n ? "cluster.password" : "cluster.user");
    if ((s->cluster_cert.n == 0) != (s->cluster_key.n == 0))
        return refuse(why, "cluster.cert and cluster.key belong together: %s is missing",
                      s->cluster_cert.n ? "cluster.key" : "cluster.cert");
    return ERR_OK;
}

static enum err read_secret(struct settings *s, char why[SETTINGS_WHY_MAX])
{
    enum { ROOM = NODEAUTH_KEY_MAX + 3 }; /* a line's end, and one more to see that there is more */
    const char *path = s->cluster_secret_file.p;
    size_t n;
    FILE *f;

    if ((f = fopen(path, "re")) == NULL)
        return refuse(why, "cluster.secret_file: %s: %s", path, strerror(errno));
    s->secret_text = mem_new(ROOM);
    n = fread(s->secret_text, 1, ROOM - 1, f);
    if (ferror(f)) {
        fclose(f);
        return refuse(why, "cluster.secret_file: %s: cannot be read", path);
    }
    fclose(f);
    if (n && s->secret_text[n - 1] == '\n')
        n--;
    if (n && s->secret_text[n - 1] == '\r')
        n--;
    s->secret_text[n] = 0;
    s->cluster_secret = str_n(s->secret_text, n);
    return ERR_OK;
}

static enum err check_secret(struct settings *s, char why[SETTINGS_WHY_MAX])
{
    enum err e;

    if (s->cluster_secret.n && s->cluster_secret_file.n && !s->secret_text)
        return refuse(why, "set cluster.secret or cluster.secret_file, not both");
    if (s->cluster_secret_file.n && !s->secret_text && (e = read_secret(s, why)) != ERR_OK)
        return e;
    if (s->cluster_secret.n == 0)
        return refuse(why, "the nodes of a cluster share a secret: set SLUICE_CLUSTER_SECRET or --cluster-secret-file");
    if (s->cluster_secret.n < NODEAUTH_KEY_MIN || s->cluster_secret.n > NODEAUTH_KEY_MAX)
        return refuse(why, "cluster.secret must have %d to %d bytes", NODEAUTH_KEY_MIN, NODEAUTH_KEY_MAX);
    return ERR_OK;
}

static enum err check_cluster(struct settings *s, char why[SETTINGS_WHY_MAX])
{
    enum err e;

    if ((e = settings_check_etcd(s, why)) != ERR_OK || (e = check_secret(s, why)) != ERR_OK)
        return e;
    if ((s->cluster_tls_cert.n == 0) != (s->cluster_tls_key.n == 0))
        return refuse(why, "cluster.tls_cert and cluster.tls_key belong together: %s is missing",
                      s->cluster_tls_cert.n ? "cluster.tls_key" : "cluster.tls_cert");
    return ERR_OK;
}

enum err settings_check_gateway(struct settings *s, char why[SETTINGS_WHY_MAX])
{
    enum err e;

    if (s->data.count)
        return refuse(why, "a gateway keeps nothing: --data belongs to targets");
    if ((e = check_addresses(s, why)) != ERR_OK || (e = check_auth(s, why)) != ERR_OK ||
        (e = check_cluster(s, why)) != ERR_OK || (e = settings_check_redundancy(s, why)) != ERR_OK)
        return e;
    if (s->auth == AUTH_SIGNED && s->access_key.n == 0)
        return refuse(why,
                      "all gateways of a cluster need the same access_key and secret_key: set SLUICE_ACCESS_KEY and "
                      "SLUICE_SECRET_KEY");
    return ERR_OK;
}

enum err settings_check_target(struct settings *s, char why[SETTINGS_WHY_MAX])
{
    enum err e;

    if ((e = check_store(s, why)) != ERR_OK || (e = check_cluster(s, why)) != ERR_OK)
        return e;
    if (s->cluster_internal_listen.n == 0)
        return refuse(why, "cluster.internal_listen is empty: other nodes could not reach this target");
    if (settings_is_wildcard(s->cluster_advertise.n ? s->cluster_advertise : s->cluster_internal_listen))
        return refuse(why, "others cannot reach " STR_FMT ": say by which HOST:PORT they can, with --cluster-advertise",
                      STR_ARG(s->cluster_advertise.n ? s->cluster_advertise : s->cluster_internal_listen));
    if (s->cluster_tls_ca.n && s->cluster_tls_cert.n == 0)
        return refuse(why, "TLS between nodes: a target needs cluster.tls_cert and cluster.tls_key too");
    return ERR_OK;
}
