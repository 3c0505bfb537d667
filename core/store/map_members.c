#include "map.h"

#include <assert.h>

static bool is_in(const struct map *m, uint16_t node)
{
    return m->nodes[node].sync == SYNC_IN && m->nodes[node].state != NODE_MAINTENANCE;
}

/* Who went out last knows of all writes that were acknowledged: after that nobody could acknowledge any. */
static uint64_t last_out(const struct map *m, const struct map_members *s)
{
    uint64_t last = 0;

    for (size_t i = 0; i < s->count; i++)
        if (m->nodes[s->nodes[i]].out_since > last)
            last = m->nodes[s->nodes[i]].out_since;
    return last;
}

static bool any_in(const struct map *m, const struct map_members *s)
{
    for (size_t i = 0; i < s->count; i++)
        if (is_in(m, s->nodes[i]))
            return true;
    return false;
}

bool map_member_knows(const struct map *m, const struct map_members *s, size_t member)
{
    assert(member < s->count);
    if (any_in(m, s))
        return is_in(m, s->nodes[member]);
    return m->nodes[s->nodes[member]].out_since == last_out(m, s);
}

static void find_lead(const struct map *m, struct map_members *out)
{
    out->lead = -1;
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
