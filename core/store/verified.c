#include "store/verified.h"

#include <stdlib.h>

#include "base/mem.h"
#include "store/digests.h"

enum { AT_ONCE = 64 << 10 }; /* bytes that may be hashed on the loop */

struct verified {
    struct source source;
    struct loop *loop;
    struct offload *cpu;
    struct source *inner;
    struct body_check *check;
    struct digests digests;
    uint64_t bytes;
    bool ended;
    enum err err;
    /* a read */
    void *buf;
    size_t *n;
    char beyond;
    size_t beyond_n;
    struct call *whole;
    struct call call;
    struct offload_task task;
};

static void finish(struct verified *v, enum err e)
{
    struct call *whole = v->whole;

    v->whole = NULL;
    if (e != ERR_OK) {
        v->err = e;
        *v->n = 0;
    }
    call_finish(whole, e);
}

static void check_all(struct verified *v)
{
    v->ended = true;
    digests_final(&v->digests);
    finish(v, digests_check(&v->digests, v->check));
}

static void on_end(struct call *call)
{
    struct verified *v = CONTAINER(call, struct verified, call);

    if (call->err != ERR_OK)
        finish(v, call->err);
    else if (v->beyond_n)
        finish(v, ERR_INTERNAL); /* longer than it says */
    else
        check_all(v);
}

/* Digests that follow the content are there when the end was read. */
static void hashed(struct verified *v)
{
    v->bytes += *v->n;
    if (v->bytes != v->source.size) {
        finish(v, ERR_OK);
        return;
    }
    call_begin(&v->call, v->loop, on_end);
    source_read(v->inner, &v->beyond, 1, &v->beyond_n, &v->call);
}

static enum err run_hash(struct offload_task *task)
{
    struct verified *v = CONTAINER(task, struct verified, task);

    digests_update(&v->digests, v->buf, *v->n);
    return ERR_OK;
}

static void on_hashed(struct call *call)
{
    struct verified *v = CONTAINER(call, struct verified, call);

    if (call->err != ERR_OK)
        finish(v, call->err);
    else
        hashed(v);
}

static void on_read(struct call *call)
{
    struct verified *v = CONTAINER(call, struct verified, call);

    if (call->err != ERR_OK) {
        finish(v, call->err);
    } else if (*v->n == 0) {
        check_all(v);
    } else if (*v->n <= AT_ONCE) {
        digests_update(&v->digests, v->buf, *v->n);
        hashed(v);
    } else {
        call_begin(&v->call, v->loop, on_hashed);
        offload_run(v->cpu, &v->task, run_hash, &v->call);
    }
}

static void on_cancel(void *arg)
{
    call_cancel(&((struct verified *)arg)->call);
}

static void verified_read(struct source *s, void *buf, size_t len, size_t *n, struct call *whole)
{
    struct verified *v = CONTAINER(s, struct verified, source);

    *n = 0;
    if (v->err != ERR_OK || v->ended) {
        call_finish(whole, v->err);
        return;
    }
    v->buf = buf;
    v->n = n;
    v->whole = whole;
    call_begin(&v->call, v->loop, on_read);
    call_on_cancel(whole, on_cancel, v);
    source_read(v->inner, buf, len, n, &v->call);
}

static void verified_close(struct source *s)
{
    struct verified *v = CONTAINER(s, struct verified, source);

    digests_drop(&v->digests);
    free(v);
}

struct source *source_verified(struct loop *loop, struct offload *cpu, struct source *inner, struct body_check *check)
{
    static const struct source_ops ops = {"verified", NULL, NULL, NULL, verified_read, verified_close};
    struct verified *v = NEW(struct verified);

    /* of one without any bytes the end must be read, too */
    v->source = (struct source){&ops, inner->size ? inner->size : SOURCE_SIZE_UNKNOWN};
    v->loop = loop;
    v->cpu = cpu;
    v->inner = inner;
    v->check = check;
    digests_init_declared(&v->digests, check);
    return &v->source;
}
