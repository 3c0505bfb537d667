/* Key sets of identity providers: anything is read or refused, and what was read believes no token of nobody. */
#include <assert.h>

#include "base/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str token = STR("eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.e30.AAAA"); /* RS256, "a" */
    struct token_public *keys = NULL;
    char why[TOKEN_WHY_MAX] = "";
    struct arena a = ARENA_INIT;
    struct token t;

    if (token_public_jwks(str_n((const char *)data, size), &keys, why) == ERR_OK) {
        const struct token_keys known = {.public_keys = keys};
        (void)token_public_knows(keys, &a, token);
        enum err e = token_read(&a, token, &known, 1700000000, &t, why);
        assert(e == ERR_ACCESS_DENIED);
        token_public_free(keys);
    } else {
        assert(why[0]);
    }
    arena_release(&a);
    return 0;
}
