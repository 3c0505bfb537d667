/* keylock.h - locks on keys: many writers or one mover.
 *
 * Shape    an entry exists while somebody holds or awaits its key; waiters are served in order. Two keys of one hash share a lock.
 * Owns     a keylock is embedded in its owner's struct until keylock_drop().
 * Errors   ERR_BUSY: KEYLOCK_WAITERS_MAX wait for that key already; ERR_CANCELLED.
 * Thread   any; a keylock by the loop of its call.
 */
#ifndef SLUICE_TARGET_KEYLOCK_H
#define SLUICE_TARGET_KEYLOCK_H

#include "base/call.h"
#include "base/str.h"

enum { KEYLOCK_WAITERS_MAX = 1000 };
enum keylock_mode { KEYLOCK_SHARED, KEYLOCK_EXCLUSIVE };

struct keylocks;
struct keylock_entry;
struct keylock { /* zeroed to begin with */
    struct keylocks *locks;
    struct keylock_entry *entry;
    struct keylock *next;
    struct call *call;
    enum keylock_mode mode;
    bool held, waits;
};

struct keylocks *keylocks_new(void);
/* Nothing held. */
void keylocks_free(struct keylocks *k);
/* False: it would have to wait. */
bool keylock_try(struct keylocks *k, struct keylock *l, uint64_t uid, struct str key, enum keylock_mode mode);
/* ERR_OK: it is held from then on, even when the call was cancelled meanwhile: drop it in any case. */
void keylock_take(struct keylocks *k, struct keylock *l, uint64_t uid, struct str key, enum keylock_mode mode,
                  struct call *call);
/* From exclusive to shared: lets writers in. */
void keylock_share(struct keylock *l);
/* Harmless when it isn't held. Not while its call is outstanding. */
void keylock_drop(struct keylock *l);

#endif
