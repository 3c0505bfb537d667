#include "store/quota.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/quota_own.h"

enum { POLL_MS = 20 };
#define NS_PER_MS UINT64_C(1000000)

static struct quota_store *of(struct store *s)
{
    return CONTAINER(s, struct quota_store, store);
}

/* ---- the table ---- */

struct quotas *quotas_new(const struct quotas_conf *conf)
{
    struct quotas *t = NEW(struct quotas);

    t->conf = *conf;
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void quotas_free(struct quotas *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < QUOTA_SLOTS; i++)
        for (struct quota *q = t->slots[i], *next; q; q = next) {
            next = q->next;
            free(q);
        }
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* With the lock. It stays: buckets with quotas are few. */
static struct quota *quota_of(struct quotas *t, uint64_t uid)
{
    struct quota **slot = &t->slots[uid % QUOTA_SLOTS], *q = *slot;

    while (q && q->uid != uid)
        q = q->next;
    if (q)
        return q;
    q = NEW(struct quota);
    q->uid = uid;
    q->next = *slot;
    *slot = q;
    return q;
}

static bool limits_of(const struct quota_store *s, struct arena *arena, const struct bucket_id *b,
                      struct quota_limits *out)
{
    const struct quotas_conf *conf = &s->quotas->conf;
    const struct bucket_doc *d = bucket_conf_find(conf->confs, arena, b->uid & ~VERSIONS_SHADOW, STR("tagging"));

    return d && d->parsed && conf->limits(d->parsed, out);
}

static void use_add(struct quota_use *to, const struct quota_use *more)
{
    to->bytes += more->bytes;
    to->objects += more->objects;
}

static void use_take(struct quota_use *from, const struct quota_use *less)
{
    from->bytes -= less->bytes;
    from->objects -= less->objects;
}

void quota_counted(struct quotas *t, struct quota *q, const struct quota_use *sum)
{
    pthread_mutex_lock(&t->lock);
    q->counting = false;
    q->ended_ns = clock_mono_ns();
    q->took_ns = q->ended_ns - q->began_ns;
    if (sum) {
        q->known = true;
        q->counted = *sum;
        use_take(&q->done, &q->before); /* what was written before the count began is in it */
    }
    pthread_mutex_unlock(&t->lock);
}

/* ---- letting in ---- */

enum verdict { LET_IN, WAIT, REFUSE };

struct admit {
    struct op op;
    struct quota_store *s;
    struct arena *arena;
    struct quota *q;
    struct bucket_id bucket;
    struct quota_limits limits;
    struct quota_use need;
    struct str key; /* what is written: may take the place of something; empty: it does not */
    bool looked;
    struct quota_use credit; /* what goes when it does */
    struct obj_head_req head_req;
    struct obj_head_res head;
    bool endless; /* its length is not known */
    bool reserved, clamps;
    uint64_t room; /* bytes, without `need`; UINT64_MAX: any */
    uint64_t asked_ns, deadline_ns;
    struct timer timer;
    struct call *timed, *whole;
    step_fn *first; /* NULL: admit_try */
    /* Hands the request to the inner store. */
    void (*run)(struct admit *a, struct call *call);
    /* What has become of it, after a success. */
    struct quota_use (*made)(const struct admit *a);
    union {
        struct obj_put_req put;
        struct obj_copy_req copy;
        struct obj_splice_req splice;
        struct upload_part_req part;
        struct upload_complete_req complete;
    } req;
    void *res;
};

static step_fn admit_try, admit_looked, admit_ran, admit_end;

static struct quota_use used(const struct quota *q)
{
    struct quota_use u = q->counted;

    use_add(&u, &q->done);
    use_add(&u, &q->flying);
    return u;
}

static bool fits(const struct admit *a, const struct quota_use *u)
{
    const struct quota_limits *l = &a->limits;
    uint64_t bytes = l->bytes + a->credit.bytes, objects = l->objects + a->credit.objects;

    return (!l->bytes || (u->bytes <= bytes && a->need.bytes <= bytes - u->bytes)) &&
           (!l->objects || u->objects + a->need.objects <= objects);
}

/* With the lock. Whether another count is due, to be told from what is known. */
static bool may_count(struct quota *q, uint64_t now, uint64_t rest_ns)
{
    uint64_t pause = q->took_ns * QUOTA_REST;

    if (q->counting || (q->ended_ns && now - q->ended_ns < (pause > rest_ns ? pause : rest_ns)))
        return false;
    q->counting = true;
    q->dirty = false;
    q->began_ns = now;
    q->before = q->done;
    return true;
}

/* What does not say how long it is gets the room there is: that should be known well, where there is little. */
static bool is_doubtful(const struct admit *a, const struct quota_use *u)
{
    return a->endless && a->q->dirty && a->q->began_ns < a->asked_ns && u->bytes > a->limits.bytes / 2;
}

/* With the lock; *count: the caller is to begin one. */
static enum verdict decide(struct admit *a, uint64_t now, bool *count)
{
    struct quota *q = a->q;
    struct quota_use u = used(q);
    bool late = now >= a->deadline_ns;

