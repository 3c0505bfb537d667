#include "arc_scan.h"

#include <stdio.h>
#include <stdlib.h>

#include "archive/arc_decode.h"
#include "archive/arc_lz4.h"
#include "archive/arc_pack.h"
#include "base/hash.h"
#include "base/mem.h"

enum { BLOCK = 512, EXTRA_MAX = 1 << 20, OUT_BYTES = 256 << 10, RESTART_MIN = 64 << 10 };
#define FREE_BYTES (UINT64_C(1) << 30) /* that an archive may unpack to, however small it is */
#define SIZE_BOUND (UINT64_C(1) << 62)

enum scan_state {
    SCAN_HEAD,    /* a header block is gathered */
    SCAN_EXTRA,   /* the content of a pax header or long name */
    SCAN_CONTENT, /* of a member */
    SCAN_SKIP,    /* padding, or content of what is no member */
    SCAN_SPARSE,  /* further blocks of a GNU sparse map */
    SCAN_ENDED,   /* the trailer was met */
};

/* What pax headers and long names say about the next entry. */
struct extra {
    struct buf path; /* n == 0: the header's own */
    bool has_size, has_mtime, sparse;
    uint64_t size;
    int64_t mtime_s;
};

struct arc_scan {
    enum arc_format format;
    bool watched;
    struct arc_watch watch; /* then there is no building */
    uint32_t seen;          /* members */
    struct arc_building *building;
    struct arc_decoder *decoder; /* NULL: plain */
    char *out;
    uint64_t fed, made; /* bytes of the object, of the TAR */
    uint64_t restart;   /* the last restart point, in the TAR */
    bool has_border;    /* one that is noted when more is unpacked from it */
    struct arc_restart border;
    struct arc_lz4_walk walk;
    enum err err;
    char why[ARC_WHY_MAX];
    /* the TAR */
    enum scan_state state, after_skip;
    char block[BLOCK];
    size_t block_n;
    uint64_t at;       /* in the TAR */
    uint64_t entry_at; /* where the headers of the entry begin */
    bool has_entry;    /* one of them was met */
    uint64_t left;     /* of what the state is about */
    uint64_t padding;  /* that follows */
    char extra_type;
    struct buf extra_bytes, name;
    struct extra extra;
    bool has_mtime; /* a global pax header's */
    int64_t mtime_s;
    struct arc_member member;
    struct hash crc;
    uint64_t end;
};

static enum err refuse(struct arc_scan *s, enum err e, const char *what)
{
    if (s->err == ERR_OK)
        snprintf(s->why, sizeof(s->why), "%s at byte %llu", what, (unsigned long long)s->at);
    return s->err = e;
}

struct arc_scan *arc_scan_new(enum arc_format format)
{
    struct arc_scan *s = NEW(struct arc_scan);

    s->format = format;
    s->building = arc_building_new(format);
    if (format != ARC_TAR) {
        s->decoder = arc_decoder_new(format);
        s->out = mem_alloc(OUT_BYTES);
        (void)!arc_building_restart(s->building, 0, 0);
    }
    buf_init(&s->extra_bytes, EXTRA_MAX);
    buf_init(&s->name, EXTRA_MAX);
    buf_init(&s->extra.path, EXTRA_MAX);
    return s;
}

void arc_scan_free(struct arc_scan *s)
{
    if (!s)
        return;
    arc_building_free(s->building);
    arc_decoder_free(s->decoder);
    free(s->out);
    buf_release(&s->extra_bytes);
    buf_release(&s->name);
    buf_release(&s->extra.path);
    hash_drop(&s->crc);
    free(s);
}

void arc_scan_watch(struct arc_scan *s, const struct arc_watch *watch)
{
    s->watch = *watch;
    s->watched = true;
    arc_building_free(s->building);
    s->building = NULL;
}

const char *arc_scan_why(const struct arc_scan *s)
{
    return s->why;
}

/* ---- header blocks ---- */

