/* A whole object on its way from the remote into the inner store, and the one who reads it meanwhile. */
#include <stdlib.h>

#include "backend_own.h"
#include "base/log.h"

/* A reader lags at most WINDOW_MAX behind the fetch, which waits for it as long as it takes something every STALL_MS. */
enum { WINDOW_MAX = 2 << 20, STEP_MAX = 256 << 10, STALL_MS = 5000, DRAIN_TURN_MS = 20 };

struct fetch_reader;
struct fetch {
    struct op op;
    struct backend *b;
    struct fetch *next, **prev; /* of the store */
    struct arena arena;
    struct bucket_id bucket;
    struct str key;
    struct turn claim;
    struct object_info info; /* the remote's */
    struct source *body;
    struct call *done;           /* of who waits for the end; NULL: nobody */
    struct fetch_reader *reader; /* NULL: none, or it is gone */
    /* what the inner store reads */
    struct source tee;
    uint64_t at; /* bytes of the body so far */
    void *buf;
    size_t *n;
    struct call *put_read;
    struct call body_read;
    bool held; /* put_read, until the reader has taken some */
    struct timer stall;
    struct obj_put_req put;
    struct obj_put_res written;
    struct body_check check;
};

/* A source for the client. Before the fetch is over it gives what the window holds, but for the last byte; a reader that was too slow gets
 * the rest from the inner store afterwards. */
struct fetch_reader {
    struct source source;
    struct backend *b;
    struct fetch *fetch; /* NULL: it is over */
    enum err err;        /* how it ended */
    uint64_t at, end;    /* what is still to be given away, of the object */
    struct buf window;   /* from `at` on, `used` bytes before it */
    size_t used;
    bool behind; /* was not waited for: the window takes no more */
    /* the read that waits */
    struct call *call;
    void *out;
    size_t len, *n;
    /* afterwards */
    struct arena arena;
    struct bucket_id bucket;
    struct str key;
    struct etag etag; /* the inner store's */
    struct obj_get_req get;
    struct obj_get_res got;
    struct call opening;
};

/* ---- a fetch that waits for its reader ---- */

static void go_on(struct fetch *f, enum err e)
{
    if (!f->held)
        return;
    f->held = false;
    timer_cancel(f->b->env.loop, &f->stall);
    call_finish(f->put_read, e);
}

static void held_cancel(void *arg)
{
    go_on(arg, ERR_CANCELLED);
}

static void stalled(struct timer *t)
{
    struct fetch *f = CONTAINER(t, struct fetch, stall);

    if (f->reader)
        f->reader->behind = true;
    go_on(f, ERR_OK);
}

static void hold(struct fetch *f)
{
    f->held = true;
    f->stall.fn = stalled;
    timer_set(f->b->env.loop, &f->stall, STALL_MS);
    call_on_cancel(f->put_read, held_cancel, f);
}

/* ---- the reader ---- */

static size_t window_len(const struct fetch_reader *r)
{
    return r->window.n - r->used;
}

/* Bytes that may be given away now. */
static size_t ready(const struct fetch_reader *r)
{
    size_t n = window_len(r);

    return r->fetch && n > 0 && r->at + n == r->end ? n - 1 : n;
}

static void reader_finish(struct fetch_reader *r, enum err e, size_t n)
{
    struct call *c = r->call;

    r->call = NULL;
    *r->n = n;
    call_finish(c, e);
}

static void give(struct fetch_reader *r)
{
    size_t n = ready(r) < r->len ? ready(r) : r->len;

    memcpy(r->out, r->window.p + r->used, n);
    r->used += n;
    r->at += n;
    if (r->used == r->window.n) {
        buf_reset(&r->window);
        r->used = 0;
    }
    reader_finish(r, ERR_OK, n);
    if (r->fetch && r->fetch->held && window_len(r) <= WINDOW_MAX / 2)
        go_on(r->fetch, ERR_OK);
    else if (r->fetch && r->fetch->held)
        timer_set(r->b->env.loop, &r->fetch->stall, STALL_MS);
}

static void rest_opened(struct call *c)
{
    struct fetch_reader *r = CONTAINER(c, struct fetch_reader, opening);

    if (c->err != ERR_OK) {
        log_warn(STR_NONE, "a fetched object is gone before it was read", "bucket=%s key=%s error=%s",
                 log_quote(r->bucket.name), log_quote(r->key), err_name(c->err));
        r->err = c->err == ERR_CANCELLED ? ERR_CANCELLED : ERR_REMOTE_GONE;
        reader_finish(r, r->err, 0);
        return;
    }
    struct call *call = r->call;
    r->call = NULL;
    source_read(r->got.body, r->out, r->len, r->n, call);
}

static void rest_cancel(void *arg)
{
    call_cancel(&((struct fetch_reader *)arg)->opening);
}

