#include "object.h"

/* ---- ranges ---- */

enum err range_resolve(const struct range *r, uint64_t size, uint64_t *offset, uint64_t *len)
{
    uint64_t first = 0, last = size ? size - 1 : 0;

    switch (r->kind) {
    case RANGE_ALL:
        *offset = 0;
        *len = size;
        return ERR_OK;
    case RANGE_FROM_TO:
        first = r->first;
        if (r->last < last)
            last = r->last;
        break;
    case RANGE_FROM:
        first = r->first;
        break;
    case RANGE_LAST:
        if (r->last == 0)
            return ERR_INVALID_RANGE;
        first = r->last < size ? size - r->last : 0;
        break;
    }
    if (first >= size || last < first)
        return ERR_INVALID_RANGE;
    *offset = first;
    *len = last - first + 1;
    return ERR_OK;
}

/* ---- ETags ---- */

void etag_from_md5(struct etag *e, const uint8_t md5[16])
{
    hex_encode(md5, 16, e->text);
    e->n = 32;
}

void etag_from_parts(struct etag *e, const uint8_t md5_of_md5s[16], uint32_t parts)
{
    char digits[10];
    size_t n = 0;

    etag_from_md5(e, md5_of_md5s);
    e->text[e->n++] = '-';
    do
        digits[n++] = (char)('0' + parts % 10);
    while (parts /= 10);
    while (n && e->n < ETAG_MAX)
        e->text[e->n++] = digits[--n];
}

bool etag_to_md5(const struct etag *e, uint8_t md5[16])
{
    return e->n == 32 && hex_decode(etag_str(e), md5, 16);
}

/* N counts the splices. */
enum { SPLICES_MAX = 10000 };

static bool splices_of(const struct etag *e, uint64_t *n)
{
    struct str count = etag_str(e), hex = str_split(&count, '-');
    uint8_t raw[16];

    return hex.n == 32 && hex_decode(hex, raw, sizeof(raw)) && count.n && str_to_u64(count, SPLICES_MAX, n) && *n;
}

bool etag_is_spliced(const struct etag *e)
{
    uint64_t n;

    return splices_of(e, &n);
}

uint32_t etag_splices(const struct etag *e)
{
    uint64_t n;

    return splices_of(e, &n) ? (uint32_t)n : 0;
}

void etag_splice(struct etag *e, const struct etag *old, bool was_spliced, uint64_t offset, uint64_t cut,
                 const uint8_t body_md5[16])
{
    uint64_t n = 0, where[2] = {offset, cut};
    uint8_t bytes[sizeof(where)];
    struct hash h;
    struct digest md5;

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(where[i / 8] >> (8 * (i % 8)));
    hash_init(&h, HASH_MD5);
    hash_update(&h, old->text, old->n);
    hash_update(&h, bytes, sizeof(bytes));
    hash_update(&h, body_md5, 16);
    hash_final(&h, &md5);
    if (!was_spliced || !splices_of(old, &n))
        n = 0;
    etag_from_parts(e, md5.b, (uint32_t)(n < SPLICES_MAX ? n + 1 : n));
}

bool etag_matches(const struct etag *e, struct str text)
{
    static const struct {
        const char *p;
        size_t n;
    } quotes[] = {{"\"", 1}, {"&quot;", 6}};

    text = str_trim(text);
    for (size_t i = 0; i < sizeof(quotes) / sizeof(quotes[0]); i++) {
        struct str q = str_n(quotes[i].p, quotes[i].n);
        if (text.n >= 2 * q.n && str_starts(text, q) && str_ends(text, q)) {
            text = str_n(text.p + q.n, text.n - 2 * q.n);
            break;
        }
    }
    return e->n && str_eq(text, etag_str(e)); /* weak ones ("W/...") never are equal */
}

/* ---- conditions ---- */

/* Whether the header's list names `e`; "*" names anything that exists. If-None-Match compares weakly (RFC 9110 section
 * 13.1.2): proxies that compress make ETags weak. */
static bool list_matches(struct str list, const struct etag *e, bool weakly)
{
    while (list.n) {
        struct str item = str_trim(str_split(&list, ','));
        if (weakly && str_starts(item, STR("W/")))
            item = str_skip(item, 2);
        if (str_eq(item, STR("*")) || etag_matches(e, item))
            return true;
    }
    return false;
}

static int64_t seconds(int64_t ns)
{
    return ns / INT64_C(1000000000) - (ns % INT64_C(1000000000) < 0);
}

enum err cond_check_read(const struct cond *c, const struct object_info *info, int64_t now_s)
{
    int64_t mtime_s = seconds(info->mtime_ns);

    if (c->if_match.p) {
        if (!list_matches(c->if_match, &info->etag, false))
            return ERR_PRECONDITION;
    } else if (c->if_unmodified_since_s != COND_NO_TIME && c->if_unmodified_since_s <= now_s &&
               mtime_s > c->if_unmodified_since_s) {
        return ERR_PRECONDITION;
    }
    if (c->if_none_match.p) {
        if (list_matches(c->if_none_match, &info->etag, true))
            return ERR_NOT_MODIFIED;
    } else if (c->if_modified_since_s != COND_NO_TIME && c->if_modified_since_s <= now_s &&
               mtime_s <= c->if_modified_since_s) {
        return ERR_NOT_MODIFIED;
    }
    return ERR_OK;
}

