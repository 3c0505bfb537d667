#include "arc_unzip.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "archive/arc_decode.h"
#include "archive/arc_pack.h"
#include "archive/arc_zip.h"
#include "base/hash.h"
#include "base/mem.h"

enum {
    SIGNATURE = 4,
    CENTRAL = 46,
    END64_HEAD = 12,
    END64_MAX = 64 << 10,
    LOCATOR = 20,
    END = 22,
    DESCRIPTOR_MAX =
        28, /* signature, CRC, two sizes of 8 bytes, and the next record's begin; an end record is long enough for it */
    PART_MAX = CENTRAL + 3 * 65535 + ARC_UNZIP_STEP,
    FLAG_ENCRYPTED = 1,
    FLAG_DESCRIPTOR = 8,
    METHOD_STORED = 0,
    METHOD_DEFLATE = 8,
    EXTRA_64 = 1,
    EXTRA_TIME = 0x5455,
    MODE_LINK = 0120000,
    MODE_TYPE = 0170000,
};
#define U32_MAX UINT64_C(0xffffffff)
#define UNKNOWN UINT64_MAX

enum unzip_state {
    UNZIP_SIGNATURE,
    UNZIP_LOCAL,
    UNZIP_STORED, /* content of a known size */
    UNZIP_SEARCH, /* stored content whose size only its descriptor tells */
    UNZIP_DEFLATE,
    UNZIP_DESCRIPTOR, /* behind deflated content */
    UNZIP_CENTRAL,
    UNZIP_END64,
    UNZIP_LOCATOR,
    UNZIP_END,
    UNZIP_OVER,
};
/* Records come in this order. */
enum unzip_phase { PHASE_LOCAL, PHASE_CENTRAL, PHASE_END64, PHASE_LOCATOR, PHASE_END };

struct arc_unzip {
    struct arc_watch watch;
    enum unzip_state state;
    enum unzip_phase phase;
    struct buf part; /* of the record that is gathered, or of content that may be one */
    size_t want;     /* bytes of it */
    uint64_t at;     /* in the file */
    enum err err;
    char why[ARC_WHY_MAX];
    /* the member */
    struct arc_member member;
    struct buf name;
    uint32_t method;
    bool gives;  /* the watcher is told */
    bool skips;  /* the bytes are passed over: what the header says has to do */
    bool behind; /* a descriptor follows */
    bool crc_known;
    uint64_t stored, size; /* as the header says, or UNKNOWN */
    uint64_t taken, made;  /* so far: of the file, of the content */
    struct hash crc;
    struct arc_decoder *decoder;
    char *out;
    bool more;
    /* the same of all members, in any order */
    uint64_t locals, local_sum, centrals, central_sum;
};

static uint32_t le(const char *p, int n)
{
    uint32_t v = 0;

    for (int i = n; i-- > 0;)
        v = v << 8 | (unsigned char)p[i];
    return v;
}

static uint64_t le64(const char *p)
{
    return le(p, 4) | (uint64_t)le(p + 4, 4) << 32;
}

static enum err refuse(struct arc_unzip *u, const char *what)
{
    snprintf(u->why, sizeof(u->why), "%s at byte %llu", what, (unsigned long long)u->at);
    return ERR_BAD_ARCHIVE;
}

struct arc_unzip *arc_unzip_new(const struct arc_watch *watch)
{
    struct arc_unzip *u = NEW(struct arc_unzip);

    u->watch = *watch;
    u->want = SIGNATURE;
    u->out = mem_alloc(ARC_UNZIP_STEP);
    buf_init(&u->part, PART_MAX);
    buf_init(&u->name, UINT16_MAX);
    return u;
}

void arc_unzip_free(struct arc_unzip *u)
{
    if (!u)
        return;
    arc_decoder_free(u->decoder);
    hash_drop(&u->crc);
    buf_release(&u->part);
    buf_release(&u->name);
    free(u->out);
    free(u);
}

const char *arc_unzip_why(const struct arc_unzip *u)
{
    return u->why;
}

/* ---- members ---- */

static void expect(struct arc_unzip *u, enum unzip_state state, size_t want)
{
    u->state = state;
    u->want = want;
}

/* What both headers of a member must agree about. */
static uint64_t fingerprint(struct str name, uint32_t crc, uint64_t size)
{
    return hash_place(name, (size << 32 | size >> 32) ^ crc);
}

