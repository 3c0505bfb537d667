/* What there is only for buckets with a remote bucket behind them: evicting a whole one. */
#include "gateway/native_request.h"

struct evict {
    struct bucket_purge_req purge;
    struct bucket_purge_res purged;
    struct bucket_delete_req del;
    struct bucket_delete_res deleted;
};

static step_fn evict_purged, evict_done;

/* All copies go, uploads under way, too; with keep_bck_md=false the bucket's record as well. The remote keeps what it has. */
enum step_next native_evict_bucket(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct evict *e = r->state = ARENA_NEW(r->arena, struct evict);
    const struct bucket *b = &r->bucket.found;

    if (!b->id.backend)
        return op_fail(op, native_error(r, ERR_INVALID_ARGUMENT,
                                        "evict-remote-bck: " STR_FMT " has no remote bucket behind it",
                                        STR_ARG(native_bucket_text(r->arena, &r->bucket))));
    if (!native_query_bool(r, STR("keep_bck_md"))) {
        e->del = (struct bucket_delete_req){
            .arena = r->arena, .store = r->env->s3->store, .name = b->id.name, .objects = true};
        buckets_delete(r->env->s3->buckets, &e->del, &e->deleted, op_try(op, evict_done));
        return STEP_WAIT;
    }
    e->purge = (struct bucket_purge_req){.arena = r->arena, .bucket = b->id, .objects = true};
    store_bucket_purge(r->env->s3->store, &e->purge, &e->purged, op_try(op, evict_purged));
    return STEP_WAIT;
}

/* Sealed by that: writes are accepted again. */
static enum step_next evict_purged(struct op *op)
{
    struct native_request *r = NATIVE(op);
    struct evict *e = r->state;

    if (op->call.err != ERR_OK)
        return op_fail(op, native_fail(r, op->call.err, &r->bucket, STR_NONE));
    e->purge.unseal = true;
    store_bucket_purge(r->env->s3->store, &e->purge, &e->purged, op_try(op, evict_done));
    return STEP_WAIT;
}

static enum step_next evict_done(struct op *op)
{
    struct native_request *r = NATIVE(op);
    enum err e = op->call.err;

    return e == ERR_OK ? op_go(op, native_send) : op_fail(op, native_fail(r, e, &r->bucket, STR_NONE));
}
