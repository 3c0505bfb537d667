#include "etl/nodes.h"

#include "store/wire_fields.h"

enum { TEXT_MAX = 8 << 10, TYPE_MAX = 1024, HEAD_MAX = WIRE_HEADER_MAX };

static struct str first(struct str s, size_t max)
{
    return str_n(s.p, s.n < max ? s.n : max);
}

/* A description within another. */
static void put_inner(struct buf *b, const struct buf *inner)
{
    struct str s = buf_str(inner);

    pack_bin(b, s.p, s.n);
    if (buf_err(inner) != ERR_OK)
        b->over = true;
}

/* [[[name, args]...], object or "", bucket, key] */
void etl_nodes_put_req(struct buf *b, const struct etl_run_req *req)
{
    struct buf object = BUF_INIT(HEAD_MAX);

    pack_array(b, 4);
    pack_array(b, (uint32_t)req->stage_count);
    for (size_t i = 0; i < req->stage_count; i++) {
        pack_array(b, 2);
        wire_put_str(b, req->stages[i].name);
        wire_put_str(b, req->stages[i].args);
    }
    if (req->object)
        wire_put_obj_get_req(&object, req->object);
    put_inner(b, &object);
    wire_put_str(b, req->bucket);
    wire_put_str(b, req->key);
    buf_release(&object);
}

static const struct etl_stage *get_stages(struct unpack *u, struct arena *arena, size_t *count)
{
    uint32_t n = unpack_array(u, ETL_STAGES_MAX);
    struct etl_stage *stages = arena_new(arena, (n + 1) * sizeof(*stages));

    for (uint32_t i = 0; i < n; i++) {
        uint32_t extra = wire_open(u, 2);
        stages[i].name = wire_get_str(u, ETL_NAME_MAX);
        stages[i].args = wire_get_str(u, ETL_ARGS_MAX);
        wire_close(u, extra);
    }
    *count = n;
    return stages;
}

enum err etl_nodes_get_req(struct str bytes, struct arena *arena, struct etl_run_req *req)
{
    struct etl_run_req r = {.arena = arena, .size = SOURCE_SIZE_UNKNOWN};
    struct unpack u;
    enum err e;

    unpack_init(&u, bytes);
    uint32_t extra = wire_open(&u, 4);
    r.stages = get_stages(&u, arena, &r.stage_count);
    struct str object = unpack_bytes(&u, HEAD_MAX);
    r.bucket = wire_get_str(&u, WIRE_NAME_MAX);
    r.key = wire_get_str(&u, 2 * KEY_MAX); /* of a member: with the archive's */
    wire_close(&u, extra);
    if ((e = wire_end(&u)) != ERR_OK)
        return e;
    if (object.n) {
        r.object = ARENA_NEW(arena, struct obj_get_req);
        if ((e = wire_get_obj_get_req(object, arena, r.object)) != ERR_OK)
            return e;
    }
    *req = r;
    return ERR_OK;
}

/* [head, content type, status, text] */
void etl_nodes_put_res(struct buf *b, const struct etl_run_res *res)
{
    struct buf head = BUF_INIT(HEAD_MAX);
    struct obj_head_res h = res->head;

    h.parts = NULL;
    h.part_count = 0;
    wire_put_obj_head_res(&head, &h);
    pack_array(b, 4);
    put_inner(b, &head);
    wire_put_str(b, first(res->content_type, TYPE_MAX));
    pack_uint(b, (uint64_t)(res->status > 0 ? res->status : 0));
    wire_put_str(b, first(res->text, TEXT_MAX));
    buf_release(&head);
}

enum err etl_nodes_get_res(struct str bytes, struct arena *arena, struct etl_run_res *res)
{
    struct etl_run_res r = {.body = NULL};
    struct unpack u;
    enum err e;

    unpack_init(&u, bytes);
    uint32_t extra = wire_open(&u, 4);
    struct str head = unpack_bytes(&u, HEAD_MAX);
    r.content_type = wire_get_str(&u, TYPE_MAX);
    r.status = (int)wire_get_u32(&u, 999);
    r.text = wire_get_str(&u, TEXT_MAX);
    wire_close(&u, extra);
    if ((e = wire_end(&u)) != ERR_OK || (e = wire_get_obj_head_res(head, arena, &r.head)) != ERR_OK)
        return e;
    *res = r;
    return ERR_OK;
}
