#include <stdlib.h>

#include "base/log.h"
#include "store/source_chain.h"
#include "target/slices_own.h"

/* A body in pieces of slices. Each piece is opened when its turn comes, and once more when what it comes from breaks off. */
struct reader {
    struct version version;
    struct arena arena;
    struct erasure_piece pieces[REDUNDANCY_SLICES_MAX];
    size_t count;
    unsigned bad; /* set of slices that broke off: not asked again */
};

/* ---- opening the rest of a piece: the slice, or the others ---- */

struct fetch {
    struct op op;
    struct reader *reader;
    unsigned slice;
    uint64_t offset, len;
    struct source *source; /* the result */
    bool rebuilt;
    struct slice_open open;
    struct slice_rebuild rebuild;
    struct call *whole;
};

static step_fn fetch_open, fetch_opened, fetch_rebuild, fetch_rebuilt, fetch_end;

static enum step_next fetch_open(struct op *op)
{
    struct fetch *f = OP(op, struct fetch);
    struct reader *r = f->reader;

    if (r->bad & 1u << f->slice)
        return op_go(op, fetch_rebuild);
    f->open = (struct slice_open){
        .version = &r->version, .arena = &r->arena, .slice = f->slice, .offset = f->offset, .len = f->len};
    slice_open_run(&f->open, op_try(op, fetch_opened));
    return STEP_WAIT;
}

static enum step_next fetch_opened(struct op *op)
{
    return op->call.err == ERR_OK ? op_go(op, fetch_end) : op_go(op, fetch_rebuild);
}

static enum step_next fetch_rebuild(struct op *op)
{
    struct fetch *f = OP(op, struct fetch);
    struct reader *r = f->reader;

    f->rebuilt = true;
    f->rebuild = (struct slice_rebuild){.version = &r->version,
                                        .arena = &r->arena,
                                        .wanted = f->slice,
                                        .offset = f->offset,
                                        .len = f->len,
                                        .without = r->bad};
    slice_rebuild_run(&f->rebuild, op_call(op, fetch_rebuilt));
    return STEP_WAIT;
}

static enum step_next fetch_rebuilt(struct op *op)
{
    return op_go(op, fetch_end);
}

static enum step_next fetch_end(struct op *op)
{
    struct fetch *f = OP(op, struct fetch);

    f->source = f->rebuilt ? f->rebuild.source : f->open.source;
    if (op->err != ERR_OK) {
        source_close(f->source);
        f->source = NULL;
    }
    call_finish(f->whole, op->err);
    return STEP_DONE;
}

static void fetch_cancel(void *arg)
{
    op_cancel(&((struct fetch *)arg)->op, ERR_CANCELLED);
}

static void fetch_run(struct fetch *f, struct call *whole)
{
    f->whole = whole;
    f->rebuilt = false;
    f->open.source = f->rebuild.source = NULL;
    op_start(&f->op, whole->loop, "slice", fetch_open, fetch_end);
    call_on_cancel(whole, fetch_cancel, f);
}

/* ---- a piece as a source ---- */

enum { PIECE_BREAKS_MAX = REDUNDANCY_SLICES_MAX };

struct piece {
    struct source source;
    struct reader *reader;
    struct fetch fetch;   /* of what inner gives */
    struct source *inner; /* NULL: to be opened */
    uint64_t at, left;    /* within the slice */
    unsigned breaks;
    enum err err; /* there is no way on */
    bool opening;
    void *buf; /* NULL: prepare */
    size_t len, *n;
    struct call *whole;
    struct call call;
};

static void piece_peek(struct source *s, struct span *out)
{
    struct piece *p = CONTAINER(s, struct piece, source);

    *out = (struct span){.kind = p->left == 0 ? SPAN_END : p->err != ERR_OK ? SPAN_READ : SPAN_WAIT};
    if (p->left == 0 || !p->inner)
        return;
    source_peek(p->inner, out);
    if (out->kind == SPAN_END)
        *out = (struct span){.kind = SPAN_READ}; /* too short: reading sees to it */
    if (out->len > p->left)
        out->len = p->left;
}

static void piece_took(struct piece *p, uint64_t n)
{
    p->at += n;
    p->left -= n;
}

static void piece_consume(struct source *s, uint64_t n)
{
    struct piece *p = CONTAINER(s, struct piece, source);

    source_consume(p->inner, n);
    piece_took(p, n);
}

/* What inner comes from is not asked again. */
static void piece_broke(struct piece *p, enum err e)
{
    struct reader *r = p->reader;
    unsigned slice = p->fetch.slice;

    if (p->fetch.rebuilt) {
        int i = erasure_failed(p->inner);
        if (i >= 0)
            r->bad |= 1u << (slice = p->fetch.rebuild.have[i]);
    } else {
        r->bad |= 1u << slice;
    }
    log_warn(STR_NONE, "slice broke off", "key=%s slice=%u error=%s", log_quote(r->version.key), slice, err_name(e));
    source_close(p->inner);
    p->inner = NULL;
    if (++p->breaks > PIECE_BREAKS_MAX)
        p->err = e;
}

static void piece_step(struct piece *p);

