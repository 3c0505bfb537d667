#include "moving.h"

#include <stdlib.h>

#include "target/moving_own.h"

/* ---- where a key is ---- */

void moving_place(struct moving *m, uint64_t uid, struct str key, struct moving_place *out)
{
    const struct map *map = members_map(m->members);
    uint16_t now, before;
    bool is_ours = map_place(map, uid, key, 1, &now) > 0 && str_eq(map->nodes[now].id, m->self);
    bool moves = map_place_before(map, uid, key, 1, &before) > 0;
    bool was_ours = moves && str_eq(map->nodes[before].id, m->self);

    *out = (struct moving_place){.epoch = map->epoch};
    if (is_ours)
        out->where = moves && !was_ours ? MOVING_COMING : MOVING_OURS;
    else
        out->where = was_ours ? MOVING_LEAVING : MOVING_FOREIGN;
    if (out->where == MOVING_COMING) {
        memcpy(out->from, map->nodes[before].id.p, NODE_ID_LEN);
        out->asleep = map->nodes[before].state == NODE_MAINTENANCE;
    }
    map_release(map);
}

struct store *moving_from(struct moving_handle *h, const struct moving_place *place)
{
    struct str id = str_n(place->from, NODE_ID_LEN);
    struct moving_node *n = h->nodes;

    while (n && memcmp(n->id, place->from, NODE_ID_LEN) != 0)
        n = n->next;
    if (!n) {
        n = NEW(struct moving_node);
        memcpy(n->id, place->from, NODE_ID_LEN);
        n->carries_epoch = !h->env.node_store;
        n->store =
            n->carries_epoch ? remote_store_new(&h->env.remote, id) : h->env.node_store(h->env.node_store_arg, id);
        n->next = h->nodes;
        h->nodes = n;
    }
    if (n->carries_epoch)
        remote_store_at(n->store, place->epoch);
    return n->store;
}

/* ---- reads: mine, or P, or both ---- */

typedef void ask_fn(struct store *, const void *req, void *res, struct call *);

struct seek_op {
    struct op op;
    struct moving_handle *handle;
    struct moving_place place;
    ask_fn *ask;
    const void *req;
    void *res;
    struct source **body; /* of a get's answer */
    bool is_ours;         /* MOVING_MARK: what was completed here */
    struct arena *arena;
    struct call *whole;
    unsigned asked;
};

static step_fn seek_mine, seek_from, seek_end;

static enum step_next seek_mine(struct op *op)
{
    struct seek_op *s = OP(op, struct seek_op);

    s->asked++;
    s->ask(s->handle->env.mine, s->req, s->res, op_try(op, seek_from));
    return STEP_WAIT;
}

static enum step_next seek_from(struct op *op)
{
    struct seek_op *s = OP(op, struct seek_op);

    if (op->call.err != ERR_NO_SUCH_KEY || s->asked == 3)
        return op->call.err == ERR_OK ? op_go(op, seek_end) : op_fail(op, op->call.err);
    if (s->asked == 2)
        return op_go(op, seek_mine);
    if (s->place.asleep)
        return op_fail(op, ERR_UNAVAILABLE);
    s->asked++;
    s->ask(moving_from(s->handle, &s->place), s->req, s->res, op_try(op, seek_from));
    return STEP_WAIT;
}

static enum step_next seek_end(struct op *op)
{
    struct seek_op *s = OP(op, struct seek_op);

    if (op->err != ERR_OK && s->body) { /* cancelled when it was there already */
        source_close(*s->body);
        *s->body = NULL;
    }
    call_finish(s->whole, op->err);
    return STEP_DONE;
}

static void seek_cancel(void *arg)
{
    op_cancel(&((struct seek_op *)arg)->op, ERR_CANCELLED);
}

