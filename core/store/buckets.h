/* buckets.h - the directory of buckets: a cache over meta that answers without waiting.
 *
 * Shape    a table ordered by name under a reader lock, kept current by a meta watch; changes are compare-and-swaps in meta.
 *          Record: key "bucket/<name>", value {"format":1,"uid":"<hex>","created_ns":n,"region":"...","owner":"...",
 *          "redundancy":"ec=4+2","versions":"enabled","encryption":"AES256","bucket_key":"true","locks":"true","props":{...}}.
 * Owns     struct bucket values are copies into the caller's arena.
 * Errors   ERR_NO_SUCH_BUCKET, ERR_BUCKET_OWNED, ERR_BUCKET_EXISTS, ERR_BUCKET_NOT_EMPTY, ERR_UNAVAILABLE.
 * Thread   shared by all loops; calls finish on their own loop.
 */
#ifndef SLUICE_STORE_BUCKETS_H
#define SLUICE_STORE_BUCKETS_H

#include "store/meta.h"
#include "store/store.h"

struct bucket {
    struct bucket_id id;
    int64_t created_ns;
    struct str region; /* as in the LocationConstraint, empty = us-east-1 */
    struct str owner;  /* access key or user that created it */
    struct str
        props; /* JSON object of settings, bounded by BUCKET_PROPS_MAX; empty = {}. What each member means: bucket_props.h */
    bool bucket_key; /* told back to who set it: it has a meaning with a key management service only */
    bool locks;      /* versions can be locked (S3 Object Lock): versions can't be suspended any more */
    bool members;    /* of props: what is in archives is shown as keys, "shard.tar/name" */
};
enum { BUCKET_PROPS_MAX = 16384 };
/* Buckets whose names begin with this are the system's own: never listed to clients, and no client can name them. */
static inline bool bucket_is_system(struct str name)
{
    return name.n > 0 && name.p[0] == '.';
}

/* "", "enabled", "suspended". */
struct str versions_text(enum versions_mode m);

/* A record as it is in meta, for who reads it there himself; the strs of *b live in `arena`. ERR_CORRUPT: it is none, and was logged. */
MUST_USE enum err bucket_parse(struct arena *arena, struct str name, struct str value, struct bucket *b);

struct buckets;
/* Loads the directory and follows it. Before loops run. */
MUST_USE enum err buckets_open(struct meta *meta, struct buckets **out);
/* When `meta` tells no more: it is closed already, or nobody writes to it. */
void buckets_close(struct buckets *);

/* From the cache, without waiting. `b`'s strs are copied into `arena`. ERR_NO_SUCH_BUCKET. */
MUST_USE enum err buckets_find(struct buckets *, struct arena *arena, struct str name, struct bucket *b);

struct bucket_look_req {
    struct arena *arena;
    struct str name;
    bool fresh; /* as meta has it now, also when the cache has one */
};
struct bucket_look_res {
    struct bucket bucket;
};
/* As buckets_find(), but what is not in the cache is looked for in a meta that others write to: a bucket that another gateway
 * made a moment ago is there. ERR_UNAVAILABLE when that can't be reached. */
void buckets_look(struct buckets *, const struct bucket_look_req *, struct bucket_look_res *, struct call *);

struct bucket_create_req {
    struct arena *arena;
    struct str name, region, owner;
    struct redundancy redundancy;
    struct str props; /* JSON object; empty: {} */
    bool locks;       /* made with VERSIONS_ON, too */
};
struct bucket_create_res {
    struct bucket bucket; /* also filled on ERR_BUCKET_OWNED / ERR_BUCKET_EXISTS */
};
/* The cache shows it before the call finishes. */
void buckets_create(struct buckets *, const struct bucket_create_req *, struct bucket_create_res *, struct call *);

/* Changes settings: `change` is a JSON object whose members replace those of the same name; null removes one. Compare-and-swap,
 * repeated when others were faster. The cache shows it before the call finishes. ERR_NO_SUCH_BUCKET, ERR_INVALID_ARGUMENT (not an
 * object), ERR_TOO_LARGE. */
struct bucket_set_props_req {
    struct arena *arena;
    struct str name;
    struct str change;
    bool replace;      /* `change` is all there will be */
    bool set_versions; /* the record's `versions` and `locks`, too: as these */
    enum versions_mode versions;
    bool locks;
    bool set_encrypted; /* the record's `encryption` and `bucket_key`, too: as these */
    bool encrypted;
    bool bucket_key;
    /* p != NULL: only while the settings are these, as struct bucket had them, otherwise ERR_CONFLICT: for who made `change` of them */
    struct str only_if;
};
struct bucket_set_props_res {
    struct bucket bucket;
};
void buckets_set_props(struct buckets *, const struct bucket_set_props_req *, struct bucket_set_props_res *,
                       struct call *);

/* Gives a bucket another name: its uid and with it all that it holds stay. One write to meta moves the record, so that a crash leaves it
 * under exactly one of the names. ERR_NO_SUCH_BUCKET, ERR_BUCKET_EXISTS: the new name is taken. */
struct bucket_rename_req {
    struct arena *arena;
    struct str name, to;
};
struct bucket_rename_res {
    struct bucket bucket; /* with its new name */
};
void buckets_rename(struct buckets *, const struct bucket_rename_req *, struct bucket_rename_res *, struct call *);

struct bucket_delete_req {
    struct arena *arena;
    struct store *store; /* asked to purge: refuses when not empty */
    struct str name;
    bool objects; /* with all that is in it, but for what can be locked; otherwise ERR_BUCKET_NOT_EMPTY */
};
struct bucket_delete_res {
    char unused;
};
/* Seals the bucket in the store, removes the record; a crash in between leaves an empty bucket that can be used or deleted again.
 * When the record can't be removed, or was renamed meanwhile, the bucket is unsealed. */
void buckets_delete(struct buckets *, const struct bucket_delete_req *, struct bucket_delete_res *, struct call *);

/* Whether others write to the directory, too: what the cache of each shows may be a moment old. Any thread. */
bool buckets_shared(const struct buckets *);
/* Whether there is a bucket with copies on several nodes, from the cache. Any thread. */
bool buckets_any_wide(struct buckets *);

/* Names in bytewise order behind `after` that start with `prefix`, at most max; from the cache. */
struct bucket_page {
    const struct bucket *buckets;
    uint32_t count;
    bool truncated;
};
void buckets_list(struct buckets *, struct arena *arena, struct str prefix, struct str after, uint32_t max,
                  struct bucket_page *out);

#endif
