#include "target/gated.h"

#include "target/described.h"

/* ---- reading the content ---- */

struct visit_read {
    struct call *whole;
    struct call call;
    struct obj_get_res *res;
    struct source *body;
};

static void read_end(struct visit_read *r, enum err e)
{
    if (e == ERR_OK)
        r->res->body = r->body;
    else
        source_close(r->body);
    call_finish(r->whole, e == ERR_NOT_FOUND ? ERR_CORRUPT : e);
}

static void read_opened(struct call *c)
{
    struct visit_read *r = CONTAINER(c, struct visit_read, call);

    read_end(r, c->err);
}

static void read_cancel(void *arg)
{
    call_cancel(&((struct visit_read *)arg)->call);
}

/* The file is open at the end, as it may have lost its name once the visit is over. */
static void visit_read(struct gate_visit *v, const struct range *range, struct arena *arena, struct obj_get_res *res,
                       struct call *c)
{
    struct gated *g = CONTAINER(v, struct gated, visit);
    struct hot *h = *g->hot;
    struct visit_read *r = ARENA_NEW(arena, struct visit_read);
    struct span span;
    enum err e;

    r->whole = c;
    r->res = res;
    arena_defer(arena, hot_unref, hot_ref(h));
    *res = (struct obj_get_res){.head.info = h->rec.info};
    if ((e = range_resolve(range, h->rec.info.size, &res->head.offset, &res->head.len)) != ERR_OK ||
        (e = local_source(g->local, g->mountpath, h, res->head.offset, res->head.len, &r->body)) != ERR_OK) {
        read_end(r, e);
        return;
    }
    source_peek(r->body, &span);
    if (span.kind != SPAN_WAIT) {
        read_end(r, ERR_OK);
        return;
    }
    call_begin(&r->call, c->loop, read_opened);
    call_on_cancel(c, read_cancel, r);
    source_prepare(r->body, &r->call);
}

static bool visit_is_stale(struct gate_visit *v)
{
    const struct gated *g = CONTAINER(v, struct gated, visit);

    return g->upload && committer_changes(g->mountpath->committer, g->upload) != g->changes;
}

/* ---- entering ---- */

/* The segments of a copy's source lose their names only after the visit. */
void gated_hold(struct gated *g, const struct hot *h)
{
    g->holds = local_hold(g->local, h, &g->hold, g->arena);
}

void gated_enter(struct gated *g, struct commit_gate *gate, struct hot **hot, struct call *call)
{
    const struct record *r = &(*hot)->rec;
    struct manifest m = {0};
    struct part_info *parts = NULL;
    enum err e;

    if (r->kind == BODY_MANIFEST && (e = manifest_decode((*hot)->body, &m)) != ERR_OK) {
        call_finish(call, e);
        return;
    }
    uint32_t count = m.pieces ? 0 : m.count;
    if (count)
        parts = arena_alloc(g->arena, count * sizeof(*parts));
    for (uint32_t i = 0; i < count; i++)
        manifest_part_info(&m, i, r->info.checksum.digest.alg, &parts[i]);
    if (!g->holds)
        gated_hold(g, *hot);
    g->hot = hot;
    g->visit = (struct gate_visit){.info = &r->info,
                                   .parts = parts,
                                   .part_count = count,
                                   .read = visit_read,
                                   .mtime_ns = r->info.mtime_ns,
                                   .is_stale = visit_is_stale};
    gate->enter(gate, &g->visit, call);
}

/* ---- leaving ---- */

/* BLOCKING */
static enum err make_bare(struct gated *g)
{
    struct object_info info = (*g->hot)->rec.info;
    const struct described d = {
        .bucket = &g->bucket, .key = g->key, .info = &info, .parts = g->visit.parts, .part_count = g->visit.part_count};
    struct hot *bare;
    enum err e;

    info.mtime_ns = g->visit.mtime_ns;
    info.layout = g->visit.layout;
    if ((e = described_build(&d, g->mountpath, &g->desc, &bare)) != ERR_OK)
        return e;
    hot_unref(*g->hot); /* whoever reads has a reference */
    *g->hot = bare;
    g->bare = true;
    return ERR_OK;
}

static enum err make_bare_task(struct offload_task *t)
{
    return make_bare(CONTAINER(t, struct gated, task));
}

void gated_take(struct gated *g, struct call *call)
{
    const struct gate_visit *v = &g->visit;

    if (v->layout.n > LAYOUT_MAX)
        call_finish(call, ERR_INVALID_ARGUMENT);
    else if (v->layout.n)
        offload_run(g->local->conf.io, &g->task, make_bare_task, call);
    else if (v->mtime_ns != (*g->hot)->rec.info.mtime_ns && !hot_set_mtime(*g->hot, v->mtime_ns))
        call_finish(call, ERR_INVALID_ARGUMENT);
    else
        call_finish(call, ERR_OK);
}

void gated_end(struct gated *g, bool committed)
{
    if (g->holds)
        extent_cache_let_go(g->local->extents, &g->hold);
    sealing_end(&g->desc, committed);
    *g = (struct gated){0};
}
