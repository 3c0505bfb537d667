#include "role_cluster.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "cli/etcd.h"
#include "cli/process.h"

enum { ETCD_WAIT_S = 60, ETCD_PAUSE_MS_MIN = 250, ETCD_PAUSE_MS_MAX = 4000 };

/* Nodes and etcd are often started together: whoever is first waits. */
static enum err wait_meta(struct role_cluster *c, struct role *r, char why[ROLE_WHY_MAX])
{
    uint64_t until = clock_mono_ns() + ETCD_WAIT_S * UINT64_C(1000000000);
    uint32_t pause_ms = ETCD_PAUSE_MS_MIN;
    char reason[256];
    enum err e;

    while ((e = etcd_open(&r->settings, &c->meta, reason)) == ERR_UNAVAILABLE && clock_mono_ns() < until) {
        log_warn(STR_NONE, "etcd is not there yet", "why=%s pause_ms=%u", log_quote(str_z(reason)), pause_ms);
        if (process_stopped_within(r->signals, pause_ms)) {
            snprintf(why, ROLE_WHY_MAX, "stopped while waiting for etcd: %s", reason);
            return ERR_CANCELLED;
        }
        pause_ms = pause_ms * 2 < ETCD_PAUSE_MS_MAX ? pause_ms * 2 : ETCD_PAUSE_MS_MAX;
    }
    if (e != ERR_OK)
        snprintf(why, ROLE_WHY_MAX, "etcd: %s", reason);
    return e;
}

static enum err open_tls(struct role_cluster *c, const struct settings *s, char why[ROLE_WHY_MAX])
{
    struct tls_client_conf conf = {.ca_file = s->cluster_tls_ca.n ? s->cluster_tls_ca.p : NULL,
                                   .cert_file = s->cluster_tls_cert.n ? s->cluster_tls_cert.p : NULL,
                                   .key_file = s->cluster_tls_key.n ? s->cluster_tls_key.p : NULL};

    return s->cluster_tls_ca.n || s->cluster_tls_cert.n ? tls_client_new(&conf, &c->tls, why) : ERR_OK;
}

enum err role_cluster_open(struct role_cluster *c, struct role *r, struct str self, char why[ROLE_WHY_MAX])
{
    const struct settings *s = &r->settings;
    enum err e;

    c->role = r;
    if ((e = open_tls(c, s, why)) != ERR_OK || (e = wait_meta(c, r, why)) != ERR_OK)
        return e;
    if ((e = members_open(&(struct members_conf){c->meta, self, s->lease_s}, &c->members)) != ERR_OK)
        snprintf(why, ROLE_WHY_MAX, "cannot read the map of the cluster (%s)", err_name(e));
    c->view = (struct view){c->members, c->meta, self};
    return e;
}

void role_cluster_close(struct role_cluster *c)
{
    if (c->members)
        members_close(c->members);
    if (c->meta)
        meta_close(c->meta);
    if (c->tls)
        tls_client_free(c->tls);
}

struct peer_pool *role_cluster_peers(const struct role_cluster *c, struct loop *loop)
{
    return peer_pool_new(&(struct peer_conf){
        .loop = loop, .io = c->role->io, .tls = c->tls, .is_there = remote_is_there, .is_there_arg = c->members});
}

struct remote_env role_cluster_remote(const struct role_cluster *c, struct loop *loop, struct peer_pool *peers)
{
    return (struct remote_env){
        .loop = loop, .peers = peers, .members = c->members, .cluster_key = c->role->settings.cluster_secret};
}

/* ---- what operators are told ---- */

static bool ready(void *view, char why[CONTROL_WHY_MAX])
{
    return view_ready(view, why, CONTROL_WHY_MAX);
}

static void cluster(void *view, struct buf *json)
{
    view_json(view, json);
}

static void metrics(void *view, struct buf *out)
{
    view_metrics(view, out);
}

struct control_role role_cluster_control(struct role_cluster *c)
{
    return (struct control_role){ready, cluster, metrics, &c->view};
}
