/* extent_cache.h - open segments, shared by all loops.
 *
 * Shape    sharded hash tables with a list of idle entries each; the idle one that was used longest ago goes first. Beside
 *          them a list of what readers of several segments hold.
 * Owns     its descriptors; an entry in use stays open until its last user has gone.
 * Errors   those of segment_open() and segment_footer_read(); ERR_NOT_FOUND is not logged.
 * Thread   any; BLOCKING functions: offload pool.
 */
#ifndef SLUICE_TARGET_EXTENT_CACHE_H
#define SLUICE_TARGET_EXTENT_CACHE_H

#include "target/segment.h"

struct extent {
    struct segment_id id;
    uint64_t offset, len; /* within the segment's content */
};

struct extent_cache;
/* Keeps at most about open_max descriptors beyond those in use. */
struct extent_cache *extent_cache_new(uint32_t open_max);
/* Nothing of it is in use. BLOCKING. */
void extent_cache_free(struct extent_cache *c);
/* BLOCKING. Removes the segment's name and lets go of its descriptor, so that the space is freed when its readers have gone.
 * ERR_AGAIN: a source over several segments has yet to open this one; a later extent_cache_reap() removes it (and after a
 * crash it is an orphan). Else as segment_unlink(). */
MUST_USE enum err extent_cache_unlink(struct extent_cache *c, struct segment_dir *d, const struct segment_id *id);
/* BLOCKING. Closes what users have left behind: a loop must not, as freeing a large unlinked file takes a while. Removes what
 * extent_cache_unlink() had to put off in `d`. To be called every now and then; opening closes, too. */
void extent_cache_reap(struct extent_cache *c, struct segment_dir *d);
/* BLOCKING. Closes all of a directory of which nothing is in use any more. */
void extent_cache_forget(struct extent_cache *c, struct segment_dir *d);
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

/* The segments that a reader is going to open one after the other: they keep their names while it holds them. */
struct extent_hold {
    struct extent_hold *prev, *next;
    const struct extent *list; /* the reader's */
    size_t n;
    struct segment_id least, most; /* of the list: most holds are passed over by a glance at these */
};
void extent_cache_hold(struct extent_cache *c, struct extent_hold *h, const struct extent *list, size_t n);
void extent_cache_let_go(struct extent_cache *c, struct extent_hold *h);

#endif
