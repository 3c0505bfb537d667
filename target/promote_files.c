#include "promote_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/job_names.h"

enum { READ_MAX = 1 << 20 };

static enum err err_of(const char *what)
{
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case ELOOP: /* O_NOFOLLOW met a link */
    case EACCES:
    case EPERM:
        return ERR_ACCESS_DENIED;
    default:
        log_error(STR_NONE, "a file can't be promoted", "step=%s errno=%s", what, strerrorname_np(errno));
        return ERR_IO;
    }
}

/* ---- the way ---- */

/* What of `path` is below the directory; false: it is not. */
static bool below(struct str dir, struct str path, struct str *rest)
{
    while (dir.n > 1 && dir.p[dir.n - 1] == '/')
        dir.n--;
    if (dir.n == 0 || dir.p[0] != '/' || !str_starts(path, dir))
        return false;
    *rest = str_skip(path, dir.n);
    if (dir.n > 1 && rest->n && rest->p[0] != '/')
        return false;
    while (rest->n && rest->p[0] == '/')
        *rest = str_skip(*rest, 1);
    while (rest->n && rest->p[rest->n - 1] == '/')
        rest->n--;
    return true;
}

static bool is_component(struct str s)
{
    return s.n > 0 && s.n < NAME_MAX && !str_eq(s, STR(".")) && !str_eq(s, STR("..")) && memchr(s.p, 0, s.n) == NULL;
}

/* Opens `name`, one component, in the directory; closes the directory. */
static enum err step_into(int *at, struct str name, bool directory)
{
    char z[NAME_MAX + 1];
    int fd;

    if (!is_component(name))
        return ERR_ACCESS_DENIED;
    memcpy(z, name.p, name.n);
    z[name.n] = '\0';
    fd = openat(*at, z, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | (directory ? O_DIRECTORY : 0));
    if (fd < 0 && directory && errno == ENOTDIR) { /* so does a link answer */
        struct stat st;
        bool is_link = fstatat(*at, z, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
        return is_link ? ERR_ACCESS_DENIED : ERR_NOT_FOUND;
    }
    if (fd < 0)
        return err_of("open");
    close(*at);
    *at = fd;
    return ERR_OK;
}

/* Down all components but the last of `rest`, which goes to *last. */
static enum err descend(int *at, struct str rest, struct str *last)
{
    enum err e = ERR_OK;

    *last = STR("");
    while (rest.n && e == ERR_OK) {
        struct str name = str_split(&rest, '/');
        if (last->n)
            e = step_into(at, *last, true);
        *last = name;
        if (e == ERR_OK && !is_component(name))
            e = ERR_ACCESS_DENIED;
    }
    return e;
}

/* The directory that holds the place, and its last component there; that is empty when the place is an allowed directory itself. */
static enum err open_parent(const struct promote_place *p, int *out, struct str *last)
{
    struct str dirs = p->dirs, rest = STR(""), dir = STR("");
    char z[PROMOTE_PATH_MAX], whole[2 * PROMOTE_PATH_MAX];
    bool found = false;
    enum err e;
    int at;

