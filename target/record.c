#include "target/record.h"

#include "base/log.h"
#include "base/pack.h"

enum { RECORD_FIELDS = 17, UPLOAD_FIELDS = 6, PART_FIELDS = 7, DESCRIPTION_FIELDS = 7 };
enum { FLAG_CLASS = 1, FLAG_LAYOUT = 2, FLAG_VERSIONED = 4 }; /* a layout brings one more field, behind the flags */

static enum err damaged(const char *what)
{
    log_error(STR_NONE, "index record damaged", "kind=%s", what);
    return ERR_CORRUPT;
}

/* ---- pieces ---- */

/* The array's head and the version; false when it is not of this format. Newer fields may follow the known ones only in
 * a newer version. */
static bool begin(struct unpack *u, uint32_t fields)
{
    return unpack_array(u, fields) == fields && unpack_uint(u, UINT32_MAX) == RECORD_VERSION;
}

static void put_id(struct buf *out, bool there, const struct segment_id *id)
{
    pack_bin(out, id->b, there ? SEGMENT_ID_LEN : 0);
}

static bool get_id(struct unpack *u, struct segment_id *id)
{
    struct str s = unpack_bytes(u, SEGMENT_ID_LEN);

    if (s.n == 0)
        return false;
    if (s.n != SEGMENT_ID_LEN) {
        u->bad = true;
        return false;
    }
    memcpy(id->b, s.p, SEGMENT_ID_LEN);
    return true;
}

/* As 16 bytes and the number of parts; as text when it is of no form we make. */
static void put_etag(struct buf *out, const struct etag *e)
{
    struct str text = etag_str(e), md5 = str_split(&text, '-');
    uint8_t raw[16];
    uint64_t parts = 0;
    struct etag again;

    if (hex_decode(md5, raw, sizeof(raw)) && (text.n == 0 || str_to_u64(text, UINT32_MAX, &parts))) {
        if (parts)
            etag_from_parts(&again, raw, (uint32_t)parts);
        else
            etag_from_md5(&again, raw);
        if (str_eq(etag_str(&again), etag_str(e))) {
            pack_bin(out, raw, sizeof(raw));
            pack_uint(out, parts);
            return;
        }
    }
    pack_str(out, etag_str(e));
    pack_uint(out, 0);
}

static void get_etag(struct unpack *u, struct etag *e)
{
    struct str s = unpack_bytes(u, ETAG_MAX);
    uint32_t parts = (uint32_t)unpack_uint(u, UINT32_MAX);

    if (s.n == 16 && parts) {
        etag_from_parts(e, (const uint8_t *)s.p, parts);
    } else if (s.n == 16) {
        etag_from_md5(e, (const uint8_t *)s.p);
    } else {
        e->n = (uint8_t)s.n;
        if (s.n)
            memcpy(e->text, s.p, s.n);
    }
}

static void put_digest(struct buf *out, const struct digest *d)
{
    pack_uint(out, d->alg);
    pack_bin(out, d->b, d->n);
}

static void get_digest(struct unpack *u, struct digest *d)
{
    d->alg = (enum hash_alg)unpack_uint(u, HASH_COUNT - 1);
    struct str s = unpack_bytes(u, HASH_MAX_LEN);
    d->n = (uint8_t)s.n;
    if (s.n)
        memcpy(d->b, s.p, s.n);
}

/* ---- objects ---- */

#define CLASS_NAME STR("x-amz-storage-class")

static enum err put_attrs(struct buf *out, const struct object_info *i)
{
    size_t bytes = i->tags.n;

    for (uint32_t n = 0; n < i->attr_count; n++)
        bytes += i->attrs[n].name.n + i->attrs[n].value.n;
    if (bytes > OBJECT_HEADERS_MAX || i->attr_count > RECORD_ATTRS_MAX)
        return ERR_METADATA_TOO_LARGE;
    pack_str(out, i->tags);
    pack_array(out, i->attr_count * 2);
    for (uint32_t n = 0; n < i->attr_count; n++) {
        pack_str(out, i->attrs[n].name);
        pack_str(out, i->attrs[n].value);
    }
    return ERR_OK;
}

static bool has_class(const struct object_info *i)
{
    for (uint32_t n = 0; n < i->attr_count; n++)
        if (str_eq(i->attrs[n].name, CLASS_NAME))
            return true;
    return false;
}