enum err cond_check_copy_source(const struct cond *c, const struct object_info *info, int64_t now_s)
{
    enum err e = cond_check_read(c, info, now_s);

    return e == ERR_NOT_MODIFIED ? ERR_PRECONDITION : e;
}

enum err cond_check_write(const struct cond *c, const struct object_info *current)
{
    if (!current)
        return c->if_match.p ? ERR_NO_SUCH_KEY : ERR_OK;
    if (c->if_match.p && !list_matches(c->if_match, &current->etag, false))
        return ERR_PRECONDITION;
    if (c->if_none_match.p && list_matches(c->if_none_match, &current->etag, true))
        return ERR_PRECONDITION;
    return ERR_OK;
}

enum err cond_check_delete(const struct cond *c, const struct object_info *current)
{
    if (current && c->if_match.p && !list_matches(c->if_match, &current->etag, false))
        return ERR_PRECONDITION;
    return ERR_OK;
}

/* ---- information ---- */

void object_info_copy(struct arena *arena, struct object_info *out, const struct object_info *from)
{
    struct attr *attrs = from->attr_count ? arena_alloc(arena, from->attr_count * sizeof(*attrs)) : NULL;

    for (uint32_t i = 0; i < from->attr_count; i++)
        attrs[i] = (struct attr){arena_str(arena, from->attrs[i].name), arena_str(arena, from->attrs[i].value)};
    *out = *from;
    out->attrs = attrs;
    out->tags = from->tags.n ? arena_str(arena, from->tags) : STR_NONE;
    out->upload_id = from->upload_id.n ? arena_str(arena, from->upload_id) : STR_NONE;
    out->layout = from->layout.n ? arena_str(arena, from->layout) : STR_NONE;
}

struct str object_attr(const struct object_info *info, struct str name)
{
    for (uint32_t i = 0; i < info->attr_count; i++)
        if (str_eq(info->attrs[i].name, name))
            return info->attrs[i].value;
    return STR_NONE;
}

static bool has_attr(const struct object_info *info, struct str name)
{
    for (uint32_t i = 0; i < info->attr_count; i++)
        if (str_eq(info->attrs[i].name, name))
            return true;
    return false;
}

void object_change_attrs(struct arena *arena, const struct object_info *from, const struct object_info *changes,
                         struct object_info *out)
{
    struct attr *attrs = arena_alloc(arena, (from->attr_count + changes->attr_count + 1) * sizeof(*attrs));
    uint32_t n = 0;

    for (uint32_t i = 0; i < from->attr_count; i++)
        if (!has_attr(changes, from->attrs[i].name))
            attrs[n++] = from->attrs[i];
    for (uint32_t i = 0; i < changes->attr_count; i++)
        if (changes->attrs[i].value.n)
            attrs[n++] = changes->attrs[i];
    out->attrs = attrs;
    out->attr_count = n;
}

bool key_rolls_up(struct str key, struct str prefix, struct str delimiter, struct str *common)
{
    if (delimiter.n == 0)
        return false;
    size_t at = str_find(str_skip(key, prefix.n), delimiter);
    if (at == SIZE_MAX)
        return false;
    *common = str_n(key.p, prefix.n + at + delimiter.n);
    return true;
}

bool upload_checksum(enum hash_alg *alg, enum checksum_type *type)
{
    if (*alg == HASH_NONE && *type == CHECKSUM_NONE)
        *alg = HASH_CRC64NVME;
    if (*alg == HASH_NONE)
        return false;
    if (*type == CHECKSUM_NONE)
        *type = *alg == HASH_CRC64NVME ? CHECKSUM_FULL_OBJECT : CHECKSUM_COMPOSITE;
    return *type == CHECKSUM_FULL_OBJECT ? hash_can_combine(*alg) : *alg != HASH_CRC64NVME;
}

bool upload_takes_checksum(enum hash_alg upload, enum hash_alg part)
{
    return part == HASH_NONE || part == upload || upload == HASH_CRC64NVME;
}

bool object_is_encrypted(const struct object_info *info)
{
    return object_attr(info, ATTR_ENCRYPTION).n > 0;
}

void object_encrypt_as(struct arena *arena, const struct bucket_id *bucket, struct object_info *info)
{
    struct attr *attrs;

    if (!bucket->encrypted || object_is_encrypted(info))
        return;
    attrs = arena_new(arena, (info->attr_count + 1) * sizeof(*attrs));
    if (info->attr_count)
        memcpy(attrs, info->attrs, info->attr_count * sizeof(*attrs));
    attrs[info->attr_count++] = (struct attr){ATTR_ENCRYPTION, ENCRYPTION_S3};
    info->attrs = attrs;
}
