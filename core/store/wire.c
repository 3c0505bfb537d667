#include "wire_fields.h"

/* ---- methods by name and number ---- */

static const struct str names[WIRE_METHODS] = {
#define M(m) [WIRE_##m] = {#m, sizeof(#m) - 1},
    STORE_METHODS(M)
#undef M
};

struct str wire_name(enum wire_method m)
{
    return names[m];
}

struct str wire_target(enum wire_method m, bool member)
{
    static const struct str targets[2][WIRE_METHODS] = {
#define M(m) [WIRE_##m] = {WIRE_PREFIX #m, sizeof(WIRE_PREFIX #m) - 1},
        {STORE_METHODS(M)},
#undef M
#define M(m) [WIRE_##m] = {WIRE_MEMBER_PREFIX #m, sizeof(WIRE_MEMBER_PREFIX #m) - 1},
        {STORE_METHODS(M)},
#undef M
    };

    return targets[member][m];
}

enum wire_method wire_by_name(struct str name)
{
    int m = 0;

    while (m < WIRE_METHODS && !str_eq(names[m], name))
        m++;
    return (enum wire_method)m;
}

bool wire_has_body(enum wire_method m)
{
    return m == WIRE_obj_put || m == WIRE_upload_part || m == WIRE_obj_import || m == WIRE_obj_splice;
}

bool wire_is_read(enum wire_method m)
{
    return m == WIRE_obj_head || m == WIRE_obj_get || m == WIRE_obj_list || m == WIRE_upload_list ||
           m == WIRE_part_list;
}

bool wire_fills(enum wire_method m, enum err e)
{
    if (m == WIRE_obj_head || m == WIRE_obj_get)
        return e == ERR_INVALID_RANGE || e == ERR_NOT_MODIFIED || e == ERR_PRECONDITION;
    return m == WIRE_upload_complete && (e == ERR_ENTITY_TOO_SMALL || e == ERR_INVALID_PART);
}

enum err wire_err(struct str name)
{
    for (int e = ERR_OK + 1; e < ERR__COUNT; e++)
        if (str_eq(str_z(err_name((enum err)e)), name))
            return (enum err)e;
    return ERR_INTERNAL;
}

/* ---- methods by number ---- */

struct codec {
    size_t req_size, res_size;
    void (*put_req)(struct buf *, const void *);
    enum err (*get_req)(struct str, struct arena *, void *);
    void (*put_res)(struct buf *, const void *);
    enum err (*get_res)(struct str, struct arena *, void *);
    void (*call)(struct store *, const void *, void *, struct call *);
};

#define M(m)                                                                                                           \
    static void put_##m##_req(struct buf *b, const void *req)                                                          \
    {                                                                                                                  \
        wire_put_##m##_req(b, req);                                                                                    \
    }                                                                                                                  \
    static enum err get_##m##_req(struct str bytes, struct arena *arena, void *req)                                    \
    {                                                                                                                  \
        return wire_get_##m##_req(bytes, arena, req);                                                                  \
    }                                                                                                                  \
    static void put_##m##_res(struct buf *b, const void *res)                                                          \
    {                                                                                                                  \
        wire_put_##m##_res(b, res);                                                                                    \
    }                                                                                                                  \
    static enum err get_##m##_res(struct str bytes, struct arena *arena, void *res)                                    \
    {                                                                                                                  \
        return wire_get_##m##_res(bytes, arena, res);                                                                  \
    }                                                                                                                  \
    static void call_##m(struct store *s, const void *req, void *res, struct call *c)                                  \
    {                                                                                                                  \
        store_##m(s, req, res, c);                                                                                     \
    }
STORE_METHODS(M)
#undef M

static const struct codec codecs[WIRE_METHODS] = {
#define M(m)                                                                                                           \
    [WIRE_##m] = {sizeof(struct m##_req), sizeof(struct m##_res), put_##m##_req, get_##m##_req,                        \
                  put_##m##_res,          get_##m##_res,          call_##m},
    STORE_METHODS(M)
#undef M
};

size_t wire_req_size(enum wire_method m)
{
    return codecs[m].req_size;
}

size_t wire_res_size(enum wire_method m)
{
    return codecs[m].res_size;
}

void wire_put_req(enum wire_method m, struct buf *b, const void *req)
{
    codecs[m].put_req(b, req);
}

enum err wire_get_req(enum wire_method m, struct str bytes, struct arena *arena, void *req)
{
    return codecs[m].get_req(bytes, arena, req);
}

void wire_put_res(enum wire_method m, struct buf *b, const void *res)
{
    codecs[m].put_res(b, res);
}

enum err wire_get_res(enum wire_method m, struct str bytes, struct arena *arena, void *res)
{
    return codecs[m].get_res(bytes, arena, res);
}

void wire_call(enum wire_method m, struct store *s, const void *req, void *res, struct call *c)
{
    codecs[m].call(s, req, res, c);
}

struct source **wire_body(enum wire_method m, void *req)
{
    if (m == WIRE_obj_put)
        return &((struct obj_put_req *)req)->body;
    if (m == WIRE_upload_part)
        return &((struct upload_part_req *)req)->body;
    if (m == WIRE_obj_splice)
        return &((struct obj_splice_req *)req)->body;
    return &((struct obj_import_req *)req)->body;
}

struct body_check *wire_check(enum wire_method m, const void *req)
{
    if (m == WIRE_obj_put)
        return ((const struct obj_put_req *)req)->check;
    if (m == WIRE_upload_part)
        return ((const struct upload_part_req *)req)->check;
    if (m == WIRE_obj_splice)
        return ((const struct obj_splice_req *)req)->check;
    return ((const struct obj_import_req *)req)->check;
}

/* ---- descriptions in headers ---- */

struct str wire_to_header(struct arena *arena, struct str bytes)
{
    char *p = arena_alloc(arena, BASE64_LEN(bytes.n));

    return str_n(p, base64url_encode(bytes.p, bytes.n, p));
}

enum err wire_from_header(struct arena *arena, struct str text, struct str *bytes)
{
    size_t n;

    if (text.n > BASE64_LEN((size_t)WIRE_HEADER_MAX))
        return ERR_BAD_REQUEST;
    char *out = arena_alloc(arena, text.n);
    if (!base64url_decode(text, out, text.n, &n))
        return ERR_BAD_REQUEST;
    *bytes = str_n(out, n);
    return ERR_OK;
}
