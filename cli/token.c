/* `sluice token`: a bearer token for the native API, made of an access key and its secret. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/token.h"
#include "cli/client_token.h"
#include "cli/command.h"
#include "cli/flags.h"

/* "24h", "30m", "7d", "3600" */
static bool read_duration(const char *text, uint64_t *seconds)
{
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    struct str s = str_z(text);
    uint64_t factor = 1;

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]) && s.n; i++)
        if (s.p[s.n - 1] == units[i].unit) {
            factor = units[i].seconds;
            s.n--;
            break;
        }
    if (!str_to_u64(s, UINT64_C(10) * 366 * 86400 / factor, seconds) || *seconds == 0)
        return false;
    *seconds *= factor;
    return true;
}

int command_token(int argc, char **argv)
{
    const char *expires = "24h";
    const struct flag flags[] = {{"--expires", NULL, .text = &expires}, {NULL}};
    struct arena arena = ARENA_INIT;
    struct str key, secret;
    uint8_t token_key[32];
    uint64_t seconds;
    int code = flags_read(flags, &argc, argv);

    if (code != 0)
        return code;
    if (argc > 0 || !read_duration(expires, &seconds))
        return command_usage("sluice token [--expires 24h]: s, m, h or d, at most ten years");
    hash_setup();
    if (!client_credentials(&arena, &key, &secret)) {
        code = command_fail(
            "there are no credentials: set SLUICE_ACCESS_KEY and SLUICE_SECRET_KEY, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY");
    } else {
        int64_t now = clock_wall_ns() / NS_PER_S;
        token_key_of(secret, token_key);
        struct str t = token_make(&arena, str_n(token_key, sizeof(token_key)), key, now, now + (int64_t)seconds);
        printf(STR_FMT "\n", STR_ARG(t));
    }
    arena_release(&arena);
    return code;
}
