#include "runtime_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "etl/process_own.h"

static enum err take_mark(struct str dir, struct arena *a, char mark[RUNTIME_MARK_LEN + 1])
{
    struct str path = arena_printf(a, STR_FMT "/node", STR_ARG(dir));
    uint8_t raw[RUNTIME_MARK_LEN / 2];
    int fd = open(path.p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool known = fd >= 0 && read(fd, mark, RUNTIME_MARK_LEN) == RUNTIME_MARK_LEN &&
                 hex_decode(str_n(mark, RUNTIME_MARK_LEN), raw, sizeof(raw));

    if (fd >= 0)
        close(fd);
    if (!known) {
        random_bytes(raw, sizeof(raw));
        hex_encode(raw, sizeof(raw), mark);
    }
    mark[RUNTIME_MARK_LEN] = 0;
    enum err e = process_dir_remove(dir.p, true);
    if (e != ERR_OK)
        return e;
    fd = open(path.p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, mark, RUNTIME_MARK_LEN) != RUNTIME_MARK_LEN)
        e = err_from_errno(errno);
    if (fd >= 0)
        close(fd);
    return e;
}

enum err runtime_dir_take(struct arena *a, struct str given, struct str *out, char mark[RUNTIME_MARK_LEN + 1],
                          char why[ETL_WHY_MAX])
{
    struct str dir = arena_str(a, given);
    char *real = NULL;
    enum err e = ERR_OK;

    if ((mkdir(dir.p, 0700) != 0 && errno != EEXIST) || !(real = realpath(dir.p, NULL))) {
        e = err_from_errno(errno);
    } else {
        *out = arena_str(a, str_z(real));
        free(real);
        e = chmod(out->p, 0700) == 0 ? take_mark(*out, a, mark) : err_from_errno(errno);
    }
    if (e != ERR_OK)
        snprintf(why, ETL_WHY_MAX, "the directory of sidecars, " STR_FMT ", can't be used: %s", STR_ARG(dir),
                 err_text(e));
    return e;
}
