#include <stdlib.h>

#include "base/hash.h"
#include "base/log.h"
#include "target/slices_own.h"

/* One slice on its way to its node. */
struct sending {
    struct call call;
    struct writing *all;
    struct store *store; /* NULL: it is left out */
    struct source *body;
    struct body_check check;
    struct obj_put_req req;
    struct obj_put_res res;
    bool began;
};
/* The content's part that is data slice i, read twice: to be sent and to be computed with. */
struct reading {
    struct range range;
    struct obj_get_res sent, computed;
    struct group_call sent_call, computed_call;
};
struct writing {
    struct op op;
    struct version version;
    const struct slices_write_req *req;
    struct slices_write_res *res;
    struct call *whole;
    char layout[ERASURE_LAYOUT_MAX];
    struct reading readings[REDUNDANCY_SLICES_MAX];
    struct call_group group;
    struct sending sendings[REDUNDANCY_SLICES_MAX];
    unsigned outstanding;
    enum err err; /* the first of the sendings */
    bool cleared;
    struct slices_delete_req undo;
};

static step_fn write_begin, write_opened, write_sent, write_end;

/* ---- where to ---- */

static enum err choose_nodes(struct writing *w)
{
    const struct version *v = &w->version;
    struct places places;
    unsigned chosen = 0;

    version_places(v, &places);
    for (unsigned i = 0; i < version_slices(v); i++) {
        const struct place *p = &places.now[i];
        if (!p->exists || p->out)
            continue;
        /* until the map puts it out nobody else knows that it lacks this slice */
        if (!(w->sendings[i].store = place_store(v, p)))
            return ERR_UNAVAILABLE;
        chosen++;
    }
    return chosen < redundancy_min_slices(w->req->bucket.redundancy) ? ERR_UNAVAILABLE : ERR_OK;
}

static bool sends_parity(const struct writing *w)
{
    for (unsigned i = w->version.layout.data; i < version_slices(&w->version); i++)
        if (w->sendings[i].store)
            return true;
    return false;
}

/* ---- reading the content ---- */

static void open_piece(struct writing *w, struct range *range, struct obj_get_res *res, struct group_call *member)
{
    struct gate_visit *visit = w->req->visit;

    visit->read(visit, range, w->req->arena, res, group_call(&w->group, member));
}

static void cancel_readings(void *arg)
{
    struct writing *w = arg;

    for (unsigned i = 0; i < w->version.layout.data; i++) {
        call_cancel(&w->readings[i].sent_call.call);
        call_cancel(&w->readings[i].computed_call.call);
    }
}

static enum step_next write_begin(struct op *op)
{
    struct writing *w = OP(op, struct writing);
    const struct erasure_layout *l = &w->version.layout;
    enum err e;

    if ((e = choose_nodes(w)) != ERR_OK)
        return op_fail(op, e);
    call_group_init(&w->group, op_call(op, write_opened));
    call_on_cancel(&op->call, cancel_readings, w);
    for (unsigned i = 0; i < l->data; i++) {
        struct reading *r = &w->readings[i];
        uint64_t at = i * l->slice_size, n = erasure_stored(l, i);
        if (n == 0)
            continue;
        r->range = (struct range){RANGE_FROM_TO, at, at + n - 1};
        if (w->sendings[i].store)
            open_piece(w, &r->range, &r->sent, &r->sent_call);
        if (sends_parity(w))
            open_piece(w, &r->range, &r->computed, &r->computed_call);
    }
    call_group_seal(&w->group);
    return STEP_WAIT;
}

/* ---- sending ---- */

static void cancel_sendings(void *arg)
{
    struct writing *w = arg;

    for (unsigned i = 0; i < version_slices(&w->version); i++)
        call_cancel(&w->sendings[i].call);
}

/* Its body ends with it: the other parity slices must not wait for who reads no more. */
static void sending_done(struct call *c)
{
    struct sending *s = CONTAINER(c, struct sending, call);
    struct writing *w = s->all;
    enum err e = c->err;

    source_close(s->body);
    s->body = NULL;
    if (e == ERR_OK && s->res.info.size != s->req.size_max)
        e = ERR_INCOMPLETE_BODY;
    if (e != ERR_OK && w->err == ERR_OK) {
        w->err = e;
        cancel_sendings(w);
    }
    if (--w->outstanding == 0)
        call_finish(&w->op.call, ERR_OK);
}

