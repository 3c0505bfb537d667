/* hrw.h - rendezvous hashing: which of a set of places holds a key. Pure.
 *
 * Shape    each place has a seed made of its identity; a key belongs to the place with the highest score. Adding or
 *          losing a place moves only the keys that it gains or held.
 * Thread   any.
 * Source   Thaler, Ravishankar: "A name-based mapping scheme for rendezvous" (1996). The results are on disks: golden
 *          vectors in tests/unit/store/test_hrw.c must never change.
 */
#ifndef SLUICE_STORE_HRW_H
#define SLUICE_STORE_HRW_H

#include "base/str.h"

/* The seed of a place from its identity's bytes, e.g. a uuid. */
uint64_t hrw_seed(struct str identity);
/* The hash of an object's name. */
uint64_t hrw_key(uint64_t bucket_uid, struct str key);
uint64_t hrw_score(uint64_t key, uint64_t seed);
/* Position of the winner among n >= 1 seeds; equal scores: the lower seed. */
size_t hrw_pick(uint64_t key, const uint64_t *seeds, size_t n);

#endif
