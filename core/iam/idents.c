#include "idents.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/op.h"

#define PREFIX STR("iam/")
enum {
    CHANGE_TRIES = 16,
    OTHERS_HEAR_MS = 250 /* who goes on at another gateway finds what it made here, nearly always */
};

struct entry {
    struct ident *id;
    struct arena arena;
    _Atomic uint32_t refs;
};

struct idents {
    struct meta *meta;
    bool sealing;
    struct vault keys, sessions;
    pthread_rwlock_t lock;
    struct { /* guarded by lock */
        struct {
            struct entry **entries; /* by name */
            size_t n, cap;
        } kinds[IDENT_KINDS];
        uint64_t revision; /* the last that the watch told: an older answer to a put of our own is out of date */
    } locked;
};

bool idents_can_keep(const struct idents *t)
{
    return t->sealing;
}

const struct vault *idents_session_vault(const struct idents *t)
{
    return t->sealing ? &t->sessions : NULL;
}

static const struct vault *key_vault(const struct idents *t)
{
    return t->sealing ? &t->keys : NULL;
}

/* ---- keys of meta ---- */

static struct str key_of(struct arena *a, enum ident_kind kind, struct str name)
{
    return arena_printf(a, STR_FMT STR_FMT "/" STR_FMT, STR_ARG(PREFIX), STR_ARG(ident_kind_name(kind)), STR_ARG(name));
}