static void seek(struct store *store, ask_fn *ask, const struct seek_op *what, struct bucket_id bucket, struct str key)
{
    struct moving_handle *h = MOVING(store);
    struct moving_place place;

    moving_place(h->moving, bucket.uid, key, &place);
    if (place.where == MOVING_FOREIGN && !what->is_ours) {
        call_finish(what->whole, ERR_STALE_EPOCH);
        return;
    }
    if (place.where != MOVING_COMING) {
        ask(h->env.mine, what->req, what->res, what->whole);
        return;
    }
    struct seek_op *s = ARENA_NEW(what->arena, struct seek_op);
    *s = *what;
    s->handle = h;
    s->place = place;
    s->ask = ask;
    op_start(&s->op, what->whole->loop, "seek", seek_mine, seek_end);
    call_on_cancel(what->whole, seek_cancel, s);
}

#define SEEK(m, at, ...)                                                                                               \
    static void ask_##m(struct store *s, const void *req, void *res, struct call *c)                                   \
    {                                                                                                                  \
        store_##m(s, req, res, c);                                                                                     \
    }                                                                                                                  \
    static void moving_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)            \
    {                                                                                                                  \
        seek(s, ask_##m,                                                                                               \
             &(struct seek_op){.req = req,                                                                             \
                               .res = res,                                                                             \
                               .arena = req->at arena,                                                                 \
                               .whole = c,                                                                             \
                               .is_ours = str_starts(req->at cond.if_none_match, MOVING_MARK),                         \
                               __VA_ARGS__},                                                                           \
             req->at bucket, req->at key);                                                                             \
    }
#define HERE
SEEK(obj_head, HERE, )
SEEK(obj_get, head., .body = &res->body)

/* ---- methods that change an object ---- */

struct write_op {
    struct op op;
    struct moving_handle *handle;
    ask_fn *ask;
    const void *req;
    void *res;
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    const struct obj_copy_req *copy;            /* whose source is settled first */
    const struct upload_complete_req *complete; /* that may have to go to P */
    bool is_ours;                               /* another target's word, not a client's: MOVING_MARK */
    bool away;                                  /* the upload to be completed is not here */
    struct call *whole;
    unsigned turn;  /* barrier_let_in() */
    bool at_source; /* it is the source that is locked now */
    struct moving_place place;
    struct keylock lock;
    struct settle settle;
    /* a Complete where the upload is */
    struct uploads_find find;
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct upload_complete_req there_req;
    struct obj_delete_req delete_req;
    struct obj_delete_res delete_res;
    /* with versions: the older ones at P, a page at a time */
    struct obj_list_req list_req;
    struct obj_list_res list;
    uint32_t version;
    struct keylock version_lock;
    struct settle version_settle;
};

/* in order; write_found and what follows only for a Complete elsewhere */
static step_fn write_lock, write_locked, write_older, write_older_listed, write_older_locked, write_older_settled,
    write_settled, write_tried, write_found, write_there, write_replace, write_bring, write_end;

static struct bucket_id write_bucket(const struct write_op *w)
{
    return w->at_source ? w->copy->src_bucket : w->bucket;
}

static struct str write_key(const struct write_op *w)
{
    return w->at_source ? w->copy->src_key : w->key;
}

static void write_place(struct write_op *w)
{
    moving_place(w->handle->moving, write_bucket(w).uid, write_key(w), &w->place);
}

/* Not this node's key, but what its owner asks for. */
static bool is_served(const struct write_op *w)
{
    return (w->place.where == MOVING_LEAVING || w->place.where == MOVING_FOREIGN) && w->is_ours;
}

static enum keylock_mode mode_of(const struct write_op *w)
{
    return w->place.where == MOVING_COMING || w->away || is_served(w) ? KEYLOCK_EXCLUSIVE : KEYLOCK_SHARED;
}

static enum step_next write_lock(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);

    write_place(w);
    keylock_take(w->handle->moving->locks, &w->lock, write_bucket(w).uid, write_key(w), mode_of(w),
                 op_call(op, write_locked));
    return STEP_WAIT;
}

