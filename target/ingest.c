#include "target/ingest.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "target/ingest_buf.h"

enum {
    RING = 12, /* pieces between the reader and the slowest lane */
    LANES_MAX = 3,
    LANE_TURN = 4,               /* pieces a lane takes before it lets other tasks have the thread */
    FIRST_READ = 64 << 10,       /* the first buffer of a body of unknown size */
    HASH_ON_LOOP_MAX = 64 << 10, /* more is too long for a loop */
    ONE_LANE_MAX = 128 << 10,    /* a body this small is not worth a second thread */
};

/* A filled buffer on its way through the lanes. */
struct piece {
    char *p;
    size_t n;
};

/* A serial consumer of all pieces, in order, on a pool. */
struct lane {
    struct offload_task task;
    struct call call;
    struct ingest_pipe *pipe;
    struct offload *pool;
    bool running; /* the loop's */
    bool writes;
    _Atomic uint64_t next; /* pieces it is past: written by the lane, read by the loop */
    struct hash hashes[HASH_COUNT];
    unsigned hash_count;
};

/* Shared between the loop and the lanes: the loop fills ring[filled % RING] and then raises `filled`; a lane takes
 * pieces below `filled` and then raises its `next`; a slot is the loop's again once every lane's `next` is past it. */
struct ingest_pipe {
    struct ingest *in;
    struct loop *loop;
    struct call *whole;
    struct piece ring[RING];
    _Atomic uint64_t filled;
    atomic_bool stop;     /* lanes: the upload has failed */
    atomic_bool noted;    /* `progress` is queued */
    struct post progress; /* from a lane: its `next` has changed */
    struct lane lanes[LANES_MAX];
    unsigned lane_count;
    /* the loop's alone */
    uint64_t freed; /* pieces that all lanes are past */
    struct source_fill fill;
    struct call read_call;
    bool reading;
    bool ended; /* the body */
    char *buf;  /* being filled */
    size_t cap, got;
    char *first;   /* the first buffer when it is no INGEST_BUF of the pool */
    char *spare;   /* an own buffer without a piece */
    unsigned algs; /* set of 1u << enum hash_alg to compute */
    struct digest digests[HASH_COUNT];
    enum err err;
    bool ending; /* the last task runs, or the call is finished */
};

#define HASHES_HEAVY (1u << HASH_SHA1 | 1u << HASH_SHA256 | 1u << HASH_SHA512)

static void pump(struct ingest_pipe *p);

static void fail(struct ingest_pipe *p, enum err e)
{
    if (p->err == ERR_OK)
        p->err = e;
    atomic_store_explicit(&p->stop, true, memory_order_relaxed);
    if (p->reading)
        call_cancel(&p->read_call);
}

/* ---- the lanes, on pool threads ---- */

static enum err lane_take(struct lane *l, const struct piece *piece)
{
    struct ingest *in = l->pipe->in;
    enum err e = ERR_OK;

    if (l->writes) {
        if (in->staged.fd < 0)
            e = (in->encrypt ? segment_stage_encrypted : segment_stage)(
                in->dir, in->body->size == SOURCE_SIZE_UNKNOWN ? 0 : in->body->size, &in->staged);
        if (e == ERR_OK)
            e = segment_write_hashed(&in->staged, piece->p, piece->n, l->hashes, l->hash_count);
        return e;
    }
    for (unsigned i = 0; i < l->hash_count; i++)
        hash_update(&l->hashes[i], piece->p, piece->n);
    return ERR_OK;
}

/* The lane does not need the pieces below `next` any more. */
static void lane_past(struct lane *l, uint64_t next)
{
    struct ingest_pipe *p = l->pipe;

    if (next == atomic_load_explicit(&l->next, memory_order_relaxed))
        return;
    atomic_store_explicit(&l->next, next, memory_order_release);
    /* queued before this task's call, hence handled before the pipe can end */
    if (!atomic_exchange(&p->noted, true))
        loop_post(p->loop, &p->progress);
}

static enum err lane_run(struct offload_task *t)
{
    struct lane *l = CONTAINER(t, struct lane, task);
    struct ingest_pipe *p = l->pipe;
    uint64_t at = atomic_load_explicit(&l->next, memory_order_relaxed);
    unsigned under_way = 0;
    enum err e = ERR_OK, settled;

