#include "target/slices_own.h"

#include "base/hash.h"
#include "base/log.h"
#include "store/versions.h"

/* ---- names ---- */

_Static_assert((SLICES_UID & VERSIONS_SHADOW) == 0,
               "a bucket's slices are no versions: what looks for those must not find these");

struct bucket_id slices_bucket(struct bucket_id bucket)
{
    return (struct bucket_id){.uid = bucket.uid ^ SLICES_UID, .name = bucket.name};
}

struct str slices_key(struct arena *arena, const struct slices_name *name)
{
    char hex[32];
    struct digest d;

    hash_of(HASH_XXH128, name->key, &d);
    hex_encode(d.b, 16, hex);
    return arena_printf(arena, "%.32s.%016llx.%02u", hex, (unsigned long long)name->id, name->slice);
}

enum err slices_parse(struct str slice_key, const struct object_info *info, struct slices_name *out)
{
    struct arena arena = ARENA_INIT;
    struct slices_name name = {.key = object_attr(info, STR(SLICES_ATTR))};
    enum err e = ERR_CORRUPT;
    uint64_t slice;

    if (slice_key.n != SLICES_KEY_LEN || name.key.n == 0 || !str_hex_to_u64(str_n(slice_key.p + 33, 16), &name.id) ||
        !str_to_u64(str_skip(slice_key, SLICES_KEY_LEN - 2), REDUNDANCY_SLICES_MAX - 1, &slice))
        return e;
    name.slice = (unsigned)slice;
    if (str_eq(slice_key, slices_key(&arena, &name))) {
        *out = name;
        e = ERR_OK;
    }
    arena_release(&arena);
    return e;
}

/* ---- a version and its places ---- */

enum err version_init(struct version *v, const struct slices_env *env, struct bucket_id bucket, struct str key,
                      struct str layout)
{
    *v = (struct version){.env = env, .bucket = bucket, .shadow = slices_bucket(bucket), .key = key};
    return erasure_get(layout, &v->layout, &v->id);
}

struct str version_slice_key(const struct version *v, unsigned slice, struct arena *arena)
{
    const struct slices_name name = {v->key, v->id, slice};

    return slices_key(arena, &name);
}

static void place_set(struct place *p, const struct map_node *node)
{
    p->exists = true;
    p->out = node->sync == SYNC_OUT;
    memcpy(p->id, node->id.p, NODE_ID_LEN);
}

void version_places(const struct version *v, struct places *out)
{
    const struct map *map = members_map(v->env->members);
    uint16_t now[REDUNDANCY_SLICES_MAX], before[REDUNDANCY_SLICES_MAX];
    unsigned all = version_slices(v);
    size_t now_count = map_place(map, v->bucket.uid, v->key, all, now);
    size_t before_count = map_place_before(map, v->bucket.uid, v->key, all, before);

    *out = (struct places){0};
    for (size_t i = 0; i < now_count; i++)
        place_set(&out->now[i], &map->nodes[now[i]]);
    for (size_t i = 0; i < before_count; i++)
        if (i >= now_count || before[i] != now[i])
            place_set(&out->before[i], &map->nodes[before[i]]);
    map_release(map);
}

struct store *place_store(const struct version *v, const struct place *p)
{
    const struct slices_env *env = v->env;
    struct str id = str_n(p->id, NODE_ID_LEN);

    if (!p->exists)
        return NULL;
    if (str_eq(id, env->self))
        return env->mine;
    return members_alive(env->members, id) ? env->node(env->node_arg, id) : NULL;
}

void slice_put_req(const struct version *v, unsigned slice, struct arena *arena, struct body_check *check,
                   struct obj_put_req *out)
{
    struct attr *attr = ARENA_NEW(arena, struct attr);

    *attr = (struct attr){STR(SLICES_ATTR), v->key};
    *check = (struct body_check){0};
    *out = (struct obj_put_req){.arena = arena,
                                .bucket = v->shadow,
                                .key = version_slice_key(v, slice, arena),
                                .cond = COND_INIT,
                                .check = check,
                                .size_max = erasure_stored(&v->layout, slice)};
    out->info.attrs = attr;
    out->info.attr_count = 1;
}

/* ---- deleting a version ---- */

struct removal {
    struct call call;
    struct deleting *all;
    struct obj_delete_req req;
    struct obj_delete_res res;
};
struct deleting {
    struct op op;
    struct version version;
    const struct slices_delete_req *req;
    struct call *whole;
    unsigned open;
    struct removal removals[2 * REDUNDANCY_SLICES_MAX];
    unsigned count;
};

static step_fn delete_all, delete_end;

/* Who fails keeps a litter slice, no more. */
static void removal_done(struct call *c)
{
    struct deleting *d = CONTAINER(c, struct removal, call)->all;

    if (--d->open == 0)
        call_finish(&d->op.call, ERR_OK);
}

static void delete_one(struct deleting *d, const struct place *place, unsigned slice)
{
    struct store *store = place_store(&d->version, place);
    struct removal *r = &d->removals[d->count];

    if (!store)
        return;
    d->count++;
    d->open++;
    r->all = d;
    r->req = (struct obj_delete_req){.arena = d->req->arena,
                                     .bucket = d->version.shadow,
                                     .key = version_slice_key(&d->version, slice, d->req->arena),
                                     .cond = COND_INIT};
    call_begin(&r->call, d->op.loop, removal_done);
    store_obj_delete(store, &r->req, &r->res, &r->call);
}

static void delete_cancel_calls(void *arg)
{
    struct deleting *d = arg;

    for (unsigned i = 0; i < d->count; i++)
        call_cancel(&d->removals[i].call);
}

static enum step_next delete_all(struct op *op)
{
    struct deleting *d = OP(op, struct deleting);
    struct places places;
    enum err e = version_init(&d->version, d->version.env, d->req->bucket, d->req->key, d->req->layout);

    if (e != ERR_OK)
        return op_fail(op, e);
    version_places(&d->version, &places);
    struct call *call = op_call(op, delete_end);
    call_on_cancel(call, delete_cancel_calls, d);
    d->open = 1;
    for (unsigned i = 0; i < version_slices(&d->version); i++) {
        delete_one(d, &places.now[i], i);
        delete_one(d, &places.before[i], i);
    }
    if (--d->open == 0)
        call_finish(call, ERR_OK);
    return STEP_WAIT;
}

static enum step_next delete_end(struct op *op)
{
    call_finish(OP(op, struct deleting)->whole, op->err);
    return STEP_DONE;
}

static void delete_cancel(void *arg)
{
    op_cancel(&((struct deleting *)arg)->op, ERR_CANCELLED);
}

void slices_delete(const struct slices_env *env, const struct slices_delete_req *req, struct call *whole)
{
    struct deleting *d = ARENA_NEW(req->arena, struct deleting);

    d->version.env = env;
    d->req = req;
    d->whole = whole;
    op_start(&d->op, env->loop, "slices_delete", delete_all, delete_end);
    call_on_cancel(whole, delete_cancel, d);
}
