/* extent.h - parts of segments as a source.
 *
 * Shape    an object's content is a row of extents; the source shows warm windows of them for sendfile, warms cold
 *          ones on a pool.
 * Units    bytes.
 * Owns     the cache owns its descriptors; an entry in use stays open until its last user has gone.
 * Errors   ERR_NOT_FOUND: the first segment is gone (overwritten or deleted meanwhile: look the record up again),
 *          before any byte. ERR_CORRUPT (logged with its path): damaged, too short, or a later segment is missing.
 *          ERR_IO, ERR_BUSY.
 * Thread   the cache: any. A source: the loop that made it.
 */
#ifndef SLUICE_TARGET_EXTENT_H
#define SLUICE_TARGET_EXTENT_H

#include "base/source.h"
#include "target/extent_cache.h"

struct extents_env {
    struct extent_cache *cache;
    struct offload *io;
    bool verify; /* check block hashes before bytes are shown */
};

/* `limit` bytes after the first `skip` of the extents in a row, which must hold that many; `env` and `list` are copied.
 * All segments live in `dir`. To see ERR_NOT_FOUND before a response begins: peek, and on SPAN_WAIT prepare. */
struct source *extent_source_new(const struct extents_env *env, struct segment_dir *dir, const struct extent *list,
                                 size_t n, uint64_t skip, uint64_t limit);

#endif