static enum err give(struct arc_unzip *u, const char *p, size_t n)
{
    hash_update(&u->crc, p, n);
    u->made += n;
    return u->gives && n ? u->watch.bytes(u->watch.arg, p, n) : ERR_OK;
}

static uint32_t crc_of(const struct hash *so_far)
{
    struct hash copy = *so_far;
    struct digest d;

    hash_final(&copy, &d);
    return (uint32_t)d.b[0] << 24 | (uint32_t)d.b[1] << 16 | (uint32_t)d.b[2] << 8 | d.b[3];
}

static enum err end_member(struct arc_unzip *u)
{
    uint32_t crc = crc_of(&u->crc);

    if ((u->crc_known && crc != u->member.crc32) || (u->size != UNKNOWN && u->made != u->size))
        return refuse(u, "the content of a member is damaged, and ends");
    u->member.crc32 = crc;
    u->member.size = u->made;
    u->local_sum += fingerprint(buf_str(&u->name), crc, u->made);
    arc_decoder_free(u->decoder);
    u->decoder = NULL;
    expect(u, UNZIP_SIGNATURE, SIGNATURE);
    return u->gives ? u->watch.end(u->watch.arg, &u->member) : ERR_OK;
}

/* MS-DOS has no time zone: taken as UTC. */
static int64_t dos_time(uint32_t time, uint32_t date)
{
    struct tm tm = {.tm_sec = (int)(time & 31) * 2,
                    .tm_min = (int)(time >> 5 & 63),
                    .tm_hour = (int)(time >> 11),
                    .tm_mday = (int)(date & 31),
                    .tm_mon = (int)(date >> 5 & 15) - 1,
                    .tm_year = (int)(date >> 9) + 80};

    return timegm(&tm);
}

static void read_extra(struct str extra, uint64_t *size, uint64_t *stored, int64_t *mtime_s)
{
    while (extra.n >= 4) {
        size_t n = le(extra.p + 2, 2);
        struct str body = str_skip(extra, 4);
        if (n > body.n)
            return;
        body.n = n;
        if (le(extra.p, 2) == EXTRA_64) {
            uint64_t *const wanted[] = {size, stored};
            for (int i = 0; i < 2; i++)
                if (*wanted[i] == U32_MAX && body.n >= 8) {
                    *wanted[i] = le64(body.p);
                    body = str_skip(body, 8);
                }
        } else if (le(extra.p, 2) == EXTRA_TIME && n >= 5 && (body.p[0] & 1) && mtime_s) {
            *mtime_s = (int32_t)le(body.p + 1, 4);
        }
        extra = str_skip(extra, 4 + n);
    }
}

static struct str without_lead(struct str name)
{
    while (name.n && (name.p[0] == '/' || str_starts(name, STR("./"))))
        name = str_skip(name, name.p[0] == '/' ? 1 : 2);
    return name;
}

/* The headers of a file that can't be read, or are of none. */
static enum err judge(struct arc_unzip *u, uint32_t flags)
{
    struct str name = u->member.name;
    const char *what = NULL;

    if (flags & FLAG_ENCRYPTED)
        what = "encrypted file";
    else if (u->method != METHOD_STORED && u->method != METHOD_DEFLATE)
        what = "file of an unknown compression";
    u->gives = !what && arc_name_is_safe(name) && name.p[name.n - 1] != '/';
    if (!what)
        return ERR_OK;
    if (u->stored == UNKNOWN)
        return refuse(u, "a member that can't be read, nor passed over since its size is not told, begins");
    return u->watch.other(u->watch.arg, name, what);
}

static enum err begin_content(struct arc_unzip *u)
{
    hash_init(&u->crc, HASH_CRC32);
    u->taken = u->made = 0;
    u->skips = !u->gives && u->stored != UNKNOWN;
    if (u->skips) {
        u->state = UNZIP_STORED;
    } else if (u->method == METHOD_DEFLATE) {
        u->decoder = arc_decoder_new(ARC_ZIP);
        u->state = UNZIP_DEFLATE;
    } else {
        u->state = u->stored == UNKNOWN ? UNZIP_SEARCH : UNZIP_STORED;
        if (u->size != u->stored)
            return refuse(u, "a stored member with two sizes begins");
    }
    return ERR_OK;
}

