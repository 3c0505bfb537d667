/* native_counts.h - sums over the objects of a bucket, made in pieces by the requests that ask for them.
 *
 * Shape    who asks takes the count of an id, goes on from where it stands, and gives it back with what it has so far; the next request
 *          of the client goes on there. So nothing runs for clients that have gone, and nothing outlives a request. An id that isn't
 *          known begins anew: ids carry what they are about (native_summary.c), so another gateway can answer, too.
 * Units    sizes: bytes. Times: CLOCK_MONOTONIC.
 * Owns     the table its entries; a struct count is a copy.
 * Errors   none: a full table forgets who was not asked for longest.
 * Thread   any.
 */
#ifndef SLUICE_GATEWAY_NATIVE_COUNTS_H
#define SLUICE_GATEWAY_NATIVE_COUNTS_H

#include "base/arena.h"
#include "store/object.h"

enum {
    COUNTS_MAX = 256,    /* entries */
    COUNT_ID_MAX = 1536, /* bytes of an id */
    COUNTS_KEPT_S = 600, /* an entry, since it was asked for last */
};

struct count {
    uint64_t objects, bytes, least, most;  /* of what is here. least: UINT64_MAX when there are no objects */
    uint64_t remote_objects, remote_bytes; /* of a remote bucket, here or not */
    struct str after;                      /* the last key that was counted */
    bool done;
};
#define COUNT_INIT                                                                                                     \
    {                                                                                                                  \
        .least = UINT64_MAX                                                                                            \
    }
static inline void count_add(struct count *c, uint64_t size)
{
    c->objects++;
    c->bytes += size;
    c->least = size < c->least ? size : c->least;
    c->most = size > c->most ? size : c->most;
}

struct native_counts;
struct native_counts *native_counts_new(void);
void native_counts_free(struct native_counts *t);

/* False: somebody is at it. Otherwise *out is what is known, `after` lives in the arena; unless it is done native_counts_give()
 * must follow. A bucket is known by its uid: another one's id is another count. */
bool native_counts_take(struct native_counts *t, struct arena *arena, uint64_t uid, struct str id, struct count *out);
void native_counts_give(struct native_counts *t, uint64_t uid, struct str id, const struct count *now);

#endif
