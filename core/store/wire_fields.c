#include "wire_fields.h"

/* ---- structs ---- */

void wire_spoil(struct unpack *u)
{
    u->bad = true;
    u->p = u->end;
}

uint32_t wire_open(struct unpack *u, uint32_t known)
{
    uint32_t n = unpack_array(u, WIRE_FIELDS_MAX);

    if (n >= known)
        return n - known;
    wire_spoil(u);
    return 0;
}

void wire_close(struct unpack *u, uint32_t extra)
{
    for (; extra && !u->bad; extra--)
        unpack_skip(u);
}

enum err wire_end(const struct unpack *u)
{
    return unpack_done(u) ? ERR_OK : ERR_BAD_REQUEST;
}

/* ---- single values ---- */

void wire_put_str(struct buf *b, struct str s)
{
    if (s.p)
        pack_str(b, s);
    else
        pack_nil(b);
}

struct str wire_get_str(struct unpack *u, size_t max)
{
    enum { NIL = 0xc0 };

    if (u->p < u->end && *u->p == NIL) {
        u->p++;
        return STR_NONE;
    }
    return unpack_bytes(u, max);
}

uint32_t wire_get_u32(struct unpack *u, uint32_t max)
{
    return (uint32_t)unpack_uint(u, max);
}

void wire_put_bucket(struct buf *b, const struct bucket_id *id)
{
    char text[REDUNDANCY_TEXT_MAX];

    pack_array(b, 5);
    pack_uint(b, id->uid);
    wire_put_str(b, id->name);
    wire_put_str(b, id->redundancy.kind ? redundancy_text(id->redundancy, text) : STR_NONE);
    pack_uint(b, id->versions);
    pack_uint(b, id->encrypted);
}

void wire_get_bucket(struct unpack *u, struct bucket_id *id)
{
    uint32_t extra = wire_open(u, 2);

    id->uid = unpack_uint(u, UINT64_MAX);
    id->name = wire_get_str(u, WIRE_NAME_MAX);
    id->redundancy = (struct redundancy){.kind = REDUNDANCY_NONE};
    if (extra) {
        struct str text = wire_get_str(u, REDUNDANCY_TEXT_MAX);
        extra--;
        if (text.p && redundancy_parse(text, &id->redundancy) != ERR_OK)
            wire_spoil(u);
    }
    id->versions = VERSIONS_OFF;
    if (extra) {
        id->versions = (uint8_t)unpack_uint(u, VERSIONS_SUSPENDED);
        extra--;
    }
    id->encrypted = false;
    if (extra) {
        id->encrypted = unpack_uint(u, 1);
        extra--;
    }
    wire_close(u, extra);
}

void wire_put_etag(struct buf *b, const struct etag *e)
{
    pack_str(b, etag_str(e));
}

void wire_get_etag(struct unpack *u, struct etag *e)
{
    struct str s = unpack_bytes(u, ETAG_MAX);

    *e = (struct etag){.n = (uint8_t)s.n};
    if (s.n)
        memcpy(e->text, s.p, s.n);
}

/* ---- digests ---- */

enum hash_alg wire_get_alg(struct unpack *u)
{
    return (enum hash_alg)unpack_uint(u, HASH_COUNT - 1);
}

enum checksum_type wire_get_checksum_type(struct unpack *u)
{
    return (enum checksum_type)unpack_uint(u, CHECKSUM_COMPOSITE);
}

void wire_put_digest(struct buf *b, const struct digest *d)
{
    pack_array(b, 2);
    pack_uint(b, d->alg);
    pack_bin(b, d->b, d->n);
}

void wire_get_digest(struct unpack *u, struct digest *d)
{
    uint32_t extra = wire_open(u, 2);

    *d = (struct digest){.alg = wire_get_alg(u)};
    struct str s = unpack_bytes(u, HASH_MAX_LEN);
    if (s.n && s.n != hash_len(d->alg))
        wire_spoil(u);
    wire_close(u, extra);
    if (u->bad)
        return;
    d->n = (uint8_t)s.n;
    if (s.n)
        memcpy(d->b, s.p, s.n);
}

