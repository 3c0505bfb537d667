#include "arc_convert.h"

#include <stdio.h>
#include <stdlib.h>

#include "archive/arc_pack_own.h"
#include "archive/arc_scan.h"
#include "archive/arc_unzip.h"
#include "base/mem.h"

enum {
    PLAIN = 64 << 10, /* of what was decompressed */
    STEP = 16 << 10,  /* bytes of a TAR that are taken at a time: what becomes of them stays small */
    OUT_MAX = ARC_HELD_MAX + (1 << 20),
};
#define U32_MAX UINT64_C(0xffffffff)

struct convert {
    struct arc_coder coder;
    enum arc_format format; /* ARC_NONE: one member */
    char why[ARC_WHY_MAX];
    /* in */
    bool begun;
    char head[ARC_MAGIC_BYTES]; /* first bytes, until they tell what it is */
    size_t head_n, head_at;
    struct arc_coder *decoder; /* NULL: not compressed */
    char *plain;
    size_t plain_n, plain_at;
    bool plain_ended;
    struct arc_scan *scan; /* one of the two */
    struct arc_unzip *unzip;
    bool more; /* it has some without input */
    /* out */
    struct buf out;
    size_t out_at;
    uint64_t made; /* bytes put into `out` before what is there now */
    bool over;
    struct pack_zip zip;
    struct pack_zip_item item;
    struct buf held; /* content of a member whose size is not known */
    bool holds;
    /* one member */
    char *wanted;
    bool takes, found;
};

static enum err refuse(struct convert *c, enum err e, const char *what, struct str name)
{
    snprintf(c->why, sizeof(c->why), "%s: %.*s", what, name.n < 80 ? (int)name.n : 80, name.n ? name.p : "");
    return e;
}

/* ---- out: what the reader tells about members ---- */

static void pad(struct buf *b, uint64_t n)
{
    char *p = buf_reserve(b, (size_t)n);

    if (p) {
        memset(p, 0, (size_t)n);
        buf_commit(b, (size_t)n);
    }
}

static uint64_t position(const struct convert *c)
{
    return c->made + c->out.n;
}

static enum err begin_zip(struct convert *c, const struct arc_member *m, bool crc_known)
{
    c->item = (struct pack_zip_item){.name = m->name,
                                     .size = m->size == UINT64_MAX ? 0 : m->size,
                                     .at = position(c),
                                     .mtime_s = m->mtime_s,
                                     .crc = m->crc32,
                                     .crc_known = crc_known};
    return pack_zip_head(&c->out, &c->item);
}

static enum err on_begin(void *arg, const struct arc_member *m, bool crc_known)
{
    struct convert *c = arg;

    if (c->format == ARC_NONE) {
        c->takes = !c->found && str_eq(m->name, str_z(c->wanted));
        c->found |= c->takes;
        return ERR_OK;
    }
    if (c->format == ARC_ZIP)
        return begin_zip(c, m, crc_known);
    c->holds = m->size == UINT64_MAX;
    return c->holds ? ERR_OK : arc_tar_head(&c->out, m->name, m->size, m->mtime_s);
}

static enum err on_bytes(void *arg, const char *p, size_t n)
{
    struct convert *c = arg;

    if (c->format == ARC_NONE && !c->takes)
        return ERR_OK;
    buf_add(c->holds ? &c->held : &c->out, p, n);
    if (c->held.over)
        return refuse(c, ERR_TOO_LARGE, "too large a member for a ZIP that tells its size only behind it", STR(""));
    return buf_err(&c->out);
}

static enum err end_zip(struct convert *c, const struct arc_member *m)
{
    c->item.name = m->name;
    c->item.crc = m->crc32;
    if (c->item.size != m->size && m->size >= U32_MAX)
        return refuse(c, ERR_TOO_LARGE, "4 GiB or more whose size the ZIP tells only behind it", m->name);
    c->item.size = m->size;
    return pack_zip_tail(&c->zip, &c->out, &c->item);
}

static enum err on_end(void *arg, const struct arc_member *m)
{
    struct convert *c = arg;
    enum err e = ERR_OK;

