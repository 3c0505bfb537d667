#include "wire_fields.h"

/* As in wire_req.c: each writer with its reader. */

#define BEGIN(known)                                                                                                   \
    struct unpack u;                                                                                                   \
    (void)arena;                                                                                                       \
    unpack_init(&u, bytes);                                                                                            \
    uint32_t extra = wire_open(&u, known)

#define END()                                                                                                          \
    wire_close(&u, extra);                                                                                             \
    enum err e = wire_end(&u);                                                                                         \
    if (e == ERR_OK)                                                                                                   \
        *res = r;                                                                                                      \
    return e

/* ---- objects ---- */

void wire_put_obj_head_res(struct buf *b, const struct obj_head_res *res)
{
    pack_array(b, 5);
    wire_put_info(b, &res->info);
    pack_uint(b, res->offset);
    pack_uint(b, res->len);
    wire_put_part(b, &res->part);
    wire_put_parts(b, res->parts, res->part_count);
}

enum err wire_get_obj_head_res(struct str bytes, struct arena *arena, struct obj_head_res *res)
{
    struct obj_head_res r = {0};

    BEGIN(5);
    wire_get_info(&u, arena, &r.info);
    r.offset = unpack_uint(&u, OBJECT_SIZE_MAX);
    r.len = unpack_uint(&u, OBJECT_SIZE_MAX);
    wire_get_part(&u, &r.part);
    r.parts = wire_get_parts(&u, arena, PARTS_MAX, &r.part_count);
    END();
}

void wire_put_obj_get_res(struct buf *b, const struct obj_get_res *res)
{
    wire_put_obj_head_res(b, &res->head);
}

enum err wire_get_obj_get_res(struct str bytes, struct arena *arena, struct obj_get_res *res)
{
    return wire_get_obj_head_res(bytes, arena, &res->head);
}

/* An object's information, and nothing else: what puts, copies and completions answer. */
static void put_only_info(struct buf *b, const struct object_info *info)
{
    pack_array(b, 1);
    wire_put_info(b, info);
}

static enum err get_only_info(struct str bytes, struct arena *arena, struct object_info *res)
{
    struct object_info r;

    BEGIN(1);
    wire_get_info(&u, arena, &r);
    END();
}

void wire_put_obj_put_res(struct buf *b, const struct obj_put_res *res)
{
    put_only_info(b, &res->info);
}

enum err wire_get_obj_put_res(struct str bytes, struct arena *arena, struct obj_put_res *res)
{
    return get_only_info(bytes, arena, &res->info);
}

void wire_put_obj_splice_res(struct buf *b, const struct obj_splice_res *res)
{
    put_only_info(b, &res->info);
}

enum err wire_get_obj_splice_res(struct str bytes, struct arena *arena, struct obj_splice_res *res)
{
    return get_only_info(bytes, arena, &res->info);
}

void wire_put_obj_delete_res(struct buf *b, const struct obj_delete_res *res)
{
    pack_array(b, 4);
    pack_bool(b, res->existed);
    pack_bool(b, res->tells_version);
    pack_int(b, res->version.mtime_ns);
    pack_uint(b, res->version.kind);
}

enum err wire_get_obj_delete_res(struct str bytes, struct arena *arena, struct obj_delete_res *res)
{
    struct obj_delete_res r = {0};

    BEGIN(1);
    r.existed = unpack_bool(&u);
    if (extra >= 3) {
        r.tells_version = unpack_bool(&u);
        r.version.mtime_ns = unpack_int(&u);
        r.version.kind = (enum version_kind)unpack_uint(&u, VERSION_KINDS - 1);
        extra -= 3;
    }
    END();
}

void wire_put_obj_copy_res(struct buf *b, const struct obj_copy_res *res)
{
    put_only_info(b, &res->info);
}

enum err wire_get_obj_copy_res(struct str bytes, struct arena *arena, struct obj_copy_res *res)
{
    return get_only_info(bytes, arena, &res->info);
}

