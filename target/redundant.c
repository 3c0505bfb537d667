#include "redundant.h"

#include <stdlib.h>

#include "base/log.h"
#include "target/redundant_own.h"

/* ---- who has a key ---- */

static struct red_peer *peer_of(struct red_place *p, const struct map_node *node, struct str self)
{
    for (unsigned i = 0; i < p->n; i++)
        if (memcmp(p->peers[i].id, node->id.p, NODE_ID_LEN) == 0)
            return &p->peers[i];
    struct red_peer *peer = &p->peers[p->n++];
    *peer = (struct red_peer){.self = str_eq(node->id, self)};
    memcpy(peer->id, node->id.p, NODE_ID_LEN);
    return peer;
}

/* Who is out is not asked, unless nobody knows better. */
static bool is_asked(const struct map *map, const struct map_members *s, size_t i)
{
    const struct map_node *n = &map->nodes[s->nodes[i]];

    return n->state != NODE_MAINTENANCE && (n->sync != SYNC_OUT || map_member_knows(map, s, i));
}

void red_place(struct red_handle *h, const struct bucket_id *bucket, struct str key, struct red_place *out)
{
    struct redundant *r = h->redundant;
    const struct map *map = members_map(r->members);
    unsigned width = redundancy_width(bucket->redundancy);
    struct map_members now, before;
    bool knows = false, knew = false;

    *out = (struct red_place){.epoch = map->epoch, .term = map->term};
    map_members(map, bucket->uid, key, width, &now);
    map_members_before(map, bucket->uid, key, width, &before);
    out->moves = before.count > 0;
    out->leads = now.lead >= 0 && str_eq(map->nodes[now.nodes[now.lead]].id, r->self);
    out->belongs = now.count == 0;
    for (size_t i = 0; i < now.count; i++) {
        out->belongs |= str_eq(map->nodes[now.nodes[i]].id, r->self);
        if (!is_asked(map, &now, i))
            continue;
        struct red_peer *p = peer_of(out, &map->nodes[now.nodes[i]], r->self);
        p->is_now = true;
        p->knows = map_member_knows(map, &now, i);
        knows = knows || p->knows;
        out->members++;
    }
    for (size_t i = 0; i < before.count; i++) {
        out->belongs |= str_eq(map->nodes[before.nodes[i]].id, r->self);
        if (!is_asked(map, &before, i))
            continue;
        struct red_peer *p = peer_of(out, &map->nodes[before.nodes[i]], r->self);
        p->knew = map_member_knows(map, &before, i);
        knew = knew || p->knew;
    }
    out->informed = knows && (knew || !out->moves);
    out->settled = atomic_load(&r->clean) == map->term && members_confirmed(r->members);
    map_release(map);
}

struct store *red_store(struct red_handle *h, const char id[NODE_ID_LEN], uint64_t epoch)
{
    struct str name = str_n(id, NODE_ID_LEN);
    struct red_node *n = h->nodes;

    if (str_eq(name, h->redundant->self))
        return h->env.mine;
    while (n && memcmp(n->id, id, NODE_ID_LEN) != 0)
        n = n->next;
    if (!n) {
        n = NEW(struct red_node);
        memcpy(n->id, id, NODE_ID_LEN);
        n->carries_epoch = !h->env.node_store;
        n->store =
            n->carries_epoch ? remote_store_new(&h->env.remote, name) : h->env.node_store(h->env.node_store_arg, name);
        n->next = h->nodes;
        h->nodes = n;
    }
    if (n->carries_epoch)
        remote_store_at(n->store, epoch);
    return n->store;
}

/* ---- the key under lock ---- */

static step_fn lock_take, lock_taken, lock_end;

static uint64_t red_epoch(const struct red_handle *h)
{
    const struct map *map = members_map(h->redundant->members);
    uint64_t epoch = map->epoch;

    map_release(map);
    return epoch;
}

static enum step_next lock_take(struct op *op)
{
    struct red_lock *l = OP(op, struct red_lock);

    l->epoch = red_epoch(l->handle);
    keylock_take(l->handle->redundant->locks, &l->lock, l->bucket.uid, l->key, KEYLOCK_EXCLUSIVE,
                 op_call(op, lock_taken));
    return STEP_WAIT;
}

static enum step_next lock_taken(struct op *op)
{
    struct red_lock *l = OP(op, struct red_lock);