    if (!q->known) {
        *count = may_count(q, now, QUOTA_PAUSE_MS * NS_PER_MS);
        return late ? LET_IN : WAIT;
    }
    if (fits(a, &u) && !is_doubtful(a, &u)) {
        *count = may_count(q, now, QUOTA_FRESH_MS * NS_PER_MS);
        return LET_IN;
    }
    if (late)
        return fits(a, &u) ? LET_IN : REFUSE;
    if (q->counting)
        return WAIT;
    if (q->began_ns >= a->asked_ns || (!q->dirty && now - q->began_ns < QUOTA_FRESH_MS * NS_PER_MS))
        return REFUSE;
    *count = may_count(q, now, QUOTA_PAUSE_MS * NS_PER_MS);
    return WAIT;
}

static void poll_over(struct timer *t)
{
    call_finish(CONTAINER(t, struct admit, timer)->timed, ERR_OK);
}

/* Unless it takes the place of something that is as large. */
static enum step_next refuse(struct admit *a)
{
    if (a->looked || !a->key.n || a->bucket.versions != VERSIONS_OFF)
        return op_fail(&a->op, ERR_QUOTA_EXCEEDED);
    a->head_req =
        (struct obj_head_req){.arena = a->arena, .bucket = a->bucket, .key = a->key, .cond = COND_INIT, .cached = true};
    store_obj_head(a->s->inner, &a->head_req, &a->head, op_try(&a->op, admit_looked));
    return STEP_WAIT;
}

static enum step_next admit_looked(struct op *op)
{
    struct admit *a = OP(op, struct admit);

    a->looked = true;
    if (op->call.err != ERR_OK)
        return op_fail(op, ERR_QUOTA_EXCEEDED);
    a->credit = (struct quota_use){a->head.info.size, 1};
    return op_go(op, admit_try);
}

static enum step_next admit_try(struct op *op)
{
    struct admit *a = OP(op, struct admit);
    struct quotas *t = a->s->quotas;
    bool count = false;

    pthread_mutex_lock(&t->lock);
    enum verdict v = decide(a, clock_mono_ns(), &count);
    if (v == LET_IN) {
        struct quota_use u = used(a->q);
        uint64_t bytes = a->limits.bytes + a->credit.bytes;
        a->room = !a->limits.bytes ? UINT64_MAX : u.bytes < bytes ? bytes - u.bytes : 0;
        use_add(&a->q->flying, &a->need);
        a->reserved = true;
    }
    pthread_mutex_unlock(&t->lock);
    if (count)
        quota_count_start(a->s, a->q, &a->bucket);
    if (v == REFUSE)
        return refuse(a);
    if (v == LET_IN) {
        a->run(a, op_try(op, admit_ran));
        return STEP_WAIT;
    }
    a->timed = op_call(op, admit_try);
    a->timer.fn = poll_over;
    timer_set(op->loop, &a->timer, POLL_MS);
    return STEP_WAIT;
}

static void settle(struct admit *a, const struct quota_use *made)
{
    pthread_mutex_lock(&a->s->quotas->lock);
    use_take(&a->q->flying, &a->need);
    if (made) {
        use_add(&a->q->done, made);
        a->q->dirty = true; /* it may have taken the place of something */
    }
    pthread_mutex_unlock(&a->s->quotas->lock);
    a->reserved = false;
}

static enum step_next admit_ran(struct op *op)
{
    struct admit *a = OP(op, struct admit);
    enum err e = op->call.err;
    struct quota_use made = e == ERR_OK ? a->made(a) : (struct quota_use){0};

    settle(a, e == ERR_OK ? &made : NULL);
    if (a->clamps && e == ERR_ENTITY_TOO_LARGE)
        e = ERR_QUOTA_EXCEEDED;
    return e == ERR_OK ? op_go(op, admit_end) : op_fail(op, e);
}

static enum step_next admit_end(struct op *op)
{
    struct admit *a = OP(op, struct admit);

    if (a->reserved) { /* given up while the inner store had it: what that says is what has happened */
        struct quota_use made = op->call.err == ERR_OK ? a->made(a) : (struct quota_use){0};
        settle(a, op->call.err == ERR_OK ? &made : NULL);
        op->err = op->call.err;
    }
    call_finish(a->whole, op->err);
    return STEP_DONE;
}

static void admit_cancel(void *arg)
{
    op_cancel(&((struct admit *)arg)->op, ERR_CANCELLED);
}

/* NULL: the bucket has no quota. */
static struct admit *admit_new(struct store *s, struct arena *arena, const struct bucket_id *b, struct quota_use need)
{
    struct quota_limits limits = {0};
    struct admit *a;

