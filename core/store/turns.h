/* turns.h - who works at a key takes turns with the others of this process.
 *
 * Shape    turn_take() finishes when all that came before for the same key have ended theirs. Cancelling its call leaves the row.
 * Owns     a struct turn is embedded in its owner; its key is borrowed until it ends.
 * Thread   any.
 */
#ifndef SLUICE_STORE_TURNS_H
#define SLUICE_STORE_TURNS_H

#include <pthread.h>

#include "base/call.h"
#include "base/hash.h"

enum { TURNS_LISTS = 256 };

struct turns;
struct turn {
    struct turn *next; /* in its list, in order of arrival */
    struct turns *turns;
    uint64_t uid;
    struct str key; /* borrowed */
    struct call *call;
    bool held, listed;
};
struct turns {
    pthread_mutex_t lock;
    struct turn *list[TURNS_LISTS]; /* guarded by lock */
};
void turns_init(struct turns *t);
/* Nobody waits or works. */
void turns_destroy(struct turns *t);

/* Finishes when it is this one's turn; then turn_end() must follow. */
void turn_take(struct turns *t, struct turn *turn, uint64_t uid, struct str key, struct call *call);
/* Harmless on one that isn't held. */
void turn_end(struct turn *turn);
/* `to` has the turn now, under a key of its own. */
void turn_hand_over(struct turn *from, struct turn *to, struct str key);
/* Whether somebody works at this key. */
bool turns_busy(struct turns *t, uint64_t uid, struct str key);

#endif