static bool map_is_newer(const struct write_op *w)
{
    const struct map *map = members_map(w->handle->moving->members);
    bool newer = map->epoch != w->place.epoch;

    map_release(map);
    return newer;
}

static bool is_refused(const struct write_op *w)
{
    return (w->place.where == MOVING_LEAVING || w->place.where == MOVING_FOREIGN) && !w->is_ours;
}

/* The map may have changed since: who sees the old one here is waited for by the new owner's delete. */
static enum step_next write_locked(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);

    if (map_is_newer(w))
        write_place(w);
    if (is_refused(w))
        return op_fail(op, ERR_STALE_EPOCH);
    if (mode_of(w) != w->lock.mode) {
        keylock_drop(&w->lock);
        return op_go(op, write_lock);
    }
    if (w->place.where != MOVING_COMING)
        return op_go(op, write_settled);
    w->settle = (struct settle){
        .handle = w->handle, .place = &w->place, .arena = w->arena, .bucket = write_bucket(w), .key = write_key(w)};
    settle_run(&w->settle, op_call(op, write_bucket(w).versions ? write_older : write_settled));
    return STEP_WAIT;
}

/* ---- older versions: what is newest among them, or "null", counts for the write, so that all are brought here before it. No more are made at
 * P, which lets nobody write to the key ---- */

static enum step_next write_older(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);
    struct version_key prefix;

    version_key_prefix(&prefix, write_key(w));
    w->list_req = (struct obj_list_req){.arena = w->arena,
                                        .bucket = version_shadow(write_bucket(w)),
                                        .prefix = arena_str(w->arena, version_key_str(&prefix)),
                                        .max = LIST_MAX};
    w->list = (struct obj_list_res){.count = 0};
    w->version = 0;
    store_obj_list(moving_from(w->handle, &w->place), &w->list_req, &w->list, op_call(op, write_older_listed));
    return STEP_WAIT;
}

static enum step_next write_older_listed(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);

    if (w->version == w->list.count) /* those of the page are gone from there now */
        return op_go(op, w->list.truncated ? write_older : write_settled);
    keylock_take(w->handle->moving->locks, &w->version_lock, w->list_req.bucket.uid, w->list.entries[w->version].key,
                 KEYLOCK_EXCLUSIVE, op_call(op, write_older_locked));
    return STEP_WAIT;
}

static enum step_next write_older_locked(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);

    w->version_settle = (struct settle){.handle = w->handle,
                                        .place = &w->place,
                                        .arena = w->arena,
                                        .bucket = w->list_req.bucket,
                                        .key = w->list.entries[w->version].key};
    settle_run(&w->version_settle, op_call(op, write_older_settled));
    return STEP_WAIT;
}

static enum step_next write_older_settled(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);

    keylock_drop(&w->version_lock);
    w->version++;
    return op_go(op, write_older_listed);
}

static enum step_next write_settled(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);

    if (w->at_source) {
        w->at_source = false;
        keylock_drop(&w->lock);
        return op_go(op, write_lock);
    }
    if (w->away) {
        w->find = (struct uploads_find){.handle = w->handle,
                                        .arena = w->arena,
                                        .bucket = w->bucket,
                                        .key = w->key,
                                        .upload_id = w->complete->upload_id};
        uploads_find_run(&w->find, op_call(op, write_found));
        return STEP_WAIT;
    }
    if (w->complete) {
        w->ask(w->handle->env.mine, w->req, w->res, op_try(op, write_tried));
        return STEP_WAIT;
    }
    if (w->lock.mode == KEYLOCK_EXCLUSIVE && w->place.where == MOVING_COMING)
        keylock_share(&w->lock); /* the store decides between writers */
    w->ask(w->handle->env.mine, w->req, w->res, op_call(op, write_end));
    return STEP_WAIT;
}

/* ---- a Complete of an upload that another target has, under the key's lock from beginning to end ---- */

