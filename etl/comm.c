#include "comm_own.h"

#include <stdlib.h>

/* A peer's address has a port. Which one it is only the runtime knows. */
#define ADDRESS_END STR(":80")

enum {
    CONNECT_MS = 5000,
    IDLE_MS = 4000, /* less than the 5 s after which uvicorn, which most sidecars run on, closes a connection */
};

/* ---- dialling ---- */

void etl_wire_hold(struct etl_wire *w)
{
    pthread_mutex_lock(&w->held.lock);
    w->held.users++;
    pthread_mutex_unlock(&w->held.lock);
}

void etl_wire_let(struct etl_wire *w)
{
    pthread_mutex_lock(&w->held.lock);
    if (--w->held.users == 0)
        pthread_cond_signal(&w->held.none);
    pthread_mutex_unlock(&w->held.lock);
}

static enum err dial_instance(struct etl_wire *w, struct str id, int *fd, enum err none)
{
    struct etl_instance *i = w->conf.find(w->conf.arg, id);

    if (!i)
        return none;
    enum err e = i->runtime->ops->dial(i, fd);
    w->conf.drop(w->conf.arg, i);
    return e;
}

enum err etl_wire_dial(struct etl_wire *w, struct str id, int *fd)
{
    return dial_instance(w, id, fd, ERR_UNAVAILABLE);
}

struct str etl_wire_address(struct arena *arena, struct str id)
{
    return arena_printf(arena, STR_FMT STR_FMT, STR_ARG(id), STR_ARG(ADDRESS_END));
}

/* ERR_NO_SUCH_ETL: it is gone, so that trying again is of no use. */
static enum err dial_address(void *arg, struct str address, int *fd)
{
    return dial_instance(arg, str_n(address.p, address.n - ADDRESS_END.n), fd, ERR_NO_SUCH_ETL);
}

/* ---- the wire ---- */

struct etl_wire *etl_wire_new(const struct etl_wire_conf *conf)
{
    struct etl_wire *w = NEW(struct etl_wire);

    w->conf = *conf;
    w->loop = conf->loop;
    if (!w->conf.connections_max)
        w->conf.connections_max = ETL_CONNECTIONS_MAX;
    pthread_mutex_init(&w->held.lock, NULL);
    pthread_cond_init(&w->held.none, NULL);
    /* a sidecar may think as long as its spec allows: the limit is a transform's, not a connection's */
    w->peers = peer_pool_new(&(struct peer_conf){.loop = conf->loop,
                                                 .io = conf->io,
                                                 .connect_timeout_ms = CONNECT_MS,
                                                 .progress_timeout_ms = 2 * ETL_TIMEOUT_MAX_MS,
                                                 .connections_max = w->conf.connections_max,
                                                 .idle_timeout_ms = IDLE_MS,
                                                 .dial = dial_address,
                                                 .dial_arg = w});
    return w;
}

bool etl_wire_is_busy(const struct etl_wire *w)
{
    return etl_io_is_busy(w);
}

void etl_wire_free(struct etl_wire *w)
{
    etl_ws_close(w);
    etl_io_close(w);
    peer_pool_free(w->peers);
    pthread_mutex_lock(&w->held.lock);
    while (w->held.users)
        pthread_cond_wait(&w->held.none, &w->held.lock);
    pthread_mutex_unlock(&w->held.lock);
    pthread_cond_destroy(&w->held.none);
    pthread_mutex_destroy(&w->held.lock);
    free(w);
}

void etl_wire_forget(struct etl_wire *w, struct str id)
{
    struct arena arena = ARENA_INIT;

    peer_pool_forget(w->peers, etl_wire_address(&arena, id));
    etl_ws_forget(w, id);
    arena_release(&arena);
}

/* ---- time ---- */

/* An object's way through a sidecar, from the call to the result's last byte; first a call, then a source around the communicator's. */
struct limited {
    struct source source;
    struct loop *loop;
    struct timer timer;
    bool over;          /* the time is */
    struct call *whole; /* who waits: for the answer, or for bytes of it; NULL: nobody */
    struct call call;   /* the communicator's, or that of a read of its source */
    struct etl_comm_res *res;
    struct source *inner;
    size_t *n;
};