    red_place(l->handle, &l->bucket, l->key, &l->place);
    if (l->place.epoch != l->epoch) { /* lets those by who came by the older map: their senders may be asked now */
        keylock_drop(&l->lock);
        return op_go(op, lock_take);
    }
    if (!l->place.leads)
        return op_fail(op, ERR_STALE_EPOCH);
    if (l->place.settled)
        return op_go(op, lock_end);
    l->settle = ARENA_NEW(l->arena, struct red_settle);
    *l->settle = (struct red_settle){
        .handle = l->handle, .place = &l->place, .arena = l->arena, .bucket = l->bucket, .key = l->key};
    red_settle_run(l->settle, op_call(op, lock_end));
    return STEP_WAIT;
}

static enum step_next lock_end(struct op *op)
{
    struct red_lock *l = OP(op, struct red_lock);

    if (op->err != ERR_OK)
        red_lock_drop(l);
    call_finish(l->whole, op->err);
    return STEP_DONE;
}

void red_lock_drop(struct red_lock *l)
{
    if (!l->counted)
        return;
    l->counted = false;
    keylock_drop(&l->lock);
    barrier_let_out(&l->handle->redundant->changes, l->turn);
}

static void lock_cancel(void *arg)
{
    op_cancel(&((struct red_lock *)arg)->op, ERR_CANCELLED);
}

void red_lock_run(struct red_lock *l, struct call *whole)
{
    l->whole = whole;
    l->turn = barrier_let_in(&l->handle->redundant->changes);
    l->counted = true;
    op_start(&l->op, whole->loop, "red_lock", lock_take, lock_end);
    call_on_cancel(whole, lock_cancel, l);
}

/* ---- reads ---- */

struct red_read {
    struct op op;
    struct red_handle *handle;
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    const struct obj_head_req *head_req; /* one of the two */
    struct obj_head_res *head;
    const struct obj_get_req *get_req;
    struct obj_get_res *get;
    struct call *whole;
    struct red_lock *lock;
    struct slices_read_req slices_req;
    struct slices_read_res slices;
    unsigned tries;
};

static step_fn read_begin, read_settled, read_got, read_sliced, read_end;

static enum step_next read_begin(struct op *op)
{
    struct red_read *r = OP(op, struct red_read);
    struct red_place place;

    red_place(r->handle, &r->bucket, r->key, &place);
    if (!place.leads)
        return op_fail(op, ERR_STALE_EPOCH);
    if (place.settled)
        return op_go(op, read_settled);
    r->lock = ARENA_NEW(r->arena, struct red_lock);
    *r->lock = (struct red_lock){.handle = r->handle, .arena = r->arena, .bucket = r->bucket, .key = r->key};
    red_lock_run(r->lock, op_call(op, read_settled));
    return STEP_WAIT;
}

static enum step_next read_settled(struct op *op)
{
    struct red_read *r = OP(op, struct red_read);

    if (r->head)
        store_obj_head(r->handle->env.mine, r->head_req, r->head, op_call(op, read_end));
    else
        store_obj_get(r->handle->env.mine, r->get_req, r->get, op_call(op, read_got));
    return STEP_WAIT;
}

static enum step_next read_got(struct op *op)
{
    struct red_read *r = OP(op, struct red_read);
    const struct obj_head_res *head = &r->get->head;

    if (head->info.layout.n == 0 || head->len == 0)
        return op_go(op, read_end);
    source_close(r->get->body);
    r->get->body = NULL;
    r->slices_req = (struct slices_read_req){
        .bucket = r->bucket, .key = r->key, .layout = head->info.layout, .offset = head->offset, .len = head->len};
    slices_read(&r->handle->slices, &r->slices_req, &r->slices, op_try(op, read_sliced));
    return STEP_WAIT;
}

/* Slices that are gone: the object was replaced since its record was read. */
static enum step_next read_sliced(struct op *op)
{
    enum { READ_TRIES = 3 };
    struct red_read *r = OP(op, struct red_read);
    enum err e = op->call.err;

    if ((e == ERR_CORRUPT || e == ERR_NO_SUCH_KEY) && ++r->tries < READ_TRIES)
        return op_go(op, read_settled);
    if (e != ERR_OK)
        return op_fail(op, e == ERR_NO_SUCH_KEY ? ERR_CORRUPT : e);
    r->get->body = r->slices.body;
    r->get->head.info.layout = STR(""); /* the content comes with it, as of any object */
    return op_go(op, read_end);
}

static enum step_next read_end(struct op *op)
{
    struct red_read *r = OP(op, struct red_read);

