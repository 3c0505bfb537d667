#include "base/log.h"
#include "target/slices_own.h"

/* What is known of a slice at one place. */
enum found { FOUND_NOWHERE, FOUND_UNKNOWN, FOUND_GOOD, FOUND_BAD };

struct looking {
    struct call call;
    struct settling *all;
    struct store *store; /* NULL: not asked */
    struct obj_head_req req;
    struct obj_head_res res;
    enum found found;
    bool out; /* gets nothing, and that is known */
};
struct settling {
    struct op op;
    struct version version;
    const struct slices_settle_req *req;
    struct slices_settle_res *res;
    struct call *whole;
    struct looking now[REDUNDANCY_SLICES_MAX], before[REDUNDANCY_SLICES_MAX];
    unsigned outstanding;
    enum err failed; /* the first thing that could not be done */
    unsigned slice;  /* at work on */
    struct slice_check check;
    struct obj_get_req get_req;
    struct obj_get_res get;
    struct slice_rebuild rebuild;
    bool rebuilds;
    struct source *body;
    struct body_check digests;
    struct obj_put_req put_req;
    struct obj_put_res put;
    struct obj_delete_req delete_req;
    struct obj_delete_res deleted;
};

static step_fn settle_look, settle_looked, settle_verify, settle_verified, settle_place, settle_moving,
    settle_rebuilding, settle_put, settle_drop, settle_next, settle_end;

/* ---- what is there ---- */

static void looking_done(struct call *c)
{
    struct looking *l = CONTAINER(c, struct looking, call);
    struct settling *s = l->all;
    bool before = l >= s->before && l < s->before + REDUNDANCY_SLICES_MAX;
    unsigned slice = (unsigned)(l - (before ? s->before : s->now));

    if (c->err == ERR_OK)
        l->found = l->res.info.size == erasure_stored(&s->version.layout, slice) ? FOUND_GOOD : FOUND_BAD;
    else if (c->err == ERR_CORRUPT)
        l->found = FOUND_BAD;
    else if (c->err == ERR_NO_SUCH_KEY || c->err == ERR_NO_SUCH_BUCKET)
        l->found = FOUND_NOWHERE;
    else
        l->found = FOUND_UNKNOWN;
    if (--s->outstanding == 0)
        call_finish(&s->op.call, ERR_OK);
}

static void look_at(struct settling *s, const struct place *p, struct looking *l, unsigned slice)
{
    l->all = s;
    l->store = erasure_stored(&s->version.layout, slice) ? place_store(&s->version, p) : NULL;
    l->out = !p->exists || p->out;
    l->found = p->exists ? FOUND_UNKNOWN : FOUND_NOWHERE;
    if (!l->store)
        return;
    l->req = (struct obj_head_req){.arena = s->req->arena,
                                   .bucket = s->version.shadow,
                                   .key = version_slice_key(&s->version, slice, s->req->arena),
                                   .cond = COND_INIT};
    s->outstanding++;
    call_begin(&l->call, s->op.loop, looking_done);
    store_obj_head(l->store, &l->req, &l->res, &l->call);
}

static void cancel_looking(void *arg)
{
    struct settling *s = arg;

    for (unsigned i = 0; i < version_slices(&s->version); i++) {
        call_cancel(&s->now[i].call);
        call_cancel(&s->before[i].call);
    }
}

static enum step_next settle_look(struct op *op)
{
    struct settling *s = OP(op, struct settling);
    struct places places;
    enum err e = version_init(&s->version, s->version.env, s->req->bucket, s->req->key, s->req->layout);

    if (e != ERR_OK)
        return op_fail(op, e);
    version_places(&s->version, &places);
    call_on_cancel(op_call(op, settle_looked), cancel_looking, s);
    s->outstanding = 1;
    for (unsigned i = 0; i < version_slices(&s->version); i++) {
        look_at(s, &places.now[i], &s->now[i], i);
        look_at(s, &places.before[i], &s->before[i], i);
    }
    if (--s->outstanding == 0)
        call_finish(&op->call, ERR_OK);
    return STEP_WAIT;
}

