#include "target/upload.h"

#include <stdlib.h>

#include "base/log.h"

/* ---- walking the parts ---- */

enum { PART_KEY_LEN = 1 + SEGMENT_ID_LEN + 4 };

static uint32_t part_number(struct str key)
{
    uint32_t v = 0;

    for (size_t i = PART_KEY_LEN - 4; i < PART_KEY_LEN; i++)
        v = v << 8 | (uint8_t)key.p[i];
    return v;
}

enum err upload_parts_each(struct mountpath *m, const struct segment_id *upload, uint32_t after,
                           bool (*fn)(void *arg, uint32_t number, const struct part_record *p), void *arg)
{
    struct index_key begin, end;
    enum err e = ERR_OK;
    bool more = true;

    index_part(&begin, upload, after + 1);
    index_id(&end, INDEX_PART, upload);
    index_successor(&end);
    struct kv_iter *it = kv_iter_open(m->kv, &(struct kv_iter_options){.end = index_key_str(&end)});
    for (kv_iter_seek(it, index_key_str(&begin)); more && kv_iter_valid(it); kv_iter_next(it)) {
        struct part_record p;
        if (kv_iter_key(it).n != PART_KEY_LEN)
            e = ERR_CORRUPT;
        else
            e = part_record_decode(kv_iter_value(it), &p);
        if (e != ERR_OK)
            break;
        more = fn(arg, part_number(kv_iter_key(it)), &p);
    }
    if (e == ERR_OK)
        e = kv_iter_err(it);
    kv_iter_close(it);
    return e;
}

/* ---- dropping them when their upload is gone ---- */

static bool note_segment(void *arg, uint32_t number, const struct part_record *p)
{
    struct parts_drop *d = arg;

    (void)number;
    if (segment_id_is_zero(&p->segment))
        return true;
    if (d->count == d->cap) {
        d->cap = d->cap ? d->cap * 2 : 64;
        d->segments = mem_realloc(d->segments, d->cap * sizeof(*d->segments));
    }
    d->segments[d->count++] = p->segment;
    return true;
}

static enum err drop_read(struct offload_task *t)
{
    struct parts_drop *d = CONTAINER(t, struct parts_drop, task);

    return upload_parts_each(d->mountpath, &d->upload, 0, note_segment, d);
}

/* Nobody adds parts to an upload without a record, so what was read before is all there is. */
static enum err drop_apply(struct commit *m, struct txn *t)
{
    struct parts_drop *d = CONTAINER(m, struct parts_drop, commit);

    for (size_t i = 0; i < d->count; i++)
        txn_unlink(t, &d->segments[i]);
    txn_delete_parts(t, &d->upload);
    return ERR_OK;
}

static void drop_end(struct parts_drop *d, enum err e)
{
    free(d->segments);
    d->segments = NULL;
    if (e != ERR_OK)
        log_warn(STR_NONE, "parts of an ended upload are left to garbage collection", "error=%s", err_name(e));
    call_finish(d->whole, ERR_OK); /* the upload itself is gone either way */
}

static void drop_done(struct call *c)
{
    drop_end(CONTAINER(c, struct parts_drop, call), c->err);
}

static void drop_was_read(struct call *c)
{
    struct parts_drop *d = CONTAINER(c, struct parts_drop, call);

    if (c->err != ERR_OK) {
        drop_end(d, c->err);
        return;
    }
    call_begin(&d->call, d->whole->loop, drop_done);
    commit_submit(d->mountpath->committer, &d->commit, drop_apply, &d->call);
}

void parts_drop_run(struct parts_drop *d, struct mountpath *m, const struct segment_id *upload, struct offload *io,
                    struct call *whole)
{
    *d = (struct parts_drop){.mountpath = m, .upload = *upload, .io = io, .whole = whole};
    call_begin(&d->call, whole->loop, drop_was_read);
    offload_run(io, &d->task, drop_read, &d->call);
}

void txn_delete_parts(struct txn *t, const struct segment_id *upload)
{
    struct index_key begin, end;

    index_id(&begin, INDEX_PART, upload);
    end = begin;
    index_successor(&end);
    txn_delete_range(t, index_key_str(&begin), index_key_str(&end));
}

/* ---- abort ---- */

struct abort_op {
    struct op op;
    struct local *local;
    struct mountpath *mountpath;
    const struct upload_abort_req *req;
    struct call *whole;
    struct upload_find upload;
    struct index_key key;
    struct commit commit;
    struct parts_drop drop;
};

static step_fn abort_start, abort_drop, abort_end;

static enum err abort_apply(struct commit *m, struct txn *t)
{
    struct abort_op *a = CONTAINER(m, struct abort_op, commit);
    struct str raw;
    enum err e = txn_get(t, index_key_str(&a->key), &raw);

    if (e == ERR_OK) {
        txn_delete(t, index_key_str(&a->key));
        txn_changed(t, &a->upload.id);
    }
    return e == ERR_NOT_FOUND ? ERR_NO_SUCH_UPLOAD : e;
}

static enum step_next abort_start(struct op *op)
{
    struct abort_op *a = OP(op, struct abort_op);
    const struct upload_abort_req *req = a->req;
    enum err e = upload_find_init(&a->upload, a->local, a->mountpath, req->bucket.uid, req->key, req->upload_id);

    if (e != ERR_OK)
        return op_fail(op, e);
    index_upload(&a->key, req->bucket.uid, req->key, &a->upload.id);
    commit_submit(a->upload.mountpath->committer, &a->commit, abort_apply, op_call(op, abort_drop));
    return STEP_WAIT;
}

static enum step_next abort_drop(struct op *op)
{
    struct abort_op *a = OP(op, struct abort_op);

    parts_drop_run(&a->drop, a->upload.mountpath, &a->upload.id, a->local->conf.io, op_call(op, abort_end));
    return STEP_WAIT;
}

static enum step_next abort_end(struct op *op)
{
    struct abort_op *a = OP(op, struct abort_op);

    call_finish(a->whole, op->err);
    return STEP_DONE;
}

void local_upload_abort(struct store *s, const struct upload_abort_req *req, struct upload_abort_res *res,
                        struct call *c)
{
    struct abort_op *a = ARENA_NEW(req->arena, struct abort_op);

    (void)res;
    a->local = local_of(s);
    a->mountpath = local_at(s);
    a->req = req;
    a->whole = c;
    op_start(&a->op, c->loop, "local_upload_abort", abort_start, abort_end);
}