/* Octal with spaces or NULs around it, or base-256. False: neither, or negative, or too large. */
static bool number(const char *p, size_t n, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;

    if ((unsigned char)p[0] & 0x80) {
        if ((unsigned char)p[0] != 0x80)
            return false;
        for (i = 1; i < n; i++) {
            if (v >= SIZE_BOUND >> 8)
                return false;
            v = v << 8 | (unsigned char)p[i];
        }
        *out = v;
        return true;
    }
    while (i < n && p[i] == ' ')
        i++;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
        v = v * 8 + (uint64_t)(p[i] - '0');
    for (; i < n; i++)
        if (p[i] != ' ' && p[i] != '\0')
            return false;
    *out = v;
    return true;
}

static bool is_zero(const char *block)
{
    for (size_t i = 0; i < BLOCK; i++)
        if (block[i])
            return false;
    return true;
}

/* Old programs added signed bytes: each of 128 and more counts 256 less. The field itself counts as spaces. Plain loops, one for each
 * sum: they are made of vector instructions, and this is most of what a small member costs. */
static bool sum_is_right(const char *block)
{
    const unsigned char *p = (const unsigned char *)block;
    uint32_t sum = 8 * ' ', high = 0;
    uint64_t said;

    for (int i = 0; i < BLOCK; i++)
        sum += p[i];
    for (int i = 0; i < BLOCK; i++)
        high += p[i] >> 7;
    for (int i = 148; i < 156; i++) {
        sum -= p[i];
        high -= p[i] >> 7;
    }
    return number(block + 148, 8, &said) && (said == sum || (int64_t)said == (int64_t)sum - 256 * (int64_t)high);
}

static struct str field(const char *p, size_t n)
{
    return str_n(p, strnlen(p, n));
}

/* The entry's name into s->name, without what leads to the root or here. */
static void take_name(struct arc_scan *s)
{
    struct str name = field(s->block, 100), prefix = field(s->block + 345, 155);

    buf_reset(&s->name);
    if (s->extra.path.n) {
        buf_add_str(&s->name, buf_str(&s->extra.path));
    } else {
        if (memcmp(s->block + 257, "ustar\0", 6) == 0 && prefix.n) {
            buf_add_str(&s->name, prefix);
            buf_add_char(&s->name, '/');
        }
        buf_add_str(&s->name, name);
    }
    s->member.name = buf_str(&s->name);
    for (;;) {
        if (str_starts(s->member.name, STR("/")))
            s->member.name = str_skip(s->member.name, 1);
        else if (str_starts(s->member.name, STR("./")))
            s->member.name = str_skip(s->member.name, 2);
        else
            break;
    }
}

static void forget_extra(struct arc_scan *s)
{
    struct buf path = s->extra.path;

    buf_reset(&path);
    s->extra = (struct extra){.path = path};
    s->has_entry = false;
}

static void skip(struct arc_scan *s, uint64_t n)
{
    s->left = n;
    s->state = n ? SCAN_SKIP : SCAN_HEAD;
    s->after_skip = SCAN_HEAD;
}

static bool is_extra(char type)
{
    return type == 'x' || type == 'g' || type == 'L' || type == 'K' || type == 'X';
}

static enum err begin_extra(struct arc_scan *s, char type, uint64_t size)
{
    if (size > EXTRA_MAX)
        return refuse(s, ERR_BAD_ARCHIVE, "a pax header or long name of more than 1 MiB");
    s->extra_type = type;
    buf_reset(&s->extra_bytes);
    s->left = size;
    s->padding = arc_tar_padding(size);
    s->state = size ? SCAN_EXTRA : SCAN_HEAD;
    return ERR_OK;
}

static enum err begin_member(struct arc_scan *s, uint64_t size)
{
    uint64_t mtime = 0;

    s->member.head = s->entry_at;
    s->member.offset = s->at;
    s->member.size = s->member.stored = size;
    s->member.next = s->at + size + arc_tar_padding(size);
    s->member.mtime_s = number(s->block + 136, 12, &mtime) && mtime < SIZE_BOUND ? (int64_t)mtime : 0;
    if (s->has_mtime)
        s->member.mtime_s = s->mtime_s;
    if (s->extra.has_mtime)
        s->member.mtime_s = s->extra.mtime_s;
    hash_init(&s->crc, HASH_CRC32);
    s->left = size;
    s->state = SCAN_CONTENT;
    return s->watched ? s->watch.begin(s->watch.arg, &s->member, false) : ERR_OK;
}

