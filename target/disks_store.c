/* The store of all mountpaths together: reads, and the table of methods. */
#include "target/disks_own.h"

#include <stdlib.h>

#include "base/log.h"

/* ---- reads that don't find it at once ---- */

enum { READ_ROUNDS = 2, READ_SETS = 8 };

typedef void ask_fn(struct store *, const void *req, void *res, struct call *);

struct reader {
    struct op op;
    struct disk_handle *handle;
    struct disk_use *use;
    ask_fn *ask;
    const void *req;
    void *res;
    const struct obj_head_req *head; /* of the request */
    struct source **body;            /* of a get's answer */
    struct call *whole;
    size_t copies;
    uint8_t order[MOUNTPATHS_MAX];
    size_t count, at;
    unsigned rounds, sets;
    int bad;      /* the first that failed; -1: none */
    enum err err; /* with which */
};

static step_fn read_start, read_next, read_answered, read_missed, read_end; /* in order */

static bool is_among(const uint8_t *list, size_t n, size_t i)
{
    for (size_t k = 0; k < n; k++)
        if (list[k] == i)
            return true;
    return false;
}

/* Where the key belongs, then, while objects move, everyone else. */
static void make_order(struct reader *r)
{
    const struct disk_set *s = r->use->set;
    uint8_t rank[REDUNDANCY_COPIES_MAX];
    size_t n = disk_rank(s, r->head->bucket.uid, r->head->key, r->copies, rank);

    r->count = r->at = 0;
    for (size_t k = 0; k < n; k++)
        if (disk_knows(&s->disks[rank[k]], r->copies))
            r->order[r->count++] = rank[k];
    for (size_t i = 0; i < s->count && !s->calm; i++)
        if (disk_knows(&s->disks[i], r->copies) && !is_among(rank, n, i))
            r->order[r->count++] = (uint8_t)i;
}

static enum step_next read_start(struct op *op)
{
    struct reader *r = OP(op, struct reader);

    r->use = disk_pin_for(r->handle, r->head->arena);
    r->rounds = 0;
    make_order(r);
    return op_go(op, read_next);
}

static enum step_next read_next(struct op *op)
{
    struct reader *r = OP(op, struct reader);

    if (r->at == r->count)
        return op_go(op, read_missed);
    r->ask(&r->use->members[r->order[r->at]].store, r->req, r->res, op_try(op, read_answered));
    return STEP_WAIT;
}

static enum step_next read_answered(struct op *op)
{
    struct reader *r = OP(op, struct reader);
    enum err e = op->call.err;

    if (e == ERR_OK)
        return op_go(op, read_end);
    if (r->copies > 1 && (e == ERR_IO || e == ERR_CORRUPT)) {
        if (r->bad < 0) {
            r->bad = r->order[r->at];
            r->err = e;
        }
    } else if (e != ERR_NO_SUCH_KEY) {
        return op_fail(op, e);
    }
    r->at++;
    return op_go(op, read_next);
}

/* It may have moved from where we had not looked yet to where we had: a second look finds it. */
static enum step_next read_missed(struct op *op)
{
    struct reader *r = OP(op, struct reader);
    const struct disk_set *s = r->use->set;

    if (!disk_is_current(r->handle, r->use) && ++r->sets < READ_SETS)
        return op_go(op, read_start);
    if (!s->calm && ++r->rounds < READ_ROUNDS) {
        r->at = 0;
        return op_go(op, read_next);
    }
    if (r->bad >= 0)
        return op_fail(op, r->err);
    return op_fail(op, disk_doubt(s, r->head->bucket.uid, r->head->key, r->copies) ? ERR_UNAVAILABLE : ERR_NO_SUCH_KEY);
}

static enum step_next read_end(struct op *op)
{
    struct reader *r = OP(op, struct reader);

    if (op->err != ERR_OK && r->body) { /* cancelled when it was there already */
        source_close(*r->body);
        *r->body = NULL;
    }
    if (op->err == ERR_OK && r->bad >= 0)
        disks_repair(r->handle->local->disks, &r->head->bucket, r->head->key, &r->use->set->disks[r->bad].uuid);
    call_finish(r->whole, op->err);
    return STEP_DONE;
}

static void read_cancel(void *arg)
{
    op_cancel(&((struct reader *)arg)->op, ERR_CANCELLED);
}

static void ask_head(struct store *s, const void *req, void *res, struct call *c)
{
    local_obj_head(s, req, res, c);
}

static void ask_get(struct store *s, const void *req, void *res, struct call *c)
{
    local_obj_get(s, req, res, c);
}

static void read_run(struct reader r, struct call *c)
{
    struct reader *own = ARENA_NEW(r.head->arena, struct reader);

    *own = r;
    own->copies = disk_copies(r.head->bucket.redundancy);
    own->bad = -1;
    own->whole = c;
    op_start(&own->op, c->loop, "disks_read", read_start, read_end);
    call_on_cancel(c, read_cancel, own);
}

/* The member that alone can have the key, or NULL. */
static struct store *only_place(const struct disk_use *u, const struct obj_head_req *req)
{
    if (!u->set->calm || req->bucket.redundancy.kind == REDUNDANCY_MIRROR)
        return NULL;
    size_t at = disk_place(u->set, req->bucket.uid, req->key);
    return u->set->disks[at].mountpath ? (struct store *)&u->members[at].store : NULL;
}

