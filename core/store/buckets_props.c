/* Settings of a bucket: one object in its record, changed by compare-and-swap. */
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/op.h"
#include "store/backend_conf.h"
#include "store/buckets_own.h"

enum { TRIES_MAX = 16 };

struct props_op {
    struct op op;
    struct buckets *t;
    const struct bucket_set_props_req *req;
    struct bucket_set_props_res *res;
    struct call *whole;
    struct doc *change;
    struct meta_get_req get;
    struct meta_get_res got;
    struct meta_put_req put;
    struct meta_put_res written;
    struct buf record;
    struct bucket bucket; /* as it will be */
    unsigned tries;
};

static step_fn props_read, props_write, props_written, props_end;

static enum step_next props_read(struct op *op)
{
    struct props_op *p = OP(op, struct props_op);

    p->get = (struct meta_get_req){p->req->arena, bucket_key(p->req->arena, p->req->name)};
    meta_get(p->t->meta, &p->get, &p->got, op_try(op, props_write));
    return STEP_WAIT;
}

static bool is_null(const struct doc *d)
{
    return d->kind == DOC_SCALAR && !d->quoted && d->text.n == 0;
}

static void write_member(struct buf *b, const struct doc *d)
{
    js_key(b, d->key);
    js_doc(b, d);
}

/* The old settings but for those that change, then the new ones. */
static void merge(struct buf *b, const struct doc *old, const struct doc *change, bool replace)
{
    js_object(b);
    for (const struct doc *d = old && !replace ? old->first : NULL; d; d = d->next)
        if (!doc_get(change, d->key))
            write_member(b, d);
    for (const struct doc *d = change->first; d; d = d->next)
        if (!is_null(d))
            write_member(b, d);
    js_end_object(b);
}

static bool is_set(const struct bucket_set_props_req *req, struct str member)
{
    return (req->set_versions && (str_eq(member, STR("versions")) || str_eq(member, STR("locks")))) ||
           (req->set_encrypted && (str_eq(member, STR("encryption")) || str_eq(member, STR("bucket_key"))));
}

/* Members of the record that this version doesn't know are kept. */
static enum err change_record(struct props_op *p)
{
    const struct doc *old;
    char why[DOC_WHY_MAX];
    struct doc *root;
    enum err e = js_read(p->req->arena, p->got.value, &root, why);

    if (e != ERR_OK || root->kind != DOC_MAP)
        return ERR_CORRUPT;
    old = doc_get(root, STR("props"));
    buf_reset(&p->record);
    js_object(&p->record);
    for (const struct doc *d = root->first; d; d = d->next)
        if (d != old && !is_set(p->req, d->key))
            write_member(&p->record, d);
    if (p->req->set_versions) {
        js_put_str(&p->record, "versions", versions_text(p->req->versions));
        js_put_str(&p->record, "locks", p->req->locks ? STR("true") : STR(""));
    }
    if (p->req->set_encrypted) {
        js_put_str(&p->record, "encryption", p->req->encrypted ? ENCRYPTION_S3 : STR(""));
        js_put_str(&p->record, "bucket_key", p->req->bucket_key ? STR("true") : STR(""));
    }
    js_key(&p->record, STR("props"));
    merge(&p->record, old, p->change, p->req->replace);
    js_end_object(&p->record);
    return buf_err(&p->record);
}

static enum err check_unchanged(struct props_op *p)
{
    struct bucket now;
    enum err e;

    if (!p->req->only_if.p)
        return ERR_OK;
    e = bucket_parse(p->req->arena, p->req->name, p->got.value, &now);
    return e != ERR_OK || str_eq(now.props, p->req->only_if) ? e : ERR_CONFLICT;
}

static enum step_next props_write(struct op *op)
{
    struct props_op *p = OP(op, struct props_op);
    enum err e = op->call.err;

    if (e != ERR_OK)
        return op_fail(op, e == ERR_NOT_FOUND ? ERR_NO_SUCH_BUCKET : e);
    if ((e = check_unchanged(p)) != ERR_OK || (e = change_record(p)) != ERR_OK ||
        (e = bucket_parse(p->req->arena, p->req->name, buf_str(&p->record), &p->bucket)) != ERR_OK)
        return op_fail(op, e);
    p->put = (struct meta_put_req){.key = p->get.key, .value = buf_str(&p->record), .revision = p->got.revision};
    meta_put(p->t->meta, &p->put, &p->written, op_try(op, props_written));
    return STEP_WAIT;
}

static enum step_next props_written(struct op *op)
{
    struct props_op *p = OP(op, struct props_op);

    if (op->call.err == ERR_CONFLICT && ++p->tries < TRIES_MAX)
        return op_go(op, props_read);
    if (op->call.err != ERR_OK)
        return op_fail(op, op->call.err);
    buckets_apply(p->t, p->req->name, &p->bucket, p->written.revision, false);
    p->res->bucket = p->bucket;
    return op_go(op, props_end);
}

static enum step_next props_end(struct op *op)
{
    struct props_op *p = OP(op, struct props_op);

    buf_release(&p->record);
    call_finish(p->whole, op->err);
    free(p);
    return STEP_DONE;
}

void buckets_set_props(struct buckets *t, const struct bucket_set_props_req *req, struct bucket_set_props_res *res,
                       struct call *whole)
{
    char why[DOC_WHY_MAX];
    struct props_op *p;
    struct doc *change;

    if (req->change.n > BUCKET_PROPS_MAX || js_read(req->arena, req->change, &change, why) != ERR_OK ||
        change->kind != DOC_MAP || backend_conf_check(req->arena, change, why) != ERR_OK) {
        call_finish(whole, req->change.n > BUCKET_PROPS_MAX ? ERR_TOO_LARGE : ERR_INVALID_ARGUMENT);
        return;
    }
    p = NEW(struct props_op);
    *p = (struct props_op){.t = t, .req = req, .res = res, .whole = whole, .change = change};
    buf_init(&p->record, BUCKET_RECORD_MAX);
    /* no cancel hook: a put that was begun takes effect, and its answer belongs into the table */
    op_start(&p->op, whole->loop, "bucket_props", props_read, props_end);
}
