/* Writes: let in by the set, decided where and when they commit. */
#include "target/disks_own.h"

#include "base/log.h"

enum { OPEN_POLL_MS = 1 };

static const struct cond no_cond = COND_INIT;

struct disk_write {
    struct op op;
    struct disk_handle *handle;
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    struct call *whole;
    size_t copies;
    /* the method under way */
    struct disk_use *began; /* the set by which its mountpath was chosen */
    struct mountpath *on;   /* where it runs; NULL: wherever the key belongs */
    bool makes;             /* an object, of which the bucket wants all copies */
    bool any;               /* a Complete: wherever its upload is */
    bool looks_back;        /* at older versions: all of them have to be where the key belongs */
    enum { FOR_CREATE, FOR_WRITE, FOR_DELETE } what;
    struct cond cond;
    struct cond *left; /* of the condition, for the method to decide in its commit: all of it, or none under the lock */
    /* let in */
    struct op enter;
    struct call *entered;
    struct timer timer;
    struct call *timed;
    struct disk_use *use;
    struct keylock lock;
    bool locked; /* and settled */
    size_t lead; /* of the use's set: where the key belongs */
    uint8_t rank[REDUNDANCY_COPIES_MAX];
    size_t rank_count, at;
    struct disk_settle *settle; /* the last one */
    bool drop_bad;
    size_t bad;
    struct bucket_note note;
    /* before a commit */
    struct commit_gate gate, *outer;
    struct gate_visit *visit;
    struct op pass;
    struct call *passed;
    struct obj_get_res read;
    struct body_check check;
    struct obj_import_req import_req;
    struct obj_import_res import;
    /* methods */
    struct obj_put_req put;
    struct obj_copy_req copy;
    struct obj_splice_req splice;
    struct upload_complete_req complete;
    struct obj_delete_req del;
    const struct obj_import_req *import_in;
    const struct upload_create_req *create;
    struct upload_where where;
    void *res;
};

/* ---- being let in ---- */

static step_fn enter_set, enter_locked, enter_noted, enter_settled, enter_end; /* in order */

#define ENTER(op) CONTAINER(op, struct disk_write, enter)

static void leave(struct disk_write *w)
{
    keylock_drop(&w->lock);
    if (w->use) {
        atomic_fetch_sub(&w->use->writing, 1);
        disk_unpin(w->use);
    }
    w->use = NULL;
    w->locked = false;
}

static void on_timer(struct timer *t)
{
    call_finish(CONTAINER(t, struct disk_write, timer)->timed, ERR_OK);
}

static enum step_next wait_a_moment(struct disk_write *w, struct call *c)
{
    w->timed = c;
    w->timer.fn = on_timer;
    timer_set(c->loop, &w->timer, OPEN_POLL_MS);
    return STEP_WAIT;
}

/* The first that the key belongs to and that knows. */
static enum err find_lead(struct disk_write *w, const struct disk_set *s)
{
    w->rank_count = disk_rank(s, w->bucket.uid, w->key, w->copies, w->rank);
    for (size_t k = 0; k < w->rank_count; k++) {
        w->lead = w->rank[k];
        if (disk_knows(&s->disks[w->lead], w->copies))
            return ERR_OK;
    }
    return ERR_UNAVAILABLE;
}

/* Counted among those that go by the set, which must be the current one and open. */
static enum step_next enter_set(struct op *op)
{
    struct disk_write *w = ENTER(op);
    struct disk_use *u = disk_pin(w->handle);
    enum err e;

