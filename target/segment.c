#include "target/segment.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "target/segment_cipher.h"
#include "target/segment_footer.h"

enum {
    FAN_OUT = 256,
    DIR_MODE = 0700,
    FILE_MODE = 0600,
    HASH_STEP = 64 << 10,
    WRITE_BACK_STEP = 8 << 20, /* content after which write-back starts, so that the last fsync finds little to do */
    DIRECT_MIN = 2 << 20,      /* content from which writes go around the page cache */
    RESERVE_MIN = 1 << 20,     /* smaller content is not worth a fallocate() */
    RESERVE_MAX = 256 << 20,   /* a client that declares much and sends little must not hold the disk */
};

struct segment_dir {
    char *path;
    bool sync;
    bool direct;  /* large content is written around the page cache */
    bool tmpfile; /* O_TMPFILE and linkat() work here */
    int segments_fd, staging_fd;
    const struct keyring *keys; /* may be NULL */
    _Atomic uint64_t failures;  /* of the disk */
    pthread_mutex_t lock;
    struct {              /* guarded by lock */
        int fan[FAN_OUT]; /* -1: not opened yet */
    } locked;
};

/* ---- names ---- */

void segment_id_new(struct segment_id *out)
{
    uint64_t now = (uint64_t)clock_wall_ns(), ms = now / 1000000, rest = now % 1000000;

    for (int i = 0; i < 6; i++)
        out->b[i] = (uint8_t)(ms >> (8 * (5 - i)));
    for (int i = 0; i < 3; i++)
        out->b[6 + i] = (uint8_t)(rest >> (8 * (2 - i)));
    random_bytes(out->b + 9, SEGMENT_ID_LEN - 9);
}

void segment_id_hex(const struct segment_id *id, char out[SEGMENT_ID_HEX])
{
    hex_encode(id->b, SEGMENT_ID_LEN, out);
}

bool segment_id_parse(struct str hex, struct segment_id *out)
{
    return hex.n == SEGMENT_ID_HEX && hex_decode(hex, out->b, SEGMENT_ID_LEN);
}

uint64_t segment_id_ms(const struct segment_id *id)
{
    uint64_t ms = 0;

    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id->b[i];
    return ms;
}

/* The name within its directory, NUL-terminated. */
struct name {
    char z[SEGMENT_ID_HEX + 1];
};

static struct name name_of(const struct segment_id *id)
{
    struct name n;

    segment_id_hex(id, n.z);
    n.z[SEGMENT_ID_HEX] = 0;
    return n;
}

static unsigned fan_of(const struct segment_id *id)
{
    return id->b[SEGMENT_ID_LEN - 1];
}

void segment_path(const struct segment_id *id, char out[SEGMENT_PATH_MAX])
{
    snprintf(out, SEGMENT_PATH_MAX, "segments/%02x/%s", fan_of(id), name_of(id).z);
}

struct str segment_dir_path(const struct segment_dir *d)
{
    return str_z(d->path);
}

/* ---- directories ---- */

/* Opens a directory below `parent`, made and made durable when absent. -1: errno. */
static int dir_make(int parent, const char *name, bool sync)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0 || errno != ENOENT)
        return fd;
    if (mkdirat(parent, name, DIR_MODE) != 0 && errno != EEXIST)
        return -1;
    if (sync && fsync(parent) != 0) {
        int errnum = errno;
        unlinkat(parent, name, AT_REMOVEDIR); /* so that the next one to come does not take it for durable */
        errno = errnum;
        return -1;
    }
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Descriptor of a fan-out directory, opened or made. -1: errno. */
static int fan_fd(struct segment_dir *d, unsigned fan)
{
    char name[3];
    int fd;

    pthread_mutex_lock(&d->lock);
    fd = d->locked.fan[fan];
    if (fd < 0) {
        snprintf(name, sizeof(name), "%02x", fan & 0xff);
        fd = d->locked.fan[fan] = dir_make(d->segments_fd, name, d->sync);
    }
    pthread_mutex_unlock(&d->lock);
    return fd;
}

