#include "credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/doc.h"
#include "base/hash.h"
#include "base/log.h"

enum { FILE_MAX = 4096, MADE_ACCESS_LEN = 20, MADE_SECRET_LEN = 40 };

static enum err fail(char why[CREDENTIALS_WHY_MAX], const char *file, const char *what)
{
    snprintf(why, CREDENTIALS_WHY_MAX, "%s: %s", file, what);
    return ERR_IO;
}

/* ---- reading ---- */

static enum err read_file(struct arena *a, int fd, struct credentials *out, char why[CREDENTIALS_WHY_MAX])
{
    char text[FILE_MAX], doc_why[DOC_WHY_MAX];
    ssize_t n = read(fd, text, sizeof(text));
    const struct doc *access, *secret;
    struct doc *root;
    struct stat st;

    if (n < 0)
        return fail(why, out->file.p, strerror(errno));
    if (fstat(fd, &st) == 0 && (st.st_mode & 077) != 0)
        log_warn(STR_NONE, "credentials can be read by others", "file=%s mode=%03o", log_quote(out->file),
                 (unsigned)st.st_mode & 0777);
    if (n == sizeof(text) || doc_parse(a, str_n(text, (size_t)n), &root, doc_why) != ERR_OK)
        return fail(why, out->file.p, "expected the two lines \"access_key: ...\" and \"secret_key: ...\"");
    access = doc_get(root, STR("access_key"));
    secret = doc_get(root, STR("secret_key"));
    if (!access || !secret || access->kind != DOC_SCALAR || secret->kind != DOC_SCALAR || !access->text.n ||
        !secret->text.n)
        return fail(why, out->file.p, "expected the two lines \"access_key: ...\" and \"secret_key: ...\"");
    out->from = CREDENTIALS_FILE;
    out->access_key = access->text;
    out->secret_key = secret->text;
    return ERR_OK;
}

/* ---- making ---- */

/* Letters and digits only: nothing that a shell or a URL would want quoted. `alphabet` has at most 64. */
static struct str random_text(struct arena *a, size_t n, struct str alphabet)
{
    char *p = arena_alloc(a, n + 1);

    for (size_t i = 0; i < n;) {
        uint8_t byte;
        random_bytes(&byte, 1);
        if ((byte & 63) < alphabet.n) /* others are dropped, so that all are equally likely */
            p[i++] = alphabet.p[byte & 63];
    }
    p[n] = 0;
    return str_n(p, n);
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

/* Written aside and linked into place: a crash leaves no half of a file, and a file that is there is never replaced. */
static enum err write_file(struct arena *a, struct str dir, const struct credentials *c, char why[CREDENTIALS_WHY_MAX])
{
    const char *aside = arena_printf(a, STR_FMT ".new", STR_ARG(c->file)).p;
    struct str text = arena_printf(a, "access_key: \"" STR_FMT "\"\nsecret_key: \"" STR_FMT "\"\n",
                                   STR_ARG(c->access_key), STR_ARG(c->secret_key));
    int fd, dir_fd = -1, bad;

    if (unlink(aside) != 0 && errno != ENOENT)
        return fail(why, aside, strerror(errno));
    fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(why, aside, strerror(errno));
    bad = write_all(fd, text) != 0 || link(aside, c->file.p) != 0;
    bad = bad || (dir_fd = open(dir.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || fsync(dir_fd) != 0;
    int saved = errno;
    close(fd);
    if (dir_fd >= 0)
        close(dir_fd);
    unlink(aside);
    return bad ? fail(why, c->file.p, strerror(saved)) : ERR_OK;
}

enum err credentials_get(struct arena *a, struct str access_key, struct str secret_key, struct str dir,
                         struct credentials *out, char why[CREDENTIALS_WHY_MAX])
{
    struct credentials c = {CREDENTIALS_SETTINGS, access_key, secret_key, STR_NONE};
    enum err e;
    int fd;

    if (access_key.n) {
        *out = c;
        return ERR_OK;
    }
    dir = arena_str(a, dir);
    c.file = arena_printf(a, STR_FMT "/credentials", STR_ARG(dir));
    fd = open(c.file.p, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        e = read_file(a, fd, &c, why);
        close(fd);
    } else if (errno != ENOENT) {
        e = fail(why, c.file.p, strerror(errno));
    } else {
        c.from = CREDENTIALS_MADE;
        c.access_key = random_text(a, MADE_ACCESS_LEN, STR("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"));
        c.secret_key =
            random_text(a, MADE_SECRET_LEN, STR("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"));
        e = write_file(a, dir, &c, why);
    }
    if (e == ERR_OK)
        *out = c;
    return e;
}
