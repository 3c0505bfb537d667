#include "seal.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

enum { NONCE = 12 };

static void nonce_of(uint64_t chunk, bool last, uint8_t nonce[NONCE])
{
    memset(nonce, 0, NONCE);
    for (int i = 0; i < 8; i++)
        nonce[i] = (uint8_t)(chunk >> (56 - 8 * i));
    nonce[NONCE - 1] = last;
}

enum err seal_new_key(uint8_t key[SEAL_KEY])
{
    return RAND_priv_bytes(key, SEAL_KEY) == 1 ? ERR_OK : ERR_INTERNAL;
}

void seal_forget(uint8_t key[SEAL_KEY])
{
    OPENSSL_cleanse(key, SEAL_KEY);
}

enum err seal_chunk(const uint8_t key[SEAL_KEY], uint64_t chunk, bool last, struct str in, void *out,
                    uint8_t tag[SEAL_TAG])
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    uint8_t nonce[NONCE], none[1];
    int n = 0, rest = 0;
    bool ok;

    assert(in.n == SEAL_CHUNK || (last && in.n && in.n < SEAL_CHUNK));
    nonce_of(chunk, last, nonce);
    ok = c && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
         EVP_EncryptUpdate(c, out, &n, (const uint8_t *)in.p, (int)in.n) == 1 &&
         EVP_EncryptFinal_ex(c, none, &rest) == 1 && EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, SEAL_TAG, tag) == 1;
    EVP_CIPHER_CTX_free(c);
    return ok ? ERR_OK : ERR_INTERNAL;
}

enum err seal_open_chunk(const uint8_t key[SEAL_KEY], uint64_t chunk, bool last, struct str in,
                         const uint8_t tag[SEAL_TAG], void *out)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    uint8_t nonce[NONCE], copy[SEAL_TAG], none[1];
    int n = 0, rest = 0;
    bool ready, good;

    assert(in.n && in.n <= SEAL_CHUNK);
    nonce_of(chunk, last, nonce);
    memcpy(copy, tag, SEAL_TAG); /* OpenSSL wants it writable */
    ready = c && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
            EVP_DecryptUpdate(c, out, &n, (const uint8_t *)in.p, (int)in.n) == 1 &&
            EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, SEAL_TAG, copy) == 1;
    good = ready && EVP_DecryptFinal_ex(c, none, &rest) == 1;
    EVP_CIPHER_CTX_free(c);
    if (!good)
        OPENSSL_cleanse(out, in.n);
    return good ? ERR_OK : ready ? ERR_CORRUPT : ERR_INTERNAL;
}
