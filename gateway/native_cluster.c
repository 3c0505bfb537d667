/* What the cluster is, as AIStore's clients ask: the map, nodes, settings that clients look at. Every node is reached through the gateway
 * that is asked, so that clients that choose a target by themselves get there, too. */
#include "base/hash.h"
#include "gateway/native_request.h"
#include "gateway/native_steps.h"
#include "store/map.h"

step_fn native_daemon, native_reverse; /* native_routes.def; GET cluster comes by native_get_cluster */

enum { DIGEST_SEED = 1103515245, FLAG_MAINTENANCE = 4, FLAG_DECOMMISSION = 8 };

static void add_net(struct native_request *r, const char *key)
{
    struct str host = r->http->host, port = r->http->secure ? STR("443") : STR("80"), name = host;

    for (size_t i = host.n; i > 0 && host.p[i - 1] != ']'; i--)
        if (host.p[i - 1] == ':') {
            port = str_skip(host, i);
            name = str_n(host.p, i - 1);
            break;
        }
    js_key(&r->text, str_z(key));
    js_object(&r->text);
    js_put_str(&r->text, "node_hostname", name);
    js_put_str(&r->text, "daemon_port", port);
    js_put_str(&r->text, "direct_url",
               arena_printf(r->arena, "%s://" STR_FMT, r->http->secure ? "https" : "http", STR_ARG(host)));
    js_end_object(&r->text);
}

static void add_node(struct native_request *r, struct str id, bool target, unsigned flags)
{
    js_object(&r->text);
    js_put_str(&r->text, "daemon_id", id);
    js_put_str(&r->text, "daemon_type", target ? STR("target") : STR("proxy"));
    add_net(r, "public_net");
    add_net(r, "intra_control_net");
    add_net(r, "intra_data_net");
    js_put_u64(&r->text, "flags", flags);
    js_put_u64(&r->text, "id_digest", hash_place(id, DIGEST_SEED));
    js_end_object(&r->text);
}

static unsigned flags_of(const struct map_node *n)
{
    return n->state == NODE_MAINTENANCE ? FLAG_MAINTENANCE : n->state == NODE_LEAVING ? FLAG_DECOMMISSION : 0;
}

/* One machine is a proxy and a target of the same id. */
static void add_targets(struct native_request *r, const struct map *map)
{
    if (!map) {
        js_key(&r->text, r->env->conf->node_id);
        add_node(r, r->env->conf->node_id, true, 0);
    }
    for (size_t i = 0; map && i < map->node_count; i++) {
        js_key(&r->text, map->nodes[i].id);
        add_node(r, map->nodes[i].id, true, flags_of(&map->nodes[i]));
    }
}

static void tell_smap(struct native_request *r, const struct map *map)
{
    struct str self = r->env->conf->node_id;

    js_object(&r->text);
    js_key(&r->text, STR("pmap"));
    js_object(&r->text);
    js_key(&r->text, self);
    add_node(r, self, false, 0);
    js_end_object(&r->text);
    js_key(&r->text, STR("tmap"));
    js_object(&r->text);
    add_targets(r, map);
    js_end_object(&r->text);
    js_key(&r->text, STR("proxy_si"));
    add_node(r, self, false, 0);
    js_put_str(&r->text, "version", arena_u64(r->arena, map && map->epoch ? map->epoch : 1));
    js_put_str(&r->text, "uuid", r->env->conf->cluster_id);
    js_put_str(&r->text, "creation_time", arena_u64(r->arena, r->env->conf->started_ns));
    js_end_object(&r->text);
}

/* What clients look at to know whether they must sign and may go to targets. */
static void tell_config(struct native_request *r)
{
    js_object(&r->text);
    js_put_str(&r->text, "uuid", r->env->conf->cluster_id);
    js_key(&r->text, STR("auth"));
    js_object(&r->text);
    js_put_bool(&r->text, "enabled", !r->env->s3->conf->auth_none);
    js_end_object(&r->text);
    js_end_object(&r->text);
}

static void tell_status(struct native_request *r, struct str id, bool target, unsigned flags)
{
    js_object(&r->text);
    js_key(&r->text, STR("snode"));
    add_node(r, id, target, flags);
    js_put_str(&r->text, "status", flags ? STR("maintenance") : STR("online"));
    js_put_str(&r->text, "ais_version", STR("sluice " SLUICE_VERSION));
    js_end_object(&r->text);
}

static enum err tell_node(struct native_request *r, const struct map *map, struct str id)
{
    struct str what = native_query(r, STR("what"));
    bool self = id.n == 0 || str_eq(id, r->env->conf->node_id);
    int at = map && !self ? map_find(map, id) : -1;
    unsigned flags = at >= 0 ? flags_of(&map->nodes[at]) : 0;

    if (!self && at < 0) {
        r->error_status = 404;
        return native_error(r, ERR_NOT_FOUND, "node \"" STR_FMT "\" does not exist", STR_ARG(id));
    }
    id = self ? r->env->conf->node_id : id;
    if (str_eq(what, STR("smap")))
        tell_smap(r, map);
    else if (str_eq(what, STR("snode")))
        add_node(r, id, !self || !map, flags);
    else if (str_eq(what, STR("node_status")))
        tell_status(r, id, !self || !map, flags);
    else
        return native_error(r, ERR_NOT_IMPLEMENTED, "GET daemon: what=" STR_FMT " is not served here", STR_ARG(what));
    return ERR_OK;
}

static enum step_next answer(struct op *op, bool cluster, struct str id)
{
    struct native_request *r = NATIVE(op);
    const struct map *map = r->env->members ? members_map(r->env->members) : NULL;
    enum err e = ERR_OK;

    if (cluster && str_eq(native_query(r, STR("what")), STR("cluster_config")))
        tell_config(r);
    else
        e = tell_node(r, map, id);
    if (map)
        map_release(map);
    return e == ERR_OK ? op_go(op, native_send) : op_fail(op, e);
}

enum step_next native_cluster(struct op *op)
{
    return answer(op, true, STR(""));
}

enum step_next native_daemon(struct op *op)
{
    return answer(op, false, STR(""));
}

enum step_next native_reverse(struct op *op)
{
    return answer(op, false, http_header_get(NATIVE(op)->http, STR("ais-node-id")));
}
