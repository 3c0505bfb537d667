/* arc_scan.h - makes the index of an archive from its bytes, hostile ones included.
 *
 * Shape    two ways. A scan is fed the object's bytes from front to back (an upload on its way to the disk, or read back) and makes the index
 *          of any format but ZIP. arc_build() makes that of any stored object: ZIP by its central directory, the others by feeding a scan.
 * Owns     see each function.
 * Errors   ERR_BAD_ARCHIVE with a sentence in `why`: truncated, bad header checksum, overlapping ZIP entries, ... ; ERR_TOO_LARGE: bounds of
 *          arc_index.h, or ARC_RATIO_MAX (a compressed archive that unpacks to more than that many times its size plus 1 GiB).
 *          What was found before the fault is not used: an object that is no sound archive has no index, and is an object as any other.
 * Thread   a scan: one thread at a time (a pool's; feeding blocks for the time the bytes take). arc_build(): the loop's.
 */
#ifndef SLUICE_ARCHIVE_ARC_SCAN_H
#define SLUICE_ARCHIVE_ARC_SCAN_H

#include "archive/arc_index.h"
#include "base/offload.h"
#include "store/store.h"

enum { ARC_RATIO_MAX = 1100 };

struct arc_scan;
/* `format`: not ARC_NONE, not ARC_ZIP. */
struct arc_scan *arc_scan_new(enum arc_format format);
void arc_scan_free(struct arc_scan *s); /* NULL is legal */
/* Errors are sticky. Plain TAR: 256 KiB take well under a millisecond; compressed formats belong on the cpu pool. */
MUST_USE enum err arc_scan_feed(struct arc_scan *s, const void *p, size_t n);
/* After the last byte. The caller owns *out (one reference), whose object is not set yet. */
MUST_USE enum err arc_scan_end(struct arc_scan *s, struct arc_index **out);
/* A sentence about the error; valid until the scan is freed. */
const char *arc_scan_why(const struct arc_scan *s);

/* Who wants the members themselves, as they pass, and no index. An error of his ends the scan with it. */
struct arc_watch {
    void *arg;
    /* A member's content follows. Of one whose archive tells its size or CRC only behind it: UINT64_MAX, and !crc_known. */
    enum err (*begin)(void *arg, const struct arc_member *m, bool crc_known);
    enum err (*bytes)(void *arg, const char *p, size_t n);
    /* It was whole; size and CRC are known. */
    enum err (*end)(void *arg, const struct arc_member *m);
    /* A file that can't be given: `what` it is, "hard link". ERR_OK leaves it out, as directories, links and the like always are. */
    enum err (*other)(void *arg, struct str name, const char *what);
};
/* Before anything is fed. arc_scan_end() gives no index then. */
void arc_scan_watch(struct arc_scan *s, const struct arc_watch *watch);

struct arc_build_req {
    struct arena *arena;
    struct store *store;
    struct offload *cpu;
    struct bucket_id bucket;
    struct str key;
    enum arc_format format; /* ARC_NONE: by the key's name, then by magic; none of them: ERR_BAD_ARCHIVE */
};
struct arc_build_res {
    struct arc_index *index; /* one reference, the caller's; its object is set */
    char why[ARC_WHY_MAX];   /* on ERR_BAD_ARCHIVE, ERR_TOO_LARGE */
};
/* Bounded memory but for the index. The object may change meanwhile: it is read under If-Match, ERR_PRECONDITION then. */
void arc_build(const struct arc_build_req *req, struct arc_build_res *res, struct call *call);

#endif
