/* The claim half of mountpath.h: directory, lock and format file. */
#include "target/mountpath.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

enum { FORMAT_FILE_MAX = 64 << 10, PATH_LEN_MAX = 4096 };

/* Lengths were checked in mountpath_claim(); a path that is too long after all names nothing. */
static void join(char out[PATH_LEN_MAX], struct str dir, const char *name)
{
    if (snprintf(out, PATH_LEN_MAX, STR_FMT "/%s", STR_ARG(dir), name) >= PATH_LEN_MAX)
        out[0] = 0;
}

static enum err refuse(enum err e, char why[MOUNTPATH_WHY_MAX], const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static enum err refuse(enum err e, char why[MOUNTPATH_WHY_MAX], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, MOUNTPATH_WHY_MAX, fmt, ap);
    va_end(ap);
    return e;
}

/* ---- directories ---- */

static enum err sync_parent(const char *path)
{
    char parent[PATH_LEN_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    enum err e = ERR_OK;

    snprintf(parent, sizeof(parent), "%.*s", slash ? (n ? (int)n : 1) : 1, slash ? path : ".");
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        e = ERR_IO;
    if (fd >= 0)
        close(fd);
    return e;
}

/* Makes the directory and those above it, each name durable. */
static enum err make_dirs(const char *path, char why[MOUNTPATH_WHY_MAX])
{
    char at[PATH_LEN_MAX];
    size_t n = strlen(path);

    if (n == 0 || n >= sizeof(at) - 64)
        return refuse(ERR_INVALID_ARGUMENT, why, "'%.100s' can't be a data directory", path);
    memcpy(at, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (at[i] != '/' && at[i] != 0)
            continue;
        at[i] = 0;
        if (mkdir(at, 0700) == 0) {
            if (sync_parent(at) != ERR_OK)
                return refuse(ERR_IO, why, "can't make %.300s durable: %s", at, strerror(errno));
        } else if (errno != EEXIST && errno != EISDIR) {
            return refuse(err_from_errno(errno), why, "can't make the data directory %.300s: %s", at, strerror(errno));
        }
        at[i] = path[i];
    }
    return ERR_OK;
}

static enum err take_lock(const char *dir, int *lock_fd, char why[MOUNTPATH_WHY_MAX])
{
    char path[PATH_LEN_MAX];

    join(path, str_z(dir), "lock");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return refuse(err_from_errno(errno), why, "can't write to the data directory %.300s: %s", dir, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return refuse(ERR_CONFLICT, why, "the data directory %.300s is in use by another sluice process", dir);
    }
    *lock_fd = fd;
    return ERR_OK;
}

/* ---- the format file: lines of words ---- */

static bool parse_uuid(struct str s, struct mountpath_uuid *out)
{
    return s.n == 2 * MOUNTPATH_UUID_LEN && hex_decode(s, out->b, MOUNTPATH_UUID_LEN);
}

static bool parse_set(struct str line, struct mountpath_format *f)
{
    while (line.n) {
        if (f->set_count == MOUNTPATHS_MAX || !parse_uuid(str_split(&line, ' '), &f->set[f->set_count]))
            return false;
        f->set_count++;
    }
    return true;
}

/* "disk UUID [out] [leaving] [behind] dir PATH" */
static bool parse_disk(struct str line, struct mountpath_format *f)
{
    struct mountpath_uuid id;
    struct mountpath_seat seat = {0};
    size_t i = 0;

    if (!parse_uuid(str_split(&line, ' '), &id))
        return false;
    for (;;) {
        struct str word = str_split(&line, ' ');
        if (str_eq(word, STR("dir")))
            break;
        if (str_eq(word, STR("out")))
            seat.out = true;
        else if (str_eq(word, STR("leaving")))
            seat.leaving = true;
        else if (str_eq(word, STR("behind")))
            seat.behind = true;
        else
            return false;
    }
    if (line.n > MOUNTPATH_DIR_MAX)
        return false;
    memcpy(seat.dir, line.p, line.n);
    while (i < f->set_count && memcmp(&f->set[i], &id, sizeof(id)) != 0)
        i++;
    if (i < f->set_count)
        f->seats[i] = seat;
    return i < f->set_count;
}

static bool parse_line(struct str line, struct mountpath_format *f, uint64_t *version)
{
    struct str word = str_split(&line, ' ');

    if (str_eq(word, STR("sluice-data")))
        return str_to_u64(line, UINT32_MAX, version);
    if (str_eq(word, STR("uuid")))
        return parse_uuid(line, &f->uuid);
    if (str_eq(word, STR("set")))
        return parse_set(line, f);
    if (str_eq(word, STR("generation")))
        return str_to_u64(line, UINT64_MAX, &f->generation);
    if (str_eq(word, STR("moving")))
        return f->moving = true;
    if (str_eq(word, STR("disk")))
        return parse_disk(line, f);
    return true; /* a later minor addition */
}

static enum err parse(const char *dir, struct str text, struct mountpath_format *f, char why[MOUNTPATH_WHY_MAX])
{
    static const struct mountpath_uuid none;
    uint64_t version = 0;