static enum err end_stored(struct arc_unzip *u)
{
    if (!u->skips)
        return end_member(u);
    u->local_sum += fingerprint(buf_str(&u->name), u->member.crc32, u->size);
    expect(u, UNZIP_SIGNATURE, SIGNATURE);
    return ERR_OK;
}

/* A local header is whole. */
static enum err take_local(struct arc_unzip *u)
{
    const char *p = u->part.p;
    uint32_t flags = le(p + 6, 2);
    size_t name_n = le(p + 26, 2), extra_n = le(p + 28, 2);
    enum err e;

    if (u->part.n == ZIP_LOCAL && name_n + extra_n) {
        u->want = ZIP_LOCAL + name_n + extra_n;
        return ERR_OK;
    }
    if (u->locals++ == ARC_MEMBERS_MAX)
        return ERR_TOO_LARGE;
    buf_reset(&u->name);
    buf_add(&u->name, p + ZIP_LOCAL, name_n);
    u->method = le(p + 8, 2);
    u->behind = flags & FLAG_DESCRIPTOR;
    u->crc_known = !u->behind;
    u->stored = le(p + 18, 4);
    u->size = le(p + 22, 4);
    u->member = (struct arc_member){.name = without_lead(buf_str(&u->name)),
                                    .crc32 = le(p + 14, 4),
                                    .mtime_s = dos_time(le(p + 10, 2), le(p + 12, 2))};
    read_extra(str_n(p + ZIP_LOCAL + name_n, extra_n), &u->size, &u->stored, &u->member.mtime_s);
    buf_reset(&u->part);
    if (u->behind)
        u->stored = u->size = UNKNOWN;
    u->member.size = u->size;
    if ((e = judge(u, flags)) != ERR_OK || (e = begin_content(u)) != ERR_OK)
        return e;
    if (u->gives && (e = u->watch.begin(u->watch.arg, &u->member, u->crc_known)) != ERR_OK)
        return e;
    return u->state == UNZIP_STORED && u->stored == 0 ? end_stored(u) : ERR_OK;
}

static enum err feed_stored(struct arc_unzip *u, const char *p, size_t n, size_t *used)
{
    uint64_t left = u->stored - u->taken;
    size_t part = n < left ? n : (size_t)left;
    enum err e = ERR_OK;

    if (part > ARC_UNZIP_STEP)
        part = ARC_UNZIP_STEP;
    if (!u->skips)
        e = give(u, p, part);
    u->taken += part;
    *used = part;
    return e == ERR_OK && u->taken == u->stored ? end_stored(u) : e;
}

static enum err feed_deflate(struct arc_unzip *u, const char *p, size_t n, size_t *used)
{
    struct arc_decode_io io = {.in = p, .in_n = n, .out = u->out, .out_n = ARC_UNZIP_STEP};
    enum err e;

    if (u->stored != UNKNOWN && n > u->stored - u->taken)
        io.in_n = (size_t)(u->stored - u->taken);
    if (arc_decoder_run(u->decoder, &io) != ERR_OK)
        return refuse(u, "the compressed content of a member is damaged");
    *used = io.in_used;
    u->taken += io.in_used;
    u->more = !io.frame_ended && io.out_made == io.out_n;
    if (u->size != UNKNOWN && io.out_made > u->size - u->made)
        return refuse(u, "a member is longer than it says");
    if ((e = give(u, u->out, io.out_made)) != ERR_OK)
        return e;
    if (!io.frame_ended)
        return u->taken == u->stored && !u->more && io.out_made == 0 && io.in_used == 0
                   ? refuse(u, "the compressed content of a member is cut off")
                   : ERR_OK;
    if (u->stored != UNKNOWN && u->taken != u->stored)
        return refuse(u, "the compressed content of a member is shorter than it says");
    if (u->behind) {
        expect(u, UNZIP_DESCRIPTOR, DESCRIPTOR_MAX);
        return ERR_OK;
    }
    return end_member(u);
}

static bool fits(const struct arc_unzip *u, const char *p, uint64_t stored, int width)
{
    uint64_t a = width == 8 ? le64(p + 4) : le(p + 4, 4), b = width == 8 ? le64(p + 12) : le(p + 8, 4);

    return le(p, 4) == crc_of(&u->crc) && a == stored && b == u->made && memcmp(p + 4 + 2 * width, "PK", 2) == 0;
}

