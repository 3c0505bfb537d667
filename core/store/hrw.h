/* hrw.h - rendezvous hashing: which of a set of places holds a key. Pure.
 *
 * Shape    each place has a seed made of its identity; a key belongs to the place with the highest score. Adding or
 *          losing a place moves only the keys that it gains or held.
 * Thread   any.
 * Source   Thaler, Ravishankar: "A name-based mapping scheme for rendezvous" (1996). The results are on disks: golden
 *          vectors in tests/unit/store/test_hrw.c must never change. Places of different sizes: Schindelhauer, Schomaker:
 *          "Weighted distributed hash tables" (2005).
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

/* Places of different sizes: a key belongs to the place whose cost by weight is the least, that is to each as often as its
 * share of all weights says. The cost is -log2(score / 2^64) in units of 2^-56, 1 to 2^62, in integer arithmetic alone:
 * the same on every machine. Between 257 exact points it is a line, which is wrong by 3e-6 at most. */
uint64_t hrw_cost(uint64_t score);
static inline bool hrw_is_cheaper(uint64_t cost, uint32_t weight, uint64_t than_cost, uint32_t than_weight)
{
    return (unsigned __int128)cost * than_weight < (unsigned __int128)than_cost * weight;
}

#endif