void wire_put_checksum(struct buf *b, const struct checksum *c)
{
    pack_array(b, 3);
    wire_put_digest(b, &c->digest);
    pack_uint(b, c->type);
    pack_uint(b, c->parts);
}

void wire_get_checksum(struct unpack *u, struct checksum *c)
{
    uint32_t extra = wire_open(u, 3);

    wire_get_digest(u, &c->digest);
    c->type = wire_get_checksum_type(u);
    c->parts = wire_get_u32(u, PARTS_MAX);
    wire_close(u, extra);
}

/* ---- objects ---- */

void wire_put_info(struct buf *b, const struct object_info *info)
{
    pack_array(b, 10);
    pack_uint(b, info->size);
    pack_int(b, info->mtime_ns);
    wire_put_etag(b, &info->etag);
    wire_put_checksum(b, &info->checksum);
    pack_array(b, info->attr_count * 2);
    for (uint32_t i = 0; i < info->attr_count; i++) {
        wire_put_str(b, info->attrs[i].name);
        wire_put_str(b, info->attrs[i].value);
    }
    wire_put_str(b, info->tags);
    pack_uint(b, info->parts);
    wire_put_str(b, info->upload_id);
    wire_put_str(b, info->layout);
    pack_uint(b, info->versioned);
}

static void get_attrs(struct unpack *u, struct arena *arena, struct object_info *info)
{
    uint32_t n = unpack_array(u, WIRE_ATTRS_MAX * 2);
    size_t bytes = 0;

    if (n % 2)
        wire_spoil(u);
    if (u->bad || n == 0)
        return;
    struct attr *attrs = arena_alloc(arena, n / 2 * sizeof(*attrs));
    for (uint32_t i = 0; i < n / 2; i++) {
        attrs[i].name = wire_get_str(u, OBJECT_HEADERS_MAX);
        attrs[i].value = wire_get_str(u, OBJECT_HEADERS_MAX);
        bytes += attrs[i].name.n + attrs[i].value.n;
    }
    if (bytes > 2 * OBJECT_HEADERS_MAX)
        wire_spoil(u);
    info->attrs = attrs;
    info->attr_count = n / 2;
}

void wire_get_info(struct unpack *u, struct arena *arena, struct object_info *info)
{
    uint32_t extra = wire_open(u, 8);

    *info = (struct object_info){.size = unpack_uint(u, OBJECT_SIZE_MAX)};
    info->mtime_ns = unpack_int(u);
    wire_get_etag(u, &info->etag);
    wire_get_checksum(u, &info->checksum);
    get_attrs(u, arena, info);
    info->tags = wire_get_str(u, OBJECT_HEADERS_MAX);
    info->parts = wire_get_u32(u, PARTS_MAX);
    info->upload_id = wire_get_str(u, WIRE_NAME_MAX);
    if (extra) {
        info->layout = wire_get_str(u, LAYOUT_MAX);
        extra--;
    }
    if (extra) {
        info->versioned = unpack_uint(u, 1);
        extra--;
    }
    wire_close(u, extra);
}

void wire_put_cond(struct buf *b, const struct cond *c)
{
    pack_array(b, 4);
    wire_put_str(b, c->if_match);
    wire_put_str(b, c->if_none_match);
    pack_int(b, c->if_modified_since_s);
    pack_int(b, c->if_unmodified_since_s);
}

void wire_get_cond(struct unpack *u, struct cond *c)
{
    uint32_t extra = wire_open(u, 4);

    c->if_match = wire_get_str(u, WIRE_TEXT_MAX);
    c->if_none_match = wire_get_str(u, WIRE_TEXT_MAX);
    c->if_modified_since_s = unpack_int(u);
    c->if_unmodified_since_s = unpack_int(u);
    wire_close(u, extra);
}

