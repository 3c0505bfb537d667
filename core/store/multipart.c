#include "multipart.h"

#include <assert.h>

void multipart_init(struct multipart *m, enum hash_alg alg, enum checksum_type type)
{
    *m = (struct multipart){.alg = alg, .type = type};
    hash_init(&m->md5s, HASH_MD5);
    if (type == CHECKSUM_COMPOSITE)
        hash_init(&m->composite, alg);
}

void multipart_drop(struct multipart *m)
{
    hash_drop(&m->md5s);
    hash_drop(&m->composite);
}

/* Whether the stored part is the one that was asked for. */
static bool is_the_part(const struct complete_part *asked, const struct part_info *stored)
{
    if (!stored || !etag_matches(&stored->etag, asked->etag))
        return false;
    if (asked->checksum.n == 0 || digest_eq(&asked->checksum, &stored->checksum.digest))
        return true;
    /* verified when the part came, and not kept: see upload_takes_checksum() */
    return asked->checksum.alg != stored->checksum.digest.alg &&
           upload_takes_checksum(stored->checksum.digest.alg, asked->checksum.alg);
}

static void add_checksum(struct multipart *m, const struct part_info *part)
{
    const struct digest *d = &part->checksum.digest;

    if (m->type == CHECKSUM_COMPOSITE)
        hash_update(&m->composite, d->b, d->n);
    else if (m->count == 0)
        m->full = *d;
    else
        hash_combine(&m->full, d, part->size);
}

enum err multipart_add(struct multipart *m, const struct complete_part *asked, const struct part_info *stored,
                       bool last, struct part_info *bad)
{
    uint8_t md5[16];

    if (asked->number <= m->last_number)
        return ERR_INVALID_PART_ORDER;
    if (!is_the_part(asked, stored)) {
        *bad = stored ? *stored : (struct part_info){.number = asked->number};
        return ERR_INVALID_PART;
    }
    if (!last && stored->size < PART_SIZE_MIN) {
        *bad = *stored;
        return ERR_ENTITY_TOO_SMALL;
    }
    if (stored->checksum.digest.alg != m->alg || !etag_to_md5(&stored->etag, md5))
        return ERR_CORRUPT; /* parts are written with the upload's algorithm and their plain MD5 */
    hash_update(&m->md5s, md5, sizeof(md5));
    add_checksum(m, stored);
    m->size += stored->size;
    m->count++;
    m->last_number = asked->number;
    return ERR_OK;
}

static enum err check_wanted(const struct upload_complete_req *req, const struct object_info *made)
{
    if (req->want_type != CHECKSUM_NONE && req->want_type != made->checksum.type)
        return ERR_INVALID_REQUEST;
    if (req->want_size != UINT64_MAX && req->want_size != made->size)
        return ERR_INVALID_REQUEST;
    if (made->size > OBJECT_SIZE_MAX)
        return ERR_ENTITY_TOO_LARGE;
    if (req->want.digest.n == 0)
        return ERR_OK;
    if (!digest_eq(&req->want.digest, &made->checksum.digest) || (req->want.parts && req->want.parts != made->parts))
        return ERR_BAD_DIGEST;
    return ERR_OK;
}

enum err multipart_finish(struct multipart *m, const struct upload_complete_req *req, struct object_info *out)
{
    struct object_info made = *out;
    struct digest md5;

    assert(m->count);
    made.size = m->size;
    made.parts = m->count;
    hash_final(&m->md5s, &md5);
    etag_from_parts(&made.etag, md5.b, m->count);
    made.checksum = (struct checksum){.digest = m->full, .type = m->type};
    if (m->type == CHECKSUM_COMPOSITE) {
        hash_final(&m->composite, &made.checksum.digest);
        made.checksum.parts = m->count;
    }
    enum err e = check_wanted(req, &made);
    if (e == ERR_OK)
        *out = made;
    return e;
}
