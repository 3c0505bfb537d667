/* vault.h - small secrets encrypted and authenticated under a master key.
 *
 * Shape    a sealed text: version byte, 12 random bytes, ciphertext, tag of 16 bytes. What it is for (`context`) is authenticated with it, so
 *          that one can't be put in another's place.
 * Errors   false from vault_open(): another key, another context, or damaged.
 * Thread   any; a struct vault is read-only once made.
 * Source   NIST SP 800-38D (AES-256-GCM; random nonces, at most 2^32 under one key).
 */
#ifndef SLUICE_BASE_VAULT_H
#define SLUICE_BASE_VAULT_H

#include "str.h"

enum { VAULT_EXTRA = 1 + 12 + 16, VAULT_PLAIN_MAX = 64 << 10 };

struct vault {
    uint8_t key[32];
};

/* From a secret of any length and a name for what it seals: other names make other keys. */
void vault_key(struct vault *s, struct str secret, struct str name);
/* plain.n + VAULT_EXTRA bytes into `out`. */
void vault_close(const struct vault *s, struct str plain, struct str context, uint8_t *out);
/* sealed.n - VAULT_EXTRA bytes into `out`, which is wiped when it can't be. */
bool vault_open(const struct vault *s, struct str sealed, struct str context, uint8_t *out);

#endif
