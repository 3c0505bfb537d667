#include "store/bucket_conf.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/op.h"

#define PREFIX STR("bucketconf/")
enum { UID_HEX = 16 };

struct entry {
    struct bucket_doc doc;
    struct arena arena; /* holds the texts and what was made of them */
    struct str name;
    uint64_t uid;
    _Atomic uint32_t refs;
};

struct bucket_confs {
    struct meta *meta;
    const struct bucket_doc_kind *kinds;
    size_t kind_count;
    pthread_rwlock_t lock;
    struct {                    /* guarded by lock */
        struct entry **entries; /* by uid, then name */
        size_t n, cap;
        uint64_t revision; /* the last that the watch told: an older answer to a put of our own is out of date */
    } locked;
};

/* ---- keys ---- */

static struct str prefix_of(struct arena *a, uint64_t uid)
{
    return arena_printf(a, STR_FMT "%016llx/", STR_ARG(PREFIX), (unsigned long long)uid);
}

static bool key_split(struct str key, uint64_t *uid, struct str *name)
{
    struct str rest = str_skip(key, PREFIX.n);

    if (rest.n < UID_HEX + 2 || rest.p[UID_HEX] != '/' || !str_hex_to_u64(str_n(rest.p, UID_HEX), uid))
        return false;
    *name = str_skip(rest, UID_HEX + 1);
    return true;
}

/* ---- the table ---- */

static void entry_unref(void *arg)
{
    struct entry *e = arg;

    if (atomic_fetch_sub(&e->refs, 1) != 1)
        return;
    arena_release(&e->arena);
    free(e);
}

/* `kind` ends in '.': all that begin so. */
static bool is_of(struct str name, struct str kind)
{
    return str_ends(kind, STR(".")) ? str_starts(name, kind) : str_eq(name, kind);
}

static struct entry *entry_new(const struct bucket_confs *t, uint64_t uid, struct str name, struct str text,
                               uint64_t revision)
{
    struct entry *e = NEW(struct entry);

    e->refs = 1;
    e->uid = uid;
    e->name = arena_str(&e->arena, name);
    e->doc = (struct bucket_doc){.text = arena_str(&e->arena, text), .revision = revision};
    for (size_t i = 0; i < t->kind_count; i++)
        if (is_of(name, t->kinds[i].name))
            e->doc.parsed = t->kinds[i].parse(&e->arena, e->doc.text);
    return e;
}

static int entry_cmp(const struct entry *e, uint64_t uid, struct str name)
{
    return e->uid != uid ? (e->uid < uid ? -1 : 1) : str_cmp(e->name, name);
}