/* What a former process staged is nobody's. */
static enum err staging_clean(struct segment_dir *d)
{
    int fd = openat(d->staging_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;

    if (!dir) {
        enum err e = err_from_errno(errno);
        log_error(STR_NONE, "staging directory not readable", "mountpath=%s errno=%s", log_quote(str_z(d->path)),
                  strerrorname_np(errno));
        if (fd >= 0)
            close(fd);
        return e;
    }
    while ((entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.' && unlinkat(d->staging_fd, entry->d_name, 0) != 0)
            log_warn(STR_NONE, "staged file not removed", "mountpath=%s name=%s errno=%s", log_quote(str_z(d->path)),
                     log_quote(str_z(entry->d_name)), strerrorname_np(errno));
    closedir(dir);
    return ERR_OK;
}

static int link_fd(int fd, int dir_fd, const char *name)
{
    char proc[32];

    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, proc, dir_fd, name, AT_SYMLINK_FOLLOW);
}

/* Whether a nameless file can be made and named here: not on every file system, not without /proc. */
static bool tmpfile_works(struct segment_dir *d)
{
    int fd = openat(d->staging_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, FILE_MODE);
    bool works = fd >= 0 && link_fd(fd, d->staging_fd, "probe") == 0;

    if (works)
        unlinkat(d->staging_fd, "probe", 0);
    if (fd >= 0)
        close(fd);
    return works;
}

/* Whether direct writes work here. */
static bool direct_here(struct segment_dir *d)
{
    int fd = openat(d->staging_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, FILE_MODE);
    bool works = fd >= 0 && direct_works(fd);

    if (fd >= 0)
        close(fd);
    return works;
}

enum err segment_dir_open(struct str mountpath, bool sync, struct segment_dir **out)
{
    struct segment_dir *d = NEW(struct segment_dir);
    enum err e = ERR_OK;
    int root;

    d->path = strndup(mountpath.p, mountpath.n);
    d->sync = sync;
    d->segments_fd = d->staging_fd = -1;
    for (int i = 0; i < FAN_OUT; i++)
        d->locked.fan[i] = -1;
    pthread_mutex_init(&d->lock, NULL);
    root = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || (d->segments_fd = dir_make(root, "segments", sync)) < 0 ||
        (d->staging_fd = dir_make(root, "staging", sync)) < 0) {
        e = err_from_errno(errno);
        log_error(STR_NONE, "mountpath not usable", "path=%s errno=%s", log_quote(mountpath), strerrorname_np(errno));
        goto out;
    }
    /* a former process may have ended between making a directory and its fsync() */
    if (sync && (fsync(root) != 0 || fsync(d->segments_fd) != 0)) {
        e = err_from_errno(errno);
        log_error(STR_NONE, "mountpath fsync failed", "path=%s errno=%s", log_quote(mountpath), strerrorname_np(errno));
        goto out;
    }
    if ((e = staging_clean(d)) != ERR_OK)
        goto out;
    d->tmpfile = tmpfile_works(d);
    d->direct = sync && d->tmpfile && direct_here(d);
    *out = d;
    d = NULL;
out:
    if (root >= 0)
        close(root);
    segment_dir_close(d);
    return e;
}

void segment_dir_close(struct segment_dir *d)
{
    if (!d)
        return;
    for (int i = 0; i < FAN_OUT; i++)
        if (d->locked.fan[i] >= 0)
            close(d->locked.fan[i]);
    if (d->segments_fd >= 0)
        close(d->segments_fd);
    if (d->staging_fd >= 0)
        close(d->staging_fd);
    pthread_mutex_destroy(&d->lock);
    free(d->path);
    free(d);
}

void segment_dir_set_keys(struct segment_dir *d, const struct keyring *keys)
{
    d->keys = keys;
}

const struct keyring *segment_dir_keys(const struct segment_dir *d)
{
    return d->keys;
}

void segment_dir_use_names(struct segment_dir *d)
{
    d->tmpfile = false;
}

/* ---- staging ---- */

/* Room for what is expected next. It counts as part of the file, because direct writes beyond a file's end are slow.
 * False: errno. */
static bool reserve(struct segment_staged *s)
{
    uint64_t more = s->expected - s->size < RESERVE_MAX ? s->expected - s->size : RESERVE_MAX;

    if (fallocate(s->fd, 0, (off_t)s->size, (off_t)more) == 0) {
        s->reserved = s->size + more;
        return true;
    }
    return errno == EOPNOTSUPP || errno == ENOSYS || errno == EINTR;
}

static enum err stage(struct segment_dir *d, uint64_t size_hint, bool encrypted, struct segment_staged *out)
{
    struct segment_staged s = {.dir = d, .fd = -1};
    enum err e;

