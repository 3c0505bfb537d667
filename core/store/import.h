/* import.h - what every store does alike when it makes an object as another node has it.
 *
 * Shape    import_check() before a byte is read, then the content part by part through import_window(), each compared with
 *          import_compare(); last the commit, which asks import_keeps().
 * Owns     a window is its owner's and only looks at the body.
 * Errors   ERR_BAD_DIGEST: the description contradicts itself, or the content the description.
 * Thread   the loop of the call; import_check() and import_compare() are pure.
 */
#ifndef SLUICE_STORE_IMPORT_H
#define SLUICE_STORE_IMPORT_H

#include "store/store.h"

/* Sizes add up, and the whole's ETag and checksum follow from those of the parts. The ETag of a spliced object says nothing about its
 * content: that is compared with its checksum, if it has one, and else by its size alone. Hashes up to PARTS_MAX digests: for a pool
 * when there are many parts. */
MUST_USE enum err import_check(const struct obj_import_req *req);
/* Whether what is here (NULL: nothing) stays. */
static inline bool import_keeps(const struct object_info *here, const struct obj_import_req *req)
{
    bool same = here && here->mtime_ns == req->info.mtime_ns &&
                str_eq(etag_str(&here->etag), etag_str(&req->info.etag)) && str_eq(here->layout, req->info.layout);

    if (req->as_new)
        return same;
    if (req->repair)
        return !same;
    return req->force ? same : here && here->mtime_ns >= req->info.mtime_ns;
}

/* What one piece of content must be: a part, or the whole of an object made by a single PUT. */
struct import_piece {
    uint64_t size;
    struct etag etag;
    struct digest checksum; /* alg HASH_NONE: none is known */
};
/* Number of pieces: parts, or 1; with a layout they have no content here. */
uint32_t import_pieces(const struct obj_import_req *req);
struct import_piece import_piece(const struct obj_import_req *req, uint32_t i);
MUST_USE enum err import_compare(const struct import_piece *want, uint64_t size, const struct digest *md5,
                                 const struct digest *checksum);

/* The next `size` bytes of a body that is somebody else's. Closing it does nothing. */
struct import_window {
    struct source source;
    struct source *inner;
    uint64_t left;
    size_t *n;
    struct call *whole;
    struct call call;
};
struct source *import_window(struct import_window *w, struct source *inner, uint64_t size);

#endif
