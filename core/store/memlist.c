#include "base/mem.h"
#include "base/op.h"
#include "store/memdata.h"

/* ---- objects ---- */

static struct str greater(struct str a, struct str b)
{
    return str_cmp(a, b) >= 0 ? a : b;
}

static struct list_entry entry_of(const struct memobject *o, struct arena *arena)
{
    return (struct list_entry){.key = arena_str(arena, o->key),
                               .size = o->info.size,
                               .mtime_ns = o->info.mtime_ns,
                               .etag = o->info.etag,
                               .checksum_alg = o->info.checksum.digest.alg,
                               .checksum_type = o->info.checksum.type,
                               .storage_class = arena_str(arena, object_attr(&o->info, STR("x-amz-storage-class")))};
}

void memstore_obj_list(struct store *s, const struct obj_list_req *req, struct obj_list_res *res, struct call *c)
{
    const struct membucket *b = memstore_bucket(MEMSTORE(s), req->bucket.uid);
    struct list_entry *entries = arena_alloc(req->arena, req->max * sizeof(*entries));
    size_t at = req->max ? membucket_seek(b, greater(req->prefix, req->after)) : b->object_count;

    *res = (struct obj_list_res){.entries = entries};
    while (at < b->object_count && str_starts(b->objects[at]->key, req->prefix)) {
        const struct memobject *o = b->objects[at];
        struct str common = o->key;
        bool rolled = key_rolls_up(o->key, req->prefix, req->delimiter, &common);
        size_t next = rolled ? membucket_seek_past(b, at, common) : at + 1;
        if (str_cmp(common, req->after) > 0) {
            if (res->count == req->max) {
                res->truncated = true;
                break;
            }
            entries[res->count++] = rolled
                                        ? (struct list_entry){.key = arena_str(req->arena, common), .is_prefix = true}
                                        : entry_of(o, req->arena);
        }
        at = next;
    }
    call_finish(c, ERR_OK);
}

/* ---- uploads ---- */

static struct upload_entry upload_entry_of(const struct memupload *u, struct arena *arena)
{
    return (struct upload_entry){.key = arena_str(arena, u->key),
                                 .upload_id = arena_str(arena, u->id),
                                 .created_ns = u->created_ns,
                                 .initiator = arena_str(arena, u->initiator),
                                 .storage_class = arena_str(arena, object_attr(&u->info, STR("x-amz-storage-class"))),
                                 .checksum_alg = u->alg,
                                 .checksum_type = u->type};
}

/* Whether the upload, or the prefix that stands for it, was on a page before. */
static bool is_behind(const struct upload_list_req *req, const struct memupload *u, struct str shown, bool rolled)
{
    int c = str_cmp(shown, req->key_marker);

    if (c != 0)
        return c > 0;
    return req->upload_id_marker.n && !rolled && str_cmp(u->id, req->upload_id_marker) > 0;
}

void memstore_upload_list(struct store *s, const struct upload_list_req *req, struct upload_list_res *res,
                          struct call *c)
{
    const struct membucket *b = memstore_bucket(MEMSTORE(s), req->bucket.uid);
    struct upload_entry *entries = arena_alloc(req->arena, req->max * sizeof(*entries));
    struct str last = STR_NONE; /* the common prefix that was shown last */
    size_t at = membucket_seek_upload(b, greater(req->prefix, req->key_marker), STR_NONE);

    *res = (struct upload_list_res){.entries = entries};
    for (; req->max && at < b->upload_count && str_starts(b->uploads[at]->key, req->prefix); at++) {
        const struct memupload *u = b->uploads[at];
        struct str shown = u->key;
        bool rolled = key_rolls_up(u->key, req->prefix, req->delimiter, &shown);
        if (!is_behind(req, u, shown, rolled) || (rolled && last.p && str_eq(shown, last)))
            continue;
        if (res->count == req->max) {
            res->truncated = true;
            break;
        }
        if (rolled)
            last = arena_str(req->arena, shown);
        entries[res->count++] =
            rolled ? (struct upload_entry){.key = last, .is_prefix = true} : upload_entry_of(u, req->arena);
    }
    call_finish(c, ERR_OK);
}

/* ---- parts ---- */

void memstore_part_list(struct store *s, const struct part_list_req *req, struct part_list_res *res, struct call *c)
{
    const struct membucket *b = memstore_bucket(MEMSTORE(s), req->bucket.uid);
    const struct memupload *u = membucket_find_upload(b, req->key, req->upload_id);
    struct part_info *parts = arena_alloc(req->arena, req->max * sizeof(*parts));

    if (!u) {
        call_finish(c, ERR_NO_SUCH_UPLOAD);
        return;
    }
    *res = (struct part_list_res){.parts = parts,
                                  .checksum_alg = u->alg,
                                  .checksum_type = u->type,
                                  .storage_class =
                                      arena_str(req->arena, object_attr(&u->info, STR("x-amz-storage-class"))),
                                  .initiator = arena_str(req->arena, u->initiator)};
    uint32_t at = req->after < PARTS_MAX ? memupload_seek(u, req->after + 1) : u->part_count;
    while (at < u->part_count && res->count < req->max)
        parts[res->count++] = u->parts[at++].info;
    res->truncated = req->max && at < u->part_count;
    call_finish(c, ERR_OK);
}