static bool key_split(struct str key, enum ident_kind *kind, struct str *name)
{
    struct str rest = str_skip(key, PREFIX.n), word = str_split(&rest, '/');

    for (enum ident_kind k = 0; k < IDENT_KINDS; k++)
        if (str_eq(word, ident_kind_name(k)) && rest.n > 0) {
            *kind = k;
            *name = rest;
            return true;
        }
    return false;
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

/* NULL: damaged. */
static struct entry *entry_new(const struct idents *t, enum ident_kind kind, struct str name, struct str json,
                               uint64_t revision)
{
    struct entry *e = NEW(struct entry);

    e->refs = 1;
    if (ident_read(&e->arena, kind, name, json, key_vault(t), &e->id) != ERR_OK) {
        log_error(STR_NONE, "a record of an identity is damaged", "kind=%s name=%s", ident_kind_name(kind).p,
                  log_quote(name));
        entry_unref(e);
        return NULL;
    }
    e->id->revision = revision;
    return e;
}

static size_t seek(const struct idents *t, enum ident_kind kind, struct str name)
{
    size_t low = 0, high = t->locked.kinds[kind].n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (str_cmp(t->locked.kinds[kind].entries[mid]->id->name, name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* lock held */
static struct entry *get(const struct idents *t, enum ident_kind kind, struct str name)
{
    size_t at = seek(t, kind, name);

    return at < t->locked.kinds[kind].n && str_eq(t->locked.kinds[kind].entries[at]->id->name, name)
               ? t->locked.kinds[kind].entries[at]
               : NULL;
}

static void insert(struct idents *t, enum ident_kind kind, size_t at, struct entry *e)
{
    if (t->locked.kinds[kind].n == t->locked.kinds[kind].cap) {
        t->locked.kinds[kind].cap = t->locked.kinds[kind].cap ? t->locked.kinds[kind].cap * 2 : 16;
        t->locked.kinds[kind].entries =
            mem_realloc(t->locked.kinds[kind].entries, t->locked.kinds[kind].cap * sizeof(struct entry *));
    }
    struct entry **list = t->locked.kinds[kind].entries;
    memmove(&list[at + 1], &list[at], (t->locked.kinds[kind].n - at) * sizeof(*list));
    list[at] = e;
    t->locked.kinds[kind].n++;
}

/* A change that took effect in meta; `json.p` NULL: removed. Not told: it was ours, and when the watch is past it the table is right
 * already or newer. A damaged record counts as none. */
static void apply(struct idents *t, enum ident_kind kind, struct str name, struct str json, uint64_t revision,
                  bool told)
{
    struct entry *fresh = json.p ? entry_new(t, kind, name, json, revision) : NULL, *old;

    pthread_rwlock_wrlock(&t->lock);
    old = get(t, kind, name);
    if ((!told && revision <= t->locked.revision) || (old && old->id->revision >= revision)) {
        old = fresh; /* which nobody needs */
    } else if (fresh && old) {
        t->locked.kinds[kind].entries[seek(t, kind, name)] = fresh;
    } else if (fresh) {
        insert(t, kind, seek(t, kind, name), fresh);
    } else if (old) {
        size_t at = seek(t, kind, name), n = --t->locked.kinds[kind].n;
        struct entry **list = t->locked.kinds[kind].entries;
        memmove(&list[at], &list[at + 1], (n - at) * sizeof(*list));
    }
    if (told && revision > t->locked.revision)
        t->locked.revision = revision;
    pthread_rwlock_unlock(&t->lock);
    if (old)
        entry_unref(old);
}

static void on_change(void *arg, struct str key, struct str value, uint64_t revision, bool removed)
{
    enum ident_kind kind;
    struct str name;

    if (key_split(key, &kind, &name))
        apply(arg, kind, name, removed ? STR_NONE : value, revision, true);
    else
        log_error(STR_NONE, "a record of no identity", "key=%s", log_quote(key));
}

static const struct ident *lend(struct entry *e, struct arena *a)
{
    atomic_fetch_add(&e->refs, 1);
    arena_defer(a, entry_unref, e);
    return e->id;
}

const struct ident *idents_find(struct idents *t, struct arena *a, enum ident_kind kind, struct str name)
{
    const struct ident *id = NULL;
    struct entry *e;

    pthread_rwlock_rdlock(&t->lock);
    if ((e = get(t, kind, name)))
        id = lend(e, a);
    pthread_rwlock_unlock(&t->lock);
    return id;
}

unsigned idents_list(struct idents *t, struct arena *a, enum ident_kind kind, struct str after, ident_wants_fn *wants,
                     void *arg, const struct ident **out, unsigned max, bool *more)
{
    unsigned n = 0;

    *more = false;
    pthread_rwlock_rdlock(&t->lock);
    for (size_t i = after.n ? seek(t, kind, after) : 0; i < t->locked.kinds[kind].n; i++) {
        struct entry *e = t->locked.kinds[kind].entries[i];
        if ((after.n && str_eq(e->id->name, after)) || (wants && !wants(arg, e->id)))
            continue;
        if (n == max) {
            *more = true;
            break;
        }
        out[n++] = lend(e, a);
    }
    pthread_rwlock_unlock(&t->lock);
    return n;
}

size_t idents_size(struct idents *t, enum ident_kind kind)
{
    size_t n;

    pthread_rwlock_rdlock(&t->lock);
    n = t->locked.kinds[kind].n;
    pthread_rwlock_unlock(&t->lock);
    return n;
}

/* ---- changes ---- */

struct change_op {
    struct op op;
    struct idents *t;
    const struct ident_change_req *req;
    struct ident_change_res *res;
    struct call *whole;
    struct meta_get_req get;
    struct meta_get_res got;
    struct ident *id;
    struct buf json;
    struct meta_put_req put;
    struct meta_put_res written;
    unsigned tries;
    struct timer timer;
    struct call *timed;
};

static step_fn change_read, change_got, change_make, change_put, change_told, change_end; /* in order */

static enum step_next change_read(struct op *op)
{
    struct change_op *c = OP(op, struct change_op);

    c->get = (struct meta_get_req){c->req->arena, key_of(c->req->arena, c->req->kind, c->req->name)};
    c->got = (struct meta_get_res){0};
    if (c->req->how == IDENT_CREATE)
        return op_go(op, change_make);
    meta_get(c->t->meta, &c->get, &c->got, op_try(op, change_got));
    return STEP_WAIT;
}

static enum step_next change_got(struct op *op)
{
    if (op->call.err == ERR_NOT_FOUND)
        return op_fail(op, ERR_NO_SUCH_ENTITY);
    return op->call.err == ERR_OK ? op_go(op, change_make) : op_fail(op, op->call.err);
}

static enum step_next change_make(struct op *op)
{
    struct change_op *c = OP(op, struct change_op);
    const struct ident_change_req *q = c->req;
    enum err e = ERR_OK;

    if (q->how == IDENT_CREATE) {
        c->id = ARENA_NEW(q->arena, struct ident);
        c->id->kind = q->kind;
        c->id->name = q->name;
        c->id->created_s = clock_wall_ns() / NS_PER_S;
    } else {
        e = ident_read(q->arena, q->kind, q->name, c->got.value, key_vault(c->t), &c->id);
    }
    if (e == ERR_OK && q->change)
        e = q->change(q->arg, c->id);
    if (e != ERR_OK)
        return op_fail(op, e);
    buf_reset(&c->json);
    if (q->how != IDENT_REMOVE)
        ident_write(c->id, key_vault(c->t), &c->json);
    if ((e = buf_err(&c->json)) != ERR_OK)
        return op_fail(op, e);
    c->put = (struct meta_put_req){
        .key = c->get.key, .value = buf_str(&c->json), .revision = c->got.revision, .remove = q->how == IDENT_REMOVE};
    meta_put(c->t->meta, &c->put, &c->written, op_try(op, change_put));
    return STEP_WAIT;
}

static enum step_next change_put(struct op *op)
{
    struct change_op *c = OP(op, struct change_op);
    enum err e = op->call.err;

    if (e == ERR_CONFLICT && c->req->how == IDENT_CREATE)
        return op_fail(op, ERR_ENTITY_EXISTS);
    if (e == ERR_NOT_FOUND || e == ERR_CONFLICT)
        return ++c->tries < CHANGE_TRIES ? op_go(op, change_read) : op_fail(op, ERR_IAM_CONFLICT);
    if (e != ERR_OK)
        return op_fail(op, e);
    c->id->revision = c->written.revision;
    apply(c->t, c->req->kind, c->req->name, c->put.remove ? STR_NONE : c->put.value, c->written.revision, false);
    c->res->now = c->id;
    return c->t->meta->ops->shared ? op_go(op, change_told) : op_go(op, change_end);
}

static void on_timer(struct timer *t)
{
    call_finish(CONTAINER(t, struct change_op, timer)->timed, ERR_OK);
}

static enum step_next change_told(struct op *op)
{
    struct change_op *c = OP(op, struct change_op);

    c->timed = op_call(op, change_end);
    c->timer.fn = on_timer;
    timer_set(op->loop, &c->timer, OTHERS_HEAR_MS);
    return STEP_WAIT;
}

static enum step_next change_end(struct op *op)
{
    struct change_op *c = OP(op, struct change_op);

    buf_release(&c->json);
    call_finish(c->whole, op->err);
    free(c);
    return STEP_DONE;
}

void ident_change(struct idents *t, const struct ident_change_req *req, struct ident_change_res *res,
                  struct call *whole)
{
    struct change_op *c = NEW(struct change_op);

    /* no cancel hook: a put that was begun takes effect, and its answer belongs into the table */
    *c = (struct change_op){.t = t, .req = req, .res = res, .whole = whole};
    buf_init(&c->json, META_VALUE_MAX);
    op_start(&c->op, whole->loop, "ident_change", change_read, change_end);
}

/* ---- what somebody may ---- */

static struct str copy(struct arena *a, struct str s)
{
    return s.n ? arena_str(a, s) : STR("");
}

bool idents_key(struct idents *t, struct arena *a, struct str access_key, int64_t now_s, struct iam_key *out)
{
    struct entry *key, *user = NULL;
    bool ok = false;

    pthread_rwlock_rdlock(&t->lock);
    key = get(t, IDENT_KEY, access_key);
    if (key && key->id->user.n)
        user = get(t, IDENT_USER, key->id->user);
    if (key && key->id->active && key->id->secret.n && (!key->id->expires_s || now_s < key->id->expires_s) &&
        (!key->id->user.n || (user && str_eq(user->id->id, key->id->user_id)))) {
        const struct ident *k = lend(key, a);
        *out = (struct iam_key){.secret_n = (uint8_t)k->secret.n, .revision = k->revision};
        memcpy(out->secret, k->secret.p, k->secret.n);
        out->who.kind = k->user.n ? IAM_USER : IAM_OWNER;
        out->who.name = k->user;
        out->who.id = k->user_id;
        out->who.expires_s = k->expires_s;
        if (k->scope.n)
            out->who.scopes[out->who.scope_count++] = k->scope_policy;
        ok = true;
    }
    pthread_rwlock_unlock(&t->lock);
    return ok;
}

static void name_principal(struct arena *a, const struct iam_who *who, const struct ident *id, struct iam_principal *p)
{
    p->arn = ident_arn(a, id);
    p->id = copy(a, id->id);
    if (who->kind == IAM_USER) {
        p->name = copy(a, id->name);
        return;
    }
    p->role_arn = p->arn;
    p->arn = arena_printf(a, "arn:aws:sts::" IAM_ACCOUNT ":assumed-role/" STR_FMT "/" STR_FMT, STR_ARG(id->name),
                          STR_ARG(who->session));
    p->id = arena_printf(a, STR_FMT ":" STR_FMT, STR_ARG(id->id), STR_ARG(who->session));
}

/* lock held; NULL: not there any more */
static const struct ident *self(const struct idents *t, const struct iam_who *who)
{
    struct entry *e = get(t, who->kind == IAM_USER ? IDENT_USER : IDENT_ROLE, who->name);

    return e && str_eq(e->id->id, who->id) ? e->id : NULL;
}

bool idents_principal(struct idents *t, struct arena *a, const struct iam_who *who, struct iam_principal *out)
{
    const struct ident *id;

    *out = (struct iam_principal){.kind = who->kind, .account = STR(IAM_ACCOUNT)};
    if (who->kind == IAM_OWNER) {
        out->id = out->account;
        out->arn = STR(IAM_ACCOUNT_ARN);
        return true;
    }
    pthread_rwlock_rdlock(&t->lock);
    if ((id = self(t, who)))
        name_principal(a, who, id, out);
    pthread_rwlock_unlock(&t->lock);
    return id != NULL;
}

uint32_t idents_rate(struct idents *t, const struct iam_who *who)
{
    const struct ident *id;
    uint32_t per_s = 0;

    pthread_rwlock_rdlock(&t->lock);
    if ((id = self(t, who)))
        per_s = id->per_s;
    pthread_rwlock_unlock(&t->lock);
    return per_s;
}

/* Walks the policies of an identity until `fn` has heard enough. `p` NULL: there is one that can't be read. */
typedef bool each_fn(void *arg, const struct policy *p);

static bool each_attached(const struct idents *t, const struct ident *id, each_fn *fn, void *arg)
{
    for (unsigned i = 0; i < id->inlined.n; i++)
        if (!fn(arg, id->inlined.items[i].policy))
            return false;
    for (unsigned i = 0; i < id->attached.n; i++) {
        struct entry *e = get(t, IDENT_POLICY, id->attached.items[i].name);
        const struct ident_item *v = NULL;
        if (e && str_eq(e->id->id, id->attached.items[i].text)) /* not another of the same name */
            v = ident_find(&e->id->versions, e->id->current);
        if (v && !fn(arg, v->policy))
            return false;
    }
    return true;
}

/* lock held */
static void each(const struct idents *t, const struct iam_who *who, each_fn *fn, void *arg)
{
    const struct ident *id = self(t, who);

    if (!id || !each_attached(t, id, fn, arg))
        return;
    for (unsigned i = 0; i < id->groups.n; i++) {
        struct entry *e = get(t, IDENT_GROUP, id->groups.items[i].name);
        /* a group that was made anew is not the one that the user was in */
        if (e && str_eq(e->id->id, id->groups.items[i].text) && !each_attached(t, e->id, fn, arg))
            return;
    }
}

struct asking {
    const struct iam_request *req;
    enum policy_verdict verdict;
    struct str prefix;
    bool asks;
};

static bool ask_one(void *arg, const struct policy *p)
{
    struct asking *k = arg;
    enum policy_verdict v = p ? policy_evaluate(p, k->req) : POLICY_DENY;

    if (v > k->verdict)
        k->verdict = v;
    return k->verdict != POLICY_DENY;
}

enum policy_verdict idents_verdict(struct idents *t, const struct iam_who *who, const struct iam_request *req)
{
    struct asking k = {.req = req, .verdict = POLICY_SILENT};

    if (who->kind == IAM_OWNER)
        return POLICY_ALLOW;
    pthread_rwlock_rdlock(&t->lock);
    each(t, who, ask_one, &k);
    pthread_rwlock_unlock(&t->lock);
    return k.verdict;
}

enum policy_verdict iam_who_scope(const struct iam_who *who, const struct iam_request *req)
{
    enum policy_verdict all = POLICY_ALLOW;

    for (unsigned i = 0; i < who->scope_count; i++) {
        enum policy_verdict v = who->scopes[i] ? policy_evaluate(who->scopes[i], req) : POLICY_DENY;
        if (v == POLICY_DENY || (v == POLICY_SILENT && all == POLICY_ALLOW))
            all = v;
    }
    return all;
}

static bool asks_one(void *arg, const struct policy *p)
{
    struct asking *k = arg;

    k->asks = p && policy_asks(p, k->prefix);
    return !k->asks;
}

bool idents_asks(struct idents *t, const struct iam_who *who, struct str key_prefix)
{
    struct asking k = {.prefix = key_prefix};

    for (unsigned i = 0; i < who->scope_count && !k.asks; i++)
        asks_one(&k, who->scopes[i]);
    if (k.asks || who->kind == IAM_OWNER)
        return k.asks;
    pthread_rwlock_rdlock(&t->lock);
    each(t, who, asks_one, &k);
    pthread_rwlock_unlock(&t->lock);
    return k.asks;
}

/* ---- opening ---- */

enum err idents_open(struct meta *meta, struct str secret, struct idents **out)
{
    struct idents *t = NEW(struct idents);
    pthread_rwlockattr_t attr;

    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&t->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    t->meta = meta;
    t->sealing = secret.n > 0;
    if (t->sealing) {
        vault_key(&t->keys, secret, STR("iam access keys"));
        vault_key(&t->sessions, secret, STR("iam sessions"));
    }
    enum err e = meta_watch(meta, PREFIX, on_change, t);
    if (e != ERR_OK) {
        idents_close(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}

void idents_close(struct idents *t)
{
    if (!t)
        return;
    for (enum ident_kind k = 0; k < IDENT_KINDS; k++) {
        for (size_t i = 0; i < t->locked.kinds[k].n; i++)
            entry_unref(t->locked.kinds[k].entries[i]);
        free(t->locked.kinds[k].entries);
    }
    explicit_bzero(&t->keys, sizeof(t->keys));
    explicit_bzero(&t->sessions, sizeof(t->sessions));
    pthread_rwlock_destroy(&t->lock);
    free(t);
}
