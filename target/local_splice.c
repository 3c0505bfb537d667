#include "target/engine.h"

#include <stdlib.h>

#include "base/clock.h"
#include "store/erasure.h"
#include "store/source_chain.h"
#include "target/gated.h"
#include "target/splice_plan.h"

/* A splice: the body comes in as that of a put, then the plan tells of which segments the new object consists; what is better written
 * anew is copied to a segment of its own. A manifest puts them together, as that of a multipart object. The commit takes it only if the
 * object is still the one that the plan was made of. */
struct splice_op {
    struct op op;
    struct local *local;
    struct mountpath *mountpath;
    const struct obj_splice_req *req;
    struct obj_splice_res *res;
    struct call *whole;
    struct lookup lookup;
    struct hot *from; /* what is spliced */
    struct extent_hold hold;
    bool holds;
    struct splice_plan plan;
    struct body_check check; /* of what is written anew */
    struct ingest body, anew;
    struct source *empty, *chain;
    struct sealing body_sealing, anew_sealing, desc;
    struct offload_task task;
    struct hot *hot; /* what is to be committed */
    struct gated gated;
    struct commit commit;
    bool submitted;
    struct index_key key;
};

/* in order; splice_end always runs */
static step_fn splice_start, splice_found, splice_held, splice_body, splice_anew, splice_seal, splice_sealed,
    splice_gated, splice_commit, splice_end;

static enum step_next splice_start(struct op *op)
{
    struct splice_op *p = OP(op, struct splice_op);
    enum err e;

    if ((e = committer_check_bucket(p->mountpath->committer, p->req->bucket.uid)) != ERR_OK)
        return op_fail(op, e);
    if (atomic_load_explicit(&p->mountpath->full, memory_order_relaxed))
        return op_fail(op, ERR_NO_SPACE);
    if (committer_is_broken(p->mountpath->committer))
        return op_fail(op, ERR_IO);
    lookup_init(&p->lookup, p->local, p->mountpath, p->req->bucket.uid, p->req->key, WANT_BODY);
    op->call.err = lookup_now(&p->lookup);
    if (op->call.err != ERR_AGAIN)
        return op_go(op, splice_found);
    lookup_run(&p->lookup, op_try(op, splice_found));
    return STEP_WAIT;
}

/* ---- the body ---- */

static void ingest_prepare(struct splice_op *p, struct ingest *in)
{
    in->io = p->local->conf.io;
    in->cpu = p->local->conf.cpu;
    in->dir = p->mountpath->segments;
    in->encrypt = object_is_encrypted(&p->from->rec.info);
}

static enum step_next splice_found(struct op *op)
{
    struct splice_op *p = OP(op, struct splice_op);
    const struct obj_splice_req *req = p->req;
    enum err e = op->call.err;

    p->from = p->lookup.found;
    p->lookup.found = NULL;
    if (e == ERR_OK || e == ERR_NO_SUCH_KEY) {
        enum err wanted = cond_check_write(&req->cond, p->from ? &p->from->rec.info : NULL);
        e = wanted != ERR_OK ? wanted : e;
    }
    if (e == ERR_OK &&
        (p->from->rec.info.layout.n || req->bucket.versions)) /* nobody here has its content; the old one lasts */
        e = ERR_NOT_IMPLEMENTED;
    if (e == ERR_OK)
        e = splice_plan_init(&p->plan, p->from, req->offset, req->cut);
    if (e == ERR_OK && p->plan.size - req->cut > req->size_max)
        e = ERR_ENTITY_TOO_LARGE;
    if (e != ERR_OK)
        return op_fail(op, e);
    p->holds = local_hold(p->local, p->from, &p->hold, req->arena);
    if (!p->holds)
        return op_go(op, splice_held);
    lookup_check(&p->lookup, p->from, op_call(op, splice_held));
    return STEP_WAIT;
}

/* The old content stays as long as it takes, although the body may come slowly, and even if the object is replaced. */
static enum step_next splice_held(struct op *op)
{
    struct splice_op *p = OP(op, struct splice_op);
    const struct obj_splice_req *req = p->req;
    struct ingest *in = &p->body;

    ingest_prepare(p, in);
    in->body = req->body;
    in->check = req->check;
    in->inline_max = SPLICE_WHOLE_MAX;
    in->size_max = req->size_max - (p->plan.size - req->cut);
    if (!in->body)
        in->body = p->empty = source_memory(STR(""), NULL, NULL);
    ingest_run(in, op_call(op, splice_body));
    return STEP_WAIT;
}

