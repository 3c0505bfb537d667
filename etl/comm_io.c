#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "comm_own.h"

enum {
    LAST_LINE_MAX = 1024, /* of what a process wrote that goes into an error */
    OUT_MAX = 64 << 10,   /* bytes of a result that are held; the answer begins with that many, or all of it */
    IN_MAX = 64 << 10,    /* bytes of the object on their way to a process */
    WAITING_MAX = 4096,   /* objects that wait for a process */
    TAIL_MAX = 4 << 10,   /* bytes of a sidecar's log in an error */
    REAP_AGAIN_MS = 50,   /* when no thread is to be had for waiting for a process */
    WRITES_PER_TURN = 16, /* of IN_MAX */
};

/* Of a wire; outlives it by the runs whose last call has not come yet. */
struct etl_io {
    struct etl_wire *wire; /* NULL: closed */
    struct loop *loop;
    struct offload *pool;
    uint32_t running, waiting, refs;
    struct io_run *first, **last; /* who waits */
    struct io_run *runs;          /* with a process, or about to have one */
};

/* IO_EXEC and IO_REAP have a task on the pool. */
enum io_phase { IO_WAITING, IO_EXEC, IO_RUNNING, IO_REAP, IO_REAPED };

/* One object and its process. The process may outlive all interest in its result: then it is killed and waited for. */
struct io_run {
    struct etl_io *io;
    struct io_run *next;                /* of those that wait */
    struct io_run *run_next, *run_prev; /* of all others */
    enum io_phase phase;
    struct arena arena; /* what the task reads: the caller may be gone meanwhile */

    /* the task's while one is on the pool */
    struct offload_task task;
    struct call task_call;
    struct etl_wire *wire;
    struct str id;
    struct etl_env env[3];
    struct etl_instance *instance;
    uint64_t child;
    int fd_in, fd_out;
    bool refused; /* the task never runs: too many wait for a thread */
    bool kill;
    bool started; /* guarded by the wire's lock, as the next: there is a process */
    bool orphan;  /* the wire is being closed: who sees it last ends it, without the loop */
    int code;
    char why[ETL_WHY_MAX];
    struct buf log;
    struct timer again;

    /* to the process */
    struct io *in;       /* NULL: closed */
    struct source *body; /* NULL: nothing (more) to be read */
    char *in_buf;
    size_t in_at, in_n;
    bool pulling, preparing;
    struct call pull;

    /* from the process */
    struct io *out; /* NULL: it has ended */
    char *out_buf;
    size_t out_at, out_n;

    /* who wants the result */
    enum err failed;
    struct call *call; /* of etl_io_run() */
    struct etl_comm_res *res;
    struct arena *res_arena;
    struct source source;
    struct call *read; /* of the source */
    void *buf;
    size_t len, *n;
    bool gone; /* nobody */
};

static void settle(struct io_run *r);

/* ---- the end ---- */

static void begin_next(struct etl_io *io);

static void io_unref(struct etl_io *io)
{
    if (--io->refs == 0)
        free(io);
}

static void list_add(struct io_run *r)
{
    r->run_next = r->io->runs;
    r->run_prev = NULL;
    if (r->run_next)
        r->run_next->run_prev = r;
    r->io->runs = r;
}

static void list_drop(struct io_run *r)
{
    if (r->run_prev)
        r->run_prev->run_next = r->run_next;
    else
        r->io->runs = r->run_next;
    if (r->run_next)
        r->run_next->run_prev = r->run_prev;
}

static void run_free(struct io_run *r)
{
    struct etl_io *io = r->io;

    timer_cancel(io->loop, &r->again);
    free(r->in_buf);
    free(r->out_buf);
    buf_release(&r->log);
    arena_release(&r->arena);
    free(r);
    io_unref(io);
}

static void close_in(struct io_run *r)
{
    if (r->in)
        io_close(r->in);
    r->in = NULL;
}

static void close_out(struct io_run *r)
{
    if (r->out)
        io_close(r->out);
    r->out = NULL;
}

/* ---- the process ---- */

