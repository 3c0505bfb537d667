#include <stdlib.h>

#include "base/log.h"
#include "target/scan.h"
#include "target/upload.h"

/* bucket_purge: seal on every committer, so that nothing comes in behind the purge's back; then look, then remove in commits of
 * bounded size, one mountpath after the other. */
enum { PURGE_KEYS = 256 };

struct purge_op;
struct purge_seal {
    struct commit commit;
    struct group_call member;
    struct purge_op *purge;
    bool sealed;
};

struct purge_op {
    struct op op;
    struct local *local;
    struct mountpath *mountpaths[MOUNTPATHS_MAX];
    size_t mountpath_count;
    struct disk_set *set;
    const struct bucket_purge_req *req;
    struct bucket_purge_res *res;
    struct call *whole;
    struct purge_seal *seals;
    struct call_group group;
    bool not_empty;
    struct offload_task task;
    uint64_t removed;
    /* the batch under way, of one mountpath */
    size_t at;
    struct arena arena;
    struct str keys[PURGE_KEYS];
    size_t count;
    struct commit commit;
    struct segment_id upload; /* of INDEX_UPLOAD, whose parts go next */
    struct parts_drop drop;
};

static step_fn purge_start, purge_look, purge_looked, purge_uploads, purge_upload_found, purge_upload_gone,
    purge_upload_done, purge_objects, purge_objects_found, purge_objects_gone, purge_end; /* roughly in order */

/* ---- sealing everywhere ---- */

static enum err seal_apply(struct commit *m, struct txn *t)
{
    struct purge_seal *s = CONTAINER(m, struct purge_seal, commit);

    txn_seal(t, s->purge->req->bucket.uid);
    txn_seal(t, s->purge->req->bucket.uid | VERSIONS_SHADOW);
    s->sealed = true;
    return ERR_OK;
}

static void seal_all(struct purge_op *p, struct call *whole)
{
    call_group_init(&p->group, whole);
    for (size_t i = 0; i < p->mountpath_count; i++) {
        p->seals[i].purge = p;
        commit_submit(p->mountpaths[i]->committer, &p->seals[i].commit, seal_apply,
                      group_call(&p->group, &p->seals[i].member));
    }
    call_group_seal(&p->group);
}

/* Where this purge sealed it, or where anyone did. */
static void unseal(struct purge_op *p, bool anyone)
{
    for (size_t i = 0; i < p->mountpath_count; i++)
        if (anyone || p->seals[i].sealed)
            for (uint64_t shadow = 0;; shadow = VERSIONS_SHADOW) {
                committer_unseal(p->mountpaths[i]->committer, p->req->bucket.uid | shadow, anyone);
                if (shadow)
                    break;
            }
}

static enum step_next purge_start(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    if (p->req->unseal) {
        unseal(p, true);
        return op_go(op, purge_end);
    }
    seal_all(p, op_call(op, purge_look));
    return STEP_WAIT;
}

/* ---- is anything in it ---- */

static enum err look_at(struct purge_op *p, struct bucket_id bucket)
{
    struct index_key first;
    struct scan s;

    scan_open(&s, p->set, INDEX_OBJECT, &bucket, STR_NONE);
    index_prefix(&first, INDEX_OBJECT, bucket.uid, STR_NONE);
    scan_seek(&s, &first);
    p->not_empty |= scan_valid(&s);
    enum err e = s.err;
    scan_close(&s);
    return e;
}

static enum err look(struct offload_task *t)
{
    struct purge_op *p = CONTAINER(t, struct purge_op, task);
    enum err e = look_at(p, p->req->bucket);

    return e == ERR_OK ? look_at(p, version_shadow(p->req->bucket)) : e;
}

static enum step_next purge_look(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    if (p->req->objects)
        return p->req->seal ? op_go(op, purge_end) : op_go(op, purge_uploads);
    offload_run(p->local->conf.io, &p->task, look, op_call(op, purge_looked));
    return STEP_WAIT;
}

static enum step_next purge_looked(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    if (p->not_empty)
        return op_fail(op, ERR_BUCKET_NOT_EMPTY);
    return p->req->seal ? op_go(op, purge_end) : op_go(op, purge_uploads);
}

/* ---- the next keys of a mountpath ---- */

/* BLOCKING. At most `max` index keys of a bucket on the mountpath `at`. */
static enum err next_keys(struct purge_op *p, enum index_type type, uint64_t uid, size_t max)
{
    struct index_key begin, end;
    enum err e;

    arena_release(&p->arena);
    p->count = 0;
    index_prefix(&begin, type, uid, STR_NONE);
    end = begin;
    index_successor(&end);
    struct kv_iter *it = kv_iter_open(p->mountpaths[p->at]->kv, &(struct kv_iter_options){.end = index_key_str(&end)});
    for (kv_iter_seek(it, index_key_str(&begin)); kv_iter_valid(it) && p->count < max; kv_iter_next(it))
        p->keys[p->count++] = arena_str(&p->arena, kv_iter_key(it));
    e = kv_iter_err(it);
    kv_iter_close(it);
    return e;
}

