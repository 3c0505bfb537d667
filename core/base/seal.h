/* seal.h - content encrypted in place, in chunks that can be opened one by one.
 *
 * Shape    each chunk of SEAL_CHUNK bytes (the last one 1 to SEAL_CHUNK) becomes as many bytes of AES-256-GCM ciphertext and a tag, which is kept
 *          apart: offsets stay what they are. The nonce is the chunk's number and whether it is the last, so chunks that were moved, repeated, or
 *          cut off at the end do not open.
 * Owns     nothing. A data key seals one content only, ever: nonces repeat from content to content.
 * Errors   ERR_CORRUPT: not what was sealed with this key. ERR_INTERNAL: OpenSSL failed (no memory, no randomness).
 * Thread   any; a chunk takes tens of microseconds.
 * Source   NIST SP 800-38D; Hoang, Reyhanitabar, Rogaway, Vizar, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance" (STREAM).
 */
#ifndef SLUICE_BASE_SEAL_H
#define SLUICE_BASE_SEAL_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "str.h"

enum { SEAL_KEY = 32, SEAL_TAG = 16, SEAL_CHUNK = 64 << 10 };

MUST_USE enum err seal_new_key(uint8_t key[SEAL_KEY]);
/* Overwrites a key that is no longer wanted, in a way no compiler leaves out. */
void seal_forget(uint8_t key[SEAL_KEY]);

static inline uint64_t seal_chunks(uint64_t plain)
{
    return (plain + SEAL_CHUNK - 1) / SEAL_CHUNK;
}

/* Writes in.n bytes to `out`, which may be in.p. in.n is SEAL_CHUNK unless `last`. */
MUST_USE enum err seal_chunk(const uint8_t key[SEAL_KEY], uint64_t chunk, bool last, struct str in, void *out,
                             uint8_t tag[SEAL_TAG]);
/* The same way back; on an error `out` holds zeros. */
MUST_USE enum err seal_open_chunk(const uint8_t key[SEAL_KEY], uint64_t chunk, bool last, struct str in,
                                  const uint8_t tag[SEAL_TAG], void *out);

#endif