    atomic_fetch_add(&u->writing, 1);
    if (!disk_is_current(w->handle, u) || !atomic_load(&u->set->open)) {
        atomic_fetch_sub(&u->writing, 1);
        disk_unpin(u);
        return wait_a_moment(w, op_call(op, enter_set));
    }
    w->use = u;
    if ((e = find_lead(w, u->set)) != ERR_OK)
        return op_fail(op, e);
    if (w->makes && w->rank_count < w->copies) /* there are not so many mountpaths any more */
        return op_fail(op, ERR_UNAVAILABLE);
    /* it was begun on a mountpath where the key does not belong any more */
    if (w->on && !w->any && w->on != u->set->disks[w->lead].mountpath)
        return op_fail(op, ERR_UNAVAILABLE);
    if (w->looks_back && !u->set->calm) /* SlowDown: until the resilver is done */
        return op_fail(op, ERR_BUSY);
    if (w->left)
        *w->left = w->cond;
    if (w->what == FOR_CREATE || (u->set->calm && w->copies == 1))
        return op_go(op, enter_end);
    keylock_take(w->handle->local->disks->locks, &w->lock, w->bucket.uid, w->key, KEYLOCK_EXCLUSIVE,
                 op_call(op, enter_locked));
    return STEP_WAIT;
}

static enum step_next enter_locked(struct op *op)
{
    struct disk_write *w = ENTER(op);

    if (w->copies == 1)
        return op_go(op, enter_noted);
    w->note = (struct bucket_note){.handle = w->handle, .use = w->use, .bucket = &w->bucket, .arena = w->arena};
    bucket_note(&w->note, op_call(op, enter_noted));
    return STEP_WAIT;
}

static void settle_begin(struct disk_write *w, struct call *c)
{
    w->settle = ARENA_NEW(w->arena, struct disk_settle);
    *w->settle = (struct disk_settle){.local = w->handle->local,
                                      .use = w->use,
                                      .arena = w->arena,
                                      .bucket = w->bucket,
                                      .key = w->key,
                                      .bad = w->bad,
                                      .drop_bad = w->drop_bad};
    disk_settle(w->settle, c);
}

static enum step_next enter_noted(struct op *op)
{
    settle_begin(ENTER(op), op_call(op, enter_settled));
    return STEP_WAIT;
}

/* What is not seen may be on a mountpath that is out: it must not decide a condition, nor come back after a delete. */
static bool is_in_doubt(const struct disk_write *w)
{
    const struct disk_set *s = w->use->set;

    if (w->what == FOR_DELETE && w->copies == 1 && !s->calm && s->out)
        return true;
    return w->settle->right < 0 && w->settle->doubt && (w->what == FOR_DELETE || !cond_is_empty(&w->cond));
}

static enum step_next enter_settled(struct op *op)
{
    struct disk_write *w = ENTER(op);
    const struct object_info *now = w->settle->right >= 0 ? &w->settle->info : NULL;
    enum err e = ERR_OK;

    w->locked = true;
    if (w->left)
        *w->left = no_cond;
    if (is_in_doubt(w))
        return op_fail(op, ERR_UNAVAILABLE);
    if (w->what == FOR_DELETE)
        e = cond_check_delete(&w->cond, now);
    else if (!cond_is_empty(&w->cond))
        e = cond_check_write(&w->cond, now);
    return e == ERR_OK ? op_go(op, enter_end) : op_fail(op, e);
}

static enum step_next enter_end(struct op *op)
{
    call_finish(ENTER(op)->entered, op->err);
    return STEP_DONE;
}

static void enter_cancel(void *arg)
{
    op_cancel(&((struct disk_write *)arg)->enter, ERR_CANCELLED);
}

/* leave() in any case, once it is done. */
static void enter(struct disk_write *w, struct call *c)
{
    w->entered = c;
    op_start(&w->enter, c->loop, "disks_enter", enter_set, enter_end);
    call_on_cancel(c, enter_cancel, w);
}

/* ---- the gate: content is stored, its record is about to be committed ---- */

static step_fn pass_outer, pass_enter, pass_entered, pass_copy, pass_import, pass_imported, pass_end; /* in order */

#define PASS(op) CONTAINER(op, struct disk_write, pass)

static enum step_next pass_outer(struct op *op)
{
    struct disk_write *w = PASS(op);

    leave(w); /* of an earlier try of the method */
    if (!w->outer)
        return op_go(op, pass_enter);
    w->outer->enter(w->outer, w->visit, op_call(op, pass_enter));
    return STEP_WAIT;
}

static enum step_next pass_enter(struct op *op)
{
    enter(PASS(op), op_call(op, pass_entered));
    return STEP_WAIT;
}