enum err record_encode(struct buf *out, const struct record *r)
{
    const struct object_info *i = &r->info;

    if (i->layout.n > LAYOUT_MAX)
        return ERR_METADATA_TOO_LARGE;
    pack_array(out, i->layout.n ? RECORD_FIELDS + 1 : RECORD_FIELDS);
    pack_uint(out, RECORD_VERSION);
    pack_uint(out,
              (has_class(i) ? FLAG_CLASS : 0) | (i->layout.n ? FLAG_LAYOUT : 0) | (i->versioned ? FLAG_VERSIONED : 0));
    if (i->layout.n)
        pack_bin(out, i->layout.p, i->layout.n);
    pack_uint(out, i->size);
    pack_int(out, i->mtime_ns);
    put_etag(out, &i->etag);
    put_digest(out, &i->checksum.digest);
    pack_uint(out, i->checksum.type);
    pack_uint(out, i->checksum.parts);
    pack_uint(out, r->kind);
    put_id(out, r->kind != BODY_EMPTY, &r->body);
    put_id(out, r->has_desc, &r->desc);
    pack_uint(out, i->parts);
    pack_str(out, i->upload_id);
    enum err e = put_attrs(out, i);
    return e != ERR_OK ? e : buf_err(out);
}

enum err record_decode(struct str bytes, struct record *out)
{
    struct record r = {0};
    struct object_info *i = &r.info;
    struct unpack u;

    unpack_init(&u, bytes);
    uint32_t fields = unpack_array(&u, RECORD_FIELDS + 1);
    if (fields < RECORD_FIELDS || unpack_uint(&u, UINT32_MAX) != RECORD_VERSION)
        return damaged("object");
    uint64_t flags = unpack_uint(&u, UINT32_MAX);
    if (fields != (flags & FLAG_LAYOUT ? RECORD_FIELDS + 1 : RECORD_FIELDS))
        return damaged("object");
    r.has_class = flags & FLAG_CLASS;
    i->versioned = flags & FLAG_VERSIONED;
    if (flags & FLAG_LAYOUT)
        i->layout = unpack_bytes(&u, LAYOUT_MAX);
    i->size = unpack_uint(&u, INT64_MAX);
    i->mtime_ns = unpack_int(&u);
    get_etag(&u, &i->etag);
    get_digest(&u, &i->checksum.digest);
    i->checksum.type = (enum checksum_type)unpack_uint(&u, CHECKSUM_COMPOSITE);
    i->checksum.parts = (uint32_t)unpack_uint(&u, UINT32_MAX);
    r.kind = (enum body_kind)unpack_uint(&u, BODY_MANIFEST);
    if (get_id(&u, &r.body) != (r.kind != BODY_EMPTY))
        u.bad = true;
    r.has_desc = get_id(&u, &r.desc);
    i->parts = (uint32_t)unpack_uint(&u, PARTS_MAX);
    i->upload_id = unpack_bytes(&u, UPLOAD_ID_LEN);
    i->tags = unpack_bytes(&u, OBJECT_HEADERS_MAX);
    uint32_t n = unpack_array(&u, 2 * RECORD_ATTRS_MAX);
    if (u.bad || n % 2)
        return damaged("object");
    i->attr_count = n / 2;
    r.packed = unpack_rest(&u);
    *out = r;
    return ERR_OK;
}

bool record_attrs(const struct record *r, struct attr *attrs)
{
    struct unpack u;

    unpack_init(&u, r->packed);
    for (uint32_t n = 0; n < r->info.attr_count; n++) {
        attrs[n].name = unpack_bytes(&u, OBJECT_HEADERS_MAX);
        attrs[n].value = unpack_bytes(&u, OBJECT_HEADERS_MAX);
    }
    return unpack_done(&u);
}

struct str record_class(const struct record *r)
{
    struct unpack u;

    if (!r->has_class)
        return STR_NONE;
    unpack_init(&u, r->packed);
    for (uint32_t n = 0; n < r->info.attr_count; n++) {
        struct str name = unpack_bytes(&u, OBJECT_HEADERS_MAX), value = unpack_bytes(&u, OBJECT_HEADERS_MAX);
        if (str_eq(name, CLASS_NAME))
            return value;
    }
    return STR_NONE;
}

