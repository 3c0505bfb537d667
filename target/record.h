/* record.h - what the index keeps: objects, multipart manifests, uploads and parts, as bytes.
 *
 * Shape    records are MessagePack arrays that begin with a format version; a manifest is a row of fixed-size
 *          entries, so that a range of a 10,000-part object is found by binary search in the bytes.
 * Owns     decoded strs borrow from the bytes they were decoded from.
 * Errors   ERR_CORRUPT: not one of ours, or of a newer format (logged here); ERR_METADATA_TOO_LARGE when encoding.
 * Thread   any; pure.
 * Source   docs/data-on-disk.md
 */
#ifndef SLUICE_TARGET_RECORD_H
#define SLUICE_TARGET_RECORD_H

#include "base/buf.h"
#include "store/store.h"
#include "target/segment.h"

enum {
    RECORD_VERSION = 1,
    RECORD_MAX = OBJECT_HEADERS_MAX * 2 + 4096, /* bytes of an encoded record */
    RECORD_ATTRS_MAX = 2048,
    INITIATOR_MAX = 1024,
};

/* Where an object's bytes are. The numbers are on disks. */
enum body_kind {
    BODY_EMPTY = 0,    /* also of what has a layout and no parts */
    BODY_INLINE = 1,   /* in the index under the body's id */
    BODY_SEGMENT = 2,  /* the whole content of the segment of that id */
    BODY_MANIFEST = 3, /* a manifest in the index under the body's id; with a layout it names no segments */
};

struct record {
    struct object_info info; /* attrs are NULL until record_attrs() */
    enum body_kind kind;
    struct segment_id body; /* not of BODY_EMPTY */
    bool has_desc;          /* a segment without content that describes this record: deleted with it */
    struct segment_id desc;
    bool has_class;    /* among the attrs is x-amz-storage-class */
    struct str packed; /* the attrs, encoded */
};
MUST_USE enum err record_encode(struct buf *out, const struct record *r); /* from info.attrs */
MUST_USE enum err record_decode(struct str bytes, struct record *out);
/* Decodes info.attr_count attributes into `attrs`. False: damaged. */
bool record_attrs(const struct record *r, struct attr *attrs);
/* The storage class without decoding the rest; STR_NONE = STANDARD. */
struct str record_class(const struct record *r);

/* ---- manifests ---- */

/* Of a multipart object: its parts, each the whole of a segment. Of a spliced one (info.parts is 0): pieces, each a range of a segment
 * that others may have ranges of, too. References to a segment are counted by entries (INDEX_REFS), as those to a body by records. */
enum { PIECES_MAX = 20000 };
struct manifest_part {
    uint32_t number; /* 0: a piece, which has no time and no digests either */
    uint64_t offset; /* of a piece, within its segment; a part begins at 0 */
    uint64_t end;    /* offset within the object behind the part's last byte */
    int64_t mtime_ns;
    uint8_t md5[16];
    struct segment_id segment; /* all zero: an empty part */
    struct str checksum;       /* digest bytes, may be empty */
};
struct manifest {
    const uint8_t *entries;
    uint32_t count;
    bool pieces;
    uint8_t checksum_len;
    uint32_t entry_len;
};
/* `checksum_len`: bytes of every part's digest. */
void manifest_begin(struct buf *out, uint32_t count, size_t checksum_len);
void manifest_add(struct buf *out, const struct manifest_part *p);
/* Pieces: p->end, offset and segment are looked at. */
void manifest_begin_pieces(struct buf *out, uint32_t count);
void manifest_add_piece(struct buf *out, const struct manifest_part *p);
size_t manifest_bytes(uint32_t count, size_t checksum_len);
MUST_USE enum err manifest_decode(struct str bytes, struct manifest *out);
void manifest_part(const struct manifest *m, uint32_t i, struct manifest_part *out);
/* Where part i begins within the object. */
uint64_t manifest_start(const struct manifest *m, uint32_t i);
/* The first part that ends behind `offset`. */
uint32_t manifest_find(const struct manifest *m, uint64_t offset);
/* Not of pieces. */
void manifest_part_info(const struct manifest *m, uint32_t i, enum hash_alg alg, struct part_info *out);

/* ---- uploads ---- */

struct upload_record {
    int64_t created_ns;
    enum hash_alg alg;
    enum checksum_type type;
    struct str initiator;
    struct record object; /* attrs and tags of what it will become */
};
MUST_USE enum err upload_record_encode(struct buf *out, const struct upload_record *u);
MUST_USE enum err upload_record_decode(struct str bytes, struct upload_record *out);

struct part_record {
    uint64_t size;
    int64_t mtime_ns;
    uint8_t md5[16];
    struct digest checksum;
    struct segment_id segment; /* all zero: an empty part */
};
void part_record_encode(struct buf *out, const struct part_record *p);
MUST_USE enum err part_record_decode(struct str bytes, struct part_record *out);
void part_record_info(const struct part_record *p, uint32_t number, struct part_info *out);

static inline bool segment_id_is_zero(const struct segment_id *id)
{
    static const struct segment_id zero;

    return segment_id_cmp(id, &zero) == 0;
}

/* ---- descriptions: what a segment's footer says about the record it belongs to ---- */

enum description_kind {
    DESCRIBES_OBJECT = 1, /* record of bucket and key; with `manifest` when its body is one */
    DESCRIBES_PART = 2,   /* a part of an upload: nothing to restore by itself */
};
struct description {
    enum description_kind kind;
    struct bucket_id bucket;
    struct str key;
    struct str record;   /* encoded record or part record */
    struct str manifest; /* empty = none */
};
MUST_USE enum err description_encode(struct buf *out, const struct description *d);
MUST_USE enum err description_decode(struct str bytes, struct description *out);

#endif