/* Time goes on for a key, as the newest of several copies is taken for the right one. */
static enum step_next pass_entered(struct op *op)
{
    struct disk_write *w = PASS(op);

    if (w->visit->is_stale && w->visit->is_stale(w->visit))
        return op_fail(op, ERR_AGAIN);
    if (!w->locked) {
        w->visit->follows = !w->outer;
        return op_go(op, pass_end);
    }
    w->copy.move = false; /* its source may have to go from other mountpaths, too */
    if (!w->outer && w->settle->right >= 0 && w->visit->mtime_ns <= w->settle->info.mtime_ns)
        w->visit->mtime_ns = w->settle->info.mtime_ns + 1;
    w->at = 0;
    return op_go(op, pass_copy);
}

/* To all others first, the last ranked before those before it; the method itself commits last. */
static enum step_next pass_copy(struct op *op)
{
    static const struct range all = {RANGE_ALL, 0, 0};
    struct disk_write *w = PASS(op);

    for (; w->at < w->rank_count; w->at++) {
        struct mountpath *m = w->use->set->disks[w->rank[w->rank_count - 1 - w->at]].mountpath;
        if (m && m != w->on)
            break;
    }
    if (w->at == w->rank_count)
        return op_go(op, pass_end);
    if (w->visit->layout.n)
        return op_go(op, pass_import);
    w->read = (struct obj_get_res){.body = NULL};
    w->visit->read(w->visit, &all, w->arena, &w->read, op_call(op, pass_import));
    return STEP_WAIT;
}

static enum step_next pass_import(struct op *op)
{
    struct disk_write *w = PASS(op);
    size_t to = w->rank[w->rank_count - 1 - w->at];

    w->check = (struct body_check){0};
    w->import_req = (struct obj_import_req){.arena = w->arena,
                                            .bucket = w->bucket,
                                            .key = w->key,
                                            .info = *w->visit->info,
                                            .parts = w->visit->parts,
                                            .part_count = w->visit->part_count,
                                            .body = w->read.body,
                                            .check = &w->check,
                                            .force = true};
    w->import_req.info.mtime_ns = w->visit->mtime_ns;
    w->import_req.info.layout = w->visit->layout;
    local_obj_import(&w->use->members[to].store, &w->import_req, &w->import, op_try(op, pass_imported));
    return STEP_WAIT;
}

static enum step_next pass_imported(struct op *op)
{
    struct disk_write *w = PASS(op);

    source_close(w->read.body);
    w->read.body = NULL;
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    w->at++;
    return op_go(op, pass_copy);
}

static enum step_next pass_end(struct op *op)
{
    struct disk_write *w = PASS(op);

    source_close(w->read.body);
    w->read.body = NULL;
    call_finish(w->passed, op->err);
    return STEP_DONE;
}

static void pass_cancel(void *arg)
{
    op_cancel(&((struct disk_write *)arg)->pass, ERR_CANCELLED);
}

static void gate_enter(struct commit_gate *g, struct gate_visit *visit, struct call *c)
{
    struct disk_write *w = CONTAINER(g, struct disk_write, gate);

    w->visit = visit;
    w->passed = c;
    op_start(&w->pass, c->loop, "disks_gate", pass_outer, pass_end);
    call_on_cancel(c, pass_cancel, w);
}

/* ---- what all methods share ---- */

static struct disk_write *write_new(struct store *s, struct arena *arena, const struct bucket_id *bucket,
                                    struct str key, struct call *whole)
{
    struct disk_write *w = ARENA_NEW(arena, struct disk_write);

    w->handle = disk_handle_of(s);
    w->arena = arena;
    w->bucket = *bucket;
    w->looks_back = bucket->versions == VERSIONS_SUSPENDED;
    w->key = key;
    w->whole = whole;
    w->copies = disk_copies(bucket->redundancy);
    w->what = FOR_WRITE;
    w->gate.enter = gate_enter;
    return w;
}

static bool is_careful(const struct disk_write *w)
{
    return !w->began->set->calm || w->copies > 1;
}