    segment_id_new(&s.id);
    if (encrypted) {
        s.id.b[SEGMENT_ID_ENCRYPTED_AT] |= SEGMENT_ID_ENCRYPTED;
        if ((e = segment_cipher_new(d->keys, &s.id, &s.cipher)) != ERR_OK)
            return e;
    }
    if (d->tmpfile) {
        s.fd = openat(d->staging_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, FILE_MODE);
    } else {
        s.named = true;
        s.fd = openat(d->staging_fd, name_of(&s.id).z, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, FILE_MODE);
    }
    if (s.fd < 0) {
        e = segment_failed(d, &s.id, "segment not staged");
        segment_cipher_free(s.cipher);
        return e;
    }
    s.expected = size_hint;
    /* a disk that is too full says so before the body is read */
    if (size_hint > RESERVE_MIN && !reserve(&s)) {
        e = segment_failed(d, &s.id, "segment not reserved");
        segment_discard(&s);
        return e;
    }
    /* direct writes go on while the next chunk is sealed into the same memory */
    if (d->direct && size_hint >= DIRECT_MIN && s.reserved && !encrypted)
        s.direct = direct_set(s.fd, true);
    *out = s;
    return ERR_OK;
}

enum err segment_stage(struct segment_dir *d, uint64_t size_hint, struct segment_staged *out)
{
    return stage(d, size_hint, false, out);
}

enum err segment_stage_encrypted(struct segment_dir *d, uint64_t size_hint, struct segment_staged *out)
{
    return d->keys ? stage(d, size_hint, true, out) : ERR_NOT_IMPLEMENTED;
}

static void block_end(struct segment_staged *s)
{
    struct digest d;

    hash_final(&s->block, &d);
    if (s->block_count == s->block_cap) {
        s->block_cap = s->block_cap ? s->block_cap * 2 : 4;
        s->blocks = mem_realloc(s->blocks, s->block_cap * sizeof(*s->blocks));
    }
    s->blocks[s->block_count++] = segment_hash64(&d);
}

static void blocks_update(struct segment_staged *s, const char *p, size_t n)
{
    uint64_t at = s->size;

    while (n) {
        size_t room = SEGMENT_BLOCK - (size_t)(at % SEGMENT_BLOCK), step = n < room ? n : room;
        if (s->block.alg == HASH_NONE)
            hash_init(&s->block, HASH_XXH3);
        hash_update(&s->block, p, step);
        if (step == room)
            block_end(s);
        p += step;
        n -= step;
        at += step;
    }
}

/* From here on it is written the common way. False: errno. */
static bool direct_end(struct segment_staged *s)
{
    s->direct = false;
    s->queued = s->size;
    return direct_settle(&s->writes, 0) && direct_set(s->fd, false);
}

/* Large content goes around the page cache: that saves the copy, and the flush at the end finds nothing to do. What does
 * not fit the rules of direct writes, the end of the content as a rule, goes the common way, and so does all that
 * follows. False: errno. */
static bool content_write(struct segment_staged *s, const char *p, size_t n)
{
    bool aligned = (uintptr_t)p % DIRECT_ALIGN == 0 && n % DIRECT_ALIGN == 0 && s->size % DIRECT_ALIGN == 0;

    if (s->reserved && s->size + n > s->reserved && s->reserved < s->expected && !reserve(s))
        return false;
    if (s->direct && aligned)
        return direct_write(&s->writes, s->fd, p, n, s->size);
    if (s->direct && !direct_end(s))
        return false;
    return segment_pwrite(s->fd, p, n, s->size);
}

/* All hashes over a part that the CPU's own cache holds, before the next part. */
static void hashes_update(struct segment_staged *s, const char *p, size_t n, struct hash *also, unsigned count)
{
    for (size_t at = 0, step; at < n; at += step) {
        step = n - at < HASH_STEP ? n - at : HASH_STEP;
        blocks_update(s, p + at, step);
        s->size += step;
        for (unsigned i = 0; i < count; i++)
            hash_update(&also[i], p + at, step);
    }
}

enum err segment_write(struct segment_staged *s, const void *p, size_t n)
{
    return segment_write_hashed(s, p, n, NULL, 0);
}

static enum err write_as_is(struct segment_staged *s, const void *p, size_t n, struct hash *also, unsigned count)
{
    if (s->failed || s->fd < 0 || n > SEGMENT_SIZE_MAX - s->size)
        return ERR_IO;
    if (!content_write(s, p, n)) {
        s->failed = true;
        return segment_failed(s->dir, &s->id, "segment write failed");
    }
    hashes_update(s, p, n, also, count);
    if (s->dir->sync && !s->direct && s->size - s->queued >= WRITE_BACK_STEP) {
        /* its failures come back from fsync() */
        (void)!sync_file_range(s->fd, (off_t)s->queued, (off_t)(s->size - s->queued), SYNC_FILE_RANGE_WRITE);
        s->queued = s->size;
    }
    return ERR_OK;
}

static enum err write_encrypted(struct segment_staged *s, const char *p, size_t n)
{
    enum err e = ERR_OK;
    bool finished;

