#include "store/buckets_own.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/op.h"
#include "store/backend_conf.h"
#include "store/bucket_conf.h"

#define PREFIX STR("bucket/")
enum { RECORD_FORMAT = 1 };

/* ---- records ---- */

static const struct str versions_texts[] = {
    [VERSIONS_OFF] = {"", 0}, [VERSIONS_ON] = {"enabled", 7}, [VERSIONS_SUSPENDED] = {"suspended", 9}};

struct str versions_text(enum versions_mode m)
{
    return versions_texts[m];
}

static void record_encode(const struct bucket *b, struct buf *out)
{
    char uid[16], redundancy[REDUNDANCY_TEXT_MAX];
    uint8_t raw[8];

    for (int i = 0; i < 8; i++)
        raw[i] = (uint8_t)(b->id.uid >> (56 - 8 * i));
    hex_encode(raw, 8, uid);
    js_object(out);
    js_put_u64(out, "format", RECORD_FORMAT);
    js_put_str(out, "uid", str_n(uid, sizeof(uid)));
    js_key(out, STR("created_ns"));
    js_i64(out, b->created_ns);
    js_put_str(out, "region", b->region);
    js_put_str(out, "owner", b->owner);
    js_put_str(out, "redundancy", redundancy_text(b->id.redundancy, redundancy));
    if (b->id.versions)
        js_put_str(out, "versions", versions_texts[b->id.versions]);
    if (b->id.encrypted)
        js_put_str(out, "encryption", ENCRYPTION_S3);
    if (b->bucket_key)
        js_put_str(out, "bucket_key", STR("true"));
    if (b->locks)
        js_put_str(out, "locks", STR("true"));
    if (b->props.n) {
        js_key(out, STR("props"));
        js_raw(out, b->props);
    }
    js_end_object(out);
}

static struct str text_of(const struct doc *d, struct str key)
{
    const struct doc *found = doc_get(d, key);

    return found && found->kind == DOC_SCALAR ? found->text : STR("");
}

/* Records of earlier versions have none. */
static bool redundancy_decode(const struct doc *d, struct redundancy *out)
{
    struct str text = text_of(d, STR("redundancy"));

    *out = (struct redundancy){.kind = REDUNDANCY_NONE};
    return !doc_get(d, STR("redundancy")) || redundancy_parse(text, out) == ERR_OK;
}

static bool versions_decode(const struct doc *d, uint8_t *out)
{
    struct str text = text_of(d, STR("versions"));

    for (*out = VERSIONS_OFF; *out <= VERSIONS_SUSPENDED; (*out)++)
        if (str_eq(text, versions_texts[*out]))
            return true;
    return false;
}

static enum err props_decode(struct arena *arena, const struct doc *props, struct bucket *b)
{
    struct buf text = BUF_INIT(BUCKET_PROPS_MAX);
    enum err e;

    if (!props || props->kind != DOC_MAP)
        return ERR_OK;
    js_doc(&text, props);
    if ((e = buf_err(&text)) == ERR_OK) {
        b->props = arena_str(arena, buf_str(&text));
        b->members = str_eq(text_of(props, STR("members")), STR("true"));
        b->id.backend = doc_get(props, STR("backend")) != NULL;
        b->id.view = doc_get(props, STR("view")) != NULL;
    }
    buf_release(&text);
    return e;
}

/* The strs of *b live in the arena. */
enum err bucket_parse(struct arena *arena, struct str name, struct str value, struct bucket *b)
{
    char why[DOC_WHY_MAX] = "";
    struct doc *d;
    uint64_t format = 0, uid = 0, created = 0;
    struct redundancy redundancy = {.kind = REDUNDANCY_NONE};
    uint8_t versions = VERSIONS_OFF;

    if (js_read(arena, value, &d, why) != ERR_OK || !str_to_u64(text_of(d, STR("format")), UINT64_MAX, &format) ||
        format != RECORD_FORMAT || !str_hex_to_u64(text_of(d, STR("uid")), &uid) || uid == 0 ||
        !str_to_u64(text_of(d, STR("created_ns")), INT64_MAX, &created) || !redundancy_decode(d, &redundancy) ||
        !versions_decode(d, &versions)) {
        log_error(STR_NONE, "bucket record can't be read", "name=%s format=%llu why=%s", log_quote(name),
                  (unsigned long long)format, log_quote(str_z(why)));
        return ERR_CORRUPT;
    }
    *b = (struct bucket){.id = {.uid = uid,
                                .name = arena_str(arena, name),
                                .redundancy = redundancy,
                                .versions = versions,
                                .encrypted = text_of(d, STR("encryption")).n > 0},
                         .created_ns = (int64_t)created,
                         .bucket_key = str_eq(text_of(d, STR("bucket_key")), STR("true")),
                         .locks = str_eq(text_of(d, STR("locks")), STR("true")),
                         .region = text_of(d, STR("region")),
                         .owner = text_of(d, STR("owner"))};
    return props_decode(arena, doc_get(d, STR("props")), b);
}

