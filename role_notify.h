/* role_notify.h - who is told of what happens in buckets: the webhooks of the settings, and their queue on disk.
 *
 * Owns     the queue.
 * Errors   a sentence for a person in `why`.
 * Thread   main.
 */
#ifndef SLUICE_ROLE_NOTIFY_H
#define SLUICE_ROLE_NOTIFY_H

#include "role.h"
#include "store/announce.h"

struct role_notify {
    struct announcer announcer;
};
/* `data`: the first data directory; empty: there is none. Without webhooks nothing is opened. */
MUST_USE enum err role_notify_open(struct role_notify *n, struct role *r, struct str data, struct bucket_confs *confs,
                                   struct buckets *buckets, char why[ROLE_WHY_MAX]);
/* After the last store that tells, while pools run. Harmless when nothing was opened. */
void role_notify_close(struct role_notify *n);
/* NULL: no webhooks. */
const struct announcer *role_notify_announcer(const struct role_notify *n);

#endif