/* The log is that of all processes of the ETL: what is written last is most likely why this one has ended so. */
static void take_last_line(struct io_run *r, const struct etl_runtime_ops *ops)
{
    struct buf log = BUF_INIT(2 * ETL_LOG_MAX);

    ops->logs(r->instance, &log);
    struct str text = buf_str(&log);
    while (text.n && text.p[text.n - 1] == '\n')
        text.n--;
    size_t from = text.n;
    while (from > 0 && text.p[from - 1] != '\n' && text.n - from < LAST_LINE_MAX)
        from--;
    buf_add_str(&r->log, str_skip(text, from));
    buf_release(&log);
}

/* Lets the wire go: the last that is done with it. */
static void wait_for(struct io_run *r, bool kill)
{
    struct etl_wire *w = r->wire;
    const struct etl_runtime_ops *ops = r->instance->runtime->ops;

    r->code = ops->exec_wait(r->instance, r->child, kill, r->why);
    if (r->code != 0 && !kill)
        take_last_line(r, ops);
    w->conf.drop(w->conf.arg, r->instance);
    etl_wire_let(w);
}

static void end_orphan(struct io_run *r)
{
    wait_for(r, true);
    close(r->fd_in);
    close(r->fd_out);
}

static enum err start(struct io_run *r)
{
    struct etl_wire *w = r->wire;

    r->instance = w->conf.find(w->conf.arg, r->id);
    if (!r->instance)
        return ERR_UNAVAILABLE;
    const struct etl_runtime_ops *ops = r->instance->runtime->ops;
    enum err e = ERR_NOT_IMPLEMENTED;
    if (ops->exec)
        e = ops->exec(r->instance, r->env, sizeof(r->env) / sizeof(r->env[0]), &r->fd_in, &r->fd_out, &r->child);
    if (e != ERR_OK)
        w->conf.drop(w->conf.arg, r->instance);
    return e;
}

static enum err exec_task(struct offload_task *task)
{
    struct io_run *r = CONTAINER(task, struct io_run, task);
    struct etl_wire *w = r->wire;
    enum err e = start(r);

    if (e != ERR_OK) {
        etl_wire_let(w);
        return e;
    }
    pthread_mutex_lock(&w->held.lock);
    bool orphan = r->orphan;
    r->started = true;
    pthread_mutex_unlock(&w->held.lock);
    if (orphan)
        end_orphan(r);
    return ERR_OK;
}

static enum err reap_task(struct offload_task *task)
{
    struct io_run *r = CONTAINER(task, struct io_run, task);

    wait_for(r, r->kill);
    return ERR_OK;
}

static void task_begin(struct io_run *r, enum err (*run)(struct offload_task *), void (*done)(struct call *))
{
    call_begin(&r->task_call, r->io->loop, done);
    offload_run(r->io->pool, &r->task, run, &r->task_call);
    r->refused = r->task_call.state == CALL_FINISHED; /* from the task's own thread it can't have come yet */
}

static void on_reaped(struct call *call);

static void reap(struct io_run *r, bool kill)
{
    r->phase = IO_REAP;
    r->kill = kill;
    task_begin(r, reap_task, on_reaped);
}

static void on_reap_again(struct timer *t)
{
    struct io_run *r = CONTAINER(t, struct io_run, again);

    reap(r, r->kill || r->gone || r->failed != ERR_OK);
}

/* There is no process any more. */
static void ended(struct io_run *r, enum err e)
{
    struct etl_io *io = r->io;

    r->phase = IO_REAPED;
    if (r->failed == ERR_OK)
        r->failed = e;
    list_drop(r);
    close_in(r);
    close_out(r);
    io->running--;
    io->refs++;
    settle(r); /* and it may be gone */
    begin_next(io);
    io_unref(io);
}

static void on_reaped(struct call *call)
{
    struct io_run *r = CONTAINER(call, struct io_run, task_call);

    if (r->refused && !r->orphan) { /* but what runs must be waited for */
        r->again.fn = on_reap_again;
        timer_set(r->io->loop, &r->again, REAP_AGAIN_MS);
        return;
    }
    ended(r, ERR_OK);
}

static void on_exec(struct call *call)
{
    struct io_run *r = CONTAINER(call, struct io_run, task_call);

    if (call->err != ERR_OK || r->orphan) {
        ended(r, call->err);
        return;
    }
    r->phase = IO_RUNNING;
    r->in = io_open(r->io->loop, r->fd_in, r);
    r->out = io_open(r->io->loop, r->fd_out, r);
    settle(r);
}

