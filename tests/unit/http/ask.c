#include "ask.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "serve.h"

enum { READ_SIZE = 100000, WAIT_MAX_S = 20 };

struct loop *ask_loop;
struct offload *ask_io;

int ask_setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    log_setup(LOG_ERROR, false);
    ask_loop = loop_new();
    loop_adopt(ask_loop);
    ask_io = offload_new("io", 1, 16);
    return 0;
}

int ask_teardown(void **state)
{
    (void)state;
    offload_free(ask_io);
    ask_turn_ms(5);
    loop_free(ask_loop);
    return 0;
}

struct peer_pool *ask_pool(struct peer_conf conf)
{
    conf.loop = ask_loop;
    conf.io = ask_io;
    return peer_pool_new(&conf);
}

void ask_pool_end(struct peer_pool *p)
{
    peer_pool_free(p);
    for (int i = 0; i < 3; i++)
        loop_turn(ask_loop, 0);
}

/* ---- one request ---- */

static void asked(struct call *call)
{
    CONTAINER(call, struct ask, call)->done = true;
}

static void was_read(struct call *call)
{
    struct ask *a = CONTAINER(call, struct ask, read);

    a->read_done = true;
    if (call->err == ERR_OK)
        a->body_n += a->n;
}

void ask_begin(struct peer_pool *p, struct ask *a, const char *address, const char *method, const char *target)
{
    loop_turn(ask_loop, 0); /* its clock may have stood still while the test did something else */
    a->done = false;
    a->req.arena = &a->arena;
    a->req.address = str_z(address);
    a->req.method = str_z(method);
    a->req.target = str_z(target);
    call_begin(&a->call, ask_loop, asked);
    peer_send(p, &a->req, &a->res, &a->call);
}

void ask_until(const bool *done)
{
    uint64_t limit = loop_now_ns(ask_loop) + WAIT_MAX_S * UINT64_C(1000000000);

    while (!*done) {
        loop_turn(ask_loop, 100);
        if (loop_now_ns(ask_loop) > limit)
            abort();
    }
}

void ask_turn_ms(unsigned ms)
{
    uint64_t limit = loop_now_ns(ask_loop) + ms * UINT64_C(1000000);

    do
        loop_turn(ask_loop, 1);
    while (loop_now_ns(ask_loop) < limit);
}

enum err ask_wait(struct ask *a)
{
    ask_until(&a->done);
    return a->call.err;
}

void ask_read(struct ask *a)
{
    if (a->body_n + READ_SIZE > a->body_cap)
        a->body = mem_realloc(a->body, a->body_cap = a->body_cap * 2 + 2 * READ_SIZE);
    a->read_done = false;
    call_begin(&a->read, ask_loop, was_read);
    source_read(a->res.body, a->body + a->body_n, READ_SIZE, &a->n, &a->read);
}

enum err ask_body(struct ask *a)
{
    while (a->res.body) {
        ask_read(a);
        ask_until(&a->read_done);
        if (a->read.err != ERR_OK || a->n == 0)
            return a->read.err;
    }
    return ERR_OK;
}

enum err ask_get(struct peer_pool *p, struct ask *a, const char *address, const char *target)
{
    enum err e;

    ask_begin(p, a, address, "GET", target);
    e = ask_wait(a);
    return e == ERR_OK ? ask_body(a) : e;
}

void ask_end(struct ask *a)
{
    source_close(a->res.body);
    source_close(a->req.body);
    free(a->body);
    arena_release(&a->arena);
    *a = (struct ask){0};
}

/* ---- a body ---- */

static void gen_cancel(void *arg)
{
    struct gen *g = arg;
    struct call *call = g->hanging;

    g->hanging = NULL;
    g->cancelled = true;
    call_finish(call, ERR_CANCELLED);
}

static void gen_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct gen *g = CONTAINER(s, struct gen, source);
    uint64_t stop = g->end;

    g->reads++;
    if (stop > g->fail_at)
        stop = g->fail_at;
    if (stop > g->hang_at)
        stop = g->hang_at;
    size_t step = stop - g->at < len ? (size_t)(stop - g->at) : len;
    if (step == 0 && g->at == g->hang_at) {
        g->hanging = c;
        call_on_cancel(c, gen_cancel, g);
        return;
    }
    if (step > 70000)
        step = 70000;
    for (size_t i = 0; i < step; i++)
        ((char *)buf)[i] = serve_pattern(g->at + i);
    g->at += step;
    *n = step;
    call_finish(c, step == 0 && g->at == g->fail_at ? ERR_CORRUPT : ERR_OK);
}

static void gen_close(struct source *s)
{
    (void)s;
}

void gen_init(struct gen *g, uint64_t size, bool tell_size)
{
    static const struct source_ops ops = {.name = "gen", .read = gen_read, .close = gen_close};

    *g = (struct gen){.source = {&ops, tell_size ? size : SOURCE_SIZE_UNKNOWN}, .end = size};
    g->fail_at = g->hang_at = UINT64_MAX;
}

/* ---- descriptors ---- */

unsigned fd_count(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned n = 0;

    if (!dir)
        abort();
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

bool fd_count_becomes(unsigned n)
{
    for (int i = 0; i < 500; i++) {
        if (fd_count() == n)
            return true;
        ask_turn_ms(10);
    }
    return false;
}
