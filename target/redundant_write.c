#include <stdlib.h>

#include "base/log.h"
#include "target/redundant_own.h"

/* A slice is let go some time after its object was replaced: who reads the former object still opens it. */
enum { SLICES_LINGER_MS = 60000, LINGER_MAX = 10000 };

/* ---- telling the other members, all at once; what was begun is waited for ---- */

struct push {
    struct group_call member;
    struct call call;
    struct call *done;
    struct write_op *write;
    unsigned peer;
    struct obj_get_res get; /* the content */
    struct obj_import_req import_req;
    struct obj_import_res import;
    struct obj_delete_req delete_req;
    struct obj_delete_res deleted;
    struct body_check check;
};

struct write_op {
    struct op op;
    struct red_handle *handle;
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    const struct cond *cond;
    struct call *whole;
    void (*run)(struct write_op *, struct call *); /* the method on the own store, with the gate */
    void *req, *res;                               /* the method's own */
    struct red_lock lock;
    bool locked;
    struct commit_gate gate;
    struct visit {
        struct op op;
        struct gate_visit *visit;
        struct call *whole;
    } visit;
    struct obj_head_req head_req;
    struct obj_head_res head;
    bool there;              /* an object is replaced */
    struct object_info info; /* of what is pushed */
    struct slices_write_req slices_req;
    struct slices_write_res slices;
    struct call_group group;
    struct push pushes[RED_PEERS_MAX];
    struct obj_delete_req delete_req;
};

static bool is_large(const struct write_op *w, uint64_t size)
{
    return redundancy_slices(w->bucket.redundancy) && size >= REDUNDANCY_EC_MIN;
}

static void push_done(struct call *c)
{
    struct push *p = CONTAINER(c, struct push, call);

    source_close(p->get.body);
    p->get.body = NULL;
    call_finish(p->done, c->err);
}

static struct store *push_store(const struct push *p)
{
    const struct red_place *place = &p->write->lock.place;

    return red_store(p->write->handle, place->peers[p->peer].id, place->epoch);
}

static void push_object(struct push *p)
{
    struct write_op *w = p->write;
    const struct gate_visit *v = w->visit.visit;

    p->import_req = (struct obj_import_req){.arena = w->arena,
                                            .bucket = w->bucket,
                                            .key = w->key,
                                            .info = w->info,
                                            .parts = v->parts,
                                            .part_count = v->part_count,
                                            .body = p->get.body,
                                            .check = &p->check,
                                            .force = true};
    call_begin(&p->call, w->op.loop, push_done);
    store_obj_import(push_store(p), &p->import_req, &p->import, &p->call);
}

static void push_read(struct call *c)
{
    struct push *p = CONTAINER(c, struct push, call);

    if (c->err == ERR_OK)
        push_object(p);
    else
        push_done(c);
}

static void push_begin(struct write_op *w, unsigned peer, struct call *done)
{
    static const struct range all = {.kind = RANGE_ALL};
    struct push *p = &w->pushes[peer];
    struct gate_visit *v = w->visit.visit;

    *p = (struct push){.member = p->member, .done = done, .write = w, .peer = peer};
    if (w->info.layout.n) {
        push_object(p);
        return;
    }
    call_begin(&p->call, w->op.loop, push_read);
    v->read(v, &all, w->arena, &p->get, &p->call);
}

static void push_delete(struct write_op *w, unsigned peer, struct call *done)
{
    struct push *p = &w->pushes[peer];

    *p = (struct push){.member = p->member, .done = done, .write = w, .peer = peer};
    p->delete_req = (struct obj_delete_req){.arena = w->arena, .bucket = w->bucket, .key = w->key, .cond = COND_INIT};
    call_begin(&p->call, w->op.loop, push_done);
    store_obj_delete(push_store(p), &p->delete_req, &p->deleted, &p->call);
}

static enum step_next push_all(struct write_op *w, void (*begin)(struct write_op *, unsigned, struct call *),
                               struct call *whole)
{
    const struct red_place *place = &w->lock.place;

    call_group_init(&w->group, whole);
    for (unsigned i = 0; i < place->n; i++)
        if (place->peers[i].is_now && !place->peers[i].self)
            begin(w, i, group_call(&w->group, &w->pushes[i].member));
    call_group_seal(&w->group);
    return STEP_WAIT;
}