    if (c->format == ARC_NONE) {
        c->over |= c->takes;
        c->takes = false;
        return ERR_OK;
    }
    if (c->format == ARC_ZIP)
        return end_zip(c, m);
    if (c->holds) {
        e = arc_tar_head(&c->out, m->name, m->size, m->mtime_s);
        buf_add_str(&c->out, buf_str(&c->held));
        buf_reset(&c->held);
        c->holds = false;
    }
    pad(&c->out, arc_tar_padding(m->size));
    return e == ERR_OK ? buf_err(&c->out) : e;
}

/* Converting would lose it. */
static enum err on_other(void *arg, struct str name, const char *what)
{
    struct convert *c = arg;
    char text[64];

    if (c->format == ARC_NONE && !str_eq(name, str_z(c->wanted)))
        return ERR_OK;
    snprintf(text, sizeof(text), "the archive has a %s", what);
    return refuse(c, ERR_NOT_IMPLEMENTED, text, name);
}

static enum err end_archive(struct convert *c)
{
    c->over = true;
    if (c->format == ARC_NONE)
        return refuse(c, ERR_NO_SUCH_MEMBER, "the archive has no such member", str_z(c->wanted));
    if (c->format == ARC_TAR) {
        pad(&c->out, ARC_TAR_TRAILER);
        return buf_err(&c->out);
    }
    enum err e = pack_zip_end(&c->zip, position(c));
    if (c->out.n == c->out_at) { /* else it is the next piece */
        struct buf spare = c->out;
        c->out = c->zip.central;
        c->out_at = 0;
        c->zip.central = spare;
    }
    return e;
}

/* ---- in ---- */

static void open_reader(struct convert *c)
{
    const struct arc_watch watch = {c, on_begin, on_bytes, on_end, on_other};
    struct str head = str_n(c->head, c->head_n);
    enum arc_codec codec = arc_codec_of_magic(head);

    c->begun = true;
    if (arc_format_of_magic(head) == ARC_ZIP) {
        c->unzip = arc_unzip_new(&watch);
        return;
    }
    c->scan = arc_scan_new(ARC_TAR);
    arc_scan_watch(c->scan, &watch);
    if (codec == ARC_CODEC_NONE)
        return;
    c->decoder = arc_decompressor(codec, false);
    c->plain = mem_alloc(PLAIN);
}

static enum err feed_reader(struct convert *c, const char *p, size_t n, size_t *used)
{
    enum err e;

    if (c->unzip) {
        e = arc_unzip_feed(c->unzip, p, n, used, &c->more);
    } else {
        *used = n < STEP ? n : STEP;
        e = arc_scan_feed(c->scan, p, *used);
    }
    if (e != ERR_OK && !c->why[0])
        snprintf(c->why, sizeof(c->why), "%s", c->unzip ? arc_unzip_why(c->unzip) : arc_scan_why(c->scan));
    return e;
}

static enum err end_reader(struct convert *c)
{
    struct arc_index *none = NULL;
    enum err e = c->unzip ? arc_unzip_end(c->unzip) : arc_scan_end(c->scan, &none);

    if (e != ERR_OK && !c->why[0])
        snprintf(c->why, sizeof(c->why), "%s", c->unzip ? arc_unzip_why(c->unzip) : arc_scan_why(c->scan));
    return e != ERR_OK ? e : end_archive(c);
}

/* The input as it comes: first what was kept of it. */
static void take_input(struct convert *c, struct arc_coder_io *io, const char **p, size_t *n, bool *ended)
{
    bool head = c->head_at < c->head_n;

    *p = head ? c->head + c->head_at : io->in + io->in_used;
    *n = head ? c->head_n - c->head_at : io->in_n - io->in_used;
    *ended = io->in_ended && (!head || io->in_used == io->in_n);
}

static void took_input(struct convert *c, struct arc_coder_io *io, size_t n)
{
    if (c->head_at < c->head_n)
        c->head_at += n;
    else
        io->in_used += n;
}

static enum err decode(struct convert *c, struct arc_coder_io *io, bool *moved)
{
    struct arc_coder_io one = {.out = c->plain, .out_n = PLAIN};
    enum err e;

    take_input(c, io, &one.in, &one.in_n, &one.in_ended);
    e = arc_coder_run(c->decoder, &one);
    took_input(c, io, one.in_used);
    c->plain_at = 0;
    c->plain_n = one.out_made;
    c->plain_ended = one.ended;
    *moved = one.in_used || one.out_made || one.ended;
    if (e == ERR_BAD_ARCHIVE && !c->why[0])
        snprintf(c->why, sizeof(c->why), "the compressed stream is damaged or cut off");
    return e;
}

