/* arcs.h - archives of a store as clients see them: members by name, from an index that is made once and never stale.
 *
 * Shape    arc_cache: decoded indexes in memory, least recently used go first, shared by all loops. arcs: one loop's handle. arcs_store() wraps a
 *          store: what is written under an archive's name is indexed on its way or right after; deleting, overwriting and purging take the index
 *          along. An index lies as an object in the system bucket (system.h), "index/<bucket uid>/..."; one that is missing, damaged or
 *          of another state of the object is made anew when first wanted. Requests for one archive that is being indexed wait for that.
 * Owns     the environment outlives the handle. Results live in the request's arena.
 * Errors   ERR_NO_SUCH_KEY: no such archive; ERR_NO_SUCH_MEMBER; ERR_BAD_ARCHIVE (`why`: a sentence); conditions as of objects.
 * Thread   arc_cache: any; arcs and stores: their loop.
 */
#ifndef SLUICE_ARCHIVE_ARCS_H
#define SLUICE_ARCHIVE_ARCS_H

#include "archive/arc_member.h"
#include "store/buckets.h"

struct arc_cache;
struct arc_cache *arc_cache_new(uint64_t bytes_max);
void arc_cache_free(struct arc_cache *c);

struct arcs;
struct arcs_env {
    struct loop *loop;
    struct store *store; /* where archives and indexes are; not closed */
    struct buckets *buckets;
    struct offload *cpu;
    struct arc_cache *cache;
};
struct arcs *arcs_new(const struct arcs_env *env);
void arcs_free(struct arcs *a);
/* The store with indexing of what is written. Not closed with `a`. */
struct store *arcs_store(struct arcs *a);

/* ---- the archive ---- */

struct arcs_look_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    enum arc_format format; /* ARC_NONE: by name, then by magic */
};
struct arcs_look_res {
    struct object_info info;
    struct arc_index *index; /* a reference that the arena lets go of */
    char why[ARC_WHY_MAX];
};
void arcs_look(struct arcs *a, const struct arcs_look_req *req, struct arcs_look_res *res, struct call *call);

/* ---- one member ---- */

struct arcs_get_req {
    struct arcs_look_req archive;
    struct str member;
    struct cond cond; /* against the member's ETag and mtime, as for reads */
    struct range range;
    bool head; /* no body is wanted */
};
struct arcs_get_res {
    struct arc_member member;
    struct etag etag;     /* the member's */
    int64_t mtime_ns;     /* the member's, or the archive's when that is later than... see arcs.c */
    uint64_t offset, len; /* within the member */
    struct source *body;  /* the caller's to close; NULL on error and with `head` */
    char why[ARC_WHY_MAX];
};
/* One request to the store when the index is known. Filled like obj_get_res on ERR_NOT_MODIFIED, ERR_PRECONDITION, ERR_INVALID_RANGE. */
void arcs_get(struct arcs *a, const struct arcs_get_req *req, struct arcs_get_res *res, struct call *call);

/* ---- several ---- */

/* Members by name behind `after` that start with `prefix`; with a delimiter they roll up as keys do. */
struct arcs_list_req {
    struct arcs_look_req archive;
    struct str prefix, delimiter, after;
    uint32_t max;
};
struct arcs_entry {
    struct str name; /* or the common prefix */
    bool is_prefix;
    uint64_t size;
    int64_t mtime_ns;
    struct etag etag;
};
struct arcs_list_res {
    struct object_info info;
    const struct arcs_entry *entries;
    uint32_t count;
    bool truncated;
    char why[ARC_WHY_MAX];
};
void arcs_list(struct arcs *a, const struct arcs_list_req *req, struct arcs_list_res *res, struct call *call);

/* Positions (in the archive's order) of the members that a selection means. */
struct arcs_select_req {
    struct arcs_look_req archive;
    enum arc_mode mode;
    struct str pattern;
};
struct arcs_select_res {
    struct object_info info;
    struct arc_index *index; /* the arena's */
    const uint32_t *members;
    uint32_t count;
    char why[ARC_WHY_MAX]; /* also of a bad pattern: ERR_INVALID_ARGUMENT */
};
void arcs_select(struct arcs *a, const struct arcs_select_req *req, struct arcs_select_res *res, struct call *call);

#endif
