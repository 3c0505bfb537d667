#include <stdlib.h>

#include "store/map_own.h"

/* What a node shall have in the placement once nothing is being moved. */
static uint32_t wanted(const struct draft_node *n)
{
    if (n->gone)
        return 0;
    switch (n->node.state) {
    case NODE_ACTIVE:
        return n->node.weight;
    case NODE_MAINTENANCE:
        return n->share; /* out of reach: nothing moves there or away */
    case NODE_LEAVING:
        return 0;
    }
    return 0;
}

static struct str wanted_zone(const struct draft_node *n)
{
    return n->share && n->node.state == NODE_MAINTENANCE ? n->share_zone : n->node.zone;
}

static bool is_placed(const struct draft *d)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->nodes[i].share && !d->nodes[i].gone)
            return true;
    return false;
}

static bool is_as_wanted(const struct draft_node *n)
{
    return n->share == wanted(n) && (n->share == 0 || str_eq(n->share_zone, wanted_zone(n)));
}

static void place(struct draft_node *n)
{
    n->share_zone = wanted_zone(n);
    n->share = wanted(n);
}

static void begin_move(struct draft *d)
{
    bool placed = is_placed(d), differs = false;

    for (size_t i = 0; i < d->n; i++)
        differs = differs || !is_as_wanted(&d->nodes[i]);
    for (size_t i = 0; i < d->n && differs; i++) {
        d->nodes[i].previous = d->nodes[i].share;
        d->nodes[i].previous_zone = d->nodes[i].share_zone;
        place(&d->nodes[i]);
    }
    d->moving_since = placed && differs ? d->epoch : 0;
    if (differs)
        d->term = d->epoch;
}

static bool holds_nothing(const struct draft_node *n)
{
    return (n->gone || n->node.state == NODE_LEAVING) && !n->share && !n->previous;
}

/* Ends the draft. `may_place`: the placement may follow what nodes are; in a map that gathers nodes it must not. */
static enum err draft_end(struct draft *d, bool may_place, enum err e, const struct map **out)
{
    bool any = false;

    for (size_t i = 0; i < d->n; i++)
        any = any || wanted(&d->nodes[i]);
    if (e == ERR_OK && d->n && !any && may_place)
        e = ERR_CONFLICT;
    if (e != ERR_OK) {
        free(d->nodes);
        return e;
    }
    if (may_place && d->moving_since == 0)
        begin_move(d);
    for (size_t i = d->n; i-- > 0;)
        if (holds_nothing(&d->nodes[i]))
            draft_drop(d, i);
    *out = draft_build(d);
    return ERR_OK;
}

static enum err add(const struct map *m, const struct map_node *node, bool may_place, const struct map **out)
{
    struct draft d;

    if (!map_is_node(node))
        return ERR_INVALID_ARGUMENT;
    if (map_find(m, node->id) >= 0)
        return ERR_EXISTS;
    if (m->node_count + map_gone(m).nodes >= MAP_NODES_MAX)
        return ERR_TOO_LARGE;
    draft_from(&d, m);
    d.nodes[d.n] = (struct draft_node){.node = *node};
    d.nodes[d.n].node.sync = SYNC_IN; /* what it has missed it gets by the move that brings it its share */
    d.nodes[d.n++].node.out_since = 0;
    return draft_end(&d, may_place, ERR_OK, out);
}

enum err map_add(const struct map *m, const struct map_node *node, const struct map **out)
{
    return add(m, node, true, out);
}

enum err map_gather(const struct map *m, const struct map_node *node, const struct map **out)
{
    return m->share_count ? ERR_CONFLICT : add(m, node, false, out);
}

enum err map_form(const struct map *m, const struct map **out)
{
    struct draft d;

    if (m->share_count || m->node_count == 0)
        return ERR_CONFLICT;
    draft_from(&d, m);
    return draft_end(&d, true, ERR_OK, out);
}

enum err map_update(const struct map *m, const struct map_node *node, const struct map **out)
{
    int at = map_find(m, node->id);
    struct draft d;

    if (!map_is_node(node))
        return ERR_INVALID_ARGUMENT;
    if (at < 0)
        return ERR_NOT_FOUND;
    draft_from(&d, m);
    struct map_node before = d.nodes[at].node;
    d.nodes[at].node = *node;
    d.nodes[at].node.state = before.state;
    d.nodes[at].node.sync = before.sync;
    d.nodes[at].node.out_since = before.out_since;
    return draft_end(&d, m->share_count > 0, ERR_OK, out);
}

/* Who is out keeps the epoch since when until it is in again. */
static void draft_sync(struct draft *d, size_t at, enum node_sync sync)
{
    struct map_node *n = &d->nodes[at].node;

    if (n->sync == sync)
        return;
    if (n->sync == SYNC_IN)
        n->out_since = d->epoch;
    if (sync == SYNC_IN)
        n->out_since = 0;
    else
        d->term = d->epoch;
    n->sync = sync;
}

enum err map_set_sync(const struct map *m, struct str id, enum node_sync sync, const struct map **out)
{
    int at = map_find(m, id);
    bool others = false;
    struct draft d;