static size_t seek(const struct bucket_confs *t, uint64_t uid, struct str name)
{
    size_t low = 0, high = t->locked.n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (entry_cmp(t->locked.entries[mid], uid, name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void insert(struct bucket_confs *t, size_t at, struct entry *e)
{
    if (t->locked.n == t->locked.cap) {
        t->locked.cap = t->locked.cap ? t->locked.cap * 2 : 16;
        t->locked.entries = mem_realloc(t->locked.entries, t->locked.cap * sizeof(struct entry *));
    }
    memmove(&t->locked.entries[at + 1], &t->locked.entries[at], (t->locked.n - at) * sizeof(struct entry *));
    t->locked.entries[at] = e;
    t->locked.n++;
}

/* A change that took effect in meta; `text.p` NULL: removed. Not told: it was ours, and when the watch is past it the table is right
 * already or newer. */
static void apply(struct bucket_confs *t, uint64_t uid, struct str name, struct str text, uint64_t revision, bool told)
{
    struct entry *fresh = text.p ? entry_new(t, uid, name, text, revision) : NULL, *old = NULL;

    pthread_rwlock_wrlock(&t->lock);
    size_t at = seek(t, uid, name);
    if (at < t->locked.n && entry_cmp(t->locked.entries[at], uid, name) == 0)
        old = t->locked.entries[at];
    if ((!told && revision <= t->locked.revision) || (old && old->doc.revision >= revision)) {
        old = fresh; /* which nobody needs */
    } else if (fresh && old) {
        t->locked.entries[at] = fresh;
    } else if (fresh) {
        insert(t, at, fresh);
    } else if (old) {
        t->locked.n--;
        memmove(&t->locked.entries[at], &t->locked.entries[at + 1], (t->locked.n - at) * sizeof(struct entry *));
    }
    if (told && revision > t->locked.revision)
        t->locked.revision = revision;
    pthread_rwlock_unlock(&t->lock);
    if (old)
        entry_unref(old);
}

static void on_change(void *arg, struct str key, struct str value, uint64_t revision, bool removed)
{
    struct str name;
    uint64_t uid;

    if (key_split(key, &uid, &name))
        apply(arg, uid, name, removed ? STR_NONE : value, revision, true);
    else
        log_error(STR_NONE, "document of no bucket", "key=%s", log_quote(key));
}

const struct bucket_doc *bucket_conf_find(struct bucket_confs *t, struct arena *arena, uint64_t uid, struct str name)
{
    struct entry *e = NULL;

    pthread_rwlock_rdlock(&t->lock);
    size_t at = seek(t, uid, name);
    if (at < t->locked.n && entry_cmp(t->locked.entries[at], uid, name) == 0) {
        e = t->locked.entries[at];
        atomic_fetch_add(&e->refs, 1);
    }
    pthread_rwlock_unlock(&t->lock);
    if (!e)
        return NULL;
    arena_defer(arena, entry_unref, e);
    return &e->doc;
}

const struct bucket_doc *bucket_conf_next(struct bucket_confs *t, struct arena *arena, uint64_t uid, struct str prefix,
                                          struct str after, struct str *name)
{
    struct entry *e = NULL;
    struct str from = str_cmp(after, prefix) > 0 ? after : prefix;

    pthread_rwlock_rdlock(&t->lock);
    size_t at = seek(t, uid, from);
    if (at < t->locked.n && entry_cmp(t->locked.entries[at], uid, after) == 0)
        at++;
    if (at < t->locked.n && t->locked.entries[at]->uid == uid && str_starts(t->locked.entries[at]->name, prefix)) {
        e = t->locked.entries[at];
        atomic_fetch_add(&e->refs, 1);
    }
    pthread_rwlock_unlock(&t->lock);
    if (!e)
        return NULL;
    arena_defer(arena, entry_unref, e);
    *name = e->name;
    return &e->doc;
}

bool bucket_conf_any(struct bucket_confs *t, struct str name)
{
    bool any = false;

    pthread_rwlock_rdlock(&t->lock);
    for (size_t i = 0; i < t->locked.n && !any; i++)
        any = is_of(t->locked.entries[i]->name, name);
    pthread_rwlock_unlock(&t->lock);
    return any;
}

/* ---- put ---- */

struct put_op {
    struct op op;
    struct bucket_confs *t;
    const struct bucket_conf_put_req *req;
    struct bucket_conf_put_res *res;
    struct call *whole;
    struct meta_put_req put;
    struct meta_put_res written;
};

static step_fn put_begin, put_done, put_end;

static enum step_next put_begin(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);
    struct str prefix = prefix_of(p->req->arena, p->req->uid);

    if (p->req->text.n > BUCKET_DOC_MAX)
        return op_fail(op, ERR_TOO_LARGE);
    p->put = (struct meta_put_req){
        .key = arena_printf(p->req->arena, STR_FMT STR_FMT, STR_ARG(prefix), STR_ARG(p->req->name)),
        .value = p->req->text,
        .revision = META_ANY,
        .remove = !p->req->text.p};
    meta_put(p->t->meta, &p->put, &p->written, op_try(op, put_done));
    return STEP_WAIT;
}

static enum step_next put_done(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);
    enum err e = op->call.err;

    if (e == ERR_OK) {
        apply(p->t, p->req->uid, p->req->name, p->req->text, p->written.revision, false);
        p->res->revision = p->written.revision;
    } else if (!(p->put.remove && (e == ERR_NOT_FOUND || e == ERR_CONFLICT))) {
        return op_fail(op, e);
    }
    return op_go(op, put_end);
}

static enum step_next put_end(struct op *op)
{
    struct put_op *p = OP(op, struct put_op);

    call_finish(p->whole, op->err);
    free(p);
    return STEP_DONE;
}

void bucket_conf_put(struct bucket_confs *t, const struct bucket_conf_put_req *req, struct bucket_conf_put_res *res,
                     struct call *whole)
{
    struct put_op *p = NEW(struct put_op);

    /* no cancel hook: a put that was begun takes effect, and its answer belongs into the table */
    *p = (struct put_op){.t = t, .req = req, .res = res, .whole = whole};
    op_start(&p->op, whole->loop, "bucket_conf_put", put_begin, put_end);
}

/* ---- purge ---- */

struct purge_op {
    struct op op;
    struct meta *meta;
    const struct bucket_conf_purge_req *req;
    struct bucket_conf_purge_res *res;
    struct call *whole;
    struct meta_list_req list;
    struct meta_list_res page;
    uint32_t at;
    struct meta_put_req put;
    struct meta_put_res written;
};

static step_fn purge_list, purge_listed, purge_next, purge_removed, purge_end;

static enum step_next purge_list(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    p->list = (struct meta_list_req){p->req->arena, prefix_of(p->req->arena, p->req->uid), p->put.key, META_LIST_MAX};
    meta_list(p->meta, &p->list, &p->page, op_call(op, purge_listed));
    return STEP_WAIT;
}

static enum step_next purge_listed(struct op *op)
{
    OP(op, struct purge_op)->at = 0;
    return op_go(op, purge_next);
}

static enum step_next purge_next(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    if (p->at == p->page.count)
        return op_go(op, p->page.truncated ? purge_list : purge_end);
    p->put = (struct meta_put_req){.key = p->page.entries[p->at].key, .revision = META_ANY, .remove = true};
    meta_put(p->meta, &p->put, &p->written, op_try(op, purge_removed));
    return STEP_WAIT;
}

static enum step_next purge_removed(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);
    enum err e = op->call.err;

    if (e != ERR_OK && e != ERR_NOT_FOUND && e != ERR_CONFLICT)
        return op_fail(op, e);
    p->res->removed += e == ERR_OK;
    p->at++;
    return op_go(op, purge_next);
}

