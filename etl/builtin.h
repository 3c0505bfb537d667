/* builtin.h - transforms of the node itself: stages that need no sidecar. Their names begin with '@', which no ETL's name does.
 *
 * Shape    @gzip @zstd @lz4             the content, compressed
 *          @gunzip @unzstd @unlz4       decompressed; @decompress: by its first bytes, also bzip2 and xz
 *          @md5 @sha256 @xxh64 @crc32c  the digest of the content, in hex
 *          @to-tar @to-tgz @to-zip @to-tar.lz4 @to-tar.zst   an archive of any format (arc_convert.h) as one of that
 *          @extract                     the member of an archive that the arguments name
 *          The result is a source that pulls the content as it is pulled; its bytes depend on the content alone, not on the time, the machine, or
 *          how the content comes. About half a MiB of memory, and the codec's.
 * Owns     the body stays the caller's, alive until the result is closed.
 * Errors   ERR_BAD_ARCHIVE: broken, cut off, or no such format; ERR_NO_SUCH_MEMBER; others of arc_coder.h and arc_convert.h; those of the body. `text`
 *          tells. What is found after the first bytes fails the result: it never ends early.
 * Thread   the loop's; the work is done on the pool.
 */
#ifndef SLUICE_ETL_BUILTIN_H
#define SLUICE_ETL_BUILTIN_H

#include "base/offload.h"
#include "base/source.h"
#include "etl/spec.h"

/* Whether it is the name of one of them. */
bool etl_builtin_is(struct str name);
/* Whether its arguments mean anything. A pipeline's arguments are sent to all its stages: those that take none are given none. */
bool etl_builtin_takes_args(struct str name);
/* ERR_NO_SUCH_ETL: no such transform; ERR_INVALID_ARGUMENT: not with these arguments. */
MUST_USE enum err etl_builtin_check(struct str name, struct str args, char why[ETL_WHY_MAX]);

struct etl_builtin_req {
    struct arena *arena;
    struct loop *loop;
    struct offload *cpu;
    struct str name, args;
    struct source *body;
};
struct etl_builtin_res {
    struct source *body;     /* its size is known when it is small */
    struct str content_type; /* empty: not known */
    struct str text;         /* on error: a sentence; the arena's */
};
/* Done when the result's first bytes are there, or it is known that there will be none. */
void etl_builtin_run(const struct etl_builtin_req *req, struct etl_builtin_res *res, struct call *call);

#endif
