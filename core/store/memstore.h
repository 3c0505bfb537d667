/* memstore.h - the reference store: everything in memory, one loop, no persistence.
 *
 * Shape    ordered array of objects per bucket; the fake for every test above this layer and the model of the contract suite.
 * Owns     its objects until close.
 * Thread   one loop.
 */
#ifndef SLUICE_STORE_MEMSTORE_H
#define SLUICE_STORE_MEMSTORE_H

#include "store/store.h"

struct store *memstore_new(struct loop *loop);

#endif
