#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "process_own.h"

enum { ROUNDS_MAX = 16 }; /* over a directory in which something still writes */

static enum err failed(const char *what, const char *dir)
{
    enum err e = err_from_errno(errno);

    log_error(STR_NONE, what, "dir=%s errno=%d", log_quote(str_z(dir)), errno);
    return e;
}

static bool make(const char *dir, const char *name, mode_t mode, uint32_t uid, uint32_t gid)
{
    char path[4096];

    if (snprintf(path, sizeof(path), "%s%s", dir, name) >= (int)sizeof(path)) {
        errno = ENAMETOOLONG;
        return false;
    }
    /* chmod: whatever the umask */
    return mkdir(path, 0700) == 0 && chmod(path, mode) == 0 && (uid == geteuid() || chown(path, uid, gid) == 0);
}

enum err process_dir_make(const char *dir, bool outside, uint32_t uid, uint32_t gid)
{
    uint32_t us = geteuid(), our = getegid();

    if (make(dir, "", outside ? 0711 : 0700, us, our) && make(dir, "/share", 0755, us, our) &&
        make(dir, "/tmp", 0700, uid, gid) && make(dir, "/tmp/home", 0700, uid, gid) &&
        make(dir, "/tmp/share", 0755, us, our))
        return ERR_OK;
    return failed("etl directory not made", dir);
}

static int open_dir(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 && errno == EACCES && fchmodat(at, name, 0700, 0) == 0) /* its owner may have taken that from himself */
        fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd;
}

static bool is_dots(const char *name)
{
    return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

/* Directories in it that aren't empty move up to `top`: so two descriptors do for any depth. */
static void empty_into(int top, int fd, uint64_t *count)
{
    DIR *d = fdopendir(fd);
    struct dirent *e;
    bool ok = d;
    char name[32];

    while (ok && (e = readdir(d))) {
        if (is_dots(e->d_name) || unlinkat(fd, e->d_name, 0) == 0 || unlinkat(fd, e->d_name, AT_REMOVEDIR) == 0)
            continue;
        snprintf(name, sizeof(name), ".removed-%llu", (unsigned long long)++*count);
        ok = renameat(fd, e->d_name, top, name) == 0 ||
             (errno == EACCES && fchmodat(fd, e->d_name, 0700, 0) == 0 && renameat(fd, e->d_name, top, name) == 0);
        ok = ok || errno == EEXIST || errno == ENOTEMPTY; /* another round */
    }
    if (d)
        closedir(d);
    else
        close(fd);
}

/* One round over what is directly in `top`; true: nothing is. */
static bool empty_once(int top, uint64_t *count)
{
    int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    bool empty = d;

    while (d && (e = readdir(d))) {
        if (is_dots(e->d_name))
            continue;
        empty = false;
        if (unlinkat(top, e->d_name, 0) == 0 || unlinkat(top, e->d_name, AT_REMOVEDIR) == 0)
            continue;
        int sub = open_dir(top, e->d_name);
        if (sub >= 0)
            empty_into(top, sub, count);
        (void)unlinkat(top, e->d_name, AT_REMOVEDIR);
    }
    if (d)
        closedir(d);
    else if (fd >= 0)
        close(fd);
    return empty;
}

enum err process_dir_remove(const char *dir, bool keep)
{
    uint64_t count = 0, stuck = 0;
    int top = open_dir(AT_FDCWD, dir);

    if (top < 0)
        return errno == ENOENT ? ERR_OK : failed("etl directory not removed", dir);
    for (uint64_t before = 0; !empty_once(top, &count); before = count)
        if (count == before && ++stuck == ROUNDS_MAX)
            break;
    close(top);
    if (stuck == ROUNDS_MAX || (!keep && rmdir(dir) != 0)) {
        errno = stuck == ROUNDS_MAX ? ENOTEMPTY : errno;
        return failed("etl directory not removed", dir);
    }
    return ERR_OK;
}