/* Whoever didn't answer may have it or not; the client hears that it may try again. */
static enum err push_outcome(const struct write_op *w)
{
    enum err worst = ERR_OK;

    for (unsigned i = 0; i < w->lock.place.n; i++) {
        const struct red_peer *peer = &w->lock.place.peers[i];
        enum err e = peer->is_now && !peer->self ? w->pushes[i].member.call.err : ERR_OK;
        if (e == ERR_OK)
            continue;
        log_info(w->arena->id, "write did not reach a member", "key=%s target=%.*s error=%s", log_quote(w->key),
                 NODE_ID_LEN, peer->id, err_name(e));
        if (worst == ERR_OK || e == ERR_NO_SUCH_BUCKET)
            worst = e == ERR_NO_SUCH_BUCKET || e == ERR_NO_SPACE ? e : ERR_UNAVAILABLE;
    }
    return worst;
}

/* ---- the condition, decided under the lock ---- */

static struct call *head_own(struct write_op *w, struct call *call)
{
    w->head = (struct obj_head_res){0};
    w->head_req = (struct obj_head_req){.arena = w->arena, .bucket = w->bucket, .key = w->key, .cond = COND_INIT};
    store_obj_head(w->handle->env.mine, &w->head_req, &w->head, call);
    return call;
}

typedef enum err cond_fn(const struct cond *, const struct object_info *current);

static enum err decide(struct write_op *w, enum err found, cond_fn *check)
{
    if (found != ERR_OK && found != ERR_NO_SUCH_KEY)
        return found;
    w->there = found == ERR_OK;
    if (w->lock.place.members < redundancy_min_copies(w->bucket.redundancy))
        return ERR_UNAVAILABLE;
    return check(w->cond, w->there ? &w->head.info : NULL);
}

/* ---- the gate ---- */

static step_fn gate_lock, gate_locked, gate_decide, gate_sliced, gate_push, gate_pushed, gate_end;

static struct write_op *write_of(struct op *op)
{
    return CONTAINER(OP(op, struct visit), struct write_op, visit);
}

/* It may be entered again: then the lock is held already. */
static enum step_next gate_lock(struct op *op)
{
    struct write_op *w = write_of(op);

    if (w->locked)
        return op_go(op, gate_locked);
    w->lock = (struct red_lock){.handle = w->handle, .arena = w->arena, .bucket = w->bucket, .key = w->key};
    red_lock_run(&w->lock, op_try(op, gate_locked));
    return STEP_WAIT;
}

static enum step_next gate_locked(struct op *op)
{
    struct write_op *w = write_of(op);

    if (!w->locked && op->call.err != ERR_OK) /* the body was taken: the sender can't go elsewhere with it */
        return op_fail(op, op->call.err == ERR_STALE_EPOCH ? ERR_UNAVAILABLE : op->call.err);
    w->locked = true;
    if (w->visit.visit->is_stale && w->visit.visit->is_stale(w->visit.visit))
        return op_fail(op, ERR_AGAIN);
    head_own(w, op_try(op, gate_decide));
    return STEP_WAIT;
}

static enum step_next gate_decide(struct op *op)
{
    struct write_op *w = write_of(op);
    struct gate_visit *v = w->visit.visit;
    enum err e = decide(w, op->call.err, cond_check_write);

    if (e != ERR_OK)
        return op_fail(op, e);
    w->info = *v->info;
    if (w->there && w->info.mtime_ns <= w->head.info.mtime_ns)
        w->info.mtime_ns = w->head.info.mtime_ns + 1;
    v->mtime_ns = w->info.mtime_ns;
    w->info.layout = v->layout = STR("");
    if (!is_large(w, w->info.size))
        return op_go(op, gate_push);
    w->slices_req =
        (struct slices_write_req){.arena = w->arena, .bucket = w->bucket, .key = w->key, .visit = w->visit.visit};
    slices_write(&w->handle->slices, &w->slices_req, &w->slices, op_call(op, gate_sliced));
    return STEP_WAIT;
}

static enum step_next gate_sliced(struct op *op)
{
    struct write_op *w = write_of(op);

    w->info.layout = w->visit.visit->layout = w->slices.layout;
    return op_go(op, gate_push);
}

static enum step_next gate_push(struct op *op)
{
    return push_all(write_of(op), push_begin, op_try(op, gate_pushed));
}

static enum step_next gate_pushed(struct op *op)
{
    enum err e = push_outcome(write_of(op));