/* ---- uploads and parts ---- */

enum err upload_record_encode(struct buf *out, const struct upload_record *r)
{
    if (r->initiator.n > INITIATOR_MAX)
        return ERR_INVALID_ARGUMENT;
    pack_array(out, UPLOAD_FIELDS);
    pack_uint(out, RECORD_VERSION);
    pack_int(out, r->created_ns);
    pack_uint(out, r->alg);
    pack_uint(out, r->type);
    pack_str(out, r->initiator);
    return record_encode(out, &r->object);
}

enum err upload_record_decode(struct str bytes, struct upload_record *out)
{
    struct upload_record r = {0};
    struct unpack u;

    unpack_init(&u, bytes);
    if (!begin(&u, UPLOAD_FIELDS))
        return damaged("upload");
    r.created_ns = unpack_int(&u);
    r.alg = (enum hash_alg)unpack_uint(&u, HASH_COUNT - 1);
    r.type = (enum checksum_type)unpack_uint(&u, CHECKSUM_COMPOSITE);
    r.initiator = unpack_bytes(&u, INITIATOR_MAX);
    if (u.bad)
        return damaged("upload");
    enum err e = record_decode(unpack_rest(&u), &r.object);
    if (e == ERR_OK)
        *out = r;
    return e;
}

void part_record_encode(struct buf *out, const struct part_record *p)
{
    pack_array(out, PART_FIELDS);
    pack_uint(out, RECORD_VERSION);
    pack_uint(out, p->size);
    pack_int(out, p->mtime_ns);
    pack_bin(out, p->md5, sizeof(p->md5));
    put_digest(out, &p->checksum);
    put_id(out, !segment_id_is_zero(&p->segment), &p->segment);
}

enum err part_record_decode(struct str bytes, struct part_record *out)
{
    struct part_record p = {0};
    struct unpack u;

    unpack_init(&u, bytes);
    if (!begin(&u, PART_FIELDS))
        return damaged("part");
    p.size = unpack_uint(&u, INT64_MAX);
    p.mtime_ns = unpack_int(&u);
    struct str md5 = unpack_bytes(&u, sizeof(p.md5));
    get_digest(&u, &p.checksum);
    (void)get_id(&u, &p.segment);
    if (!unpack_done(&u) || md5.n != sizeof(p.md5))
        return damaged("part");
    memcpy(p.md5, md5.p, sizeof(p.md5));
    *out = p;
    return ERR_OK;
}

void part_record_info(const struct part_record *p, uint32_t number, struct part_info *out)
{
    *out = (struct part_info){.number = number, .size = p->size, .mtime_ns = p->mtime_ns};
    etag_from_md5(&out->etag, p->md5);
    out->checksum = (struct checksum){.digest = p->checksum, .type = CHECKSUM_FULL_OBJECT};
}

/* ---- descriptions ---- */

enum err description_encode(struct buf *out, const struct description *d)
{
    pack_array(out, DESCRIPTION_FIELDS);
    pack_uint(out, RECORD_VERSION);
    pack_uint(out, d->kind);
    pack_uint(out, d->bucket.uid);
    pack_str(out, d->bucket.name);
    pack_bin(out, d->key.p, d->key.n);
    pack_bin(out, d->record.p, d->record.n);
    pack_bin(out, d->manifest.p, d->manifest.n);
    return buf_err(out);
}

enum err description_decode(struct str bytes, struct description *out)
{
    struct description d = {0};
    struct unpack u;

    unpack_init(&u, bytes);
    if (!begin(&u, DESCRIPTION_FIELDS))
        return damaged("description");
    d.kind = (enum description_kind)unpack_uint(&u, DESCRIBES_PART);
    d.bucket.uid = unpack_uint(&u, UINT64_MAX);
    d.bucket.name = unpack_bytes(&u, 255);
    d.key = unpack_bytes(&u, STORE_KEY_MAX);
    d.record = unpack_bytes(&u, RECORD_MAX);
    d.manifest = unpack_bytes(&u, SEGMENT_DESC_MAX);
    if (!unpack_done(&u) || d.kind == 0)
        return damaged("description");
    *out = d;
    return ERR_OK;
}
