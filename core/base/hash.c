#include "hash.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#include <isa-l/crc.h>
#ifdef __x86_64__
#include <xxh_x86dispatch.h> /* the widest instructions that this CPU has */
#else
#include <xxhash.h>
#endif

#include "crc64.h"

static const struct {
    const char *name;
    uint8_t len;
} algs[HASH_COUNT] = {
    [HASH_NONE] = {"", 0},
    [HASH_CRC32] = {"CRC32", 4},
    [HASH_CRC32C] = {"CRC32C", 4},
    [HASH_CRC64NVME] = {"CRC64NVME", 8},
    [HASH_SHA1] = {"SHA1", 20},
    [HASH_SHA256] = {"SHA256", 32},
    [HASH_SHA512] = {"SHA512", 64},
    [HASH_MD5] = {"MD5", 16},
    [HASH_XXH64] = {"XXHASH64", 8},
    [HASH_XXH3] = {"XXHASH3", 8},
    [HASH_XXH128] = {"XXHASH128", 16},
};

void hash_setup(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, crc64_setup);
}

size_t hash_len(enum hash_alg alg)
{
    return algs[alg].len;
}

struct str hash_name(enum hash_alg alg)
{
    return str_z(algs[alg].name);
}

enum hash_alg hash_by_name(struct str name)
{
    for (int i = HASH_NONE + 1; i < HASH_COUNT; i++)
        if (str_eq_nocase(name, str_z(algs[i].name)))
            return (enum hash_alg)i;
    return HASH_NONE;
}

void hash_init(struct hash *h, enum hash_alg alg)
{
    h->alg = alg;
    switch (alg) {
    case HASH_CRC32:
    case HASH_CRC32C:
        h->u.crc32 = 0;
        break;
    case HASH_CRC64NVME:
        h->u.crc64 = 0;
        break;
    case HASH_SHA1:
        SHA1_Init(&h->u.sha1);
        break;
    case HASH_SHA256:
        SHA256_Init(&h->u.sha256);
        break;
    case HASH_SHA512:
        SHA512_Init(&h->u.sha512);
        break;
    case HASH_MD5:
        MD5_Init(&h->u.md5);
        break;
    case HASH_XXH64:
        h->u.xxh = XXH64_createState();
        assert(h->u.xxh);
        XXH64_reset(h->u.xxh, 0);
        break;
    case HASH_XXH3:
    case HASH_XXH128:
        h->u.xxh = XXH3_createState();
        assert(h->u.xxh);
        if (alg == HASH_XXH3)
            XXH3_64bits_reset(h->u.xxh);
        else
            XXH3_128bits_reset(h->u.xxh);
        break;
    case HASH_NONE:
    case HASH_COUNT:
        assert(!"hash_init without an algorithm");
    }
}

void hash_update(struct hash *h, const void *p, size_t n)
{
    if (n == 0)
        return;
    switch (h->alg) {
    case HASH_CRC32:
        h->u.crc32 = crc32_gzip_refl(h->u.crc32, p, n);
        break;
    case HASH_CRC32C: /* ISA-L inverts neither end */
        for (const unsigned char *b = p; n;) {
            int step = n > 1 << 30 ? 1 << 30 : (int)n;
            h->u.crc32 = ~crc32_iscsi((unsigned char *)(uintptr_t)b, step, ~h->u.crc32);
            b += step;
            n -= (size_t)step;
        }
        break;
    case HASH_CRC64NVME:
        h->u.crc64 = crc64_nvme(h->u.crc64, p, n);
        break;
    case HASH_SHA1:
        SHA1_Update(&h->u.sha1, p, n);
        break;
    case HASH_SHA256:
        SHA256_Update(&h->u.sha256, p, n);
        break;
    case HASH_SHA512:
        SHA512_Update(&h->u.sha512, p, n);
        break;
    case HASH_MD5:
        MD5_Update(&h->u.md5, p, n);
        break;
    case HASH_XXH64:
        XXH64_update(h->u.xxh, p, n);
        break;
    case HASH_XXH3:
        XXH3_64bits_update(h->u.xxh, p, n);
        break;
    case HASH_XXH128:
        XXH3_128bits_update(h->u.xxh, p, n);
        break;
    case HASH_NONE:
    case HASH_COUNT:
        break;
    }
}

