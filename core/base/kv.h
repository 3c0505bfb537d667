/* kv.h - an ordered, crash-safe map of bytes to bytes in a directory of its own.
 *
 * Shape    one RocksDB per struct kv: batches written atomically, gets, ordered iterators over consistent views.
 * Units    keys sort bytewise (memcmp, a prefix before what it starts).
 * Owns     the caller owns what it opens: kv_close() after every value, iterator and snapshot of it was released.
 * Errors   ERR_NOT_FOUND, ERR_AGAIN (cache only: the answer needs the disk), ERR_NO_SPACE, ERR_CORRUPT, ERR_IO;
 *          logged here.
 * Thread   BLOCKING (offload pool, own threads) except kv_get() with KV_CACHED. A struct kv is shared by all threads;
 *          an iterator, value or batch is used by one at a time.
 * Source   RocksDB 7.8, rocksdb/c.h.
 */
#ifndef SLUICE_BASE_KV_H
#define SLUICE_BASE_KV_H

#include <stdbool.h>

#include "err.h"
#include "str.h"

enum { KV_WHY_MAX = 512 };

struct kv;
struct kv_options {
    size_t cache_bytes;        /* block cache; 0 = 8 MiB */
    size_t write_buffer_bytes; /* one memtable, there are up to three; 0 = 16 MiB */
    bool create;               /* make it when absent (the parent directory must exist) */
};
/* `why` (may be NULL) gets a sentence for a person: in use by another process, absent, damaged. ERR_CONFLICT: in use.
 */
MUST_USE enum err kv_open(struct str dir, const struct kv_options *o, struct kv **out, char why[KV_WHY_MAX]);
/* Also flushes to tables what only the log holds. NULL is legal. */
void kv_close(struct kv *kv);

/* ---- reading ---- */

enum kv_tier {
    KV_DISK,   /* may block */
    KV_CACHED, /* memory only: ERR_AGAIN when that can't tell; legal on an event loop */
};
struct kv_value {
    struct str bytes; /* until kv_value_release() */
    void *pin;
};
MUST_USE enum err kv_get(struct kv *kv, struct str key, enum kv_tier tier, struct kv_value *out);
/* Harmless on a zeroed or released value. */
void kv_value_release(struct kv_value *v);

/* A consistent view for several iterators. */
struct kv_snapshot;
struct kv_snapshot *kv_snapshot_open(struct kv *kv);
void kv_snapshot_close(struct kv *kv, struct kv_snapshot *s);

struct kv_iter;
struct kv_iter_options {
    struct str end;                     /* only keys before it; STR_NONE = no bound. Copied. */
    const struct kv_snapshot *snapshot; /* NULL: the state now */
    bool once;                          /* a scan of everything: leaves the block cache alone */
};
struct kv_iter *kv_iter_open(struct kv *kv, const struct kv_iter_options *o);
/* To the first key at or behind `key`. */
void kv_iter_seek(struct kv_iter *it, struct str key);
/* To the last key at or before `key`. */
void kv_iter_seek_back(struct kv_iter *it, struct str key);
/* Only when valid. */
void kv_iter_next(struct kv_iter *it);
/* False at the end and after a failure: kv_iter_err() tells which. */
bool kv_iter_valid(const struct kv_iter *it);
/* Valid until the iterator moves. */
struct str kv_iter_key(const struct kv_iter *it);
struct str kv_iter_value(const struct kv_iter *it);
MUST_USE enum err kv_iter_err(struct kv_iter *it);
void kv_iter_close(struct kv_iter *it);

/* ---- writing ---- */

/* Changes applied in order, all or none. */
struct kv_batch;
struct kv_batch *kv_batch_new(void);
void kv_batch_free(struct kv_batch *b);
void kv_batch_put(struct kv_batch *b, struct str key, struct str value);
void kv_batch_delete(struct kv_batch *b, struct str key);
/* Every key from `begin` up to but not including `end`. */
void kv_batch_delete_range(struct kv_batch *b, struct str begin, struct str end);
unsigned kv_batch_count(const struct kv_batch *b);
void kv_batch_clear(struct kv_batch *b);
/* sync: on the disk when it returns; otherwise it survives a crash of the process but not of the machine. The batch
 * stays. */
MUST_USE enum err kv_write(struct kv *kv, struct kv_batch *b, bool sync);

/* ---- upkeep ---- */

/* Writes memtables to tables. */
MUST_USE enum err kv_flush(struct kv *kv);
/* An openable copy in `dir`, which must not exist; tables are hard links on the same file system. */
MUST_USE enum err kv_checkpoint(struct kv *kv, struct str dir);
/* Salvages what tables and logs still hold in a closed directory. `why` as in kv_open(). */
MUST_USE enum err kv_repair(struct str dir, char why[KV_WHY_MAX]);
/* Roughly. */
uint64_t kv_count(struct kv *kv);
uint64_t kv_memory(struct kv *kv);     /* memtables and block cache, bytes */
uint64_t kv_disk_bytes(struct kv *kv); /* tables in use, bytes */
uint64_t kv_failures(struct kv *kv);   /* I/O errors since it was opened, but for a full disk */
uint64_t kv_unflushed(struct kv *kv);  /* memtables: what the next flushes will write, bytes */

#endif
