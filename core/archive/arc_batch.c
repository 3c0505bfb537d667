/* A batch from its rows to the body of its answer. */
#include "archive/arc_batch.h"

#include "archive/arc_batch_own.h"
#include "base/json.h"

enum { LOOKS = 64, METADATA_MAX = 256 << 20 };
#define WINDOW_BYTES  (UINT64_C(5) << 20)  /* what a batch may have in memory: see arc_pack.h */
#define ENCODER_BYTES (UINT64_C(10) << 20) /* and that of a compressed one */

struct look {
    struct group_call member;
    struct arc_batch_row *row;
    struct obj_head_req head;
    struct obj_head_res headed;
    struct arcs_get_req get;
    struct arcs_get_res got;
};

struct batch_op {
    struct op op;
    const struct arc_batch_req *req;
    struct arc_batch_res *res;
    struct call *whole;
    struct arc_batch *batch;
    struct arc_batch_run *run;
    size_t row;
    uint64_t items;
    struct arcs_select_req select;
    struct arcs_select_res selected;
    struct arena arena; /* of one group of lookups */
    struct look *looks;
    unsigned look_count;
    struct call_group group;
};

static step_fn batch_select, batch_selected, batch_look, batch_looked, batch_make, batch_end;

/* ---- selections ---- */

static enum step_next batch_select(struct op *op)
{
    struct batch_op *o = OP(op, struct batch_op);
    struct arc_batch *b = o->batch;

    for (; o->row < b->count && (!b->rows[o->row].selects || b->rows[o->row].err != ERR_OK); o->row++) {
        o->items++;
        if (b->rows[o->row].err != ERR_OK && !b->coer) {
            o->res->bad = o->row;
            return op_fail(op, b->rows[o->row].err);
        }
    }
    if (o->items > BATCH_ITEMS_MAX)
        return op_fail(op, ERR_TOO_LARGE);
    if (o->row == b->count) {
        o->row = 0;
        return op_go(op, b->strm && b->coer ? batch_make : batch_look);
    }
    struct arc_batch_row *r = &b->rows[o->row];
    o->select = (struct arcs_select_req){.archive = {.arena = o->req->arena, .bucket = r->id, .key = r->objname},
                                         .mode = r->mode,
                                         .pattern = r->pattern};
    arcs_select(o->req->arcs, &o->select, &o->selected, op_try(op, batch_selected));
    return STEP_WAIT;
}

static enum step_next batch_selected(struct op *op)
{
    struct batch_op *o = OP(op, struct batch_op);
    struct arc_batch_row *r = &o->batch->rows[o->row];

    if (op->call.err == ERR_CANCELLED)
        return op_fail(op, ERR_CANCELLED);
    r->err = op->call.err;
    if (r->err == ERR_OK) {
        r->index = o->selected.index;
        r->members = o->selected.members;
        r->count = o->selected.count;
        o->items += r->count;
        if (r->count == 0)
            r->err = ERR_NO_SUCH_MEMBER;
    }
    if (r->err != ERR_OK && !o->batch->coer) {
        o->res->bad = o->row;
        return op_fail(op, r->err);
    }
    o->items += r->err != ERR_OK;
    o->row++;
    return op_go(op, batch_select);
}

/* ---- sizes, before the first byte ---- */

static void look_at(struct batch_op *o, struct look *l, struct arc_batch_row *r)
{
    struct call *c = group_call(&o->group, &l->member);

    l->row = r;
    if (r->archpath.n) {
        l->get = (struct arcs_get_req){.archive = {.arena = &o->arena, .bucket = r->id, .key = r->objname},
                                       .member = r->archpath,
                                       .cond = COND_INIT,
                                       .range = r->range,
                                       .head = true};
        arcs_get(o->req->arcs, &l->get, &l->got, c);
        return;
    }
    l->head = (struct obj_head_req){
        .arena = &o->arena, .bucket = r->id, .key = r->objname, .cond = COND_INIT, .range = r->range};
    store_obj_head(o->req->store, &l->head, &l->headed, c);
}