    if (at < 0)
        return ERR_NOT_FOUND;
    if (m->nodes[at].sync == sync || (sync == SYNC_CATCHING && m->nodes[at].sync == SYNC_IN))
        return ERR_EXISTS;
    if (sync == SYNC_IN || (sync == SYNC_CATCHING && m->nodes[at].state == NODE_MAINTENANCE))
        return ERR_CONFLICT;
    for (unsigned i = 0; i < m->node_count; i++)
        others = others || (i != (unsigned)at && m->nodes[i].sync == SYNC_IN);
    if (sync == SYNC_OUT && m->nodes[at].sync == SYNC_IN && !others)
        return ERR_CONFLICT;
    draft_from(&d, m);
    draft_sync(&d, (size_t)at, sync);
    return draft_end(&d, m->share_count > 0, ERR_OK, out);
}

enum err map_set_state(const struct map *m, struct str id, enum node_state state, const struct map **out)
{
    int at = map_find(m, id);
    struct draft d;

    if (at < 0)
        return ERR_NOT_FOUND;
    if (m->nodes[at].state == NODE_LEAVING && state == NODE_MAINTENANCE)
        return ERR_CONFLICT;
    draft_from(&d, m);
    d.nodes[at].node.state = state;
    if (state == NODE_MAINTENANCE) /* writes go on without it; activated it comes back by itself */
        draft_sync(&d, (size_t)at, SYNC_OUT);
    return draft_end(&d, m->share_count > 0, ERR_OK, out);
}

/* Whether one that is there has a share, or had one before. */
static bool any_there(const struct draft *d, bool before)
{
    for (size_t i = 0; i < d->n; i++)
        if (!d->nodes[i].gone && (before ? d->nodes[i].previous : d->nodes[i].share))
            return true;
    return false;
}

enum err map_remove(const struct map *m, struct str id, const struct map **out)
{
    int at = map_find(m, id);
    bool moving = m->moving_since > 0;
    struct draft d;

    if (at < 0)
        return ERR_NOT_FOUND;
    draft_from(&d, m);
    if (d.nodes[at].share || d.nodes[at].previous)
        d.term = d.epoch;
    d.nodes[at].gone = true;
    for (size_t i = 0; i < d.n && moving && !any_there(&d, false); i++) /* the only one that keys were moving to */
        if (wanted(&d.nodes[i]))
            place(&d.nodes[i]);
    /* keys that would have moved to it have other owners now: who was done already is not */
    d.moving_since = moving ? d.epoch : 0;
    if (moving && !any_there(&d, true)) { /* all that they came from: what is left belongs where it is */
        for (size_t i = 0; i < d.n; i++)
            d.nodes[i].previous = 0;
        d.moving_since = 0;
    }
    return draft_end(&d, m->share_count > 0, ERR_OK, out);
}

/* ---- the end of a term ---- */

/* Whether a key may be where nobody is in sync and one that is out went out later than that node: what it has not seen yet. `copies`: the
 * fewest that a key has. Places of nodes that are gone are as good as such nodes. */
static bool may_have_missed(const struct map *m, int node, unsigned copies)
{
    size_t places = (size_t)m->share_count + map_gone(m).shares;
    size_t others = (places < copies ? places : copies) - 1; /* of the key, beside the one that is out */

    for (unsigned x = 0; x < m->share_count; x++) {
        const struct map_node *out = &m->nodes[m->shares[x].node];
        size_t missing = map_gone(m).shares;
        if (out->sync != SYNC_OUT || out->out_since <= m->nodes[node].out_since)
            continue;
        for (unsigned i = 0; i < m->share_count; i++) {
            const struct map_node *n = &m->nodes[m->shares[i].node];
            missing += i != x && n->sync != SYNC_IN && n->out_since <= out->out_since;
        }
        if (missing >= others)
            return true;
    }
    return false;
}

/* What only nodes have that are out can't have been moved. */
static bool is_move_over(const struct map *m, unsigned copies)
{
    size_t missing = 0;

    for (unsigned i = 0; i < m->previous_count; i++)
        missing += m->nodes[m->previous[i].node].sync == SYNC_OUT;
    return m->moving_since > 0 && (missing == 0 || missing + map_gone(m).shares < copies);
}

enum err map_settled_width(const struct map *m, unsigned width, const struct map **out)
{
    unsigned copies = width > 1 ? width : 2;
    bool moved = is_move_over(m, copies), caught = false;
    struct draft d;

    draft_from(&d, m);
    for (unsigned i = 0; i < m->node_count; i++) {
        if (m->nodes[i].sync != SYNC_CATCHING ||
            (map_share_of(m->shares, m->share_count, (int)i) && may_have_missed(m, (int)i, copies)))
            continue;
        draft_sync(&d, i, SYNC_IN);
        caught = true;
    }
    for (size_t i = 0; i < d.n && moved; i++)
        d.nodes[i].previous = 0;
    if (moved)
        d.moving_since = 0;
    if (caught) /* it leads keys now that others led, whose members may differ by a write that failed */
        d.term = d.epoch;
    return draft_end(&d, true, moved || caught ? ERR_OK : ERR_CONFLICT, out);
}