static void exec(struct io_run *r)
{
    r->phase = IO_EXEC;
    r->io->running++;
    list_add(r);
    etl_wire_hold(r->wire);
    task_begin(r, exec_task, on_exec);
    if (r->refused)
        etl_wire_let(r->wire);
}

/* The wire goes: nobody wants this one, but its process is there or about to be. */
static void orphan(struct io_run *r)
{
    pthread_mutex_lock(&r->wire->held.lock);
    bool started = r->started;
    r->orphan = true;
    pthread_mutex_unlock(&r->wire->held.lock);
    if (r->phase == IO_EXEC && started) {
        end_orphan(r); /* on_exec() is still to come */
    } else if (r->phase == IO_REAP && r->refused) {
        wait_for(r, true);
        if (timer_is_set(&r->again))
            ended(r, ERR_OK);
    }
}

static void begin_next(struct etl_io *io)
{
    while (io->wire && io->first && io->running < io->wire->conf.connections_max) {
        struct io_run *r = io->first;
        io->first = r->next;
        if (!io->first)
            io->last = &io->first;
        io->waiting--;
        exec(r);
    }
}

static void stop_waiting(struct io_run *r)
{
    struct io_run **at = &r->io->first;

    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    if (!r->next)
        r->io->last = at;
    r->io->waiting--;
    r->phase = IO_REAPED;
}

/* ---- the object, to the process ---- */

/* It reads no more: what a command does not want it need not be given. */
static void end_in(struct io_run *r)
{
    r->body = NULL;
    close_in(r);
}

/* False: wait. */
static bool write_in(struct io_run *r, const char *p, size_t len, size_t *n)
{
    ssize_t w;

    do
        w = write(io_fd(r->in), p, len);
    while (w < 0 && errno == EINTR);
    *n = w > 0 ? (size_t)w : 0;
    if (w < 0 && errno != EAGAIN)
        end_in(r);
    return w > 0;
}

static void on_writable(struct io *io, void *owner)
{
    (void)io;
    settle(owner);
}

static void on_pulled(struct call *call)
{
    struct io_run *r = CONTAINER(call, struct io_run, pull);

    r->pulling = false;
    if (call->err != ERR_OK && r->failed == ERR_OK && r->body)
        r->failed = call->err;
    if (call->err == ERR_OK && r->in_n == 0 && !r->preparing)
        end_in(r);
    settle(r);
}

static void pull(struct io_run *r, bool prepare)
{
    r->pulling = true;
    r->preparing = prepare;
    r->in_at = r->in_n = 0;
    call_begin(&r->pull, r->io->loop, on_pulled);
    if (prepare) {
        source_prepare(r->body, &r->pull);
        return;
    }
    if (!r->in_buf)
        r->in_buf = mem_alloc(IN_MAX);
    source_read(r->body, r->in_buf, IN_MAX, &r->in_n, &r->pull);
}

/* One step of it; false: wait. */
static bool pump_step(struct io_run *r)
{
    struct span span;
    size_t n;

    if (r->in_at < r->in_n) {
        bool more = write_in(r, r->in_buf + r->in_at, r->in_n - r->in_at, &n);
        r->in_at += n;
        return more;
    }
    source_peek(r->body, &span);
    switch (span.kind) {
    case SPAN_END:
        end_in(r);
        return false;
    case SPAN_MEMORY:
        if (!write_in(r, span.p, span.len < IN_MAX ? (size_t)span.len : IN_MAX, &n))
            return false;
        source_consume(r->body, n);
        return true;
    case SPAN_WAIT:
    case SPAN_FILE:
    case SPAN_SOCKET:
    case SPAN_READ:
        pull(r, span.kind == SPAN_WAIT);
        return false;
    }
    return false;
}

static void pump_in(struct io_run *r)
{
    if (!r->in)
        return;
    if (!r->body) {
        end_in(r);
        return;
    }
    if (r->call)
        r->res->body_taken = true;
    for (unsigned i = 0; i < WRITES_PER_TURN && pump_step(r); i++)
        ;
    if (r->in && !r->pulling)
        io_want_write(r->in, on_writable);
}

/* ---- the result ---- */

/* Whoever waits: only then is the object's source touched (comm_own.h), and only then do bytes move that were shown. */
static bool is_awaited(const struct io_run *r)
{
    return r->call || r->read;
}

