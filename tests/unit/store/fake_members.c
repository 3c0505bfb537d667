#include <stdlib.h>

#include "base/buf.h"
#include "cluster_kit.h"

/* As much of members as a shard needs. */
static const struct map *current;
static uint64_t epoch;

static struct cluster_node *node_at(uint16_t at)
{
    return &cluster.nodes[strtoul(current->nodes[at].id.p, NULL, 10) - 1];
}

void cluster_remap(void)
{
    struct buf b = BUF_INIT(META_VALUE_MAX);
    const struct map *m;
    bool moving = false;

    for (unsigned i = 0; i < cluster.count; i++)
        moving |= cluster.nodes[i].weight_before > 0;
    epoch++;
    buf_addf(&b, "{\"format\":1,\"epoch\":%llu,\"moving_since\":%llu,\"nodes\":[", (unsigned long long)epoch,
             (unsigned long long)(moving ? epoch : 0));
    const char *comma = "";
    for (unsigned i = 0; i < cluster.count; i++) {
        const struct cluster_node *n = &cluster.nodes[i];
        if (!n->weight && !n->weight_before)
            continue;
        buf_addf(&b, "%s{\"id\":\"%s\",\"address\":\"127.0.0.1:1\",\"weight\":1,\"state\":\"" STR_FMT "\"", comma,
                 n->id, STR_ARG(node_state_name(n->state)));
        if (n->weight)
            buf_addf(&b, ",\"share\":%u", n->weight);
        if (n->weight_before)
            buf_addf(&b, ",\"previous\":%u", n->weight_before);
        buf_addf(&b, "}");
        comma = ",";
    }
    buf_addf(&b, "]}");
    assert_err(map_parse(buf_str(&b), &m), ERR_OK);
    buf_release(&b);
    map_release(current);
    current = m;
    for (uint16_t i = 0; i < m->node_count; i++) { /* tests bring about more than the changes of a map would */
        struct map_node *node = (struct map_node *)(uintptr_t)&m->nodes[i];
        node->sync = node_at(i)->sync;
        node->out_since = node_at(i)->out_since;
    }
}

size_t cluster_members(struct bucket_id bucket, struct str key, struct cluster_node *out[CLUSTER_MAX])
{
    struct map_members s;

    map_members(current, bucket.uid, key, redundancy_width(bucket.redundancy), &s);
    for (size_t i = 0; i < s.count; i++)
        out[i] = node_at(s.nodes[i]);
    return s.count;
}

void cluster_close(void)
{
    for (unsigned i = 0; i < cluster.count; i++) {
        assert_int_equal(cluster.nodes[i].handles, 0);
        store_close(cluster.nodes[i].memory);
    }
    map_release(current);
    current = NULL;
}

const struct map *members_map(struct members *m)
{
    (void)m;
    return map_hold(current);
}

bool members_alive(struct members *m, struct str id)
{
    (void)m;
    return cluster.nodes[strtoul(id.p, NULL, 10) - 1].alive;
}

struct cluster_node *cluster_owner(struct bucket_id bucket, struct str key)
{
    uint16_t at;

    assert_int_equal(map_place(current, bucket.uid, key, 1, &at), 1);
    return node_at(at);
}

struct cluster_node *cluster_owner_before(struct bucket_id bucket, struct str key)
{
    uint16_t at;

    assert_int_equal(map_place_before(current, bucket.uid, key, 1, &at), 1);
    return node_at(at);
}

struct store *remote_store_new(const struct remote_env *env, struct str id)
{
    (void)env;
    (void)id;
    abort();
}

void remote_store_at(struct store *s, uint64_t at)
{
    (void)s;
    (void)at;
    abort();
}
