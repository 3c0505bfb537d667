#include "identity.h"

#include <stdio.h>

#include "base/hash.h"
#include "store/map.h"

static bool is_id(struct str s)
{
    if (s.n != NODE_ID_LEN)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}

static struct str make(struct arena *a)
{
    uint64_t number;

    random_bytes(&number, sizeof(number));
    return arena_printf(a, "%016llx", (unsigned long long)number);
}

enum err identity_get(struct arena *a, struct str dir, struct str *id, char why[PRIVATE_FILE_WHY_MAX])
{
    const char *path = arena_printf(a, STR_FMT "/node-id", STR_ARG(dir)).p;
    struct str text;
    enum err e;

    if ((e = private_file_read(a, path, &text, why)) == ERR_NOT_FOUND) {
        text = make(a);
        e = private_file_write(a, dir, path, arena_printf(a, STR_FMT "\n", STR_ARG(text)), why);
    }
    if (e != ERR_OK)
        return e;
    text = str_trim(str_split(&text, '\n'));
    if (!is_id(text)) {
        snprintf(why, PRIVATE_FILE_WHY_MAX, "%s: expected %d hex digits", path, NODE_ID_LEN);
        return ERR_CORRUPT;
    }
    *id = text;
    return ERR_OK;
}
