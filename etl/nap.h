/* nap.h - a call that is done after some time, or when it is woken.
 *
 * Owns     the struct is the caller's until the call is done; zeroed before its first use.
 * Errors   ERR_CANCELLED.
 * Thread   the call's loop.
 */
#ifndef SLUICE_ETL_NAP_H
#define SLUICE_ETL_NAP_H

#include "base/call.h"

struct etl_nap {
    struct timer timer;
    struct call *call; /* NULL: nobody sleeps */
};
void etl_nap(struct etl_nap *n, uint64_t ms, struct call *call);
/* Ends it now. Harmless when nobody sleeps. */
void etl_nap_wake(struct etl_nap *n);

#endif