    if (!limits_of(of(s), arena, b, &limits))
        return NULL;
    a = ARENA_NEW(arena, struct admit);
    a->s = of(s);
    a->arena = arena;
    a->bucket = *b;
    a->limits = limits;
    a->need = need;
    a->asked_ns = clock_mono_ns();
    a->deadline_ns = a->asked_ns + QUOTA_WAIT_MS * NS_PER_MS;
    pthread_mutex_lock(&a->s->quotas->lock);
    a->q = quota_of(a->s->quotas, b->uid & ~VERSIONS_SHADOW);
    pthread_mutex_unlock(&a->s->quotas->lock);
    return a;
}

static void admit_start(struct admit *a, void *res, struct call *whole)
{
    a->res = res;
    a->whole = whole;
    op_start(&a->op, whole->loop, "quota", a->first ? a->first : admit_try, admit_end);
    call_on_cancel(whole, admit_cancel, a);
}

/* No more than there is room for, of what does not say how long it is. */
static void clamp(struct admit *a, uint64_t *size_max)
{
    a->clamps = a->room < *size_max;
    if (a->clamps)
        *size_max = a->room;
}

/* ---- the methods ---- */

#define M(m)                                                                                                           \
    static void pass_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *c)              \
    {                                                                                                                  \
        store_##m(of(s)->inner, req, res, c);                                                                          \
    }
STORE_METHODS(M)
#undef M

static uint64_t size_of(const struct source *body)
{
    return body && body->size != SOURCE_SIZE_UNKNOWN ? body->size : 0;
}

static bool is_endless(const struct source *body)
{
    return body && body->size == SOURCE_SIZE_UNKNOWN;
}

static void run_put(struct admit *a, struct call *call)
{
    if (a->endless)
        clamp(a, &a->req.put.size_max);
    store_obj_put(a->s->inner, &a->req.put, a->res, call);
}

static struct quota_use made_put(const struct admit *a)
{
    return (struct quota_use){((const struct obj_put_res *)a->res)->info.size, 1};
}

static void quota_obj_put(struct store *s, const struct obj_put_req *req, struct obj_put_res *res, struct call *c)
{
    struct admit *a = admit_new(s, req->arena, &req->bucket, (struct quota_use){size_of(req->body), 1});

    if (!a) {
        store_obj_put(of(s)->inner, req, res, c);
        return;
    }
    a->req.put = *req;
    a->key = req->key;
    a->endless = is_endless(req->body);
    a->run = run_put;
    a->made = made_put;
    admit_start(a, res, c);
}

static void run_copy(struct admit *a, struct call *call)
{
    store_obj_copy(a->s->inner, &a->req.copy, a->res, call);
}

static step_fn admit_sourced;

/* How large is what is copied? */
static enum step_next admit_source(struct op *op)
{
    struct admit *a = OP(op, struct admit);

    a->head_req = (struct obj_head_req){
        .arena = a->arena, .bucket = a->req.copy.src_bucket, .key = a->req.copy.src_key, .cond = COND_INIT};
    store_obj_head(a->s->inner, &a->head_req, &a->head, op_try(op, admit_sourced));
    return STEP_WAIT;
}

static enum step_next admit_sourced(struct op *op)
{
    struct admit *a = OP(op, struct admit);

    if (op->call.err == ERR_OK)
        a->need.bytes = a->head.info.size;
    return op_go(op, admit_try);
}

static struct quota_use made_copy(const struct admit *a)
{
    return (struct quota_use){((const struct obj_copy_res *)a->res)->info.size, 1};
}

/* A new name, or other words about what is there, take no room. */
static bool adds_nothing(const struct obj_copy_req *req)
{
    bool inside = req->bucket.uid == req->src_bucket.uid;

    return inside &&
           (req->move || (str_eq(req->key, req->src_key) && (req->keep_mtime || req->bucket.versions == VERSIONS_OFF)));
}

static void quota_obj_copy(struct store *s, const struct obj_copy_req *req, struct obj_copy_res *res, struct call *c)
{
    struct admit *a = adds_nothing(req) ? NULL : admit_new(s, req->arena, &req->bucket, (struct quota_use){0, 1});

    if (!a) {
        store_obj_copy(of(s)->inner, req, res, c);
        return;
    }
    a->req.copy = *req;
    a->key = req->key;
    a->run = run_copy;
    a->made = made_copy;
    a->first = admit_source;
    admit_start(a, res, c);
}

static void run_splice(struct admit *a, struct call *call)
{
    store_obj_splice(a->s->inner, &a->req.splice, a->res, call);
}

