/* keyring.h - master keys, under which the keys of contents are kept.
 *
 * Shape    a text of one secret per line, KEYRING_SECRET_MIN to KEYRING_SECRET_MAX bytes each; empty lines and those that begin with '#' are
 *          passed over. The first seals what is new, the others open what they sealed once. A wrapped key says which of them sealed it.
 * Errors   keyring_open(): ERR_NOT_FOUND: sealed with a secret that is not there (any more); ERR_CORRUPT: damaged, or of another context.
 * Thread   any; read-only once made.
 * Source   NIST SP 800-57 part 1, section 5.3: keys that encrypt keys are replaced, and kept as long as something needs them.
 */
#ifndef SLUICE_BASE_KEYRING_H
#define SLUICE_BASE_KEYRING_H

#include "seal.h"
#include "vault.h"

enum {
    KEYRING_MAX = 64,
    KEYRING_SECRET_MIN = 32,
    KEYRING_SECRET_MAX = 4096,
    KEYRING_ID = 8,
    KEYRING_WRAPPED = KEYRING_ID + SEAL_KEY + VAULT_EXTRA,
    KEYRING_WHY_MAX = 160,
};

struct keyring {
    size_t n;
    struct {
        uint8_t id[KEYRING_ID]; /* follows from the secret, tells nothing about it */
        struct vault vault;
    } keys[KEYRING_MAX];
};

/* ERR_INVALID_ARGUMENT with a sentence in `why`: no secret, too many, one too short or too long, one twice. */
MUST_USE enum err keyring_parse(struct str text, struct keyring *out, char why[KEYRING_WHY_MAX]);
/* `context` is what the key belongs to: it opens only with the same. */
void keyring_wrap(const struct keyring *k, const uint8_t key[SEAL_KEY], struct str context,
                  uint8_t out[KEYRING_WRAPPED]);
MUST_USE enum err keyring_open(const struct keyring *k, const uint8_t wrapped[KEYRING_WRAPPED], struct str context,
                               uint8_t key[SEAL_KEY]);

#endif
