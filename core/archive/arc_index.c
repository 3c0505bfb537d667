#include "arc_index.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/pack.h"

/* Members lie as records of one size beside a heap of names: 10^6 members with names of 30 bytes take about 110 MiB. */
enum { FORMAT_VERSION = 1, SUM_LEN = 8, ROWS_MIN = 64, NAMES_MAX = 0xffffffff };
#define MAGIC STR("SLXI")

struct row {
    uint64_t head, offset, size;
    uint32_t name, stored_less; /* where the name is; size - stored when that fits, see `wide` */
    int32_t mtime;
    uint32_t crc32;
    uint16_t name_n;
    uint8_t method;
    uint8_t far; /* 1: a row of struct wide has the rest */
};
/* What few members need. */
struct wide {
    uint32_t member;
    uint64_t stored, next;
    int64_t mtime_s;
};

struct full {
    struct arc_index index;
    struct row *rows;
    char *names;
    size_t names_n;
    struct wide *wides;
    uint32_t wide_n;
    uint32_t *order; /* members by name */
    struct arc_restart *restarts;
};

static const struct full *full_of(const struct arc_index *x)
{
    return CONTAINER(x, struct full, index);
}

struct arc_index *arc_index_ref(struct arc_index *x)
{
    x->refs++;
    return x;
}

void arc_index_unref(void *index)
{
    struct arc_index *x = index;
    struct full *f;

    if (!x || --x->refs > 0)
        return;
    f = CONTAINER(x, struct full, index);
    free(f->rows);
    free(f->names);
    free(f->wides);
    free(f->order);
    free(f->restarts);
    free(f);
}

bool arc_index_fits(const struct arc_index *x, const struct object_info *info)
{
    return x->size == info->size && x->mtime_ns == info->mtime_ns && str_eq(etag_str(&x->etag), etag_str(&info->etag));
}

/* ---- members ---- */

static const struct wide *find_wide(const struct full *f, uint32_t i)
{
    uint32_t low = 0, high = f->wide_n;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (f->wides[mid].member < i)
            low = mid + 1;
        else
            high = mid;
    }
    return &f->wides[low];
}

static uint64_t round_512(uint64_t n)
{
    return (n + 511) & ~UINT64_C(511);
}

static struct str name_of(const struct full *f, uint32_t i)
{
    return str_n(f->names + f->rows[i].name, f->rows[i].name_n);
}

void arc_index_member(const struct arc_index *x, uint32_t i, struct arc_member *out)
{
    const struct full *f = full_of(x);
    const struct row *r = &f->rows[i];

    *out = (struct arc_member){.name = name_of(f, i),
                               .head = r->head,
                               .offset = r->offset,
                               .stored = r->size - r->stored_less,
                               .size = r->size,
                               .mtime_s = r->mtime,
                               .crc32 = r->crc32,
                               .method = (enum arc_method)r->method};
    out->next = out->offset + (x->format == ARC_ZIP ? out->stored : round_512(out->stored));
    if (r->far) {
        const struct wide *w = find_wide(f, i);
        out->stored = w->stored;
        out->next = w->next;
        out->mtime_s = w->mtime_s;
    }
}

static struct str without_lead(struct str name)
{
    for (;;) {
        if (str_starts(name, STR("/")))
            name = str_skip(name, 1);
        else if (str_starts(name, STR("./")))
            name = str_skip(name, 2);
        else
            return name;
    }
}

