#include "vault.h"

#include <assert.h>
#include <openssl/evp.h>

#include "hash.h"
#include "mem.h"

enum { VERSION = 1, NONCE_LEN = 12, TAG_LEN = 16 };

void vault_key(struct vault *s, struct str secret, struct str name)
{
    uint8_t first[32];

    hmac_sha256(STR("sluice-vault-1"), secret, first);
    hmac_sha256(str_n(first, sizeof(first)), name, s->key);
    explicit_bzero(first, sizeof(first));
}

void vault_close(const struct vault *s, struct str plain, struct str context, uint8_t *out)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    uint8_t *nonce = out + 1, *text = nonce + NONCE_LEN;
    int n = 0, ok;

    assert(c && plain.n <= VAULT_PLAIN_MAX && context.n <= VAULT_PLAIN_MAX);
    out[0] = VERSION;
    random_bytes(nonce, NONCE_LEN);
    ok = EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, s->key, nonce) == 1 &&
         EVP_EncryptUpdate(c, NULL, &n, (const uint8_t *)context.p, (int)context.n) == 1 &&
         EVP_EncryptUpdate(c, text, &n, (const uint8_t *)plain.p, (int)plain.n) == 1 &&
         EVP_EncryptFinal_ex(c, text + plain.n, &n) == 1 &&
         EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_LEN, text + plain.n) == 1;
    assert(ok); /* only memory could be missing */
    (void)ok;
    EVP_CIPHER_CTX_free(c);
}

bool vault_open(const struct vault *s, struct str sealed, struct str context, uint8_t *out)
{
    const uint8_t *p = (const uint8_t *)sealed.p;
    EVP_CIPHER_CTX *c;
    size_t plain;
    int n = 0;
    bool ok;

    if (sealed.n < VAULT_EXTRA || sealed.n > VAULT_PLAIN_MAX + VAULT_EXTRA || p[0] != VERSION)
        return false;
    plain = sealed.n - VAULT_EXTRA;
    c = EVP_CIPHER_CTX_new();
    assert(c);
    ok = EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, s->key, p + 1) == 1 &&
         EVP_DecryptUpdate(c, NULL, &n, (const uint8_t *)context.p, (int)context.n) == 1 &&
         EVP_DecryptUpdate(c, out, &n, p + 1 + NONCE_LEN, (int)plain) == 1 &&
         EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_LEN, (void *)(p + 1 + NONCE_LEN + plain)) == 1 &&
         EVP_DecryptFinal_ex(c, out + plain, &n) == 1;
    EVP_CIPHER_CTX_free(c);
    if (!ok && plain > 0)
        explicit_bzero(out, plain);
    return ok;
}
