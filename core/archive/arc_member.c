#include "arc_member.h"

#include <stdlib.h>

#include "archive/arc_decode.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/op.h"

enum { IN_BYTES = 128 << 10, OUT_BYTES = 256 << 10 };

/* ---- decoded content as a source ---- */

struct decoded {
    struct source source;
    struct arc_index *index;
    struct offload *cpu;
    struct source *inner;
    struct arc_decoder *decoder;
    uint64_t skip, left; /* of the stream: before what is wanted, and of that */
    char *in, *out;
    size_t in_n, in_at, out_n, out_at;
    bool in_ended;
    bool checks; /* the whole content is read: its CRC is compared */
    struct hash crc;
    uint32_t want;
    enum err err;
    /* the read that goes on */
    struct op op;
    struct call *whole;
    struct offload_task task;
    char *buf;
    size_t len, *n, got;
};

static step_fn decoded_next, decoded_fed, decoded_ran, decoded_end;

/* What was decoded goes to the reader, after what is passed over. */
static size_t hand_out(struct decoded *d)
{
    uint64_t have = d->out_n - d->out_at;
    size_t n;

    if (d->skip) {
        uint64_t drop = d->skip < have ? d->skip : have;
        d->skip -= drop;
        d->out_at += (size_t)drop;
        have -= drop;
    }
    n = have < d->len ? (size_t)have : d->len;
    if (n > d->left)
        n = (size_t)d->left;
    if (n == 0)
        return 0;
    memcpy(d->buf, d->out + d->out_at, n);
    if (d->checks)
        hash_update(&d->crc, d->buf, n);
    d->out_at += n;
    d->left -= n;
    return n;
}

static enum err check_sum(struct decoded *d)
{
    struct digest crc;

    if (!d->checks || d->left)
        return ERR_OK;
    d->checks = false;
    hash_final(&d->crc, &crc);
    d->crc.alg = HASH_NONE;
    return ((uint32_t)crc.b[0] << 24 | (uint32_t)crc.b[1] << 16 | (uint32_t)crc.b[2] << 8 | crc.b[3]) == d->want
               ? ERR_OK
               : ERR_BAD_ARCHIVE;
}

static enum err run(struct offload_task *t)
{
    struct decoded *d = CONTAINER(t, struct decoded, task);
    struct arc_decode_io io;
    enum err e;

    d->out_n = d->out_at = 0;
    do {
        io = (struct arc_decode_io){.in = d->in + d->in_at,
                                    .in_n = d->in_n - d->in_at,
                                    .out = d->out + d->out_n,
                                    .out_n = OUT_BYTES - d->out_n};
        e = arc_decoder_run(d->decoder, &io);
        d->in_at += io.in_used;
        d->out_n += io.out_made;
        if (e == ERR_OK && !io.in_used && !io.out_made && d->in_at < d->in_n && d->out_n == 0)
            e = ERR_BAD_ARCHIVE;   /* it would never go on */
        if (d->skip >= d->out_n) { /* nobody wants it: make room at once */
            d->skip -= d->out_n;
            d->out_n = 0;
        }
    } while (e == ERR_OK && (io.in_used || io.out_made) && d->out_n < OUT_BYTES);
    return e;
}

static enum step_next decoded_next(struct op *op)
{
    struct decoded *d = OP(op, struct decoded);

    if ((*d->n = hand_out(d)) > 0 || d->left == 0) {
        enum err e = check_sum(d);
        return e == ERR_OK ? op_go(op, decoded_end) : op_fail(op, e);
    }
    if (d->in_at < d->in_n || d->in_ended)
        return op_go(op, decoded_fed);
    source_read(d->inner, d->in, IN_BYTES, &d->got, op_call(op, decoded_fed));
    return STEP_WAIT;
}

static enum step_next decoded_fed(struct op *op)
{
    struct decoded *d = OP(op, struct decoded);

    if (d->in_at == d->in_n && !d->in_ended) {
        d->in_n = d->got;
        d->in_at = 0;
        d->in_ended = d->got == 0;
    }
    offload_run(d->cpu, &d->task, run, op_call(op, decoded_ran));
    return STEP_WAIT;
}

static enum step_next decoded_ran(struct op *op)
{
    struct decoded *d = OP(op, struct decoded);

    if (d->in_ended && d->out_n == 0 && d->in_at == d->in_n)
        return op_fail(op, ERR_BAD_ARCHIVE); /* it ends before what the index says is there */
    return op_go(op, decoded_next);
}

static enum step_next decoded_end(struct op *op)
{
    struct decoded *d = OP(op, struct decoded);

    d->err = op->err;
    call_finish(d->whole, op->err);
    return STEP_DONE;
}

static void decoded_cancel(void *op)
{
    op_cancel(op, ERR_CANCELLED);
}

static void decoded_read(struct source *s, void *buf, size_t len, size_t *n, struct call *call)
{
    struct decoded *d = CONTAINER(s, struct decoded, source);

    if (d->err != ERR_OK) {
        call_finish(call, d->err);
        return;
    }
    d->buf = buf;
    d->len = len;
    d->n = n;
    d->whole = call;
    op_start(&d->op, call->loop, "decode", decoded_next, decoded_end);
    if (call->state == CALL_PENDING)
        call_on_cancel(call, decoded_cancel, &d->op);
}

