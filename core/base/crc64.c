#include "crc64.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define POLY UINT64_C(0x9a6c9329ac4bc9b5) /* reflected: bit 63 - i is the coefficient of x^i */

static uint64_t table[8][256];
static bool folded;

static void setup_tables(void)
{
    for (unsigned i = 0; i < 256; i++) {
        uint64_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ POLY : c >> 1;
        table[0][i] = c;
    }
    for (unsigned i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++)
            table[t][i] = table[t - 1][i] >> 8 ^ table[0][table[t - 1][i] & 0xFF];
}

/* Without the inversions at both ends. */
static uint64_t table_update(uint64_t crc, const unsigned char *b, size_t n)
{
    for (; n >= 8; n -= 8, b += 8) {
        uint64_t v;
        __builtin_memcpy(&v, b, 8); /* little-endian hosts only, as is everything on disk here */
        v ^= crc;
        crc = 0;
        for (int t = 0; t < 8; t++)
            crc ^= table[7 - t][v >> (8 * t) & 0xFF];
    }
    while (n--)
        crc = crc >> 8 ^ table[0][(crc ^ *b++) & 0xFF];
    return crc;
}

#if defined(__x86_64__)

enum { FOLD_MIN = 64, LANES = 8, STRIDE = LANES * 16 };

/* Moving 16 bytes ahead by `bits` multiplies their first half by x^(bits + 64) and their second by x^bits, modulo P.
 * One less in the exponent, because the product of two reflected numbers comes out shifted by one. */
static uint64_t by_16[2], by_stride[2];

static uint64_t x_to(unsigned n)
{
    uint64_t c = UINT64_C(1) << 63;

    while (n--)
        c = c & 1 ? c >> 1 ^ POLY : c >> 1;
    return c;
}

static void setup_folding(void)
{
    by_16[0] = x_to(128 + 64 - 1);
    by_16[1] = x_to(128 - 1);
    by_stride[0] = x_to(8 * STRIDE + 64 - 1);
    by_stride[1] = x_to(8 * STRIDE - 1);
    folded = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}

#define FOLDING __attribute__((target("pclmul,sse4.1")))

FOLDING static inline __m128i load(const unsigned char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

FOLDING static inline __m128i ahead(__m128i v, __m128i k)
{
    return _mm_xor_si128(_mm_clmulepi64_si128(v, k, 0x00), _mm_clmulepi64_si128(v, k, 0x11));
}

FOLDING static inline __m128i pair(const uint64_t k[2])
{
    return _mm_set_epi64x((long long)k[1], (long long)k[0]);
}

/* Eight lanes at once hide the latency of the multiplications. */
FOLDING static __m128i fold_strides(__m128i first, const unsigned char **p, size_t *n)
{
    __m128i lane[LANES], k = pair(by_stride), one = pair(by_16);

    lane[0] = first;
    for (int i = 1; i < LANES; i++)
        lane[i] = load(*p + 16 * i);
    for (*p += STRIDE, *n -= STRIDE; *n >= STRIDE; *p += STRIDE, *n -= STRIDE)
        for (int i = 0; i < LANES; i++)
            lane[i] = _mm_xor_si128(ahead(lane[i], k), load(*p + 16 * i));
    for (int i = 1; i < LANES; i++)
        lane[0] = _mm_xor_si128(ahead(lane[0], one), lane[i]);
    return lane[0];
}

/* n >= FOLD_MIN. What is left of the message after folding is 16 bytes with the same remainder, and the tail: for the
 * tables. */
FOLDING static uint64_t fold_update(uint64_t crc, const unsigned char *p, size_t n)
{
    unsigned char rest[16];
    __m128i one = pair(by_16), v = _mm_xor_si128(load(p), _mm_set_epi64x(0, (long long)crc));

    if (n >= 2 * STRIDE) {
        v = fold_strides(v, &p, &n);
    } else {
        p += 16;
        n -= 16;
    }
    for (; n >= 16; p += 16, n -= 16)
        v = _mm_xor_si128(ahead(v, one), load(p));
    _mm_storeu_si128((__m128i *)(void *)rest, v);
    return table_update(table_update(0, rest, sizeof(rest)), p, n);
}

#else

enum { FOLD_MIN = 0 };

static void setup_folding(void)
{
}

static uint64_t fold_update(uint64_t crc, const unsigned char *p, size_t n)
{
    return table_update(crc, p, n);
}

#endif

void crc64_setup(void)
{
    setup_tables();
    setup_folding();
}

bool crc64_is_folded(void)
{
    return folded;
}

uint64_t crc64_nvme(uint64_t crc, const void *p, size_t n)
{
    return ~(folded && n >= FOLD_MIN ? fold_update(~crc, p, n) : table_update(~crc, p, n));
}

uint64_t crc64_nvme_table(uint64_t crc, const void *p, size_t n)
{
    return ~table_update(~crc, p, n);
}
