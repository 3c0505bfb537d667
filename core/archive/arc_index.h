/* arc_index.h - what is in an archive and where: one immutable table per archive object.
 *
 * Shape    members in the archive's order; lookup by name finds the first of that name. Only regular files are members.
 *          An index belongs to one state of one object, told by ETag, mtime and size; whoever uses it reads under If-Match.
 *          Encoded it is a versioned, checksummed text of bytes, small enough to be kept beside the object.
 * Units    bytes. TAR and ZIP: offsets within the object. Compressed TARs: within the uncompressed stream.
 * Owns     reference counted; strs live as long as the index.
 * Errors   ERR_CORRUPT: not an encoded index; ERR_BAD_ARCHIVE: the object is not the archive it should be, `why` says where;
 *          ERR_TOO_LARGE: beyond ARC_MEMBERS_MAX or ARC_INDEX_MAX.
 * Thread   any.
 */
#ifndef SLUICE_ARCHIVE_ARC_INDEX_H
#define SLUICE_ARCHIVE_ARC_INDEX_H

#include "archive/arc_format.h"
#include "base/buf.h"
#include "store/object.h"

enum { ARC_MEMBERS_MAX = 1 << 21, ARC_NAME_MAX = 4096, ARC_WHY_MAX = 160 };
#define ARC_INDEX_MAX (UINT64_C(256) << 20) /* bytes of an encoded index */

enum arc_method { ARC_STORED, ARC_DEFLATE };

struct arc_member {
    struct str
        name;      /* without leading "/" or "./"; never with a ".." segment, never empty: such members have no entry */
    uint64_t head; /* where its first header block begins; from there to `next` is all that belongs to it */
    uint64_t offset; /* of its content */
    uint64_t stored; /* bytes of the content there; != size when deflated */
    uint64_t next;   /* where the next member's header, or the trailer, begins */
    uint64_t size;   /* bytes of the content */
    int64_t mtime_s;
    uint32_t crc32; /* of the content (ISO 3309), always known */
    enum arc_method method;
};

/* Where decompression can begin anew: a frame or block border of a compressed TAR. */
struct arc_restart {
    uint64_t at;     /* in the object */
    uint64_t offset; /* in the uncompressed stream */
};

struct arc_index {
    _Atomic unsigned refs;
    enum arc_format format;
    uint64_t size; /* of the object */
    int64_t mtime_ns;
    struct etag etag;
    uint64_t end;   /* where a new member goes: the trailer's begin (TAR), the central directory's (ZIP) */
    uint32_t count; /* members */
    uint32_t
        left_out; /* entries that are no members: directories, links, devices, sparse files, unsafe or too long names */
    uint32_t restart_count;
    const struct arc_restart *restarts; /* ascending; for window-less formats there may be one, at 0 */
    size_t bytes;                       /* of memory that it takes */
    /* the rest is arc_index.c's */
};

struct arc_index *arc_index_ref(struct arc_index *x);
void arc_index_unref(void *x); /* NULL is legal; void * so that it fits arena_defer() */
/* Whether it tells about this state of the object. */
bool arc_index_fits(const struct arc_index *x, const struct object_info *info);
/* Member i in the archive's order. */
void arc_index_member(const struct arc_index *x, uint32_t i, struct arc_member *out);
/* The first of that name; a leading "/" or "./" of `name` is passed over. False: none. *i may be NULL. */
bool arc_index_find(const struct arc_index *x, struct str name, uint32_t *i, struct arc_member *out);
/* Members by name, bytewise: the position, in that order, of the first whose name is >= `name`. Equal names: the archive's order. */
uint32_t arc_index_seek(const struct arc_index *x, struct str name);
/* Which member is at that position of the order by name. */
uint32_t arc_index_by_name(const struct arc_index *x, uint32_t position);
/* The ETag that a member answers with: 32 hex digits and "-1", so that nobody takes it for an MD5; differs when the archive differs. */
void arc_index_etag(const struct arc_index *x, const struct arc_member *m, struct etag *out);

/* Made by a scan (arc_scan.h): members are added in order, then it is sealed. */
struct arc_building;
struct arc_building *arc_building_new(enum arc_format format);
void arc_building_free(struct arc_building *b); /* NULL is legal */
MUST_USE enum err arc_building_add(struct arc_building *b, const struct arc_member *m);
MUST_USE enum err arc_building_restart(struct arc_building *b, uint64_t at, uint64_t offset);
void arc_building_left_out(struct arc_building *b);
/* Ends the building. The object's identity is set by arc_index_set_object() before anybody else sees the index. */
struct arc_index *arc_building_seal(struct arc_building *b, uint64_t end);
void arc_index_set_object(struct arc_index *x, const struct object_info *info);

MUST_USE enum err arc_index_encode(const struct arc_index *x, struct buf *out);
MUST_USE enum err arc_index_decode(struct str bytes, struct arc_index **out);

#endif
