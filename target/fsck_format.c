/* Restoring a lost sluice.format: the uuid decides where objects are looked for, so it is only made up when it does not matter. */
#include "target/fsck_state.h"

#include <stdio.h>
#include <unistd.h>

#include "base/hash.h"

static bool exists(struct str dir, const char *name)
{
    char path[4096];

    return snprintf(path, sizeof(path), STR_FMT "/%s", STR_ARG(dir), name) < (int)sizeof(path) &&
           access(path, F_OK) == 0;
}

static bool is_lost(struct str dir)
{
    return exists(dir, "index") && !exists(dir, "sluice.format");
}

static bool holds(const struct mountpath_uuid *list, size_t n, const struct mountpath_uuid *id)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&list[i], id, sizeof(*id)) == 0)
            return true;
    return false;
}

/* The other directories name the whole set: the one uuid that none of them has is the lost one. */
static bool by_elimination(const struct fsck_options *o, size_t lost, struct mountpath_format *out)
{
    struct mountpath_uuid others[MOUNTPATHS_MAX];
    size_t n = 0, missing = 0;

    for (size_t i = 0; i < o->mountpath_count && n < MOUNTPATHS_MAX; i++) {
        char why[MOUNTPATH_WHY_MAX];
        int lock_fd = -1;
        if (i == lost)
            continue;
        if (mountpath_claim(o->mountpaths[i], false, out, &lock_fd, why) != ERR_OK)
            return false;
        close(lock_fd);
        others[n++] = out->uuid;
    }
    for (size_t i = 0; i < out->set_count; i++) {
        if (holds(others, n, &out->set[i]))
            continue;
        out->uuid = out->set[i];
        missing++;
    }
    return missing == 1 && out->set_count == o->mountpath_count;
}

static void restore(const struct fsck_options *o, size_t lost)
{
    struct mountpath_format f = {0};
    char why[MOUNTPATH_WHY_MAX] = "";
    struct str dir = o->mountpaths[lost];

    if (o->mountpath_count == 1) { /* a set of one: any uuid places every key here */
        random_bytes(f.uuid.b, sizeof(f.uuid.b));
        f.set_count = 1;
        f.set[0] = f.uuid;
    } else if (!by_elimination(o, lost, &f)) {
        printf("note    " STR_FMT
               "  sluice.format is lost; it can only be restored together with all other directories\n",
               STR_ARG(dir));
        return;
    }
    if (mountpath_settle(dir, &f, why) == ERR_OK)
        printf("note    " STR_FMT "  sluice.format restored\n", STR_ARG(dir));
    else
        printf("note    " STR_FMT "  %s\n", STR_ARG(dir), why);
}

void fsck_restore_formats(const struct fsck_options *o)
{
    for (size_t i = 0; i < o->mountpath_count; i++)
        if (is_lost(o->mountpaths[i]))
            restore(o, i);
}
