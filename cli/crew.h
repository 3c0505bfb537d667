/* crew.h - the same work on many things, several at a time, each worker with a connection of its own.
 *
 * Shape    crew_begin(), crew_add() for each thing (waits while the queue is full), crew_end().
 * Owns     copies of names.
 * Errors   the exit code of the first that failed; after a failure nothing new begins unless `goes_on`.
 * Thread   crew_*(): one; `work`: the workers'.
 */
#ifndef SLUICE_CLI_CREW_H
#define SLUICE_CLI_CREW_H

#include "cli/client.h"

enum { CREW_WORKERS = 8, CREW_WORKERS_MAX = 64 };

struct crew;
struct crew *crew_begin(struct client *of, unsigned workers, bool goes_on,
                        int (*work)(void *arg, struct client *c, struct str thing, uint64_t size), void *arg);
/* False: something has failed, the rest may be left. */
bool crew_add(struct crew *crew, struct str thing, uint64_t size);
/* Waits for all. *failed may be NULL. */
int crew_end(struct crew *crew, uint64_t *done, uint64_t *failed);

#endif
