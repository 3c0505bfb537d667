/* hash.h - digests and checksums of bodies, HMAC for signatures.
 *
 * Shape    hash_init / hash_update* / hash_final over a struct on the caller's side; no allocation on the hot path.
 * Units    digests are raw bytes, CRCs and xxHashes big-endian as S3 prints them.
 * Thread   a struct hash at a time by one thread. hash_setup() once before any other use.
 * Source   S3 User Guide, "Checking object integrity"; NVM Express CRC64 (reflected 0x9a6c9329ac4bc9b5, init and xorout all ones);
 *          xxHash specification; FIPS 180-4; RFC 1321; RFC 2104.
 */
#ifndef SLUICE_BASE_HASH_H
#define SLUICE_BASE_HASH_H

#include <openssl/md5.h>
#include <openssl/sha.h>

#include "str.h"

enum hash_alg { /* the numbers are stored on disk */
                HASH_NONE = 0,
                HASH_CRC32 = 1,
                HASH_CRC32C = 2,
                HASH_CRC64NVME = 3,
                HASH_SHA1 = 4,
                HASH_SHA256 = 5,
                HASH_SHA512 = 6,
                HASH_MD5 = 7,
                HASH_XXH64 = 8,
                HASH_XXH3 = 9,
                HASH_XXH128 = 10,
                HASH_COUNT = 11
};
enum { HASH_MAX_LEN = 64 };

struct digest {
    enum hash_alg alg;
    uint8_t n; /* 0 = none */
    uint8_t b[HASH_MAX_LEN];
};

struct hash {
    enum hash_alg alg;
    union {
        uint32_t crc32;
        uint64_t crc64;
        MD5_CTX md5;
        SHA_CTX sha1;
        SHA256_CTX sha256;
        SHA512_CTX sha512;
        void *xxh; /* XXH64/XXH3 state, allocated by hash_init, freed by hash_final or hash_drop */
    } u;
};

/* Picks the carry-less multiply or table implementations for this CPU. Idempotent. */
void hash_setup(void);
void hash_init(struct hash *h, enum hash_alg alg);
void hash_update(struct hash *h, const void *p, size_t n);
/* Ends it. */
void hash_final(struct hash *h, struct digest *out);
/* Ends it without a result. Harmless on a zeroed or ended struct. */
void hash_drop(struct hash *h);
void hash_of(enum hash_alg alg, struct str bytes, struct digest *out);
/* Bytes of a digest of this algorithm; 0 for HASH_NONE. */
size_t hash_len(enum hash_alg alg);
/* S3's name, "CRC64NVME"; "" for HASH_NONE. */
struct str hash_name(enum hash_alg alg);
/* HASH_NONE when unknown. Case does not matter. */
enum hash_alg hash_by_name(struct str name);
/* CRC32, CRC32C, CRC64NVME: digest of A||B from digest of A, digest of B and the length of B. */
void hash_combine(struct digest *a, const struct digest *b, uint64_t b_len);
bool hash_can_combine(enum hash_alg alg);
bool digest_eq(const struct digest *a, const struct digest *b);

/* HMAC-SHA256 with the key's two states kept, for signing keys used many times. */
struct hmac {
    SHA256_CTX inner, outer;
};
void hmac_key(struct hmac *h, struct str key);
void hmac_of(const struct hmac *h, struct str bytes, uint8_t out[32]);
/* The same over bytes in pieces: what hash_update() adds in between. */
void hmac_begin(const struct hmac *h, struct hash *pieces);
void hmac_end(const struct hmac *h, struct hash *pieces, uint8_t out[32]);
void hmac_sha256(struct str key, struct str bytes, uint8_t out[32]);
void hmac_sha1(struct str key, struct str bytes, uint8_t out[20]);
/* XXH3-64 for placement and hash tables; not kept anywhere as an integrity check. */
uint64_t hash_place(struct str bytes, uint64_t seed);
/* Cryptographic random bytes. */
void random_bytes(void *out, size_t n);

#endif