/* The rest comes from the inner store. */
static void open_rest(struct fetch_reader *r)
{
    static const struct range none = {.kind = RANGE_ALL};
    struct obj_head_req head = {
        .arena = &r->arena, .bucket = r->bucket, .key = r->key, .cond = COND_INIT, .range = none};

    head.cond.if_match = etag_str(&r->etag);
    head.range = (struct range){.kind = RANGE_FROM_TO, .first = r->at, .last = r->end - 1};
    r->get.head = head;
    call_begin(&r->opening, r->b->env.loop, rest_opened);
    call_on_cancel(r->call, rest_cancel, r);
    store_obj_get(r->b->env.inner, &r->get, &r->got, &r->opening);
}

static void wait_cancel(void *arg)
{
    struct fetch_reader *r = arg;

    if (r->call && !r->got.body && !call_is_pending(&r->opening))
        reader_finish(r, ERR_CANCELLED, 0);
}

/* Serves the read that waits, if that can be. */
static void reader_go_on(struct fetch_reader *r)
{
    if (!r->call)
        return;
    if (ready(r))
        give(r);
    else if (r->at == r->end)
        reader_finish(r, ERR_OK, 0);
    else if (!r->fetch && r->err != ERR_OK)
        reader_finish(r, r->err, 0);
    else if (!r->fetch)
        open_rest(r);
}

static void reader_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct fetch_reader *r = CONTAINER(s, struct fetch_reader, source);

    if (r->got.body) {
        source_read(r->got.body, buf, len, n, call);
        return;
    }
    r->call = call;
    r->out = buf;
    r->len = len;
    r->n = n;
    call_on_cancel(call, wait_cancel, r);
    reader_go_on(r);
}

static void reader_close(struct source *s)
{
    struct fetch_reader *r = CONTAINER(s, struct fetch_reader, source);

    if (r->fetch) {
        r->fetch->reader = NULL;
        go_on(r->fetch, ERR_OK);
    }
    source_close(r->got.body);
    buf_release(&r->window);
    arena_release(&r->arena);
    free(r);
}

static struct fetch_reader *reader_new(struct fetch *f, uint64_t offset, uint64_t len)
{
    static const struct source_ops ops = {.name = "fetch", .read = reader_read, .close = reader_close};
    struct fetch_reader *r = NEW(struct fetch_reader);

    r->source = (struct source){&ops, len};
    r->b = f->b;
    r->fetch = f;
    r->at = offset;
    r->end = offset + len;
    r->bucket = f->bucket;
    r->bucket.name = arena_str(&r->arena, f->bucket.name);
    r->key = arena_str(&r->arena, f->key);
    buf_init(&r->window, 2 * WINDOW_MAX + STEP_MAX);
    return r;
}

/* What came at `from` of the object. */
static void reader_feed(struct fetch_reader *r, uint64_t from, struct str piece)
{
    uint64_t want = r->at + window_len(r); /* what the window goes on with */

    if (r->behind || from + piece.n <= want || from >= r->end)
        return;
    if (want > from)
        piece = str_skip(piece, (size_t)(want - from));
    if (piece.n > r->end - want)
        piece.n = (size_t)(r->end - want);
    if (r->used >= WINDOW_MAX) {
        buf_consume(&r->window, r->used);
        r->used = 0;
    }
    buf_add_str(&r->window, piece);
    reader_go_on(r);
}

/* ---- what the inner store reads ---- */

static void body_done(struct call *c)
{
    struct fetch *f = CONTAINER(c, struct fetch, body_read);

    if (c->err == ERR_OK && *f->n == 0 && f->at != f->info.size) {
        call_finish(f->put_read, ERR_INCOMPLETE_BODY);
        return;
    }
    if (c->err == ERR_OK && *f->n) {
        if (f->reader)
            reader_feed(f->reader, f->at, str_n(f->buf, *f->n));
        f->at += *f->n;
        if (f->reader && !f->reader->behind && window_len(f->reader) >= WINDOW_MAX) {
            hold(f);
            return;
        }
    }
    call_finish(f->put_read, c->err);
}

static void tee_cancel(void *arg)
{
    call_cancel(&((struct fetch *)arg)->body_read);
}

static void tee_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct fetch *f = CONTAINER(s, struct fetch, tee);

    f->buf = buf;
    f->n = n;
    f->put_read = call;
    *n = 0;
    if (!f->body) { /* an empty object */
        call_finish(call, f->at == f->info.size ? ERR_OK : ERR_INCOMPLETE_BODY);
        return;
    }
    call_begin(&f->body_read, f->b->env.loop, body_done);
    call_on_cancel(call, tee_cancel, f);
    source_read(f->body, buf, len < STEP_MAX ? len : STEP_MAX, n, &f->body_read);
}

static void tee_close(struct source *s)
{
    (void)s;
}

/* ---- the fetch ---- */