    return e != ERR_OK ? op_fail(op, e) : op_go(op, gate_end);
}

static enum step_next gate_end(struct op *op)
{
    call_finish(write_of(op)->visit.whole, op->err);
    return STEP_DONE;
}

static void gate_cancel(void *arg)
{
    op_cancel(&((struct write_op *)arg)->visit.op, ERR_CANCELLED);
}

static void enter(struct commit_gate *gate, struct gate_visit *visit, struct call *call)
{
    struct write_op *w = CONTAINER(gate, struct write_op, gate);

    w->visit.visit = visit;
    w->visit.whole = call;
    op_start(&w->visit.op, call->loop, "red_gate", gate_lock, gate_end);
    call_on_cancel(call, gate_cancel, w);
}

/* ---- letting go of the slices of what was replaced ---- */

struct linger {
    struct timer timer;
    struct arena arena;
    struct red_handle *handle;
    struct slices_delete_req req;
    struct call call;
    struct linger *next, **at;
};

static void linger_free(struct linger *l)
{
    *l->at = l->next;
    if (l->next)
        l->next->at = l->at;
    l->handle->lingering--;
    arena_release(&l->arena);
    free(l);
}

static void linger_done(struct call *c)
{
    linger_free(CONTAINER(c, struct linger, call));
}

static void linger_over(struct timer *t)
{
    struct linger *l = CONTAINER(t, struct linger, timer);

    call_begin(&l->call, l->handle->store.loop, linger_done);
    slices_delete(&l->handle->slices, &l->req, &l->call);
}

/* Beyond LINGER_MAX they are litter, which scrub finds. */
static void let_slices_go(struct write_op *w)
{
    struct red_handle *h = w->handle;
    struct linger *l;

    if (!w->there || w->head.info.layout.n == 0 || h->lingering >= LINGER_MAX)
        return;
    l = NEW(struct linger);
    l->handle = h;
    l->timer.fn = linger_over;
    l->req = (struct slices_delete_req){.arena = &l->arena,
                                        .bucket = w->bucket,
                                        .key = arena_str(&l->arena, w->key),
                                        .layout = arena_str(&l->arena, w->head.info.layout)};
    l->req.bucket.name = arena_str(&l->arena, w->bucket.name);
    l->next = h->lingerers;
    l->at = &h->lingerers;
    if (l->next)
        l->next->at = &l->next;
    h->lingerers = l;
    h->lingering++;
    timer_set(h->store.loop, &l->timer, SLICES_LINGER_MS);
}

/* What is being deleted just now is waited for: it works with the handle. */
void red_linger_end(struct red_handle *h)
{
    struct linger *next;

    for (struct linger *l = h->lingerers; l; l = next) {
        next = l->next;
        if (call_is_pending(&l->call)) {
            call_cancel(&l->call);
            continue;
        }
        timer_cancel(h->store.loop, &l->timer);
        linger_free(l);
    }
    while (h->lingerers)
        loop_turn(h->store.loop, 100);
}

/* ---- put, copy, complete: the own store's method with a gate ---- */

static step_fn write_begin, write_end;

static enum step_next write_begin(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);
    struct red_place place;

    red_place(w->handle, &w->bucket, w->key, &place);
    if (!place.leads)
        return op_fail(op, ERR_STALE_EPOCH);
    if (place.members < redundancy_min_copies(w->bucket.redundancy))
        return op_fail(op, ERR_UNAVAILABLE);
    w->gate.enter = enter;
    w->run(w, op_call(op, write_end));
    return STEP_WAIT;
}

static enum step_next write_end(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);

    if (op->err == ERR_OK && w->locked)
        let_slices_go(w);
    red_lock_drop(&w->lock);
    call_finish(w->whole, op->err);
    return STEP_DONE;
}

static void write_cancel(void *arg)
{
    op_cancel(&((struct write_op *)arg)->op, ERR_CANCELLED);
}

static void write_start(struct write_op *w, step_fn *first)
{
    op_start(&w->op, w->whole->loop, "red_write", first, write_end);
    call_on_cancel(w->whole, write_cancel, w);
}

static void run_put(struct write_op *w, struct call *c)
{
    struct obj_put_req *req = w->req;

    req->gate = &w->gate;
    store_obj_put(w->handle->env.mine, req, w->res, c);
}

