/* `sluice put`: files, directories and standard input to objects, or a file into an archive. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/crew.h"
#include "cli/files.h"
#include "cli/progress.h"

struct put {
    struct client_options options;
    bool recursive, append, upsert;
    const char *member;
    uint64_t workers;
    struct place to;
    struct progress *progress;
    const char *dir;
};

struct feed {
    int fd;
    int errnum;
    struct progress *progress;
};

static bool feed_read(void *arg, char *p, size_t size, size_t *n)
{
    struct feed *f = arg;
    ssize_t got;

    do {
        got = read(f->fd, p, size);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        f->errnum = errno;
        return false;
    }
    progress_add(f->progress, (uint64_t)got, 0);
    *n = (size_t)got;
    return true;
}

static int send_fd(const struct put *v, struct client *c, struct str key, int fd, uint64_t size, const char *from)
{
    static const char *const flags[] = {"Ais-Pine: 1", "Ais-Pine: 2"};
    struct feed feed = {.fd = fd, .progress = v->progress};
    struct web_req req = {.read = feed_read, .body_size = size, .arg = &feed};
    struct web_res res;
    int code;

    client_begin(c);
    place_object_path(&c->path, &v->to, key);
    place_query(&c->query, &v->to);
    if (v->member) {
        buf_add_z(&c->query, "&archpath=");
        web_encode(&c->query, str_z(v->member), true);
        if (v->append || v->upsert)
            req.headers[0] = flags[v->upsert];
    }
    code = client_ask(c, "PUT", &req, &res, from);
    if (code != 0 && feed.errnum)
        command_fail("%s: %s", from, strerror(feed.errnum));
    return code;
}

static int send_file(const struct put *v, struct client *c, struct str key, const char *path)
{
    struct stat st;
    int code, fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return command_fail("%s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0)
        code = command_fail("%s: %s", path, strerror(errno));
    else if (S_ISDIR(st.st_mode))
        code = command_usage("%s is a directory: use --recursive", path);
    else
        code = send_fd(v, c, key, fd, S_ISREG(st.st_mode) ? (uint64_t)st.st_size : WEB_SIZE_UNKNOWN, path);
    close(fd);
    return code;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int put_one(struct put *v, struct client *c, const char *from)
{
    struct str key = v->to.key;
    bool from_stdin = strcmp(from, "-") == 0;
    struct stat st;
    int code;

    if (v->to.is_prefix && !v->member) {
        if (from_stdin)
            return command_usage("say which object standard input becomes: BUCKET/KEY");
        key = arena_printf(&c->arena, STR_FMT "%s", STR_ARG(key), base_of(from));
    }
    if (v->member && from_stdin)
        return command_usage("a member's size must be known before: put a file, not standard input");
    v->progress =
        progress_begin("put", !from_stdin && stat(from, &st) == 0 ? (uint64_t)st.st_size : 0, 0, v->options.quiet);
    code =
        from_stdin ? send_fd(v, c, key, STDIN_FILENO, WEB_SIZE_UNKNOWN, "standard input") : send_file(v, c, key, from);
    progress_end(v->progress);
    return code;
}

/* ---- a directory ---- */

static int put_thing(void *arg, struct client *c, struct str name, uint64_t size)
{
    struct put *v = arg;
    char path[PATH_MAX];
    struct arena arena = ARENA_INIT;
    int code;

    (void)size;
    if (snprintf(path, sizeof(path), "%s/" STR_FMT, v->dir, STR_ARG(name)) >= (int)sizeof(path))
        return command_fail("%s: the name is too long", path);
    code = send_file(v, c, arena_printf(&arena, STR_FMT STR_FMT, STR_ARG(v->to.key), STR_ARG(name)), path);
    progress_add(v->progress, 0, 1);
    arena_release(&arena);
    return code;
}

static int put_all(struct put *v, struct client *c, const char *dir)
{
    uint64_t done = 0, failed = 0;
    struct files files;
    struct crew *crew;
    int code = files_read(&files, dir);

    if (code == 0) {
        v->dir = dir;
        if (v->to.key.n && !v->to.is_prefix)
            v->to.key = arena_printf(&c->arena, STR_FMT "/", STR_ARG(v->to.key));
        v->progress = progress_begin("put", files.bytes, files.count, v->options.quiet);
        crew = crew_begin(c, (unsigned)v->workers, true, put_thing, v);
        for (size_t i = 0; i < files.count; i++)
            crew_add(crew, str_z(files.all[i].name), files.all[i].size);
        code = crew_end(crew, &done, &failed);
        progress_end(v->progress);
        if (!v->options.quiet)
            printf("%llu objects, %llu failed\n", (unsigned long long)done, (unsigned long long)failed);
    }
    files_release(&files);
    return code;
}

int command_put(int argc, char **argv)
{
    struct put v = {.recursive = false};
    const struct flag flags[] = {CLIENT_FLAGS(&v.options),
                                 {"--recursive", "-r", .on = &v.recursive},
                                 {"--archpath", NULL, .text = &v.member},
                                 {"--append", NULL, .on = &v.append},
                                 {"--append-or-put", NULL, .on = &v.upsert},
                                 {"--workers", NULL, .number = &v.workers},
                                 {NULL}};
    char why[PLACE_WHY_MAX];
    struct client c;
    int code = flags_read(flags, &argc, argv);

    if (code != 0)
        return code;
    if (argc != 2)
        return command_usage("put wants what and where to: sluice put FILE | DIR | - BUCKET[/KEY]");
    if (!place_parse(argv[1], &v.to, why))
        return command_usage("%s", why);
    if ((v.append || v.upsert) && !v.member)
        return command_usage("--append goes with --archpath: the name within the archive");
    if (v.member && v.recursive)
        return command_usage("--archpath is one file's name: leave out --recursive");
    if (v.workers == 0 || v.workers > CREW_WORKERS_MAX)
        v.workers = CREW_WORKERS;
    if ((code = client_open(&c, &v.options)) == 0) {
        code = v.recursive ? put_all(&v, &c, argv[0]) : put_one(&v, &c, argv[0]);
        client_close(&c);
    }
    return code;
}