static struct quota_use made_splice(const struct admit *a)
{
    return a->need;
}

static void quota_obj_splice(struct store *s, const struct obj_splice_req *req, struct obj_splice_res *res,
                             struct call *c)
{
    struct admit *a = admit_new(s, req->arena, &req->bucket, (struct quota_use){size_of(req->body), 0});

    if (!a) {
        store_obj_splice(of(s)->inner, req, res, c);
        return;
    }
    a->req.splice = *req;
    a->run = run_splice;
    a->made = made_splice;
    admit_start(a, res, c);
}

static void run_part(struct admit *a, struct call *call)
{
    if (a->endless)
        clamp(a, &a->req.part.size_max);
    store_upload_part(a->s->inner, &a->req.part, a->res, call);
}

static struct quota_use made_part(const struct admit *a)
{
    return (struct quota_use){((const struct upload_part_res *)a->res)->part.size, 0};
}

static void quota_upload_part(struct store *s, const struct upload_part_req *req, struct upload_part_res *res,
                              struct call *c)
{
    struct admit *a = admit_new(s, req->arena, &req->bucket, (struct quota_use){size_of(req->body), 0});

    if (!a) {
        store_upload_part(of(s)->inner, req, res, c);
        return;
    }
    a->req.part = *req;
    a->endless = is_endless(req->body);
    a->run = run_part;
    a->made = made_part;
    admit_start(a, res, c);
}

static void run_complete(struct admit *a, struct call *call)
{
    store_upload_complete(a->s->inner, &a->req.complete, a->res, call);
}

/* Its bytes were let in with its parts. */
static void quota_upload_complete(struct store *s, const struct upload_complete_req *req,
                                  struct upload_complete_res *res, struct call *c)
{
    struct admit *a = admit_new(s, req->arena, &req->bucket, (struct quota_use){0, 1});

    if (!a) {
        store_upload_complete(of(s)->inner, req, res, c);
        return;
    }
    a->req.complete = *req;
    a->key = req->key;
    a->run = run_complete;
    a->made = made_splice;
    admit_start(a, res, c);
}

/* ---- what makes room ---- */

struct freed {
    struct call call;
    struct quota_store *s;
    uint64_t uid;
    struct call *whole;
};

static void freed_done(struct call *c)
{
    struct freed *f = CONTAINER(c, struct freed, call);

    pthread_mutex_lock(&f->s->quotas->lock);
    quota_of(f->s->quotas, f->uid)->dirty = true;
    pthread_mutex_unlock(&f->s->quotas->lock);
    call_finish(f->whole, c->err);
}

static void freed_cancel(void *arg)
{
    call_cancel(&((struct freed *)arg)->call);
}

/* The call to hand to the inner store instead of `whole`. */
static struct call *freeing(struct store *s, struct arena *arena, const struct bucket_id *b, struct call *whole)
{
    struct quota_limits limits;
    struct freed *f;

    if (!limits_of(of(s), arena, b, &limits))
        return whole;
    f = ARENA_NEW(arena, struct freed);
    f->s = of(s);
    f->uid = b->uid & ~VERSIONS_SHADOW;
    f->whole = whole;
    call_begin(&f->call, whole->loop, freed_done);
    call_on_cancel(whole, freed_cancel, f);
    return &f->call;
}

static void quota_obj_delete(struct store *s, const struct obj_delete_req *req, struct obj_delete_res *res,
                             struct call *c)
{
    store_obj_delete(of(s)->inner, req, res, freeing(s, req->arena, &req->bucket, c));
}

static void quota_upload_abort(struct store *s, const struct upload_abort_req *req, struct upload_abort_res *res,
                               struct call *c)
{
    store_upload_abort(of(s)->inner, req, res, freeing(s, req->arena, &req->bucket, c));
}

/* ---- life ---- */

static void quota_close(struct store *s)
{
    quota_count_drain(of(s));
    free(of(s));
}

struct store *quota_store_new(struct quotas *quotas, struct loop *loop, struct store *inner)
{
    struct quota_store *s = NEW(struct quota_store);

    s->quotas = quotas;
    s->inner = inner;
    s->ops = (struct store_ops){
        .name = "quota",
#define M(m) .m = pass_##m,
        STORE_METHODS(M)
#undef M
            .close = quota_close,
    };
    s->ops.obj_put = quota_obj_put;
    s->ops.obj_copy = quota_obj_copy;
    s->ops.obj_splice = quota_obj_splice;
    s->ops.upload_part = quota_upload_part;
    s->ops.upload_complete = quota_upload_complete;
    s->ops.obj_delete = quota_obj_delete;
    s->ops.upload_abort = quota_upload_abort;
    s->store = (struct store){.ops = &s->ops, .loop = loop};
    return &s->store;
}
