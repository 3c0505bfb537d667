#include "wire_fields.h"

/* Each pair: the writer, then the reader of the same fields in the same order. A field is appended at the end and read only when it
 * is there (wire_open() tells how many more there are), so that nodes of neighbouring versions understand each other. */

static struct str get_key(struct unpack *u)
{
    return wire_get_str(u, STORE_KEY_MAX);
}

static struct str get_text(struct unpack *u)
{
    return wire_get_str(u, WIRE_TEXT_MAX);
}

#define BEGIN(known)                                                                                                   \
    struct unpack u;                                                                                                   \
    unpack_init(&u, bytes);                                                                                            \
    uint32_t extra = wire_open(&u, known)

/* `r` holds what was read; *req stays untouched when that is nothing. */
#define END()                                                                                                          \
    wire_close(&u, extra);                                                                                             \
    enum err e = wire_end(&u);                                                                                         \
    if (e == ERR_OK)                                                                                                   \
        *req = r;                                                                                                      \
    return e

/* ---- objects ---- */

void wire_put_obj_head_req(struct buf *b, const struct obj_head_req *req)
{
    pack_array(b, 6);
    wire_put_bucket(b, &req->bucket);
    wire_put_str(b, req->key);
    wire_put_cond(b, &req->cond);
    pack_uint(b, req->part_number);
    wire_put_range(b, &req->range);
    pack_bool(b, req->parts);
}

enum err wire_get_obj_head_req(struct str bytes, struct arena *arena, struct obj_head_req *req)
{
    struct obj_head_req r = {.arena = arena};

    BEGIN(6);
    wire_get_bucket(&u, &r.bucket);
    r.key = get_key(&u);
    wire_get_cond(&u, &r.cond);
    r.part_number = wire_get_u32(&u, UINT32_MAX);
    wire_get_range(&u, &r.range);
    r.parts = unpack_bool(&u);
    END();
}

void wire_put_obj_get_req(struct buf *b, const struct obj_get_req *req)
{
    wire_put_obj_head_req(b, &req->head);
}

enum err wire_get_obj_get_req(struct str bytes, struct arena *arena, struct obj_get_req *req)
{
    return wire_get_obj_head_req(bytes, arena, &req->head);
}

void wire_put_obj_put_req(struct buf *b, const struct obj_put_req *req)
{
    pack_array(b, 6);
    wire_put_bucket(b, &req->bucket);
    wire_put_str(b, req->key);
    wire_put_info(b, &req->info);
    wire_put_cond(b, &req->cond);
    wire_put_check(b, req->check);
    pack_uint(b, req->size_max);
}

enum err wire_get_obj_put_req(struct str bytes, struct arena *arena, struct obj_put_req *req)
{
    struct obj_put_req r = {.arena = arena};

    BEGIN(6);
    wire_get_bucket(&u, &r.bucket);
    r.key = get_key(&u);
    wire_get_info(&u, arena, &r.info);
    wire_get_cond(&u, &r.cond);
    r.check = wire_get_check(&u, arena);
    r.size_max = unpack_uint(&u, UINT64_MAX);
    END();
}

void wire_put_obj_splice_req(struct buf *b, const struct obj_splice_req *req)
{
    pack_array(b, 7);
    wire_put_bucket(b, &req->bucket);
    wire_put_str(b, req->key);
    wire_put_cond(b, &req->cond);
    pack_uint(b, req->offset);
    pack_uint(b, req->cut);
    wire_put_check(b, req->check);
    pack_uint(b, req->size_max);
}

enum err wire_get_obj_splice_req(struct str bytes, struct arena *arena, struct obj_splice_req *req)
{
    struct obj_splice_req r = {.arena = arena};

    BEGIN(7);
    wire_get_bucket(&u, &r.bucket);
    r.key = get_key(&u);
    wire_get_cond(&u, &r.cond);
    r.offset = unpack_uint(&u, UINT64_MAX);
    r.cut = unpack_uint(&u, UINT64_MAX);
    r.check = wire_get_check(&u, arena);
    r.size_max = unpack_uint(&u, UINT64_MAX);
    END();
}

