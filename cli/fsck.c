#include "target/fsck.h"

#include <stdlib.h>

#include "base/hash.h"
#include "command.h"
#include "settings.h"

int command_fsck(int argc, char **argv)
{
    struct fsck_options o = {.rebuild = command_switch(&argc, argv, "--rebuild"),
                             .quick = command_switch(&argc, argv, "--quick")};
    char why[SETTINGS_WHY_MAX];
    struct settings s;
    enum err e;

    if (settings_load(&s, argc, argv, why) != ERR_OK)
        return command_usage("%s", why);
    if (s.data.count == 0) {
        settings_free(&s);
        return command_usage("say which directories to check: --data DIR, once per disk");
    }
    o.mountpaths = s.data.items;
    o.mountpath_count = s.data.count;
    hash_setup();
    e = fsck_run(&o);
    settings_free(&s);
    if (e == ERR_OK)
        return EXIT_SUCCESS;
    if (e == ERR_CORRUPT)
        return command_fail("damage was found");
    return command_fail("the check could not be done (%s)", err_name(e));
}
