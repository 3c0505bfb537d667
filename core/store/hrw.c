#include "store/hrw.h"

#include <assert.h>

#include "base/hash.h"

uint64_t hrw_seed(struct str identity)
{
    return hash_place(identity, 0);
}

uint64_t hrw_key(uint64_t bucket_uid, struct str key)
{
    return hash_place(key, bucket_uid);
}

uint64_t hrw_score(uint64_t key, uint64_t seed)
{
    uint64_t x = key ^ seed;

    /* the finalizer of MurmurHash3: every input bit reaches every output bit */
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    x ^= x >> 33;
    return x;
}

size_t hrw_pick(uint64_t key, const uint64_t *seeds, size_t n)
{
    size_t best = 0;

    assert(n > 0);
    for (size_t i = 1; i < n; i++) {
        uint64_t a = hrw_score(key, seeds[i]), b = hrw_score(key, seeds[best]);
        if (a > b || (a == b && seeds[i] < seeds[best]))
            best = i;
    }
    return best;
}
