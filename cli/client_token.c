#include "client_token.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/token.h"

enum { FILE_LINE_MAX = 1024, TOKEN_LIFE_S = 3600 };

static bool from_environment(struct arena *a, const char *key_name, const char *secret_name, struct str *key,
                             struct str *secret)
{
    const char *k = getenv(key_name), *s = getenv(secret_name);

    if (!k || !s || !*k || !*s)
        return false;
    *key = arena_str(a, str_z(k));
    *secret = arena_str(a, str_z(s));
    return true;
}

/* The INI file of the AWS tools: "[profile]", "name = value". */
static bool from_file(struct arena *a, struct str *key, struct str *secret)
{
    const char *home = getenv("HOME"), *file = getenv("AWS_SHARED_CREDENTIALS_FILE"), *profile = getenv("AWS_PROFILE");
    struct str wanted = arena_printf(a, "[%s]", profile && *profile ? profile : "default");
    char line[FILE_LINE_MAX];
    bool here = false;
    FILE *f;

    *key = *secret = STR_NONE;
    if (!file)
        file = arena_printf(a, "%s/.aws/credentials", home ? home : "").p;
    if ((f = fopen(file, "re")) == NULL)
        return false;
    while (fgets(line, sizeof(line), f)) {
        struct str value = str_z(line), name;
        while (value.n && (value.p[value.n - 1] == '\n' || value.p[value.n - 1] == '\r'))
            value.n--;
        value = str_trim(value);
        if (value.n && value.p[0] == '[') {
            here = str_eq(value, wanted);
            continue;
        }
        name = str_trim(str_split(&value, '='));
        if (here && str_eq(name, STR("aws_access_key_id")))
            *key = arena_str(a, str_trim(value));
        if (here && str_eq(name, STR("aws_secret_access_key")))
            *secret = arena_str(a, str_trim(value));
    }
    fclose(f);
    return key->n && secret->n;
}

bool client_credentials(struct arena *a, struct str *access_key, struct str *secret_key)
{
    return from_environment(a, "SLUICE_ACCESS_KEY", "SLUICE_SECRET_KEY", access_key, secret_key) ||
           from_environment(a, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", access_key, secret_key) ||
           from_file(a, access_key, secret_key);
}

const char *client_token(struct arena *a)
{
    struct str key, secret;
    uint8_t token_key[32];
    int64_t now = clock_wall_ns() / NS_PER_S;

    if (!client_credentials(a, &key, &secret))
        return NULL;
    token_key_of(secret, token_key);
    return token_make(a, str_n(token_key, sizeof(token_key)), key, now, now + TOKEN_LIFE_S).p;
}
