/* segment_cipher.h - content that is encrypted: of segments, and of small objects in the index.
 *
 * Shape    content is sealed in chunks of SEAL_CHUNK bytes (base/seal.h) that take the place of their plaintext, so sizes and offsets are those of the
 *          content. The chunks' tags and the segment's own data key, wrapped by a master key, are in its footer; block hashes are of
 *          ciphertext. Ids of such segments say so: who has a record knows without opening the file.
 *          A small object's bytes in the index are its one chunk, the tag and the wrapped key; the id of its body says so as well.
 * Owns     a cipher belongs to its segment_staged, which ends it.
 * Errors   ERR_IO (logged): the footer names a master key that the server doesn't have; ERR_CORRUPT (logged): damaged.
 * Thread   BLOCKING functions, as those of segment.h.
 */
#ifndef SLUICE_TARGET_SEGMENT_CIPHER_H
#define SLUICE_TARGET_SEGMENT_CIPHER_H

#include "base/keyring.h"
#include "target/segment.h"

struct segment_cipher {
    uint8_t key[SEAL_KEY];
    uint8_t wrapped[KEYRING_WRAPPED];
    uint8_t *tags; /* SEAL_TAG bytes per finished chunk */
    uint64_t chunks, cap;
    size_t held; /* bytes of the chunk that is being filled */
    char *plain, *sealed;
};

/* A new one for the segment, under a key of its own. */
MUST_USE enum err segment_cipher_new(const struct keyring *keys, const struct segment_id *id,
                                     struct segment_cipher **out);
/* NULL is legal. */
void segment_cipher_free(struct segment_cipher *c);
/* Takes some of *p, *n. True: a chunk is finished, in c->sealed. One that is full waits for the next byte, because the last one is sealed differently. */
MUST_USE enum err segment_cipher_take(struct segment_cipher *c, const char **p, size_t *n, bool *finished);
/* Finishes the last one: *n bytes in c->sealed. */
MUST_USE enum err segment_cipher_end(struct segment_cipher *c, size_t *n);

/* The data key of an open segment whose footer this is. */
MUST_USE enum err segment_cipher_key(struct segment_dir *d, const struct segment_footer *f, uint8_t key[SEAL_KEY]);
/* Opens `n` bytes that were read from `at`, a multiple of SEAL_CHUNK, in place; they end with a chunk. */
MUST_USE enum err segment_cipher_open(struct segment_dir *d, const struct segment_footer *f,
                                      const uint8_t key[SEAL_KEY], uint64_t at, char *p, size_t n);

/* ---- bytes in the index ---- */

enum { INLINE_CIPHER_EXTRA = SEAL_TAG + KEYRING_WRAPPED };
/* Makes `id` one of encrypted content, and of at most SEAL_CHUNK bytes what is kept under it: plain.n + INLINE_CIPHER_EXTRA bytes into `out`.
 * ERR_NOT_IMPLEMENTED: there are no master keys. */
MUST_USE enum err inline_cipher_close(struct segment_dir *d, struct segment_id *id, struct str plain, char *out);
/* The way back: kept.n - INLINE_CIPHER_EXTRA bytes into `out`. Takes any bytes. */
MUST_USE enum err inline_cipher_open(struct segment_dir *d, const struct segment_id *id, struct str kept, char *out);
/* Bytes in the index of an object of this size. */
static inline uint64_t inline_cipher_kept(const struct segment_id *id, uint64_t size)
{
    return size + (segment_id_encrypted(id) ? INLINE_CIPHER_EXTRA : 0);
}

#endif