static enum step_next purge_end(struct op *op)
{
    struct purge_op *p = OP(op, struct purge_op);

    if (op->err != ERR_OK)
        log_warn(STR_NONE, "documents of a removed bucket stay in meta", "uid=%016llx err=%s",
                 (unsigned long long)p->req->uid, err_name(op->err));
    call_finish(p->whole, op->err);
    free(p);
    return STEP_DONE;
}

void bucket_conf_purge(struct meta *meta, const struct bucket_conf_purge_req *req, struct bucket_conf_purge_res *res,
                       struct call *whole)
{
    struct purge_op *p = NEW(struct purge_op);

    *p = (struct purge_op){.meta = meta, .req = req, .res = res, .whole = whole};
    *res = (struct bucket_conf_purge_res){0};
    op_start(&p->op, whole->loop, "bucket_conf_purge", purge_list, purge_end);
}

/* ---- opening ---- */

enum err bucket_confs_open(struct meta *meta, const struct bucket_doc_kind *kinds, size_t kind_count,
                           struct bucket_confs **out)
{
    struct bucket_confs *t = NEW(struct bucket_confs);
    pthread_rwlockattr_t attr;

    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&t->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    t->meta = meta;
    t->kinds = kinds;
    t->kind_count = kind_count;
    enum err e = meta_watch(meta, PREFIX, on_change, t);
    if (e != ERR_OK) {
        bucket_confs_close(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}

void bucket_confs_close(struct bucket_confs *t)
{
    for (size_t i = 0; i < t->locked.n; i++)
        entry_unref(t->locked.entries[i]);
    free(t->locked.entries);
    pthread_rwlock_destroy(&t->lock);
    free(t);
}
