/* arcs_own.h - what the files of arcs share: the cache's entries, making an index once for all who wait, work behind requests.
 *
 * Shape    arcs.c the handle and arcs_look(); arcs_cache.c; arcs_make.c; arcs_keep.c; arcs_get.c and arcs_list.c over arcs_look(); arcs_store.c
 *          and arcs_tee.c the store.
 * Owns     see each function.
 * Thread   arc_cache: any; everything else the loop's.
 */
#ifndef SLUICE_ARCHIVE_ARCS_OWN_H
#define SLUICE_ARCHIVE_ARCS_OWN_H

#include "archive/arc_scan.h"
#include "archive/arcs.h"
#include "base/op.h"

enum {
    ARCS_TRIES_MAX = 16,    /* an archive that changes while it is looked at */
    ARCS_MAKES_MAX = 8,     /* indexes read or made at a time, per loop */
    ARCS_KEEPS_MAX = 4,     /* kept, removed or made behind requests at a time, per loop */
    ARCS_KEEP_QUEUE = 1024, /* that wait for it; more are left to the first who wants the index */
};

/* What an index is of. `format`: as asked for or by name; ARC_NONE: by magic. */
struct arc_id {
    struct bucket_id bucket;
    struct str key;
    enum arc_format format;
};
/* Of `asked`, or of the key's name. */
struct arc_id arc_id_of(const struct bucket_id *bucket, struct str key, enum arc_format asked);
/* Whether its index is kept in the system bucket: only what is an archive by its name, so that a delete knows what goes along. */
bool arc_id_is_kept(const struct arc_id *id);

/* ---- cache ---- */

/* What is known of one state of an object: its index, or that it has none and why. */
struct arc_known {
    struct arc_index *index; /* a reference; NULL: see err */
    enum err err;
    char why[ARC_WHY_MAX];
    uint64_t size; /* with err: of the object that it was found of */
    int64_t mtime_ns;
    struct etag etag;
};
/* False: nothing. */
bool arc_cache_get(struct arc_cache *c, const struct arc_id *id, struct arc_known *out);
/* Keeps a reference of its own. */
void arc_cache_put(struct arc_cache *c, const struct arc_id *id, struct arc_index *x);
/* That this state of the object is no archive. */
void arc_cache_put_failure(struct arc_cache *c, const struct arc_id *id, const struct object_info *info, enum err e,
                           const char *why);
void arc_cache_drop(struct arc_cache *c, const struct arc_id *id);
bool arc_known_fits(const struct arc_known *k, const struct object_info *info);

/* ---- making ---- */

/* The index of the state `info` of an object, from the system bucket or anew. Several that want the same wait for one.
 * `old`: of an earlier state, may be NULL. */
struct arc_made {
    struct arc_index *index; /* one reference, the caller's; maybe of a later state */
    char why[ARC_WHY_MAX];
};
void arcs_make(struct arcs *a, const struct arc_id *id, const struct object_info *info, struct arc_index *old,
               struct arc_made *out, struct call *call);
/* Nobody waits any more. */
bool arcs_make_idle(const struct arcs *a);

/* ---- behind requests ---- */

/* Puts the index into the system bucket; keeps a reference meanwhile. */
void arcs_keep_write(struct arcs *a, const struct arc_id *id, struct arc_index *x);
void arcs_keep_remove(struct arcs *a, const struct arc_id *id);
/* Makes the index of what was written without passing a scan. */
void arcs_keep_make(struct arcs *a, const struct arc_id *id);
/* All that belong to a bucket. Not behind the request: it may be a lot. Failures are passed over. */
void arcs_keep_purge(struct arcs *a, struct arena *arena, uint64_t uid, struct call *call);
/* Where the index of `id` is in the system bucket. */
struct str arcs_keep_key(struct arena *arena, const struct arc_id *id);

/* ---- on the way to the store ---- */

/* Hands on `inner` (not taken) and feeds what passes to a scan of its own. */
struct arcs_tee;
struct arcs_tee *arcs_tee_open(struct loop *loop, struct offload *cpu, enum arc_format format, struct source *inner);
struct source *arcs_tee_source(struct arcs_tee *t);
/* After all was read: the index. *index stays NULL when there is none; that is no error. */
void arcs_tee_end(struct arcs_tee *t, const struct object_info *info, struct arc_index **index, struct call *call);
void arcs_tee_close(struct arcs_tee *t);

/* ---- the handle ---- */

struct arc_making;
struct arc_keep;
struct arcs {
    struct arcs_env env;
    struct store_ops ops;
    struct store store; /* what arcs_store() gives */
    struct arc_making *makings;
    unsigned making_count;
    struct arc_keep *keeps, *waiting, **waiting_end; /* running; not yet */
    unsigned keep_count, waiting_count;
    bool closing;
};
void arcs_store_init(struct arcs *a);
void arcs_keep_init(struct arcs *a);
/* Ends them: cancels what runs, forgets what waits. */
void arcs_keep_stop(struct arcs *a);

#endif
