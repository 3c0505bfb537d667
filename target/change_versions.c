/* What commits do with the versions of a key (store/versions.h). */
#include "base/clock.h"
#include "base/log.h"
#include "target/engine.h"

static struct str keep(struct txn *t, const struct index_key *k)
{
    return arena_str(txn_arena(t), index_key_str(k));
}

static struct str shadow_row(struct txn *t, uint64_t uid, const struct version_key *key)
{
    struct index_key k;

    index_object(&k, uid | VERSIONS_SHADOW, version_key_str(key));
    return keep(t, &k);
}

static struct str row_of(struct txn *t, uint64_t uid, struct str key, struct object_version v)
{
    struct version_key shadow;

    version_key(&shadow, key, v);
    return shadow_row(t, uid, &shadow);
}

/* An older version as it was found. */
struct older {
    struct str row, raw;
    struct object_version v;
};

/* The first older version behind a row; an empty one: of all. ERR_NOT_FOUND. */
static enum err older_next(struct txn *t, uint64_t uid, struct str key, struct str behind, struct older *out)
{
    char unescaped[STORE_KEY_MAX];
    struct version_key from, to;
    struct index_key end;
    struct str shadow_key, base, begin;
    uint64_t shadow;
    enum err e;

    version_key_prefix(&from, key);
    version_key_behind(&to, key);
    index_object(&end, uid | VERSIONS_SHADOW, version_key_str(&to));
    if (behind.n) { /* with one byte more it begins behind that row */
        char *p = arena_alloc(txn_arena(t), behind.n + 1);
        memcpy(p, behind.p, behind.n);
        p[behind.n] = 0;
        begin = str_n(p, behind.n + 1);
    } else {
        struct index_key first;
        index_prefix(&first, INDEX_OBJECT, uid | VERSIONS_SHADOW, version_key_str(&from));
        begin = keep(t, &first);
    }
    if ((e = txn_first(t, begin, keep(t, &end), &out->row, &out->raw)) != ERR_OK)
        return e;
    if (!index_parse(out->row, unescaped, &shadow, &shadow_key, NULL) ||
        !version_key_parse(shadow_key, &base, &out->v)) {
        log_error(STR_NONE, "index record damaged", "kind=version key=%s", log_quote(key));
        return ERR_CORRUPT;
    }
    return ERR_OK;
}

/* The "null" one among the older ones. There is one at most. */
static enum err older_null(struct txn *t, uint64_t uid, struct str key, struct older *out)
{
    struct str behind = STR_NONE;
    enum err e;

    while ((e = older_next(t, uid, key, behind, out)) == ERR_OK && !version_is_null(out->v.kind))
        behind = out->row;
    return e;
}

static void drop_row(struct txn *t, struct str row)
{
    txn_delete(t, row);
    txn_cache(t, row, NULL);
}

/* Lets go of it with its content. Fails only before any change. */
static enum err older_release(struct txn *t, const struct older *o)
{
    struct record r;
    enum err e = record_decode(o->raw, &r);

    if (e == ERR_OK)
        e = txn_release_body(t, &r);
    if (e == ERR_OK)
        drop_row(t, o->row);
    return e;
}

static void put_row(struct txn *t, struct str row, struct str raw)
{
    txn_put(t, row, raw);
    txn_cache(t, row, NULL);
}

/* Two versions never have the same time, and the newer one the later. */
static int64_t later_than(int64_t now, int64_t floor)
{
    return now > floor ? now : floor + 1;
}

enum err txn_keep_version(struct txn *t, const struct bucket_id *bucket, struct hot *h, const struct txn_current *old)
{
    char unescaped[STORE_KEY_MAX];
    struct str key;
    uint64_t uid;
    struct older o;
    enum err e;

    if (!index_parse(h->key, unescaped, &uid, &key, NULL))
        return ERR_CORRUPT;
    if (!old) { /* deleted, maybe by a marker that has a later time than ours */
        e = older_next(t, uid, key, STR_NONE, &o);
        if (e != ERR_OK && e != ERR_NOT_FOUND)
            return e;
        if (e == ERR_OK && o.v.mtime_ns >= h->rec.info.mtime_ns &&
            !hot_set_mtime(h, later_than(h->rec.info.mtime_ns, o.v.mtime_ns)))
            return ERR_CORRUPT;
    }
    if (bucket->versions == VERSIONS_SUSPENDED) {
        e = older_null(t, uid, key, &o);
        if (e == ERR_OK)
            e = older_release(t, &o);
        if (e != ERR_OK && e != ERR_NOT_FOUND)
            return e;
    }
    if (old)
        put_row(t, row_of(t, uid, key, version_of(&old->rec->info)), old->raw);
    return ERR_OK;
}

/* ---- deletes ---- */

/* A marker is an empty object. */
static enum err put_marker(struct txn *t, const struct obj_delete_req *req, struct object_version v)
{
    static const uint8_t md5_of_nothing[16] = {0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0x00, 0xb2, 0x04,
                                               0xe9, 0x80, 0x09, 0x98, 0xec, 0xf8, 0x42, 0x7e};
    struct record r = {.info = {.mtime_ns = v.mtime_ns, .versioned = v.kind == VERSION_MARKER}, .kind = BODY_EMPTY};
    struct buf raw = BUF_INIT(RECORD_MAX);

    etag_from_md5(&r.info.etag, md5_of_nothing); /* that it can be moved as any object */
    enum err e = record_encode(&raw, &r);

    if (e == ERR_OK)
        put_row(t, row_of(t, req->bucket.uid, req->key, v), arena_str(txn_arena(t), buf_str(&raw)));
    buf_release(&raw);
    return e;
}