/* What is made anew is encrypted if the others are. */
static bool is_encrypted(const struct settling *s)
{
    for (unsigned i = 0; i < version_slices(&s->version); i++)
        if (object_is_encrypted(&s->now[i].res.info) || object_is_encrypted(&s->before[i].res.info))
            return true;
    return false;
}

static enum step_next settle_looked(struct op *op)
{
    struct settling *s = OP(op, struct settling);

    s->version.shadow.encrypted = is_encrypted(s);
    return op_go(op, s->req->verify ? settle_verify : settle_place);
}

static enum step_next settle_verify(struct op *op)
{
    struct settling *s = OP(op, struct settling);

    while (s->slice < version_slices(&s->version) && s->now[s->slice].found != FOUND_GOOD)
        s->slice++;
    if (s->slice == version_slices(&s->version)) {
        s->slice = 0;
        return op_go(op, settle_place);
    }
    s->check = (struct slice_check){.store = s->now[s->slice].store, .req = {s->now[s->slice].req}};
    slice_check_run(&s->check, op_try(op, settle_verified));
    return STEP_WAIT;
}

static enum step_next settle_verified(struct op *op)
{
    struct settling *s = OP(op, struct settling);
    struct looking *l = &s->now[s->slice];
    enum err e = op->call.err;

    if (e == ERR_NO_SUCH_KEY)
        l->found = FOUND_NOWHERE;
    else if (e == ERR_CORRUPT || e == ERR_IO || e == ERR_INCOMPLETE_BODY)
        l->found = FOUND_BAD; /* a peer tells neither apart: its body breaks off */
    else if (e != ERR_OK)
        l->found = FOUND_UNKNOWN;
    if (l->found == FOUND_BAD)
        log_warn(STR_NONE, "slice is damaged", "key=%s slice=%u error=%s", log_quote(s->version.key), s->slice,
                 err_name(e));
    s->slice++;
    return op_go(op, settle_verify);
}

/* ---- putting them in place, one after the other ---- */

static void missed(struct settling *s, enum err e)
{
    if (s->failed == ERR_OK)
        s->failed = e;
}

static unsigned bad_ones(const struct settling *s)
{
    unsigned set = 0;

    for (unsigned i = 0; i < version_slices(&s->version); i++)
        if (s->now[i].found == FOUND_BAD)
            set |= 1u << i;
    return set;
}

static enum step_next settle_place(struct op *op)
{
    struct settling *s = OP(op, struct settling);

    if (s->slice == version_slices(&s->version))
        return s->failed != ERR_OK ? op_fail(op, s->failed) : op_go(op, settle_end);
    const struct looking *now = &s->now[s->slice], *before = &s->before[s->slice];
    uint64_t size = erasure_stored(&s->version.layout, s->slice);
    if (size == 0)
        return op_go(op, settle_next);
    if (now->found == FOUND_GOOD)
        return op_go(op, settle_drop);
    if (now->out) /* brought up to date when it is back */
        return op_go(op, settle_next);
    if (now->found == FOUND_UNKNOWN) {
        missed(s, ERR_UNAVAILABLE);
        return op_go(op, settle_next);
    }
    s->rebuilds = before->found != FOUND_GOOD;
    if (!s->rebuilds) {
        s->get_req = (struct obj_get_req){before->req};
        s->get = (struct obj_get_res){0};
        store_obj_get(before->store, &s->get_req, &s->get, op_try(op, settle_moving));
        return STEP_WAIT;
    }
    s->rebuild = (struct slice_rebuild){
        .version = &s->version, .arena = s->req->arena, .wanted = s->slice, .len = size, .without = bad_ones(s)};
    slice_rebuild_run(&s->rebuild, op_try(op, settle_rebuilding));
    return STEP_WAIT;
}