void wire_put_obj_delete_req(struct buf *b, const struct obj_delete_req *req)
{
    pack_array(b, 7);
    wire_put_bucket(b, &req->bucket);
    wire_put_str(b, req->key);
    wire_put_cond(b, &req->cond);
    pack_bool(b, req->of_version);
    pack_int(b, req->version.mtime_ns);
    pack_uint(b, req->version.kind);
    pack_bool(b, req->bypass);
}

enum err wire_get_obj_delete_req(struct str bytes, struct arena *arena, struct obj_delete_req *req)
{
    struct obj_delete_req r = {.arena = arena};

    BEGIN(3);
    wire_get_bucket(&u, &r.bucket);
    r.key = get_key(&u);
    wire_get_cond(&u, &r.cond);
    if (extra >= 4) {
        r.of_version = unpack_bool(&u);
        r.version.mtime_ns = unpack_int(&u);
        r.version.kind = (enum version_kind)unpack_uint(&u, VERSION_KINDS - 1);
        r.bypass = unpack_bool(&u);
        extra -= 4;
    }
    END();
}

void wire_put_obj_copy_req(struct buf *b, const struct obj_copy_req *req)
{
    pack_array(b, 14);
    wire_put_bucket(b, &req->src_bucket);
    wire_put_str(b, req->src_key);
    wire_put_cond(b, &req->src_cond);
    wire_put_bucket(b, &req->bucket);
    wire_put_str(b, req->key);
    wire_put_cond(b, &req->cond);
    pack_bool(b, req->replace_attrs);
    pack_bool(b, req->replace_tags);
    pack_bool(b, req->keep_mtime);
    wire_put_info(b, &req->info);
    pack_uint(b, req->checksum);
    pack_uint(b, req->size_max);
    pack_bool(b, req->change_attrs);
    pack_bool(b, req->bypass);
}

enum err wire_get_obj_copy_req(struct str bytes, struct arena *arena, struct obj_copy_req *req)
{
    struct obj_copy_req r = {.arena = arena};

    BEGIN(12);
    wire_get_bucket(&u, &r.src_bucket);
    r.src_key = get_key(&u);
    wire_get_cond(&u, &r.src_cond);
    wire_get_bucket(&u, &r.bucket);
    r.key = get_key(&u);
    wire_get_cond(&u, &r.cond);
    r.replace_attrs = unpack_bool(&u);
    r.replace_tags = unpack_bool(&u);
    r.keep_mtime = unpack_bool(&u);
    wire_get_info(&u, arena, &r.info);
    r.checksum = wire_get_alg(&u);
    r.size_max = unpack_uint(&u, UINT64_MAX);
    if (extra >= 2) {
        r.change_attrs = unpack_bool(&u);
        r.bypass = unpack_bool(&u);
        extra -= 2;
    }
    END();
}

void wire_put_obj_import_req(struct buf *b, const struct obj_import_req *req)
{
    pack_array(b, 6);
    wire_put_bucket(b, &req->bucket);
    wire_put_str(b, req->key);
    wire_put_info(b, &req->info);
    wire_put_parts(b, req->parts, req->part_count);
    wire_put_check(b, req->check);
    pack_bool(b, req->force);
}

enum err wire_get_obj_import_req(struct str bytes, struct arena *arena, struct obj_import_req *req)
{
    struct obj_import_req r = {.arena = arena};

    BEGIN(5);
    wire_get_bucket(&u, &r.bucket);
    r.key = get_key(&u);
    wire_get_info(&u, arena, &r.info);
    r.parts = wire_get_parts(&u, arena, PARTS_MAX, &r.part_count);
    r.check = wire_get_check(&u, arena);
    if (extra) {
        r.force = unpack_bool(&u);
        extra--;
    }
    END();
}

