/* extent_cache.h - open segments, shared by all loops.
 *
 * Shape    sharded hash tables with a list of idle entries each; the idle one that was used longest ago goes first.
 * Owns     its descriptors; an entry in use stays open until its last user has gone.
 * Errors   those of segment_open() and segment_footer_read(); ERR_NOT_FOUND is not logged.
 * Thread   any; BLOCKING functions: offload pool.
 */
#ifndef SLUICE_TARGET_EXTENT_CACHE_H
#define SLUICE_TARGET_EXTENT_CACHE_H

#include "target/segment.h"

struct extent_cache;
/* Keeps at most about open_max descriptors beyond those in use. */
struct extent_cache *extent_cache_new(uint32_t open_max);
/* Nothing of it is in use. BLOCKING. */
void extent_cache_free(struct extent_cache *c);
/* BLOCKING. After segment_unlink(), in this order: lets go of the descriptor so that the space is freed; its users go
 * on reading. */
void extent_cache_forget(struct extent_cache *c, const struct segment_dir *d, const struct segment_id *id);
/* BLOCKING. Closes what users have left behind: a loop must not, as freeing a large unlinked file takes a while. Done
 * by every open and forget, too. */
void extent_cache_reap(struct extent_cache *c);
/* Descriptors that it knows, in use or not. */
size_t extent_cache_count(struct extent_cache *c);

/* A segment in use. */
struct extent_file {
    int fd;
    uint64_t file_size; /* content and footer, when it was opened */
    struct segment_dir *dir;
    struct segment_id id;
};
/* NULL: not open. Never blocks for long. */
struct extent_file *extent_cache_get(struct extent_cache *c, struct segment_dir *d, const struct segment_id *id);
/* BLOCKING. */
MUST_USE enum err extent_cache_open(struct extent_cache *c, struct segment_dir *d, const struct segment_id *id,
                                    struct extent_file **out);
/* Ends a get or open. NULL is legal. */
void extent_cache_put(struct extent_cache *c, struct extent_file *f);
/* BLOCKING. The segment's footer, read once while it is open; valid until put. */
MUST_USE enum err extent_cache_footer(struct extent_file *f, const struct segment_footer **out);

#endif