/* One step of reading; !*moved: it needs input. */
static enum err advance(struct convert *c, struct arc_coder_io *io, bool *moved)
{
    const char *p = c->decoder ? c->plain + c->plain_at : NULL;
    size_t n = c->plain_n - c->plain_at, used = 0;
    bool ended = c->plain_ended;
    enum err e;

    if (!c->decoder)
        take_input(c, io, &p, &n, &ended);
    if (c->decoder && n == 0 && !c->plain_ended)
        return decode(c, io, moved);
    if (n == 0 && ended && !c->more) {
        *moved = true;
        return end_reader(c);
    }
    if (n == 0 && !c->more)
        return ERR_OK;
    bool more = c->more;
    e = feed_reader(c, p, n, &used);
    if (c->decoder)
        c->plain_at += used;
    else
        took_input(c, io, used);
    *moved = used > 0 || more || c->more;
    if (e == ERR_OK && !*moved && n)
        return ERR_BAD_ARCHIVE;
    return e;
}

/* Whether the first bytes are there; few are all that an archive has. */
static bool gather(struct convert *c, struct arc_coder_io *io)
{
    size_t n = io->in_n - io->in_used, room = sizeof(c->head) - c->head_n;

    n = n < room ? n : room;
    memcpy(c->head + c->head_n, io->in + io->in_used, n);
    c->head_n += n;
    io->in_used += n;
    return c->head_n == sizeof(c->head) || io->in_ended;
}

static void drain(struct convert *c, struct arc_coder_io *io)
{
    size_t n = c->out.n - c->out_at, room = io->out_n - io->out_made;

    n = n < room ? n : room;
    if (n)
        memcpy(io->out + io->out_made, c->out.p + c->out_at, n);
    io->out_made += n;
    c->out_at += n;
    if (c->out_at < c->out.n)
        return;
    c->made += c->out.n;
    c->out_at = 0;
    buf_reset(&c->out);
    if (c->over && c->zip.central.n) { /* the directory is put out as it is */
        struct buf spare = c->out;
        c->out = c->zip.central;
        c->zip.central = spare;
    }
}

static enum err convert_run(struct arc_coder *coder, struct arc_coder_io *io)
{
    struct convert *c = CONTAINER(coder, struct convert, coder);
    enum err e = ERR_OK;

    if (!c->begun && !gather(c, io))
        return ERR_OK;
    if (!c->begun)
        open_reader(c);
    for (;;) {
        bool moved = false;
        drain(c, io);
        if (io->out_made == io->out_n)
            return ERR_OK;
        if (c->out.n)
            continue;
        io->ended = c->over;
        if (c->over)
            return ERR_OK;
        e = advance(c, io, &moved);
        if (c->over && c->found)
            continue; /* what follows the member is not looked at, wherever a piece of input ends */
        if (e != ERR_OK || !moved)
            return e;
    }
}

static const char *convert_why(const struct arc_coder *coder)
{
    return CONTAINER(coder, const struct convert, coder)->why;
}

static void convert_free(struct arc_coder *coder)
{
    struct convert *c = CONTAINER(coder, struct convert, coder);

    arc_coder_free(c->decoder);
    arc_scan_free(c->scan);
    arc_unzip_free(c->unzip);
    buf_release(&c->out);
    buf_release(&c->held);
    buf_release(&c->zip.central);
    free(c->plain);
    free(c->wanted);
    free(c);
}

static struct convert *convert_new(enum arc_format format)
{
    static const struct arc_coder_ops ops = {convert_run, convert_why, convert_free};
    struct convert *c = NEW(struct convert);

    c->coder.ops = &ops;
    c->format = format;
    buf_init(&c->out, OUT_MAX);
    buf_init(&c->held, ARC_HELD_MAX);
    return c;
}

struct arc_coder *arc_converter(enum arc_format format)
{
    return &convert_new(format)->coder;
}

struct arc_coder *arc_extractor(struct str member)
{
    struct convert *c = convert_new(ARC_NONE);

    while (member.n && (member.p[0] == '/' || str_starts(member, STR("./"))))
        member = str_skip(member, member.p[0] == '/' ? 1 : 2);
    c->wanted = mem_new(member.n + 1);
    if (member.n)
        memcpy(c->wanted, member.p, member.n);
    return &c->coder;
}