void redundant_obj_put(struct store *s, const struct obj_put_req *req, struct obj_put_res *res, struct call *c)
{
    struct write_op *w;
    struct obj_put_req *own;

    if (!redundancy_is_wide(req->bucket.redundancy)) {
        store_obj_put(RED(s)->env.single, req, res, c);
        return;
    }
    w = ARENA_NEW(req->arena, struct write_op);
    own = ARENA_NEW(req->arena, struct obj_put_req);
    *own = *req;
    *w = (struct write_op){.handle = RED(s),
                           .arena = req->arena,
                           .bucket = req->bucket,
                           .key = req->key,
                           .cond = &req->cond,
                           .whole = c,
                           .run = run_put,
                           .req = own,
                           .res = res};
    write_start(w, write_begin);
}

static void run_complete(struct write_op *w, struct call *c)
{
    struct upload_complete_req *req = w->req;

    req->gate = &w->gate;
    store_upload_complete(w->handle->env.mine, req, w->res, c);
}

/* ---- an upload that another node has ---- */

struct bring {
    struct op op;
    struct write_op *write;
    char holder[NODE_ID_LEN];
    struct call *whole;
    struct upload_complete_req there_req;
    struct upload_complete_res *res;
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct gate_visit visit;
    struct obj_get_res get;
    struct body_check check;
    struct obj_import_req import_req;
    struct obj_import_res import;
    struct obj_delete_req delete_req;
    struct obj_delete_res deleted;
};

static step_fn bring_lock, bring_locked, bring_decide, bring_completed, bring_seen, bring_passed, bring_read,
    bring_imported, bring_end;

static struct store *holder_of(const struct bring *b)
{
    return red_store(b->write->handle, b->holder, b->write->lock.place.epoch);
}

static enum step_next bring_lock(struct op *op)
{
    struct write_op *w = OP(op, struct bring)->write;

    w->lock = (struct red_lock){.handle = w->handle, .arena = w->arena, .bucket = w->bucket, .key = w->key};
    red_lock_run(&w->lock, op_call(op, bring_locked));
    return STEP_WAIT;
}

static enum step_next bring_locked(struct op *op)
{
    struct write_op *w = OP(op, struct bring)->write;

    w->locked = true;
    head_own(w, op_try(op, bring_decide));
    return STEP_WAIT;
}

/* The holder knows nothing of the object that is here: its condition is decided here. */
static enum step_next bring_decide(struct op *op)
{
    struct bring *b = OP(op, struct bring);
    enum err e = decide(b->write, op->call.err, cond_check_write);

    if (e != ERR_OK)
        return op_fail(op, e);
    b->there_req.cond = (struct cond)COND_INIT;
    store_upload_complete(holder_of(b), &b->there_req, b->res, op_call(op, bring_completed));
    return STEP_WAIT;
}

static enum step_next bring_completed(struct op *op)
{
    struct bring *b = OP(op, struct bring);
    struct write_op *w = b->write;

    b->head_req =
        (struct obj_head_req){.arena = w->arena, .bucket = w->bucket, .key = w->key, .cond = COND_INIT, .parts = true};
    store_obj_head(holder_of(b), &b->head_req, &b->head, op_call(op, bring_seen));
    return STEP_WAIT;
}

static void visit_read(struct gate_visit *v, const struct range *range, struct arena *arena, struct obj_get_res *res,
                       struct call *c)
{
    struct bring *b = CONTAINER(v, struct bring, visit);
    struct write_op *w = b->write;
    struct obj_get_req *req = ARENA_NEW(arena, struct obj_get_req);

    *req =
        (struct obj_get_req){{.arena = arena, .bucket = w->bucket, .key = w->key, .cond = COND_INIT, .range = *range}};
    store_obj_get(holder_of(b), req, res, c);
}

static enum step_next bring_seen(struct op *op)
{
    struct bring *b = OP(op, struct bring);

    b->visit = (struct gate_visit){.info = &b->head.info,
                                   .parts = b->head.parts,
                                   .part_count = b->head.part_count,
                                   .read = visit_read,
                                   .mtime_ns = b->head.info.mtime_ns};
    enter(&b->write->gate, &b->visit, op_call(op, bring_passed));
    return STEP_WAIT;
}

static enum step_next bring_passed(struct op *op)
{
    static const struct range all = {.kind = RANGE_ALL};
    struct bring *b = OP(op, struct bring);

