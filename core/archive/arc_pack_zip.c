/* What stands between the contents of a ZIP: local headers, data descriptors, the central directory. Entries are stored. */
#include <time.h>

#include "archive/arc_pack_own.h"

enum {
    LOCAL_SIG = 0x04034b50,
    DESCRIPTOR_SIG = 0x08074b50,
    CENTRAL_SIG = 0x02014b50,
    END_SIG = 0x06054b50,
    END64_SIG = 0x06064b50,
    LOCATOR_SIG = 0x07064b50,
    FLAG_DESCRIPTOR = 1 << 3, /* CRC and sizes come behind the content */
    FLAG_UTF8 = 1 << 11,
    VERSION = 20,
    VERSION_64 = 45,
    MADE_BY_UNIX = 3 << 8,
    EXTRA_64 = 1,
    END64_REST = 44, /* bytes of the ZIP64 end record behind its size field */
};
#define CENTRAL_MAX ((size_t)512 << 20)
#define U32_MAX     UINT64_C(0xffffffff)

static void le16(struct buf *b, unsigned v)
{
    char t[2] = {(char)v, (char)(v >> 8)};
    buf_add(b, t, 2);
}

static void le32(struct buf *b, uint32_t v)
{
    le16(b, v & 0xffff);
    le16(b, v >> 16);
}

static void le64(struct buf *b, uint64_t v)
{
    le32(b, (uint32_t)v);
    le32(b, (uint32_t)(v >> 32));
}

/* MS-DOS time and date, in UTC; it begins in 1980. */
static uint32_t dos_time(int64_t s)
{
    time_t t = (time_t)s;
    struct tm tm;

    if (!gmtime_r(&t, &tm) || tm.tm_year < 80 || tm.tm_year > 80 + 127)
        return 1u << 21 | 1u << 16;
    return (uint32_t)(tm.tm_year - 80) << 25 | (uint32_t)(tm.tm_mon + 1) << 21 | (uint32_t)tm.tm_mday << 16 |
           (uint32_t)tm.tm_hour << 11 | (uint32_t)tm.tm_min << 5 | (uint32_t)tm.tm_sec / 2;
}

static unsigned flags_of(const struct pack_zip_item *it)
{
    return (it->crc_known ? 0 : FLAG_DESCRIPTOR) | (str_is_utf8(it->name) ? FLAG_UTF8 : 0);
}

static bool is_large(const struct pack_zip_item *it)
{
    return it->size >= U32_MAX;
}

/* From the version to the sizes; they are the same in both headers, but that a local one may not know. */
static void common(struct buf *b, const struct pack_zip_item *it, bool known)
{
    uint32_t size = is_large(it) ? (uint32_t)U32_MAX : known ? (uint32_t)it->size : 0;

    le16(b, is_large(it) || it->at >= U32_MAX ? VERSION_64 : VERSION);
    le16(b, flags_of(it));
    le16(b, 0); /* stored */
    le32(b, dos_time(it->mtime_s));
    le32(b, known ? it->crc : 0);
    le32(b, size);
    le32(b, size);
    le16(b, (unsigned)it->name.n);
}

enum err pack_zip_head(struct buf *out, const struct pack_zip_item *it)
{
    if (!arc_name_is_safe(it->name))
        return ERR_INVALID_ARGUMENT;
    le32(out, LOCAL_SIG);
    common(out, it, it->crc_known);
    le16(out, is_large(it) ? 20 : 0);
    buf_add_str(out, it->name);
    if (is_large(it)) {
        le16(out, EXTRA_64);
        le16(out, 16);
        le64(out, it->crc_known ? it->size : 0);
        le64(out, it->crc_known ? it->size : 0);
    }
    return buf_err(out);
}

static void descriptor(struct buf *out, const struct pack_zip_item *it)
{
    le32(out, DESCRIPTOR_SIG);
    le32(out, it->crc);
    if (is_large(it)) {
        le64(out, it->size);
        le64(out, it->size);
    } else {
        le32(out, (uint32_t)it->size);
        le32(out, (uint32_t)it->size);
    }
}

enum err pack_zip_tail(struct pack_zip *z, struct buf *out, const struct pack_zip_item *it)
{
    bool far = it->at >= U32_MAX;
    unsigned extra = (is_large(it) ? 16 : 0) + (far ? 8 : 0);
    struct buf *b = &z->central;

    if (!it->crc_known)
        descriptor(out, it);
    if (b->max == 0)
        buf_init(b, CENTRAL_MAX);
    le32(b, CENTRAL_SIG);
    le16(b, MADE_BY_UNIX | VERSION_64);
    common(b, it, true);
    le16(b, extra ? extra + 4 : 0);
    le16(b, 0); /* comment */
    le16(b, 0); /* disk */
    le16(b, 0); /* internal attributes */
    le32(b, (uint32_t)0100644 << 16);
    le32(b, far ? (uint32_t)U32_MAX : (uint32_t)it->at);
    buf_add_str(b, it->name);
    if (extra) {
        le16(b, EXTRA_64);
        le16(b, extra);
        if (is_large(it)) {
            le64(b, it->size);
            le64(b, it->size);
        }
        if (far)
            le64(b, it->at);
    }
    z->count++;
    return buf_err(b);
}

static void end64(struct buf *b, const struct pack_zip *z, uint64_t at, uint64_t size)
{
    le32(b, END64_SIG);
    le64(b, END64_REST);
    le16(b, MADE_BY_UNIX | VERSION_64);
    le16(b, VERSION_64);
    le32(b, 0);
    le32(b, 0);
    le64(b, z->count);
    le64(b, z->count);
    le64(b, size);
    le64(b, at);
    le32(b, LOCATOR_SIG);
    le32(b, 0);
    le64(b, at + size);
    le32(b, 1);
}

enum err pack_zip_end(struct pack_zip *z, uint64_t at)
{
    struct buf *b = &z->central;

    if (b->max == 0)
        buf_init(b, CENTRAL_MAX);
    uint64_t size = b->n;
    unsigned count = z->count < 0xffff ? (unsigned)z->count : 0xffff;
    if (count == 0xffff || size >= U32_MAX || at >= U32_MAX)
        end64(b, z, at, size);
    le32(b, END_SIG);
    le16(b, 0);
    le16(b, 0);
    le16(b, count);
    le16(b, count);
    le32(b, size < U32_MAX ? (uint32_t)size : (uint32_t)U32_MAX);
    le32(b, at < U32_MAX ? (uint32_t)at : (uint32_t)U32_MAX);
    le16(b, 0);
    return buf_err(b);
}