static enum step_next batch_look(struct op *op)
{
    struct batch_op *o = OP(op, struct batch_op);
    struct arc_batch *b = o->batch;

    if (!o->looks)
        o->looks = arena_new(o->req->arena, LOOKS * sizeof(*o->looks));
    if (o->row == b->count)
        return op_go(op, batch_make);
    o->look_count = 0;
    call_group_init(&o->group, op_try(op, batch_looked));
    for (; o->row < b->count && o->look_count < LOOKS; o->row++)
        if (!b->rows[o->row].selects && b->rows[o->row].err == ERR_OK)
            look_at(o, &o->looks[o->look_count++], &b->rows[o->row]);
    call_group_seal(&o->group);
    return STEP_WAIT;
}

static void take_look(const struct look *l)
{
    struct arc_batch_row *r = l->row;

    r->err = l->member.call.err;
    if (r->err != ERR_OK)
        return;
    r->size = r->archpath.n ? l->got.len : l->headed.len;
    r->etag = r->archpath.n ? l->got.etag : l->headed.info.etag;
    r->looked_up = true;
    if (r->want && r->want != r->size)
        r->err = ERR_INVALID_RANGE;
}

static enum step_next batch_looked(struct op *op)
{
    struct batch_op *o = OP(op, struct batch_op);
    enum err e = ERR_OK;

    for (unsigned i = 0; i < o->look_count && e == ERR_OK; i++) {
        take_look(&o->looks[i]);
        if (o->looks[i].row->err != ERR_OK && !o->batch->coer) {
            e = o->looks[i].row->err;
            o->res->bad = (size_t)(o->looks[i].row - o->batch->rows);
        }
    }
    arena_release(&o->arena);
    return e != ERR_OK ? op_fail(op, e) : op_go(op, batch_look);
}

/* ---- the answer ---- */

static void metadata_row(struct buf *t, const struct arc_batch_row *r, struct str member, uint64_t size)
{
    js_object(t);
    js_put_str(t, "objname", r->objname);
    if (member.n)
        js_put_str(t, "archpath", member);
    js_put_str(t, "bucket", r->shown_bucket);
    js_put_str(t, "provider", r->shown_provider);
    if (r->opaque.p)
        js_put_str(t, "opaque", r->opaque);
    if (r->err != ERR_OK) {
        js_put_str(t, "err_msg", str_z(err_text(r->err)));
    }
    js_put_u64(t, "size", size);
    js_end_object(t);
}

static void metadata(struct buf *t, const struct arc_batch *b, struct str id)
{
    js_object(t);
    js_put_str(t, "uuid", id);
    js_key(t, STR("out"));
    js_array(t);
    for (size_t i = 0; i < b->count; i++) {
        const struct arc_batch_row *r = &b->rows[i];
        struct arc_member m;
        if (!r->selects || r->err != ERR_OK)
            metadata_row(t, r, r->archpath, r->err == ERR_OK ? r->size : 0);
        for (uint32_t k = 0; r->err == ERR_OK && k < r->count; k++) {
            arc_index_member(r->index, r->members[k], &m);
            metadata_row(t, r, m.name, m.size);
        }
    }
    js_end_array(t);
    js_end_object(t);
}

/* What stands around the archive in the multipart form. */
static enum err parts(struct batch_op *o, struct arc_batch_stream_conf *conf)
{
    struct arena *a = o->req->arena;
    struct str id = arc_batch_id(o->run), ext = arc_format_ext(o->batch->format);
    struct buf *t = ARENA_NEW(a, struct buf), json = BUF_INIT(METADATA_MAX);

