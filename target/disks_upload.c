/* Multipart uploads stay on the mountpath where they were begun; while objects move that need not be where the key belongs. */
#include "target/disks_own.h"

#include "target/upload.h"

/* BLOCKING */
static enum err where_task(struct offload_task *t)
{
    struct upload_where *w = CONTAINER(t, struct upload_where, task);
    const struct disk_set *s = w->use->set;

    for (size_t i = 0; i < s->count; i++) {
        struct upload_find f;
        enum err e;
        if (!s->disks[i].mountpath)
            continue;
        e = upload_find_init(&f, w->local, s->disks[i].mountpath, w->bucket.uid, w->key, w->upload_id);
        if (e == ERR_OK)
            e = upload_find_on_disk(&f);
        upload_find_release(&f);
        if (e == ERR_OK) {
            w->at = i;
            w->found = true;
            return ERR_OK;
        }
        if (e != ERR_NO_SUCH_UPLOAD)
            return e;
    }
    return s->out ? ERR_UNAVAILABLE : ERR_OK;
}

/* The first mountpath in use of those that the key belongs to: where uploads begin. */
static size_t lead_of(const struct upload_where *w)
{
    size_t copies = disk_copies(w->bucket.redundancy);
    uint8_t rank[REDUNDANCY_COPIES_MAX];
    size_t n = disk_rank(w->use->set, w->bucket.uid, w->key, copies, rank);

    for (size_t k = 0; k < n; k++)
        if (disk_knows(&w->use->set->disks[rank[k]], copies))
            return rank[k];
    return rank[0];
}

void upload_where(struct upload_where *w, struct call *whole)
{
    w->at = lead_of(w);
    if (w->use->set->calm && disk_copies(w->bucket.redundancy) == 1) {
        w->found = w->use->set->disks[w->at].mountpath != NULL;
        call_finish(whole, w->found ? ERR_OK : ERR_UNAVAILABLE);
        return;
    }
    offload_run(w->local->conf.io, &w->task, where_task, whole);
}

/* ---- methods that go where the upload is ---- */

typedef void ask_fn(struct store *, const void *req, void *res, struct call *);

struct upload_op {
    struct op op;
    struct upload_where where;
    ask_fn *ask;
    const void *req;
    void *res;
    struct call *whole;
};

static step_fn upload_start, upload_found, upload_end; /* in order */

static enum step_next upload_start(struct op *op)
{
    struct upload_op *u = OP(op, struct upload_op);

    upload_where(&u->where, op_call(op, upload_found));
    return STEP_WAIT;
}

static enum step_next upload_found(struct op *op)
{
    struct upload_op *u = OP(op, struct upload_op);

    if (!u->where.found)
        return op_fail(op, ERR_NO_SUCH_UPLOAD);
    u->ask(&u->where.use->members[u->where.at].store, u->req, u->res, op_call(op, upload_end));
    return STEP_WAIT;
}

static enum step_next upload_end(struct op *op)
{
    struct upload_op *u = OP(op, struct upload_op);

    call_finish(u->whole, op->err);
    return STEP_DONE;
}

static void upload_cancel(void *arg)
{
    op_cancel(&((struct upload_op *)arg)->op, ERR_CANCELLED);
}

struct upload_ask {
    struct store *store;
    struct arena *arena;
    const struct bucket_id *bucket;
    struct str key, upload_id;
    ask_fn *ask;
    const void *req;
    void *res;
};

static void ask_where(const struct upload_ask *a, struct call *whole)
{
    struct disk_handle *h = disk_handle_of(a->store);
    struct upload_op *u = ARENA_NEW(a->arena, struct upload_op);

    u->where = (struct upload_where){.local = h->local,
                                     .use = disk_pin_for(h, a->arena),
                                     .bucket = *a->bucket,
                                     .key = a->key,
                                     .upload_id = a->upload_id};
    u->ask = a->ask;
    u->req = a->req;
    u->res = a->res;
    u->whole = whole;
    op_start(&u->op, whole->loop, "disks_upload", upload_start, upload_end);
    call_on_cancel(whole, upload_cancel, u);
}

#define ASK_WHERE(method)                                                                                              \
    static void ask_##method(struct store *s, const void *req, void *res, struct call *c)                              \
    {                                                                                                                  \
        local_##method(s, req, res, c);                                                                                \
    }                                                                                                                  \
    void disks_##method(struct store *s, const struct method##_req *req, struct method##_res *res, struct call *c)     \
    {                                                                                                                  \
        ask_where(&(struct upload_ask){s, req->arena, &req->bucket, req->key, req->upload_id, ask_##method, req, res}, \
                  c);                                                                                                  \
    }

ASK_WHERE(upload_part)
ASK_WHERE(upload_abort)
ASK_WHERE(part_list)
