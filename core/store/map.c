#include "map_own.h"

#include <assert.h>
#include <stdlib.h>

#include "store/hrw.h"

struct str node_state_name(enum node_state s)
{
    static const struct str names[] = {
        [NODE_ACTIVE] = {"active", 6}, [NODE_MAINTENANCE] = {"maintenance", 11}, [NODE_LEAVING] = {"leaving", 7}};

    return names[s];
}

struct str node_sync_name(enum node_sync s)
{
    static const struct str names[] = {
        [SYNC_IN] = {"in", 2}, [SYNC_OUT] = {"out", 3}, [SYNC_CATCHING] = {"catching", 8}};

    return names[s];
}

/* ---- placement ---- */

/* One share in the race for a key. */
struct runner {
    uint64_t cost, seed;
    uint32_t weight;
    uint16_t node, zone_no;
};

static struct runner runner_of(const struct map *m, const struct map_share *s, uint64_t hash)
{
    uint64_t seed = m->nodes[s->node].seed;

    return (struct runner){hrw_cost(hrw_score(hash, seed)), seed, s->weight, s->node, s->zone_no};
}

/* A total order whatever the order of nodes: equal costs go to the lower seed. */
static bool wins(const struct runner *a, const struct runner *b)
{
    if (hrw_is_cheaper(a->cost, a->weight, b->cost, b->weight))
        return true;
    return a->seed < b->seed && !hrw_is_cheaper(b->cost, b->weight, a->cost, a->weight);
}

static size_t rank_one(const struct map *m, const struct map_share *shares, size_t n, uint64_t hash, uint16_t *out)
{
    struct runner best = runner_of(m, &shares[0], hash);

    for (size_t i = 1; i < n; i++) {
        struct runner r = runner_of(m, &shares[i], hash);
        if (wins(&r, &best))
            best = r;
    }
    *out = best.node;
    return 1;
}

/* The best runner that is not taken and whose zone has fewer than `round` places; -1: none. */
static int best_of_round(const struct runner *runners, size_t n, const bool *taken, const uint8_t *zone_used,
                         unsigned round)
{
    int best = -1;

    for (size_t i = 0; i < n; i++)
        if (!taken[i] && zone_used[runners[i].zone_no] < round && (best < 0 || wins(&runners[i], &runners[best])))
            best = (int)i;
    return best;
}

size_t map_rank(const struct map *m, const struct map_share *shares, size_t share_count, uint64_t bucket_uid,
                struct str key, size_t want, uint16_t *out)
{
    struct runner runners[MAP_NODES_MAX];
    bool taken[MAP_NODES_MAX];
    uint8_t zone_used[MAP_NODES_MAX];
    uint64_t hash = hrw_key(bucket_uid, key);
    unsigned round = 1;
    size_t got = 0;

    assert(want <= MAP_COPIES_MAX && share_count <= MAP_NODES_MAX);
    if (want > share_count)
        want = share_count;
    if (want <= 1)
        return want ? rank_one(m, shares, share_count, hash, out) : 0;
    for (size_t i = 0; i < share_count; i++)
        runners[i] = runner_of(m, &shares[i], hash);
    memset(taken, 0, share_count);
    memset(zone_used, 0, share_count);
    while (got < want) {
        int best = best_of_round(runners, share_count, taken, zone_used, round);
        if (best < 0) {
            round++;
            continue;
        }
        taken[best] = true;
        zone_used[runners[best].zone_no]++;
        out[got++] = runners[best].node;
    }
    return got;
}

int map_find(const struct map *m, struct str id)
{
    for (unsigned i = 0; i < m->node_count; i++)
        if (str_eq(m->nodes[i].id, id))
            return (int)i;
    return -1;
}

uint32_t map_share_of(const struct map_share *shares, size_t share_count, int node)
{
    for (size_t i = 0; i < share_count; i++)
        if (shares[i].node == node)
            return shares[i].weight;
    return 0;
}

/* ---- a map in the making ---- */