/* What is in memory is answered without steps. A miss counts when nothing has moved since. */
static void disks_obj_head(struct store *s, const struct obj_head_req *req, struct obj_head_res *res, struct call *c)
{
    struct disk_handle *h = disk_handle_of(s);
    struct disk_use *u = disk_pin(h);
    struct store *at = only_place(u, req);
    enum err e = at ? local_head_now(at, req, res) : ERR_AGAIN;

    if (e == ERR_NO_SUCH_KEY && !disk_is_current(h, u))
        e = ERR_AGAIN;
    disk_unpin(u);
    if (e != ERR_AGAIN)
        call_finish(c, e);
    else
        read_run((struct reader){.handle = h, .ask = ask_head, .req = req, .res = res, .head = req}, c);
}

static void disks_obj_get(struct store *s, const struct obj_get_req *req, struct obj_get_res *res, struct call *c)
{
    struct disk_handle *h = disk_handle_of(s);
    struct disk_use *u = disk_pin(h);
    struct store *at = only_place(u, &req->head);
    enum err e = at ? local_get_now(at, req, res) : ERR_AGAIN;

    res->body = e == ERR_OK ? res->body : NULL;
    if (e == ERR_NO_SUCH_KEY && !disk_is_current(h, u))
        e = ERR_AGAIN;
    disk_unpin(u);
    if (e != ERR_AGAIN)
        call_finish(c, e);
    else
        read_run(
            (struct reader){
                .handle = h, .ask = ask_get, .req = req, .res = res, .head = &req->head, .body = &res->body},
            c);
}

/* ---- lists and purges: all mountpaths ---- */

/* Whether objects of the bucket would be missing from a list. */
static bool would_lack(const struct disk_set *s, const struct bucket_id *bucket)
{
    size_t copies = disk_copies(bucket->redundancy), silent = 0;

    for (size_t i = 0; i < s->count; i++)
        silent += !disk_knows(&s->disks[i], copies);
    return silent >= copies;
}

static void disks_obj_list(struct store *s, const struct obj_list_req *req, struct obj_list_res *res, struct call *c)
{
    struct disk_handle *h = disk_handle_of(s);
    struct disk_use *u = disk_pin_for(h, req->arena);

    if (would_lack(u->set, &req->bucket))
        call_finish(c, ERR_UNAVAILABLE);
    else
        local_obj_list(h->local, u->set, req, res, c);
}

/* Uploads have one copy in any bucket. */
static void disks_upload_list(struct store *s, const struct upload_list_req *req, struct upload_list_res *res,
                              struct call *c)
{
    struct disk_handle *h = disk_handle_of(s);
    struct disk_use *u = disk_pin_for(h, req->arena);

    if (u->set->out)
        call_finish(c, ERR_UNAVAILABLE);
    else
        local_upload_list(h->local, u->set, req, res, c);
}

static void disks_bucket_purge(struct store *s, const struct bucket_purge_req *req, struct bucket_purge_res *res,
                               struct call *c)
{
    struct disk_handle *h = disk_handle_of(s);
    struct disk_use *u = disk_pin_for(h, req->arena);

    if (u->set->out && !req->unseal)
        call_finish(c, ERR_UNAVAILABLE);
    else
        local_bucket_purge(h->local, u->set, req, res, c);
}

/* ---- a loop's handle ---- */

static void close_handle(struct store *s)
{
    struct disk_handle *h = disk_handle_of(s);

    disk_handle_close(h);
    free(h);
}

static const struct store_ops disks_ops = {
    .name = "local",
    .obj_head = disks_obj_head,
    .obj_get = disks_obj_get,
    .obj_put = disks_obj_put,
    .obj_delete = disks_obj_delete,
    .obj_copy = disks_obj_copy,
    .obj_import = disks_obj_import,
    .obj_splice = disks_obj_splice,
    .obj_list = disks_obj_list,
    .upload_create = disks_upload_create,
    .upload_part = disks_upload_part,
    .upload_complete = disks_upload_complete,
    .upload_abort = disks_upload_abort,
    .upload_list = disks_upload_list,
    .part_list = disks_part_list,
    .bucket_purge = disks_bucket_purge,
    .close = close_handle,
};

/* Its owner closes it. */
const struct store_ops disk_member_ops = {
    .name = "mountpath",
    .obj_head = local_obj_head,
    .obj_get = local_obj_get,
    .obj_put = local_obj_put,
    .obj_delete = local_obj_delete,
    .obj_copy = local_obj_copy,
    .obj_import = local_obj_import,
    .obj_splice = local_obj_splice,
    .upload_create = local_upload_create,
    .upload_part = local_upload_part,
    .upload_complete = local_upload_complete,
    .upload_abort = local_upload_abort,
    .part_list = local_part_list,
};

struct store *local_store(struct local *l, struct loop *loop)
{
    struct disk_handle *h = NEW(struct disk_handle);

    h->store.ops = &disks_ops;
    disk_handle_open(h, l, loop);
    return &h->store;
}
