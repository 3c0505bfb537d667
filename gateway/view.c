#include "view.h"

#include <stdio.h>

#include "base/json.h"

enum { STATES = NODE_LEAVING + 1 };

static unsigned in_sync(const struct map *m)
{
    unsigned n = 0;

    for (unsigned i = 0; i < m->node_count; i++)
        n += m->nodes[i].sync == SYNC_IN;
    return n;
}

void view_json(const struct view *v, struct buf *out)
{
    const struct map *m = members_map(v->members);

    js_object(out);
    js_put_u64(out, "epoch", m->epoch);
    js_put_bool(out, "moving", m->previous_count > 0);
    js_put_u64(out, "term", m->term);
    js_put_bool(out, "settled", m->share_count > 0 && m->moving_since == 0 && in_sync(m) == m->node_count);
    js_put_bool(out, "meta_reachable", meta_reachable(v->meta));
    js_key(out, STR("nodes"));
    js_array(out);
    for (unsigned i = 0; i < m->node_count; i++) {
        const struct map_node *n = &m->nodes[i];
        js_object(out);
        js_put_str(out, "id", n->id);
        js_put_str(out, "zone", n->zone);
        js_put_str(out, "state", node_state_name(n->state));
        js_put_bool(out, "alive", members_alive(v->members, n->id));
        js_put_str(out, "sync", node_sync_name(n->sync));
        js_put_u64(out, "weight", n->weight);
        js_end_object(out);
    }
    js_end_array(out);
    js_end_object(out);
    map_release(m);
}

void view_metrics(const struct view *v, struct buf *out)
{
    const struct map *m = members_map(v->members);
    unsigned states[STATES] = {0}, alive = 0;

    for (unsigned i = 0; i < m->node_count; i++) {
        states[m->nodes[i].state]++;
        alive += members_alive(v->members, m->nodes[i].id);
    }
    buf_addf(out,
             "# HELP sluice_cluster_epoch Epoch of the map that this process knows; 0 = none.\n"
             "# TYPE sluice_cluster_epoch gauge\nsluice_cluster_epoch %llu\n",
             (unsigned long long)m->epoch);
    buf_addf(out,
             "# HELP sluice_cluster_moving Whether objects are on their way to another target.\n"
             "# TYPE sluice_cluster_moving gauge\nsluice_cluster_moving %d\n",
             m->previous_count > 0);
    buf_add_z(out, "# HELP sluice_cluster_nodes Targets in the map.\n# TYPE sluice_cluster_nodes gauge\n");
    for (unsigned i = 0; i < STATES; i++)
        buf_addf(out, "sluice_cluster_nodes{state=\"" STR_FMT "\"} %u\n", STR_ARG(node_state_name((enum node_state)i)),
                 states[i]);
    buf_addf(out,
             "# HELP sluice_cluster_nodes_alive Targets in the map whose lease is held.\n"
             "# TYPE sluice_cluster_nodes_alive gauge\nsluice_cluster_nodes_alive %u\n",
             alive);
    buf_addf(
        out,
        "# HELP sluice_cluster_nodes_in_sync Targets in the map that take part in all writes and have missed none.\n"
        "# TYPE sluice_cluster_nodes_in_sync gauge\nsluice_cluster_nodes_in_sync %u\n",
        in_sync(m));
    buf_addf(out,
             "# HELP sluice_meta_reachable Whether etcd answered lately.\n"
             "# TYPE sluice_meta_reachable gauge\nsluice_meta_reachable %d\n",
             meta_reachable(v->meta));
    map_release(m);
}

/* Enough for a gateway to serve something. */
static bool has_live_node(const struct view *v, const struct map *m)
{
    for (unsigned i = 0; i < m->node_count; i++)
        if (m->nodes[i].state == NODE_ACTIVE && members_alive(v->members, m->nodes[i].id))
            return true;
    return false;
}

bool view_ready(const struct view *v, char *why, size_t why_max)
{
    const struct map *m = members_map(v->members);
    const char *trouble = NULL;

    if (v->self.n) {
        if (map_find(m, v->self) < 0)
            trouble = "has not joined the map";
        else if (!members_alive(v->members, v->self))
            trouble = "has lost its lease";
    } else if (m->node_count == 0) {
        trouble = "no target has joined yet";
    } else if (!has_live_node(v, m)) {
        trouble = "no target is alive";
    }
    if (trouble)
        snprintf(why, why_max, "%s", trouble);
    map_release(m);
    return !trouble;
}
