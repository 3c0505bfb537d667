/* crc64.h - CRC-64/NVME, the checksum that S3 keeps when a client sends none.
 *
 * Source   NVM Express base specification; reflected polynomial 0x9a6c9329ac4bc9b5, initial value and final xor all ones.
 * Thread   any, after crc64_setup().
 */
#ifndef SLUICE_BASE_CRC64_H
#define SLUICE_BASE_CRC64_H

#include <stddef.h>
#include <stdint.h>

void crc64_setup(void);
/* Continues from `crc`, the value so far (0 at the beginning), over n bytes. */
uint64_t crc64_nvme(uint64_t crc, const void *p, size_t n);

#endif
