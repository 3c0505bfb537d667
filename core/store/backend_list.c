/* Listings: the remote's, with what is here marked when that is asked. */
#include <stdlib.h>

#include "backend_own.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/url.h"

/* Sorts behind every key under a prefix, but for keys that go on with the last code point of Unicode. */
#define LAST_CODE_POINT "\xF4\x8F\xBF\xBF"
enum { PARAMS_MAX = 6 };

struct list_op {
    struct backend_op o;
    const struct obj_list_req *req;
    struct obj_list_res *res;
    struct sign_v4_param params[PARAMS_MAX];
    struct list_entry *entries;
    uint32_t count;
    bool truncated;
    struct obj_list_req inner;
    struct obj_list_res here;
    uint32_t marked; /* entries that were looked at */
};

static step_fn list_ask, list_take, list_mark, list_marked, list_end;

static struct list_op *list_of(struct op *op)
{
    return CONTAINER(op, struct list_op, o.op);
}

/* A common prefix stands for all keys under it. */
static struct str start_after(struct list_op *l)
{
    const struct obj_list_req *q = l->req;
    struct str common;

    if (q->after.n && str_starts(q->after, q->prefix) && q->delimiter.n && str_ends(q->after, q->delimiter) &&
        key_rolls_up(q->after, q->prefix, q->delimiter, &common))
        return arena_printf(l->o.arena, STR_FMT LAST_CODE_POINT, STR_ARG(q->after));
    return q->after;
}

static enum step_next list_ask(struct op *op)
{
    struct list_op *l = list_of(op);
    const struct obj_list_req *q = l->req;
    size_t n = 0;

    l->params[n++] = (struct sign_v4_param){STR("list-type"), STR("2")};
    l->params[n++] = (struct sign_v4_param){STR("encoding-type"), STR("url")};
    l->params[n++] = (struct sign_v4_param){STR("max-keys"), arena_u64(l->o.arena, q->max)};
    l->params[n++] = (struct sign_v4_param){STR("prefix"), backend_remote_key(l->o.arena, l->o.conf, q->prefix)};
    if (q->delimiter.n)
        l->params[n++] = (struct sign_v4_param){STR("delimiter"), q->delimiter};
    if (q->after.n)
        l->params[n++] =
            (struct sign_v4_param){STR("start-after"), backend_remote_key(l->o.arena, l->o.conf, start_after(l))};
    l->o.ask = (struct s3_ask_req){.method = STR("GET"), .params = l->params, .param_count = n, .reads_xml = true};
    backend_ask_with(&l->o, op_call(op, list_take));
    return STEP_WAIT;
}

/* ---- what the remote answers ---- */

/* A key of ours from one of the remote's. */
static bool take_key(struct list_op *l, struct str coded, bool is_coded, struct str *out)
{
    struct str key = coded;

    if (is_coded && !url_decode(coded, l->o.arena, true, &key))
        return false;
    if (!str_starts(key, l->o.conf->prefix))
        return false;
    *out = str_skip(key, l->o.conf->prefix.n);
    return out->n <= KEY_MAX;
}

static bool take_object(struct list_op *l, const struct xml_node *node, bool coded, struct list_entry *e)
{
    const struct xml_doc *d = &l->o.got.doc;
    struct str etag = str_trim(xml_child_text(d, node, STR("ETag")));
    struct str class = xml_child_text(d, node, STR("StorageClass"));
    int64_t s;

    if (!take_key(l, xml_child_text(d, node, STR("Key")), coded, &e->key) ||
        !str_to_u64(xml_child_text(d, node, STR("Size")), OBJECT_SIZE_MAX, &e->size))
        return false;
    if (etag.n > 1 && etag.p[0] == '"' && etag.p[etag.n - 1] == '"')
        etag = str_n(etag.p + 1, etag.n - 2);
    if (etag.n <= ETAG_MAX && etag.n) {
        e->etag.n = (uint8_t)etag.n;
        memcpy(e->etag.text, etag.p, etag.n);
    }
    if (clock_iso_parse(xml_child_text(d, node, STR("LastModified")), &s) && s >= 0 && s < INT64_MAX / NS_PER_S)
        e->mtime_ns = s * NS_PER_S;
    e->storage_class = str_eq(class, STR("STANDARD")) ? STR("") : class;
    return true;
}

static int entry_cmp(const void *a, const void *b)
{
    return str_cmp(((const struct list_entry *)a)->key, ((const struct list_entry *)b)->key);
}

