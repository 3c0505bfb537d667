/* arc_member.h - a member of an archive as a source, and which members a pattern means.
 *
 * Shape    TAR and stored ZIP entries: a range of the object, as the store gives it (file ranges stay file ranges). Deflated entries and
 *          members of compressed TARs: decoded on the cpu pool from the last restart point before them, with bounded memory.
 * Errors   ERR_PRECONDITION: the object is no longer the one the index tells about; ERR_BAD_ARCHIVE: what is there contradicts the index (ZIP
 *          local header, deflate stream, size or CRC at the end); errors of the store.
 * Thread   the loop's.
 */
#ifndef SLUICE_ARCHIVE_ARC_MEMBER_H
#define SLUICE_ARCHIVE_ARC_MEMBER_H

#include "archive/arc_index.h"
#include "base/offload.h"
#include "store/store.h"

struct arc_open_req {
    struct arena *arena;
    struct store *store;
    struct offload *cpu;
    struct bucket_id bucket;
    struct str key;
    struct arc_index *index; /* a reference is kept while the source needs it */
    uint32_t member;
    uint64_t offset, len; /* of its content; within its size */
};
struct arc_open_res {
    struct source *body; /* exactly `len` bytes */
};
void arc_open(const struct arc_open_req *req, struct arc_open_res *res, struct call *call);

/* Which members a client means: archmode. */
enum arc_mode { ARC_MODE_REGEXP, ARC_MODE_PREFIX, ARC_MODE_SUFFIX, ARC_MODE_SUBSTR, ARC_MODE_WDSKEY };
/* "regexp", "prefix", "suffix", "substr", "wdskey" */
MUST_USE bool arc_mode_parse(struct str text, enum arc_mode *out);
/* A compiled selection. Patterns are bounded in length and, for regular expressions (PCRE2, unanchored), in work per name. */
struct arc_select;
enum { ARC_PATTERN_MAX = 1024 };
/* Empty or "*": all. ERR_INVALID_ARGUMENT with a sentence: no such expression, or too long. */
MUST_USE enum err arc_select_new(enum arc_mode mode, struct str pattern, struct arc_select **out,
                                 char why[ARC_WHY_MAX]);
void arc_select_free(void *s);
/* ERR_TOO_LARGE: the expression took too much work on this name. */
MUST_USE enum err arc_select_match(struct arc_select *s, struct str name, bool *matches);
/* A member's WebDataset key: its path without everything behind the first dot of its last segment. */
struct str arc_wds_key(struct str name);

#endif
