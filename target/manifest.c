/* The manifest half of record.h: a header, then entries of one size, big-endian. */
#include "target/record.h"

#include <assert.h>

#include "base/log.h"

enum {
    MAGIC = 0x4d, /* 'M' */
    VERSION = 1,
    VERSION_PIECES = 2, /* the checksum length is 0 */
    HEAD_LEN = 8,       /* magic, version, checksum length, 0, count */
    FIXED_LEN = 8 + 8 + 4 + 16 + SEGMENT_ID_LEN,
    PIECE_LEN = 8 + 8 + SEGMENT_ID_LEN, /* end, offset, segment */
};

static void put_be(uint8_t *p, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

static uint64_t get_be(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

size_t manifest_bytes(uint32_t count, size_t checksum_len)
{
    return HEAD_LEN + count * (FIXED_LEN + checksum_len);
}

void manifest_begin(struct buf *out, uint32_t count, size_t checksum_len)
{
    uint8_t head[HEAD_LEN] = {MAGIC, VERSION, (uint8_t)checksum_len, 0};

    assert(count && count <= PARTS_MAX && checksum_len <= HASH_MAX_LEN);
    put_be(head + 4, count, 4);
    buf_add(out, head, sizeof(head));
}

void manifest_add(struct buf *out, const struct manifest_part *p)
{
    uint8_t e[FIXED_LEN];

    put_be(e, p->end, 8);
    put_be(e + 8, (uint64_t)p->mtime_ns, 8);
    put_be(e + 16, p->number, 4);
    memcpy(e + 20, p->md5, 16);
    memcpy(e + 36, p->segment.b, SEGMENT_ID_LEN);
    buf_add(out, e, sizeof(e));
    buf_add_str(out, p->checksum);
}

void manifest_begin_pieces(struct buf *out, uint32_t count)
{
    uint8_t head[HEAD_LEN] = {MAGIC, VERSION_PIECES};

    assert(count && count <= PIECES_MAX);
    put_be(head + 4, count, 4);
    buf_add(out, head, sizeof(head));
}

void manifest_add_piece(struct buf *out, const struct manifest_part *p)
{
    uint8_t e[PIECE_LEN];

    put_be(e, p->end, 8);
    put_be(e + 8, p->offset, 8);
    memcpy(e + 16, p->segment.b, SEGMENT_ID_LEN);
    buf_add(out, e, sizeof(e));
}

/* Pieces are never empty and lie within what a segment can hold. */
static bool piece_is_sound(const struct manifest *m, uint32_t i, uint64_t len)
{
    struct manifest_part p;

    manifest_part(m, i, &p);
    return len && len <= SEGMENT_SIZE_MAX && p.offset <= SEGMENT_SIZE_MAX - len && !segment_id_is_zero(&p.segment);
}

static bool is_sound(const struct manifest *m)
{
    uint64_t end = 0;

    for (uint32_t i = 0; i < m->count; i++) {
        uint64_t next = get_be(m->entries + (size_t)i * m->entry_len, 8);
        if (next < end || next > INT64_MAX || (m->pieces && !piece_is_sound(m, i, next - end)))
            return false;
        end = next;
    }
    return true;
}

static bool decode_pieces(struct str bytes, struct manifest *m)
{
    const uint8_t *p = (const uint8_t *)bytes.p;

    *m = (struct manifest){
        .entries = p + HEAD_LEN, .entry_len = PIECE_LEN, .count = (uint32_t)get_be(p + 4, 4), .pieces = true};
    return p[2] == 0 && m->count && m->count <= PIECES_MAX && bytes.n == HEAD_LEN + (size_t)m->count * PIECE_LEN &&
           is_sound(m);
}

enum err manifest_decode(struct str bytes, struct manifest *out)
{
    const uint8_t *p = (const uint8_t *)bytes.p;
    struct manifest m = {0};

    if (bytes.n >= HEAD_LEN && p[0] == MAGIC && p[1] == VERSION && p[2] <= HASH_MAX_LEN) {
        m.entries = p + HEAD_LEN;
        m.checksum_len = p[2];
        m.entry_len = FIXED_LEN + (uint32_t)p[2];
        m.count = (uint32_t)get_be(p + 4, 4);
        if (m.count && m.count <= PARTS_MAX && bytes.n == manifest_bytes(m.count, m.checksum_len) && is_sound(&m)) {
            *out = m;
            return ERR_OK;
        }
    }
    if (bytes.n >= HEAD_LEN && p[0] == MAGIC && p[1] == VERSION_PIECES && decode_pieces(bytes, &m)) {
        *out = m;
        return ERR_OK;
    }
    log_error(STR_NONE, "index record damaged", "kind=manifest bytes=%zu", bytes.n);
    return ERR_CORRUPT;
}

void manifest_part(const struct manifest *m, uint32_t i, struct manifest_part *out)
{
    const uint8_t *e = m->entries + (size_t)i * m->entry_len;

    assert(i < m->count);
    if (m->pieces) {
        *out = (struct manifest_part){.end = get_be(e, 8), .offset = get_be(e + 8, 8)};
        memcpy(out->segment.b, e + 16, SEGMENT_ID_LEN);
        return;
    }
    out->offset = 0;
    out->end = get_be(e, 8);
    out->mtime_ns = (int64_t)get_be(e + 8, 8);
    out->number = (uint32_t)get_be(e + 16, 4);
    memcpy(out->md5, e + 20, 16);
    memcpy(out->segment.b, e + 36, SEGMENT_ID_LEN);
    out->checksum = str_n(e + FIXED_LEN, m->checksum_len);
}

uint64_t manifest_start(const struct manifest *m, uint32_t i)
{
    return i ? get_be(m->entries + (size_t)(i - 1) * m->entry_len, 8) : 0;
}

uint32_t manifest_find(const struct manifest *m, uint64_t offset)
{
    uint32_t lo = 0, hi = m->count;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (get_be(m->entries + (size_t)mid * m->entry_len, 8) > offset)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

void manifest_part_info(const struct manifest *m, uint32_t i, enum hash_alg alg, struct part_info *out)
{
    struct manifest_part p;

    assert(!m->pieces);
    manifest_part(m, i, &p);
    *out = (struct part_info){.number = p.number, .size = p.end - manifest_start(m, i), .mtime_ns = p.mtime_ns};
    etag_from_md5(&out->etag, p.md5);
    out->checksum.type = p.checksum.n ? CHECKSUM_FULL_OBJECT : CHECKSUM_NONE;
    out->checksum.digest.alg = p.checksum.n ? alg : HASH_NONE;
    out->checksum.digest.n = (uint8_t)p.checksum.n;
    memcpy(out->checksum.digest.b, p.checksum.p, p.checksum.n);
}