static bool in_memory(const struct splice_op *p)
{
    return p->body.size && p->body.staged.fd < 0;
}

/* ---- what is written anew ---- */

/* Up to two ranges of the old object and a body that is in memory; a whole object has the body between the two. */
enum { CHAIN_FIRST, CHAIN_SECOND, CHAIN_THIRD, CHAIN_COUNT };

static enum err open_range(struct splice_op *p, uint64_t from, uint64_t to, struct source **out)
{
    return local_source(p->local, p->mountpath, p->from, from, to - from, out);
}

static enum err open_body(struct splice_op *p, struct source **out)
{
    *out = source_memory(in_memory(p) ? p->body.inline_bytes : STR(""), NULL, NULL);
    return ERR_OK;
}

static void chain_open(void *arg, size_t i, struct source **out, struct call *call)
{
    struct splice_op *p = arg;
    const struct splice_plan *plan = &p->plan;
    bool kept = plan->whole || plan->bare;
    enum err e;

    if (i == CHAIN_FIRST)
        e = kept ? open_range(p, 0, plan->offset, out) : open_range(p, plan->merge_from, plan->merge_to, out);
    else if (kept && i == (plan->whole ? CHAIN_THIRD : CHAIN_SECOND))
        e = open_range(p, plan->offset + plan->cut, plan->size, out);
    else if (i == (plan->whole ? CHAIN_SECOND : CHAIN_THIRD))
        e = open_body(p, out);
    else
        e = open_range(p, 0, 0, out);
    call_finish(call, e);
}

static uint64_t anew_size(const struct splice_op *p)
{
    const struct splice_plan *plan = &p->plan;
    uint64_t old = plan->whole || plan->bare ? plan->size - plan->cut : plan->merge_to - plan->merge_from;

    return old + (in_memory(p) ? p->body.size : 0);
}

static enum step_next splice_body(struct op *op)
{
    static const struct chain_ops ops = {.open = chain_open};
    struct splice_op *p = OP(op, struct splice_op);
    struct ingest *in = &p->anew;
    enum hash_alg alg = p->from->rec.info.checksum.digest.alg;

    splice_plan_decide(&p->plan, p->body.size);
    if (!p->plan.whole && anew_size(p) == 0)
        return op_go(op, splice_seal);
    p->check.checksum = p->plan.whole && p->from->rec.info.checksum.type == CHECKSUM_FULL_OBJECT ? alg : HASH_NONE;
    ingest_prepare(p, in);
    in->body = p->chain = source_chain(op->loop, anew_size(p), CHAIN_COUNT, &ops, p);
    in->check = &p->check;
    in->inline_max = p->plan.whole ? p->local->conf.inline_max : 0;
    in->size_max = anew_size(p);
    ingest_run(in, op_call(op, splice_anew));
    return STEP_WAIT;
}

static enum step_next splice_anew(struct op *op)
{
    struct splice_op *p = OP(op, struct splice_op);

    return p->anew.size == anew_size(p) ? op_go(op, splice_seal) : op_fail(op, ERR_CORRUPT);
}

/* ---- the new record ---- */

static struct record describe(const struct splice_op *p)
{
    const struct object_info *old = &p->from->rec.info;
    struct record r = {.info = *old};

    r.info.size = p->plan.size - p->plan.cut + p->body.size;
    r.info.mtime_ns = clock_wall_ns();
    if (r.info.mtime_ns <= old->mtime_ns && old->mtime_ns < INT64_MAX)
        r.info.mtime_ns = old->mtime_ns + 1;
    r.info.checksum = (struct checksum){0};
    r.info.parts = 0;
    r.info.upload_id = STR_NONE;
    etag_splice(&r.info.etag, &old->etag, old->parts == 0, p->plan.offset, p->plan.cut, p->body.md5.b);
    return r;
}

/* A small one is as if it had been put. */
static enum err build_whole(struct splice_op *p)
{
    const struct ingest *in = &p->anew;
    struct record r = describe(p);
    struct description d = {.kind = DESCRIBES_OBJECT, .bucket = p->req->bucket, .key = p->req->key};
    struct buf raw = BUF_INIT(RECORD_MAX);
    struct str bytes = STR_NONE;
    enum err e = ERR_OK;

