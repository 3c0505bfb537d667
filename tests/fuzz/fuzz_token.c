/* Tokens: nothing that has no signature of ours is accepted. The first byte says whether the rest is a whole token or a payload that is signed
 * here, so that what stands behind the signature is read, too. */
#include <assert.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/token.h"

#define KEY STR("0123456789abcdef0123456789abcdef")

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str signed_text(struct arena *a, struct str payload)
{
    char *coded = arena_alloc(a, BASE64_LEN(payload.n) + 1), end[BASE64_LEN(32) + 1];
    struct str p = str_n(coded, base64url_encode(payload.p, payload.n, coded));
    struct str said = arena_printf(a, "eyJhbGciOiJIUzI1NiJ9." STR_FMT, STR_ARG(p)); /* {"alg":"HS256"} */
    uint8_t mac[32];

    hmac_sha256(KEY, said, mac);
    return arena_printf(a, STR_FMT ".%.*s", STR_ARG(said), (int)base64url_encode(mac, sizeof(mac), end), end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct token_keys keys = {.hs256 = KEY};
    struct arena arena = ARENA_INIT;
    char why[TOKEN_WHY_MAX] = "";
    struct token t;

    if (size > 0 && size <= TOKEN_MAX) {
        bool ours = data[0] & 1;
        struct str rest = str_n(data + 1, size - 1);
        enum err e = token_read(&arena, ours ? signed_text(&arena, rest) : rest, &keys, 1700000000, &t, why);
        assert(ours || e == ERR_ACCESS_DENIED);
        assert(e == ERR_OK ? t.subject.n && t.expires_s + TOKEN_SKEW_S > 1700000000 : why[0]);
    }
    arena_release(&arena);
    return 0;
}