    if (b->visit.layout.n)
        return op_go(op, bring_read);
    visit_read(&b->visit, &all, b->write->arena, &b->get, op_call(op, bring_read));
    return STEP_WAIT;
}

static enum step_next bring_read(struct op *op)
{
    struct bring *b = OP(op, struct bring);
    struct write_op *w = b->write;

    b->import_req = (struct obj_import_req){.arena = w->arena,
                                            .bucket = w->bucket,
                                            .key = w->key,
                                            .info = w->info,
                                            .parts = b->head.parts,
                                            .part_count = b->head.part_count,
                                            .body = b->get.body,
                                            .check = &b->check,
                                            .force = true};
    store_obj_import(w->handle->env.mine, &b->import_req, &b->import, op_call(op, bring_imported));
    return STEP_WAIT;
}

static bool is_member(const struct bring *b)
{
    const struct red_place *p = &b->write->lock.place;

    for (unsigned i = 0; i < p->n; i++)
        if (memcmp(p->peers[i].id, b->holder, NODE_ID_LEN) == 0)
            return p->peers[i].is_now;
    return false;
}

/* What lies with a holder that is no member is in nobody's way: a scan finds it if this fails. */
static enum step_next bring_imported(struct op *op)
{
    struct bring *b = OP(op, struct bring);
    struct write_op *w = b->write;

    b->res->info = w->info;
    if (is_member(b))
        return op_go(op, bring_end);
    b->delete_req = (struct obj_delete_req){.arena = w->arena, .bucket = w->bucket, .key = w->key, .cond = COND_INIT};
    store_obj_delete(holder_of(b), &b->delete_req, &b->deleted, op_try(op, bring_end));
    return STEP_WAIT;
}

static enum step_next bring_end(struct op *op)
{
    struct bring *b = OP(op, struct bring);

    source_close(b->get.body);
    call_finish(b->whole, op->err);
    return STEP_DONE;
}

static void bring_cancel(void *arg)
{
    op_cancel(&((struct bring *)arg)->op, ERR_CANCELLED);
}

static void run_bring(struct write_op *w, struct call *c)
{
    struct bring *b = w->req;

    b->write = w;
    b->whole = c;
    op_start(&b->op, c->loop, "red_bring", bring_lock, bring_end);
    call_on_cancel(c, bring_cancel, b);
}

void red_complete(struct red_handle *h, const struct upload_complete_req *req, struct upload_complete_res *res,
                  const char *holder, struct call *c)
{
    struct write_op *w = ARENA_NEW(req->arena, struct write_op);
    struct upload_complete_req *own = ARENA_NEW(req->arena, struct upload_complete_req);

    *own = *req;
    *w = (struct write_op){.handle = h,
                           .arena = req->arena,
                           .bucket = req->bucket,
                           .key = req->key,
                           .cond = &req->cond,
                           .whole = c,
                           .run = run_complete,
                           .req = own,
                           .res = res};
    if (holder) {
        struct bring *b = ARENA_NEW(req->arena, struct bring);
        memcpy(b->holder, holder, NODE_ID_LEN);
        b->there_req = *req;
        b->res = res;
        w->run = run_bring;
        w->req = b;
    }
    write_start(w, write_begin);
}

/* ---- copies ---- */

struct copy_op {
    struct op op;
    struct red_handle *handle;
    const struct obj_copy_req *req;
    struct obj_copy_res *res;
    struct call *whole;
    struct obj_head_req head_req;
    struct obj_head_res head;
    struct write_op write;
    struct obj_copy_req own;
};

static step_fn copy_look, copy_found, copy_end;

static void run_copy(struct write_op *w, struct call *c)
{
    struct obj_copy_req *req = w->req;

    req->gate = &w->gate;
    store_obj_copy(w->handle->env.mine, req, w->res, c);
}

/* Settles the source, if need be. */
static enum step_next copy_look(struct op *op)
{
    struct copy_op *k = OP(op, struct copy_op);

    k->head_req = (struct obj_head_req){
        .arena = k->req->arena, .bucket = k->req->src_bucket, .key = k->req->src_key, .cond = COND_INIT};
    store_obj_head(&k->handle->store, &k->head_req, &k->head, op_call(op, copy_found));
    return STEP_WAIT;
}

