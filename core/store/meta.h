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
    struct str absent; /* not empty: only while that key is not there, or ERR_CONFLICT */
    /* not empty: another key, which the same write removes when it has this revision: both or nothing, ERR_CONFLICT.
     * Watchers are told of the removal first, with the same revision. */
    struct str vacates;
    uint64_t vacates_revision;
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

/* A key that is there as long as this process lives and reaches the store. */
struct meta_lease;
struct meta_lease_req {
    struct str key, value;
    uint32_t
        ttl_s; /* how long the key outlives a process that has gone silent; embedded stores: no longer than the process */
};

struct meta_lease_state {
    uint64_t until_ns;
    uint64_t puts;
};

struct meta_ops {
    const char *name;
    bool shared; /* other processes write to it too: what a watch told may be a moment old */
    void (*get)(struct meta *, const struct meta_get_req *, struct meta_get_res *, struct call *);
    void (*put)(struct meta *, const struct meta_put_req *, struct meta_put_res *, struct call *);
    void (*list)(struct meta *, const struct meta_list_req *, struct meta_list_res *, struct call *);
    /* Tells every present entry first, then changes, until close. Before loops run. */
    enum err (*watch)(struct meta *, struct str prefix, meta_watch_fn *fn, void *arg);
    /* Puts the key and keeps it: in the background, also again after the lease was lost in an outage. BLOCKING, at most
     * some seconds: ERR_UNAVAILABLE then. Before loops run. */
    enum err (*lease)(struct meta *, const struct meta_lease_req *, struct meta_lease **out);
    /* How sure the lease is: until when (CLOCK_BOOTTIME) nobody can have seen it end, counted from when it was last asked to be
     * kept; and how often its key was put, which changes when it had been lost. Any thread. NULL = always sure. */
    void (*lease_state)(struct meta_lease *, struct meta_lease_state *);
    /* Removes the key at once, as far as the store can be reached. BLOCKING. NULL is legal. */
    void (*lease_end)(struct meta *, struct meta_lease *);
    /* Whether the store answered lately; the embedded ones: always. Any thread. */
    bool (*reachable)(struct meta *);
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
MUST_USE static inline enum err meta_lease(struct meta *m, const struct meta_lease_req *req, struct meta_lease **out)
{
    return m->ops->lease(m, req, out);
}
static inline void meta_lease_state(struct meta *m, struct meta_lease *l, struct meta_lease_state *out)
{
    *out = (struct meta_lease_state){UINT64_MAX, 1};
    if (m->ops->lease_state)
        m->ops->lease_state(l, out);
}
static inline void meta_lease_end(struct meta *m, struct meta_lease *l)
{
    m->ops->lease_end(m, l);
}
static inline bool meta_reachable(struct meta *m)
{
    return m->ops->reachable(m);
}
static inline void meta_close(struct meta *m)
{
    m->ops->close(m);
}

/* etcd v3 through its JSON gateway. The data path does not need it: what was watched stays known while it is away. */
struct meta_etcd_conf {
    const struct str *endpoints; /* "http://host:2379"; tried in turn */
    size_t endpoint_count;
    struct str prefix;         /* of all keys, e.g. "/sluice/default/" */
    struct str user, password; /* empty: none */
    struct str ca_file, cert_file,
        key_file;        /* empty: the system's CAs, no client certificate. With users in use, etcd's
                                              * gateway takes only client certificates without a common name */
    uint32_t timeout_ms; /* of one request; 0 = 5 s */
};
/* BLOCKING: asks the cluster for its health. `why`: a sentence for a person. */
MUST_USE enum err meta_etcd_open(const struct meta_etcd_conf *conf, struct meta **out, char why[256]);

/* The embedded backend: a RocksDB of its own under `dir` (made when absent), every write synced; blocking work on `pool`. */
MUST_USE enum err meta_local_open(struct str dir, struct offload *pool, struct meta **out);
/* In memory, for tests. */
struct meta *meta_memory_new(void);

#endif
