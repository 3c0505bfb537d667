/* gated.h - the way of a record that is about to be committed through a commit gate (store.h).
 *
 * Shape    gated_enter(); when that ended well gated_take(); the commit; gated_end().
 * Owns     the visit, its hold on the content's segments, and what describes a record without content.
 * Errors   the gate's; of segment_seal(); ERR_INVALID_ARGUMENT: the gate's time or layout is none.
 * Thread   the loop of the call.
 */
#ifndef SLUICE_TARGET_GATED_H
#define SLUICE_TARGET_GATED_H

#include "target/sealing.h"

struct gated { /* zeroed to begin with, but for the first group */
    struct local *local;
    struct mountpath *mountpath;
    struct bucket_id bucket;
    struct str key;
    const struct segment_id *upload; /* what it is made of, NULL: no upload */
    uint64_t changes;                /* of the upload, when it was read */
    struct arena *arena;

    struct hot **hot; /* the owner's */
    struct gate_visit visit;
    struct extent_hold hold;
    bool holds;
    bool bare; /* after gated_take(): the record has no content, so that which was stored is nobody's */
    struct sealing desc;
    struct offload_task task;
};

/* Before gated_enter(), which does it otherwise: keeps the content of `h`, of which all that will be committed consists. */
void gated_hold(struct gated *g, const struct hot *h);
/* `*hot`, with its body, is what will be committed; nobody else has it. */
void gated_enter(struct gated *g, struct commit_gate *gate, struct hot **hot, struct call *call);
/* Brings the time into *hot, or puts a record without content in its place. */
void gated_take(struct gated *g, struct call *call);
/* Not while it runs. Harmless on a zeroed one. */
void gated_end(struct gated *g, bool committed);

#endif