static enum err next_upload(struct offload_task *t)
{
    struct purge_op *p = CONTAINER(t, struct purge_op, task);

    return next_keys(p, INDEX_UPLOAD, p->req->bucket.uid, 1);
}

static enum err next_objects(struct offload_task *t)
{
    struct purge_op *p = CONTAINER(t, struct purge_op, task);
    enum err e = next_keys(p, INDEX_OBJECT, p->req->bucket.uid, PURGE_KEYS);

    return e == ERR_OK && p->count == 0 ? next_keys(p, INDEX_OBJECT, p->req->bucket.uid | VERSIONS_SHADOW, PURGE_KEYS)
                                        : e;
}

/* ---- uploads, one by one ---- */

static enum step_next purge_uploads(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    offload_run(p->local->conf.io, &p->task, next_upload, op_call(op, purge_upload_found));
    return STEP_WAIT;
}

static enum err upload_apply(struct commit *m, struct txn *t)
{
    struct purge_op *p = CONTAINER(m, struct purge_op, commit);

    txn_delete(t, p->keys[0]);
    return ERR_OK;
}

static enum step_next purge_upload_found(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    if (p->count == 0) {
        if (++p->at < p->mountpath_count)
            return op_go(op, purge_uploads);
        p->at = 0;
        return op_go(op, purge_objects);
    }
    if (p->keys[0].n <= SEGMENT_ID_LEN)
        return op_fail(op, ERR_CORRUPT);
    memcpy(p->upload.b, p->keys[0].p + p->keys[0].n - SEGMENT_ID_LEN, SEGMENT_ID_LEN);
    commit_submit(p->mountpaths[p->at]->committer, &p->commit, upload_apply, op_call(op, purge_upload_gone));
    return STEP_WAIT;
}

static enum step_next purge_upload_gone(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    parts_drop_run(&p->drop, p->mountpaths[p->at], &p->upload, p->local->conf.io, op_call(op, purge_upload_done));
    return STEP_WAIT;
}

static enum step_next purge_upload_done(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    p->removed++;
    return op_go(op, purge_uploads);
}

/* ---- objects, in batches ---- */

static enum step_next purge_objects(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    if (!p->req->objects)
        return op_go(op, purge_end);
    offload_run(p->local->conf.io, &p->task, next_objects, op_call(op, purge_objects_found));
    return STEP_WAIT;
}

/* Each key is complete in itself, so an error half way leaves nothing inconsistent. */
static enum err objects_apply(struct commit *m, struct txn *t)
{
    struct purge_op *p = CONTAINER(m, struct purge_op, commit);
    enum err e = ERR_OK;

    for (size_t i = 0; i < p->count && e == ERR_OK; i++) {
        struct record r;
        e = txn_object(t, p->keys[i], &r);
        if (e == ERR_OK && (e = txn_release_body(t, &r)) == ERR_OK) {
            txn_delete(t, p->keys[i]);
            txn_cache(t, p->keys[i], NULL);
        } else if (e == ERR_NOT_FOUND) {
            e = ERR_OK;
        }
    }
    return e;
}

static enum step_next purge_objects_found(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    if (p->count == 0)
        return ++p->at < p->mountpath_count ? op_go(op, purge_objects) : op_go(op, purge_end);
    commit_submit(p->mountpaths[p->at]->committer, &p->commit, objects_apply, op_call(op, purge_objects_gone));
    return STEP_WAIT;
}

static enum step_next purge_objects_gone(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    p->removed += p->count;
    return op_go(op, purge_objects);
}

/* ---- the end ---- */

static enum step_next purge_end(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    if (op->err == ERR_OK)
        p->res->removed = p->removed;
    else
        unseal(p, false); /* the bucket goes on */
    arena_release(&p->arena);
    call_finish(p->whole, op->err);
    return STEP_DONE;
}

void local_bucket_purge(struct local *l, struct disk_set *set, const struct bucket_purge_req *req,
                        struct bucket_purge_res *res, struct call *c)
{
    struct purge_op *p = ARENA_NEW(req->arena, struct purge_op);

    p->local = l;
    p->set = set;
    for (size_t i = 0; i < set->count; i++)
        if (set->disks[i].mountpath)
            p->mountpaths[p->mountpath_count++] = set->disks[i].mountpath;
    p->req = req;
    p->res = res;
    p->whole = c;
    p->seals = arena_new(req->arena, p->mountpath_count * sizeof(*p->seals));
    op_start(&p->op, c->loop, "local_bucket_purge", purge_start, purge_end);
}
