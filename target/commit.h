/* commit.h - the one writer of a mountpath's index: takes what is waiting, decides each change against the current
 * state, writes them as one batch with one sync.
 *
 * Shape    a commit is embedded in its owner's struct; apply() runs on the committer's thread, in order of
 *          submission, sees what earlier commits of the batch did, and appends changes to the txn. Being alone makes
 *          conditions atomic per key.
 * Owns     a commit and everything its changes point to stay as they are until its call is done.
 * Errors   the call's: apply's own verdict; ERR_BUSY: the queue is full; ERR_NO_SPACE, ERR_IO: nothing was written.
 *          After a failed write or sync every commit fails with ERR_IO until the mountpath is opened anew: what the
 *          disk holds is not known.
 * Thread   commit_submit() from any; txn_*() from apply() only, on the committer's thread.
 */
#ifndef SLUICE_TARGET_COMMIT_H
#define SLUICE_TARGET_COMMIT_H

#include "base/arena.h"
#include "base/call.h"
#include "base/kv.h"
#include "target/hotcache.h"

struct txn;
struct committer;
struct commit {
    /* Reads first, then appends; after its first append it must not fail. */
    enum err (*apply)(struct commit *, struct txn *);
    struct call *call;
    struct commit *next;
    enum err err;
    bool committed; /* out: its changes are in the index */
};

struct committer_conf {
    struct kv *kv;
    struct hotcache *hot;
    bool sync;
    /* Gets the segments that nothing refers to any more, after the write. */
    void (*unlink)(void *arg, const struct segment_id *ids, size_t n);
    void *arg;
    struct str name; /* for logs; outlives it */
};
struct committer *committer_new(const struct committer_conf *conf);
/* Ends what was submitted, then the thread. */
void committer_free(struct committer *c);
void commit_submit(struct committer *c, struct commit *m, enum err (*apply)(struct commit *, struct txn *),
                   struct call *call);
/* Writes go wrong since a failure. */
bool committer_is_broken(const struct committer *c);

/* ---- for apply ---- */

/* What the key holds now; ERR_NOT_FOUND. Valid until the batch ends. */
MUST_USE enum err txn_get(struct txn *t, struct str key, struct str *out);
/* The first key at or behind `begin`, before `end`, with what it holds; ERR_NOT_FOUND. As above; looks through the batch: not for every put. */
MUST_USE enum err txn_first(struct txn *t, struct str begin, struct str end, struct str *key, struct str *value);
/* `key` and `value` must stay until the batch ends: the commit's own, or from txn_arena(). */
void txn_put(struct txn *t, struct str key, struct str value);
void txn_delete(struct txn *t, struct str key);
/* Not seen by later txn_get() of the batch: only for keys that nobody asks for once their parent is gone.
 * Copied. */
void txn_delete_range(struct txn *t, struct str begin, struct str end);
/* What the cache is to hold for `key`, which was put or deleted, after the write. Takes the reference. */
void txn_cache(struct txn *t, struct str key, struct hot *h);
/* The segment is garbage once the batch is written. */
void txn_unlink(struct txn *t, const struct segment_id *id);
struct arena *txn_arena(struct txn *t);

/* Sealed buckets: writes to them fail. In memory only, and only as of the moment of the commit. */
void txn_seal(struct txn *t, uint64_t bucket_uid);
MUST_USE enum err txn_check_bucket(struct txn *t, uint64_t bucket_uid); /* ERR_NO_SUCH_BUCKET */
/* Takes back one txn_seal(), or all. From any thread, at once: it needs no place in the queue, so that it can't fail. */
void committer_unseal(struct committer *c, uint64_t bucket_uid, bool all);
/* Seals what `other` has sealed. */
void committer_seal_like(struct committer *c, struct committer *other);
/* The same as txn_check_bucket() from any thread, for an early answer. */
MUST_USE enum err committer_check_bucket(struct committer *c, uint64_t bucket_uid);

/* Notices of change by id: whoever read several keys of an id (the parts of an upload) outside of a commit learns
 * inside of one whether they changed since. Read the count, read the keys, compare with txn_changes() in apply. */
uint64_t committer_changes(struct committer *c, const struct segment_id *id);
uint64_t txn_changes(struct txn *t, const struct segment_id *id);
void txn_changed(struct txn *t, const struct segment_id *id);

#endif