/* What doesn't belong onto this page is left out: an object of the prefix's own name when that is cut off, the page's own start. */
static void keep(struct list_op *l, struct list_entry e)
{
    if (e.key.n && str_cmp(e.key, l->req->after) > 0 && str_starts(e.key, l->req->prefix))
        l->entries[l->count++] = e;
}

static enum err take(struct list_op *l)
{
    const struct xml_doc *d = &l->o.got.doc;
    const struct xml_node *root = xml_root(d);
    bool coded = str_eq(xml_child_text(d, root, STR("EncodingType")), STR("url"));

    if (!str_eq(root->name, STR("ListBucketResult")))
        return ERR_REMOTE_REFUSED;
    l->entries = arena_alloc(l->o.arena, (d->count + 1) * sizeof(*l->entries));
    for (const struct xml_node *n = xml_first(d, root); n; n = xml_next(d, root, n)) {
        struct list_entry e = {.is_prefix = str_eq(n->name, STR("CommonPrefixes"))};
        bool good = true;
        if (e.is_prefix)
            good = take_key(l, xml_child_text(d, n, STR("Prefix")), coded, &e.key);
        else if (str_eq(n->name, STR("Contents")))
            good = take_object(l, n, coded, &e);
        else
            continue;
        if (good) /* else: a key that can't be one here */
            keep(l, e);
    }
    qsort(l->entries, l->count, sizeof(*l->entries), entry_cmp);
    l->truncated = str_eq(xml_child_text(d, root, STR("IsTruncated")), STR("true"));
    return ERR_OK;
}

static enum step_next list_take(struct op *op)
{
    struct list_op *l = list_of(op);
    enum err e = take(l);

    if (e == ERR_OK && l->count > l->req->max) {
        l->count = l->req->max;
        l->truncated = true;
    }
    if (e == ERR_OK && l->truncated && l->count == 0) {
        log_error(l->o.arena->id, "a remote bucket's listing doesn't go on", "bucket=%s after=%s",
                  log_quote(l->o.bucket.name), log_quote(l->req->after));
        e = ERR_REMOTE_REFUSED;
    }
    if (e != ERR_OK)
        return op_fail(op, e);
    if (l->req->cached == LIST_REMOTE || l->count == 0)
        return op_go(op, list_end);
    l->inner = *l->req;
    return op_go(op, list_mark);
}

/* ---- what is here ---- */

static enum step_next list_mark(struct op *op)
{
    struct list_op *l = list_of(op);

    l->here = (struct obj_list_res){0};
    l->inner.max = LIST_MAX;
    store_obj_list(l->o.b->env.inner, &l->inner, &l->here, op_call(op, list_marked));
    return STEP_WAIT;
}

static enum step_next list_marked(struct op *op)
{
    struct list_op *l = list_of(op);
    const struct obj_list_res *h = &l->here;
    uint32_t i = 0;

    for (; l->marked < l->count; l->marked++) {
        struct list_entry *e = &l->entries[l->marked];
        while (i < h->count && str_cmp(h->entries[i].key, e->key) < 0)
            i++;
        if (i == h->count && h->truncated) {
            l->inner.after = h->entries[h->count - 1].key;
            return op_go(op, list_mark);
        }
        bool here = i < h->count && str_eq(h->entries[i].key, e->key);
        e->absent = !e->is_prefix && !here;
        e->changed = !e->is_prefix && here && h->entries[i].size != e->size;
    }
    return op_go(op, list_end);
}

static enum step_next list_end(struct op *op)
{
    struct list_op *l = list_of(op);

    if (op->err == ERR_OK)
        *l->res = (struct obj_list_res){.entries = l->entries, .count = l->count, .truncated = l->truncated};
    return backend_op_done(&l->o, op->err);
}

void backend_obj_list(struct store *s, const struct obj_list_req *req, struct obj_list_res *res, struct call *call)
{
    if (!req->bucket.backend || req->cached == LIST_ONLY_CACHED || req->max == 0) {
        store_obj_list(backend_of(s)->env.inner, req, res, call);
        return;
    }
    struct list_op *l = ARENA_NEW(req->arena, struct list_op);
    if (backend_op_init(&l->o, s, req->arena, req->bucket, STR_NONE, call) != ERR_OK)
        return;
    l->req = req;
    l->res = res;
    op_start(&l->o.op, call->loop, "backend_list", list_ask, list_end);
    call_on_cancel(call, backend_op_cancel, &l->o);
}