    if (r->lock)
        red_lock_drop(r->lock);
    if (op->err != ERR_OK && r->get && r->get->body) { /* cancelled when it was there already */
        source_close(r->get->body);
        r->get->body = NULL;
    }
    call_finish(r->whole, op->err);
    return STEP_DONE;
}

static void read_cancel(void *arg)
{
    op_cancel(&((struct red_read *)arg)->op, ERR_CANCELLED);
}

static void read_start(struct red_read *r)
{
    op_start(&r->op, r->whole->loop, "red_read", read_begin, read_end);
    call_on_cancel(r->whole, read_cancel, r);
}

static void redundant_obj_head(struct store *s, const struct obj_head_req *req, struct obj_head_res *res,
                               struct call *c)
{
    struct red_read *r;

    if (!redundancy_is_wide(req->bucket.redundancy)) {
        store_obj_head(RED(s)->env.single, req, res, c);
        return;
    }
    r = ARENA_NEW(req->arena, struct red_read);
    *r = (struct red_read){.handle = RED(s),
                           .arena = req->arena,
                           .bucket = req->bucket,
                           .key = req->key,
                           .head_req = req,
                           .head = res,
                           .whole = c};
    read_start(r);
}

static void redundant_obj_get(struct store *s, const struct obj_get_req *req, struct obj_get_res *res, struct call *c)
{
    struct red_read *r;

    if (!redundancy_is_wide(req->head.bucket.redundancy)) {
        store_obj_get(RED(s)->env.single, req, res, c);
        return;
    }
    *res = (struct obj_get_res){0};
    r = ARENA_NEW(req->head.arena, struct red_read);
    *r = (struct red_read){.handle = RED(s),
                           .arena = req->head.arena,
                           .bucket = req->head.bucket,
                           .key = req->head.key,
                           .get_req = req,
                           .get = res,
                           .whole = c};
    read_start(r);
}

/* ---- what every node answers for itself ---- */

#define PASS(m)                                                                                                        \
    static void redundant_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)         \
    {                                                                                                                  \
        struct red_handle *h = RED(s);                                                                                 \
        store_##m(redundancy_is_wide(req->bucket.redundancy) ? h->env.mine : h->env.single, req, res, c);              \
    }
PASS(obj_list)
PASS(upload_list)

/* ---- the mover's way in ---- */

struct red_move {
    struct op op;
    struct red_handle *handle;
    const struct redundant_settle_req *req;
    struct redundant_settle_res *res;
    struct call *whole;
    struct keylock lock;
    uint64_t epoch;
    struct red_place place;
    struct red_settle settle;
    struct obj_delete_req delete_req;
    struct obj_delete_res deleted;
};

static step_fn move_take, move_taken, move_settled, move_dropped, move_end;

static enum step_next move_take(struct op *op)
{
    struct red_move *m = OP(op, struct red_move);

    m->epoch = red_epoch(m->handle);
    keylock_take(m->handle->redundant->locks, &m->lock, m->req->bucket.uid, m->req->key, KEYLOCK_EXCLUSIVE,
                 op_call(op, move_taken));
    return STEP_WAIT;
}

/* It moved away while this node was out. A lead by a newer map would have made that map known here with what it sent. */
static enum step_next move_drop(struct red_move *m)
{
    m->delete_req = (struct obj_delete_req){
        .arena = m->req->arena, .bucket = m->req->bucket, .key = m->req->key, .cond = COND_INIT};
    store_obj_delete(m->handle->env.mine, &m->delete_req, &m->deleted, op_call(&m->op, move_dropped));
    return STEP_WAIT;
}

static enum step_next move_dropped(struct op *op)
{
    struct red_move *m = OP(op, struct red_move);

    m->res->changed = m->deleted.existed;
    return op_go(op, move_end);
}

static enum step_next move_taken(struct op *op)
{
    struct red_move *m = OP(op, struct red_move);

    red_place(m->handle, &m->req->bucket, m->req->key, &m->place);
    if (m->place.epoch != m->epoch) { /* as in lock_taken() */
        keylock_drop(&m->lock);
        return op_go(op, move_take);
    }
    if (!m->place.belongs)
        return move_drop(m);
    if (!m->place.leads)
        return op_go(op, move_end);
    m->settle = (struct red_settle){.handle = m->handle,
                                    .place = &m->place,
                                    .arena = m->req->arena,
                                    .bucket = m->req->bucket,
                                    .key = m->req->key,
                                    .content = m->req->content};
    red_settle_run(&m->settle, op_call(op, move_settled));
    return STEP_WAIT;
}

