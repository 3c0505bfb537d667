#include "job_wide.h"

#include "base/op.h"
#include "target/redundant.h"

/* ---- whose key is it ---- */

enum role { PART_NONE, PART_LEADS, PART_LEFT_OVER };

static bool is_among(const struct map *m, const struct map_members *s, struct str id)
{
    for (size_t i = 0; i < s->count; i++)
        if (str_eq(m->nodes[s->nodes[i]].id, id))
            return true;
    return false;
}

static enum role part_of(const struct job_wide *w, struct bucket_id bucket, struct str key)
{
    unsigned width = redundancy_width(bucket.redundancy);
    struct map_members now, before;

    map_members(w->map, bucket.uid, key, width, &now);
    if (now.lead >= 0 && str_eq(w->map->nodes[now.nodes[now.lead]].id, w->env->self))
        return PART_LEADS;
    if (!w->own || is_among(w->map, &now, w->env->self))
        return PART_NONE;
    map_members_before(w->map, bucket.uid, key, width, &before);
    return is_among(w->map, &before, w->env->self) ? PART_NONE : PART_LEFT_OVER;
}

bool job_wide_wanted(void *wide, struct bucket_id bucket, struct str key)
{
    return part_of(wide, bucket, key) != PART_NONE;
}

/* ---- one key ---- */

struct wide_key {
    struct op op;
    struct job_wide *wide;
    struct job_scan_key *key;
    struct call *whole;
    struct redundant_settle_req settle_req;
    struct redundant_settle_res settled;
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct obj_delete_req delete_req;
    struct obj_delete_res deleted;
};

static step_fn wide_begin, wide_settled, wide_told, wide_deleted, wide_end;

static enum step_next wide_begin(struct op *op)
{
    struct wide_key *k = OP(op, struct wide_key);
    struct job_scan_key *key = k->key;

    if (part_of(k->wide, key->bucket, key->key) == PART_LEADS) {
        k->settle_req =
            (struct redundant_settle_req){.arena = key->arena, .bucket = key->bucket, .key = key->key, .content = true};
        redundant_settle(k->wide->env->redundant, &k->settle_req, &k->settled, op_call(op, wide_settled));
        return STEP_WAIT;
    }
    k->head_req = (struct obj_head_req){.arena = key->arena, .bucket = key->bucket, .key = key->key, .cond = COND_INIT};
    store_obj_head(k->wide->env->all, &k->head_req, &k->head, op_try(op, wide_told));
    return STEP_WAIT;
}

static enum step_next wide_settled(struct op *op)
{
    struct wide_key *k = OP(op, struct wide_key);

    k->key->changed = k->settled.changed;
    k->key->bytes = k->settled.bytes;
    return op_go(op, wide_end);
}

/* The lead has it, or says that it is gone: either way this copy is nobody's. */
static enum step_next wide_told(struct op *op)
{
    struct wide_key *k = OP(op, struct wide_key);
    struct job_scan_key *key = k->key;

    if (op->call.err != ERR_OK && op->call.err != ERR_NO_SUCH_KEY)
        return op_fail(op, op->call.err);
    k->delete_req =
        (struct obj_delete_req){.arena = key->arena, .bucket = key->bucket, .key = key->key, .cond = COND_INIT};
    store_obj_delete(k->wide->env->mine, &k->delete_req, &k->deleted, op_call(op, wide_deleted));
    return STEP_WAIT;
}

static enum step_next wide_deleted(struct op *op)
{
    OP(op, struct wide_key)->key->changed = true;
    return op_go(op, wide_end);
}

static enum step_next wide_end(struct op *op)
{
    call_finish(OP(op, struct wide_key)->whole, op->err);
    return STEP_DONE;
}

static void wide_cancel(void *arg)
{
    op_cancel(&((struct wide_key *)arg)->op, ERR_CANCELLED);
}

void job_wide_each(void *wide, struct job_scan_key *key, struct call *call)
{
    struct wide_key *k = ARENA_NEW(key->arena, struct wide_key);

    *k = (struct wide_key){.wide = wide, .key = key, .whole = call};
    op_start(&k->op, call->loop, "wide_key", wide_begin, wide_end);
    call_on_cancel(call, wide_cancel, k);
}
