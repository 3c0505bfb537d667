/* extent.h - parts of segments as a source, and the cache of open segments behind it.
 *
 * Shape    an object's content is a row of extents; the source shows warm windows of them for sendfile, warms cold ones
 * on a pool. Units    bytes. Owns     the cache owns its descriptors; an entry in use stays open until its last user
 * has gone. Errors   ERR_NOT_FOUND: the first segment is gone (overwritten or deleted meanwhile: look the record up
 * again), before any byte. ERR_CORRUPT (logged with its path): damaged, too short, or a later segment is missing.
 * ERR_IO, ERR_BUSY. Thread   the cache: any. A source: the loop that made it.
 */
#ifndef SLUICE_TARGET_EXTENT_H
#define SLUICE_TARGET_EXTENT_H

#include "base/source.h"
#include "target/segment.h"

struct extent {
    struct segment_id id;
    uint64_t offset, len; /* within the segment's content */
};

struct extent_cache;
/* At most `open_max` descriptors beyond those in use. */
struct extent_cache *extent_cache_new(uint32_t open_max);
/* No source over it any more. BLOCKING. */
void extent_cache_free(struct extent_cache *c);
/* BLOCKING. Before or after segment_unlink(): lets go of the descriptor so that the space is freed; users of it go on
 * reading. */
void extent_cache_forget(struct extent_cache *c, const struct segment_dir *d, const struct segment_id *id);
/* BLOCKING. Closes what forgotten segments' last readers left (a loop must not: freeing a large file takes a while).
 * Done by extent_cache_forget() and by every opening, too. */
void extent_cache_reap(struct extent_cache *c);
/* Descriptors held, in use or not. */
size_t extent_cache_count(struct extent_cache *c);

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