/* Keeps it in the index, or tells that it was whole. */
static enum err add_member(struct arc_scan *s)
{
    if (!s->watched)
        return arc_building_add(s->building, &s->member);
    if (s->seen++ == ARC_MEMBERS_MAX)
        return ERR_TOO_LARGE;
    return s->watch.end(s->watch.arg, &s->member);
}

/* What has a name but is no member; `what`: why a file is none, NULL: it is no file. */
static enum err leave_out(struct arc_scan *s, const char *what)
{
    if (s->watched)
        return what ? s->watch.other(s->watch.arg, s->member.name, what) : ERR_OK;
    arc_building_left_out(s->building);
    return ERR_OK;
}

static enum err end_member(struct arc_scan *s)
{
    struct digest crc;
    enum err e;

    hash_final(&s->crc, &crc);
    s->crc.alg = HASH_NONE;
    s->member.crc32 = (uint32_t)crc.b[0] << 24 | (uint32_t)crc.b[1] << 16 | (uint32_t)crc.b[2] << 8 | crc.b[3];
    if ((e = add_member(s)) != ERR_OK)
        return e == ERR_TOO_LARGE ? refuse(s, e, "more members or names than an index holds") : e;
    forget_extra(s);
    skip(s, arc_tar_padding(s->member.size));
    return ERR_OK;
}

/* A GNU sparse file: its map may go on in further blocks, then come the pieces. */
static enum err begin_sparse(struct arc_scan *s, uint64_t size)
{
    enum err e = leave_out(s, "sparse file");

    forget_extra(s);
    if (s->block[482]) {
        s->padding = size + arc_tar_padding(size); /* kept for after the map */
        s->left = BLOCK;
        s->state = SCAN_SPARSE;
        s->block_n = 0;
        return e;
    }
    skip(s, size + arc_tar_padding(size));
    return e;
}

static enum err begin_entry(struct arc_scan *s, char type, uint64_t size)
{
    bool regular = type == '0' || type == '\0' || type == '7', has_content = regular || type < '0' || type > '7';

    enum err e;

    take_name(s);
    if (type == 'S')
        return begin_sparse(s, size);
    if (!regular || s->extra.sparse || s->name.over || !arc_name_is_safe(s->member.name) ||
        s->member.name.p[s->member.name.n - 1] == '/') {
        e = leave_out(s, type == '1' ? "hard link" : regular && s->extra.sparse ? "sparse file" : NULL);
        forget_extra(s);
        skip(s, has_content ? size + arc_tar_padding(size) : 0);
        return e;
    }
    e = begin_member(s, size);
    return e == ERR_OK && size == 0 ? end_member(s) : e;
}

static enum err take_head(struct arc_scan *s)
{
    uint64_t size;
    char type = s->block[156];

    s->block_n = 0;
    if (is_zero(s->block)) {
        s->end = s->has_entry ? s->entry_at : s->at - BLOCK;
        s->state = SCAN_ENDED;
        return ERR_OK;
    }
    if (!sum_is_right(s->block))
        return refuse(s, ERR_BAD_ARCHIVE, "a header whose checksum is wrong ends");
    if (!s->has_entry && type != 'g') { /* a global header belongs to no entry: it stays when one goes */
        s->entry_at = s->at - BLOCK;
        s->has_entry = true;
    }
    if (!number(s->block + 124, 12, &size) || size >= SIZE_BOUND)
        return refuse(s, ERR_BAD_ARCHIVE, "a header with an impossible size ends");
    if (is_extra(type))
        return begin_extra(s, type, size);
    if (s->extra.has_size)
        size = s->extra.size;
    return begin_entry(s, type, size);
}

/* ---- pax headers: "LENGTH KEY=VALUE\n" ---- */

