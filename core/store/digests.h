/* digests.h - the running hashes of one body: MD5 for the ETag, the kept checksum, whatever the client declared.
 *
 * Shape    digests_init / digests_update* / digests_final, then look at `of`; digests_drop() instead when the body
 *          failed.
 * Errors   digests_check(): the error that the client's declaration names.
 * Thread   one at a time; updates over 64 KiB belong on a pool.
 */
#ifndef SLUICE_STORE_DIGESTS_H
#define SLUICE_STORE_DIGESTS_H

#include "store/object.h"

struct digests {
    enum hash_alg checksum; /* the kept one */
    unsigned set;           /* 1u << enum hash_alg */
    struct hash hash[HASH_COUNT];
    struct digest of[HASH_COUNT]; /* after digests_final() */
};

/* What `check` needs; `checksum`, unless HASH_NONE, goes before check->checksum. */
void digests_init(struct digests *d, const struct body_check *check, enum hash_alg checksum);
/* Only what `check` declares. */
void digests_init_declared(struct digests *d, const struct body_check *check);
void digests_update(struct digests *d, const void *p, size_t n);
void digests_final(struct digests *d);
/* Harmless on a zeroed struct and after digests_final(). */
void digests_drop(struct digests *d);
/* Compares with the declared ones: check->want is complete once the body's end was read. */
MUST_USE enum err digests_check(const struct digests *d, const struct body_check *check);

#endif