static enum step_next copy_found(struct op *op)
{
    struct copy_op *k = OP(op, struct copy_op);
    const struct obj_copy_req *req = k->req;
    bool same = req->src_bucket.uid == req->bucket.uid && str_eq(req->src_key, req->key);

    if (k->head.info.layout.n && same && req->keep_mtime) {
        red_label(k->handle, req, k->res, op_call(op, copy_end));
        return STEP_WAIT;
    }
    if (k->head.info.layout.n || !redundancy_is_wide(req->src_bucket.redundancy) ||
        !redundancy_is_wide(req->bucket.redundancy)) {
        store_copy_by_stream(&k->handle->store, req, k->res, op_call(op, copy_end));
        return STEP_WAIT;
    }
    k->own = *req;
    k->write = (struct write_op){.handle = k->handle,
                                 .arena = req->arena,
                                 .bucket = req->bucket,
                                 .key = req->key,
                                 .cond = &req->cond,
                                 .whole = op_call(op, copy_end),
                                 .run = run_copy,
                                 .req = &k->own,
                                 .res = k->res};
    write_start(&k->write, write_begin);
    return STEP_WAIT;
}

static enum step_next copy_end(struct op *op)
{
    struct copy_op *k = OP(op, struct copy_op);

    call_finish(k->whole, op->err);
    return STEP_DONE;
}

static void copy_cancel(void *arg)
{
    op_cancel(&((struct copy_op *)arg)->op, ERR_CANCELLED);
}

void redundant_obj_copy(struct store *s, const struct obj_copy_req *req, struct obj_copy_res *res, struct call *c)
{
    struct copy_op *k;

    if (!redundancy_is_wide(req->bucket.redundancy) && !redundancy_is_wide(req->src_bucket.redundancy)) {
        store_obj_copy(RED(s)->env.single, req, res, c);
        return;
    }
    k = ARENA_NEW(req->arena, struct copy_op);
    *k = (struct copy_op){.handle = RED(s), .req = req, .res = res, .whole = c};
    op_start(&k->op, c->loop, "red_copy", copy_look, copy_end);
    call_on_cancel(c, copy_cancel, k);
}

/* Every member would have to be given the whole of it: then it may as well be written anew, by all the rules of a put. */
void redundant_obj_splice(struct store *s, const struct obj_splice_req *req, struct obj_splice_res *res, struct call *c)
{
    if (redundancy_is_wide(req->bucket.redundancy))
        call_finish(c, ERR_NOT_IMPLEMENTED);
    else
        store_obj_splice(RED(s)->env.single, req, res, c);
}

/* ---- deletes ---- */

static step_fn delete_lock, delete_locked, delete_decide, delete_pushed;

static enum step_next delete_lock(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);

    w->lock = (struct red_lock){.handle = w->handle, .arena = w->arena, .bucket = w->bucket, .key = w->key};
    red_lock_run(&w->lock, op_call(op, delete_locked));
    return STEP_WAIT;
}

static enum step_next delete_locked(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);

    w->locked = true;
    head_own(w, op_try(op, delete_decide));
    return STEP_WAIT;
}

/* Also when there is nothing here: a write that failed may have left something with others. */
static enum step_next delete_decide(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);
    enum err e = decide(w, op->call.err, cond_check_delete);

    if (e != ERR_OK)
        return op_fail(op, e);
    return push_all(w, push_delete, op_try(op, delete_pushed));
}

static enum step_next delete_pushed(struct op *op)
{
    struct write_op *w = OP(op, struct write_op);
    enum err e = push_outcome(w);

    if (e != ERR_OK)
        return op_fail(op, e);
    store_obj_delete(w->handle->env.mine, w->req, w->res, op_call(op, write_end));
    return STEP_WAIT;
}

void redundant_obj_delete(struct store *s, const struct obj_delete_req *req, struct obj_delete_res *res, struct call *c)
{
    struct write_op *w;

    if (!redundancy_is_wide(req->bucket.redundancy)) {
        store_obj_delete(RED(s)->env.single, req, res, c);
        return;
    }
    w = ARENA_NEW(req->arena, struct write_op);
    *w = (struct write_op){.handle = RED(s),
                           .arena = req->arena,
                           .bucket = req->bucket,
                           .key = req->key,
                           .cond = &req->cond,
                           .whole = c,
                           .res = res};
    w->delete_req = *req;
    w->req = &w->delete_req;
    write_start(w, delete_lock);
}
