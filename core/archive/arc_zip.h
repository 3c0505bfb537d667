/* arc_zip.h - the central directory of a ZIP file.
 *
 * Shape    arc_zip_tail() finds the directory in the file's last bytes, arc_zip_parse() reads it, arc_zip_local() learns from an entry's
 *          local header where its content begins. Entries are checked not to overlap one another or the directory.
 * Units    bytes; offsets within the file.
 * Owns     the directory owns its entries; names borrow from its bytes.
 * Errors   ERR_BAD_ARCHIVE with a sentence; ERR_TOO_LARGE.
 * Thread   any; pure.
 * Source   PKWARE APPNOTE.TXT 6.3.9: 4.3.7, 4.3.12, 4.3.14 to 4.3.16, 4.5.3.
 */
#ifndef SLUICE_ARCHIVE_ARC_ZIP_H
#define SLUICE_ARCHIVE_ARC_ZIP_H

#include "archive/arc_index.h"

enum {
    ZIP_TAIL_MAX = 65535 + 22 + 20 + 56, /* what the end records may take, with a comment */
    ZIP_LOCAL = 30,                      /* fixed part of a local header */
    ZIP_LOCAL_MAX = ZIP_LOCAL + 2 * 65535,
};

struct arc_zip_end {
    uint64_t directory, directory_n; /* where the directory is, and its bytes */
    uint64_t count;
    uint64_t shift; /* to be added to the offsets that the file says: something stands before it */
};
/* `tail`: the last bytes of a file of `size` bytes. */
MUST_USE enum err arc_zip_tail(struct str tail, uint64_t size, struct arc_zip_end *out, char why[ARC_WHY_MAX]);

struct arc_zip_entry {
    struct arc_member member; /* offset is 0 until arc_zip_local() */
    struct str name;          /* as the directory has it */
    uint32_t code;            /* compression method, APPNOTE 4.4.5 */
    bool is_member;
};
struct arc_zip {
    struct arc_zip_entry *entries; /* in the directory's order */
    uint32_t *by_head;             /* positions, by where they are in the file */
    uint32_t count;
    uint64_t end; /* the directory's begin */
};
MUST_USE enum err arc_zip_parse(struct str directory, const struct arc_zip_end *end, struct arc_zip *out,
                                char why[ARC_WHY_MAX]);
void arc_zip_release(struct arc_zip *z);
/* Bytes of a local header that arc_zip_local() wants to see; `head` has ZIP_LOCAL or more. */
size_t arc_zip_local_bytes(struct str head);
/* `head`: the entry's local header up to its name. One that contradicts the directory makes the entry none of the members. */
MUST_USE enum err arc_zip_local(struct arc_zip_entry *e, struct str head, char why[ARC_WHY_MAX]);
/* Once all local headers are known: an index without an object. */
MUST_USE enum err arc_zip_index(struct arc_zip *z, struct arc_index **out, char why[ARC_WHY_MAX]);

#endif