void wire_put_obj_import_res(struct buf *b, const struct obj_import_res *res)
{
    pack_array(b, 1);
    pack_bool(b, res->kept);
}

enum err wire_get_obj_import_res(struct str bytes, struct arena *arena, struct obj_import_res *res)
{
    struct obj_import_res r = {0};

    BEGIN(1);
    r.kept = unpack_bool(&u);
    END();
}

static void put_list_entry(struct buf *b, const struct list_entry *x)
{
    pack_array(b, 9);
    wire_put_str(b, x->key);
    pack_bool(b, x->is_prefix);
    pack_uint(b, x->size);
    pack_int(b, x->mtime_ns);
    wire_put_etag(b, &x->etag);
    pack_uint(b, x->checksum_alg);
    pack_uint(b, x->checksum_type);
    wire_put_str(b, x->storage_class);
    pack_bool(b, x->versioned);
}

static void get_list_entry(struct unpack *u, struct list_entry *x)
{
    uint32_t extra = wire_open(u, 8);

    *x = (struct list_entry){.size = 0}; /* some of its fields are not on the wire */
    x->key = wire_get_str(u, STORE_KEY_MAX);
    x->is_prefix = unpack_bool(u);
    x->size = unpack_uint(u, OBJECT_SIZE_MAX);
    x->mtime_ns = unpack_int(u);
    wire_get_etag(u, &x->etag);
    x->checksum_alg = wire_get_alg(u);
    x->checksum_type = wire_get_checksum_type(u);
    x->storage_class = wire_get_str(u, WIRE_NAME_MAX);
    if (extra) {
        x->versioned = unpack_bool(u);
        extra--;
    }
    wire_close(u, extra);
}

void wire_put_obj_list_res(struct buf *b, const struct obj_list_res *res)
{
    pack_array(b, 2);
    pack_array(b, res->count);
    for (uint32_t i = 0; i < res->count; i++)
        put_list_entry(b, &res->entries[i]);
    pack_bool(b, res->truncated);
}

enum err wire_get_obj_list_res(struct str bytes, struct arena *arena, struct obj_list_res *res)
{
    struct obj_list_res r = {0};

    BEGIN(2);
    uint32_t n = unpack_array(&u, LIST_MAX);
    struct list_entry *entries = n ? arena_alloc(arena, n * sizeof(*entries)) : NULL;
    for (uint32_t i = 0; i < n && !u.bad; i++)
        get_list_entry(&u, &entries[i]);
    r.entries = entries;
    r.count = n;
    r.truncated = unpack_bool(&u);
    END();
}

/* ---- multipart uploads ---- */

void wire_put_upload_create_res(struct buf *b, const struct upload_create_res *res)
{
    pack_array(b, 1);
    wire_put_str(b, res->upload_id);
}

enum err wire_get_upload_create_res(struct str bytes, struct arena *arena, struct upload_create_res *res)
{
    struct upload_create_res r = {0};

    BEGIN(1);
    r.upload_id = wire_get_str(&u, WIRE_NAME_MAX);
    END();
}

void wire_put_upload_part_res(struct buf *b, const struct upload_part_res *res)
{
    pack_array(b, 1);
    wire_put_part(b, &res->part);
}

enum err wire_get_upload_part_res(struct str bytes, struct arena *arena, struct upload_part_res *res)
{
    struct upload_part_res r = {0};

    BEGIN(1);
    wire_get_part(&u, &r.part);
    END();
}

void wire_put_upload_complete_res(struct buf *b, const struct upload_complete_res *res)
{
    pack_array(b, 2);
    wire_put_info(b, &res->info);
    wire_put_part(b, &res->bad);
}

enum err wire_get_upload_complete_res(struct str bytes, struct arena *arena, struct upload_complete_res *res)
{
    struct upload_complete_res r = {0};

