#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "etl/lane_own.h"

enum { PIECE = 256 << 10, NAME_MAX_HEX = 16, EXTENSION_MAX = 12 };

struct make {
    struct op op;
    struct etls *engine;
    const struct etl_file_req *req;
    struct etl_file_res *res;
    struct call *whole;
    struct etl_instance *instance; /* held */
    struct offload_task task;
    char name[2 * NAME_MAX_HEX + EXTENSION_MAX + 2];
    int fd;
    char *piece;
    size_t piece_n;
    struct source_fill fill;
};

static step_fn make_begin, make_opened, make_read, make_got, make_wrote, make_closed, make_end;

/* Random, so that no sidecar guesses it, with the extension of the key: tools go by it. */
static void name_file(struct make *m)
{
    uint8_t raw[NAME_MAX_HEX];
    struct str key = m->req->key, extension = STR_NONE;

    random_bytes(raw, sizeof(raw));
    hex_encode(raw, sizeof(raw), m->name);
    for (size_t i = key.n; i > 0 && key.n - i < EXTENSION_MAX && key.p[i - 1] != '/'; i--) {
        char c = key.p[i - 1];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (c == '.')
            extension = str_skip(key, i - 1);
        if (!plain)
            break;
    }
    memcpy(m->name + 2 * sizeof(raw), extension.n ? extension.p : "", extension.n);
    m->name[2 * sizeof(raw) + extension.n] = 0;
}

static enum err run_open(struct offload_task *task)
{
    struct make *m = CONTAINER(task, struct make, task);
    struct str host = STR_NONE, inside = STR_NONE;
    enum err e = m->instance->runtime->ops->share(m->instance, &host, &inside);
    size_t cap = host.n + sizeof(m->name) + 2;

    if (e == ERR_NOT_IMPLEMENTED)
        return ERR_OK;
    if (e != ERR_OK)
        return e;
    m->res->path = mem_alloc(cap);
    snprintf(m->res->path, cap, STR_FMT "/%s", STR_ARG(host), m->name);
    m->res->inside = arena_printf(m->req->arena, STR_FMT "/%s", STR_ARG(inside), m->name);
    m->fd = open(m->res->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (m->fd < 0 || fchmod(m->fd, 0644) != 0) /* whatever the umask: the sidecar is another user */
        return err_from_errno(errno);
    return ERR_OK;
}

static enum step_next make_begin(struct op *op)
{
    struct make *m = OP(op, struct make);

    m->instance = etls_hold(m->engine, m->req->id);
    if (!m->instance)
        return op_fail(op, ERR_UNAVAILABLE);
    if (!m->instance->runtime->ops->share)
        return op_go(op, make_end);
    name_file(m);
    offload_run(m->engine->conf.io, &m->task, run_open, op_call(op, make_opened));
    return STEP_WAIT;
}

static enum step_next make_opened(struct op *op)
{
    struct make *m = OP(op, struct make);

    if (!m->res->inside.n)
        return op_go(op, make_end);
    m->piece = mem_alloc(PIECE);
    return op_go(op, make_read);
}

static enum step_next make_read(struct op *op)
{
    struct make *m = OP(op, struct make);

    source_fill(&m->fill, m->req->body, m->piece, PIECE, &m->piece_n, op_call(op, make_got));
    return STEP_WAIT;
}

static enum err run_write(struct offload_task *task)
{
    struct make *m = CONTAINER(task, struct make, task);

    for (size_t at = 0; at < m->piece_n;) {
        ssize_t n = write(m->fd, m->piece + at, m->piece_n - at);
        if (n < 0 && errno != EINTR)
            return err_from_errno(errno);
        at += n > 0 ? (size_t)n : 0;
    }
    return ERR_OK;
}

static enum step_next make_got(struct op *op)
{
    struct make *m = OP(op, struct make);

    if (m->piece_n == 0)
        return op_go(op, make_end);
    offload_run(m->engine->conf.io, &m->task, run_write, op_call(op, make_wrote));
    return STEP_WAIT;
}

static enum step_next make_wrote(struct op *op)
{
    struct make *m = OP(op, struct make);

    m->res->size += m->piece_n;
    return m->piece_n < PIECE ? op_go(op, make_end) : op_go(op, make_read);
}

static enum err run_close(struct offload_task *task)
{
    struct make *m = CONTAINER(task, struct make, task);

    return close(m->fd) == 0 ? ERR_OK : err_from_errno(errno);
}

static enum step_next make_end(struct op *op)
{
    struct make *m = OP(op, struct make);

    if (m->fd < 0)
        return op_go(op, make_closed);
    offload_run(m->engine->conf.io, &m->task, run_close, op_try(op, make_closed));
    return STEP_WAIT;
}

static enum step_next make_closed(struct op *op)
{
    struct make *m = OP(op, struct make);
    enum err e = op->err;

    if (m->fd >= 0 && op->call.err == ERR_BUSY)
        (void)close(m->fd);
    if (m->fd >= 0 && e == ERR_OK)
        e = op->call.err;
    if (m->instance)
        etls_drop(m->engine, m->instance);
    free(m->piece);
    call_finish(m->whole, e);
    free(m);
    return STEP_DONE;
}

static void on_cancel(void *arg)
{
    op_cancel(&((struct make *)arg)->op, ERR_CANCELLED);
}

void etl_file_make(struct etls *e, const struct etl_file_req *req, struct etl_file_res *res, struct call *call)
{
    struct make *m = NEW(struct make);

    *m = (struct make){.engine = e, .req = req, .res = res, .whole = call, .fd = -1};
    *res = (struct etl_file_res){.path = NULL};
    call_on_cancel(call, on_cancel, m);
    op_start(&m->op, call->loop, "etl_file", make_begin, make_end);
}