void wire_put_range(struct buf *b, const struct range *r)
{
    pack_array(b, 3);
    pack_uint(b, r->kind);
    pack_uint(b, r->first);
    pack_uint(b, r->last);
}

void wire_get_range(struct unpack *u, struct range *r)
{
    uint32_t extra = wire_open(u, 3);

    r->kind = (enum range_kind)unpack_uint(u, RANGE_LAST);
    r->first = unpack_uint(u, UINT64_MAX);
    r->last = unpack_uint(u, UINT64_MAX);
    wire_close(u, extra);
}

/* ---- parts ---- */

void wire_put_part(struct buf *b, const struct part_info *p)
{
    pack_array(b, 5);
    pack_uint(b, p->number);
    pack_uint(b, p->size);
    pack_int(b, p->mtime_ns);
    wire_put_etag(b, &p->etag);
    wire_put_checksum(b, &p->checksum);
}

void wire_get_part(struct unpack *u, struct part_info *p)
{
    uint32_t extra = wire_open(u, 5);

    p->number = wire_get_u32(u, UINT32_MAX); /* of a bad part: as the client sent it */
    p->size = unpack_uint(u, OBJECT_SIZE_MAX);
    p->mtime_ns = unpack_int(u);
    wire_get_etag(u, &p->etag);
    wire_get_checksum(u, &p->checksum);
    wire_close(u, extra);
}

void wire_put_parts(struct buf *b, const struct part_info *parts, uint32_t count)
{
    pack_array(b, count);
    for (uint32_t i = 0; i < count; i++)
        wire_put_part(b, &parts[i]);
}

const struct part_info *wire_get_parts(struct unpack *u, struct arena *arena, uint32_t max, uint32_t *count)
{
    uint32_t n = unpack_array(u, max);

    *count = 0;
    if (u->bad || n == 0)
        return NULL;
    struct part_info *parts = arena_alloc(arena, n * sizeof(*parts));
    for (uint32_t i = 0; i < n && !u->bad; i++)
        wire_get_part(u, &parts[i]);
    *count = n;
    return parts;
}

/* ---- what bodies must hash to ---- */

void wire_put_wants(struct buf *b, const struct body_check *check, unsigned first)
{
    pack_array(b, check->want_count - first);
    for (unsigned i = first; i < check->want_count; i++) {
        pack_array(b, 2);
        wire_put_digest(b, &check->want[i].digest);
        pack_str(b, str_z(err_name(check->want[i].err)));
    }
}

/* Numbers of errors change from version to version, their names stay. */
void wire_get_wants(struct unpack *u, struct body_check *check)
{
    uint32_t n = unpack_array(u, BODY_WANTS_MAX - check->want_count);

    for (; n && !u->bad; n--) {
        uint32_t extra = wire_open(u, 2);
        struct digest d;
        wire_get_digest(u, &d);
        struct str name = unpack_bytes(u, WIRE_NAME_MAX);
        wire_close(u, extra);
        if (d.n == 0)
            wire_spoil(u); /* nothing could be equal to it */
        if (u->bad)
            return;
        check->want[check->want_count].digest = d;
        check->want[check->want_count++].err = wire_err(name);
    }
}

void wire_put_check(struct buf *b, const struct body_check *check)
{
    pack_array(b, 3);
    pack_uint(b, check->checksum);
    pack_uint(b, check->also);
    wire_put_wants(b, check, 0);
}

struct body_check *wire_get_check(struct unpack *u, struct arena *arena)
{
    struct body_check *check = ARENA_NEW(arena, struct body_check);
    uint32_t extra = wire_open(u, 3);

    check->checksum = wire_get_alg(u);
    check->also = (unsigned)unpack_uint(u, (1u << HASH_COUNT) - 1);
    wire_get_wants(u, check);
    wire_close(u, extra);
    return check;
}