static enum step_next move_settled(struct op *op)
{
    struct red_move *m = OP(op, struct red_move);

    *m->res = (struct redundant_settle_res){.changed = m->settle.changed, .bytes = m->settle.bytes};
    return op_go(op, move_end);
}

static enum step_next move_end(struct op *op)
{
    struct red_move *m = OP(op, struct red_move);

    keylock_drop(&m->lock);
    call_finish(m->whole, op->err);
    return STEP_DONE;
}

static void move_cancel(void *arg)
{
    op_cancel(&((struct red_move *)arg)->op, ERR_CANCELLED);
}

void redundant_settle(struct store *redundant, const struct redundant_settle_req *req, struct redundant_settle_res *res,
                      struct call *call)
{
    struct red_move *m = ARENA_NEW(req->arena, struct red_move);

    *m = (struct red_move){.handle = RED(redundant), .req = req, .res = res, .whole = call};
    *res = (struct redundant_settle_res){0};
    op_start(&m->op, call->loop, "red_move", move_take, move_end);
    call_on_cancel(call, move_cancel, m);
}

void redundant_clean(struct redundant *r, uint64_t term)
{
    atomic_store(&r->clean, term);
}

bool redundant_is_clean(const struct redundant *r, uint64_t term)
{
    return atomic_load(&r->clean) == term;
}

void redundant_quiet(struct store *redundant, struct call *call)
{
    barrier_wait(&RED(redundant)->redundant->changes, call);
}

/* ---- handles and the engine ---- */

static struct store *slice_node(void *arg, struct str id)
{
    struct red_handle *h = arg;
    const struct map *map = members_map(h->redundant->members);
    int at = map_find(map, id);
    bool usable = at >= 0 && map->nodes[at].state != NODE_MAINTENANCE && map->nodes[at].sync != SYNC_OUT;
    struct store *store = usable ? red_store(h, id.p, 0) : NULL;

    map_release(map);
    return store;
}

struct red_handle *red_handle_new(struct redundant *r, const struct redundant_env *env, const struct store_ops *ops)
{
    struct red_handle *h = NEW(struct red_handle);

    h->store = (struct store){.ops = ops, .loop = env->remote.loop};
    h->redundant = r;
    h->env = *env;
    h->env.remote.member = true;
    h->slices = (struct slices_env){.loop = env->remote.loop,
                                    .cpu = env->cpu,
                                    .members = r->members,
                                    .self = r->self,
                                    .mine = env->mine,
                                    .node = slice_node,
                                    .node_arg = h};
    return h;
}

void red_handle_close(struct store *s)
{
    struct red_handle *h = RED(s);

    red_linger_end(h);
    while (h->nodes) {
        struct red_node *n = h->nodes;
        h->nodes = n->next;
        store_close(n->store);
        free(n);
    }
    free(h);
}

struct store *redundant_store(struct redundant *r, const struct redundant_env *env)
{
    /* nobody imports through here */
    static const struct store_ops ops = {
        .name = "redundant",
        .obj_head = redundant_obj_head,
        .obj_get = redundant_obj_get,
        .obj_put = redundant_obj_put,
        .obj_delete = redundant_obj_delete,
        .obj_copy = redundant_obj_copy,
        .obj_splice = redundant_obj_splice,
        .obj_list = redundant_obj_list,
        .upload_create = redundant_upload_create,
        .upload_part = redundant_upload_part,
        .upload_complete = redundant_upload_complete,
        .upload_abort = redundant_upload_abort,
        .upload_list = redundant_upload_list,
        .part_list = redundant_part_list,
        .bucket_purge = redundant_bucket_purge,
        .close = red_handle_close,
    };

    return &red_handle_new(r, env, &ops)->store;
}

const struct slices_env *redundant_slices(struct store *redundant)
{
    return &RED(redundant)->slices;
}

struct redundant *redundant_new(struct members *members, struct str self)
{
    struct redundant *r = NEW(struct redundant);
    char *id = mem_alloc(self.n + 1);

    memcpy(id, self.p, self.n);
    r->members = members;
    r->self = str_n(id, self.n);
    r->locks = keylocks_new();
    atomic_init(&r->clean, 0);
    return r;
}

void redundant_free(struct redundant *r)
{
    keylocks_free(r->locks);
    free((void *)(uintptr_t)r->self.p);
    free(r);
}