/* Where a method with a body begins; whether it still may end there is seen at the gate. */
static enum err choose_begin(struct disk_write *w)
{
    enum err e;

    w->began = disk_pin_for(w->handle, w->arena);
    w->makes = true;
    if ((e = find_lead(w, w->began->set)) != ERR_OK)
        return e;
    w->on = w->began->set->disks[w->lead].mountpath;
    if (is_careful(w)) /* what the mountpath has now is not the last word */
        *w->left = no_cond;
    return ERR_OK;
}

static struct store *begin_member(struct disk_write *w)
{
    return &w->began->members[w->lead].store;
}

static step_fn write_end;

/* A write that failed after some of the copies have it: they are made equal later. */
static enum step_next write_end(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);

    if (op->err != ERR_OK && w->locked && (w->at || w->any)) {
        atomic_store(&w->handle->local->disks->again, true);
        disks_wake(w->handle->local->disks);
    }
    leave(w);
    call_finish(w->whole, op->err);
    return STEP_DONE;
}

static void write_cancel(void *arg)
{
    op_cancel(&((struct disk_write *)arg)->op, ERR_CANCELLED);
}

/* ---- put ---- */

static step_fn put_begin;

static enum step_next put_begin(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);
    enum err e = choose_begin(w);

    if (e != ERR_OK)
        return op_fail(op, e);
    local_obj_put(begin_member(w), &w->put, w->res, op_call(op, write_end));
    return STEP_WAIT;
}

void disks_obj_put(struct store *s, const struct obj_put_req *req, struct obj_put_res *res, struct call *c)
{
    struct disk_write *w = write_new(s, req->arena, &req->bucket, req->key, c);

    w->put = *req;
    w->cond = req->cond;
    w->outer = req->gate;
    w->put.gate = &w->gate;
    w->left = &w->put.cond;
    w->res = res;
    op_start(&w->op, c->loop, "disks_put", put_begin, write_end);
    call_on_cancel(c, write_cancel, w);
}

/* ---- copy ---- */

static step_fn copy_begin, copy_copied, copy_stream;

/* Where source and copy begin on the same mountpath, content is shared. */
static bool is_together(const struct disk_write *w)
{
    struct disk_write src = {.bucket = w->copy.src_bucket, .key = w->copy.src_key};

    src.copies = disk_copies(src.bucket.redundancy);
    return find_lead(&src, w->began->set) == ERR_OK && src.lead == w->lead;
}

static enum step_next copy_begin(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);
    enum err e = choose_begin(w);

    if (e != ERR_OK)
        return op_fail(op, e);
    if (!is_together(w))
        return op_go(op, copy_stream);
    local_obj_copy(begin_member(w), &w->copy, w->res, op_try(op, copy_copied));
    return STEP_WAIT;
}

/* A source that is not there may be elsewhere while objects move. */
static enum step_next copy_copied(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);
    enum err e = op->call.err;

    if (e == ERR_NO_SUCH_KEY && (is_careful(w) || !disk_is_current(w->handle, w->began))) {
        leave(w);
        return op_go(op, copy_stream);
    }
    return e == ERR_OK ? op_go(op, write_end) : op_fail(op, e);
}

static enum step_next copy_stream(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);

    w->copy.cond = w->cond;
    w->copy.gate = w->outer;
    w->left = NULL;
    store_copy_by_stream(&w->handle->store, &w->copy, w->res, op_call(op, write_end));
    return STEP_WAIT;
}

void disks_obj_copy(struct store *s, const struct obj_copy_req *req, struct obj_copy_res *res, struct call *c)
{
    struct disk_write *w = write_new(s, req->arena, &req->bucket, req->key, c);

    w->copy = *req;
    w->cond = req->cond;
    w->outer = req->gate;
    w->copy.gate = &w->gate;
    w->left = &w->copy.cond;
    w->res = res;
    op_start(&w->op, c->loop, "disks_copy", copy_begin, write_end);
    call_on_cancel(c, write_cancel, w);
}

/* ---- splice ---- */

static step_fn splice_begin;

