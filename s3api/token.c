#include "token.h"

#include "base/hash.h"
#include "store/object.h"

/* The check keeps out mistakes (a key pasted as a token), not attackers: a forged token only starts a listing
 * elsewhere. It is CRC-32C because its value must stay the same for ever. */
enum { TOKEN_VERSION = 1, TOKEN_HEAD = 5, TOKEN_RAW_MAX = TOKEN_HEAD + KEY_MAX };

static void check_of(struct str name, uint8_t out[4])
{
    struct digest d;

    hash_of(HASH_CRC32C, name, &d);
    memcpy(out, d.b, 4);
}

struct str token_encode(struct arena *a, struct str name)
{
    uint8_t *raw = arena_alloc(a, TOKEN_HEAD + name.n);
    char *text = arena_alloc(a, BASE64_LEN(TOKEN_HEAD + name.n) + 1);
    size_t n;

    raw[0] = TOKEN_VERSION;
    check_of(name, raw + 1);
    memcpy(raw + TOKEN_HEAD, name.p, name.n);
    n = base64_encode(raw, TOKEN_HEAD + name.n, text);
    while (n > 0 && text[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++)
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    return str_n(text, n);
}

bool token_decode(struct arena *a, struct str token, struct str *name)
{
    char text[BASE64_LEN(TOKEN_RAW_MAX)];
    uint8_t *raw, check[4];
    size_t n = token.n;

    if (n == 0 || n > sizeof(text))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (token.p[i] == '+' || token.p[i] == '/' || token.p[i] == '=')
            return false;
        text[i] = token.p[i] == '-' ? '+' : token.p[i];
        text[i] = text[i] == '_' ? '/' : text[i];
    }
    while (n % 4 != 0 && n < sizeof(text))
        text[n++] = '=';
    raw = arena_alloc(a, TOKEN_RAW_MAX);
    if (!base64_decode(str_n(text, n), raw, TOKEN_RAW_MAX, &n) || n < TOKEN_HEAD || raw[0] != TOKEN_VERSION)
        return false;
    check_of(str_n(raw + TOKEN_HEAD, n - TOKEN_HEAD), check);
    if (memcmp(check, raw + 1, sizeof(check)) != 0)
        return false;
    *name = str_n(raw + TOKEN_HEAD, n - TOKEN_HEAD);
    return true;
}
