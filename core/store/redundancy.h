/* redundancy.h - what a bucket asks for: how many copies or slices of an object there are, and where.
 *
 * Shape    a small value that travels with struct bucket_id to whoever stores the object.
 *          none             one copy on one node
 *          mirror=N         one node, N copies on different mountpaths of it
 *          replicas=N       N nodes have the whole object
 *          ec=D+P           content over a threshold is cut into D slices with P of parity on D+P nodes, any D of which are enough; the
 *                           record, and smaller content, is on P+1 nodes
 * Errors   ERR_INVALID_ARGUMENT: not such a text, or out of bounds.
 * Thread   any; pure.
 */
#ifndef SLUICE_STORE_REDUNDANCY_H
#define SLUICE_STORE_REDUNDANCY_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum redundancy_kind { REDUNDANCY_NONE, REDUNDANCY_MIRROR, REDUNDANCY_REPLICAS, REDUNDANCY_EC };
enum {
    REDUNDANCY_COPIES_MAX = 8,
    REDUNDANCY_SLICES_MAX = 24, /* data and parity */
    REDUNDANCY_PARITY_MAX = 7,
    REDUNDANCY_TEXT_MAX = 16,
};
#define REDUNDANCY_EC_MIN (UINT64_C(256) << 10) /* bytes: content below is replicated rather than cut */

struct redundancy {
    uint8_t kind; /* enum redundancy_kind */
    uint8_t data; /* copies, or slices of data */
    uint8_t parity;
};
MUST_USE enum err redundancy_parse(struct str text, struct redundancy *out);
/* "replicas=3" */
struct str redundancy_text(struct redundancy r, char out[REDUNDANCY_TEXT_MAX]);

/* Nodes that have the record of an object. */
static inline unsigned redundancy_width(struct redundancy r)
{
    return r.kind == REDUNDANCY_REPLICAS ? r.data : r.kind == REDUNDANCY_EC ? r.parity + 1u : 1;
}
/* Nodes that have slices of a large object; 0: none are made. */
static inline unsigned redundancy_slices(struct redundancy r)
{
    return r.kind == REDUNDANCY_EC ? r.data + r.parity : 0;
}
/* Nodes that must be there for a cluster to be large enough. */
static inline unsigned redundancy_nodes(struct redundancy r)
{
    unsigned slices = redundancy_slices(r), width = redundancy_width(r);

    return slices > width ? slices : width;
}
/* Copies of the record, or slices, that a write is acknowledged with at least, all of those nodes included that are in sync: more than
 * half of the copies (of two: one, while the other is known to be out); of slices one more than are needed (with P = 1: as many
 * as are needed). */
unsigned redundancy_min_copies(struct redundancy r);
unsigned redundancy_min_slices(struct redundancy r);
/* Nodes whose answers a listing can do without. */
static inline unsigned redundancy_spare(struct redundancy r)
{
    return redundancy_width(r) - 1;
}
/* Whether objects are on more nodes than one. */
static inline bool redundancy_is_wide(struct redundancy r)
{
    return redundancy_width(r) > 1;
}

#endif
