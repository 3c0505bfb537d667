#include "store/memdata.h"

static void memgate_read(struct gate_visit *v, const struct range *range, struct arena *arena, struct obj_get_res *res,
                         struct call *c)
{
    struct memobject *o = CONTAINER(v, struct memgate, visit)->object;
    enum err e;

    *res = (struct obj_get_res){0};
    object_info_copy(arena, &res->head.info, &o->info);
    e = range_resolve(range, o->info.size, &res->head.offset, &res->head.len);
    if (e == ERR_OK)
        res->body = memobject_source(o, res->head.offset, res->head.len);
    call_finish(c, e);
}

bool memgate_is_stale(const struct memgate *g)
{
    const struct membucket *b;
    const struct memupload *u;

    if (!g->req)
        return false;
    b = memstore_bucket((struct memstore *)(uintptr_t)g->store, g->req->bucket.uid);
    u = membucket_find_upload(b, g->req->key, g->req->upload_id);
    return !u || u->changes != g->changes;
}

static bool visit_is_stale(struct gate_visit *v)
{
    return memgate_is_stale(CONTAINER(v, struct memgate, visit));
}

void memgate_enter(struct memgate *g, struct commit_gate *gate, struct arena *arena, struct memobject *o,
                   struct call *c)
{
    struct part_info *parts = arena_alloc(arena, (o->info.parts + 1) * sizeof(*parts));

    for (uint32_t i = 0; i < o->info.parts; i++)
        parts[i] = o->parts[i].info;
    g->object = o;
    g->visit = (struct gate_visit){.info = &o->info,
                                   .parts = parts,
                                   .part_count = o->info.parts,
                                   .read = memgate_read,
                                   .mtime_ns = o->info.mtime_ns,
                                   .is_stale = visit_is_stale};
    gate->enter(gate, &g->visit, c);
}

struct memobject *memgate_take(struct memgate *g)
{
    struct memobject *o = g->object, *bare;

    o->info.mtime_ns = g->visit.mtime_ns;
    if (g->visit.layout.n == 0)
        return o;
    bare = memobject_new(o->key, &o->info, o->part_count);
    bare->info.layout = arena_str(&bare->arena, g->visit.layout);
    for (uint32_t i = 0; i < o->part_count; i++)
        bare->parts[i].info = o->parts[i].info;
    memobject_unref(o); /* whoever reads it still keeps it */
    return bare;
}