static void read_out(struct io_run *r)
{
    ssize_t n;

    if (!r->out_buf)
        r->out_buf = mem_alloc(OUT_MAX);
    if (r->out_at)
        memmove(r->out_buf, r->out_buf + r->out_at, r->out_n - r->out_at);
    r->out_n -= r->out_at;
    r->out_at = 0;
    if (r->out_n == OUT_MAX)
        return;
    do
        n = read(io_fd(r->out), r->out_buf + r->out_n, OUT_MAX - r->out_n);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        r->out_n += (size_t)n;
    else if (n == 0 || errno != EAGAIN)
        close_out(r);
}

static void on_readable(struct io *io, void *owner)
{
    struct io_run *r = owner;

    if (!is_awaited(r)) {
        io_stop_read(io);
        return;
    }
    read_out(r);
    settle(r);
}

static bool is_whole(const struct io_run *r)
{
    return r->phase == IO_REAPED && r->failed == ERR_OK;
}

/* The last byte is only given when the process has ended well. */
static size_t available(const struct io_run *r)
{
    size_t n = r->out_n - r->out_at;

    if (r->failed != ERR_OK)
        return 0;
    return is_whole(r) || n == 0 ? n : n - 1;
}

static void cancelled(void *arg)
{
    struct io_run *r = arg;

    if (r->failed == ERR_OK)
        r->failed = ERR_CANCELLED;
    settle(r);
}

static void out_peek(struct source *s, struct span *out)
{
    struct io_run *r = CONTAINER(s, struct io_run, source);
    size_t n = available(r);

    *out = (struct span){.kind = n ? SPAN_MEMORY : is_whole(r) ? SPAN_END : SPAN_READ};
    if (n)
        out->p = r->out_buf + r->out_at;
    out->len = n;
}

static void out_consume(struct source *s, uint64_t n)
{
    CONTAINER(s, struct io_run, source)->out_at += (size_t)n;
}

/* What there is to see is always there. */
static void out_prepare(struct source *s, struct call *call)
{
    (void)s;
    call_finish(call, ERR_OK);
}

static void out_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct io_run *r = CONTAINER(s, struct io_run, source);

    *n = 0;
    r->read = call;
    r->buf = buf;
    r->len = len;
    r->n = n;
    call_on_cancel(call, cancelled, r);
    settle(r);
}

static void out_close(struct source *s)
{
    struct io_run *r = CONTAINER(s, struct io_run, source);

    assert(!r->pulling && !r->read);
    r->gone = true;
    r->body = NULL;
    settle(r);
}

/* ---- what next ---- */

static void give(struct io_run *r)
{
    struct call *call = r->read;
    size_t n = available(r);

    if (n == 0 && r->failed == ERR_OK && !is_whole(r))
        return;
    n = n < r->len ? n : r->len;
    if (n)
        memcpy(r->buf, r->out_buf + r->out_at, n);
    r->out_at += n;
    *r->n = n;
    r->read = NULL;
    call_finish(call, r->failed);
}

static struct str failure_text(struct io_run *r)
{
    struct str log = buf_str(&r->log);

    if (log.n > TAIL_MAX)
        log = str_skip(log, log.n - TAIL_MAX);
    return arena_printf(r->res_arena, "%s%s" STR_FMT, r->why, log.n ? "\n" : "", STR_ARG(log));
}

/* The answer begins, or there is none: then nobody wants the rest. */
static void answer(struct io_run *r)
{
    static const struct source_ops ops = {"etl-io", out_peek, out_consume, out_prepare, out_read, out_close};
    struct call *call = r->call;
    enum err e = r->failed;

    if (e == ERR_OK && !is_whole(r) && r->out_n < OUT_MAX)
        return;
    if (e == ERR_ETL) {
        r->res->status = 500;
        r->res->text = failure_text(r);
    } else if (e == ERR_OK) {
        r->source = (struct source){&ops, is_whole(r) ? r->out_n : SOURCE_SIZE_UNKNOWN};
        r->res->body = &r->source;
    }
    r->call = NULL;
    r->res = NULL;
    if (e != ERR_OK) {
        r->gone = true;
        r->body = NULL;
    }
    call_finish(call, e);
}