static void piece_done(struct call *c)
{
    struct piece *p = CONTAINER(c, struct piece, call);
    enum err e = c->err;

    if (p->opening) {
        p->opening = false;
        p->inner = p->fetch.source;
        if (e != ERR_OK) {
            if (!p->whole->cancelled)
                p->err = e;
            call_finish(p->whole, e);
            return;
        }
    } else {
        if (e == ERR_OK && p->buf && *p->n > 0) {
            piece_took(p, *p->n);
            call_finish(p->whole, ERR_OK);
            return;
        }
        if (p->whole->cancelled) {
            call_finish(p->whole, e != ERR_OK ? e : ERR_CANCELLED);
            return;
        }
        if (e == ERR_OK && p->buf)
            e = ERR_INCOMPLETE_BODY;
        if (e != ERR_OK)
            piece_broke(p, e);
    }
    piece_step(p);
}

static void piece_step(struct piece *p)
{
    struct span span = {.kind = SPAN_WAIT};

    if (p->inner && !p->buf)
        source_peek(p->inner, &span);
    if (p->left == 0 || p->err != ERR_OK || span.kind != SPAN_WAIT) {
        call_finish(p->whole, p->err);
        return;
    }
    call_begin(&p->call, p->reader->version.env->loop, piece_done);
    if (p->whole->cancelled) {
        call_finish(&p->call, ERR_CANCELLED);
    } else if (!p->inner) {
        p->opening = true;
        p->fetch.offset = p->at;
        p->fetch.len = p->left;
        fetch_run(&p->fetch, &p->call);
    } else if (p->buf) {
        source_read(p->inner, p->buf, p->len < p->left ? p->len : (size_t)p->left, p->n, &p->call);
    } else {
        source_prepare(p->inner, &p->call);
    }
}

static void piece_cancel(void *arg)
{
    call_cancel(&((struct piece *)arg)->call);
}

static void piece_begin(struct source *s, void *buf, size_t len, size_t *n, struct call *whole)
{
    struct piece *p = CONTAINER(s, struct piece, source);

    p->buf = buf;
    p->len = len;
    p->n = n;
    p->whole = whole;
    call_on_cancel(whole, piece_cancel, p);
    piece_step(p);
}

static void piece_prepare(struct source *s, struct call *whole)
{
    piece_begin(s, NULL, 0, NULL, whole);
}

static void piece_read(struct source *s, void *buf, size_t len, size_t *n, struct call *whole)
{
    *n = 0;
    piece_begin(s, buf, len, n, whole);
}

static void piece_close(struct source *s)
{
    struct piece *p = CONTAINER(s, struct piece, source);

    source_close(p->inner);
    free(p);
}

/* ---- the body ---- */

static void reader_open(void *arg, size_t i, struct source **out, struct call *call)
{
    static const struct source_ops ops = {"slice", piece_peek, piece_consume, piece_prepare, piece_read, piece_close};
    struct reader *r = arg;
    struct piece *p = NEW(struct piece);
    const struct erasure_piece *at = &r->pieces[i];

    *p = (struct piece){.source = {&ops, at->len}, .reader = r, .at = at->offset, .left = at->len};
    p->fetch.reader = r;
    p->fetch.slice = at->slice;
    *out = &p->source;
    call_finish(call, ERR_OK);
}

static void reader_close(void *arg)
{
    struct reader *r = arg;

    arena_release(&r->arena);
    free(r);
}

struct reading {
    struct op op;
    struct source *body;
    enum err refused;
    struct slices_read_res *res;
    struct call *whole;
};

static step_fn reading_begin, reading_ready, reading_end;

static enum step_next reading_begin(struct op *op)
{
    struct reading *r = OP(op, struct reading);

    if (r->refused != ERR_OK)
        return op_fail(op, r->refused);
    source_prepare(r->body, op_call(op, reading_ready));
    return STEP_WAIT;
}

static enum step_next reading_ready(struct op *op)
{
    struct reading *r = OP(op, struct reading);

    r->res->body = r->body;
    return op_go(op, reading_end);
}

static enum step_next reading_end(struct op *op)
{
    struct reading *r = OP(op, struct reading);

    if (op->err != ERR_OK)
        source_close(r->body);
    call_finish(r->whole, op->err);
    free(r);
    return STEP_DONE;
}

static void reading_cancel(void *arg)
{
    op_cancel(&((struct reading *)arg)->op, ERR_CANCELLED);
}

/* Copies what the request borrows. */
static enum err reader_new(const struct slices_env *env, const struct slices_read_req *req, struct reader **out)
{
    struct reader *r = NEW(struct reader);
    struct bucket_id bucket = req->bucket;
    enum err e;

    bucket.name = arena_str(&r->arena, bucket.name);
    e = version_init(&r->version, env, bucket, arena_str(&r->arena, req->key), req->layout);
    if (e == ERR_OK &&
        (req->len == 0 || req->offset >= r->version.layout.size || req->len > r->version.layout.size - req->offset))
        e = ERR_CORRUPT; /* the record says another size than its layout */
    if (e != ERR_OK) {
        reader_close(r);
        return e;
    }
    r->count = erasure_pieces(&r->version.layout, req->offset, req->len, r->pieces);
    *out = r;
    return ERR_OK;
}

void slices_read(const struct slices_env *env, const struct slices_read_req *req, struct slices_read_res *res,
                 struct call *whole)
{
    static const struct chain_ops ops = {reader_open, reader_close};
    struct reading *r = NEW(struct reading);
    struct reader *reader;

    r->res = res;
    r->whole = whole;
    r->refused = reader_new(env, req, &reader);
    if (r->refused == ERR_OK)
        r->body = source_chain(env->loop, req->len, reader->count, &ops, reader);
    bool waits = r->refused == ERR_OK;
    op_start(&r->op, env->loop, "slices_read", reading_begin, reading_end);
    if (waits)
        call_on_cancel(whole, reading_cancel, r);
}
