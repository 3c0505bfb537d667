#include "target/segment_cipher.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "target/segment_footer.h"

static struct str context_of(const struct segment_id *id)
{
    return str_n((const char *)id->b, SEGMENT_ID_LEN);
}

enum err segment_cipher_new(const struct keyring *keys, const struct segment_id *id, struct segment_cipher **out)
{
    struct segment_cipher *c = NEW(struct segment_cipher);
    enum err e = seal_new_key(c->key);

    if (e != ERR_OK) {
        free(c);
        return e;
    }
    keyring_wrap(keys, c->key, context_of(id), c->wrapped);
    c->plain = mem_alloc(SEAL_CHUNK);
    c->sealed = mem_alloc(SEAL_CHUNK);
    *out = c;
    return ERR_OK;
}

void segment_cipher_free(struct segment_cipher *c)
{
    if (!c)
        return;
    seal_forget(c->key);
    free(c->tags);
    free(c->plain);
    free(c->sealed);
    free(c);
}

static enum err finish(struct segment_cipher *c, bool last)
{
    struct str in = str_n(c->plain, c->held);

    if (c->chunks == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->tags = mem_realloc(c->tags, c->cap * SEAL_TAG);
    }
    c->held = 0;
    c->chunks++;
    return seal_chunk(c->key, c->chunks - 1, last, in, c->sealed, c->tags + (c->chunks - 1) * SEAL_TAG);
}

enum err segment_cipher_take(struct segment_cipher *c, const char **p, size_t *n, bool *finished)
{
    size_t room = SEAL_CHUNK - c->held, step = *n < room ? *n : room;

    *finished = false;
    if (*n && room == 0) {
        *finished = true;
        return finish(c, false);
    }
    memcpy(c->plain + c->held, *p, step);
    c->held += step;
    *p += step;
    *n -= step;
    return ERR_OK;
}

enum err segment_cipher_end(struct segment_cipher *c, size_t *n)
{
    *n = c->held;
    return c->held ? finish(c, true) : ERR_OK;
}

/* Of the body `id`, which is a segment's or in the index. */
static enum err unwrap(struct segment_dir *d, const struct segment_id *id, const uint8_t *wrapped,
                       uint8_t key[SEAL_KEY])
{
    const struct keyring *keys = segment_dir_keys(d);
    enum err e = keys ? keyring_open(keys, wrapped, context_of(id), key) : ERR_NOT_FOUND;
    char hex[SEGMENT_ID_HEX];

    if (e == ERR_CORRUPT)
        return segment_corrupt(d, id, "its wrapped key");
    if (e == ERR_OK)
        return e;
    segment_id_hex(id, hex);
    log_error(STR_NONE, "content encrypted with a key that encryption.key_file doesn't hold",
              "mountpath=%s content=%.*s", log_quote(segment_dir_path(d)), SEGMENT_ID_HEX, hex);
    return ERR_IO;
}

enum err segment_cipher_key(struct segment_dir *d, const struct segment_footer *f, uint8_t key[SEAL_KEY])
{
    return unwrap(d, &f->id, f->wrapped, key);
}

enum err segment_cipher_open(struct segment_dir *d, const struct segment_footer *f, const uint8_t key[SEAL_KEY],
                             uint64_t at, char *p, size_t n)
{
    uint64_t chunk = at / SEAL_CHUNK, count = seal_chunks(f->size);
    enum err e = ERR_OK;

    assert(at % SEAL_CHUNK == 0 && at + n <= f->size && (n % SEAL_CHUNK == 0 || at + n == f->size));
    for (; n && e == ERR_OK; chunk++) {
        size_t len = n < SEAL_CHUNK ? n : SEAL_CHUNK;
        e = seal_open_chunk(key, chunk, chunk + 1 == count, str_n(p, len), f->tags + chunk * SEAL_TAG, p);
        p += len;
        n -= len;
    }
    return e == ERR_CORRUPT ? segment_corrupt(d, &f->id, "an encrypted chunk") : e;
}

/* ---- bytes in the index ---- */

enum err inline_cipher_close(struct segment_dir *d, struct segment_id *id, struct str plain, char *out)
{
    const struct keyring *keys = segment_dir_keys(d);
    uint8_t key[SEAL_KEY], tag[SEAL_TAG], wrapped[KEYRING_WRAPPED];
    enum err e;

    if (!keys)
        return ERR_NOT_IMPLEMENTED;
    id->b[SEGMENT_ID_ENCRYPTED_AT] |= SEGMENT_ID_ENCRYPTED;
    if ((e = seal_new_key(key)) != ERR_OK || (e = seal_chunk(key, 0, true, plain, out, tag)) != ERR_OK)
        return e;
    keyring_wrap(keys, key, context_of(id), wrapped);
    seal_forget(key);
    memcpy(out + plain.n, tag, SEAL_TAG);
    memcpy(out + plain.n + SEAL_TAG, wrapped, KEYRING_WRAPPED);
    return ERR_OK;
}

enum err inline_cipher_open(struct segment_dir *d, const struct segment_id *id, struct str kept, char *out)
{
    const uint8_t *tag;
    uint8_t key[SEAL_KEY];
    enum err e;

    if (kept.n <= INLINE_CIPHER_EXTRA || kept.n - INLINE_CIPHER_EXTRA > SEAL_CHUNK)
        return segment_corrupt(d, id, "its length in the index");
    tag = (const uint8_t *)kept.p + kept.n - INLINE_CIPHER_EXTRA;
    if ((e = unwrap(d, id, tag + SEAL_TAG, key)) != ERR_OK)
        return e;
    e = seal_open_chunk(key, 0, true, str_n(kept.p, kept.n - INLINE_CIPHER_EXTRA), tag, out);
    seal_forget(key);
    return e == ERR_CORRUPT ? segment_corrupt(d, id, "its encrypted bytes in the index") : e;
}
