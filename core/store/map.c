#include "map.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/hrw.h"
#include "store/meta.h"

enum { FORMAT = 1 };
#define EPOCH_MAX ((uint64_t)INT64_MAX - 1) /* what JSON readers hold */

struct map_own {
    struct map map;
    struct arena arena; /* holds all it points to */
    atomic_uint users;
};

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
    uint16_t node;
};

static struct runner runner_of(const struct map *m, const struct map_share *s, uint64_t hash)
{
    uint64_t seed = m->nodes[s->node].seed;

    return (struct runner){hrw_cost(hrw_score(hash, seed)), seed, s->weight, s->node};
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
static int best_of_round(const struct map *m, const struct runner *runners, size_t n, const bool *taken,
                         const uint8_t *zone_used, unsigned round)
{
    int best = -1;

    for (size_t i = 0; i < n; i++)
        if (!taken[i] && zone_used[m->nodes[runners[i].node].zone_no] < round &&
            (best < 0 || wins(&runners[i], &runners[best])))
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
    memset(zone_used, 0, m->node_count);
    while (got < want) {
        int best = best_of_round(m, runners, share_count, taken, zone_used, round);
        if (best < 0) {
            round++;
            continue;
        }
        taken[best] = true;
        zone_used[m->nodes[runners[best].node].zone_no]++;
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

struct draft_node {
    struct map_node node;
    uint32_t share, previous; /* 0 = none */
};

struct draft {
    uint64_t epoch, moving_since, term;
    size_t n;
    struct draft_node *nodes; /* heap, room for one more than there were; the strs are borrowed */
};

static void draft_from(struct draft *d, const struct map *m)
{
    *d = (struct draft){.epoch = m->epoch + 1, .moving_since = m->moving_since, .term = m->term, .n = m->node_count};
    d->nodes = mem_new((d->n + 1) * sizeof(*d->nodes));
    for (size_t i = 0; i < d->n; i++)
        d->nodes[i].node = m->nodes[i];
    for (size_t i = 0; i < m->share_count; i++)
        d->nodes[m->shares[i].node].share = m->shares[i].weight;
    for (size_t i = 0; i < m->previous_count; i++)
        d->nodes[m->previous[i].node].previous = m->previous[i].weight;
}

static void draft_drop(struct draft *d, size_t at)
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

static void number_zones(struct map_node *nodes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t same = 0;
        while (same < i && (nodes[i].zone.n == 0 || !str_eq(nodes[same].zone, nodes[i].zone)))
            same++;
        nodes[i].zone_no = (uint16_t)same; /* of the first of the zone */
    }
}

/* Ends the draft. */
static const struct map *draft_build(struct draft *d)
{
    struct map_own *own = NEW(struct map_own);
    struct arena *a = &own->arena;
    struct map_node *nodes = arena_alloc(a, d->n * sizeof(*nodes));
    struct map_share *shares = arena_alloc(a, d->n * sizeof(*shares));
    struct map_share *previous = arena_alloc(a, d->n * sizeof(*previous));
    struct map *m = &own->map;

    *m = (struct map){.epoch = d->epoch,
                      .nodes = nodes,
                      .node_count = (uint16_t)d->n,
                      .shares = shares,
                      .previous = previous,
                      .moving_since = d->moving_since,
                      .term = d->term,
                      .own = own};
    for (size_t i = 0; i < d->n; i++) {
        const struct draft_node *from = &d->nodes[i];
        nodes[i] = node_copy(a, &from->node);
        if (from->share)
            shares[m->share_count++] = (struct map_share){(uint16_t)i, from->share};
        if (from->previous)
            previous[m->previous_count++] = (struct map_share){(uint16_t)i, from->previous};
    }
    number_zones(nodes, d->n);
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

/* ---- what may be in a map ---- */

static bool is_id(struct str s)
{
    if (s.n != NODE_ID_LEN)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}

/* Nothing that JSON would have to escape: so the limits bound the record as well. */
static bool is_plain(struct str s, size_t max)
{
    if (s.n > max || !str_is_utf8(s))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return true;
}

static bool is_node(const struct map_node *n)
{
    return is_id(n->id) && is_plain(n->zone, MAP_ZONE_MAX) && n->address.n && is_plain(n->address, MAP_ADDRESS_MAX) &&
           is_plain(n->public_address, MAP_ADDRESS_MAX) && n->weight >= 1;
}

/* ---- the record ---- */

static struct str text_of(const struct doc *d, struct str key)
{
    const struct doc *found = doc_get(d, key);

    return found && found->kind == DOC_SCALAR ? found->text : STR("");
}

/* Without the member it is 0. */
static bool number_of(const struct doc *d, struct str key, uint64_t max, uint64_t *out)
{
    struct str text = text_of(d, key);

    *out = 0;
    return !doc_get(d, key) || str_to_u64(text, max, out);
}

static bool state_of(struct str name, enum node_state *out)
{
    for (enum node_state s = NODE_ACTIVE; s <= NODE_LEAVING; s++) {
        if (str_eq(node_state_name(s), name)) {
            *out = s;
            return true;
        }
    }
    return false;
}

static bool sync_of(const struct doc *d, struct map_node *out)
{
    struct str name = text_of(d, STR("sync"));
    bool known = name.n == 0;

    for (enum node_sync s = SYNC_IN; s <= SYNC_CATCHING && !known; s++) {
        known = str_eq(node_sync_name(s), name);
        out->sync = known ? s : out->sync;
    }
    return known && number_of(d, STR("out_since"), EPOCH_MAX, &out->out_since) &&
           (out->sync == SYNC_IN) == (out->out_since == 0);
}

static bool read_node(const struct doc *d, struct draft *into)
{
    struct draft_node *out = &into->nodes[into->n];
    uint64_t weight, share, previous;

    out->node = (struct map_node){.id = text_of(d, STR("id")),
                                  .zone = text_of(d, STR("zone")),
                                  .address = text_of(d, STR("address")),
                                  .public_address = text_of(d, STR("public"))};
    if (!number_of(d, STR("weight"), UINT32_MAX, &weight) || !number_of(d, STR("share"), UINT32_MAX, &share) ||
        !number_of(d, STR("previous"), UINT32_MAX, &previous) ||
        !state_of(text_of(d, STR("state")), &out->node.state) || !sync_of(d, &out->node))
        return false;
    out->node.weight = (uint32_t)weight;
    out->share = (uint32_t)share;
    out->previous = (uint32_t)previous;
    for (size_t i = 0; i < into->n; i++)
        if (str_eq(into->nodes[i].node.id, out->node.id))
            return false;
    into->n++;
    return is_node(&out->node);
}

static bool read_nodes(const struct doc *root, struct draft *d)
{
    const struct doc *nodes = doc_get(root, STR("nodes"));
    bool moving = false, placed = false;

    if (!nodes || nodes->kind != DOC_LIST || nodes->count > MAP_NODES_MAX)
        return false;
    d->nodes = mem_new((nodes->count + 1) * sizeof(*d->nodes));
    for (const struct doc *n = nodes->first; n; n = n->next)
        if (!read_node(n, d))
            return false;
    for (size_t i = 0; i < d->n; i++) {
        moving = moving || d->nodes[i].previous;
        placed = placed || d->nodes[i].share;
    }
    return moving == (d->moving_since > 0) && d->moving_since <= d->epoch && (placed || !moving);
}

enum err map_parse(struct str record, const struct map **out)
{
    struct arena arena = ARENA_INIT;
    struct draft d = {0};
    char why[DOC_WHY_MAX] = "";
    uint64_t format = 0;
    struct doc *root;
    enum err e = ERR_CORRUPT;

    if (js_read(&arena, record, &root, why) == ERR_OK && number_of(root, STR("format"), UINT64_MAX, &format) &&
        format > 0)
        e = format > FORMAT ? ERR_NOT_IMPLEMENTED : ERR_OK;
    if (e == ERR_OK && (!number_of(root, STR("epoch"), EPOCH_MAX, &d.epoch) || d.epoch == 0 ||
                        !number_of(root, STR("moving_since"), EPOCH_MAX, &d.moving_since) ||
                        !number_of(root, STR("term"), d.epoch, &d.term) || !read_nodes(root, &d)))
        e = ERR_CORRUPT;
    if (d.term == 0)
        d.term = d.epoch;
    if (e == ERR_OK) {
        *out = draft_build(&d);
    } else {
        free(d.nodes);
        log_error(STR_NONE, "map of the cluster can't be read", "format=%llu err=%s why=%s", (unsigned long long)format,
                  err_name(e), log_quote(str_z(why)));
    }
    arena_release(&arena);
    return e;
}

static void write_number(struct buf *b, struct str key, uint64_t v)
{
    js_key(b, key);
    js_u64(b, v);
}

static void write_text(struct buf *b, struct str key, struct str v)
{
    js_key(b, key);
    js_str(b, v);
}

static void write_node(struct buf *b, const struct draft_node *n)
{
    js_object(b);
    write_text(b, STR("id"), n->node.id);
    write_text(b, STR("zone"), n->node.zone);
    write_text(b, STR("address"), n->node.address);
    write_text(b, STR("public"), n->node.public_address);
    write_number(b, STR("weight"), n->node.weight);
    write_text(b, STR("state"), node_state_name(n->node.state));
    if (n->node.sync != SYNC_IN) {
        write_text(b, STR("sync"), node_sync_name(n->node.sync));
        write_number(b, STR("out_since"), n->node.out_since);
    }
    if (n->share)
        write_number(b, STR("share"), n->share);
    if (n->previous)
        write_number(b, STR("previous"), n->previous);
    js_end_object(b);
}

struct str map_record(const struct map *m, struct arena *arena)
{
    struct buf b = BUF_INIT(META_VALUE_MAX);
    struct draft d;
    struct str out;

    draft_from(&d, m);
    js_object(&b);
    write_number(&b, STR("format"), FORMAT);
    write_number(&b, STR("epoch"), m->epoch);
    write_number(&b, STR("moving_since"), m->moving_since);
    write_number(&b, STR("term"), m->term);
    js_key(&b, STR("nodes"));
    js_array(&b);
    for (size_t i = 0; i < d.n; i++)
        write_node(&b, &d.nodes[i]);
    js_end_array(&b);
    js_end_object(&b);
    assert(!b.over); /* is_node() and MAP_NODES_MAX bound it */
    out = arena_str(arena, buf_str(&b));
    buf_release(&b);
    free(d.nodes);
    return out;
}

/* ---- changes ---- */

/* What a node shall have in the placement once nothing is being moved. */
static uint32_t wanted(const struct draft_node *n)
{
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

static bool is_placed(const struct draft *d)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->nodes[i].share)
            return true;
    return false;
}

static void begin_move(struct draft *d)
{
    bool placed = is_placed(d), differs = false;

    for (size_t i = 0; i < d->n; i++)
        differs = differs || d->nodes[i].share != wanted(&d->nodes[i]);
    for (size_t i = 0; i < d->n && differs; i++) {
        uint32_t now = d->nodes[i].share;
        d->nodes[i].share = wanted(&d->nodes[i]);
        d->nodes[i].previous = now;
    }
    d->moving_since = placed && differs ? d->epoch : 0;
    if (differs)
        d->term = d->epoch;
}

/* Ends the draft. `place`: the placement may follow what nodes are; in a map that gathers nodes it must not. */
static enum err draft_end(struct draft *d, bool place, enum err e, const struct map **out)
{
    bool any = false;

    for (size_t i = 0; i < d->n; i++)
        any = any || wanted(&d->nodes[i]);
    if (e == ERR_OK && d->n && !any && place)
        e = ERR_CONFLICT;
    if (e != ERR_OK) {
        free(d->nodes);
        return e;
    }
    if (place && d->moving_since == 0)
        begin_move(d);
    for (size_t i = d->n; i-- > 0;)
        if (d->nodes[i].node.state == NODE_LEAVING && !d->nodes[i].share && !d->nodes[i].previous)
            draft_drop(d, i);
    *out = draft_build(d);
    return ERR_OK;
}

static enum err add(const struct map *m, const struct map_node *node, bool place, const struct map **out)
{
    struct draft d;

    if (!is_node(node))
        return ERR_INVALID_ARGUMENT;
    if (map_find(m, node->id) >= 0)
        return ERR_EXISTS;
    if (m->node_count == MAP_NODES_MAX)
        return ERR_TOO_LARGE;
    draft_from(&d, m);
    d.nodes[d.n++] = (struct draft_node){.node = *node};
    return draft_end(&d, place, ERR_OK, out);
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

    if (!is_node(node))
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

enum err map_remove(const struct map *m, struct str id, const struct map **out)
{
    int at = map_find(m, id);
    bool moving = false, differs = false, placed;
    struct draft d;

    if (at < 0)
        return ERR_NOT_FOUND;
    draft_from(&d, m);
    draft_drop(&d, (size_t)at);
    placed = is_placed(&d);
    for (size_t i = 0; i < d.n; i++)
        moving = moving || d.nodes[i].previous;
    for (size_t i = 0; i < d.n && moving && !placed; i++) /* it was the only one that keys were moving to */
        d.nodes[i].share = wanted(&d.nodes[i]);
    for (size_t i = 0; i < d.n; i++)
        differs = differs || d.nodes[i].share != d.nodes[i].previous;
    for (size_t i = 0; i < d.n && !differs; i++) /* keys were moving only to it: the others are where they belong */
        d.nodes[i].previous = 0;
    /* keys that would have moved to it have other owners now: who was done already is not */
    d.moving_since = moving && differs ? d.epoch : 0;
    d.term = d.epoch; /* its copies are made anew elsewhere */
    return draft_end(&d, m->share_count > 0, d.n || m->share_count == 0 ? ERR_OK : ERR_CONFLICT, out);
}

enum err map_settled(const struct map *m, const struct map **out)
{
    bool catching = false;
    struct draft d;

    for (unsigned i = 0; i < m->node_count; i++)
        catching = catching || m->nodes[i].sync == SYNC_CATCHING;
    if (m->previous_count == 0 && !catching)
        return ERR_CONFLICT;
    draft_from(&d, m);
    for (size_t i = 0; i < d.n; i++) {
        d.nodes[i].previous = 0;
        if (d.nodes[i].node.sync == SYNC_CATCHING)
            draft_sync(&d, i, SYNC_IN);
    }
    d.moving_since = 0;
    return draft_end(&d, true, ERR_OK, out);
}