/* Bytes of the descriptor at p (DESCRIPTOR_MAX are there) that fits what was read; 0: it is none. */
static size_t match_descriptor(const struct arc_unzip *u, const char *p, bool must_sign, uint64_t stored)
{
    bool signature = memcmp(p, "PK\7\10", SIGNATURE) == 0;

    if (signature && fits(u, p + SIGNATURE, stored, 4))
        return SIGNATURE + 12;
    if (signature && fits(u, p + SIGNATURE, stored, 8))
        return SIGNATURE + 20;
    if (must_sign)
        return 0;
    return fits(u, p, stored, 4) ? 12 : fits(u, p, stored, 8) ? 20 : 0;
}

static enum err take_descriptor(struct arc_unzip *u)
{
    size_t n = match_descriptor(u, u->part.p, false, u->taken);

    if (n == 0)
        return refuse(u, "what stands behind a member's content does not fit it");
    buf_consume(&u->part, n);
    return end_member(u);
}

/* Content is held back as long as it may be the begin of a descriptor. */
static enum err feed_search(struct arc_unzip *u, const char *p, size_t n, size_t *used)
{
    size_t at, end;
    enum err e;

    *used = n < ARC_UNZIP_STEP ? n : ARC_UNZIP_STEP;
    buf_add(&u->part, p, *used);
    for (;;) {
        at = str_find(buf_str(&u->part), STR("PK\7\10"));
        end = at != SIZE_MAX ? at : u->part.n > SIGNATURE - 1 ? u->part.n - (SIGNATURE - 1) : 0;
        if ((e = give(u, u->part.p, end)) != ERR_OK)
            return e;
        buf_consume(&u->part, end);
        if (at == SIZE_MAX || u->part.n < DESCRIPTOR_MAX)
            return ERR_OK;
        size_t found = match_descriptor(u, u->part.p, true, u->made);
        if (found) {
            buf_consume(&u->part, found);
            size_t back = u->part.n < *used ? u->part.n : *used;
            u->part.n -= back; /* what does not belong to it is the next record's */
            *used -= back;
            u->more = true;
            return end_member(u);
        }
        if ((e = give(u, u->part.p, 1)) != ERR_OK)
            return e;
        buf_consume(&u->part, 1);
    }
}

/* ---- what follows the members ---- */

static enum err take_central(struct arc_unzip *u)
{
    const char *p = u->part.p;
    size_t name_n = le(p + 28, 2), extra_n = le(p + 30, 2), rest = name_n + extra_n + le(p + 32, 2);
    uint64_t stored = le(p + 20, 4), size = le(p + 24, 4);

    if (u->want == CENTRAL && rest) {
        u->want = CENTRAL + rest;
        return ERR_OK;
    }
    if (u->centrals++ == u->locals)
        return refuse(u, "the central directory has more members than there are");
    struct str name = str_n(p + CENTRAL, name_n);
    read_extra(str_n(p + CENTRAL + name_n, extra_n), &size, &stored, NULL);
    u->central_sum += fingerprint(name, le(p + 16, 4), size);
    bool link = (le(p + 38, 4) >> 16 & MODE_TYPE) == MODE_LINK;
    enum err e = link ? u->watch.other(u->watch.arg, without_lead(name), "symbolic link") : ERR_OK;
    buf_consume(&u->part, u->want);
    expect(u, UNZIP_SIGNATURE, SIGNATURE);
    return e;
}

static enum err take_end64(struct arc_unzip *u)
{
    uint64_t n = le64(u->part.p + 4);

    if (u->want == END64_HEAD) {
        if (n > END64_MAX)
            return refuse(u, "an end record is too long");
        u->want = END64_HEAD + (size_t)n;
        if (n)
            return ERR_OK;
    }
    buf_consume(&u->part, u->want);
    expect(u, UNZIP_SIGNATURE, SIGNATURE);
    return ERR_OK;
}

static enum err take_locator(struct arc_unzip *u)
{
    buf_consume(&u->part, u->want);
    expect(u, UNZIP_SIGNATURE, SIGNATURE);
    return ERR_OK;
}

static enum err take_end(struct arc_unzip *u)
{
    size_t comment = le(u->part.p + 20, 2), count = le(u->part.p + 10, 2);