static void on_time(struct timer *t)
{
    struct limited *l = CONTAINER(t, struct limited, timer);
    struct span span = {.kind = SPAN_READ};

    if (!l->whole)
        source_peek(l->inner, &span);
    if (span.kind == SPAN_END)
        return;
    l->over = true;
    /* else the next read tells: until then the spans that were shown must hold */
    if (l->whole)
        call_cancel(&l->call);
}

static void limited_cancel(void *arg)
{
    call_cancel(&((struct limited *)arg)->call);
}

static void limited_peek(struct source *s, struct span *out)
{
    struct limited *l = CONTAINER(s, struct limited, source);

    if (l->over)
        *out = (struct span){.kind = SPAN_READ};
    else
        source_peek(l->inner, out);
}

static void limited_consume(struct source *s, uint64_t n)
{
    source_consume(CONTAINER(s, struct limited, source)->inner, n);
}

static void limited_done(struct call *call)
{
    struct limited *l = CONTAINER(call, struct limited, call);
    struct call *whole = l->whole;

    l->whole = NULL;
    if (l->over && l->n)
        *l->n = 0;
    if (call->err == ERR_OK && l->n && *l->n == 0)
        timer_cancel(l->loop, &l->timer);
    call_finish(whole, l->over ? ERR_TIMEOUT : call->err);
}

/* False: it is too late. */
static bool limited_begin(struct limited *l, size_t *n, struct call *call)
{
    if (l->over) {
        call_finish(call, ERR_TIMEOUT);
        return false;
    }
    l->whole = call;
    l->n = n;
    call_begin(&l->call, l->loop, limited_done);
    call_on_cancel(call, limited_cancel, l);
    return true;
}

static void limited_prepare(struct source *s, struct call *call)
{
    struct limited *l = CONTAINER(s, struct limited, source);

    if (limited_begin(l, NULL, call))
        source_prepare(l->inner, &l->call);
}

static void limited_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct limited *l = CONTAINER(s, struct limited, source);

    *n = 0;
    if (limited_begin(l, n, call))
        source_read(l->inner, buf, len, n, &l->call);
}

static void limited_close(struct source *s)
{
    struct limited *l = CONTAINER(s, struct limited, source);

    timer_cancel(l->loop, &l->timer);
    source_close(l->inner);
    free(l);
}

/* ---- one object ---- */

/* The communicator has its answer. */
static void on_ran(struct call *call)
{
    static const struct source_ops ops = {"etl",           limited_peek, limited_consume,
                                          limited_prepare, limited_read, limited_close};
    struct limited *l = CONTAINER(call, struct limited, call);
    struct call *whole = l->whole;
    struct etl_comm_res *res = l->res;
    enum err e = call->err;

    if (l->over)
        e = ERR_TIMEOUT;
    else if (e == ERR_OK && whole->cancelled)
        e = ERR_CANCELLED;
    l->whole = NULL;
    if (e == ERR_OK && res->body) {
        l->inner = res->body;
        l->source = (struct source){&ops, l->inner->size};
        res->body = &l->source;
    } else {
        source_close(res->body);
        res->body = NULL;
        timer_cancel(l->loop, &l->timer);
        free(l);
    }
    call_finish(whole, e);
}

static void run(struct etl_wire *w, const struct etl_comm_req *req, struct etl_comm_res *res, struct call *call)
{
    switch (req->comm) {
    case ETL_HPUSH:
    case ETL_HPULL:
    case ETL_HREV:
        etl_http_run(w, req, res, call);
        return;
    case ETL_WS:
        etl_ws_run(w, req, res, call);
        return;
    case ETL_IO:
        etl_io_run(w, req, res, call);
        return;
    }
    call_finish(call, ERR_INVALID_ARGUMENT);
}

void etl_comm_run(struct etl_wire *w, const struct etl_comm_req *req, struct etl_comm_res *res, struct call *call)
{
    struct limited *l = NEW(struct limited);

    *res = (struct etl_comm_res){0};
    l->loop = w->loop;
    l->res = res;
    l->whole = call;
    l->timer.fn = on_time;
    timer_set(w->loop, &l->timer, req->timeout_ms ? req->timeout_ms : ETL_OBJECT_TIMEOUT_MS);
    call_begin(&l->call, w->loop, on_ran);
    call_on_cancel(call, limited_cancel, l);
    run(w, req, res, &l->call);
}
