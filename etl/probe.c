#include "probe.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/mem.h"

enum { REQUEST_MAX = 8192 };

static void end(struct etl_probe *p, enum err e)
{
    struct call *call = p->call;

    if (!call)
        return;
    p->call = NULL;
    timer_cancel(call->loop, &p->timer);
    io_close(p->io);
    buf_release(&p->out);
    call_finish(call, e);
}

static void on_time(struct timer *t)
{
    end(CONTAINER(t, struct etl_probe, timer), ERR_TIMEOUT);
}

static void on_cancel(void *arg)
{
    end(arg, ERR_CANCELLED);
}

/* "HTTP/1.1 200 OK" */
static bool read_status(struct str line, int *status)
{
    uint64_t n;

    if (!str_starts(line, STR("HTTP/1.")) || line.n < 12 || line.p[8] != ' ' ||
        !str_to_u64(str_n(line.p + 9, 3), 999, &n))
        return false;
    *status = (int)n;
    return true;
}

static void on_readable(struct io *io, void *owner)
{
    struct etl_probe *p = owner;
    ssize_t n = recv(io_fd(io), p->line + p->line_n, sizeof(p->line) - p->line_n, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        p->line_n += (size_t)n;
    struct str line = str_n(p->line, p->line_n);
    size_t at = str_find_char(line, '\n');
    if (at != SIZE_MAX)
        end(p, read_status(str_n(line.p, at), p->status) ? ERR_OK : ERR_UNAVAILABLE);
    else if (n <= 0 || p->line_n == sizeof(p->line))
        end(p, ERR_UNAVAILABLE);
}

static void on_writable(struct io *io, void *owner)
{
    struct etl_probe *p = owner;
    ssize_t n = send(io_fd(io), p->out.p, p->out.n, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        end(p, ERR_UNAVAILABLE);
        return;
    }
    if (n > 0)
        buf_consume(&p->out, (size_t)n);
    if (p->out.n)
        io_want_write(io, on_writable);
    else
        io_want_read(io, on_readable);
}

void etl_probe(struct etl_probe *p, int fd, struct str path, int *status, struct call *call)
{
    *p = (struct etl_probe){.status = status, .call = call, .timer.fn = on_time};
    p->io = io_open(call->loop, fd, p);
    buf_init(&p->out, REQUEST_MAX);
    buf_addf(&p->out, "GET " STR_FMT " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nUser-Agent: sluice\r\n\r\n",
             STR_ARG(path));
    timer_set(call->loop, &p->timer, PROBE_TIMEOUT_MS);
    if (buf_err(&p->out) != ERR_OK) {
        end(p, ERR_UNAVAILABLE);
        return;
    }
    io_want_write(p->io, on_writable);
    call_on_cancel(call, on_cancel, p);
}
