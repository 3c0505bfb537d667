#include "store/shard_own.h"

/* Buckets with copies on several nodes. Every object that was acknowledged is at all of its members that are in sync, so a listing may do
 * without as many nodes as an object has copies beside one. When more are missing, there may be objects of which no member is in sync; of
 * those the member that went out last knows, if it is alive. */

static enum err lead_of(const struct map *m, const struct bucket_id *b, struct str key, uint16_t *out)
{
    struct map_members s;

    map_members(m, b->uid, key, redundancy_width(b->redundancy), &s);
    if (s.lead < 0)
        return ERR_UNAVAILABLE;
    *out = s.nodes[s.lead];
    return ERR_OK;
}

enum err shard_lead(struct shard *s, const struct bucket_id *b, struct str key, uint16_t *out)
{
    bool found = redundancy_is_wide(b->redundancy) ? lead_of(s->map, b, key, out) == ERR_OK
                                                   : map_place(s->map, b->uid, key, 1, out) > 0;

    return found ? ERR_OK : shard_no_nodes(s);
}

/* ---- listings ---- */

struct choice {
    const struct map *map;
    const struct shard_part *parts;
    size_t n;
    const bool *usable; /* by part */
    bool before;        /* the placement that is looked at */
};

static bool is_placed(const struct choice *c, size_t i)
{
    return (c->before ? c->parts[i].weight_before : c->parts[i].weight) > 0;
}

static const struct map_node *node_of(const struct choice *c, size_t i)
{
    return &c->map->nodes[c->parts[i].at];
}

/* Epoch by which it was left out; one that is in sync has missed nothing until now. */
static uint64_t out_since(const struct choice *c, size_t i)
{
    return node_of(c, i)->sync == SYNC_IN ? UINT64_MAX : node_of(c, i)->out_since;
}

static bool is_asked(const struct choice *c, size_t i)
{
    return c->usable[i] && node_of(c, i)->sync == SYNC_IN;
}

static unsigned missing(const struct choice *c)
{
    unsigned n = 0;

    for (size_t i = 0; i < c->n; i++)
        n += is_placed(c, i) && !is_asked(c, i);
    return n;
}

/* Whether there may be an object whose copies are all on nodes that are not asked as being in sync, with the ones that know of it, this
 * node among them, out of reach. */
static bool may_hide(const struct choice *c, size_t i, unsigned width)
{
    unsigned others = 0;

    if (c->usable[i])
        return false;
    for (size_t k = 0; k < c->n; k++)
        others += is_placed(c, k) && !is_asked(c, k) &&
                  (out_since(c, k) < out_since(c, i) || (out_since(c, k) == out_since(c, i) && !c->usable[k]));
    return others >= width; /* itself included */
}

static unsigned least(unsigned a, size_t b)
{
    return a < b ? a : (unsigned)b;
}

static enum err choose_of(const struct choice *c, unsigned width, bool *ask)
{
    size_t placed = 0;

    for (size_t i = 0; i < c->n; i++)
        placed += is_placed(c, i);
    width = least(width, placed); /* of a cluster that has become too small, all of it */
    bool enough = placed == 0 || missing(c) < width;

    for (size_t i = 0; i < c->n; i++) {
        if (!is_placed(c, i))
            continue;
        if (!enough && may_hide(c, i, width))
            return ERR_UNAVAILABLE;
        ask[i] |= enough ? is_asked(c, i) : c->usable[i];
    }
    return ERR_OK;
}

enum err shard_choose(const struct map *m, struct redundancy r, const struct shard_part *parts, size_t n,
                      const bool *usable, bool *ask)
{
    struct choice c = {.map = m, .parts = parts, .n = n, .usable = usable};
    enum err e;

    memset(ask, 0, n * sizeof(*ask));
    if ((e = choose_of(&c, redundancy_width(r), ask)) != ERR_OK)
        return e;
    c.before = true;
    return choose_of(&c, redundancy_width(r), ask);
}

/* Uploads are where they were begun, whatever became of that node since. */
enum err shard_choose_any(struct redundancy r, const struct shard_part *parts, size_t n, const bool *usable, bool *ask)
{
    size_t now = 0, before = 0, placed = 0, placed_before = 0;

    for (size_t i = 0; i < n; i++) {
        ask[i] = usable[i];
        placed += parts[i].weight > 0;
        placed_before += parts[i].weight_before > 0;
        now += parts[i].weight && !usable[i];
        before += parts[i].weight_before && !usable[i];
    }
    if (now >= least(redundancy_width(r), placed))
        return ERR_UNAVAILABLE;
    return placed_before && before >= least(redundancy_width(r), placed_before) ? ERR_UNAVAILABLE : ERR_OK;
}

static bool knows(const struct map *m, const struct map_members *s, uint16_t node)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->nodes[i] == node)
            return map_member_knows(m, s, i);
    return false;
}

bool shard_knows(const struct map *m, const struct bucket_id *b, struct str key, uint16_t node)
{
    unsigned width = redundancy_width(b->redundancy);
    struct map_members s;

    if (m->nodes[node].sync == SYNC_IN)
        return true;
    map_members(m, b->uid, key, width, &s);
    if (knows(m, &s, node))
        return true;
    map_members_before(m, b->uid, key, width, &s);
    return knows(m, &s, node);
}