/* `sum`: what it must come to, so that damage gets no good checksum on the way; may be NULL. */
static enum step_next send(struct settling *s, struct source *body, const struct checksum *sum)
{
    s->body = body;
    slice_put_req(&s->version, s->slice, s->req->arena, &s->digests, &s->put_req);
    if (sum && sum->type == CHECKSUM_FULL_OBJECT) {
        s->digests.want_count = 1;
        s->digests.want[0].digest = sum->digest;
        s->digests.want[0].err = ERR_CORRUPT;
    }
    s->put_req.body = body;
    store_obj_put(s->now[s->slice].store, &s->put_req, &s->put, op_try(&s->op, settle_put));
    return STEP_WAIT;
}

static enum step_next settle_moving(struct op *op)
{
    struct settling *s = OP(op, struct settling);

    if (op->call.err != ERR_OK || s->get.head.len != erasure_stored(&s->version.layout, s->slice)) {
        missed(s, op->call.err != ERR_OK ? op->call.err : ERR_CORRUPT);
        source_close(s->get.body);
        s->get.body = NULL;
        return op_go(op, settle_next);
    }
    struct source *body = s->get.body;
    s->get.body = NULL;
    return send(s, body, &s->get.head.info.checksum);
}

static enum step_next settle_rebuilding(struct op *op)
{
    struct settling *s = OP(op, struct settling);

    if (op->call.err != ERR_OK) {
        missed(s, op->call.err);
        return op_go(op, settle_next);
    }
    struct source *body = s->rebuild.source;
    s->rebuild.source = NULL;
    return send(s, body, NULL);
}

static enum step_next settle_put(struct op *op)
{
    struct settling *s = OP(op, struct settling);
    uint64_t size = erasure_stored(&s->version.layout, s->slice);

    source_close(s->body);
    s->body = NULL;
    if (op->call.err != ERR_OK || s->put.info.size != size) {
        missed(s, op->call.err != ERR_OK ? op->call.err : ERR_INCOMPLETE_BODY);
        return op_go(op, settle_next);
    }
    s->now[s->slice].found = FOUND_GOOD;
    s->res->bytes += size;
    if (s->rebuilds)
        s->res->rebuilt++;
    else
        s->res->moved++;
    return op_go(op, settle_drop);
}

/* What is at the former place is no longer needed. */
static enum step_next settle_drop(struct op *op)
{
    struct settling *s = OP(op, struct settling);
    const struct looking *before = &s->before[s->slice];

    if (!before->store || before->found == FOUND_NOWHERE)
        return op_go(op, settle_next);
    s->delete_req = (struct obj_delete_req){
        .arena = s->req->arena, .bucket = s->version.shadow, .key = before->req.key, .cond = COND_INIT};
    store_obj_delete(before->store, &s->delete_req, &s->deleted, op_try(op, settle_next));
    return STEP_WAIT;
}

static enum step_next settle_next(struct op *op)
{
    OP(op, struct settling)->slice++;
    return op_go(op, settle_place);
}

static enum step_next settle_end(struct op *op)
{
    struct settling *s = OP(op, struct settling);

    source_close(s->get.body);
    source_close(s->rebuild.source);
    source_close(s->body);
    call_finish(s->whole, op->err);
    return STEP_DONE;
}

static void settle_cancel(void *arg)
{
    op_cancel(&((struct settling *)arg)->op, ERR_CANCELLED);
}

void slices_settle(const struct slices_env *env, const struct slices_settle_req *req, struct slices_settle_res *res,
                   struct call *whole)
{
    struct settling *s = ARENA_NEW(req->arena, struct settling);

    *res = (struct slices_settle_res){0};
    s->version.env = env;
    s->req = req;
    s->res = res;
    s->whole = whole;
    op_start(&s->op, env->loop, "slices_settle", settle_look, settle_end);
    call_on_cancel(whole, settle_cancel, s);
}
