#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "store/map.h"

/* Random lives of a cluster: nodes fail, come back, are added, removed, moved to other zones, of other weights; keys are written all the
 * while by the rules of docs/consistency.md. Every node's copies are modelled; whoever leads must have, once it has settled a key
 * with those who know, the newest version that was acknowledged, unless the nodes that had it were removed. */
enum { NODES = 7, KEYS = 48, STEPS = 400, LIVES = 150, WIDTH_MAX = 3, UID = 7 };

struct key {
    char name[16];
    unsigned width;
    unsigned acked;         /* newest version that was acknowledged; 0 = none */
    unsigned copies[NODES]; /* version of each node; 0 = none */
};

static struct {
    const struct map *map;
    char ids[NODES][NODE_ID_LEN + 1];
    bool alive[NODES], there[NODES];
    struct key keys[KEYS];
    unsigned version;
    char zones[NODES][4];
    uint64_t random;
} w;

static unsigned pick(unsigned n)
{
    w.random = w.random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)((w.random >> 33) % n);
}

static unsigned node_of(uint16_t at)
{
    return (unsigned)strtoul(w.map->nodes[at].id.p, NULL, 10) - 1;
}

static bool apply(enum err e, const struct map *next)
{
    if (e != ERR_OK)
        return false;
    assert_int_equal(next->epoch, w.map->epoch + 1);
    assert_true(next->term >= w.map->term && next->term <= next->epoch);
    map_release(w.map);
    /* as other processes read it */
    struct arena arena = ARENA_INIT;
    assert_int_equal(map_parse(map_record(next, &arena), &w.map), ERR_OK);
    assert_int_equal(w.map->term, next->term);
    map_release(next);
    arena_release(&arena);
    return true;
}

#define CHANGE(fn, ...)                                                                                                \
    do {                                                                                                               \
        const struct map *next_ = NULL;                                                                                \
        enum err e_ = fn(w.map, __VA_ARGS__, &next_);                                                                  \
        apply(e_, next_);                                                                                              \
    } while (0)

static struct map_node node_n(unsigned i)
{
    return (struct map_node){
        .id = str_z(w.ids[i]), .zone = str_z(w.zones[i]), .address = STR("h:1"), .weight = 100 + pick(3) * 50};
}

static struct map_members members_of(const struct key *k, bool before)
{
    struct map_members s;

    (before ? map_members_before : map_members)(w.map, UID, str_z(k->name), k->width, &s);
    assert_int_equal(s.count == 0, s.lead < 0);
    return s;
}

/* The newest of those who know; false: one that must be asked is not there. */
static bool best_of(const struct key *k, const struct map_members *s, unsigned *best)
{
    for (size_t i = 0; i < s->count; i++) {
        unsigned n = node_of(s->nodes[i]);
        if (!map_member_knows(w.map, s, i))
            continue;
        if (!w.alive[n])
            return false;
        *best = k->copies[n] > *best ? k->copies[n] : *best;
    }
    return true;
}

/* What the lead does before it answers. */
static bool settle(struct key *k)
{
    struct map_members now = members_of(k, false), before = members_of(k, true);
    unsigned best = 0;

    if (now.lead < 0 || !w.alive[node_of(now.nodes[now.lead])] || !best_of(k, &now, &best) ||
        !best_of(k, &before, &best))
        return false;
    if (best < k->acked)
        fail_msg("%s: epoch %llu settles version %u, %u was acknowledged", k->name, (unsigned long long)w.map->epoch,
                 best, k->acked);
    for (size_t i = 0; i < now.count; i++)
        if (((int)i == now.lead || w.map->nodes[now.nodes[i]].sync != SYNC_OUT) && w.alive[node_of(now.nodes[i])])
            k->copies[node_of(now.nodes[i])] = best;
    return true;
}

static void write_key(struct key *k)
{
    struct map_members s = members_of(k, false);
    bool all = true;

    if (!settle(k))
        return;
    w.version++;
    for (size_t i = 0; i < s.count; i++) {
        unsigned n = node_of(s.nodes[i]);
        if (w.map->nodes[s.nodes[i]].sync == SYNC_OUT && (int)i != s.lead)
            continue;
        if (w.alive[n] && pick(20)) /* now and then one gets lost on the way */
            k->copies[n] = w.version;
        else
            all = false;
    }
    if (all)
        k->acked = w.version;
}