    for (int i = 0; !atomic_load_explicit(&p->stop, memory_order_relaxed); i++) {
        if (at == atomic_load_explicit(&p->filled, memory_order_acquire) ||
            (i >= LANE_TURN && offload_crowded(l->pool)))
            break; /* the loop starts this lane again */
        if ((e = lane_take(l, &p->ring[at % RING])) != ERR_OK)
            break;
        at++;
        if (l->writes && (e = segment_settle(&p->in->staged, &under_way, DIRECT_DEPTH - 1)) != ERR_OK)
            break;
        lane_past(l, at - under_way);
    }
    if (l->writes) {
        settled = segment_settle(&p->in->staged, &under_way, 0);
        e = e == ERR_OK ? settled : e;
        lane_past(l, at);
    }
    return e;
}

/* ---- the loop's side ---- */

static void lane_done(struct call *c)
{
    struct lane *l = CONTAINER(c, struct lane, call);

    l->running = false;
    if (c->err != ERR_OK)
        fail(l->pipe, c->err);
    pump(l->pipe);
}

static void on_progress(struct post *post)
{
    struct ingest_pipe *p = CONTAINER(post, struct ingest_pipe, progress);

    atomic_store(&p->noted, false);
    pump(p);
}

static void lanes_kick(struct ingest_pipe *p)
{
    uint64_t filled = atomic_load_explicit(&p->filled, memory_order_relaxed);

    for (unsigned i = 0; i < p->lane_count && p->err == ERR_OK; i++) {
        struct lane *l = &p->lanes[i];
        if (l->running || atomic_load_explicit(&l->next, memory_order_relaxed) == filled)
            continue;
        l->running = true;
        call_begin(&l->call, p->loop, lane_done);
        offload_run(l->pool, &l->task, lane_run, &l->call);
    }
}

static void lane_add(struct ingest_pipe *p, struct offload *pool, bool writes, unsigned algs)
{
    struct lane *l = &p->lanes[p->lane_count++];

    l->pipe = p;
    l->pool = pool;
    l->writes = writes;
    for (unsigned alg = HASH_NONE + 1; alg < HASH_COUNT; alg++)
        if (algs & 1u << alg)
            hash_init(&l->hashes[l->hash_count++], (enum hash_alg)alg);
}

/* MD5 is the slowest and gets a thread of its own; CRCs and xxHashes run at memory speed beside the writing. */
static void lanes_make(struct ingest_pipe *p)
{
    struct ingest *in = p->in;
    unsigned md5 = p->algs & 1u << HASH_MD5, heavy = p->algs & HASHES_HEAVY;

    if (p->ended && in->size <= ONE_LANE_MAX) {
        lane_add(p, in->io, true, p->algs);
        return;
    }
    lane_add(p, in->io, true, p->algs & ~(md5 | heavy));
    lane_add(p, in->cpu, false, md5);
    if (heavy)
        lane_add(p, in->cpu, false, heavy);
}

static void buffer_free(struct ingest_pipe *p, char *buf)
{
    if (buf == p->first) {
        free(buf);
        p->first = NULL;
    } else if (p->spare) {
        ingest_buf_put(buf); /* a slow client must not sit on them */
    } else {
        p->spare = buf;
    }
}

/* Takes back the buffers that all lanes are past. */
static void pieces_free(struct ingest_pipe *p)
{
    uint64_t past = atomic_load_explicit(&p->filled, memory_order_relaxed);

    for (unsigned i = 0; i < p->lane_count; i++) {
        uint64_t next = atomic_load_explicit(&p->lanes[i].next, memory_order_acquire);
        past = next < past ? next : past;
    }
    for (; p->lane_count && p->freed < past; p->freed++) {
        struct piece *piece = &p->ring[p->freed % RING];
        buffer_free(p, piece->p);
        *piece = (struct piece){NULL, 0};
    }
}

/* A buffer for the next read into buf and cap; false: none now, a piece in flight will bring one. */
static bool buffer_ready(struct ingest_pipe *p)
{
    uint64_t filled = atomic_load_explicit(&p->filled, memory_order_relaxed);

    if (p->buf)
        return true;
    if (filled - p->freed == RING)
        return false;
    p->cap = INGEST_BUF;
    p->buf = p->spare ? p->spare : ingest_buf_get(filled == p->freed);
    p->spare = NULL;
    return p->buf != NULL;
}

static void inline_end(struct ingest_pipe *p);

