/* mountpath.h - one directory on one disk: its format file, its lock, index, segments, committer and free space.
 *
 * Shape    <dir>/{sluice.format, lock, index/, segments/, staging/}; a thread of its own ("keeper") removes dead
 *          segments and looks at the free space every second.
 * Owns     all of that, until mountpath_close(). Errors mountpath_open() puts a sentence for a person into `why`.
 * Thread   open/close: BLOCKING, main thread. Fields are constant after opening; functions from any thread.
 */
#ifndef SLUICE_TARGET_MOUNTPATH_H
#define SLUICE_TARGET_MOUNTPATH_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/kv.h"
#include "target/commit.h"
#include "target/extent.h"
#include "target/local.h"

enum {
    MOUNTPATH_FORMAT = 2,
    MOUNTPATH_UUID_LEN = 16,
    MOUNTPATHS_MAX = 64,
    MOUNTPATH_WHY_MAX = 512,
    MOUNTPATH_DIR_MAX = 512, /* bytes of a directory's name in a set that was changed */
};

struct mountpath_uuid {
    uint8_t b[MOUNTPATH_UUID_LEN];
};

/* What is read and written before anything else is touched: shared with fsck. */
struct mountpath_format {
    struct mountpath_uuid uuid;
    size_t set_count; /* uuids of all mountpaths that hold objects together; 0: not yet settled */
    struct mountpath_uuid set[MOUNTPATHS_MAX];
    uint64_t generation; /* changes of the set; 0: none yet, and what follows says nothing. The highest is right */
    bool moving;         /* not every object is where it belongs */
    struct mountpath_seat {
        bool out, leaving, behind;
        char dir[MOUNTPATH_DIR_MAX + 1];
    } seats[MOUNTPATHS_MAX]; /* of `set` */
};
/* BLOCKING. Makes the directory if absent, takes the lock (*lock_fd), reads the format or begins a new one. */
MUST_USE enum err mountpath_claim(struct str dir, bool create, struct mountpath_format *f, int *lock_fd,
                                  char why[MOUNTPATH_WHY_MAX]);
/* BLOCKING. Durable. */
MUST_USE enum err mountpath_settle(struct str dir, const struct mountpath_format *f, char why[MOUNTPATH_WHY_MAX]);

/* A segment that has its name but is not in the index yet: garbage collection leaves it alone. Embedded in its owner.
 */
struct inflight {
    struct inflight *next, **at;
    struct segment_id id;
};

struct keeper;
struct mountpath {
    struct str dir; /* NUL-terminated */
    struct mountpath_uuid uuid;
    uint64_t seed; /* for placement */
    int lock_fd;
    struct kv *kv;
    uint64_t index_buffer; /* bytes of a memtable of the index */
    struct segment_dir *segments;
    struct committer *committer;
    struct hotcache *hot;         /* records that it holds */
    struct extent_cache *extents; /* shared */
    struct keeper *keeper;
    _Atomic bool full; /* writes are refused */
    pthread_mutex_t inflight_lock;
    struct inflight *inflight;                   /* guarded by inflight_lock */
    uint64_t failures_before, failures_since_ns; /* of mountpath_fails() */
    _Atomic bool given_up;                       /* it fails, and that was dealt with */
};

struct mountpath_env {
    const struct local_conf *conf;
    struct extent_cache *extents;
    size_t mountpath_count; /* caches are shared out among so many */
};
/* After mountpath_claim(), whose lock it takes over. */
MUST_USE enum err mountpath_open(const struct mountpath_env *env, struct str dir, const struct mountpath_format *f,
                                 int lock_fd, struct mountpath **out, char why[MOUNTPATH_WHY_MAX]);
/* No commits outstanding. NULL is legal. */
void mountpath_close(struct mountpath *m);

/* Why it should not be used any more: I/O errors that go on, or an index that takes no more writes. NULL: it works. One thread asks,
 * every now and then. */
const char *mountpath_fails(struct mountpath *m);

/* Removes the files soon, off this thread. */
void mountpath_unlink(struct mountpath *m, const struct segment_id *ids, size_t n);
/* Returns once everything handed to mountpath_unlink() before is gone. BLOCKING; for tests and tools. */
void mountpath_drain(struct mountpath *m);

/* From before the segment gets its name until its record is committed or it was unlinked. */
void inflight_add(struct mountpath *m, struct inflight *f, const struct segment_id *id);
void inflight_remove(struct mountpath *m, struct inflight *f); /* harmless on a zeroed one */

#endif