/* Of several copies each would have to be made anew, and while objects move this one may be elsewhere. */
static enum step_next splice_begin(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);
    enum err e = choose_begin(w);

    if (e == ERR_OK && is_careful(w))
        e = ERR_NOT_IMPLEMENTED;
    if (e != ERR_OK)
        return op_fail(op, e);
    local_obj_splice(begin_member(w), &w->splice, w->res, op_call(op, write_end));
    return STEP_WAIT;
}

void disks_obj_splice(struct store *s, const struct obj_splice_req *req, struct obj_splice_res *res, struct call *c)
{
    struct disk_write *w = write_new(s, req->arena, &req->bucket, req->key, c);

    w->splice = *req;
    w->cond = req->cond;
    w->outer = req->gate;
    w->splice.gate = &w->gate;
    w->left = &w->splice.cond;
    w->res = res;
    op_start(&w->op, c->loop, "disks_splice", splice_begin, write_end);
    call_on_cancel(c, write_cancel, w);
}

/* ---- complete ---- */

static step_fn complete_begin, complete_found, complete_run, complete_completed, complete_end;

static enum step_next complete_begin(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);
    enum err e = choose_begin(w);

    if (e != ERR_OK)
        return op_fail(op, e);
    w->where = (struct upload_where){.local = w->handle->local,
                                     .use = w->began,
                                     .bucket = w->bucket,
                                     .key = w->key,
                                     .upload_id = w->complete.upload_id};
    upload_where(&w->where, op_call(op, complete_found));
    return STEP_WAIT;
}

/* Without an upload it may have been completed before: the object tells, where it belongs. */
static enum step_next complete_found(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);

    w->any = true;
    if (!w->where.found && is_careful(w)) {
        w->cond = no_cond; /* nothing will be committed */
        enter(w, op_call(op, complete_run));
        return STEP_WAIT;
    }
    if (w->where.found)
        w->lead = w->where.at;
    return op_go(op, complete_run);
}

static enum step_next complete_run(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);

    struct disk_use *u = w->use ? w->use : w->began;

    w->on = u->set->disks[w->lead].mountpath;
    local_upload_complete(&u->members[w->lead].store, &w->complete, w->res, op_call(op, complete_completed));
    return STEP_WAIT;
}

/* What was made where the key does not belong goes there before anybody is told. */
static enum step_next complete_completed(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);

    if (!w->locked) {
        if (w->use && w->on != w->use->set->disks[w->lead].mountpath)
            return op_fail(op, ERR_INTERNAL); /* such a set is not calm */
        return op_go(op, complete_end);
    }
    settle_begin(w, op_call(op, complete_end));
    return STEP_WAIT;
}

static enum step_next complete_end(struct op *op)
{
    OP(op, struct disk_write)->any = false; /* nothing is left to be done later */
    return op_go(op, write_end);
}

void disks_upload_complete(struct store *s, const struct upload_complete_req *req, struct upload_complete_res *res,
                           struct call *c)
{
    struct disk_write *w = write_new(s, req->arena, &req->bucket, req->key, c);

    w->complete = *req;
    w->cond = req->cond;
    w->outer = req->gate;
    w->complete.gate = &w->gate;
    w->left = &w->complete.cond;
    w->res = res;
    op_start(&w->op, c->loop, "disks_complete", complete_begin, write_end);
    call_on_cancel(c, write_cancel, w);
}

/* ---- delete ---- */

static step_fn delete_begin, delete_entered, delete_next, delete_last, delete_end;

static enum step_next delete_begin(struct op *op)
{
    enter(OP(op, struct disk_write), op_call(op, delete_entered));
    return STEP_WAIT;
}

static enum step_next delete_entered(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);

    if (!w->locked) {
        local_obj_delete(&w->use->members[w->lead].store, &w->del, w->res, op_call(op, write_end));
        return STEP_WAIT;
    }
    w->del.cond = no_cond;
    w->at = 0;
    return op_go(op, delete_next);
}