    etag_from_md5(&r.info.etag, in->md5.b);
    r.info.checksum = (struct checksum){.digest = in->checksum, .type = CHECKSUM_FULL_OBJECT};
    if (in->staged.fd >= 0) {
        r.kind = BODY_SEGMENT;
        r.body = in->staged.id;
    } else if (in->size) {
        e = local_keep_inline(p->mountpath, in, p->req->arena, &r, &bytes);
    }
    if (e == ERR_OK && (e = record_encode(&raw, &r)) == ERR_OK)
        e = hot_new(index_key_str(&p->key), buf_str(&raw), bytes, &p->hot);
    buf_release(&raw);
    if (e != ERR_OK || in->staged.fd < 0)
        return e;
    d.record = p->hot->raw;
    if ((e = sealing_describe(&p->anew_sealing, &d)) != ERR_OK)
        return e;
    return sealing_seal(&p->anew_sealing, p->mountpath, &p->anew.staged);
}

/* A segment that is nothing by itself. */
static enum err seal_piece(struct splice_op *p, struct sealing *s, struct ingest *in)
{
    struct part_record part = {.size = in->size, .mtime_ns = clock_wall_ns(), .segment = in->staged.id};
    struct description d = {.kind = DESCRIBES_PART, .bucket = p->req->bucket, .key = p->req->key};
    struct buf raw = BUF_INIT(RECORD_MAX);
    enum err e;

    if (in->staged.fd < 0)
        return ERR_OK;
    memcpy(part.md5, in->md5.b, sizeof(part.md5));
    part.checksum = in->checksum;
    part_record_encode(&raw, &part);
    d.record = buf_str(&raw);
    if ((e = buf_err(&raw)) == ERR_OK && (e = sealing_describe(s, &d)) == ERR_OK)
        e = sealing_seal(s, p->mountpath, &in->staged);
    buf_release(&raw);
    return e;
}

static enum err plan_pieces(struct splice_op *p, struct buf *manifest)
{
    const struct segment_id *fresh = p->anew.size ? &p->anew.staged.id : NULL;
    struct extent body = {.len = p->body.size};
    uint64_t end = 0;
    enum err e;

    if (in_memory(p)) {
        body.id = *fresh;
        body.offset = p->anew.size - p->body.size;
    } else if (body.len) {
        body.id = p->body.staged.id;
    }
    if ((e = splice_plan_finish(&p->plan, &body, fresh)) != ERR_OK)
        return e;
    manifest_begin_pieces(manifest, (uint32_t)p->plan.pieces.count);
    for (size_t i = 0; i < p->plan.pieces.count; i++) {
        const struct extent *x = &p->plan.pieces.list[i];
        const struct manifest_part part = {.end = end += x->len, .offset = x->offset, .segment = x->id};
        manifest_add_piece(manifest, &part);
    }
    return buf_err(manifest);
}

/* The record's own segment holds no content but says what the pieces are together. */
static enum err seal_description(struct splice_op *p, struct record *r, struct buf *raw, struct str manifest)
{
    struct description d = {
        .kind = DESCRIBES_OBJECT, .bucket = p->req->bucket, .key = p->req->key, .manifest = manifest};
    enum err e = sealing_stage_empty(&p->desc, p->mountpath);

    if (e != ERR_OK)
        return e;
    r->has_desc = true;
    r->desc = p->desc.own.id;
    if ((e = record_encode(raw, r)) != ERR_OK)
        return e;
    d.record = buf_str(raw);
    if ((e = sealing_describe(&p->desc, &d)) != ERR_OK)
        return e;
    return sealing_seal_empty(&p->desc);
}

static enum err build_pieces(struct splice_op *p)
{
    struct buf raw = BUF_INIT(RECORD_MAX), manifest = BUF_INIT(SEGMENT_DESC_MAX);
    struct record r = describe(p);
    enum err e = plan_pieces(p, &manifest);

    r.kind = BODY_MANIFEST;
    segment_id_new(&r.body);
    if (e == ERR_OK && (e = seal_piece(p, &p->body_sealing, &p->body)) == ERR_OK &&
        (e = seal_piece(p, &p->anew_sealing, &p->anew)) == ERR_OK &&
        (e = seal_description(p, &r, &raw, buf_str(&manifest))) == ERR_OK)
        e = hot_new(index_key_str(&p->key), buf_str(&raw), buf_str(&manifest), &p->hot);
    buf_release(&raw);
    buf_release(&manifest);
    return e;
}

