/* `sluice get` and `sluice cat`: objects, parts of them and members of archives to files or standard output. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/crew.h"
#include "cli/progress.h"

struct get {
    struct client_options options;
    bool recursive;
    const char *member, *pattern, *mode, *workers_text;
    uint64_t offset, length, workers;
    struct place from;
    struct progress *progress;
    const char *dir; /* of a recursive one */
};

/* One body on its way to a descriptor. */
struct sink {
    int fd;
    int errnum;
    struct progress *progress;
};

static bool sink_write(void *arg, const char *p, size_t n)
{
    struct sink *s = arg;

    progress_add(s->progress, n, 0);
    while (n > 0) {
        ssize_t done = write(s->fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0) {
            s->errnum = errno;
            return false;
        }
        p += done;
        n -= (size_t)done;
    }
    return true;
}

static void add_query(struct buf *q, const char *name, const char *value)
{
    if (!value)
        return;
    buf_addf(q, "&%s=", name);
    web_encode(q, str_z(value), true);
}

static int fetch(const struct get *v, struct client *c, struct str key, int fd, const char *to)
{
    struct sink sink = {.fd = fd, .progress = v->progress};
    struct web_req req = {.write = sink_write, .arg = &sink};
    char range[64], what[512];
    struct web_res res;
    int code;

    client_begin(c);
    place_object_path(&c->path, &v->from, key);
    place_query(&c->query, &v->from);
    add_query(&c->query, "archpath", v->member);
    add_query(&c->query, "archregx", v->pattern);
    add_query(&c->query, "archmode", v->pattern ? (v->mode ? v->mode : "regexp") : NULL);
    if (v->offset || v->length) {
        if (v->length)
            snprintf(range, sizeof(range), "Range: bytes=%llu-%llu", (unsigned long long)v->offset,
                     (unsigned long long)(v->offset + v->length - 1));
        else
            snprintf(range, sizeof(range), "Range: bytes=%llu-", (unsigned long long)v->offset);
        req.headers[0] = range;
    }
    snprintf(what, sizeof(what), "%.*s/%.*s", (int)(v->from.bucket.n < 64 ? v->from.bucket.n : 64), v->from.bucket.p,
             (int)(key.n < 400 ? key.n : 400), key.p);
    code = client_ask(c, "GET", &req, &res, what);
    /* a reader that has seen enough, as `head` does, is no failure of ours to talk about */
    if (code != 0 && sink.errnum && sink.errnum != EPIPE)
        command_fail("%s: %s", to, strerror(sink.errnum));
    return code;
}

/* ---- to files: written aside, then renamed ---- */

static int make_dirs(char *path)
{
    for (char *p = path + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        int bad = mkdir(path, 0777) != 0 && errno != EEXIST;
        *p = '/';
        if (bad)
            return command_fail("can't make the directory of %s: %s", path, strerror(errno));
    }
    return 0;
}

static int fetch_file(const struct get *v, struct client *c, struct str key, char *path)
{
    char aside[PATH_MAX];
    int code, fd;

    if (snprintf(aside, sizeof(aside), "%s.sluice-%d-part", path, getpid()) >= (int)sizeof(aside))
        return command_fail("%s: the name is too long", path);
    if ((code = make_dirs(path)) != 0)
        return code;
    fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return command_fail("%s: %s", path, strerror(errno));
    code = fetch(v, c, key, fd, path);
    if (close(fd) != 0 && code == 0)
        code = command_fail("%s: %s", path, strerror(errno));
    if (code == 0 && rename(aside, path) != 0)
        code = command_fail("%s: %s", path, strerror(errno));
    if (code != 0)
        unlink(aside);
    return code;
}

static struct str base_of(struct str s)
{
    for (size_t i = s.n; i > 0; i--)
        if (s.p[i - 1] == '/')
            return str_skip(s, i);
    return s;
}

static bool is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int get_one(struct get *v, struct client *c, const char *to)
{
    char path[PATH_MAX];
    struct str base = v->member ? base_of(str_z(v->member)) : base_of(v->from.key);
    int code, n;

    if (!to)
        to = ".";
    if (is_dir(to) || to[strlen(to) - 1] == '/')
        n = snprintf(path, sizeof(path), "%s%s" STR_FMT, to, to[strlen(to) - 1] == '/' ? "" : "/", STR_ARG(base));
    else
        n = snprintf(path, sizeof(path), "%s", to);
    if (n >= (int)sizeof(path))
        return command_fail("the name is too long");
    v->progress = progress_begin("get", 0, 0, v->options.quiet);
    code = fetch_file(v, c, v->from.key, path);
    progress_end(v->progress);
    return code;
}

/* ---- all of a prefix ---- */

