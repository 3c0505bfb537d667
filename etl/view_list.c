/* Listings of views: the source's names with the results' sizes. */
#include <stdlib.h>

#include "base/mem.h"
#include "etl/view_own.h"

/* What is not there yet is made by so many at a time; a page ends early when it has taken that long. */
enum { MAKERS = 8, PAGE_MS = 15000 };

struct list_op;
/* One entry at a time each. */
struct maker {
    struct list_op *list;
    struct arena arena; /* of one result */
    struct view_make_req req;
    struct view_make_res res;
    struct call call;
    uint32_t entry;
};
struct list_op {
    struct op op;
    struct view_at at;
    const struct obj_list_req *req;
    struct obj_list_res *res;
    struct call *whole;
    struct obj_list_req source_req;
    struct obj_list_res source;
    struct list_entry *entries;
    uint32_t next, end; /* entries that were begun; where the page ends */
    uint64_t until_ns;
    struct maker makers[MAKERS];
    unsigned busy;
    enum err err;
};

static step_fn list_source, list_take, list_made, list_end;

static enum step_next list_source(struct op *op)
{
    struct list_op *l = OP(op, struct list_op);
    const struct view_conf *conf = &l->at.conf;

    l->source_req = *l->req;
    l->source_req.bucket = l->at.source.id;
    l->source_req.cached = LIST_REMOTE;
    if (str_starts(conf->prefix, l->req->prefix)) /* asked for more than there is */
        l->source_req.prefix = l->req->delimiter.n ? l->req->prefix : conf->prefix;
    else if (!str_starts(l->req->prefix, conf->prefix))
        return op_go(op, list_end);
    store_obj_list(l->at.v->env.inner, &l->source_req, &l->source, op_call(op, list_take));
    return STEP_WAIT;
}

/* With a delimiter, other folders than the one that leads to the prefix are not the view's. */
static bool is_shown(const struct list_op *l, const struct list_entry *e)
{
    struct str prefix = l->at.conf.prefix;

    return str_starts(e->key, prefix) || (e->is_prefix && str_starts(prefix, e->key));
}

static void made(struct call *c);

static void make_next(struct list_op *l, struct maker *m)
{
    while (l->next < l->end && l->entries[l->next].is_prefix)
        l->next++;
    if (l->next >= l->end || l->err != ERR_OK)
        return;
    m->entry = l->next++;
    m->req = (struct view_make_req){&l->at, &m->arena, l->entries[m->entry].key};
    l->busy++;
    call_begin(&m->call, l->op.loop, made);
    view_make(&m->req, &m->res, &m->call);
}

static bool is_of_object(enum err e)
{
    return e == ERR_ETL || e == ERR_TIMEOUT || e == ERR_BAD_ARCHIVE || e == ERR_NO_SUCH_MEMBER || e == ERR_TOO_LARGE ||
           e == ERR_ENTITY_TOO_LARGE;
}

/* One that can't be transformed is not in the listing's way: it has the size that a read of it would tell, none. */
static void took(struct list_op *l, const struct maker *m, enum err e)
{
    struct list_entry *entry = &l->entries[m->entry];

    if (e == ERR_OK) {
        entry->size = m->res.info.size;
        entry->mtime_ns = m->res.info.mtime_ns;
        entry->etag = m->res.info.etag;
        entry->checksum_alg = m->res.info.checksum.digest.alg;
        entry->checksum_type = m->res.info.checksum.type;
    } else if (is_of_object(e)) {
        entry->size = 0;
    } else if (e != ERR_NO_SUCH_KEY && l->err == ERR_OK) { /* else: deleted since the source was listed */
        l->err = e;
    }
}

static void made(struct call *c)
{
    struct maker *m = CONTAINER(c, struct maker, call);
    struct list_op *l = m->list;

    took(l, m, c->err);
    arena_release(&m->arena);
    l->busy--;
    if (loop_now_ns(l->op.loop) > l->until_ns && l->next < l->end)
        l->end = l->next; /* the rest is another page's */
    make_next(l, m);
    if (l->busy == 0)
        call_finish(&l->op.call, l->err);
}

static void stop_makers(void *arg)
{
    struct list_op *l = arg;

    l->err = l->err == ERR_OK ? ERR_CANCELLED : l->err;
    for (unsigned i = 0; i < MAKERS; i++)
        if (call_is_pending(&l->makers[i].call))
            call_cancel(&l->makers[i].call);
}

static enum step_next list_take(struct op *op)
{
    struct list_op *l = OP(op, struct list_op);

    l->entries = arena_alloc(l->req->arena, (l->source.count + 1) * sizeof(*l->entries));
    for (uint32_t i = 0; i < l->source.count; i++)
        if (is_shown(l, &l->source.entries[i]))
            l->entries[l->end++] = l->source.entries[i];
    l->until_ns = loop_now_ns(op->loop) + (uint64_t)PAGE_MS * 1000000;
    call_on_cancel(op_call(op, list_made), stop_makers, l);
    for (unsigned i = 0; i < MAKERS; i++) {
        l->makers[i].list = l;
        make_next(l, &l->makers[i]);
    }
    if (l->busy == 0)
        call_finish(&op->call, ERR_OK);
    return STEP_WAIT;
}

static enum step_next list_made(struct op *op)
{
    struct list_op *l = OP(op, struct list_op);
    uint32_t all = 0;

    for (uint32_t i = 0; i < l->source.count; i++)
        all += is_shown(l, &l->source.entries[i]);
    l->res->truncated = l->source.truncated || l->end < all;
    l->res->entries = l->entries;
    l->res->count = l->end;
    return op_go(op, list_end);
}

static enum step_next list_end(struct op *op)
{
    struct list_op *l = OP(op, struct list_op);

    call_finish(l->whole, op->err);
    free(l);
    return STEP_DONE;
}

static void list_cancel(void *arg)
{
    op_cancel(&((struct list_op *)arg)->op, ERR_CANCELLED);
}

void view_obj_list(struct store *s, const struct obj_list_req *req, struct obj_list_res *res, struct call *call)
{
    struct view *v = view_of(s);
    struct list_op *l;
    enum err e;

    if (!req->bucket.view || req->cached == LIST_ONLY_CACHED || req->max == 0) {
        store_obj_list(v->env.inner, req, res, call);
        return;
    }
    l = NEW(struct list_op);
    if ((e = view_find(v, req->arena, req->bucket, &l->at)) != ERR_OK) {
        free(l);
        call_finish(call, e);
        return;
    }
    *res = (struct obj_list_res){0};
    l->req = req;
    l->res = res;
    l->whole = call;
    op_start(&l->op, call->loop, "view_list", list_source, list_end);
    call_on_cancel(call, list_cancel, l);
}
