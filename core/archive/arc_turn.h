/* arc_turn.h - what changes of archives share in a process: one at a time for each archive, and where a TAR ends.
 *
 * Shape    turns: first come, first served. Notes: of a bounded number of archives; one that is not there, or is of another state, costs a look
 *          at the archive.
 * Owns     a turn is its owner's, who also keeps the key until it is dropped.
 * Errors   ERR_BUSY: too many wait for this one.
 * Thread   any.
 */
#ifndef SLUICE_ARCHIVE_ARC_TURN_H
#define SLUICE_ARCHIVE_ARC_TURN_H

#include "base/call.h"
#include "store/object.h"

enum { ARC_TURNS_MAX = 4096 }; /* that wait for one archive */

struct arc_turn { /* zeroed to begin with */
    struct arc_turn *next;
    uint64_t uid;
    struct str key;
    struct call *call;
    enum { TURN_NONE, TURN_WAITS, TURN_HELD } state;
};
void arc_turn_take(struct arc_turn *t, uint64_t bucket_uid, struct str key, struct call *call);
/* Harmless on one that was not taken, or whose call failed. Not while the call is pending. */
void arc_turn_drop(struct arc_turn *t);

/* The trailer of the TAR that `info` tells about begins at `end`. */
void arc_end_note(uint64_t bucket_uid, struct str key, const struct object_info *info, uint64_t end);
bool arc_end_known(uint64_t bucket_uid, struct str key, const struct object_info *info, uint64_t *end);

#endif