/* The copies before the one that is read first; settling left none elsewhere. */
static enum step_next delete_next(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);

    for (; w->at < w->rank_count; w->at++) {
        size_t i = w->rank[w->rank_count - 1 - w->at];
        if (i != w->lead && w->use->set->disks[i].mountpath)
            break;
    }
    if (w->at == w->rank_count)
        return op_go(op, delete_last);
    size_t i = w->rank[w->rank_count - 1 - w->at++];
    local_obj_delete(&w->use->members[i].store, &w->del, w->res, op_call(op, delete_next));
    return STEP_WAIT;
}

static enum step_next delete_last(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);

    local_obj_delete(&w->use->members[w->lead].store, &w->del, w->res, op_call(op, delete_end));
    return STEP_WAIT;
}

static enum step_next delete_end(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);

    ((struct obj_delete_res *)w->res)->existed = w->settle->right >= 0;
    return op_go(op, write_end);
}

void disks_obj_delete(struct store *s, const struct obj_delete_req *req, struct obj_delete_res *res, struct call *c)
{
    struct disk_write *w = write_new(s, req->arena, &req->bucket, req->key, c);

    w->del = *req;
    w->looks_back |= req->of_version;
    w->cond = req->cond;
    w->what = FOR_DELETE;
    w->res = res;
    op_start(&w->op, c->loop, "disks_delete", delete_begin, write_end);
}

/* ---- import ---- */

static step_fn import_begin, import_entered, import_imported;

static enum step_next import_begin(struct op *op)
{
    enter(OP(op, struct disk_write), op_call(op, import_entered));
    return STEP_WAIT;
}

static enum step_next import_entered(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);

    w->any = w->locked;
    local_obj_import(&w->use->members[w->lead].store, w->import_in, w->res, op_call(op, import_imported));
    return STEP_WAIT;
}

static enum step_next import_imported(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);

    if (!w->locked || w->copies == 1)
        return op_go(op, write_end);
    settle_begin(w, op_call(op, write_end));
    return STEP_WAIT;
}

void disks_obj_import(struct store *s, const struct obj_import_req *req, struct obj_import_res *res, struct call *c)
{
    struct disk_write *w = write_new(s, req->arena, &req->bucket, req->key, c);

    w->looks_back = false;
    w->import_in = req;
    w->makes = true;
    w->res = res;
    op_start(&w->op, c->loop, "disks_import", import_begin, write_end);
    call_on_cancel(c, write_cancel, w);
}

/* ---- the beginning of an upload ---- */

static step_fn create_begin, create_entered;

static enum step_next create_begin(struct op *op)
{
    enter(OP(op, struct disk_write), op_call(op, create_entered));
    return STEP_WAIT;
}

static enum step_next create_entered(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);

    local_upload_create(&w->use->members[w->lead].store, w->create, w->res, op_call(op, write_end));
    return STEP_WAIT;
}

void disks_upload_create(struct store *s, const struct upload_create_req *req, struct upload_create_res *res,
                         struct call *c)
{
    struct disk_write *w = write_new(s, req->arena, &req->bucket, req->key, c);

    w->create = req;
    w->makes = true;
    w->what = FOR_CREATE;
    w->res = res;
    op_start(&w->op, c->loop, "disks_create", create_begin, write_end);
}

/* ---- settling a key from outside ---- */

static step_fn key_begin, key_end;

static enum step_next key_begin(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);

    enter(w, op_call(op, key_end));
    return STEP_WAIT;
}

static enum step_next key_end(struct op *op)
{
    struct disk_write *w = OP(op, struct disk_write);

    *(struct disk_settle_res *)w->res = (struct disk_settle_res){0};
    if (w->locked)
        *(struct disk_settle_res *)w->res = (struct disk_settle_res){w->settle->changed, w->settle->bytes};
    return op_go(op, write_end);
}

void disks_settle_key(struct store *s, const struct disk_settle_req *req, struct disk_settle_res *res, struct call *c)
{
    struct disk_write *w = write_new(s, req->arena, &req->bucket, req->key, c);

    w->drop_bad = req->bad >= 0;
    w->bad = req->bad >= 0 ? (size_t)req->bad : 0;
    w->res = res;
    op_start(&w->op, c->loop, "disks_settle", key_begin, write_end);
}