static enum err delete_current(struct txn *t, const struct obj_delete_req *req, struct str row,
                               const struct txn_current *now, struct obj_delete_res *res)
{
    bool suspended = req->bucket.versions == VERSIONS_SUSPENDED;
    struct object_version marker = {clock_wall_ns(), suspended ? VERSION_NULL_MARKER : VERSION_MARKER};
    bool replaced = suspended && now && !now->rec->info.versioned; /* the "null" one by a "null" marker */
    struct older o;
    enum err e = older_next(t, req->bucket.uid, req->key, STR_NONE, &o);

    if (e != ERR_OK && e != ERR_NOT_FOUND)
        return e;
    if (e == ERR_OK)
        marker.mtime_ns = later_than(marker.mtime_ns, o.v.mtime_ns);
    if (now)
        marker.mtime_ns = later_than(marker.mtime_ns, now->rec->info.mtime_ns);
    if (replaced) {
        e = txn_release_body(t, now->rec);
    } else if (suspended) {
        e = older_null(t, req->bucket.uid, req->key, &o);
        e = e == ERR_NOT_FOUND ? ERR_OK : e == ERR_OK ? older_release(t, &o) : e;
    } else {
        e = ERR_OK;
    }
    if (e != ERR_OK)
        return e;
    if (now && !replaced)
        put_row(t, row_of(t, req->bucket.uid, req->key, version_of(&now->rec->info)), now->raw);
    if (now)
        drop_row(t, row);
    *res = (struct obj_delete_res){.existed = now != NULL, .tells_version = true, .version = marker};
    return put_marker(t, req, marker);
}

static enum err check_lock(struct txn *t, const struct record *r, bool bypass)
{
    struct attr *attrs = arena_alloc(txn_arena(t), (r->info.attr_count + 1) * sizeof(*attrs));

    if (!record_attrs(r, attrs))
        return ERR_CORRUPT;
    return version_is_locked(attrs, r->info.attr_count, clock_wall_ns() / NS_PER_S, bypass) ? ERR_OBJECT_LOCKED
                                                                                            : ERR_OK;
}

/* What was the newest of the older ones becomes current, unless it says that the key is deleted. `gone`: is not there any more. */
static enum err promote(struct txn *t, const struct obj_delete_req *req, struct str row, struct str gone)
{
    struct older o;
    enum err e = older_next(t, req->bucket.uid, req->key, STR_NONE, &o);

    if (e == ERR_OK && str_eq(o.row, gone))
        e = older_next(t, req->bucket.uid, req->key, gone, &o);
    if (e == ERR_NOT_FOUND || (e == ERR_OK && version_is_marker(o.v.kind)))
        return ERR_OK;
    if (e != ERR_OK)
        return e;
    put_row(t, row, o.raw);
    drop_row(t, o.row);
    return ERR_OK;
}

/* The promotion comes first: its reads may fail, nothing after it can but what was read before. */
static enum err delete_one(struct txn *t, const struct obj_delete_req *req, struct str row, const struct older *o,
                           bool promotes, struct obj_delete_res *res)
{
    struct record r;
    enum err e = record_decode(o->raw, &r);

    if (e == ERR_OK)
        e = cond_check_delete(&req->cond, &r.info);
    if (e == ERR_OK && !version_is_marker(o->v.kind))
        e = check_lock(t, &r, req->bypass);
    if (e == ERR_OK)
        e = txn_release_body(t, &r);
    if (e != ERR_OK)
        return e;
    drop_row(t, o->row);
    *res = (struct obj_delete_res){.existed = true, .tells_version = true, .version = o->v};
    if (promotes && promote(t, req, row, o->row) != ERR_OK)
        log_error(STR_NONE, "older version could not become current", "key=%s", log_quote(req->key));
    return ERR_OK;
}

static bool is_named(const struct object_version *v, const struct object_info *current)
{
    return version_is_null(v->kind)
               ? !current->versioned
               : v->kind == VERSION_PLAIN && current->versioned && current->mtime_ns == v->mtime_ns;
}

static enum err delete_named(struct txn *t, const struct obj_delete_req *req, struct str row,
                             const struct txn_current *now, struct obj_delete_res *res)
{
    struct older o = {.v = req->version};
    enum err e;

    if (now && is_named(&req->version, &now->rec->info)) {
        o = (struct older){row, now->raw, version_of(&now->rec->info)};
        return delete_one(t, req, row, &o, true, res);
    }
    if (version_is_null(req->version.kind)) {
        e = older_null(t, req->bucket.uid, req->key, &o);
    } else {
        o.row = row_of(t, req->bucket.uid, req->key, req->version);
        e = txn_get(t, o.row, &o.raw);
    }
    if (e == ERR_NOT_FOUND) {
        *res = (struct obj_delete_res){.tells_version = true, .version = req->version};
        return ERR_OK;
    }
    return e != ERR_OK ? e : delete_one(t, req, row, &o, now == NULL, res);
}

enum err txn_delete_version(struct txn *t, const struct obj_delete_req *req, struct obj_delete_res *res)
{
    struct txn_current now = {0};
    struct index_key k;
    struct record r;
    enum err e, found;

    index_object(&k, req->bucket.uid, req->key);
    struct str row = keep(t, &k);
    found = txn_get(t, row, &now.raw);
    if (found == ERR_OK)
        found = record_decode(now.raw, &r);
    if (found != ERR_OK && found != ERR_NOT_FOUND)
        return found;
    now.rec = &r;
    if (req->of_version)
        return delete_named(t, req, row, found == ERR_OK ? &now : NULL, res);
    if ((e = cond_check_delete(&req->cond, found == ERR_OK ? &r.info : NULL)) != ERR_OK)
        return e;
    return delete_current(t, req, row, found == ERR_OK ? &now : NULL, res);
}