static enum err build_task(struct offload_task *t)
{
    struct splice_op *p = CONTAINER(t, struct splice_op, task);

    return p->plan.whole ? build_whole(p) : build_pieces(p);
}

static enum step_next splice_seal(struct op *op)
{
    struct splice_op *p = OP(op, struct splice_op);

    offload_run(p->local->conf.io, &p->task, build_task, op_call(op, splice_sealed));
    return STEP_WAIT;
}

/* ---- the commit ---- */

static enum step_next splice_sealed(struct op *op)
{
    struct splice_op *p = OP(op, struct splice_op);

    if (!p->req->gate)
        return op_go(op, splice_commit);
    p->gated = (struct gated){.local = p->local,
                              .mountpath = p->mountpath,
                              .bucket = p->req->bucket,
                              .key = p->req->key,
                              .arena = p->req->arena};
    gated_enter(&p->gated, p->req->gate, &p->hot, op_call(op, splice_gated));
    return STEP_WAIT;
}

static enum step_next splice_gated(struct op *op)
{
    struct splice_op *p = OP(op, struct splice_op);

    gated_take(&p->gated, op_call(op, splice_commit));
    return STEP_WAIT;
}

static enum err splice_apply(struct commit *m, struct txn *t)
{
    struct splice_op *p = CONTAINER(m, struct splice_op, commit);
    bool keeps = p->req->gate && !p->gated.visit.follows;
    const struct txn_splice s = {.cond = &p->req->cond,
                                 .from = p->from->raw,
                                 .shares = p->plan.shares,
                                 .share_count = p->plan.share_count,
                                 .keeps_mtime = keeps};
    enum err e;

    if (!p->plan.whole && !p->gated.bare)
        return txn_splice(t, p->req->bucket.uid, p->hot, &s);
    if ((e = txn_check_same(t, p->hot->key, s.cond, s.from)) != ERR_OK)
        return e;
    return txn_replace(t, &p->req->bucket, s.cond, p->hot, keeps ? TXN_KEEPS_MTIME : 0);
}

static enum step_next splice_commit(struct op *op)
{
    struct splice_op *p = OP(op, struct splice_op);

    p->submitted = true;
    commit_submit(p->mountpath->committer, &p->commit, splice_apply, op_call(op, splice_end));
    return STEP_WAIT;
}

/* Cancelled while it was committed, it is committed nevertheless. */
static enum step_next splice_end(struct op *op)
{
    struct splice_op *p = OP(op, struct splice_op);
    bool committed = p->submitted && p->commit.committed, kept = committed && !p->gated.bare;

    if (committed) {
        p->res->info = p->hot->rec.info;
        arena_defer(p->req->arena, hot_unref, hot_ref(p->hot));
        local_count_written(p->body.size);
    }
    if (p->holds)
        extent_cache_let_go(p->local->extents, &p->hold);
    sealing_end(&p->body_sealing, kept);
    sealing_end(&p->anew_sealing, kept);
    sealing_end(&p->desc, kept);
    gated_end(&p->gated, committed);
    ingest_release(&p->anew);
    source_close(p->chain);
    ingest_release(&p->body);
    source_close(p->empty);
    splice_plan_release(&p->plan);
    hot_unref(p->hot);
    hot_unref(p->from);
    hot_unref(p->lookup.found);
    call_finish(p->whole, committed ? ERR_OK : op->err == ERR_AGAIN ? ERR_CONFLICT : op->err);
    return STEP_DONE;
}

static void splice_cancel(void *arg)
{
    op_cancel(&((struct splice_op *)arg)->op, ERR_CANCELLED);
}

void local_obj_splice(struct store *s, const struct obj_splice_req *req, struct obj_splice_res *res, struct call *c)
{
    struct splice_op *p = ARENA_NEW(req->arena, struct splice_op);

    p->local = local_of(s);
    p->mountpath = local_at(s);
    p->req = req;
    p->res = res;
    p->whole = c;
    ingest_init(&p->body);
    ingest_init(&p->anew);
    index_object(&p->key, req->bucket.uid, req->key);
    op_start(&p->op, c->loop, "local_splice", splice_start, splice_end);
    call_on_cancel(c, splice_cancel, p);
}
