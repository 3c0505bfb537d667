#include "job_way.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "etcd.h"
#include "target/job.h"
#include "target/job_socket.h"

enum { TURN_MS = 1000 };

/* ---- etcd ---- */

static void done(struct call *c)
{
    (void)c;
}

static struct call *begin(struct job_way *w, struct call *call)
{
    call_begin(call, w->loop, done);
    return call;
}

static enum err end(struct job_way *w, const struct call *call)
{
    while (call_is_pending(call))
        loop_turn(w->loop, TURN_MS);
    return call->err;
}

/* ---- the socket ---- */

static int connect_to(struct str data)
{
    struct sockaddr_un name;
    int dir = open(data.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;

    if (dir < 0)
        return -1;
    fd = job_socket(dir, &name);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof(name)) != 0) {
        close(fd);
        fd = -1;
    }
    close(dir);
    return fd;
}

static enum err error_of(struct str name)
{
    static const enum err all[] = {ERR_NOT_FOUND, ERR_INVALID_ARGUMENT, ERR_CONFLICT,
                                   ERR_BUSY,      ERR_TOO_LARGE,        ERR_NOT_IMPLEMENTED};

    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        if (str_eq(name, str_z(err_name(all[i]))))
            return all[i];
    return ERR_UNAVAILABLE;
}

static bool send_all(int fd, struct str s)
{
    while (s.n) {
        ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        s = str_skip(s, (size_t)n);
    }
    return true;
}

/* Says the line; what is behind "ok" or "error NAME" goes to *out. */
static enum err ask(struct job_way *w, struct arena *a, struct str line, struct str *out)
{
    int fd = connect_to(w->settings->data.items[0]);
    struct buf text = BUF_INIT(JOB_ANSWER_MAX);
    enum err e = ERR_UNAVAILABLE;
    char piece[16384];
    ssize_t n;

    if (fd < 0)
        return ERR_UNAVAILABLE;
    if (send_all(fd, line))
        while ((n = read(fd, piece, sizeof(piece))) > 0)
            buf_add(&text, piece, (size_t)n);
    close(fd);
    struct str rest = buf_str(&text), first = str_split(&rest, '\n');
    if (str_eq(first, STR("ok")))
        e = ERR_OK;
    else if (str_starts(first, STR("error ")))
        e = error_of(str_skip(first, STR("error ").n));
    *out = arena_str(a, str_split(&rest, '\n'));
    buf_release(&text);
    return e;
}

/* ---- both ---- */

enum err job_way_open(struct job_way *w, const struct settings *s, char why[256])
{
    int fd;

    *w = (struct job_way){.settings = s};
    if (s->cluster_etcd.count == 0) {
        if ((fd = connect_to(s->data.items[0])) < 0) {
            snprintf(why, 256, "no server answers at %.120s/%s: is it running, and is this its first data directory?",
                     s->data.items[0].p, JOB_SOCKET);
            return ERR_UNAVAILABLE;
        }
        close(fd);
        return ERR_OK;
    }
    if (etcd_open(s, &w->meta, why) != ERR_OK)
        return ERR_UNAVAILABLE;
    w->loop = loop_new();
    loop_adopt(w->loop);
    return ERR_OK;
}

void job_way_close(struct job_way *w)
{
    if (w->loop)
        loop_free(w->loop);
    if (w->meta)
        meta_close(w->meta);
}

enum err job_way_look(struct job_way *w, struct arena *a, struct str id, struct str *json)
{
    struct job_look_req req = {.arena = a, .id = id};
    struct job_look_res res = {0};
    struct call call = {0};
    enum err e;

    if (!w->meta)
        return ask(w, a, id.n ? arena_printf(a, "show " STR_FMT "\n", STR_ARG(id)) : STR("list\n"), json);
    job_look(w->meta, &req, &res, begin(w, &call));
    if ((e = end(w, &call)) == ERR_OK)
        *json = res.json;
    return e;
}

/* The socket takes lines. */
static struct str one_line(struct arena *a, struct str s)
{
    struct str copy = arena_str(a, s);

    for (size_t i = 0; i < copy.n; i++)
        if (copy.p[i] == '\n' || copy.p[i] == '\r')
            ((char *)(uintptr_t)copy.p)[i] = ' '; /* between the tokens of JSON */
    return copy;
}

enum err job_way_start(struct job_way *w, struct arena *a, struct str kind, struct str spec, struct str *id,
                       char why[256])
{
    struct job_start_req req = {.arena = a, .kind = kind, .spec = spec, .started_by = STR("sluice job start")};
    struct job_start_res res = {0};
    struct call call = {0};
    struct str text = STR("");
    enum err e;

    why[0] = '\0';
    if (w->meta) {
        job_start(w->meta, &req, &res, begin(w, &call));
        e = end(w, &call);
        text = e == ERR_OK ? res.id : str_z(res.why);
    } else {
        e = ask(
            w, a,
            arena_printf(a, "start " STR_FMT " " STR_FMT "\n", STR_ARG(one_line(a, kind)), STR_ARG(one_line(a, spec))),
            &text);
    }
    if (e == ERR_OK)
        *id = arena_str(a, text);
    else
        snprintf(why, 256, STR_FMT, STR_ARG(text));
    return e;
}

enum err job_way_stop(struct job_way *w, struct arena *a, struct str id)
{
    struct job_stop_req req = {a, id};
    struct call call = {0};
    struct str text;

    if (!w->meta)
        return ask(w, a, arena_printf(a, "stop " STR_FMT "\n", STR_ARG(one_line(a, id))), &text);
    job_stop(w->meta, &req, begin(w, &call));
    return end(w, &call);
}
