#include "target/slices_own.h"

/* ---- a slice from its places ---- */

static step_fn open_next, open_got, open_end;

static enum step_next open_next(struct op *op)
{
    struct slice_open *o = OP(op, struct slice_open);
    const struct version *v = o->version;

    while (o->tries < 2) {
        const struct place *p = o->tries++ ? &o->places.before[o->slice] : &o->places.now[o->slice];
        struct store *store = place_store(v, p);
        if (!store) {
            if (p->exists)
                o->worst = ERR_UNAVAILABLE;
            continue;
        }
        o->req = (struct obj_get_req){{.arena = o->arena,
                                       .bucket = v->shadow,
                                       .key = version_slice_key(v, o->slice, o->arena),
                                       .cond = COND_INIT,
                                       .range = {RANGE_FROM_TO, o->offset, o->offset + o->len - 1}}};
        o->res = (struct obj_get_res){0};
        store_obj_get(store, &o->req, &o->res, op_try(op, open_got));
        return STEP_WAIT;
    }
    return op_fail(op, o->worst);
}

static enum step_next open_got(struct op *op)
{
    struct slice_open *o = OP(op, struct slice_open);
    enum err e = op->call.err;

    if (e == ERR_OK &&
        (o->res.head.info.size != erasure_stored(&o->version->layout, o->slice) || o->res.head.len != o->len)) {
        source_close(o->res.body);
        o->res.body = NULL;
        e = ERR_CORRUPT;
    }
    if (e == ERR_OK)
        return op_go(op, open_end);
    if (e == ERR_STALE_EPOCH && !o->again) { /* the newer map is known by now */
        o->again = true;
        o->tries = 0;
        version_places(o->version, &o->places);
        return op_go(op, open_next);
    }
    if (e == ERR_INVALID_RANGE)
        e = ERR_CORRUPT; /* shorter than it should be */
    if (e == ERR_CORRUPT && o->worst == ERR_NO_SUCH_KEY)
        o->worst = ERR_CORRUPT;
    else if (e != ERR_NO_SUCH_KEY && e != ERR_NO_SUCH_BUCKET && e != ERR_CORRUPT)
        o->worst = ERR_UNAVAILABLE;
    return op_go(op, open_next);
}

static enum step_next open_end(struct op *op)
{
    struct slice_open *o = OP(op, struct slice_open);

    if (op->err == ERR_OK)
        o->source = o->res.body;
    else
        source_close(o->res.body); /* it came when nobody wanted it any more */
    call_finish(o->whole, op->err);
    return STEP_DONE;
}

static void open_cancel(void *arg)
{
    op_cancel(&((struct slice_open *)arg)->op, ERR_CANCELLED);
}

void slice_open_run(struct slice_open *o, struct call *whole)
{
    o->whole = whole;
    o->worst = ERR_NO_SUCH_KEY;
    o->tries = 0;
    o->again = false;
    o->source = NULL;
    version_places(o->version, &o->places);
    op_start(&o->op, whole->loop, "slice_open", open_next, open_end);
    call_on_cancel(whole, open_cancel, o); /* harmless when it has ended: o is the caller's until done */
}

/* ---- a slice from the others ---- */

static step_fn rebuild_round, rebuild_opened, rebuild_make, rebuild_end;

struct slice_opening {
    struct slice_open open;
    struct call call;
    struct slice_rebuild *rebuild;
};

/* What the range needs of another slice: less where that ends. */
static uint64_t needed_of(const struct slice_rebuild *r, unsigned slice)
{
    uint64_t end = erasure_stored(&r->version->layout, slice);

    return end <= r->offset ? 0 : end - r->offset < r->len ? end - r->offset : r->len;
}