static void read_done(struct call *c)
{
    struct ingest_pipe *p = CONTAINER(c, struct ingest_pipe, read_call);
    struct ingest *in = p->in;
    uint64_t filled = atomic_load_explicit(&p->filled, memory_order_relaxed);

    p->reading = false;
    if (c->err != ERR_OK) {
        fail(p, c->err);
    } else if (p->err == ERR_OK) {
        p->ended = p->got < p->cap;
        if (p->got > in->size_max - in->size) {
            fail(p, ERR_ENTITY_TOO_LARGE);
        } else {
            in->size += p->got;
            if (p->ended && in->body->size != SOURCE_SIZE_UNKNOWN && in->size < in->body->size)
                fail(p, ERR_INCOMPLETE_BODY);
        }
    }
    if (p->err == ERR_OK && p->ended && filled == 0 && in->size <= in->inline_max) {
        inline_end(p);
        return;
    }
    if (p->err == ERR_OK && p->got) {
        if (filled == 0)
            lanes_make(p);
        p->ring[filled % RING] = (struct piece){p->buf, p->got};
        p->buf = NULL;
        atomic_store_explicit(&p->filled, filled + 1, memory_order_release);
    }
    pump(p);
}

static void read_start(struct ingest_pipe *p)
{
    p->reading = true;
    call_begin(&p->read_call, p->loop, read_done);
    source_fill(&p->fill, p->in->body, p->buf, p->cap, &p->got, &p->read_call);
}

/* ---- the end ---- */

/* Compares what the client promised with what came. */
static enum err wants_check(struct ingest_pipe *p)
{
    const struct body_check *check = p->in->check;

    for (unsigned i = 0; check && i < check->want_count; i++) {
        const struct digest *want = &check->want[i].digest, *have = &p->digests[want->alg];
        if (have->alg != want->alg) {
            log_error(p->in->log_id, "digest wanted too late", "algorithm=" STR_FMT, STR_ARG(hash_name(want->alg)));
            return ERR_INTERNAL;
        }
        if (!digest_eq(want, have))
            return check->want[i].err;
    }
    return ERR_OK;
}

static void pipe_free(struct ingest_pipe *p)
{
    for (unsigned i = 0; i < p->lane_count; i++)
        for (unsigned h = 0; h < p->lanes[i].hash_count; h++)
            hash_drop(&p->lanes[i].hashes[h]);
    for (uint64_t i = p->freed; i < atomic_load(&p->filled); i++)
        buffer_free(p, p->ring[i % RING].p);
    if (p->buf)
        buffer_free(p, p->buf);
    ingest_buf_put(p->spare);
    p->in->pipe = NULL;
    free(p);
}

static void finish(struct ingest_pipe *p)
{
    struct ingest *in = p->in;
    struct call *whole = p->whole;
    enum err e = p->err;

    assert(e == ERR_OK || in->staged.fd < 0);
    if (e == ERR_OK) {
        in->md5 = p->digests[HASH_MD5];
        in->checksum = p->digests[in->check && in->check->checksum ? in->check->checksum : HASH_CRC64NVME];
    }
    p->ending = true;
    pipe_free(p);
    call_finish(whole, e);
}

static void conclude(struct ingest_pipe *p);

static void last_done(struct call *c)
{
    struct ingest_pipe *p = CONTAINER(c, struct lane, call)->pipe;

    if (p->err != ERR_OK) {
        segment_discard(&p->in->staged); /* does something only when the pool was full */
        finish(p);
        return;
    }
    p->err = c->err;
    conclude(p);
}

/* One more task, after which nothing but the end follows. */
static void last_run(struct ingest_pipe *p, struct offload *pool, enum err (*run)(struct offload_task *))
{
    struct lane *l = &p->lanes[0];

    p->ending = true;
    l->pipe = p;
    call_begin(&l->call, p->loop, last_done);
    offload_run(pool, &l->task, run, &l->call);
}

static enum err discard_run(struct offload_task *t)
{
    segment_discard(&CONTAINER(t, struct lane, task)->pipe->in->staged);
    return ERR_OK;
}

/* All digests are there, or the upload has failed. */
static void conclude(struct ingest_pipe *p)
{
    if (p->err == ERR_OK)
        p->err = wants_check(p);
    if (p->err != ERR_OK && p->in->staged.fd >= 0)
        last_run(p, p->in->io, discard_run);
    else
        finish(p);
}