void draft_from(struct draft *d, const struct map *m)
{
    *d = (struct draft){.epoch = m->epoch + 1,
                        .moving_since = m->moving_since,
                        .term = m->term,
                        .n = m->node_count + map_gone(m).nodes};
    d->nodes = mem_new((d->n + 1) * sizeof(*d->nodes));
    for (size_t i = 0; i < d->n; i++) {
        d->nodes[i].node = m->nodes[i];
        d->nodes[i].gone = i >= m->node_count;
    }
    for (size_t i = 0; i < (size_t)m->share_count + map_gone(m).shares; i++) {
        d->nodes[m->shares[i].node].share = m->shares[i].weight;
        d->nodes[m->shares[i].node].share_zone = m->shares[i].zone;
    }
    for (size_t i = 0; i < (size_t)m->previous_count + map_gone(m).previous; i++) {
        d->nodes[m->previous[i].node].previous = m->previous[i].weight;
        d->nodes[m->previous[i].node].previous_zone = m->previous[i].zone;
    }
}

void draft_drop(struct draft *d, size_t at)
{
    d->n--;
    memmove(d->nodes + at, d->nodes + at + 1, (d->n - at) * sizeof(*d->nodes));
}

static struct map_node node_copy(struct arena *a, const struct map_node *n)
{
    struct map_node out = *n;

    out.id = arena_str(a, n->id);
    out.zone = arena_str(a, n->zone);
    out.address = arena_str(a, n->address);
    out.public_address = arena_str(a, n->public_address);
    out.seed = hrw_seed(n->id);
    return out;
}

/* A zone has the number of the first share in it. */
static void number_zones(struct map_share *shares, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t same = 0;
        while (same < i && (shares[i].zone.n == 0 || !str_eq(shares[same].zone, shares[i].zone)))
            same++;
        shares[i].zone_no = (uint16_t)same;
    }
}

/* The drafts that are gone, or those that are not, in their order. */
static void build_nodes(struct map_own *own, const struct draft *d, bool gone, struct map_node *nodes,
                        struct map_share *shares, struct map_share *previous)
{
    uint16_t at = gone ? own->map.node_count : 0, now = gone ? own->map.share_count : 0,
             before = gone ? own->map.previous_count : 0;

    for (size_t i = 0; i < d->n; i++) {
        const struct draft_node *from = &d->nodes[i];
        if (from->gone != gone)
            continue;
        nodes[at] = node_copy(&own->arena, &from->node);
        if (from->share)
            shares[now++] = (struct map_share){at, from->share, 0, arena_str(&own->arena, from->share_zone)};
        if (from->previous)
            previous[before++] = (struct map_share){at, from->previous, 0, arena_str(&own->arena, from->previous_zone)};
        at++;
    }
    if (gone) {
        own->gone.nodes = at - own->map.node_count;
        own->gone.shares = now - own->map.share_count;
        own->gone.previous = before - own->map.previous_count;
    } else {
        own->map.node_count = at;
        own->map.share_count = now;
        own->map.previous_count = before;
    }
}

const struct map *draft_build(struct draft *d)
{
    struct map_own *own = NEW(struct map_own);
    struct arena *a = &own->arena;
    struct map_node *nodes = arena_alloc(a, d->n * sizeof(*nodes));
    struct map_share *shares = arena_alloc(a, d->n * sizeof(*shares));
    struct map_share *previous = arena_alloc(a, d->n * sizeof(*previous));
    struct map *m = &own->map;

    *m = (struct map){.epoch = d->epoch,
                      .nodes = nodes,
                      .shares = shares,
                      .previous = previous,
                      .moving_since = d->moving_since,
                      .term = d->term,
                      .own = own};
    build_nodes(own, d, false, nodes, shares, previous);
    build_nodes(own, d, true, nodes, shares, previous);
    number_zones(shares, (size_t)m->share_count + own->gone.shares);
    number_zones(previous, (size_t)m->previous_count + own->gone.previous);
    atomic_init(&own->users, 1);
    free(d->nodes);
    return m;
}

const struct map *map_hold(const struct map *m)
{
    atomic_fetch_add_explicit(&m->own->users, 1, memory_order_relaxed);
    return m;
}

void map_release(const struct map *m)
{
    if (!m || atomic_fetch_sub_explicit(&m->own->users, 1, memory_order_acq_rel) > 1)
        return;
    struct map_own *own = m->own;
    arena_release(&own->arena);
    free(own);
}

const struct map *map_none(void)
{
    struct draft d = {.nodes = NEW(struct draft_node)};

    return draft_build(&d);
}