static void opening_done(struct call *c)
{
    struct slice_opening *o = CONTAINER(c, struct slice_opening, call);
    struct slice_rebuild *r = o->rebuild;

    if (c->err == ERR_OK) {
        r->have[r->got] = o->open.slice;
        r->sources[r->got++] = o->open.source;
    } else if (c->err != ERR_NO_SUCH_KEY && c->err != ERR_CORRUPT) {
        r->unreachable = true;
    }
    if (--r->outstanding == 0)
        call_finish(&r->op.call, ERR_OK);
}

static void rebuild_cancel_calls(void *arg)
{
    struct slice_rebuild *r = arg;

    for (unsigned i = 0; i < r->round; i++)
        call_cancel(&r->openings[i]->call);
}

/* The next that may be of use, or -1. */
static int next_slice(const struct slice_rebuild *r)
{
    for (unsigned i = 0; i < version_slices(r->version); i++)
        if (i != r->wanted && !((r->tried | r->without) & 1u << i))
            return (int)i;
    return -1;
}

/* As many as are wanting are opened at once; whichever can't be is replaced in the next round. */
static enum step_next rebuild_round(struct op *op)
{
    struct slice_rebuild *r = OP(op, struct slice_rebuild);
    unsigned data = r->version->layout.data;
    int slice;

    r->round = 0;
    while (r->got + r->round < data && (slice = next_slice(r)) >= 0) {
        uint64_t len = needed_of(r, (unsigned)slice);
        r->tried |= 1u << slice;
        if (len == 0) { /* zeros, which nobody needs to be asked for */
            r->have[r->got] = (unsigned)slice;
            r->sources[r->got++] = NULL;
            continue;
        }
        struct slice_opening *o = ARENA_NEW(r->arena, struct slice_opening);
        o->rebuild = r;
        o->open.version = r->version;
        o->open.arena = r->arena;
        o->open.slice = (unsigned)slice;
        o->open.offset = r->offset;
        o->open.len = len;
        r->openings[r->round++] = o;
    }
    if (r->got == data)
        return op_go(op, rebuild_make);
    if (r->got + r->round < data)
        return op_fail(op, r->unreachable ? ERR_UNAVAILABLE : ERR_CORRUPT);
    call_on_cancel(op_call(op, rebuild_opened), rebuild_cancel_calls, r);
    r->outstanding = r->round;
    for (unsigned i = 0; i < r->round; i++) {
        call_begin(&r->openings[i]->call, op->loop, opening_done);
        slice_open_run(&r->openings[i]->open, &r->openings[i]->call);
    }
    return STEP_WAIT;
}

static enum step_next rebuild_opened(struct op *op)
{
    return op_go(op, rebuild_round);
}

static enum step_next rebuild_make(struct op *op)
{
    struct slice_rebuild *r = OP(op, struct slice_rebuild);
    const struct erasure_env env = {r->version->env->loop, r->version->env->cpu};
    enum err e =
        erasure_rebuild(&env, &r->version->layout, r->wanted, r->offset, r->len, r->have, r->sources, &r->source);

    r->got = 0; /* taken */
    return e != ERR_OK ? op_fail(op, e) : op_go(op, rebuild_end);
}

static enum step_next rebuild_end(struct op *op)
{
    struct slice_rebuild *r = OP(op, struct slice_rebuild);

    for (unsigned i = 0; i < r->got; i++)
        source_close(r->sources[i]);
    if (op->err != ERR_OK) {
        source_close(r->source);
        r->source = NULL;
    }
    call_finish(r->whole, op->err);
    return STEP_DONE;
}

static void rebuild_cancel(void *arg)
{
    op_cancel(&((struct slice_rebuild *)arg)->op, ERR_CANCELLED);
}

void slice_rebuild_run(struct slice_rebuild *r, struct call *whole)
{
    r->whole = whole;
    r->source = NULL;
    r->got = r->tried = r->round = 0;
    r->unreachable = false;
    op_start(&r->op, whole->loop, "slice_rebuild", rebuild_round, rebuild_end);
    call_on_cancel(whole, rebuild_cancel, r);
}