void wire_put_obj_list_req(struct buf *b, const struct obj_list_req *req)
{
    pack_array(b, 5);
    wire_put_bucket(b, &req->bucket);
    wire_put_str(b, req->prefix);
    wire_put_str(b, req->delimiter);
    wire_put_str(b, req->after);
    pack_uint(b, req->max);
}

enum err wire_get_obj_list_req(struct str bytes, struct arena *arena, struct obj_list_req *req)
{
    struct obj_list_req r = {.arena = arena};

    BEGIN(5);
    wire_get_bucket(&u, &r.bucket);
    r.prefix = get_text(&u);
    r.delimiter = get_text(&u);
    r.after = get_text(&u);
    r.max = wire_get_u32(&u, UINT32_MAX);
    END();
}

/* ---- multipart uploads ---- */

void wire_put_upload_create_req(struct buf *b, const struct upload_create_req *req)
{
    pack_array(b, 6);
    wire_put_bucket(b, &req->bucket);
    wire_put_str(b, req->key);
    wire_put_info(b, &req->info);
    pack_uint(b, req->checksum);
    pack_uint(b, req->type);
    wire_put_str(b, req->initiator);
}

enum err wire_get_upload_create_req(struct str bytes, struct arena *arena, struct upload_create_req *req)
{
    struct upload_create_req r = {.arena = arena};

    BEGIN(6);
    wire_get_bucket(&u, &r.bucket);
    r.key = get_key(&u);
    wire_get_info(&u, arena, &r.info);
    r.checksum = wire_get_alg(&u);
    r.type = wire_get_checksum_type(&u);
    r.initiator = get_text(&u);
    END();
}

void wire_put_upload_part_req(struct buf *b, const struct upload_part_req *req)
{
    pack_array(b, 6);
    wire_put_bucket(b, &req->bucket);
    wire_put_str(b, req->key);
    wire_put_str(b, req->upload_id);
    pack_uint(b, req->number);
    wire_put_check(b, req->check);
    pack_uint(b, req->size_max);
}

enum err wire_get_upload_part_req(struct str bytes, struct arena *arena, struct upload_part_req *req)
{
    struct upload_part_req r = {.arena = arena};

    BEGIN(6);
    wire_get_bucket(&u, &r.bucket);
    r.key = get_key(&u);
    r.upload_id = get_text(&u);
    r.number = wire_get_u32(&u, UINT32_MAX);
    r.check = wire_get_check(&u, arena);
    r.size_max = unpack_uint(&u, UINT64_MAX);
    END();
}

static void put_complete_part(struct buf *b, const struct complete_part *p)
{
    struct str etag = p->etag;

    if (etag.n > WIRE_ETAG_TEXT_MAX)
        etag.n = WIRE_ETAG_TEXT_MAX; /* longer than any ETag: equals none before and after */
    pack_array(b, 3);
    pack_uint(b, p->number);
    wire_put_str(b, etag);
    wire_put_digest(b, &p->checksum);
}

static void get_complete_part(struct unpack *u, struct complete_part *p)
{
    uint32_t extra = wire_open(u, 3);

    p->number = wire_get_u32(u, UINT32_MAX);
    p->etag = wire_get_str(u, WIRE_ETAG_TEXT_MAX);
    wire_get_digest(u, &p->checksum);
    wire_close(u, extra);
}

static const struct complete_part *get_complete_parts(struct unpack *u, struct arena *arena, uint32_t *count)
{
    uint32_t n = unpack_array(u, PARTS_MAX);

    if (u->bad || n == 0)
        return NULL;
    struct complete_part *parts = arena_alloc(arena, n * sizeof(*parts));
    for (uint32_t i = 0; i < n && !u->bad; i++)
        get_complete_part(u, &parts[i]);
    *count = n;
    return parts;
}

