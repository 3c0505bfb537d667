#include "crc64.h"

#define POLY UINT64_C(0x9a6c9329ac4bc9b5)

static uint64_t table[8][256];

void crc64_setup(void)
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

uint64_t crc64_nvme(uint64_t crc, const void *p, size_t n)
{
    const unsigned char *b = p;

    crc = ~crc;
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
    return ~crc;
}
