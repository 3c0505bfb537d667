#include "access.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/hash.h"

enum { WAYS = 4 };

/* The upper half is a part of the key's hash, the lower one the time. */
static _Atomic uint64_t slots[ACCESS_SLOTS];

static _Atomic uint64_t *set_of(uint64_t uid, struct str key, uint32_t *tag)
{
    uint64_t h = hash_place(key, uid ^ UINT64_C(0x616363657373));

    *tag = (uint32_t)(h >> 32);
    return &slots[h % (ACCESS_SLOTS / WAYS) * WAYS];
}

void access_note(uint64_t uid, struct str key)
{
    uint32_t tag, now = (uint32_t)(clock_wall_ns() / NS_PER_S);
    _Atomic uint64_t *set = set_of(uid, key, &tag), *oldest = set;

    for (int i = 0; i < WAYS; i++) {
        uint64_t v = atomic_load_explicit(&set[i], memory_order_relaxed);
        if ((uint32_t)(v >> 32) == tag) {
            oldest = &set[i];
            break;
        }
        if ((uint32_t)v < (uint32_t)atomic_load_explicit(oldest, memory_order_relaxed))
            oldest = &set[i];
    }
    atomic_store_explicit(oldest, (uint64_t)tag << 32 | now, memory_order_relaxed);
}

int64_t access_last_s(uint64_t uid, struct str key)
{
    uint32_t tag;
    _Atomic uint64_t *set = set_of(uid, key, &tag);

    for (int i = 0; i < WAYS; i++) {
        uint64_t v = atomic_load_explicit(&set[i], memory_order_relaxed);
        if (v && (uint32_t)(v >> 32) == tag)
            return (int64_t)(uint32_t)v;
    }
    return 0;
}