    while (n && e == ERR_OK) {
        if ((e = segment_cipher_take(s->cipher, &p, &n, &finished)) == ERR_OK && finished)
            e = write_as_is(s, s->cipher->sealed, SEAL_CHUNK, NULL, 0);
    }
    s->failed |= e != ERR_OK;
    return e;
}

enum err segment_write_hashed(struct segment_staged *s, const void *p, size_t n, struct hash *also, unsigned count)
{
    if (!s->cipher)
        return write_as_is(s, p, n, also, count);
    for (unsigned i = 0; i < count; i++)
        hash_update(&also[i], p, n);
    return write_encrypted(s, p, n);
}

static enum err encrypted_end(struct segment_staged *s)
{
    size_t n;
    enum err e = segment_cipher_end(s->cipher, &n);

    return e == ERR_OK && n ? write_as_is(s, s->cipher->sealed, n, NULL, 0) : e;
}

enum err segment_settle(struct segment_staged *s, unsigned *under_way, unsigned left)
{
    bool ok = direct_settle(&s->writes, left);

    *under_way = s->writes.count;
    if (ok)
        return ERR_OK;
    s->failed = true;
    return segment_failed(s->dir, &s->id, "segment write failed");
}

/* Frees all but what names it. */
static void staged_end(struct segment_staged *s)
{
    assert(s->writes.count == 0);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    hash_drop(&s->block);
    segment_cipher_free(s->cipher);
    s->cipher = NULL;
    free(s->blocks);
    s->blocks = NULL;
    s->block_count = s->block_cap = 0;
}

void segment_discard(struct segment_staged *s)
{
    if (s->fd >= 0 && s->named)
        unlinkat(s->dir->staging_fd, name_of(&s->id).z, 0);
    staged_end(s);
}

/* ---- sealing ---- */

/* Gives the staged file its name in `dir_fd`. */
static bool publish(struct segment_staged *s, int dir_fd)
{
    struct name name = name_of(&s->id);

    if (!s->named)
        return link_fd(s->fd, dir_fd, name.z) == 0;
    if (renameat(s->dir->staging_fd, name.z, dir_fd, name.z) != 0)
        return false;
    s->named = false;
    return true;
}

enum err segment_seal(struct segment_staged *s, struct str desc)
{
    struct segment_dir *d = s->dir;
    enum err e = ERR_OK;
    int dir_fd;

