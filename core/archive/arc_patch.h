/* arc_patch.h - the bytes of a changed archive: ranges of the old one, and a new TAR member in between.
 *
 * Shape    a list of pieces, opened as one source, as often as wanted until the member's content was touched. Compressed TARs are unpacked on
 *          the way, and what comes out is the TAR.
 * Owns     the pieces; the member's content stays its owner's. Sources end before the patch is released.
 * Errors   of the store, ERR_PRECONDITION when the old archive is no longer that one; of the content: ERR_INCOMPLETE_BODY when it is
 *          shorter than was said, ERR_BAD_REQUEST when it is longer. Nothing that ends so is ever committed.
 * Thread   the loop's.
 */
#ifndef SLUICE_ARCHIVE_ARC_PATCH_H
#define SLUICE_ARCHIVE_ARC_PATCH_H

#include "archive/arc_format.h"
#include "base/buf.h"
#include "store/store.h"

enum arc_piece_kind { ARC_PIECE_OLD, ARC_PIECE_BYTES, ARC_PIECE_CONTENT };
struct arc_piece {
    enum arc_piece_kind kind;
    uint64_t offset, len; /* ARC_PIECE_OLD: of the old archive; of a compressed one: unpacked, and ascending */
    struct str bytes;     /* ARC_PIECE_BYTES */
};
struct arc_patch {
    struct loop *loop;
    struct arena *arena;
    struct store *store;
    struct bucket_id bucket;
    struct str key;
    struct etag etag; /* of the old archive */
    enum arc_format format;
    struct offload *cpu; /* of compressed ones */
    struct source *content;
    uint64_t content_size;
    bool touched; /* the content was read */
    struct arc_piece *pieces;
    size_t count, cap;
    uint64_t size; /* of all pieces */
    /* the source that is open */
    struct source window;
    uint64_t left;
    struct hash crc;
    struct digest content_crc; /* of all of the content: CRC32, once it was read */
    size_t *n;
    char past;
    size_t past_n;
    struct call *whole;
    struct call call;
    struct source **out;
    struct obj_get_req get;
    struct obj_get_res got;
    /* a compressed archive, read once from front to back */
    const struct arc_piece *opening;
    struct source *unpacked, old;
    uint64_t unpacked_at, old_at, old_end;
    char *scratch;
    void *buf;
    size_t len, step;
};
/* Zeroed but for the first group, content and content_size. */
void arc_patch_clear(struct arc_patch *p);
void arc_patch_old(struct arc_patch *p, uint64_t offset, uint64_t len);
void arc_patch_bytes(struct arc_patch *p, struct str bytes);
void arc_patch_content(struct arc_patch *p);
struct source *arc_patch_open(struct arc_patch *p);
void arc_patch_release(struct arc_patch *p);

#endif