static bool take_mtime(struct str value, int64_t *out)
{
    uint64_t n;

    if (!str_to_u64(str_split(&value, '.'), INT64_MAX / 2, &n))
        return false;
    *out = (int64_t)n;
    return true;
}

/* About all that follow. Names and sizes there are as unusual as ambiguous: programs disagree. */
static bool take_global(struct arc_scan *s, struct str key, struct str value)
{
    if (str_eq(key, STR("mtime")))
        s->has_mtime = take_mtime(value, &s->mtime_s);
    return !str_eq(key, STR("path")) && !str_eq(key, STR("size")) && !str_starts(key, STR("GNU.sparse."));
}

static bool take_record(struct arc_scan *s, struct str key, struct str value)
{
    uint64_t n;

    if (s->extra_type == 'g')
        return take_global(s, key, value);
    if (str_eq(key, STR("path")) || str_eq(key, STR("GNU.sparse.name"))) {
        buf_reset(&s->extra.path);
        buf_add_str(&s->extra.path, value);
    } else if (str_eq(key, STR("size"))) {
        if (!str_to_u64(value, SIZE_BOUND - 1, &n))
            return false;
        s->extra.has_size = true;
        s->extra.size = n;
    } else if (str_eq(key, STR("mtime"))) {
        s->extra.has_mtime = take_mtime(value, &s->extra.mtime_s);
    }
    s->extra.sparse = s->extra.sparse || str_starts(key, STR("GNU.sparse."));
    return true;
}

static enum err take_pax(struct arc_scan *s)
{
    struct str rest = buf_str(&s->extra_bytes);

    while (rest.n && rest.p[0]) {
        size_t space = str_find_char(rest, ' ');
        uint64_t n;
        if (space == SIZE_MAX || !str_to_u64(str_n(rest.p, space), rest.n, &n) || n < space + 3 ||
            rest.p[n - 1] != '\n')
            return refuse(s, ERR_BAD_ARCHIVE, "a malformed pax header ends");
        struct str value = str_n(rest.p + space + 1, (size_t)n - space - 2), key = str_split(&value, '=');
        if (!take_record(s, key, value))
            return refuse(s, ERR_BAD_ARCHIVE, "a pax header with an impossible size, or one for all entries, ends");
        rest = str_skip(rest, (size_t)n);
    }
    return ERR_OK;
}

static enum err take_extra(struct arc_scan *s)
{
    enum err e = ERR_OK;

    if (s->extra_type == 'L') {
        struct str name = field(s->extra_bytes.p, s->extra_bytes.n);
        buf_reset(&s->extra.path);
        buf_add_str(&s->extra.path, name);
    } else if (s->extra_type != 'K') {
        e = take_pax(s);
    }
    skip(s, s->padding);
    return e;
}

/* ---- feeding ---- */

/* Bytes of the input for what is being gathered or passed over. */
static size_t portion(const struct arc_scan *s, size_t n)
{
    uint64_t want = s->state == SCAN_HEAD || s->state == SCAN_SPARSE ? BLOCK - s->block_n : s->left;

    return s->state == SCAN_ENDED || n < want ? n : (size_t)want;
}

static enum err take_content(struct arc_scan *s, const char *p, size_t n)
{
    enum err e = s->watched ? s->watch.bytes(s->watch.arg, p, n) : ERR_OK;

    hash_update(&s->crc, p, n);
    s->left -= n;
    return e == ERR_OK && s->left == 0 ? end_member(s) : e;
}

static enum err step(struct arc_scan *s, const char *p, size_t n)
{
    s->at += n;
    switch (s->state) {
    case SCAN_HEAD:
        memcpy(s->block + s->block_n, p, n);
        s->block_n += n;
        return s->block_n == BLOCK ? take_head(s) : ERR_OK;
    case SCAN_SPARSE:
        memcpy(s->block + s->block_n, p, n);
        s->block_n += n;
        if (s->block_n == BLOCK) {
            s->block_n = 0;
            if (!s->block[504])
                skip(s, s->padding);
        }
        return ERR_OK;
    case SCAN_EXTRA:
        buf_add(&s->extra_bytes, p, n);
        s->left -= n;
        return s->left ? ERR_OK : take_extra(s);
    case SCAN_CONTENT:
        return take_content(s, p, n);
    case SCAN_SKIP:
        s->left -= n;
        if (s->left == 0)
            s->state = SCAN_HEAD;
        return ERR_OK;
    case SCAN_ENDED:
        return ERR_OK;
    }
    return ERR_OK;
}

