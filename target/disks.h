/* disks.h - the mountpaths of one node: which there are, which hold what, and how that changes while the server runs.
 *
 * Shape    the mountpaths are an immutable set (struct disk_set), replaced as a whole; a request works with the set it began with. A key
 *          belongs to the first of the mountpaths by rendezvous hashing; with mirror=N its copies are on the first N.
 *            calm        every key is where it belongs: reads and writes go there, without a lock.
 *            not calm    objects move (after attach and detach). Reads look where the key belongs, then everywhere else. Writes hold the
 *                        key's lock, bring the object to its place first, and then write there alone; so what is found at its
 *                        place is right, and nothing newer is anywhere else. Writes of mirrored buckets always do so.
 *          A new set is published, then the writes that decided by an older one end, then it opens: until then writes that go by it
 *          wait. Writes decide just before they commit (commit_gate), so that this takes no longer than commits do.
 *          A thread brings objects to their places ("resilver") and makes the set calm in the end, closes mountpaths that nobody
 *          uses any more and takes out those that fail.
 * Owns     the engine (struct disks) its sets and mountpaths. A set's mountpaths stay open while a request has it (set_use).
 * Errors   ERR_UNAVAILABLE: the object is, or may be, on a mountpath that is out.
 * Thread   functions on disks: any, those that change the set are BLOCKING; a handle and its uses: its loop.
 * Source   docs/data-on-disk.md, "Several directories"
 */
#ifndef SLUICE_TARGET_DISKS_H
#define SLUICE_TARGET_DISKS_H

#include "target/engine.h"
#include "target/keylock.h"

struct disk {
    struct mountpath_uuid uuid;
    struct str dir;              /* NUL-terminated */
    struct mountpath *mountpath; /* NULL: out */
    uint64_t seed;
    bool leaving; /* nothing belongs there any more */
    bool behind;  /* was out: what it has of mirrored buckets may be old */
};
/* In the order in which objects move: those that leave first, then as they were attached. Whoever looks at one after the other sees every
 * object. */
struct disk_set {
    uint64_t generation; /* 0: never changed since the first start */
    bool calm;
    _Atomic bool open;
    size_t count;
    size_t out; /* of them, and those that are behind */
    size_t behind;
    struct disk disks[MOUNTPATHS_MAX];
    size_t placed; /* those that keys belong to */
    uint8_t placed_at[MOUNTPATHS_MAX];
    uint64_t seeds[MOUNTPATHS_MAX];
    struct disk_set *older; /* all sets live as long as the engine */
    bool closed;            /* guarded by the engine's lock: nobody uses it any more */
};
/* Positions of the first `n` mountpaths that the key belongs to; returns how many there are. */
size_t disk_rank(const struct disk_set *s, uint64_t uid, struct str key, size_t n, uint8_t *out);
/* Of the first. */
size_t disk_place(const struct disk_set *s, uint64_t uid, struct str key);
/* Copies of each object that the bucket wants; 1 = not mirrored. */
static inline size_t disk_copies(struct redundancy r)
{
    return r.kind == REDUNDANCY_MIRROR ? r.data : 1;
}
/* Whether what the mountpath has of such a bucket counts. */
static inline bool disk_knows(const struct disk *d, size_t copies)
{
    return d->mountpath && (copies == 1 || !d->behind);
}
/* Whether an object that is nowhere to be seen may be on mountpaths that don't answer. */
bool disk_doubt(const struct disk_set *s, uint64_t uid, struct str key, size_t copies);

/* ---- a loop's handle ---- */

/* A set in use by a handle, and its mountpaths as stores. */
struct disk_use {
    struct disk_use *next;
    struct disk_set *set;
    _Atomic unsigned pins;    /* requests; changed by the loop alone */
    _Atomic unsigned writing; /* writes that decided by this set */
    bool orphan;              /* its handle is closed: the last pin frees it */
    struct local_member members[];
};
struct disk_handle {
    struct store store;
    struct local *local;
    struct disk_use *current, *uses;
    struct disk_handle *next, **at; /* of all; guarded by the engine's lock */
};
static inline struct disk_handle *disk_handle_of(struct store *s)
{
    return CONTAINER(s, struct disk_handle, store);
}
/* The set of now; its mountpaths stay until disk_unpin(). */
struct disk_use *disk_pin(struct disk_handle *h);
void disk_unpin(void *use); /* for arena_defer() */
/* Until the arena's end. */
struct disk_use *disk_pin_for(struct disk_handle *h, struct arena *a);
bool disk_is_current(const struct disk_handle *h, const struct disk_use *u);

/* ---- the engine ---- */

struct bucket_table;
struct repair;
struct disks {
    struct local *local;
    struct disk_set *_Atomic set;
    pthread_mutex_t change; /* one change at a time */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct disk_handle *handles; /* guarded by lock, as what follows */
    struct repair *repairs;
    size_t repair_count;
    bool woken;
    struct keylocks *locks;
    struct bucket_table *buckets;
    struct mountpath_uuid home; /* the first data directory holds other things, too */
    pthread_t thread;
    bool running;
    _Atomic bool stop, again; /* again: something may not be in place */
    struct disk_admin *admin;
    _Atomic uint64_t moved, moved_bytes, checked; /* by resilvering, since the start */
    _Atomic bool resilvering;
};
/* BLOCKING. Opens conf->mountpaths and what belongs to them. */
MUST_USE enum err disks_open(struct local *l, const struct local_conf *conf, char why[MOUNTPATH_WHY_MAX]);
void disks_start(struct disks *d);
void disks_close(struct disks *d);
/* A set whose mountpaths stay open: for threads without a loop. */
struct disk_use *disks_hold(struct disks *d);
void disks_let_go(struct disks *d, struct disk_use *u);

enum disk_verb { DISK_ATTACH, DISK_DETACH, DISK_DETACH_LOST, DISK_DISABLE, DISK_ENABLE };
/* BLOCKING. `dir` as it was given, or by another name of the same directory. */
MUST_USE enum err disks_change(struct disks *d, enum disk_verb verb, struct str dir, char why[MOUNTPATH_WHY_MAX]);
/* Takes `m` out, as it fails; unless it is the last one. BLOCKING. */
void disks_fail(struct disks *d, struct mountpath *m, const char *reason);
/* What there is, a line each, and how far moving has come. */
void disks_print(struct disks *d, struct buf *out);
/* The thread looks soon. Any thread. */
void disks_wake(struct disks *d);
/* BLOCKING until the current set is calm, nothing is behind and what left is closed; false after `ms`. For tests and tools. */
bool disks_settled(struct disks *d, unsigned ms);

#endif