    buf_init(t, METADATA_MAX);
    arena_defer(a, (void (*)(void *))buf_release, t);
    buf_addf(t, "--sluice-" STR_FMT "\r\nContent-Disposition: form-data; name=\"metadata\"\r\n", STR_ARG(id));
    buf_add_z(t, "Content-Type: application/json\r\n\r\n");
    metadata(&json, o->batch, id);
    buf_add_str(t, buf_str(&json));
    t->over |= json.over;
    buf_release(&json);
    buf_addf(t, "\r\n--sluice-" STR_FMT "\r\nContent-Disposition: form-data; name=\"archive\"; ", STR_ARG(id));
    buf_addf(t, "filename=\"archive" STR_FMT "\"\r\nContent-Type: " STR_FMT "\r\n\r\n", STR_ARG(ext),
             STR_ARG(arc_format_type(o->batch->format)));
    conf->before = buf_str(t);
    conf->after = arena_printf(a, "\r\n--sluice-" STR_FMT "--\r\n", STR_ARG(id));
    o->res->type = arena_printf(a, "multipart/mixed; boundary=sluice-" STR_FMT, STR_ARG(id));
    return buf_err(t);
}

static bool too_many_missing(const struct batch_op *o)
{
    uint64_t max = arc_batches_conf(o->req->batches)->soft_errors_max, n = 0;

    for (size_t i = 0; max && i < o->batch->count; i++)
        n += o->batch->rows[i].err != ERR_OK;
    return n > max;
}

static enum step_next batch_make(struct op *op)
{
    struct batch_op *o = OP(op, struct batch_op);
    struct arc_batch_stream_conf conf = {.loop = o->req->loop, .batches = o->req->batches, .run = o->run};
    struct batch_walk *w = ARENA_NEW(o->req->arena, struct batch_walk);
    enum err e;

    if (too_many_missing(o))
        return op_fail(op, ERR_INVALID_REQUEST);
    o->res->type = arc_format_type(o->batch->format);
    o->res->id = arena_str(o->req->arena, arc_batch_id(o->run));
    if (!o->batch->strm && (e = parts(o, &conf)) != ERR_OK)
        return op_fail(op, e);
    w->req = o->req;
    w->batch = o->batch;
    w->run = o->run;
    conf.archive = batch_walk_open(w);
    o->res->body = arc_batch_stream(&conf);
    o->run = NULL;
    return op_go(op, batch_end);
}

static enum step_next batch_end(struct op *op)
{
    struct batch_op *o = OP(op, struct batch_op);

    arena_release(&o->arena);
    if (o->run)
        arc_batches_end(o->req->batches, o->run, op->err);
    call_finish(o->whole, op->err);
    return STEP_DONE;
}

static void batch_cancel(void *arg)
{
    op_cancel(&((struct batch_op *)arg)->op, ERR_CANCELLED);
}

void arc_batch_open(const struct arc_batch_req *req, struct arc_batch_res *res, struct call *call)
{
    struct batch_op *o = ARENA_NEW(req->arena, struct batch_op);
    bool plain = req->batch->format == ARC_TAR || req->batch->format == ARC_ZIP;
    enum err e;

    o->req = req;
    o->res = res;
    o->whole = call;
    o->batch = req->batch;
    for (size_t i = 0; i < o->batch->count && !req->arcs; i++)
        if (o->batch->rows[i].archpath.n || o->batch->rows[i].selects)
            o->batch->rows[i].err = ERR_NOT_IMPLEMENTED;
    *res = (struct arc_batch_res){.bad = SIZE_MAX};
    uint64_t bytes = WINDOW_BYTES + (plain ? 0 : ENCODER_BYTES);
    if (req->batch->transforms)
        bytes += (uint64_t)BATCH_TRANSFORMS * ARC_RESULT_MAX;
    e = arc_batches_begin(req->batches, req->bucket, bytes, &o->run);
    if (e != ERR_OK) {
        call_finish(call, e);
        return;
    }
    op_start(&o->op, req->loop, "batch", batch_select, batch_end);
    call_on_cancel(call, batch_cancel, o);
}
