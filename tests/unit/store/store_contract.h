/* store_contract.h - what every implementation of core/store/store.h must do, as one suite.
 *
 * Shape    the test of a store fills in a contract_env and returns store_contract_run() from main().
 * Owns     the env and its loop stay the caller's; the suite opens and closes the store.
 */
#ifndef SLUICE_TESTS_STORE_CONTRACT_H
#define SLUICE_TESTS_STORE_CONTRACT_H

#include "store/store.h"

enum { /* parts of the contract that a store may not have yet */
       CONTRACT_NO_COPY = 1 << 0,
       CONTRACT_NO_UPLOADS = 1 << 1,
       CONTRACT_NO_PURGE = 1 << 2,
       CONTRACT_NO_IMPORT = 1 << 3,
       CONTRACT_NO_GATE = 1 << 4, /* beyond a connection there is none */
};

struct contract_env {
    const char *name;
    struct loop *loop; /* adopted by the calling thread */
    /* Opens the store, the first time and again after close(). */
    struct store *(*open)(struct contract_env *);
    /* Closes the handle and whatever open() made beneath it. */
    void (*close)(struct contract_env *, struct store *);
    bool persistent; /* what was acknowledged is there after close() and open() */
    bool far;        /* behind a connection: who cancels a write doesn't learn how it ended */
    unsigned skip;
    unsigned copies; /* of every object, as a purge counts them; 0 = 1 */
    void *arg;
};

/* Number of failures. */
int store_contract_run(struct contract_env *env);

#endif