/* The rebalance: all that take part in writes settle what they lead, then the term ends. */
static void rebalance(void)
{
    bool all = true;
    unsigned width = WIDTH_MAX;

    for (uint16_t i = 0; i < w.map->node_count; i++) {
        bool placed = map_share_of(w.map->shares, w.map->share_count, i),
             was = map_share_of(w.map->previous, w.map->previous_count, i),
             awaited = w.map->previous_count ? placed || was : placed && w.map->nodes[i].sync != SYNC_OUT;
        all = all && (!awaited || w.alive[node_of(i)]);
    }
    for (unsigned i = 0; i < KEYS; i++) {
        struct map_members s = members_of(&w.keys[i], false);
        width = w.keys[i].width < width ? w.keys[i].width : width;
        if (settle(&w.keys[i]) || s.lead < 0)
            continue;
        /* of a lead that is not there nobody knows which keys it leads */
        all = all && !w.alive[node_of(s.nodes[s.lead])];
    }
    if (all)
        CHANGE(map_settled_width, pick(2) ? width : 0);
}

/* What only a removed node had is lost: so is what was acknowledged after what the others have. */
static void forget(unsigned node)
{
    for (unsigned i = 0; i < KEYS; i++) {
        struct key *k = &w.keys[i];
        struct map_members now = members_of(k, false), before = members_of(k, true);
        unsigned known = 0;
        bool hit = k->copies[node] > 0;
        k->copies[node] = 0;
        for (int b = 0; b < 2; b++) {
            struct map_members *s = b ? &before : &now;
            for (size_t j = 0; j < s->count; j++)
                if (map_member_knows(w.map, s, j) && k->copies[node_of(s->nodes[j])] > known)
                    known = k->copies[node_of(s->nodes[j])];
        }
        if (hit && known < k->acked)
            k->acked = known;
    }
}

static void step(void)
{
    unsigned n = pick(NODES), what = pick(100);
    int at = map_find(w.map, str_z(w.ids[n]));

    if (what < 45) {
        write_key(&w.keys[pick(KEYS)]);
    } else if (what < 55) {
        rebalance();
    } else if (what < 63 && at >= 0) {
        w.alive[n] = !w.alive[n];
    } else if (what < 80) { /* the others see to it */
        for (unsigned i = 0; i < NODES; i++)
            if (!w.alive[i] && pick(2))
                CHANGE(map_set_sync, str_z(w.ids[i]), SYNC_OUT);
    } else if (what < 88) {
        if (at >= 0 && w.alive[n])
            CHANGE(map_set_sync, str_z(w.ids[n]), SYNC_CATCHING);
    } else if (what < 91) {
        CHANGE(map_set_state, str_z(w.ids[n]), pick(2) ? NODE_MAINTENANCE : NODE_ACTIVE);
    } else if (what < 93) {
        snprintf(w.zones[n], sizeof(w.zones[n]), "%.1s", &"\0ab"[pick(3)]);
        struct map_node node = node_n(n);
        CHANGE(map_update, &node);
    } else if (what < 95) {
        if (at >= 0)
            CHANGE(map_set_state, str_z(w.ids[n]), pick(2) ? NODE_LEAVING : NODE_ACTIVE);
    } else if (what < 97) {
        struct map_node node = node_n(n);
        if (at < 0 && !w.there[n]) {
            w.there[n] = w.alive[n] = true;
            CHANGE(map_add, &node);
        }
    } else if (what < 98 && at >= 0 && w.map->node_count > 3) {
        w.alive[n] = false;
        CHANGE(map_remove, str_z(w.ids[n]));
        if (map_find(w.map, str_z(w.ids[n])) < 0)
            forget(n);
    }
}

static void live(uint64_t seed)
{
    memset(&w, 0, sizeof(w));
    w.random = seed * 7919;
    w.map = map_none();
    for (unsigned i = 0; i < NODES; i++)
        snprintf(w.ids[i], sizeof(w.ids[i]), "%016u", i + 1);
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(w.keys[i].name, sizeof(w.keys[i].name), "key-%u", i);
        w.keys[i].width = 2 + i % (WIDTH_MAX - 1);
    }
    for (unsigned i = 0; i < 4; i++) {
        struct map_node node = node_n(i);
        w.alive[i] = w.there[i] = true;
        CHANGE(map_gather, &node);
    }
    const struct map *formed = NULL;
    enum err e = map_form(w.map, &formed);
    assert_true(apply(e, formed));
    for (unsigned i = 0; i < STEPS; i++)
        step();
    map_release(w.map);
}

static void no_lead_has_missed_what_was_acknowledged(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= LIVES; seed++)
        live(seed);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(no_lead_has_missed_what_was_acknowledged)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
