/* crc64.h - CRC-64/NVME, the checksum that S3 keeps when a client sends none.
 *
 * Shape    folding with carry-less multiplication where the CPU has it, 8 bytes a step through tables elsewhere.
 * Thread   any, after crc64_setup().
 * Source   NVM Express base specification; reflected polynomial 0x9a6c9329ac4bc9b5, initial value and final xor all
 * ones; V. Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Intel, 2009).
 */
#ifndef SLUICE_BASE_CRC64_H
#define SLUICE_BASE_CRC64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void crc64_setup(void);
/* Continues `crc` (0 at the beginning). */
uint64_t crc64_nvme(uint64_t crc, const void *p, size_t n);
/* The same through tables only, to compare with. */
uint64_t crc64_nvme_table(uint64_t crc, const void *p, size_t n);
/* Whether crc64_nvme() folds on this CPU. */
bool crc64_is_folded(void);

#endif