static enum err feed_tar(struct arc_scan *s, const char *p, size_t n)
{
    enum err e = ERR_OK;

    while (n && e == ERR_OK) {
        size_t part = portion(s, n);
        e = step(s, p, part);
        p += part;
        n -= part;
    }
    return e;
}

/* A place where unpacking could begin, told once more is unpacked from there. */
static enum err note_border(struct arc_scan *s)
{
    enum err e = ERR_OK;

    s->has_border = false;
    if (s->border.offset - s->restart < RESTART_MIN)
        return ERR_OK;
    s->restart = s->border.offset;
    e = arc_building_restart(s->building, s->border.at, s->border.offset);
    return e == ERR_OK ? e : refuse(s, e, "more places to begin at than an index holds");
}

static void take_border(struct arc_scan *s)
{
    s->has_border = true;
    s->border = (struct arc_restart){s->fed, s->made};
}

static enum err feed_piece(struct arc_scan *s, const char *p, size_t n)
{
    struct arc_decode_io io = {.in = p, .in_n = n};
    enum err e = ERR_OK;

    do {
        io = (struct arc_decode_io){.in = p, .in_n = n, .out = s->out, .out_n = OUT_BYTES};
        if (arc_decoder_run(s->decoder, &io) != ERR_OK)
            return refuse(s, ERR_BAD_ARCHIVE, "the compressed stream is damaged, unpacked");
        p += io.in_used;
        n -= io.in_used;
        if (s->has_border && io.out_made)
            e = note_border(s);
        s->fed += io.in_used;
        s->made += io.out_made;
        if (s->made > FREE_BYTES && (s->made - FREE_BYTES) / ARC_RATIO_MAX > s->fed)
            return refuse(s, ERR_TOO_LARGE, "the archive unpacks to far more than its size");
        if (e == ERR_OK)
            e = feed_tar(s, s->out, io.out_made);
        if (io.frame_ended)
            take_border(s);
    } while (e == ERR_OK && (io.in_used || io.out_made));
    return e;
}

static enum err feed_coded(struct arc_scan *s, const char *p, size_t n)
{
    enum err e = ERR_OK;

    while (n && e == ERR_OK) {
        bool border = false;
        size_t part = s->format == ARC_TAR_LZ4 ? arc_lz4_walk(&s->walk, p, n, &border) : n;
        e = feed_piece(s, p, part);
        if (border && !(s->has_border && s->border.offset == s->made))
            take_border(s);
        p += part;
        n -= part;
    }
    return e;
}

enum err arc_scan_feed(struct arc_scan *s, const void *p, size_t n)
{
    if (s->err != ERR_OK)
        return s->err;
    if (s->decoder)
        return s->err = feed_coded(s, p, n);
    s->fed += n;
    return s->err = feed_tar(s, p, n);
}

enum err arc_scan_end(struct arc_scan *s, struct arc_index **out)
{
    if (s->err != ERR_OK)
        return s->err;
    if (s->decoder && !arc_decoder_is_whole(s->decoder))
        return refuse(s, ERR_BAD_ARCHIVE, "the compressed stream ends too early, unpacked");
    /* without a trailer, but between two members: other programs read it, too */
    if (s->state == SCAN_HEAD && s->block_n == 0 && !s->has_entry && s->at > 0)
        s->end = s->at;
    else if (s->state != SCAN_ENDED)
        return refuse(s, ERR_BAD_ARCHIVE, s->at ? "the archive is cut off" : "the archive is empty");
    if (s->watched)
        return ERR_OK;
    *out = arc_building_seal(s->building, s->end);
    s->building = NULL;
    return ERR_OK;
}
