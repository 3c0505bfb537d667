#include "map.h"

#include <assert.h>

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

static void find_lead(const struct map *m, struct map_members *out)
{
    out->lead = -1;
    for (size_t i = 0; i < out->count && out->lead < 0; i++)
        if (is_in_use(&m->nodes[out->nodes[i]]))
            out->lead = (int)i;
    for (size_t i = 0; i < out->count && out->lead < 0; i++)
        if (map_member_knows(m, out, i))
            out->lead = (int)i;
}

void map_members(const struct map *m, uint64_t bucket_uid, struct str key, size_t want, struct map_members *out)
{
    assert(want <= MAP_COPIES_MAX);
    out->count = map_place(m, bucket_uid, key, want, out->nodes);
    find_lead(m, out);
}

void map_members_before(const struct map *m, uint64_t bucket_uid, struct str key, size_t want, struct map_members *out)
{
    assert(want <= MAP_COPIES_MAX);
    out->count = map_place_before(m, bucket_uid, key, want, out->nodes);
    find_lead(m, out);
}
