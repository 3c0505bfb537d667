/* map_own.h - internal to map*.c: a map in the making.
 *
 * Shape    a draft is a map taken apart, to be changed and built again. Nodes that were removed while objects were placed on them stay in it
 *          as gone until those are where they belong: by them map_members() knows who else had a key.
 * Owns     the draft owns `nodes`, which draft_build() ends; the strs are borrowed.
 */
#ifndef SLUICE_STORE_MAP_OWN_H
#define SLUICE_STORE_MAP_OWN_H

#include <stdatomic.h>

#include "base/mem.h"
#include "store/map.h"

/* How many there are of gone nodes, behind the others of a map. */
struct map_gone {
    uint16_t nodes, shares, previous;
};

struct map_own {
    struct map map;
    struct arena arena; /* holds all it points to */
    struct map_gone gone;
    atomic_uint users;
};

/* Of a map that was not built here, none. */
static inline struct map_gone map_gone(const struct map *m)
{
    return m->own ? m->own->gone : (struct map_gone){0};
}

struct draft_node {
    struct map_node node;
    uint32_t share, previous;             /* 0 = none */
    struct str share_zone, previous_zone; /* by which those are placed */
    bool gone;                            /* removed: no member any more, only its places are kept */
};

struct draft {
    uint64_t epoch, moving_since, term;
    size_t n;
    struct draft_node *nodes; /* heap, room for one more than there were */
};

void draft_from(struct draft *d, const struct map *m);
void draft_drop(struct draft *d, size_t at);
/* Ends the draft. */
const struct map *draft_build(struct draft *d);
/* What may be in a map. */
bool map_is_node(const struct map_node *n);

#endif