    if (s->failed || s->fd < 0 || desc.n > SEGMENT_DESC_MAX) {
        e = desc.n > SEGMENT_DESC_MAX ? ERR_TOO_LARGE : ERR_IO;
        goto out;
    }
    if (s->cipher && (e = encrypted_end(s)) != ERR_OK)
        goto out;
    if (s->size % SEGMENT_BLOCK)
        block_end(s);
    if (s->reserved > s->size && ftruncate(s->fd, (off_t)s->size) != 0) {
        e = segment_failed(d, &s->id, "segment not shortened");
        goto out;
    }
    if ((s->direct && !direct_end(s)) || !segment_footer_write(s, desc)) {
        e = segment_failed(d, &s->id, "segment write failed");
        goto out;
    }
    /* The content is durable before it has a name, the name before anybody refers to it. A failed fsync() drops the
     * dirty pages, so another one would lie: the file goes. */
    if (d->sync && fdatasync(s->fd) != 0) {
        e = segment_failed(d, &s->id, "segment fsync failed");
        goto out;
    }
    if ((dir_fd = fan_fd(d, fan_of(&s->id))) < 0 || !publish(s, dir_fd)) {
        e = segment_failed(d, &s->id, "segment not named");
        goto out;
    }
    if (d->sync && fsync(dir_fd) != 0) {
        e = segment_failed(d, &s->id, "segment directory fsync failed");
        unlinkat(dir_fd, name_of(&s->id).z, 0);
    }
out:
    segment_discard(s);
    return e;
}

/* ---- sealed segments ---- */

enum err segment_unlink(struct segment_dir *d, const struct segment_id *id)
{
    int dir_fd = fan_fd(d, fan_of(id));

    if (dir_fd >= 0 && unlinkat(dir_fd, name_of(id).z, 0) == 0)
        return ERR_OK;
    if (errno == ENOENT)
        return ERR_NOT_FOUND;
    return segment_failed(d, id, "segment not removed");
}

enum err segment_open(struct segment_dir *d, const struct segment_id *id, int *out_fd)
{
    int dir_fd = fan_fd(d, fan_of(id));
    int fd = dir_fd < 0 ? -1 : openat(dir_fd, name_of(id).z, O_RDONLY | O_CLOEXEC | O_NOATIME);

    if (fd < 0 && dir_fd >= 0 && errno == EPERM) /* O_NOATIME is the owner's alone */
        fd = openat(dir_fd, name_of(id).z, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        *out_fd = fd;
        return ERR_OK;
    }
    if (errno == ENOENT)
        return ERR_NOT_FOUND;
    return segment_failed(d, id, "segment not opened");
}

/* ---- all of them ---- */

static enum err seen_file(struct segment_dir *d, unsigned fan, int dir_fd, const char *name,
                          enum err (*fn)(void *, const struct segment_seen *), void *arg)
{
    struct segment_seen seen;
    struct stat st;

    if (!segment_id_parse(str_z(name), &seen.id) || fan_of(&seen.id) != fan) {
        log_warn(STR_NONE, "unknown file among the segments", "mountpath=%s directory=%02x name=%s",
                 log_quote(str_z(d->path)), fan, log_quote(str_z(name)));
        return ERR_OK;
    }
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) /* ENOENT: removed meanwhile */
        return errno == ENOENT ? ERR_OK : segment_failed(d, &seen.id, "segment not readable");
    seen.file_size = (uint64_t)st.st_size;
    seen.mtime_ns = st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec;
    return fn(arg, &seen);
}

enum err segment_each(struct segment_dir *d, enum err (*fn)(void *arg, const struct segment_seen *seen), void *arg)
{
    enum err e = ERR_OK;

    for (unsigned fan = 0; fan < FAN_OUT && e == ERR_OK; fan++) {
        char fan_name[8];
        snprintf(fan_name, sizeof(fan_name), "%02x", fan);
        int fd = openat(d->segments_fd, fan_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT)
            continue;
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;
        if (!dir) {
            e = err_from_errno(errno);
            log_error(STR_NONE, "segment directory not readable", "mountpath=%s directory=%s errno=%s",
                      log_quote(str_z(d->path)), fan_name, strerrorname_np(errno));
            if (fd >= 0)
                close(fd);
            break;
        }
        while (e == ERR_OK && (entry = readdir(dir)) != NULL)
            if (entry->d_name[0] != '.')
                e = seen_file(d, fan, dirfd(dir), entry->d_name, fn, arg);
        closedir(dir);
    }
    return e;
}

void segment_dir_failed(const struct segment_dir *d, int errnum)
{
    if (errnum == EIO || errnum == EROFS || errnum == ENODEV || errnum == ENXIO)
        atomic_fetch_add(&((struct segment_dir *)(uintptr_t)d)->failures, 1);
}

uint64_t segment_dir_failures(const struct segment_dir *d)
{
    return atomic_load(&d->failures);
}