static enum step_next write_tried(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);

    if (op->call.err == ERR_OK)
        return op_go(op, write_end);
    if (op->call.err != ERR_NO_SUCH_UPLOAD || is_served(w))
        return op_fail(op, op->call.err);
    w->away = true;
    if (w->lock.mode == KEYLOCK_EXCLUSIVE)
        return op_go(op, write_settled);
    keylock_drop(&w->lock);
    return op_go(op, write_lock);
}

static enum step_next write_found(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);

    w->head_req = (struct obj_head_req){.arena = w->arena, .bucket = w->bucket, .key = w->key, .cond = COND_INIT};
    store_obj_head(w->handle->env.mine, &w->head_req, &w->head, op_try(op, write_there));
    return STEP_WAIT;
}

/* They know nothing of the object that is here: its condition is decided here. */
static enum step_next write_there(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);
    enum err e = op->call.err;

    if (e != ERR_OK && e != ERR_NO_SUCH_KEY)
        return op_fail(op, e);
    if ((e = cond_check_write(&w->complete->cond, e == ERR_OK ? &w->head.info : NULL)) != ERR_OK)
        return op_fail(op, e);
    w->there_req = *w->complete;
    w->there_req.cond = (struct cond)COND_INIT;
    w->there_req.cond.if_none_match = MOVING_MARK;
    store_upload_complete(moving_from(w->handle, &w->find.place), &w->there_req, w->res, op_call(op, write_replace));
    return STEP_WAIT;
}

/* What was made there counts from now on, whatever the two clocks say. */
static enum step_next write_replace(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);

    if (w->bucket.versions) /* which it becomes an older version of */
        return op_go(op, write_bring);
    w->delete_req = (struct obj_delete_req){.arena = w->arena, .bucket = w->bucket, .key = w->key, .cond = COND_INIT};
    store_obj_delete(w->handle->env.mine, &w->delete_req, &w->delete_res, op_call(op, write_bring));
    return STEP_WAIT;
}

static enum step_next write_bring(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);

    w->settle = (struct settle){.handle = w->handle,
                                .place = &w->find.place,
                                .arena = w->arena,
                                .bucket = w->bucket,
                                .key = w->key,
                                .as_new = w->bucket.versions != VERSIONS_OFF};
    settle_run(&w->settle, op_call(op, write_end));
    return STEP_WAIT;
}

static enum step_next write_end(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);

    keylock_drop(&w->version_lock);
    keylock_drop(&w->lock);
    barrier_let_out(&w->handle->moving->writes, w->turn);
    call_finish(w->whole, op->err);
    return STEP_DONE;
}

static void write_cancel(void *arg)
{
    op_cancel(&((struct write_op *)arg)->op, ERR_CANCELLED);
}

static void write_start(struct store *store, const struct write_op *what)
{
    struct write_op *w = ARENA_NEW(what->arena, struct write_op);

    *w = *what;
    w->handle = MOVING(store);
    w->at_source = w->copy != NULL;
    w->turn = barrier_let_in(&w->handle->moving->writes);
    op_start(&w->op, w->whole->loop, "write", write_lock, write_end);
    call_on_cancel(w->whole, write_cancel, w);
}

#define WRITE(m, ...)                                                                                                  \
    static void ask_##m(struct store *s, const void *req, void *res, struct call *c)                                   \
    {                                                                                                                  \
        store_##m(s, req, res, c);                                                                                     \
    }                                                                                                                  \
    static void moving_##m(struct store *s, const struct m##_req *r, struct m##_res *res, struct call *c)              \
    {                                                                                                                  \
        write_start(s, &(struct write_op){.ask = ask_##m,                                                              \
                                          .req = r,                                                                    \
                                          .res = res,                                                                  \
                                          .arena = r->arena,                                                           \
                                          .bucket = r->bucket,                                                         \
                                          .key = r->key,                                                               \
                                          .whole = c,                                                                  \
                                          __VA_ARGS__});                                                               \
    }