/* Whether the process is to be waited for, or killed. */
static void settle_process(struct io_run *r)
{
    bool unwanted = r->gone || r->failed != ERR_OK;

    if (r->phase == IO_WAITING && unwanted)
        stop_waiting(r);
    if (r->phase == IO_RUNNING && (unwanted || !r->out)) {
        if (!unwanted)
            end_in(r); /* it has said all that it will */
        reap(r, unwanted);
    }
    if (r->phase == IO_REAPED && r->code != 0 && r->failed == ERR_OK)
        r->failed = ERR_ETL;
}

/* After every event: what can be told is told, what can go on goes on. May free the run. */
static void settle(struct io_run *r)
{
    settle_process(r);
    if (r->pulling) {
        if (r->failed != ERR_OK || !r->in)
            call_cancel(&r->pull);
        return; /* whoever waits closes the object's source next: it must be left alone before */
    }
    if (r->read)
        give(r);
    if (r->call)
        answer(r);
    if (r->gone && r->phase == IO_REAPED) {
        run_free(r);
        return;
    }
    if (r->gone)
        settle_process(r);
    if (r->phase != IO_RUNNING || r->failed != ERR_OK || !is_awaited(r))
        return;
    pump_in(r);
    if (r->out)
        io_want_read(r->out, on_readable);
}

/* ---- the public side ---- */

static bool has_nul(struct str s)
{
    return str_find_char(s, 0) != SIZE_MAX;
}

/* What this communicator can't do, by name; NULL: nothing. */
static enum err refusal(const struct etl_comm_req *req, struct etl_comm_res *res)
{
    if (req->worker) {
        res->text = STR("runtime.worker: processes that take many objects are not implemented");
        return ERR_NOT_IMPLEMENTED;
    }
    if (req->fqn.n || has_nul(req->args) || has_nul(req->bucket) || has_nul(req->key))
        return ERR_INVALID_ARGUMENT;
    return ERR_OK;
}

static struct etl_io *io_get(struct etl_wire *w)
{
    if (w->io)
        return w->io;
    w->io = NEW(struct etl_io);
    w->io->wire = w;
    w->io->loop = w->loop;
    w->io->pool = w->conf.io;
    w->io->last = &w->io->first;
    w->io->refs = 1;
    return w->io;
}

static struct io_run *run_new(struct etl_wire *w, const struct etl_comm_req *req, struct etl_comm_res *res,
                              struct call *call)
{
    struct io_run *r = NEW(struct io_run);

    r->io = io_get(w);
    r->io->refs++;
    r->wire = w;
    r->id = arena_str(&r->arena, req->id);
    r->env[0] = (struct etl_env){STR("ETL_ARGS"), arena_str(&r->arena, req->args)};
    r->env[1] = (struct etl_env){STR("ETL_BUCKET"), arena_str(&r->arena, req->bucket)};
    r->env[2] = (struct etl_env){STR("ETL_OBJECT"), arena_str(&r->arena, req->key)};
    buf_init(&r->log, ETL_LOG_MAX);
    r->body = req->body;
    r->call = call;
    r->res = res;
    r->res_arena = req->arena;
    return r;
}

void etl_io_run(struct etl_wire *w, const struct etl_comm_req *req, struct etl_comm_res *res, struct call *call)
{
    enum err e = refusal(req, res);

    if (e == ERR_OK && io_get(w)->waiting >= WAITING_MAX)
        e = ERR_BUSY;
    if (e != ERR_OK) {
        call_finish(call, e);
        return;
    }
    struct io_run *r = run_new(w, req, res, call);
    *r->io->last = r;
    r->io->last = &r->next;
    r->io->waiting++;
    begin_next(r->io);
    call_on_cancel(call, cancelled, r);
}

bool etl_io_is_busy(const struct etl_wire *w)
{
    for (const struct io_run *r = w->io ? w->io->runs : NULL; r; r = r->run_next)
        if (r->phase == IO_EXEC || r->phase == IO_REAP)
            return true;
    return false;
}

void etl_io_close(struct etl_wire *w)
{
    struct etl_io *io = w->io;

    if (!io)
        return;
    w->io = NULL;
    io->wire = NULL;
    for (struct io_run *r = io->runs, *next; r; r = next) {
        next = r->run_next;
        orphan(r);
    }
    io_unref(io);
}
