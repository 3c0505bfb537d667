/* meta.h - shared state (buckets, and later nodes, identities, ETLs, jobs): small values under keys, compare-and-swap on revisions.
 *
 * Shape    keys are paths like "bucket/<name>"; values at most META_VALUE_MAX bytes; every write states the revision it replaces.
 * Owns     the caller owns req, res and call until done; results come from req->arena.
 * Errors   ERR_NOT_FOUND; ERR_CONFLICT: the revision is not the current one; ERR_UNAVAILABLE.
 * Thread   a struct meta is shared by all loops; calls finish on the call's loop. Watch callbacks run on any thread.
 *          Revisions grow over all keys of a meta and never come back.
 */
#ifndef SLUICE_STORE_META_H
#define SLUICE_STORE_META_H

#include "base/arena.h"
#include "base/call.h"
#include "base/offload.h"

enum { META_KEY_MAX = 512, META_VALUE_MAX = 1 << 20, META_LIST_MAX = 1000 };

struct meta;
struct meta_get_req {
    struct arena *arena;
    struct str key;
};
struct meta_get_res {
    struct str value;
    uint64_t revision; /* of this key's last write; never 0 */
};
#define META_ANY UINT64_MAX
struct meta_put_req {
    struct str key, value;
    uint64_t revision; /* the one to replace; 0 = must not exist; META_ANY = whatever is there */
    bool remove;       /* delete instead; value is ignored */
};
struct meta_put_res {
    uint64_t revision;
};
struct meta_list_req {
    struct arena *arena;
    struct str prefix;
    struct str after; /* only keys behind it */
    uint32_t max;     /* a page may be shorter and truncated: META_LIST_MAX entries, 16 MiB */
};
struct meta_entry {
    struct str key, value;
    uint64_t revision;
};
struct meta_list_res {
    const struct meta_entry *entries; /* bytewise by key */
    uint32_t count;
    bool truncated;
};
/* Called once per change under the watched prefix, in order, after it took effect; removed: value is STR_NONE. The embedded stores
 * call it before the put that changed finishes. It must not call into the meta. */
typedef void meta_watch_fn(void *arg, struct str key, struct str value, uint64_t revision, bool removed);

struct meta_ops {
    const char *name;
    void (*get)(struct meta *, const struct meta_get_req *, struct meta_get_res *, struct call *);
    void (*put)(struct meta *, const struct meta_put_req *, struct meta_put_res *, struct call *);
    void (*list)(struct meta *, const struct meta_list_req *, struct meta_list_res *, struct call *);
    /* Tells every present entry first, then changes, until close. Before loops run. */
    enum err (*watch)(struct meta *, struct str prefix, meta_watch_fn *fn, void *arg);
    void (*close)(struct meta *);
};
struct meta {
    const struct meta_ops *ops;
};

static inline void meta_get(struct meta *m, const struct meta_get_req *req, struct meta_get_res *res, struct call *c)
{
    m->ops->get(m, req, res, c);
}
static inline void meta_put(struct meta *m, const struct meta_put_req *req, struct meta_put_res *res, struct call *c)
{
    m->ops->put(m, req, res, c);
}
static inline void meta_list(struct meta *m, const struct meta_list_req *req, struct meta_list_res *res, struct call *c)
{
    m->ops->list(m, req, res, c);
}
MUST_USE static inline enum err meta_watch(struct meta *m, struct str prefix, meta_watch_fn *fn, void *arg)
{
    return m->ops->watch(m, prefix, fn, arg);
}
static inline void meta_close(struct meta *m)
{
    m->ops->close(m);
}

/* The embedded backend: a RocksDB of its own under `dir` (made when absent), every write synced; blocking work on `pool`. */
MUST_USE enum err meta_local_open(struct str dir, struct offload *pool, struct meta **out);
/* In memory, for tests. */
struct meta *meta_memory_new(void);

#endif
