/* hotcache.h - decoded records with small bodies in memory, so that a hot GET asks neither RocksDB nor copies.
 *
 * Shape    sharded hash tables by index key, each a bounded LRU; an entry (struct hot) is immutable and reference
 *          counted. Staleness: a reader gets a ticket when it misses and may install what it read from the index only
 *          if no write to the shard began meanwhile; a writer takes the entry out before its write can be seen and
 *          puts the new one in after.
 * Units    bytes.
 * Owns     the cache holds one reference per entry; hot_find() and hot_new() give the caller one.
 * Thread   any.
 */
#ifndef SLUICE_TARGET_HOTCACHE_H
#define SLUICE_TARGET_HOTCACHE_H

#include <stdatomic.h>

#include "target/record.h"

struct hot {
    struct record rec; /* info.attrs are set */
    struct str key;    /* index key */
    struct str raw;    /* the record, encoded */
    struct str body;   /* inline bytes or manifest, when has_body */
    bool has_body;     /* always true of BODY_EMPTY and BODY_SEGMENT */
    /* the cache's own */
    _Atomic unsigned refs;
    uint64_t hash;
    size_t bytes;
    struct hot *chain, *newer, *older;
};

/* Copies all three. `body`: p == NULL: not known. ERR_CORRUPT when the record can't be decoded. */
MUST_USE enum err hot_new(struct str key, struct str raw, struct str body, struct hot **out);
/* Another time for one that nobody else has yet. False: not a time after January 1970. */
bool hot_set_mtime(struct hot *h, int64_t mtime_ns);
struct hot *hot_ref(struct hot *h);
void hot_unref(void *h); /* NULL is legal; void * so that it fits arena_defer() and source_memory() */

struct hotcache;
struct hotcache *hotcache_new(uint64_t bytes_max);
void hotcache_free(struct hotcache *c);

struct hot_ticket {
    uint64_t sequence;
    bool valid;
};
/* A reference or NULL, and a ticket for hot_install() either way (of what was found the body may be wanted). */
struct hot *hot_find(struct hotcache *c, struct str key, struct hot_ticket *t);
/* Offers what was read from the index after hot_find() missed. Keeps a reference of its own if it takes it. */
void hot_install(struct hotcache *c, const struct hot_ticket *t, struct hot *h);

/* Around every write to the index, by the one writer of that key: hot_write_begin() before it can be seen,
 * hot_write_end() after, with what is there now (takes the reference; NULL: nothing, or better read again). */
void hot_write_begin(struct hotcache *c, struct str key);
void hot_write_end(struct hotcache *c, struct str key, struct hot *h);

#endif
