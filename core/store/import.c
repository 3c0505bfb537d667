#include "import.h"

#include "base/mem.h"

/* ---- the description ---- */

uint32_t import_pieces(const struct obj_import_req *req)
{
    return req->info.parts ? req->part_count : 1;
}

struct import_piece import_piece(const struct obj_import_req *req, uint32_t i)
{
    const struct object_info *o = &req->info;

    if (o->parts == 0)
        return (struct import_piece){o->size, o->etag, o->checksum.digest};
    return (struct import_piece){req->parts[i].size, req->parts[i].etag, req->parts[i].checksum.digest};
}

static enum err check_single(const struct obj_import_req *req)
{
    uint8_t md5[16];

    if (req->part_count || req->info.checksum.type == CHECKSUM_COMPOSITE)
        return ERR_BAD_DIGEST;
    if (!etag_to_md5(&req->info.etag, md5) && !etag_is_spliced(&req->info.etag))
        return ERR_BAD_DIGEST;
    return ERR_OK;
}

/* Numbers ascend, sizes add up, all parts have digests of the same kind or none has. */
static enum err check_parts(const struct obj_import_req *req)
{
    const struct part_info *parts = req->parts;
    uint64_t size = 0;
    uint32_t last = 0;
    uint8_t md5[16];

    if (req->part_count != req->info.parts || req->part_count > PARTS_MAX)
        return ERR_BAD_DIGEST;
    for (uint32_t i = 0; i < req->part_count; i++) {
        const struct digest *d = &parts[i].checksum.digest;
        if (parts[i].number <= last || parts[i].number > PARTS_MAX || parts[i].size > PART_SIZE_MAX ||
            !etag_to_md5(&parts[i].etag, md5) || d->alg != parts[0].checksum.digest.alg || d->n != hash_len(d->alg))
            return ERR_BAD_DIGEST;
        last = parts[i].number;
        size += parts[i].size;
    }
    return size == req->info.size ? ERR_OK : ERR_BAD_DIGEST;
}

static bool etag_fits(const struct obj_import_req *req)
{
    struct hash md5s;
    struct digest md5;
    struct etag etag;
    uint8_t part[16];

    hash_init(&md5s, HASH_MD5);
    for (uint32_t i = 0; i < req->part_count; i++)
        if (etag_to_md5(&req->parts[i].etag, part))
            hash_update(&md5s, part, sizeof(part));
    hash_final(&md5s, &md5);
    etag_from_parts(&etag, md5.b, req->part_count);
    return str_eq(etag_str(&etag), etag_str(&req->info.etag));
}

static bool composite_fits(const struct obj_import_req *req)
{
    struct hash whole;
    struct digest made;

    hash_init(&whole, req->info.checksum.digest.alg);
    for (uint32_t i = 0; i < req->part_count; i++)
        hash_update(&whole, req->parts[i].checksum.digest.b, req->parts[i].checksum.digest.n);
    hash_final(&whole, &made);
    return req->info.checksum.parts == req->part_count && digest_eq(&made, &req->info.checksum.digest);
}

static bool full_fits(const struct obj_import_req *req)
{
    struct digest made = req->parts[0].checksum.digest;

    if (!hash_can_combine(made.alg))
        return false;
    for (uint32_t i = 1; i < req->part_count; i++)
        hash_combine(&made, &req->parts[i].checksum.digest, req->parts[i].size);
    return digest_eq(&made, &req->info.checksum.digest);
}

static bool checksum_fits(const struct obj_import_req *req)
{
    const struct checksum *c = &req->info.checksum;

    if (req->parts[0].checksum.digest.alg != c->digest.alg || c->digest.n != hash_len(c->digest.alg))
        return false;
    if (c->digest.alg == HASH_NONE)
        return true;
    return c->type == CHECKSUM_COMPOSITE ? composite_fits(req) : full_fits(req);
}

enum err import_check(const struct obj_import_req *req)
{
    enum err e;

    if (req->info.size > OBJECT_SIZE_MAX)
        return ERR_ENTITY_TOO_LARGE;
    if (req->info.layout.n > LAYOUT_MAX)
        return ERR_INVALID_ARGUMENT;
    if (req->info.parts == 0)
        return check_single(req);
    if (req->check->want_count) /* its parts tell more than a digest of the whole could */
        return ERR_INVALID_ARGUMENT;
    if ((e = check_parts(req)) != ERR_OK)
        return e;
    return etag_fits(req) && checksum_fits(req) ? ERR_OK : ERR_BAD_DIGEST;
}

enum err import_compare(const struct import_piece *want, uint64_t size, const struct digest *md5,
                        const struct digest *checksum)
{
    struct etag etag;

    etag_from_md5(&etag, md5->b);
    if (size != want->size || (!etag_is_spliced(&want->etag) && !str_eq(etag_str(&etag), etag_str(&want->etag))))
        return ERR_BAD_DIGEST;
    return want->checksum.alg == HASH_NONE || digest_eq(&want->checksum, checksum) ? ERR_OK : ERR_BAD_DIGEST;
}

/* ---- a window on the body ---- */

static void window_done(struct call *c)
{
    struct import_window *w = CONTAINER(c, struct import_window, call);
    enum err e = c->err;

    if (e == ERR_OK && *w->n == 0)
        e = ERR_BAD_DIGEST; /* a clean end, but not of what was described */
    if (e == ERR_OK)
        w->left -= *w->n;
    call_finish(w->whole, e);
}

static void window_cancel(void *arg)
{
    call_cancel(&((struct import_window *)arg)->call);
}

static void window_read(struct source *s, void *buf, size_t len, size_t *n, struct call *c)
{
    struct import_window *w = CONTAINER(s, struct import_window, source);

    *n = 0;
    if (w->left == 0) {
        call_finish(c, ERR_OK);
        return;
    }
    w->n = n;
    w->whole = c;
    call_begin(&w->call, c->loop, window_done);
    call_on_cancel(c, window_cancel, w);
    source_read(w->inner, buf, w->left < len ? (size_t)w->left : len, n, &w->call);
}

static void window_close(struct source *s)
{
    (void)s;
}

struct source *import_window(struct import_window *w, struct source *inner, uint64_t size)
{
    static const struct source_ops ops = {"window", NULL, NULL, NULL, window_read, window_close};

    *w = (struct import_window){.source = {&ops, size}, .inner = inner, .left = size};
    return &w->source;
}