    if (u->want == END && comment) {
        u->want = END + comment;
        return ERR_OK;
    }
    if (u->centrals != u->locals || u->central_sum != u->local_sum ||
        (count != (u->locals & 0xffff) && count != 0xffff))
        return refuse(u, "the central directory and the members in front of it differ: the end is");
    buf_consume(&u->part, u->want);
    u->state = UNZIP_OVER;
    return ERR_OK;
}

static enum err take_signature(struct arc_unzip *u)
{
    static const struct {
        const char *bytes;
        enum unzip_state state;
        size_t want;
        enum unzip_phase phase;
    } records[] = {{"PK\3\4", UNZIP_LOCAL, ZIP_LOCAL, PHASE_LOCAL},
                   {"PK\1\2", UNZIP_CENTRAL, CENTRAL, PHASE_CENTRAL},
                   {"PK\6\6", UNZIP_END64, END64_HEAD, PHASE_END64},
                   {"PK\6\7", UNZIP_LOCATOR, LOCATOR, PHASE_LOCATOR},
                   {"PK\5\6", UNZIP_END, END, PHASE_END}};

    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
        if (memcmp(u->part.p, records[i].bytes, SIGNATURE) != 0 || records[i].phase < u->phase)
            continue;
        u->phase = records[i].phase;
        expect(u, records[i].state, records[i].want);
        return ERR_OK;
    }
    return refuse(u, "there is no record of a ZIP file");
}

/* The record that was wanted is there. */
static enum err take_record(struct arc_unzip *u)
{
    switch (u->state) {
    case UNZIP_SIGNATURE:
        return take_signature(u);
    case UNZIP_LOCAL:
        return take_local(u);
    case UNZIP_DESCRIPTOR:
        return take_descriptor(u);
    case UNZIP_CENTRAL:
        return take_central(u);
    case UNZIP_END64:
        return take_end64(u);
    case UNZIP_LOCATOR:
        return take_locator(u);
    case UNZIP_END:
        return take_end(u);
    case UNZIP_STORED:
    case UNZIP_SEARCH:
    case UNZIP_DEFLATE:
    case UNZIP_OVER:
        break;
    }
    return ERR_INTERNAL;
}

/* Zeros may fill up the file. */
static enum err feed_rest(struct arc_unzip *u, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return refuse(u, "something follows the end of the ZIP file");
    return ERR_OK;
}

static enum err feed_record(struct arc_unzip *u, const char *p, size_t n, size_t *used)
{
    size_t missing = u->part.n < u->want ? u->want - u->part.n : 0;
    enum err e = ERR_OK;

    *used = n < missing ? n : missing;
    buf_add(&u->part, p, *used);
    if (u->part.n >= u->want) {
        e = take_record(u);
        u->more = true;
    }
    return e;
}

static enum err feed_state(struct arc_unzip *u, const char *p, size_t n, size_t *used)
{
    switch (u->state) {
    case UNZIP_STORED:
        return feed_stored(u, p, n, used);
    case UNZIP_SEARCH:
        return feed_search(u, p, n, used);
    case UNZIP_DEFLATE:
        return feed_deflate(u, p, n, used);
    case UNZIP_OVER:
        *used = n;
        return feed_rest(u, p, n);
    case UNZIP_SIGNATURE:
    case UNZIP_LOCAL:
    case UNZIP_DESCRIPTOR:
    case UNZIP_CENTRAL:
    case UNZIP_END64:
    case UNZIP_LOCATOR:
    case UNZIP_END:
        break;
    }
    return feed_record(u, p, n, used);
}

enum err arc_unzip_feed(struct arc_unzip *u, const char *p, size_t n, size_t *used, bool *more)
{
    *used = 0;
    u->more = false;
    if (u->err != ERR_OK)
        return u->err;
    u->err = feed_state(u, p, n, used);
    u->at += *used;
    *more = u->more;
    return u->err;
}

enum err arc_unzip_end(struct arc_unzip *u)
{
    if (u->err != ERR_OK)
        return u->err;
    if (u->state == UNZIP_OVER && u->part.n)
        return u->err = feed_rest(u, u->part.p, u->part.n);
    return u->state == UNZIP_OVER ? ERR_OK : (u->err = refuse(u, "the ZIP file is cut off"));
}