    while (dirs.n && !found) {
        dir = str_split(&dirs, ':');
        found = below(dir, p->path, &rest);
    }
    if (!found || dir.n >= sizeof(z) || rest.n + p->name.n + 2 > sizeof(whole))
        return ERR_ACCESS_DENIED;
    memcpy(z, dir.p, dir.n);
    z[dir.n] = '\0';
    struct buf text = {.p = whole, .cap = sizeof(whole), .max = sizeof(whole)};
    buf_add_str(&text, rest);
    if (rest.n && p->name.n)
        buf_add_char(&text, '/');
    buf_add_str(&text, p->name);
    if ((at = open(z, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return err_of("open");
    if ((e = descend(&at, buf_str(&text), last)) == ERR_OK && last->n) {
        /* it lies in `whole`, which ends here: the name as the caller gave it */
        struct str from = p->name.n ? p->name : rest;
        *last = str_n(from.p + from.n - last->n, last->n);
    }
    if (e != ERR_OK)
        close(at);
    else
        *out = at;
    return e;
}

/* ---- what is there ---- */

/* A directory that is being read: its name below the first. */
struct walk {
    struct buf *names;
    bool recursive;
    struct buf path;
};

static enum err walk_dir(struct walk *w, int fd, unsigned depth);

static enum err walk_entry(struct walk *w, int dir, const char *name, unsigned depth)
{
    size_t before = w->path.n;
    struct stat st;
    enum err e = ERR_OK;
    int fd;

    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return ERR_OK; /* or it is gone again */
    if (before)
        buf_add_char(&w->path, '/');
    buf_add_z(&w->path, name);
    if (S_ISREG(st.st_mode)) {
        job_names_add(w->names, buf_str(&w->path));
        e = buf_err(w->names);
    } else if (S_ISDIR(st.st_mode) && w->recursive) {
        fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
            e = walk_dir(w, fd, depth + 1);
        else if (errno != ENOENT)
            e = err_of("open");
    }
    w->path.n = before;
    return buf_err(&w->path) != ERR_OK ? ERR_TOO_LARGE : e;
}

/* Takes fd. */
static enum err walk_dir(struct walk *w, int fd, unsigned depth)
{
    enum err e = ERR_OK;
    DIR *d = fdopendir(fd);

    if (!d) {
        close(fd);
        return ERR_IO;
    }
    if (depth > PROMOTE_DEPTH_MAX)
        e = ERR_TOO_LARGE;
    for (const struct dirent *entry; e == ERR_OK && (entry = readdir(d)) != NULL;)
        e = walk_entry(w, dirfd(d), entry->d_name, depth);
    closedir(d);
    return e;
}

enum err promote_walk(const struct promote_place *p, bool recursive, struct buf *names, bool *is_file)
{
    struct walk w = {.names = names, .recursive = recursive, .path = BUF_INIT(PROMOTE_PATH_MAX)};
    struct stat st;
    struct str last;
    enum err e;
    int at = -1;

    if ((e = open_parent(p, &at, &last)) != ERR_OK)
        return e;
    if (last.n && (e = step_into(&at, last, false)) != ERR_OK)
        goto out;
    if (fstat(at, &st) != 0) {
        e = err_of("stat");
        goto out;
    }
    *is_file = S_ISREG(st.st_mode);
    if (!*is_file && !S_ISDIR(st.st_mode)) {
        e = ERR_INVALID_ARGUMENT;
    } else if (!*is_file) {
        e = walk_dir(&w, at, 1);
        at = -1;
    }
out:
    if (at >= 0)
        close(at);
    buf_release(&w.path);
    return e;
}

enum err promote_open(const struct promote_place *p, int *fd, uint64_t *size)
{
    struct stat st;
    struct str last;
    enum err e;
    int at = -1;

    if ((e = open_parent(p, &at, &last)) != ERR_OK)
        return e;
    if (last.n == 0 || (e = step_into(&at, last, false)) != ERR_OK) {
        e = last.n == 0 ? ERR_INVALID_ARGUMENT : e;
    } else if (fstat(at, &st) != 0) {
        e = err_of("stat");
    } else if (!S_ISREG(st.st_mode)) {
        e = ERR_INVALID_ARGUMENT;
    } else {
        *fd = at;
        *size = (uint64_t)st.st_size;
        return ERR_OK;
    }
    close(at);
    return e;
}

enum err promote_remove(const struct promote_place *p, int fd)
{
    struct stat mine, there;
    char z[NAME_MAX + 1];
    struct str last;
    enum err e;
    int at = -1;

    if ((e = open_parent(p, &at, &last)) != ERR_OK)
        return e;
    memcpy(z, last.p, last.n);
    z[last.n] = '\0';
    if (fstat(fd, &mine) != 0 || fstatat(at, z, &there, AT_SYMLINK_NOFOLLOW) != 0)
        e = err_of("stat");
    else if (mine.st_dev != there.st_dev || mine.st_ino != there.st_ino)
        e = ERR_CONFLICT; /* another file by now */
    else if (unlinkat(at, z, 0) != 0)
        e = err_of("unlink");
    close(at);
    return e;
}

/* ---- reading ---- */

struct file_source {
    struct source source;
    struct loop *loop;
    struct offload *io;
    struct offload_task task;
    int fd;
    uint64_t offset;
    void *buf;
    size_t len, got;
    size_t *n;
    struct call call, *whole;
};

static enum err read_run(struct offload_task *t)
{
    struct file_source *f = CONTAINER(t, struct file_source, task);
    ssize_t n;

    do
        n = pread(f->fd, f->buf, f->len, (off_t)f->offset);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_of("read");
    f->got = (size_t)n;
    return ERR_OK;
}

static void read_done(struct call *c)
{
    struct file_source *f = CONTAINER(c, struct file_source, call);

    f->offset += c->err == ERR_OK ? f->got : 0;
    *f->n = c->err == ERR_OK ? f->got : 0;
    call_finish(f->whole, c->err);
}

static void file_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct file_source *f = CONTAINER(s, struct file_source, source);

    f->buf = buf;
    f->len = len < READ_MAX ? len : READ_MAX;
    f->n = n;
    f->whole = call;
    call_begin(&f->call, f->loop, read_done);
    offload_run(f->io, &f->task, read_run, &f->call);
}

static void file_close(struct source *s)
{
    struct file_source *f = CONTAINER(s, struct file_source, source);

    close(f->fd);
    free(f);
}

struct source *promote_source(struct loop *loop, struct offload *io, int fd, uint64_t size)
{
    static const struct source_ops ops = {.name = "file", .read = file_read, .close = file_close};
    struct file_source *f = NEW(struct file_source);

    *f = (struct file_source){.source = {.ops = &ops, .size = size}, .loop = loop, .io = io, .fd = fd};
    return &f->source;
}