/* A name that would leave the directory, or can't be a file. */
static bool is_safe(struct str rest)
{
    if (rest.n == 0 || rest.p[0] == '/' || rest.p[rest.n - 1] == '/' || memchr(rest.p, '\0', rest.n))
        return false;
    while (rest.n) {
        struct str part = str_split(&rest, '/');
        if (part.n == 0 || str_eq(part, STR("..")) || str_eq(part, STR(".")))
            return false;
    }
    return true;
}

static int get_thing(void *arg, struct client *c, struct str key, uint64_t size)
{
    struct get *v = arg;
    struct str prefix = v->from.key, rest;
    char path[PATH_MAX];

    (void)size;
    while (prefix.n && prefix.p[prefix.n - 1] != '/') /* a prefix may end within a name */
        prefix.n--;
    rest = str_skip(key, prefix.n);
    if (!is_safe(rest))
        return command_fail("\"" STR_FMT "\" is no name for a file below %s", STR_ARG(key), v->dir);
    if (snprintf(path, sizeof(path), "%s/" STR_FMT, v->dir, STR_ARG(rest)) >= (int)sizeof(path))
        return command_fail("%s: the name is too long", path);
    int code = fetch_file(v, c, key, path);
    progress_add(v->progress, 0, 1);
    return code;
}

static int get_all(struct get *v, struct client *c, const char *to)
{
    struct client_list l = {.props = "name,size", .place = v->from, .prefix = v->from.key};
    struct crew *crew;
    uint64_t done = 0, failed = 0;
    int code, worst;
    bool go = true;

    v->dir = to ? to : ".";
    v->progress = progress_begin("get", 0, 0, v->options.quiet);
    crew = crew_begin(c, (unsigned)v->workers, true, get_thing, v);
    while (go && (code = client_list_next(c, &l)) == 0 && l.entries)
        for (const struct doc *e = l.entries->first; e && go; e = e->next)
            go = crew_add(crew, client_text(e, "name"), client_number(e, "size"));
    worst = crew_end(crew, &done, &failed);
    progress_end(v->progress);
    client_list_release(&l);
    if (code == 0 && worst == 0 && !v->options.quiet)
        printf("%llu objects\n", (unsigned long long)done);
    return code != 0 ? code : worst;
}

static int run(struct get *v, int argc, char **argv, bool to_stdout)
{
    struct client c;
    char why[PLACE_WHY_MAX];
    int code;

    if (!place_parse(argv[0], &v->from, why))
        return command_usage("%s", why);
    if (v->from.key.n == 0 && !v->recursive)
        return command_usage("say which object: %s/KEY, or --recursive for all", argv[0]);
    if ((v->member || v->pattern) && v->recursive)
        return command_usage("--archpath and --archregx are about one archive, not --recursive");
    if (v->workers == 0 || v->workers > CREW_WORKERS_MAX)
        v->workers = CREW_WORKERS;
    if ((code = client_open(&c, &v->options)) != 0)
        return code;
    to_stdout = to_stdout || (argc == 2 && strcmp(argv[1], "-") == 0);
    if (to_stdout && v->recursive)
        code = command_usage("--recursive wants a directory");
    else if (to_stdout)
        code = fetch(v, &c, v->from.key, STDOUT_FILENO, "standard output");
    else
        code = v->recursive ? get_all(v, &c, argc > 1 ? argv[1] : NULL) : get_one(v, &c, argc > 1 ? argv[1] : NULL);
    client_close(&c);
    return code;
}

static int read_flags(struct get *v, int *argc, char **argv)
{
    const struct flag flags[] = {CLIENT_FLAGS(&v->options),
                                 {"--recursive", "-r", .on = &v->recursive},
                                 {"--archpath", NULL, .text = &v->member},
                                 {"--archregx", NULL, .text = &v->pattern},
                                 {"--archmode", NULL, .text = &v->mode},
                                 {"--offset", NULL, .number = &v->offset},
                                 {"--length", NULL, .number = &v->length},
                                 {"--workers", NULL, .number = &v->workers},
                                 {NULL}};

    return flags_read(flags, argc, argv);
}

int command_get(int argc, char **argv)
{
    struct get v = {.recursive = false};
    int code = read_flags(&v, &argc, argv);

    if (code == 0 && (argc < 1 || argc > 2))
        code = command_usage("get wants an object and maybe where to: sluice get BUCKET/KEY [FILE | DIR | -]");
    return code != 0 ? code : run(&v, argc, argv, false);
}

int command_cat(int argc, char **argv)
{
    struct get v = {.recursive = false};
    int code = read_flags(&v, &argc, argv);

    if (code == 0 && argc < 1)
        code = command_usage("cat wants objects: sluice cat BUCKET/KEY...");
    for (int i = 0; code == 0 && i < argc; i++)
        code = run(&v, 1, argv + i, true);
    return code;
}
