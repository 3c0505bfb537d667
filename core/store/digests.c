#include "digests.h"

#include "base/log.h"

static enum hash_alg first_of(enum hash_alg a, enum hash_alg b)
{
    if (a != HASH_NONE)
        return a;
    return b != HASH_NONE ? b : HASH_CRC64NVME;
}

static void begin(struct digests *d, const struct body_check *check, unsigned set)
{
    d->set = set | check->also;
    for (unsigned i = 0; i < check->want_count; i++)
        d->set |= 1u << check->want[i].digest.alg;
    d->set &= ~(1u << HASH_NONE);
    for (int i = HASH_NONE + 1; i < HASH_COUNT; i++)
        if (d->set & 1u << i)
            hash_init(&d->hash[i], (enum hash_alg)i);
}

void digests_init(struct digests *d, const struct body_check *check, enum hash_alg checksum)
{
    d->checksum = first_of(checksum, check->checksum);
    begin(d, check, 1u << HASH_MD5 | 1u << d->checksum);
}

void digests_init_declared(struct digests *d, const struct body_check *check)
{
    d->checksum = HASH_NONE;
    begin(d, check, 0);
}

void digests_update(struct digests *d, const void *p, size_t n)
{
    for (int i = HASH_NONE + 1; i < HASH_COUNT; i++)
        if (d->set & 1u << i)
            hash_update(&d->hash[i], p, n);
}

void digests_final(struct digests *d)
{
    for (int i = HASH_NONE + 1; i < HASH_COUNT; i++)
        if (d->set & 1u << i)
            hash_final(&d->hash[i], &d->of[i]);
}

void digests_drop(struct digests *d)
{
    for (int i = HASH_NONE + 1; i < HASH_COUNT; i++)
        if (d->set & 1u << i)
            hash_drop(&d->hash[i]);
}

enum err digests_check(const struct digests *d, const struct body_check *check)
{
    for (unsigned i = 0; i < check->want_count; i++) {
        const struct digest *want = &check->want[i].digest;
        if (!(d->set & 1u << want->alg)) {
            log_error(STR_NONE, "body declares a digest that was not announced", "alg=" STR_FMT,
                      STR_ARG(hash_name(want->alg)));
            return ERR_INTERNAL;
        }
        if (!digest_eq(want, &d->of[want->alg]))
            return check->want[i].err;
    }
    return ERR_OK;
}
