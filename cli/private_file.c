#include "private_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

static enum err fail(char why[PRIVATE_FILE_WHY_MAX], const char *path, const char *what)
{
    snprintf(why, PRIVATE_FILE_WHY_MAX, "%s: %s", path, what);
    return ERR_IO;
}

enum err private_file_read(struct arena *a, const char *path, struct str *out, char why[PRIVATE_FILE_WHY_MAX])
{
    char text[PRIVATE_FILE_MAX + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    ssize_t n;

    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : fail(why, path, strerror(errno));
    n = read(fd, text, sizeof(text));
    if (n >= 0 && fstat(fd, &st) == 0 && (st.st_mode & 077) != 0)
        log_warn(STR_NONE, "file can be read by others", "file=%s mode=%03o", log_quote(str_z(path)),
                 (unsigned)st.st_mode & 0777);
    if (n < 0)
        fail(why, path, strerror(errno));
    close(fd);
    if (n < 0)
        return ERR_IO;
    if (n == sizeof(text))
        return fail(why, path, "is too long");
    *out = arena_str(a, str_n(text, (size_t)n));
    return ERR_OK;
}

static int write_all(int fd, struct str text)
{
    while (text.n) {
        ssize_t n = write(fd, text.p, text.n);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0)
            text = str_skip(text, (size_t)n);
    }
    return fsync(fd);
}

enum err private_file_write(struct arena *a, struct str dir, const char *path, struct str text,
                            char why[PRIVATE_FILE_WHY_MAX])
{
    const char *aside = arena_printf(a, "%s.new", path).p;
    int fd, dir_fd = -1, bad;

    if (unlink(aside) != 0 && errno != ENOENT)
        return fail(why, aside, strerror(errno));
    fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(why, aside, strerror(errno));
    bad = write_all(fd, text) != 0 || link(aside, path) != 0;
    bad = bad || (dir_fd = open(arena_str(a, dir).p, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || fsync(dir_fd) != 0;
    int saved = errno;
    close(fd);
    if (dir_fd >= 0)
        close(dir_fd);
    unlink(aside);
    return bad ? fail(why, path, strerror(saved)) : ERR_OK;
}