    while (text.n) {
        if (!parse_line(str_split(&text, '\n'), f, &version))
            return refuse(ERR_CORRUPT, why, "%.300s/sluice.format is damaged", dir);
        if (version > MOUNTPATH_FORMAT)
            return refuse(
                ERR_NOT_IMPLEMENTED, why,
                "the data directory %.300s was written by a newer sluice (format %llu, this one reads up to %d)", dir,
                (unsigned long long)version, MOUNTPATH_FORMAT);
    }
    if (version == 0 || memcmp(&f->uuid, &none, sizeof(none)) == 0)
        return refuse(ERR_CORRUPT, why, "%.300s/sluice.format is damaged", dir);
    return ERR_OK;
}

static enum err read_format(const char *dir, struct mountpath_format *f, char why[MOUNTPATH_WHY_MAX])
{
    char path[PATH_LEN_MAX], *text;
    enum err e;

    join(path, str_z(dir), "sluice.format");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return ERR_NOT_FOUND;
    if (fd < 0)
        return refuse(err_from_errno(errno), why, "can't read %.300s: %s", path, strerror(errno));
    text = mem_alloc(FORMAT_FILE_MAX);
    ssize_t n = read(fd, text, FORMAT_FILE_MAX);
    close(fd);
    if (n < 0)
        e = refuse(ERR_IO, why, "can't read %.300s: %s", path, strerror(errno));
    else
        e = parse(dir, str_n(text, (size_t)n), f, why);
    free(text);
    return e;
}

static void render(const struct mountpath_format *f, struct buf *out)
{
    char hex[2 * MOUNTPATH_UUID_LEN];

    /* what an older version reads as well stays in its format */
    buf_addf(out, "sluice-data %d\nuuid ", f->generation ? MOUNTPATH_FORMAT : MOUNTPATH_FORMAT - 1);
    hex_encode(f->uuid.b, MOUNTPATH_UUID_LEN, hex);
    buf_add(out, hex, sizeof(hex));
    for (size_t i = 0; i < f->set_count; i++) {
        buf_add_z(out, i ? " " : "\nset ");
        hex_encode(f->set[i].b, MOUNTPATH_UUID_LEN, hex);
        buf_add(out, hex, sizeof(hex));
    }
    buf_add_char(out, '\n');
    if (!f->generation)
        return;
    buf_addf(out, "generation %llu\n%s", (unsigned long long)f->generation, f->moving ? "moving\n" : "");
    for (size_t i = 0; i < f->set_count; i++) {
        const struct mountpath_seat *s = &f->seats[i];
        hex_encode(f->set[i].b, MOUNTPATH_UUID_LEN, hex);
        buf_addf(out, "disk %.*s%s%s%s dir %s\n", (int)sizeof(hex), hex, s->out ? " out" : "",
                 s->leaving ? " leaving" : "", s->behind ? " behind" : "", s->dir);
    }
}

enum err mountpath_settle(struct str dir, const struct mountpath_format *f, char why[MOUNTPATH_WHY_MAX])
{
    char path[PATH_LEN_MAX], staged[PATH_LEN_MAX];
    struct buf text = BUF_INIT(FORMAT_FILE_MAX);
    enum err e = ERR_OK;

    join(path, dir, "sluice.format");
    join(staged, dir, "sluice.format.new");
    render(f, &text);
    int fd = open(staged, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text.p, text.n) != (ssize_t)text.n || fsync(fd) != 0 || rename(staged, path) != 0 ||
        sync_parent(path) != ERR_OK)
        e = refuse(err_from_errno(errno), why, "can't write %.300s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    buf_release(&text);
    return e;
}

static bool has_index(const char *dir)
{
    char path[PATH_LEN_MAX];

    join(path, str_z(dir), "index/CURRENT");
    return access(path, F_OK) == 0;
}

enum err mountpath_claim(struct str dir, bool create, struct mountpath_format *f, int *lock_fd,
                         char why[MOUNTPATH_WHY_MAX])
{
    char path[PATH_LEN_MAX];
    int fd = -1;
    enum err e;

    if (dir.n >= sizeof(path) - 64)
        return refuse(ERR_INVALID_ARGUMENT, why, "the path of the data directory is too long");
    snprintf(path, sizeof(path), STR_FMT, STR_ARG(dir));
    *f = (struct mountpath_format){0};
    if (create && (e = make_dirs(path, why)) != ERR_OK)
        return e;
    if (!create && access(path, F_OK) != 0)
        return refuse(ERR_NOT_FOUND, why, "there is no data directory %.300s", path);
    if ((e = take_lock(path, &fd, why)) != ERR_OK)
        return e;
    e = read_format(path, f, why);
    if (e == ERR_NOT_FOUND && create && has_index(path))
        e = refuse(ERR_CORRUPT, why, "%.300s holds an index but no sluice.format: run sluice fsck --rebuild", path);
    else if (e == ERR_NOT_FOUND && !create)
        (void)refuse(e, why, "%.300s is not a data directory: there is no sluice.format", path);
    else if (e == ERR_NOT_FOUND)
        random_bytes(f->uuid.b, sizeof(f->uuid.b)), e = ERR_OK;
    if (e == ERR_OK)
        *lock_fd = fd;
    else
        close(fd);
    return e;
}