static void put_be(uint8_t *out, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

void hash_final(struct hash *h, struct digest *out)
{
    XXH128_canonical_t c128;

    out->alg = h->alg;
    out->n = algs[h->alg].len;
    switch (h->alg) {
    case HASH_CRC32:
    case HASH_CRC32C:
        put_be(out->b, h->u.crc32, 4);
        break;
    case HASH_CRC64NVME:
        put_be(out->b, h->u.crc64, 8);
        break;
    case HASH_SHA1:
        SHA1_Final(out->b, &h->u.sha1);
        break;
    case HASH_SHA256:
        SHA256_Final(out->b, &h->u.sha256);
        break;
    case HASH_SHA512:
        SHA512_Final(out->b, &h->u.sha512);
        break;
    case HASH_MD5:
        MD5_Final(out->b, &h->u.md5);
        break;
    case HASH_XXH64:
        put_be(out->b, XXH64_digest(h->u.xxh), 8);
        break;
    case HASH_XXH3:
        put_be(out->b, XXH3_64bits_digest(h->u.xxh), 8);
        break;
    case HASH_XXH128:
        XXH128_canonicalFromHash(&c128, XXH3_128bits_digest(h->u.xxh));
        memcpy(out->b, c128.digest, 16);
        break;
    case HASH_NONE:
    case HASH_COUNT:
        break;
    }
    hash_drop(h);
}

void hash_drop(struct hash *h)
{
    if (h->alg == HASH_XXH64)
        XXH64_freeState(h->u.xxh);
    else if (h->alg == HASH_XXH3 || h->alg == HASH_XXH128)
        XXH3_freeState(h->u.xxh);
    h->alg = HASH_NONE;
}

void hash_of(enum hash_alg alg, struct str bytes, struct digest *out)
{
    struct hash h;

    hash_init(&h, alg);
    hash_update(&h, bytes.p, bytes.n);
    hash_final(&h, out);
}

bool digest_eq(const struct digest *a, const struct digest *b)
{
    return a->alg == b->alg && a->n == b->n && memcmp(a->b, b->b, a->n) == 0;
}

bool hash_can_combine(enum hash_alg alg)
{
    return alg == HASH_CRC32 || alg == HASH_CRC32C || alg == HASH_CRC64NVME;
}

/* ---- combining CRCs: multiply by x^(8*len) modulo the polynomial (reflected arithmetic) ---- */

struct crc_ring {
    uint64_t poly; /* reflected */
    unsigned bits;
};

static uint64_t ring_mul(const struct crc_ring *r, uint64_t a, uint64_t b)
{
    uint64_t product = 0;

    for (uint64_t bit = UINT64_C(1) << (r->bits - 1); bit; bit >>= 1) {
        if (a & bit)
            product ^= b;
        b = b & 1 ? b >> 1 ^ r->poly : b >> 1;
    }
    return product;
}

static uint64_t ring_x_to_8n(const struct crc_ring *r, uint64_t n)
{
    uint64_t result = UINT64_C(1) << (r->bits - 1); /* 1 */
    uint64_t square = result >> 8;                  /* x^8 */

    for (; n; n >>= 1) {
        if (n & 1)
            result = ring_mul(r, result, square);
        square = ring_mul(r, square, square);
    }
    return result;
}

static uint64_t get_be(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

void hash_combine(struct digest *a, const struct digest *b, uint64_t b_len)
{
    static const struct crc_ring rings[] = {[HASH_CRC32] = {0xEDB88320, 32},
                                            [HASH_CRC32C] = {0x82F63B78, 32},
                                            [HASH_CRC64NVME] = {UINT64_C(0x9a6c9329ac4bc9b5), 64}};

    assert(hash_can_combine(a->alg) && a->alg == b->alg);
    const struct crc_ring *r = &rings[a->alg];
    uint64_t crc = ring_mul(r, ring_x_to_8n(r, b_len), get_be(a->b, a->n)) ^ get_be(b->b, b->n);
    put_be(a->b, crc, a->n);
}

/* ---- HMAC, RFC 2104 ---- */

void hmac_key(struct hmac *h, struct str key)
{
    uint8_t block[SHA256_CBLOCK] = {0};

    if (key.n > sizeof(block)) {
        SHA256_Init(&h->inner);
        SHA256_Update(&h->inner, key.p, key.n);
        SHA256_Final(block, &h->inner);
    } else if (key.n) {
        memcpy(block, key.p, key.n);
    }
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] ^= 0x36;
    SHA256_Init(&h->inner);
    SHA256_Update(&h->inner, block, sizeof(block));
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] ^= 0x36 ^ 0x5c;
    SHA256_Init(&h->outer);
    SHA256_Update(&h->outer, block, sizeof(block));
}

void hmac_of(const struct hmac *h, struct str bytes, uint8_t out[32])
{
    struct hash pieces;

    hmac_begin(h, &pieces);
    hash_update(&pieces, bytes.p, bytes.n);
    hmac_end(h, &pieces, out);
}

void hmac_begin(const struct hmac *h, struct hash *pieces)
{
    pieces->alg = HASH_SHA256;
    pieces->u.sha256 = h->inner;
}

void hmac_end(const struct hmac *h, struct hash *pieces, uint8_t out[32])
{
    SHA256_Final(out, &pieces->u.sha256);
    pieces->u.sha256 = h->outer;
    SHA256_Update(&pieces->u.sha256, out, 32);
    SHA256_Final(out, &pieces->u.sha256);
    hash_drop(pieces);
}

void hmac_sha256(struct str key, struct str bytes, uint8_t out[32])
{
    struct hmac h;

    hmac_key(&h, key);
    hmac_of(&h, bytes, out);
}

void hmac_sha1(struct str key, struct str bytes, uint8_t out[20])
{
    uint8_t block[SHA_CBLOCK] = {0};
    SHA_CTX c;

    if (key.n > sizeof(block))
        SHA1((const unsigned char *)key.p, key.n, block);
    else if (key.n)
        memcpy(block, key.p, key.n);
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] ^= 0x36;
    SHA1_Init(&c);
    SHA1_Update(&c, block, sizeof(block));
    SHA1_Update(&c, bytes.p, bytes.n);
    SHA1_Final(out, &c);
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] ^= 0x36 ^ 0x5c;
    SHA1_Init(&c);
    SHA1_Update(&c, block, sizeof(block));
    SHA1_Update(&c, out, 20);
    SHA1_Final(out, &c);
}

uint64_t hash_place(struct str bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.p, bytes.n, seed);
}

void random_bytes(void *out, size_t n)
{
    for (char *p = out; n;) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0)
            continue; /* EINTR: nothing else can happen with these flags */
        p += got;
        n -= (size_t)got;
    }
}