static void decoded_close(struct source *s)
{
    struct decoded *d = CONTAINER(s, struct decoded, source);

    source_close(d->inner);
    arc_decoder_free(d->decoder);
    arc_index_unref(d->index);
    hash_drop(&d->crc);
    free(d->in);
    free(d->out);
    free(d);
}

static const struct source_ops decoded_ops = {.name = "decoded", .read = decoded_read, .close = decoded_close};

/* ---- opening ---- */

struct opening {
    struct op op;
    const struct arc_open_req *req;
    struct arc_open_res *res;
    struct call *whole;
    struct arc_member member;
    uint64_t skip; /* decoded bytes before what is wanted */
    bool is_coded;
    struct obj_get_req get_req;
    struct obj_get_res got;
};

static step_fn open_get, open_got, open_end;

static bool is_compressed(enum arc_format f)
{
    return f == ARC_TGZ || f == ARC_TAR_LZ4 || f == ARC_TAR_ZST;
}

/* Where in the object to begin to read, and where to end at the latest. */
static void find_place(struct opening *o, uint64_t *first, uint64_t *last)
{
    const struct arc_index *x = o->req->index;
    const struct arc_member *m = &o->member;
    uint64_t from = m->offset + o->req->offset;

    if (is_compressed(x->format)) {
        uint32_t low = 0, high = x->restart_count; /* the last that is not behind `from` */
        while (high - low > 1) {
            uint32_t mid = low + (high - low) / 2;
            if (x->restarts[mid].offset <= from)
                low = mid;
            else
                high = mid;
        }
        o->is_coded = true;
        o->skip = from - (x->restart_count ? x->restarts[low].offset : 0);
        *first = x->restart_count ? x->restarts[low].at : 0;
        while (low < x->restart_count && x->restarts[low].offset < from + o->req->len)
            low++; /* there is few in a member */
        *last = low < x->restart_count ? x->restarts[low].at - 1 : x->size - 1;
    } else if (m->method == ARC_DEFLATE) {
        o->is_coded = true;
        o->skip = o->req->offset;
        *first = m->offset;
        *last = m->stored ? m->offset + m->stored - 1 : m->offset;
    } else {
        *first = from;
        *last = from + o->req->len - 1;
    }
}

static enum step_next open_get(struct op *op)
{
    struct opening *o = OP(op, struct opening);
    const struct arc_open_req *r = o->req;
    uint64_t first = 0, last = 0;

    arc_index_member(r->index, r->member, &o->member);
    if (r->len == 0) {
        o->res->body = source_memory(STR(""), NULL, NULL);
        return op_go(op, open_end);
    }
    find_place(o, &first, &last);
    o->get_req = (struct obj_get_req){{.arena = r->arena, .bucket = r->bucket, .key = r->key, .cond = COND_INIT}};
    o->get_req.head.cond.if_match = arena_printf(r->arena, "\"" STR_FMT "\"", STR_ARG(etag_str(&r->index->etag)));
    o->get_req.head.range = (struct range){RANGE_FROM_TO, first, last};
    store_obj_get(r->store, &o->get_req, &o->got, op_call(op, open_got));
    return STEP_WAIT;
}

static struct source *decoded_new(const struct opening *o)
{
    struct decoded *d = NEW(struct decoded);
    const struct arc_open_req *r = o->req;
    bool is_zip = r->index->format == ARC_ZIP;

    d->source = (struct source){&decoded_ops, r->len};
    d->index = arc_index_ref(r->index);
    d->cpu = r->cpu;
    d->inner = o->got.body;
    d->decoder = arc_decoder_new(is_zip ? ARC_ZIP : r->index->format);
    if (o->get_req.head.range.first > 0)
        arc_decoder_resume(d->decoder);
    d->skip = o->skip;
    d->left = r->len;
    d->in = mem_alloc(IN_BYTES);
    d->out = mem_alloc(OUT_BYTES);
    d->checks = r->offset == 0 && r->len == o->member.size;
    d->want = o->member.crc32;
    if (d->checks)
        hash_init(&d->crc, HASH_CRC32);
    return &d->source;
}

static enum step_next open_got(struct op *op)
{
    struct opening *o = OP(op, struct opening);

    o->res->body = o->is_coded ? decoded_new(o) : o->got.body;
    o->got.body = NULL;
    return op_go(op, open_end);
}

static enum step_next open_end(struct op *op)
{
    struct opening *o = OP(op, struct opening);

    if (op->err != ERR_OK) {
        source_close(o->got.body);
        source_close(o->res->body);
        o->res->body = NULL;
    }
    call_finish(o->whole, op->err);
    return STEP_DONE;
}

static void open_cancel(void *op)
{
    op_cancel(op, ERR_CANCELLED);
}

void arc_open(const struct arc_open_req *req, struct arc_open_res *res, struct call *call)
{
    struct opening *o = ARENA_NEW(req->arena, struct opening);

    res->body = NULL;
    o->req = req;
    o->res = res;
    o->whole = call;
    op_start(&o->op, call->loop, "arc_open", open_get, open_end);
    if (call->state == CALL_PENDING)
        call_on_cancel(call, open_cancel, &o->op);
}
