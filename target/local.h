/* local.h - the disk store of one node: an index (RocksDB) and segment files per mountpath.
 *
 * Shape    struct local is the engine, shared by all loops; local_store() makes a loop's handle. See docs/data-on-disk.md.
 * Owns     the engine owns mountpaths, committer threads and caches.
 * Errors   local_open() puts a sentence for a person into `why`: newer format, directory in use, not writable.
 * Thread   local_open/close: main thread; local_store(): before or on its loop.
 */
#ifndef SLUICE_TARGET_LOCAL_H
#define SLUICE_TARGET_LOCAL_H

#include "base/offload.h"
#include "store/store.h"

struct keyring;
enum durability { DURABILITY_SYNC, DURABILITY_ASYNC };

struct local_conf {
    const struct str *mountpaths; /* directories, made when absent */
    size_t mountpath_count;
    enum durability durability;
    uint32_t inline_max;        /* bytes: objects up to this live in the index; default 16384 */
    uint64_t cache_bytes;       /* hot records and small bodies; default 64 MiB */
    uint64_t index_cache_bytes; /* RocksDB block cache; default 256 MiB */
    uint32_t open_files_max;    /* cached segment descriptors; default 4096 */
    uint32_t full_percent;      /* writes are refused with ERR_NO_SPACE when a disk is fuller; default 97 */
    uint32_t high_percent;      /* logged and shown as a metric beyond; default 90 */
    uint32_t orphan_grace_s;    /* unreferenced files younger than this are left alone; default 3600 (0 at start-up) */
    bool verify_reads;          /* check block hashes before bytes leave */
    bool allow_missing;         /* start even though a directory of the set can't be used */
    const struct keyring *keys; /* for encrypted content, outlive the store; NULL: it is refused */
    struct offload *io, *cpu;
};
#define LOCAL_CONF_DEFAULT                                                                                             \
    {                                                                                                                  \
        .durability = DURABILITY_SYNC, .inline_max = 16384, .cache_bytes = 64u << 20, .index_cache_bytes = 256u << 20, \
        .open_files_max = 4096, .full_percent = 97, .high_percent = 90, .orphan_grace_s = 3600                         \
    }

struct local;
/* BLOCKING: opens or makes every mountpath, recovers, removes orphans of the staging directories. */
MUST_USE enum err local_open(const struct local_conf *conf, struct local **out, char why[512]);
/* No calls outstanding on any handle. BLOCKING. */
void local_close(struct local *l);
struct store *local_store(struct local *l, struct loop *loop);

#endif