static void make_parity(struct writing *w)
{
    const struct erasure_env env = {w->version.env->loop, w->version.env->cpu};
    const struct erasure_layout *l = &w->version.layout;
    struct source *data[REDUNDANCY_SLICES_MAX], *parity[REDUNDANCY_SLICES_MAX];

    for (unsigned i = 0; i < l->data; i++) {
        data[i] = w->readings[i].computed.body;
        w->readings[i].computed.body = NULL;
    }
    erasure_encode(&env, l, data, parity);
    for (unsigned i = 0; i < l->parity; i++) {
        struct sending *s = &w->sendings[l->data + i];
        s->body = parity[i];
        if (!s->store) {
            source_close(s->body);
            s->body = NULL;
        }
    }
}

static enum step_next write_opened(struct op *op)
{
    struct writing *w = OP(op, struct writing);
    const struct version *v = &w->version;

    for (unsigned i = 0; i < v->layout.data; i++) {
        w->sendings[i].body = w->readings[i].sent.body;
        w->readings[i].sent.body = NULL;
    }
    if (sends_parity(w))
        make_parity(w);
    call_on_cancel(op_call(op, write_sent), cancel_sendings, w);
    w->outstanding = 1;
    for (unsigned i = 0; i < version_slices(v); i++) {
        struct sending *s = &w->sendings[i];
        if (!s->body)
            continue;
        s->all = w;
        s->began = true;
        slice_put_req(v, i, w->req->arena, &s->check, &s->req);
        s->req.body = s->body;
        w->outstanding++;
        call_begin(&s->call, op->loop, sending_done);
        store_obj_put(s->store, &s->req, &s->res, &s->call);
    }
    if (--w->outstanding == 0)
        call_finish(&op->call, ERR_OK);
    return STEP_WAIT;
}

static enum step_next write_sent(struct op *op)
{
    struct writing *w = OP(op, struct writing);

    if (w->err != ERR_OK) {
        log_warn(w->req->arena->id, "slices can't be written", "key=%s error=%s", log_quote(w->req->key),
                 err_name(w->err));
        /* the content was taken: the sender can't go elsewhere with it */
        return op_fail(op, w->err == ERR_STALE_EPOCH ? ERR_UNAVAILABLE : w->err);
    }
    w->res->layout = arena_str(w->req->arena, str_z(w->layout));
    return op_go(op, write_end);
}

/* No record names what a write that failed has sent. */
static bool must_clear(struct writing *w)
{
    bool began = false;

    for (unsigned i = 0; i < version_slices(&w->version); i++)
        began |= w->sendings[i].began;
    return began && !w->cleared && w->op.err != ERR_OK;
}

static enum step_next write_end(struct op *op)
{
    struct writing *w = OP(op, struct writing);

    if (must_clear(w)) {
        w->cleared = true;
        w->undo = (struct slices_delete_req){w->req->arena, w->req->bucket, w->req->key, str_z(w->layout)};
        slices_delete(w->version.env, &w->undo, op_try(op, write_end));
        return STEP_WAIT;
    }
    for (unsigned i = 0; i < REDUNDANCY_SLICES_MAX; i++) {
        source_close(w->readings[i].sent.body);
        source_close(w->readings[i].computed.body);
    }
    call_finish(w->whole, op->err);
    free(w);
    return STEP_DONE;
}

static void write_cancel(void *arg)
{
    op_cancel(&((struct writing *)arg)->op, ERR_CANCELLED);
}

/* Refused before anything began. */
static bool is_cut(struct redundancy r, uint64_t size)
{
    return r.kind == REDUNDANCY_EC && size > 0;
}

void slices_write(const struct slices_env *env, const struct slices_write_req *req, struct slices_write_res *res,
                  struct call *whole)
{
    uint64_t size = req->visit->info->size;
    struct writing *w;

    if (!is_cut(req->bucket.redundancy, size)) {
        call_finish(whole, ERR_INVALID_ARGUMENT);
        return;
    }
    w = NEW(struct writing);
    w->version =
        (struct version){.env = env, .bucket = req->bucket, .shadow = slices_bucket(req->bucket), .key = req->key};
    w->version.shadow.encrypted = object_is_encrypted(req->visit->info);
    erasure_layout(&w->version.layout, req->bucket.redundancy, size);
    random_bytes(&w->version.id, sizeof(w->version.id));
    (void)erasure_put(w->layout, &w->version.layout, w->version.id);
    w->req = req;
    w->res = res;
    w->whole = whole;
    call_on_cancel(whole, write_cancel, w);
    op_start(&w->op, env->loop, "slices_write", write_begin, write_end);
}