    BEGIN(2);
    wire_get_info(&u, arena, &r.info);
    wire_get_part(&u, &r.bad);
    END();
}

void wire_put_upload_abort_res(struct buf *b, const struct upload_abort_res *res)
{
    (void)res;
    pack_array(b, 0);
}

enum err wire_get_upload_abort_res(struct str bytes, struct arena *arena, struct upload_abort_res *res)
{
    struct upload_abort_res r = {0};

    BEGIN(0);
    END();
}

static void put_upload_entry(struct buf *b, const struct upload_entry *x)
{
    pack_array(b, 8);
    wire_put_str(b, x->key);
    pack_bool(b, x->is_prefix);
    wire_put_str(b, x->upload_id);
    pack_int(b, x->created_ns);
    wire_put_str(b, x->initiator);
    wire_put_str(b, x->storage_class);
    pack_uint(b, x->checksum_alg);
    pack_uint(b, x->checksum_type);
}

static void get_upload_entry(struct unpack *u, struct upload_entry *x)
{
    uint32_t extra = wire_open(u, 8);

    x->key = wire_get_str(u, STORE_KEY_MAX);
    x->is_prefix = unpack_bool(u);
    x->upload_id = wire_get_str(u, WIRE_NAME_MAX);
    x->created_ns = unpack_int(u);
    x->initiator = wire_get_str(u, WIRE_TEXT_MAX);
    x->storage_class = wire_get_str(u, WIRE_NAME_MAX);
    x->checksum_alg = wire_get_alg(u);
    x->checksum_type = wire_get_checksum_type(u);
    wire_close(u, extra);
}

void wire_put_upload_list_res(struct buf *b, const struct upload_list_res *res)
{
    pack_array(b, 2);
    pack_array(b, res->count);
    for (uint32_t i = 0; i < res->count; i++)
        put_upload_entry(b, &res->entries[i]);
    pack_bool(b, res->truncated);
}

enum err wire_get_upload_list_res(struct str bytes, struct arena *arena, struct upload_list_res *res)
{
    struct upload_list_res r = {0};

    BEGIN(2);
    uint32_t n = unpack_array(&u, LIST_MAX);
    struct upload_entry *entries = n ? arena_alloc(arena, n * sizeof(*entries)) : NULL;
    for (uint32_t i = 0; i < n && !u.bad; i++)
        get_upload_entry(&u, &entries[i]);
    r.entries = entries;
    r.count = n;
    r.truncated = unpack_bool(&u);
    END();
}

void wire_put_part_list_res(struct buf *b, const struct part_list_res *res)
{
    pack_array(b, 6);
    wire_put_parts(b, res->parts, res->count);
    pack_bool(b, res->truncated);
    pack_uint(b, res->checksum_alg);
    pack_uint(b, res->checksum_type);
    wire_put_str(b, res->storage_class);
    wire_put_str(b, res->initiator);
}

enum err wire_get_part_list_res(struct str bytes, struct arena *arena, struct part_list_res *res)
{
    struct part_list_res r = {0};

    BEGIN(6);
    r.parts = wire_get_parts(&u, arena, LIST_MAX, &r.count);
    r.truncated = unpack_bool(&u);
    r.checksum_alg = wire_get_alg(&u);
    r.checksum_type = wire_get_checksum_type(&u);
    r.storage_class = wire_get_str(&u, WIRE_NAME_MAX);
    r.initiator = wire_get_str(&u, WIRE_TEXT_MAX);
    END();
}

/* ---- buckets ---- */

void wire_put_bucket_purge_res(struct buf *b, const struct bucket_purge_res *res)
{
    pack_array(b, 1);
    pack_uint(b, res->removed);
}

enum err wire_get_bucket_purge_res(struct str bytes, struct arena *arena, struct bucket_purge_res *res)
{
    struct bucket_purge_res r = {0};

    BEGIN(1);
    r.removed = unpack_uint(&u, UINT64_MAX);
    END();
}
