#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cluster_kit.h"
#include "store/hrw.h"

/* As much of maps and members as a shard needs. */
static struct map *current;
static uint64_t epoch;

struct map_own {
    unsigned users;
};

const struct map *map_hold(const struct map *m)
{
    m->own->users++;
    return m;
}

void map_release(const struct map *m)
{
    if (!m || --m->own->users)
        return;
    free((void *)(uintptr_t)m->nodes);
    free((void *)(uintptr_t)m->shares);
    free((void *)(uintptr_t)m->previous);
    free(m->own);
    free((void *)(uintptr_t)m);
}

int map_find(const struct map *m, struct str id)
{
    for (int i = 0; i < m->node_count; i++)
        if (str_eq(m->nodes[i].id, id))
            return i;
    return -1;
}

size_t map_rank(const struct map *m, const struct map_share *shares, size_t share_count, uint64_t bucket_uid,
                struct str key, size_t want, uint16_t *out)
{
    double best = -1;

    assert_int_equal(want, 1);
    for (size_t i = 0; i < share_count; i++) {
        double h = ((double)(hrw_score(hrw_key(bucket_uid, key), m->nodes[shares[i].node].seed) >> 12) + 1) / 0x1p52;
        double score = -(double)shares[i].weight / log(h < 1 ? h : 0.999999);
        if (score > best) {
            best = score;
            *out = shares[i].node;
        }
    }
    return share_count ? 1 : 0;
}

void cluster_remap(void)
{
    struct map *m = NEW(struct map);
    struct map_node *nodes = mem_new(CLUSTER_MAX * sizeof(*nodes));
    struct map_share *shares = mem_new(CLUSTER_MAX * sizeof(*shares));
    struct map_share *previous = mem_new(CLUSTER_MAX * sizeof(*previous));

    *m = (struct map){
        .epoch = ++epoch, .nodes = nodes, .shares = shares, .previous = previous, .own = NEW(struct map_own)};
    m->own->users = 1;
    for (unsigned i = 0; i < cluster.count; i++) {
        const struct cluster_node *n = &cluster.nodes[i];
        if (!n->weight && !n->weight_before)
            continue;
        nodes[m->node_count] = (struct map_node){
            .id = str_z(n->id), .weight = n->weight, .state = n->state, .seed = hrw_seed(str_z(n->id))};
        if (n->weight)
            shares[m->share_count++] = (struct map_share){m->node_count, n->weight};
        if (n->weight_before)
            previous[m->previous_count++] = (struct map_share){m->node_count, n->weight_before};
        m->node_count++;
    }
    map_release(current);
    current = m;
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

static struct cluster_node *node_at(uint16_t at)
{
    return &cluster.nodes[strtoul(current->nodes[at].id.p, NULL, 10) - 1];
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