void wire_put_upload_complete_req(struct buf *b, const struct upload_complete_req *req)
{
    pack_array(b, 9);
    wire_put_bucket(b, &req->bucket);
    wire_put_str(b, req->key);
    wire_put_str(b, req->upload_id);
    pack_array(b, req->part_count);
    for (uint32_t i = 0; i < req->part_count; i++)
        put_complete_part(b, &req->parts[i]);
    wire_put_cond(b, &req->cond);
    wire_put_checksum(b, &req->want);
    pack_uint(b, req->want_type);
    pack_uint(b, req->want_size);
    pack_bool(b, req->any_size);
}

enum err wire_get_upload_complete_req(struct str bytes, struct arena *arena, struct upload_complete_req *req)
{
    struct upload_complete_req r = {.arena = arena};

    BEGIN(9);
    wire_get_bucket(&u, &r.bucket);
    r.key = get_key(&u);
    r.upload_id = get_text(&u);
    r.parts = get_complete_parts(&u, arena, &r.part_count);
    wire_get_cond(&u, &r.cond);
    wire_get_checksum(&u, &r.want);
    r.want_type = wire_get_checksum_type(&u);
    r.want_size = unpack_uint(&u, UINT64_MAX);
    r.any_size = unpack_bool(&u);
    END();
}

void wire_put_upload_abort_req(struct buf *b, const struct upload_abort_req *req)
{
    pack_array(b, 3);
    wire_put_bucket(b, &req->bucket);
    wire_put_str(b, req->key);
    wire_put_str(b, req->upload_id);
}

enum err wire_get_upload_abort_req(struct str bytes, struct arena *arena, struct upload_abort_req *req)
{
    struct upload_abort_req r = {.arena = arena};

    BEGIN(3);
    wire_get_bucket(&u, &r.bucket);
    r.key = get_key(&u);
    r.upload_id = get_text(&u);
    END();
}

void wire_put_upload_list_req(struct buf *b, const struct upload_list_req *req)
{
    pack_array(b, 6);
    wire_put_bucket(b, &req->bucket);
    wire_put_str(b, req->prefix);
    wire_put_str(b, req->delimiter);
    wire_put_str(b, req->key_marker);
    wire_put_str(b, req->upload_id_marker);
    pack_uint(b, req->max);
}

enum err wire_get_upload_list_req(struct str bytes, struct arena *arena, struct upload_list_req *req)
{
    struct upload_list_req r = {.arena = arena};

    BEGIN(6);
    wire_get_bucket(&u, &r.bucket);
    r.prefix = get_text(&u);
    r.delimiter = get_text(&u);
    r.key_marker = get_text(&u);
    r.upload_id_marker = get_text(&u);
    r.max = wire_get_u32(&u, UINT32_MAX);
    END();
}

void wire_put_part_list_req(struct buf *b, const struct part_list_req *req)
{
    pack_array(b, 5);
    wire_put_bucket(b, &req->bucket);
    wire_put_str(b, req->key);
    wire_put_str(b, req->upload_id);
    pack_uint(b, req->after);
    pack_uint(b, req->max);
}

enum err wire_get_part_list_req(struct str bytes, struct arena *arena, struct part_list_req *req)
{
    struct part_list_req r = {.arena = arena};

    BEGIN(5);
    wire_get_bucket(&u, &r.bucket);
    r.key = get_key(&u);
    r.upload_id = get_text(&u);
    r.after = wire_get_u32(&u, UINT32_MAX);
    r.max = wire_get_u32(&u, UINT32_MAX);
    END();
}

/* ---- buckets ---- */

void wire_put_bucket_purge_req(struct buf *b, const struct bucket_purge_req *req)
{
    pack_array(b, 4);
    wire_put_bucket(b, &req->bucket);
    pack_bool(b, req->objects);
    pack_bool(b, req->unseal);
    pack_bool(b, req->seal);
}

enum err wire_get_bucket_purge_req(struct str bytes, struct arena *arena, struct bucket_purge_req *req)
{
    struct bucket_purge_req r = {.arena = arena};

    BEGIN(4);
    wire_get_bucket(&u, &r.bucket);
    r.objects = unpack_bool(&u);
    r.unseal = unpack_bool(&u);
    r.seal = unpack_bool(&u);
    END();
}