static void bucket_copy(struct arena *arena, struct bucket *out, const struct bucket *from)
{
    *out = *from;
    out->id.name = arena_str(arena, from->id.name);
    out->region = arena_str(arena, from->region);
    out->owner = arena_str(arena, from->owner);
    out->props = arena_str(arena, from->props);
}

/* ---- the table ---- */

static size_t seek(const struct buckets *t, struct str name)
{
    size_t low = 0, high = t->locked.n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (str_cmp(t->locked.records[mid]->bucket.id.name, name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct bucket_record *find(const struct buckets *t, struct str name)
{
    size_t at = seek(t, name);

    return at < t->locked.n && str_eq(t->locked.records[at]->bucket.id.name, name) ? t->locked.records[at] : NULL;
}

static void record_free(struct bucket_record *r)
{
    arena_release(&r->arena);
    free(r);
}

static void remove_name(struct buckets *t, struct str name)
{
    size_t at = seek(t, name);

    if (!find(t, name))
        return;
    t->locked.wide -= redundancy_is_wide(t->locked.records[at]->bucket.id.redundancy);
    record_free(t->locked.records[at]);
    t->locked.n--;
    memmove(t->locked.records + at, t->locked.records + at + 1, (t->locked.n - at) * sizeof(*t->locked.records));
}

static void insert(struct buckets *t, const struct bucket *b, uint64_t revision)
{
    struct bucket_record *r = NEW(struct bucket_record);
    size_t at = seek(t, b->id.name);

    bucket_copy(&r->arena, &r->bucket, b);
    r->revision = revision;
    if (t->locked.n == t->locked.cap) {
        t->locked.cap = t->locked.cap ? t->locked.cap * 2 : 64;
        t->locked.records = mem_realloc(t->locked.records, t->locked.cap * sizeof(*t->locked.records));
    }
    memmove(t->locked.records + at + 1, t->locked.records + at, (t->locked.n - at) * sizeof(*t->locked.records));
    t->locked.records[at] = r;
    t->locked.n++;
    t->locked.wide += redundancy_is_wide(b->id.redundancy);
}

void buckets_apply(struct buckets *t, struct str name, const struct bucket *b, uint64_t revision, bool told)
{
    pthread_rwlock_wrlock(&t->lock);
    if (told || revision > t->locked.revision) {
        remove_name(t, name);
        if (b)
            insert(t, b, revision);
    }
    if (told && revision > t->locked.revision)
        t->locked.revision = revision;
    pthread_rwlock_unlock(&t->lock);
}

static void on_change(void *arg, struct str key, struct str value, uint64_t revision, bool removed)
{
    struct str name = str_skip(key, PREFIX.n);
    struct arena arena = ARENA_INIT;
    struct bucket b;

    if (removed)
        buckets_apply(arg, name, NULL, revision, true);
    else if (bucket_parse(&arena, name, value, &b) == ERR_OK)
        buckets_apply(arg, name, &b, revision, true);
    arena_release(&arena);
}

/* ---- create ---- */

struct create_op {
    struct op op;
    struct buckets *t;
    const struct bucket_create_req *req;
    struct bucket_create_res *res;
    struct call *whole;
    struct bucket bucket;
    struct meta_put_req put;
    struct meta_put_res written;
    struct meta_get_req get;
    struct meta_get_res got;
    struct buf record;
};

static step_fn create_put, create_known, create_compare, create_end;

static uint64_t random_uid(void)
{
    uint64_t uid = 0;

    while (uid == 0) {
        random_bytes(&uid, sizeof(uid));
        uid &= ~VERSIONS_SHADOW;
    }
    return uid;
}

struct str bucket_key(struct arena *arena, struct str name)
{
    return arena_printf(arena, STR_FMT STR_FMT, STR_ARG(PREFIX), STR_ARG(name));
}

static enum err props_check(struct arena *arena, struct str props)
{
    char why[DOC_WHY_MAX];
    struct doc *d;

    if (js_read(arena, props, &d, why) != ERR_OK || d->kind != DOC_MAP)
        return ERR_INVALID_ARGUMENT;
    return backend_conf_check(arena, d, why);
}

static enum step_next create_put(struct op *op)
{
    struct create_op *c = OP(op, struct create_op);
    struct bucket b = {.id = {.uid = random_uid(),
                              .name = c->req->name,
                              .redundancy = c->req->redundancy,
                              .versions = c->req->locks ? VERSIONS_ON : VERSIONS_OFF},
                       .locks = c->req->locks,
                       .created_ns = clock_wall_ns(),
                       .region = c->req->region,
                       .owner = c->req->owner,
                       .props = c->req->props};

    bucket_copy(c->req->arena, &c->bucket, &b);
    buf_init(&c->record, BUCKET_RECORD_MAX);
    record_encode(&c->bucket, &c->record);
    enum err e = buf_err(&c->record);
    if (e == ERR_OK && b.props.n) /* what the members of the settings mean, and that they are an object */
        e = props_check(c->req->arena, b.props);
    if (e == ERR_OK && b.props.n)
        e = bucket_parse(c->req->arena, b.id.name, buf_str(&c->record), &c->bucket);
    if (e != ERR_OK)
        return op_fail(op, e);
    c->put = (struct meta_put_req){.key = bucket_key(c->req->arena, c->req->name), .value = buf_str(&c->record)};
    meta_put(c->t->meta, &c->put, &c->written, op_try(op, create_known));
    return STEP_WAIT;
}

static enum step_next create_known(struct op *op)
{
    struct create_op *c = OP(op, struct create_op);

    if (op->call.err == ERR_OK) {
        buckets_apply(c->t, c->req->name, &c->bucket, c->written.revision, false);
        c->res->bucket = c->bucket;
        return op_go(op, create_end);
    }
    if (op->call.err != ERR_CONFLICT)
        return op_fail(op, op->call.err);
    c->get = (struct meta_get_req){c->req->arena, c->put.key};
    meta_get(c->t->meta, &c->get, &c->got, op_try(op, create_compare));
    return STEP_WAIT;
}

/* There is one: whose? */
static enum step_next create_compare(struct op *op)
{
    struct create_op *c = OP(op, struct create_op);
    struct bucket *b = &c->res->bucket;
    enum err e = op->call.err;

    if (e == ERR_NOT_FOUND)
        return op_fail(op, ERR_CONFLICT); /* deleted meanwhile: the client may try again */
    if (e == ERR_OK)
        e = bucket_parse(c->req->arena, c->req->name, c->got.value, b);
    if (e == ERR_OK)
        e = str_eq(b->owner, c->req->owner) ? ERR_BUCKET_OWNED : ERR_BUCKET_EXISTS;
    return op_fail(op, e);
}

static enum step_next create_end(struct op *op)
{
    struct create_op *c = OP(op, struct create_op);

    buf_release(&c->record);
    call_finish(c->whole, op->err);
    free(c);
    return STEP_DONE;
}

void buckets_create(struct buckets *t, const struct bucket_create_req *req, struct bucket_create_res *res,
                    struct call *whole)
{
    struct create_op *c = NEW(struct create_op);

    /* no cancel hook: a put that was begun takes effect, and its answer belongs into the table */
    *c = (struct create_op){.t = t, .req = req, .res = res, .whole = whole};
    op_start(&c->op, whole->loop, "bucket_create", create_put, create_end);
}

/* ---- delete ---- */

struct delete_op {
    struct op op;
    struct buckets *t;
    const struct bucket_delete_req *req;
    struct call *whole;
    struct bucket bucket;
    uint64_t revision;
    struct bucket_purge_req purge;
    struct bucket_purge_res purged;
    struct meta_put_req put;
    struct meta_put_res written;
    struct meta_get_req get;
    struct meta_get_res got;
    struct bucket_conf_purge_req documents;
    struct bucket_conf_purge_res documents_gone;
    enum err failed;
};

static step_fn delete_purge, delete_record, delete_known, delete_documents, delete_look, delete_unsealed, delete_end;

static enum step_next delete_purge(struct op *op)
{
    struct delete_op *d = OP(op, struct delete_op);

    /* what may be locked is deleted version by version */
    d->purge = (struct bucket_purge_req){
        .arena = d->req->arena, .bucket = d->bucket.id, .objects = d->req->objects && !d->bucket.locks};
    store_bucket_purge(d->req->store, &d->purge, &d->purged, op_call(op, delete_record));
    return STEP_WAIT;
}

static enum step_next delete_record(struct op *op)
{
    struct delete_op *d = OP(op, struct delete_op);

    d->put = (struct meta_put_req){
        .key = bucket_key(d->req->arena, d->bucket.id.name), .revision = d->revision, .remove = true};
    meta_put(d->t->meta, &d->put, &d->written, op_try(op, delete_known));
    return STEP_WAIT;
}

static enum step_next delete_known(struct op *op)
{
    struct delete_op *d = OP(op, struct delete_op);

    if (op->call.err == ERR_OK) {
        buckets_apply(d->t, d->bucket.id.name, NULL, d->written.revision, false);
        d->documents = (struct bucket_conf_purge_req){d->req->arena, d->bucket.id.uid};
        bucket_conf_purge(d->t->meta, &d->documents, &d->documents_gone, op_try(op, delete_documents));
        return STEP_WAIT;
    }
    d->failed = op->call.err;
    d->get = (struct meta_get_req){d->req->arena, d->put.key};
    meta_get(d->t->meta, &d->get, &d->got, op_try(op, delete_look));
    return STEP_WAIT;
}

/* The bucket is gone, whether or not they are. */
static enum step_next delete_documents(struct op *op)
{
    return op_go(op, delete_end);
}

/* Under another name. */
static bool has_uid(struct buckets *t, uint64_t uid)
{
    bool has = false;

    pthread_rwlock_rdlock(&t->lock);
    for (size_t i = 0; i < t->locked.n && !has; i++)
        has = t->locked.records[i]->bucket.id.uid == uid;
    pthread_rwlock_unlock(&t->lock);
    return has;
}

/* Unless another delete was faster, the bucket goes on, maybe renamed, and must take writes again. */
static enum step_next delete_look(struct op *op)
{
    struct delete_op *d = OP(op, struct delete_op);
    struct bucket now;
    bool gone = op->call.err == ERR_NOT_FOUND;

    if (op->call.err == ERR_OK && bucket_parse(d->req->arena, d->bucket.id.name, d->got.value, &now) == ERR_OK)
        gone = now.id.uid != d->bucket.id.uid;
    if (gone && !has_uid(d->t, d->bucket.id.uid))
        return op_fail(op, ERR_NO_SUCH_BUCKET);
    if (gone)
        d->failed = ERR_NO_SUCH_BUCKET;
    d->purge.unseal = true;
    store_bucket_purge(d->req->store, &d->purge, &d->purged, op_try(op, delete_unsealed));
    return STEP_WAIT;
}

static enum step_next delete_unsealed(struct op *op)
{
    struct delete_op *d = OP(op, struct delete_op);

    if (op->call.err != ERR_OK)
        log_error(STR_NONE, "bucket stays sealed after a failed delete", "name=%s err=%s", log_quote(d->bucket.id.name),
                  err_name(op->call.err));
    return op_fail(op, d->failed);
}

static enum step_next delete_end(struct op *op)
{
    struct delete_op *d = OP(op, struct delete_op);

    call_finish(d->whole, op->err);
    free(d);
    return STEP_DONE;
}

void buckets_delete(struct buckets *t, const struct bucket_delete_req *req, struct bucket_delete_res *res,
                    struct call *whole)
{
    struct delete_op *d = NEW(struct delete_op);

    (void)res;
    *d = (struct delete_op){.t = t, .req = req, .whole = whole};
    pthread_rwlock_rdlock(&t->lock);
    const struct bucket_record *r = find(t, req->name);
    if (r) {
        bucket_copy(req->arena, &d->bucket, &r->bucket);
        d->revision = r->revision;
    }
    pthread_rwlock_unlock(&t->lock);
    if (!r) {
        free(d);
        call_finish(whole, ERR_NO_SUCH_BUCKET);
        return;
    }
    op_start(&d->op, whole->loop, "bucket_delete", delete_purge,
             delete_end); /* not cancelled half-way: it is sealed then */
}

/* ---- looking up ---- */

enum err buckets_find(struct buckets *t, struct arena *arena, struct str name, struct bucket *b)
{
    pthread_rwlock_rdlock(&t->lock);
    const struct bucket_record *r = find(t, name);
    if (r)
        bucket_copy(arena, b, &r->bucket);
    pthread_rwlock_unlock(&t->lock);
    return r ? ERR_OK : ERR_NO_SUCH_BUCKET;
}

bool buckets_shared(const struct buckets *t)
{
    return t->meta->ops->shared;
}

bool buckets_any_wide(struct buckets *t)
{
    pthread_rwlock_rdlock(&t->lock);
    bool any = t->locked.wide > 0;
    pthread_rwlock_unlock(&t->lock);
    return any;
}

void buckets_list(struct buckets *t, struct arena *arena, struct str prefix, struct str after, uint32_t max,
                  struct bucket_page *out)
{
    pthread_rwlock_rdlock(&t->lock);
    size_t at = seek(t, str_cmp(prefix, after) > 0 ? prefix : after);
    if (at < t->locked.n && str_eq(t->locked.records[at]->bucket.id.name, after))
        at++;
    if (!bucket_is_system(prefix)) /* whose names sort before all others */
        while (at < t->locked.n && bucket_is_system(t->locked.records[at]->bucket.id.name))
            at++;
    size_t end = at;
    while (end < t->locked.n && end - at < max && str_starts(t->locked.records[end]->bucket.id.name, prefix))
        end++;
    struct bucket *page = arena_alloc(arena, (end - at) * sizeof(*page));
    for (size_t i = at; i < end; i++)
        bucket_copy(arena, &page[i - at], &t->locked.records[i]->bucket);
    bool more = end < t->locked.n && str_starts(t->locked.records[end]->bucket.id.name, prefix);
    *out = (struct bucket_page){page, (uint32_t)(end - at), max && more};
    pthread_rwlock_unlock(&t->lock);
}

struct look_op {
    struct op op;
    struct buckets *t;
    const struct bucket_look_req *req;
    struct bucket_look_res *res;
    struct call *whole;
    struct meta_get_req get;
    struct meta_get_res got;
};

static step_fn look_ask, look_told, look_end;

static enum step_next look_ask(struct op *op)
{
    struct look_op *l = OP(op, struct look_op);

    l->get = (struct meta_get_req){l->req->arena, bucket_key(l->req->arena, l->req->name)};
    meta_get(l->t->meta, &l->get, &l->got, op_try(op, look_told));
    return STEP_WAIT;
}

static enum step_next look_told(struct op *op)
{
    struct look_op *l = OP(op, struct look_op);
    enum err e = op->call.err;

    if (e == ERR_OK)
        e = bucket_parse(l->req->arena, l->req->name, l->got.value, &l->res->bucket);
    if (e == ERR_OK)
        buckets_apply(l->t, l->req->name, &l->res->bucket, l->got.revision, false);
    if (e != ERR_OK)
        return op_fail(op, e == ERR_NOT_FOUND ? ERR_NO_SUCH_BUCKET : e);
    return op_go(op, look_end);
}

static enum step_next look_end(struct op *op)
{
    struct look_op *l = OP(op, struct look_op);

    call_finish(l->whole, op->err);
    free(l);
    return STEP_DONE;
}

static void look_cancel(void *op)
{
    op_cancel(op, ERR_CANCELLED);
}

void buckets_look(struct buckets *t, const struct bucket_look_req *req, struct bucket_look_res *res, struct call *whole)
{
    enum err e = buckets_find(t, req->arena, req->name, &res->bucket);
    struct look_op *l;

    if (e == ERR_NO_SUCH_BUCKET && t->meta->ops->shared && !meta_reachable(t->meta))
        e = ERR_UNAVAILABLE;
    if (e == ERR_OK && req->fresh && t->meta->ops->shared)
        e = ERR_NO_SUCH_BUCKET; /* maybe, or another one */
    if (e != ERR_NO_SUCH_BUCKET || !t->meta->ops->shared) {
        call_finish(whole, e);
        return;
    }
    l = NEW(struct look_op);
    *l = (struct look_op){.t = t, .req = req, .res = res, .whole = whole};
    op_start(&l->op, whole->loop, "bucket_look", look_ask, look_end);
    call_on_cancel(whole, look_cancel, &l->op); /* the first step always waits, so the op is still there */
}

/* ---- opening ---- */

enum err buckets_open(struct meta *meta, struct buckets **out)
{
    struct buckets *t = NEW(struct buckets);
    pthread_rwlockattr_t attr;

    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&t->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    t->meta = meta;
    enum err e = meta_watch(meta, PREFIX, on_change, t);
    if (e != ERR_OK) {
        buckets_close(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}

void buckets_close(struct buckets *t)
{
    for (size_t i = 0; i < t->locked.n; i++)
        record_free(t->locked.records[i]);
    free(t->locked.records);
    pthread_rwlock_destroy(&t->lock);
    free(t);
}