WRITE(obj_put, )
WRITE(obj_delete, .is_ours = str_starts(r->cond.if_match, MOVING_MARK))
WRITE(obj_splice, )
WRITE(obj_copy, .copy = r)
WRITE(upload_complete, .complete = r, .is_ours = str_starts(r->cond.if_none_match, MOVING_MARK))

/* ---- the rest ---- */

/* An upload begins where its key is placed now. */
static void moving_upload_create(struct store *s, const struct upload_create_req *req, struct upload_create_res *res,
                                 struct call *c)
{
    struct moving_place place;

    moving_place(MOVING(s)->moving, req->bucket.uid, req->key, &place);
    if (place.where == MOVING_LEAVING || place.where == MOVING_FOREIGN)
        call_finish(c, ERR_STALE_EPOCH);
    else
        store_upload_create(MOVING(s)->env.mine, req, res, c);
}

#define PASS(m)                                                                                                        \
    static void moving_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)            \
    {                                                                                                                  \
        store_##m(MOVING(s)->env.mine, req, res, c);                                                                   \
    }
/* Before a body is touched, so that it goes where it belongs. */
static void moving_upload_part(struct store *s, const struct upload_part_req *req, struct upload_part_res *res,
                               struct call *c)
{
    uploads_forward(MOVING(s), &(struct uploads_forward){UPLOADS_PART, req, res, req->arena, req->bucket, req->key,
                                                         req->upload_id, c});
}
static void moving_upload_abort(struct store *s, const struct upload_abort_req *req, struct upload_abort_res *res,
                                struct call *c)
{
    uploads_forward(MOVING(s), &(struct uploads_forward){UPLOADS_ABORT, req, res, req->arena, req->bucket, req->key,
                                                         req->upload_id, c});
}
static void moving_part_list(struct store *s, const struct part_list_req *req, struct part_list_res *res,
                             struct call *c)
{
    uploads_forward(MOVING(s), &(struct uploads_forward){UPLOADS_LIST, req, res, req->arena, req->bucket, req->key,
                                                         req->upload_id, c});
}

PASS(obj_list)
PASS(upload_list)
PASS(bucket_purge)

static void close_store(struct store *s)
{
    struct moving_handle *h = MOVING(s);

    while (h->nodes) {
        struct moving_node *n = h->nodes;
        h->nodes = n->next;
        store_close(n->store);
        free(n);
    }
    free(h);
}

struct store *moving_store(struct moving *m, const struct moving_env *env)
{
    /* obj_import is for the mover, which has `mine`: nobody imports through here. */
    static const struct store_ops ops = {
        .name = "moving",
        .obj_head = moving_obj_head,
        .obj_get = moving_obj_get,
        .obj_put = moving_obj_put,
        .obj_delete = moving_obj_delete,
        .obj_copy = moving_obj_copy,
        .obj_splice = moving_obj_splice,
        .obj_list = moving_obj_list,
        .upload_create = moving_upload_create,
        .upload_part = moving_upload_part,
        .upload_complete = moving_upload_complete,
        .upload_abort = moving_upload_abort,
        .upload_list = moving_upload_list,
        .part_list = moving_part_list,
        .bucket_purge = moving_bucket_purge,
        .close = close_store,
    };
    struct moving_handle *h = NEW(struct moving_handle);

    h->store = (struct store){.ops = &ops, .loop = env->remote.loop};
    h->moving = m;
    h->env = *env;
    return &h->store;
}

void moving_quiet(struct store *moving, struct call *call)
{
    barrier_wait(&MOVING(moving)->moving->writes, call);
}

struct moving *moving_new(struct members *members, struct str self)
{
    struct moving *m = NEW(struct moving);
    char *id = mem_alloc(self.n + 1);

    memcpy(id, self.p, self.n);
    m->members = members;
    m->self = str_n(id, self.n);
    m->locks = keylocks_new();
    return m;
}

void moving_free(struct moving *m)
{
    keylocks_free(m->locks);
    free((void *)(uintptr_t)m->self.p);
    free(m);
}
