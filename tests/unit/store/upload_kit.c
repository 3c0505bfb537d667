#include "upload_kit.h"

#include <stdlib.h>

#include "base/mem.h"

struct upload upload_begin(struct kit *k, struct str key, enum hash_alg alg, enum checksum_type type)
{
    struct upload_create_req req = {
        .arena = &k->arena, .bucket = k->bucket, .key = key, .checksum = alg, .type = type, .initiator = STR("me")};
    struct upload_create_res res = {0};

    assert_err(KIT_CALL(k, upload_create, &req, &res), ERR_OK);
    assert_int_equal(res.upload_id.n, UPLOAD_ID_LEN);
    return (struct upload){.k = k, .key = key, .id = res.upload_id};
}

enum err upload_put(struct upload *u, uint32_t number, struct str content, struct part_info *out)
{
    struct body_check check = {0};
    struct source *body = source_memory(content, NULL, NULL);
    struct upload_part_req req = {.arena = &u->k->arena,
                                  .bucket = u->k->bucket,
                                  .key = u->key,
                                  .upload_id = u->id,
                                  .number = number,
                                  .body = body,
                                  .check = &check,
                                  .size_max = PART_SIZE_MAX};
    struct upload_part_res res = {0};
    enum err e = KIT_CALL(u->k, upload_part, &req, &res);

    source_close(body);
    *out = res.part;
    return e;
}

void upload_add(struct upload *u, uint32_t number, struct str content)
{
    struct part_info *part = &u->stored[u->n];
    struct etag etag = kit_etag(content);

    assert_err(upload_put(u, number, content, part), ERR_OK);
    assert_str(etag_str(&part->etag), etag_str(&etag));
    assert_int_equal(part->size, content.n);
    assert_int_equal(part->number, number);
    u->content[u->n] = content;
    u->asked[u->n++] = (struct complete_part){.number = number, .etag = arena_str(&u->k->arena, etag_str(&part->etag))};
}

struct upload_complete_req upload_complete_req(struct upload *u)
{
    return (struct upload_complete_req){.arena = &u->k->arena,
                                        .bucket = u->k->bucket,
                                        .key = u->key,
                                        .upload_id = u->id,
                                        .parts = u->asked,
                                        .part_count = u->n,
                                        .cond = COND_INIT,
                                        .want_size = UINT64_MAX};
}

struct object_info upload_complete(struct upload *u)
{
    struct upload_complete_req req = upload_complete_req(u);
    struct upload_complete_res res = {0};

    assert_err(KIT_CALL(u->k, upload_complete, &req, &res), ERR_OK);
    return res.info;
}

enum err upload_abort(struct upload *u)
{
    struct upload_abort_req req = {.arena = &u->k->arena, .bucket = u->k->bucket, .key = u->key, .upload_id = u->id};
    struct upload_abort_res res;

    return KIT_CALL(u->k, upload_abort, &req, &res);
}

struct str upload_content(struct upload *u)
{
    size_t n = 0;

    for (uint32_t i = 0; i < u->n; i++)
        n += u->content[i].n;
    char *p = arena_alloc(&u->k->arena, n);
    n = 0;
    for (uint32_t i = 0; i < u->n; n += u->content[i++].n)
        memcpy(p + n, u->content[i].p, u->content[i].n);
    return str_n(p, n);
}

struct str full_part(uint64_t seed)
{
    static char parts[3][5 << 20];
    static bool made[3];

    if (!made[seed % 3]) {
        struct kit scratch = {0};
        struct str bytes = kit_bytes(&scratch, sizeof(parts[0]), seed);
        memcpy(parts[seed % 3], bytes.p, bytes.n);
        arena_release(&scratch.arena);
        made[seed % 3] = true;
    }
    return str_n(parts[seed % 3], sizeof(parts[0]));
}