static void staged_end(struct ingest_pipe *p)
{
    for (unsigned i = 0; i < p->lane_count; i++) {
        struct lane *l = &p->lanes[i];
        for (unsigned h = 0; h < l->hash_count; h++)
            hash_final(&l->hashes[h], &p->digests[l->hashes[h].alg]);
    }
    conclude(p);
}

/* ---- bodies that stay in memory ---- */

static void inline_hash(struct ingest_pipe *p)
{
    for (unsigned alg = HASH_NONE + 1; alg < HASH_COUNT; alg++)
        if (p->algs & 1u << alg)
            hash_of((enum hash_alg)alg, p->in->inline_bytes, &p->digests[alg]);
}

static enum err inline_run(struct offload_task *t)
{
    inline_hash(CONTAINER(t, struct lane, task)->pipe);
    return ERR_OK;
}

static unsigned algs_wanted(const struct body_check *check)
{
    unsigned algs = 1u << HASH_MD5 | 1u << (check && check->checksum ? check->checksum : HASH_CRC64NVME);

    for (unsigned i = 0; check && i < check->want_count; i++)
        algs |= 1u << check->want[i].digest.alg;
    return check ? (algs | check->also) & ~1u : algs;
}

static void inline_end(struct ingest_pipe *p)
{
    struct ingest *in = p->in;

    assert(p->buf == p->first); /* the first buffer holds more than inline_max */
    in->inline_mem = p->first;
    in->inline_bytes = str_n(in->inline_mem, (size_t)in->size);
    p->first = p->buf = NULL;
    p->algs |= algs_wanted(in->check); /* trailers */
    if (in->size > HASH_ON_LOOP_MAX) {
        last_run(p, in->cpu, inline_run);
        return;
    }
    inline_hash(p);
    conclude(p);
}

/* ---- the beginning, and what drives it ---- */

/* Whatever can go on now. */
static void pump(struct ingest_pipe *p)
{
    bool running = false, behind = false;

    if (p->ending)
        return;
    pieces_free(p);
    if (p->err == ERR_OK && !p->ended && !p->reading && buffer_ready(p))
        read_start(p);
    lanes_kick(p);
    for (unsigned i = 0; i < p->lane_count; i++) {
        running |= p->lanes[i].running;
        behind |= atomic_load_explicit(&p->lanes[i].next, memory_order_relaxed) < atomic_load(&p->filled);
    }
    if (!p->reading && !running && (p->err != ERR_OK || (p->ended && !behind)))
        staged_end(p);
}

static void on_cancel(void *arg)
{
    struct ingest_pipe *p = arg;

    fail(p, ERR_CANCELLED);
    pump(p);
}

/* The first buffer shows whether the body stays in memory, so it holds a byte more than that, and no more than the
 * body. */
static void first_buffer(struct ingest_pipe *p)
{
    const struct ingest *in = p->in;
    size_t inline_cap = (size_t)in->inline_max + 1;

    if (in->body->size == SOURCE_SIZE_UNKNOWN)
        p->cap = inline_cap > FIRST_READ ? inline_cap : FIRST_READ;
    else if (in->body->size < inline_cap || in->body->size < FIRST_READ)
        p->cap = (size_t)in->body->size + 1;
    else if (inline_cap > INGEST_BUF)
        p->cap = inline_cap;
    else
        return; /* one of the pool */
    p->first = p->buf = mem_alloc(p->cap);
}

void ingest_init(struct ingest *in)
{
    *in = (struct ingest){.staged = SEGMENT_STAGED_NONE};
}

void ingest_run(struct ingest *in, struct call *call)
{
    struct ingest_pipe *p;

    if (in->body->size != SOURCE_SIZE_UNKNOWN && in->body->size > in->size_max) {
        call_finish(call, ERR_ENTITY_TOO_LARGE);
        return;
    }
    p = in->pipe = NEW(struct ingest_pipe);
    p->in = in;
    p->loop = call->loop;
    p->whole = call;
    p->progress.fn = on_progress;
    p->algs = algs_wanted(in->check);
    first_buffer(p);
    pump(p);
    call_on_cancel(call, on_cancel, p);
}

void ingest_release(struct ingest *in)
{
    assert(!in->pipe);
    segment_discard(&in->staged);
    free(in->inline_mem);
    in->inline_mem = NULL;
    in->inline_bytes = STR_NONE;
}
