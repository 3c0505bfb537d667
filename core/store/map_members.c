#include <assert.h>

#include "store/map_own.h"

/* A node in maintenance is asked only when nobody else has all: it is in sync until it has put itself out. */
static bool is_in_use(const struct map_node *n)
{
    return n->sync == SYNC_IN && n->state != NODE_MAINTENANCE;
}

/* Who is in sync has never been left out: later than any epoch. */
static uint64_t left_out(const struct map_node *n)
{
    return n->sync == SYNC_IN ? UINT64_MAX : n->out_since;
}

/* Who went out last knows of all writes that were acknowledged: after that nobody could acknowledge any but under its lead. */
static uint64_t last_out(const struct map *m, const struct map_members *s)
{
    uint64_t last = 0;

    for (size_t i = 0; i < s->count; i++)
        if (left_out(&m->nodes[s->nodes[i]]) > last)
            last = left_out(&m->nodes[s->nodes[i]]);
    return last;
}

bool map_member_knows(const struct map *m, const struct map_members *s, size_t member)
{
    assert(member < s->count);
    return left_out(&m->nodes[s->nodes[member]]) == last_out(m, s);
}

/* The places of nodes that are gone stay empty: who would take them had nothing to do with the key. When all that had it are gone it goes to
 * those that come next, who are the same whoever else goes. */
static size_t rank_kept(const struct map *m, const struct map_share *shares, size_t share_count, uint64_t bucket_uid,
                        struct str key, size_t want, uint16_t *out)
{
    uint16_t all[MAP_COPIES_MAX];
    size_t n = map_rank(m, shares, share_count, bucket_uid, key, MAP_COPIES_MAX, all), kept = 0;

    for (size_t from = 0; from < n && kept == 0; from += want)
        for (size_t i = from; i < n && i < from + want; i++)
            if (all[i] < m->node_count)
                out[kept++] = all[i];
    return kept;
}

/* With `gone` shares behind the others. */
static void find(const struct map *m, const struct map_share *shares, size_t share_count, size_t gone,
                 uint64_t bucket_uid, struct str key, size_t want, struct map_members *out)
{
    assert(want <= MAP_COPIES_MAX);
    *out = (struct map_members){.lead = -1};
    if (gone && want > 1)
        out->count = rank_kept(m, shares, share_count + gone, bucket_uid, key, want, out->nodes);
    if (out->count == 0)
        out->count = map_rank(m, shares, share_count, bucket_uid, key, want, out->nodes);
    for (size_t i = 0; i < out->count && out->lead < 0; i++)
        if (is_in_use(&m->nodes[out->nodes[i]]))
            out->lead = (int)i;
    for (size_t i = 0; i < out->count && out->lead < 0; i++)
        if (map_member_knows(m, out, i))
            out->lead = (int)i;
}

void map_members(const struct map *m, uint64_t bucket_uid, struct str key, size_t want, struct map_members *out)
{
    find(m, m->shares, m->share_count, map_gone(m).shares, bucket_uid, key, want, out);
}

void map_members_before(const struct map *m, uint64_t bucket_uid, struct str key, size_t want, struct map_members *out)
{
    find(m, m->previous, m->previous_count, map_gone(m).previous, bucket_uid, key, want, out);
}
