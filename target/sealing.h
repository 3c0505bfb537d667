/* sealing.h - the way of a staged segment into the index: described, sealed, protected from garbage collection, and
 * removed again when its record was not committed after all (when that is in doubt, garbage collection decides after
 * the next start).
 *
 * Shape    sealing_describe(), sealing_run() or the two for an empty one, the commit, sealing_end().
 * Owns     the description's bytes, the protection, and `empty` (a source, or NULL).
 * Errors   of segment_seal(); ERR_METADATA_TOO_LARGE.
 * Thread   the loop of the call.
 */
#ifndef SLUICE_TARGET_SEALING_H
#define SLUICE_TARGET_SEALING_H

#include "target/engine.h"

struct sealing { /* zeroed to begin with */
    struct buf desc;
    struct mountpath *mountpath; /* once it runs */
    struct segment_staged *staged;
    struct segment_staged own; /* of sealing_stage_empty() */
    struct inflight inflight;
    struct source *empty;
    struct offload_task task;
    bool sealed; /* the file has its name */
};

MUST_USE enum err sealing_describe(struct sealing *s, const struct description *d);
/* Seals `staged` with the description. */
void sealing_run(struct sealing *s, struct mountpath *m, struct segment_staged *staged, struct offload *io,
                 struct call *call);
/* The same, BLOCKING. */
MUST_USE enum err sealing_seal(struct sealing *s, struct mountpath *m, struct segment_staged *staged);
/* A segment without content, for its description alone: stage it (s->own.id is its id from then on), describe, seal.
 * BLOCKING. */
MUST_USE enum err sealing_stage_empty(struct sealing *s, struct mountpath *m);
MUST_USE enum err sealing_seal_empty(struct sealing *s);
/* Not while it runs. `committed`: the index refers to the segment. Harmless on a zeroed one. */
void sealing_end(struct sealing *s, bool committed);

#endif
