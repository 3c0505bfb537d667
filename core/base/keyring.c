#include "keyring.h"

#include <stdio.h>

static enum err refuse(char why[KEYRING_WHY_MAX], size_t line, const char *what)
{
    snprintf(why, KEYRING_WHY_MAX, "line %zu: %s", line, what);
    return ERR_INVALID_ARGUMENT;
}

static enum err add(struct keyring *k, struct str secret, size_t line, char why[KEYRING_WHY_MAX])
{
    struct vault name;

    if (secret.n < KEYRING_SECRET_MIN)
        return refuse(why, line, "a key of less than 32 characters; `openssl rand -hex 32` makes a good one");
    if (secret.n > KEYRING_SECRET_MAX)
        return refuse(why, line, "a key of more than 4096 characters");
    if (k->n == KEYRING_MAX)
        return refuse(why, line, "more than 64 keys");
    vault_key(&name, secret, STR("content id"));
    for (size_t i = 0; i < k->n; i++)
        if (memcmp(k->keys[i].id, name.key, KEYRING_ID) == 0)
            return refuse(why, line, "a key that is there already");
    memcpy(k->keys[k->n].id, name.key, KEYRING_ID);
    vault_key(&k->keys[k->n].vault, secret, STR("content"));
    k->n++;
    return ERR_OK;
}

enum err keyring_parse(struct str text, struct keyring *out, char why[KEYRING_WHY_MAX])
{
    enum err e = ERR_OK;
    size_t line = 0;

    *out = (struct keyring){0};
    while (text.n && e == ERR_OK) {
        struct str secret = str_trim(str_split(&text, '\n'));
        line++;
        if (secret.n && secret.p[0] != '#')
            e = add(out, secret, line, why);
    }
    return e == ERR_OK && out->n == 0 ? refuse(why, line, "the file holds no key") : e;
}

void keyring_wrap(const struct keyring *k, const uint8_t key[SEAL_KEY], struct str context,
                  uint8_t out[KEYRING_WRAPPED])
{
    memcpy(out, k->keys[0].id, KEYRING_ID);
    vault_close(&k->keys[0].vault, str_n((const char *)key, SEAL_KEY), context, out + KEYRING_ID);
}

enum err keyring_open(const struct keyring *k, const uint8_t wrapped[KEYRING_WRAPPED], struct str context,
                      uint8_t key[SEAL_KEY])
{
    struct str sealed = str_n((const char *)wrapped + KEYRING_ID, KEYRING_WRAPPED - KEYRING_ID);

    for (size_t i = 0; i < k->n; i++)
        if (memcmp(k->keys[i].id, wrapped, KEYRING_ID) == 0)
            return vault_open(&k->keys[i].vault, sealed, context, key) ? ERR_OK : ERR_CORRUPT;
    return ERR_NOT_FOUND;
}