static step_fn fetch_put, fetch_end;

static enum step_next fetch_put(struct op *op)
{
    struct fetch *f = OP(op, struct fetch);

    f->put = (struct obj_put_req){.arena = &f->arena,
                                  .bucket = f->bucket,
                                  .key = f->key,
                                  .info = {.attrs = f->info.attrs, .attr_count = f->info.attr_count},
                                  .cond = COND_INIT,
                                  .body = &f->tee,
                                  .check = &f->check,
                                  .size_max = OBJECT_SIZE_MAX};
    backend_mark(&f->arena, &f->put.info, &f->info);
    store_obj_put(f->b->env.inner, &f->put, &f->written, op_call(op, fetch_end));
    return STEP_WAIT;
}

/* What the clients are told. Only what has to do with the store here keeps its name. */
static enum err outcome(struct fetch *f, enum err e)
{
    if (e == ERR_OK)
        return e;
    log_warn(STR_NONE, e == ERR_BAD_DIGEST ? "a remote object is not what its ETag says" : "a fetch failed",
             "bucket=%s key=%s bytes=%llu of=%llu error=%s", log_quote(f->bucket.name), log_quote(f->key),
             (unsigned long long)f->at, (unsigned long long)f->info.size, err_name(e));
    return e == ERR_NO_SPACE || e == ERR_NO_SUCH_BUCKET || e == ERR_IO || e == ERR_CANCELLED ? e : ERR_REMOTE_GONE;
}

static enum step_next fetch_end(struct op *op)
{
    struct fetch *f = OP(op, struct fetch);
    struct fetch_reader *r = f->reader;
    enum err e = outcome(f, op->err);

    timer_cancel(f->b->env.loop, &f->stall);
    source_close(f->body);
    turn_end(&f->claim);
    if (r) {
        r->fetch = NULL;
        r->err = e;
        r->etag = f->written.info.etag;
        reader_go_on(r);
    }
    if (f->done)
        call_finish(f->done, e);
    *f->prev = f->next;
    if (f->next)
        f->next->prev = f->prev;
    arena_release(&f->arena);
    free(f);
    return STEP_DONE;
}

static void forget_done(void *arg)
{
    struct fetch *f = arg;
    struct call *c = f->done;

    f->done = NULL; /* others may want the object: the fetch goes on */
    call_finish(c, ERR_CANCELLED);
}

static void fill_check(struct fetch *f, const struct s3_ask_res *answer)
{
    struct body_check *k = &f->check;
    struct digest md5 = {.alg = HASH_MD5, .n = 16};

    if (s3_etag_is_md5(&answer->answer, &f->info) && etag_to_md5(&f->info.etag, md5.b)) {
        k->want[k->want_count].digest = md5;
        k->want[k->want_count++].err = ERR_BAD_DIGEST;
    }
    if (f->info.checksum.type == CHECKSUM_FULL_OBJECT) {
        k->checksum = f->info.checksum.digest.alg;
        k->want[k->want_count].digest = f->info.checksum.digest;
        k->want[k->want_count++].err = ERR_BAD_DIGEST;
    }
}

void fetch_start(const struct fetch_req *req, struct call *call, uint64_t offset, uint64_t len, struct source **reader)
{
    static const struct source_ops ops = {.name = "fetched", .read = tee_read, .close = tee_close};
    struct fetch *f = NEW(struct fetch);

    f->b = req->b;
    f->bucket = req->bucket;
    f->bucket.name = arena_str(&f->arena, req->bucket.name);
    f->key = arena_str(&f->arena, req->key);
    turn_hand_over(req->claim, &f->claim, f->key);
    object_info_copy(&f->arena, &f->info, req->info);
    struct attr *attrs = arena_alloc(&f->arena, (f->info.attr_count + 1) * sizeof(*attrs)); /* room for the mark */
    if (f->info.attr_count)
        memcpy(attrs, f->info.attrs, f->info.attr_count * sizeof(*attrs));
    f->info.attrs = attrs;
    f->body = req->answer->answer.body;
    f->tee = (struct source){&ops, f->info.size};
    fill_check(f, req->answer);
    f->next = f->b->fetches;
    f->prev = &f->b->fetches;
    if (f->next)
        f->next->prev = &f->next;
    f->b->fetches = f;
    if (reader) {
        f->reader = reader_new(f, offset, len);
        *reader = &f->reader->source;
    }
    f->done = call;
    op_start(&f->op, f->b->env.loop, "fetch", fetch_put, fetch_end);
    if (call)
        call_on_cancel(call, forget_done, f);
}

void fetch_drain(struct backend *b)
{
    for (struct fetch *f = b->fetches, *next; f; f = next) {
        next = f->next;
        op_cancel(&f->op, ERR_CANCELLED);
    }
    while (b->fetches)
        loop_turn(b->env.loop, DRAIN_TURN_MS);
}