uint32_t arc_index_seek(const struct arc_index *x, struct str name)
{
    const struct full *f = full_of(x);
    uint32_t low = 0, high = x->count;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (str_cmp(name_of(f, f->order[mid]), name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

uint32_t arc_index_by_name(const struct arc_index *x, uint32_t position)
{
    return full_of(x)->order[position];
}

bool arc_index_find(const struct arc_index *x, struct str name, uint32_t *i, struct arc_member *out)
{
    uint32_t at;

    name = without_lead(name);
    at = arc_index_seek(x, name);
    if (at == x->count || !str_eq(name_of(full_of(x), full_of(x)->order[at]), name))
        return false;
    at = full_of(x)->order[at];
    if (i)
        *i = at;
    arc_index_member(x, at, out);
    return true;
}

void arc_index_etag(const struct arc_index *x, const struct arc_member *m, struct etag *out)
{
    struct digest d;
    struct hash h;
    uint64_t numbers[3] = {m->head, m->size, m->crc32};

    hash_init(&h, HASH_MD5);
    hash_update(&h, x->etag.text, x->etag.n);
    hash_update(&h, &x->mtime_ns, sizeof(x->mtime_ns));
    hash_update(&h, numbers, sizeof(numbers));
    hash_update(&h, m->name.p, m->name.n);
    hash_final(&h, &d);
    hex_encode(d.b, 16, out->text);
    memcpy(out->text + 32, "-1", 2);
    out->n = 34;
}

/* ---- building ---- */

struct arc_building {
    struct full *full;
    size_t row_cap, name_cap, wide_cap, restart_cap;
};

struct arc_building *arc_building_new(enum arc_format format)
{
    struct arc_building *b = NEW(struct arc_building);

    b->full = NEW(struct full);
    b->full->index.refs = 1;
    b->full->index.format = format;
    return b;
}

void arc_building_free(struct arc_building *b)
{
    if (!b)
        return;
    if (b->full)
        arc_index_unref(&b->full->index);
    free(b);
}

/* Room for one more of a growing array. */
static void *room(void *p, size_t n, size_t *cap, size_t size, size_t more)
{
    if (n + more <= *cap)
        return p;
    while (n + more > *cap)
        *cap = *cap ? *cap + *cap / 2 + 1 : ROWS_MIN;
    return mem_realloc(p, *cap * size);
}

static bool needs_wide(const struct full *f, const struct arc_member *m, uint64_t next)
{
    return m->stored > m->size || m->size - m->stored > UINT32_MAX || m->mtime_s < INT32_MIN ||
           m->mtime_s > INT32_MAX || m->next != next || (f->index.format != ARC_ZIP && m->stored != m->size);
}

enum err arc_building_add(struct arc_building *b, const struct arc_member *m)
{
    struct full *f = b->full;
    uint64_t next = m->offset + (f->index.format == ARC_ZIP ? m->stored : round_512(m->stored));
    bool wide = needs_wide(f, m, next);
    uint32_t i = f->index.count;

    if (i == ARC_MEMBERS_MAX || m->name.n > ARC_NAME_MAX || f->names_n + m->name.n > NAMES_MAX)
        return ERR_TOO_LARGE;
    f->rows = room(f->rows, i, &b->row_cap, sizeof(*f->rows), 1);
    f->names = room(f->names, f->names_n, &b->name_cap, 1, m->name.n);
    f->rows[i] = (struct row){.head = m->head,
                              .offset = m->offset,
                              .size = m->size,
                              .name = (uint32_t)f->names_n,
                              .stored_less = wide ? 0 : (uint32_t)(m->size - m->stored),
                              .mtime = wide ? 0 : (int32_t)m->mtime_s,
                              .crc32 = m->crc32,
                              .name_n = (uint16_t)m->name.n,
                              .method = (uint8_t)m->method,
                              .far = wide};
    memcpy(f->names + f->names_n, m->name.p, m->name.n);
    f->names_n += m->name.n;
    if (wide) {
        f->wides = room(f->wides, f->wide_n, &b->wide_cap, sizeof(*f->wides), 1);
        f->wides[f->wide_n++] = (struct wide){i, m->stored, m->next, m->mtime_s};
    }
    f->index.count++;
    return ERR_OK;
}

enum err arc_building_restart(struct arc_building *b, uint64_t at, uint64_t offset)
{
    struct full *f = b->full;
    uint32_t n = f->index.restart_count;

    if (n == ARC_MEMBERS_MAX)
        return ERR_TOO_LARGE;
    f->restarts = room(f->restarts, n, &b->restart_cap, sizeof(*f->restarts), 1);
    f->restarts[n] = (struct arc_restart){at, offset};
    f->index.restart_count++;
    return ERR_OK;
}

void arc_building_left_out(struct arc_building *b)
{
    b->full->index.left_out++;
}

static int by_name(const void *a, const void *b, void *arg)
{
    const struct full *f = arg;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int order = str_cmp(name_of(f, x), name_of(f, y));

    return order ? order : x < y ? -1 : 1;
}

struct arc_index *arc_building_seal(struct arc_building *b, uint64_t end)
{
    struct full *f = b->full;
    struct arc_index *x = &f->index;
    bool sorted = true;

    f->order = mem_alloc((x->count + 1) * sizeof(*f->order));
    for (uint32_t i = 0; i < x->count; i++) {
        f->order[i] = i;
        sorted = sorted && (i == 0 || str_cmp(name_of(f, i - 1), name_of(f, i)) <= 0);
    }
    if (!sorted)
        qsort_r(f->order, x->count, sizeof(*f->order), by_name, f);
    x->end = end;
    x->restarts = f->restarts;
    x->bytes = sizeof(*f) + x->count * (sizeof(*f->rows) + sizeof(*f->order)) + f->names_n +
               f->wide_n * sizeof(*f->wides) + x->restart_count * sizeof(*f->restarts);
    b->full = NULL;
    arc_building_free(b);
    return x;
}

void arc_index_set_object(struct arc_index *x, const struct object_info *info)
{
    x->size = info->size;
    x->mtime_ns = info->mtime_ns;
    x->etag = info->etag;
}

/* ---- as bytes: magic, MessagePack, xxh3 of all before ---- */

enum err arc_index_encode(const struct arc_index *x, struct buf *out)
{
    size_t from = out->n;
    struct digest sum;

    buf_add_str(out, MAGIC);
    pack_uint(out, FORMAT_VERSION);
    pack_uint(out, (uint64_t)x->format);
    pack_uint(out, x->size);
    pack_int(out, x->mtime_ns);
    pack_str(out, etag_str(&x->etag));
    pack_uint(out, x->end);
    pack_uint(out, x->left_out);
    pack_uint(out, x->restart_count);
    for (uint32_t i = 0; i < x->restart_count; i++) {
        pack_uint(out, x->restarts[i].at);
        pack_uint(out, x->restarts[i].offset);
    }
    pack_uint(out, x->count);
    for (uint32_t i = 0; i < x->count; i++) {
        struct arc_member m;
        arc_index_member(x, i, &m);
        pack_str(out, m.name);
        pack_uint(out, m.head);
        pack_uint(out, m.offset);
        pack_uint(out, m.stored);
        pack_uint(out, m.next);
        pack_uint(out, m.size);
        pack_int(out, m.mtime_s);
        pack_uint(out, m.crc32);
        pack_uint(out, (uint64_t)m.method);
    }
    if (buf_err(out) != ERR_OK)
        return ERR_TOO_LARGE;
    hash_of(HASH_XXH3, str_n(out->p + from, out->n - from), &sum);
    buf_add(out, sum.b, SUM_LEN);
    return buf_err(out);
}

static bool decode_member(struct unpack *u, const struct arc_index *x, struct arc_member *m)
{
    uint64_t bound = x->format == ARC_TAR || x->format == ARC_ZIP ? x->size : INT64_MAX;

    m->name = unpack_bytes(u, ARC_NAME_MAX);
    m->head = unpack_uint(u, bound);
    m->offset = unpack_uint(u, bound);
    m->stored = unpack_uint(u, bound);
    m->next = unpack_uint(u, INT64_MAX);
    m->size = unpack_uint(u, INT64_MAX);
    m->mtime_s = unpack_int(u);
    m->crc32 = (uint32_t)unpack_uint(u, UINT32_MAX);
    m->method = (enum arc_method)unpack_uint(u, ARC_DEFLATE);
    return !u->bad && m->name.n > 0 && m->head <= m->offset && m->stored <= bound - m->offset &&
           m->next >= m->offset + m->stored && (m->method == ARC_STORED || x->format == ARC_ZIP) &&
           (m->method == ARC_DEFLATE || m->stored == m->size);
}

/* Compressed TARs can be read from their begin at least, the others need no such places. */
static bool decode_restarts(struct unpack *u, struct arc_building *b)
{
    const struct arc_index *x = &b->full->index;
    bool has = x->format != ARC_TAR && x->format != ARC_ZIP;
    uint64_t count = unpack_uint(u, has ? ARC_MEMBERS_MAX : 0);
    struct arc_restart last = {0, 0};

    for (uint64_t i = 0; i < count; i++) {
        struct arc_restart r = {.at = unpack_uint(u, OBJECT_SIZE_MAX)};
        r.offset = unpack_uint(u, INT64_MAX);
        if (u->bad || r.at >= x->size || (i ? r.at <= last.at || r.offset <= last.offset : r.at || r.offset) ||
            arc_building_restart(b, r.at, r.offset) != ERR_OK)
            return false;
        last = r;
    }
    return !u->bad && (count > 0) == has;
}

static enum err decode(struct unpack *u, struct arc_building *b, uint64_t *end)
{
    struct arc_index *x = &b->full->index;
    uint64_t format, count;
    struct str etag;

    if (unpack_uint(u, FORMAT_VERSION) != FORMAT_VERSION)
        return ERR_CORRUPT;
    format = unpack_uint(u, ARC_TAR_ZST);
    x->format = (enum arc_format)format;
    x->size = unpack_uint(u, OBJECT_SIZE_MAX);
    x->mtime_ns = unpack_int(u);
    etag = unpack_bytes(u, ETAG_MAX);
    memcpy(x->etag.text, etag.p ? etag.p : "", etag.n);
    x->etag.n = (uint8_t)etag.n;
    *end = unpack_uint(u, INT64_MAX);
    x->left_out = (uint32_t)unpack_uint(u, UINT32_MAX);
    if (u->bad || format == ARC_NONE || !decode_restarts(u, b))
        return ERR_CORRUPT;
    count = unpack_uint(u, ARC_MEMBERS_MAX);
    for (uint64_t i = 0; i < count; i++) {
        struct arc_member m;
        if (!decode_member(u, x, &m) || arc_building_add(b, &m) != ERR_OK)
            return ERR_CORRUPT;
    }
    return unpack_done(u) ? ERR_OK : ERR_CORRUPT;
}

enum err arc_index_decode(struct str bytes, struct arc_index **out)
{
    struct arc_building *b;
    struct digest sum;
    struct unpack u;
    uint64_t end = 0;
    enum err e;

    if (bytes.n < MAGIC.n + SUM_LEN || bytes.n > ARC_INDEX_MAX || !str_starts(bytes, MAGIC))
        return ERR_CORRUPT;
    hash_of(HASH_XXH3, str_n(bytes.p, bytes.n - SUM_LEN), &sum);
    if (memcmp(sum.b, bytes.p + bytes.n - SUM_LEN, SUM_LEN) != 0)
        return ERR_CORRUPT;
    unpack_init(&u, str_n(bytes.p + MAGIC.n, bytes.n - MAGIC.n - SUM_LEN));
    b = arc_building_new(ARC_NONE);
    if ((e = decode(&u, b, &end)) != ERR_OK)
        arc_building_free(b);
    else
        *out = arc_building_seal(b, end);
    return e;
}
