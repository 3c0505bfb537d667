/* fake_runtime.h - a runtime whose sidecars are threads of the test: small HTTP servers that do what the spec's command says.
 *
 * Shape    the command's first word is how the sidecar behaves:
 *            upper, twice     the body in capitals; each byte of it two times; streamed
 *            refuse           422 "no cat in it"
 *            shy              503 with Ais-Etl-Retry-Reason to the first request, then as upper
 *            tells            answers with the head of the request
 *            hold             as upper, but waits for fake.release before it answers
 *            dies             ends when it has answered with DIES_AT bytes
 *            old, olddies     as HTTP/1.0: what it is, ends with the connection; the second ends itself at DIES_AT
 *            cuts             closes the connection there
 *            pull             as upper, of the object that it gets from AIS_TARGET_URL
 *            file             as upper, of the file that etl_fqn names
 *            deaf, hang       /health is answered with 503; never
 *            mute             can't be dialled
 *            exits, nostart   has ended at once; can't be started
 *            bare             has no server
 * Thread   the runtime's functions any; counters any.
 */
#ifndef SLUICE_TESTS_ETL_FAKE_RUNTIME_H
#define SLUICE_TESTS_ETL_FAKE_RUNTIME_H

#include <pthread.h>
#include <stdatomic.h>

#include "etl/runtime.h"

enum { FAKE_STARTS = 64, DIES_AT = 300000 };

struct fake_instance;
struct fake {
    struct etl_runtime runtime;
    pthread_mutex_t lock;
    struct fake_instance *list;       /* guarded by lock */
    uint64_t started_ns[FAKE_STARTS]; /* the same */
    unsigned starts;                  /* the same */
    atomic_int running, requests, at_work, most;
    atomic_int start_ms, stop_ms; /* so long they take */
    atomic_bool release, closed, no_share;
    char dir[64]; /* what share() gives */
};

void fake_open(struct fake *f);
/* Checks that nothing is left. */
void fake_end(struct fake *f);
/* Ends the instance of an ETL as if its program had crashed. False: there is none. */
bool fake_kill(struct fake *f, const char *name);
unsigned fake_starts(struct fake *f);

#endif
