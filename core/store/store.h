/* store.h - what an object store is.
 *
 * Shape    one asynchronous vtable; every method is (self, const req *, res *, call). Callers use the store_*() wrappers.
 *          It is not where buckets, attributes of buckets, identities or job records live: those are in meta.
 * Units    see object.h.
 * Owns     the caller owns self, req, res and call until the call is done. Results are allocated from req->arena.
 *          res->body is the caller's to close. A put reads req->body but does not close it.
 * Errors   ERR_NO_SUCH_KEY, ERR_NO_SUCH_VERSION, ERR_NO_SUCH_UPLOAD, ERR_NO_SUCH_BUCKET (the uid was purged), ERR_PRECONDITION, ERR_NO_SPACE, ERR_IO,
 *          ERR_CORRUPT, ERR_NOT_IMPLEMENTED (empty slot); errors of a source pass through. res is untouched on error unless stated.
 * Thread   a struct store is a handle of one loop; handles of one store share their engine.
 */
#ifndef SLUICE_STORE_STORE_H
#define SLUICE_STORE_STORE_H

#include "base/source.h"
#include "store/versions.h"

/* clang-format off */
#define STORE_METHODS(M)                                                                                               \
    M(obj_head) M(obj_get) M(obj_put) M(obj_delete) M(obj_copy) M(obj_import) M(obj_list)                                            \
    M(upload_create) M(upload_part) M(upload_complete) M(upload_abort) M(upload_list) M(part_list) M(bucket_purge)    \
    M(obj_splice)
/* clang-format on */

/* ---- before a commit ---- */

/* A put, copy, splice or complete that is given a gate passes it once its content is stored and hashed, before the object is seen by
 * anybody. Whoever made the gate may read the content, decide the condition, tell others, and then lets it commit, or not.
 * The visit and what it points to are there until the call of enter is done; sources it gave until they are closed. */
struct obj_get_res;
struct cause; /* notification.h: who is told why, of writes that others are told of */
struct gate_visit {
    const struct object_info *info; /* what will be committed; its mtime is a proposal */
    const struct part_info *parts;  /* of a multipart object, as obj_head gives them */
    uint32_t part_count;
    /* The content, or a range of it, as often as wanted. res->head is only filled with info, offset and len. */
    void (*read)(struct gate_visit *, const struct range *, struct arena *, struct obj_get_res *, struct call *);
    /* set by the gate */
    int64_t mtime_ns; /* to be committed with; was info->mtime_ns */
    bool follows;     /* unless that is not after what is replaced: then it becomes later */
    struct str
        layout; /* not empty: the record is committed without content, which is elsewhere (object_info.layout). The
                          * gate's owner keeps the bytes until the call of the put is done */
    /* Whether it is known already that this can't be committed any more: its upload was ended or given other parts. The
     * gate then ends with ERR_AGAIN. Never blocks. */
    bool (*is_stale)(struct gate_visit *);
};
struct commit_gate {
    /* The call's error ends the method, nothing is committed; ERR_OK: it is committed, under the method's own condition, too.
     * ERR_AGAIN: what there is now is made ready, and the gate entered again with it. That also happens, rarely, after
     * ERR_OK: when an upload's parts or a copy's source changed before the commit. Some tries, then ERR_CONFLICT. */
    void (*enter)(struct commit_gate *, struct gate_visit *, struct call *);
};

/* ---- objects ---- */

struct obj_head_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    struct cond cond;     /* checked as for reads */
    uint32_t part_number; /* 0 = the whole object */
    struct range range;
    bool parts; /* also list the parts (GetObjectAttributes) */
    /* of buckets with a backend (backend.h); not on the wire */
    bool latest; /* ask the remote whether what is cached is still the same */
    bool fetch;  /* obj_head: done when the object is here */
    bool cached; /* only what is here: else ERR_NO_SUCH_KEY */
};
struct part_info {
    uint32_t number; /* as uploaded: an object's numbers may have gaps */
    uint64_t size;
    int64_t mtime_ns;
    struct etag etag;
    struct checksum checksum; /* of this part's bytes: always CHECKSUM_FULL_OBJECT */
};
/* Also filled on ERR_INVALID_RANGE, ERR_NOT_MODIFIED and ERR_PRECONDITION, without the offsets. */
struct obj_head_res {
    struct object_info info;
    uint64_t offset, len;          /* of the range or part within the object; the whole otherwise */
    struct part_info part;         /* when part_number was asked of a multipart object */
    const struct part_info *parts; /* when asked, ascending */
    uint32_t part_count;
    bool absent; /* only the remote has it (backend.h) */
};

/* part_number beyond the last or in a gap: ERR_INVALID_PART_NUMBER; of a single-PUT object only 1 exists. */
struct obj_get_req {
    struct obj_head_req head; /* head.parts is ignored */
};
struct obj_get_res {
    struct obj_head_res head;
    struct source *body; /* exactly head.len bytes, none when the object has a layout; NULL on error */
};

struct obj_put_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    struct object_info info;   /* attrs and tags are kept; the rest is ignored */
    struct cond cond;          /* as for writes, decided where the write commits */
    struct source *body;       /* may be NULL: empty. Not closed. */
    struct body_check *check;  /* never NULL */
    uint64_t size_max;         /* more than that: ERR_ENTITY_TOO_LARGE */
    struct commit_gate *gate;  /* may be NULL; not on the wire */
    const struct cause *cause; /* may be NULL; not on the wire */
};
struct obj_put_res {
    struct object_info info; /* size, mtime, etag, checksum of what was written */
};

struct obj_delete_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    struct cond cond;
    bool
        evict; /* of a bucket with a backend (backend.h): only what is cached. Else ERR_INVALID_REQUEST. Not on the wire */
    /* Of a bucket with versions: deletes just this one, for good. Is it the current one, the next older becomes current. Of "null" only the
     * kind is looked at. ERR_OBJECT_LOCKED. Otherwise what is current becomes an older version, and a delete marker is made. */
    bool of_version;
    struct object_version version;
    bool bypass;               /* a retention in governance mode is not looked at */
    const struct cause *cause; /* may be NULL; not on the wire */
};
struct obj_delete_res {
    bool existed; /* a missing key is not an error, neither is a missing version */
    bool tells_version;
    struct object_version version; /* the marker that was made, or what was deleted */
};

/* Server-side copy. Shares content where it can, otherwise reads and writes. A source with a layout: ERR_NOT_IMPLEMENTED. */
struct obj_copy_req {
    struct arena *arena;
    struct bucket_id src_bucket;
    struct str src_key;
    struct cond src_cond;
    struct bucket_id bucket;
    struct str key;
    struct cond cond;
    bool replace_attrs; /* take info.attrs instead of the source's */
    bool bypass;        /* change_attrs may make a retention in governance mode less: else ERR_OBJECT_LOCKED */
    bool
        change_attrs; /* or the source's as they are when the copy is committed, but for those in info.attrs: empty ones go */
    bool replace_tags; /* take info.tags instead of the source's */
    /* As old as its source, or a nanosecond younger than what it replaces; where content is shared. Onto itself, in buckets with versions: the
     * same version says something else. */
    bool keep_mtime;
    bool
        move; /* where one commit can do both, the source is deleted by the one that makes the copy: `moved` tells. Not on the wire */
    struct object_info info;
    enum hash_alg checksum;    /* wanted; HASH_NONE = as the source's */
    uint64_t size_max;         /* a larger source: ERR_INVALID_REQUEST */
    struct commit_gate *gate;  /* may be NULL; not on the wire */
    const struct cause *cause; /* may be NULL; not on the wire */
};
struct obj_copy_res {
    struct object_info info;
    bool moved; /* false from the caller; then: the source is still there */
};

/* Replaces `cut` bytes at `offset` of an object by a body, as one commit: readers see the object before or after. What is kept of the old
 * content is not copied where the store can share it: the change then costs the bytes of the body. The new object has the attrs and tags of
 * the old one, no parts, an ETag of its own ("<32 hex>-N", an MD5 only where all of the content was read), and a checksum only if the store
 * knows it without reading what was kept.
 * ERR_NO_SUCH_KEY: there is none; ERR_INVALID_RANGE: offset + cut are beyond its size; ERR_CONFLICT: it was changed meanwhile (and there is no
 * condition that says so); ERR_NOT_IMPLEMENTED: this store, or this object (one with a layout, one of too many pieces, one that is being moved,
 * those of buckets with several copies), can't: the caller writes the object anew. The latter is told before the body is read. */
struct obj_splice_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    struct cond cond; /* as for writes; if_match is what makes the offset right */
    uint64_t offset, cut;
    struct source *body;       /* may be NULL: empty. Not closed */
    struct body_check *check;  /* of the body alone; never NULL */
    uint64_t size_max;         /* of the new object */
    struct commit_gate *gate;  /* may be NULL; not on the wire. ERR_AGAIN of it is ERR_CONFLICT */
    const struct cause *cause; /* may be NULL; not on the wire */
};
struct obj_splice_res {
    struct object_info info;
};

/* Makes the very object that another node holds: everything of `info` is kept as it is, mtime, ETag, checksum and parts included.
 * Answers ERR_OK without writing, maybe without reading the body, when the object that is here is as new or newer by its mtime:
 * *kept tells. ERR_BAD_DIGEST: the content is not what info and parts say, or those contradict each other. */
struct obj_import_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    struct object_info info;
    const struct part_info *parts; /* as obj_head gives them */
    uint32_t part_count;
    struct source *body;      /* info.size bytes; not closed. With info.layout: none, may be NULL */
    struct body_check *check; /* never NULL: further digests that the sender knows; none of a multipart object */
    bool
        as_new; /* a write as any other: what is here becomes an older version if the bucket wants that. Not on the wire */
    bool force;  /* replaces whatever is here, be it newer, unless it is the very same (mtime, ETag and layout) */
    bool repair; /* only replaces the very same, whose bytes are damaged; not on the wire */
};
struct obj_import_res {
    bool kept; /* what was here already */
};

enum list_cached {
    LIST_REMOTE,      /* what the remote has */
    LIST_TELL_CACHED, /* the same, and of each whether it is here */
    LIST_ONLY_CACHED  /* what is here, without asking the remote */
};
struct obj_list_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str prefix;
    struct str delimiter; /* empty = none; any bytes */
    struct str after;     /* only keys and common prefixes that sort behind it. When it ends in the delimiter and itself
                             would be rolled up, everything under it is skipped too (a token may name a common prefix). */
    uint32_t max;         /* 0..LIST_MAX entries, common prefixes included */
    enum list_cached cached; /* of buckets with a backend (backend.h); not on the wire */
};
struct list_entry {
    struct str key; /* or the common prefix, delimiter included */
    bool is_prefix;
    uint64_t size;
    int64_t mtime_ns;
    struct etag etag;
    enum hash_alg checksum_alg;
    enum checksum_type checksum_type;
    struct str storage_class; /* empty = STANDARD */
    bool versioned;           /* as in object_info */
    /* with LIST_TELL_CACHED, of keys: */
    bool absent;  /* only the remote has it */
    bool changed; /* what is here is another size */
};
struct obj_list_res {
    const struct list_entry *entries; /* in bytewise order, prefixes interleaved */
    uint32_t count;
    bool truncated; /* then the next page starts after the last entry's key */
};

/* ---- multipart uploads ---- */

struct upload_create_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    struct object_info info; /* attrs, tags */
    enum hash_alg checksum;  /* HASH_NONE: none was asked, then CRC64NVME full object */
    enum checksum_type type;
    struct str initiator; /* kept and listed */
};                        /* ERR_INVALID_REQUEST when upload_checksum() refuses the two */
struct upload_create_res {
    struct str upload_id; /* UPLOAD_ID_LEN hex digits; of one key they sort by time of creation */
};

struct upload_part_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    struct str upload_id;
    uint32_t number; /* 1..PARTS_MAX */
    struct source *body;
    struct body_check *check; /* kept is the upload's algorithm; a checksum that it doesn't take: ERR_CHECKSUM_TYPE */
    uint64_t size_max;
};
struct upload_part_res {
    struct part_info part;
};

struct complete_part {
    uint32_t number;
    struct str etag;        /* as sent */
    struct digest checksum; /* as sent; n == 0: none */
};
struct upload_complete_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    struct str upload_id;
    const struct complete_part *parts; /* ascending: else ERR_INVALID_PART_ORDER */
    uint32_t part_count;
    struct cond cond;
    struct checksum want;         /* of the whole object, as sent; digest.n == 0: none. Differs: ERR_BAD_DIGEST */
    enum checksum_type want_type; /* as sent; differs from the upload's: ERR_INVALID_REQUEST; CHECKSUM_NONE: not sent */
    uint64_t want_size;           /* x-amz-mp-object-size; UINT64_MAX: not sent. Differs: ERR_INVALID_REQUEST */
    bool any_size;                /* parts before the last may be smaller than PART_SIZE_MIN, too */
    struct commit_gate
        *gate; /* may be NULL; not on the wire. Not passed when the object is found that it made before */
    const struct cause *cause; /* may be NULL; not on the wire */
};
/* On ERR_ENTITY_TOO_SMALL and ERR_INVALID_PART `bad` tells which part. Repeating a completed upload finds the object it made and
 * answers as the first time. */
struct upload_complete_res {
    struct object_info info;
    struct part_info bad;
};

struct upload_abort_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    struct str upload_id;
};
struct upload_abort_res {
    char unused; /* nothing to tell; C wants a member */
};

struct upload_list_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str prefix, delimiter;
    struct str key_marker;       /* only later keys, ... */
    struct str upload_id_marker; /* ... and of key_marker itself only uploads behind this one; empty: none of it */
    uint32_t max;
};
struct upload_entry {
    struct str key; /* or the common prefix */
    bool is_prefix;
    struct str upload_id;
    int64_t created_ns;
    struct str initiator;
    struct str storage_class;
    enum hash_alg checksum_alg;
    enum checksum_type checksum_type;
};
struct upload_list_res {
    const struct upload_entry *entries; /* by key, then time of creation */
    uint32_t count;
    bool truncated;
};

struct part_list_req {
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    struct str upload_id;
    uint32_t after; /* part-number-marker */
    uint32_t max;
};
struct part_list_res {
    const struct part_info *parts;
    uint32_t count;
    bool truncated;
    enum hash_alg checksum_alg;
    enum checksum_type checksum_type;
    struct str storage_class;
    struct str initiator;
};

/* ---- buckets ---- */

/* Seals the bucket: from then on every write to this uid fails with ERR_NO_SUCH_BUCKET; then removes its uploads and, with `objects`, its
 * objects. Without `objects` a bucket that holds any is unsealed again: ERR_BUCKET_NOT_EMPTY; so it is after any other error.
 * The seal lasts until the store is closed: after a crash a bucket whose record outlived it can be used or deleted again.
 * `seal` does only the first half: it seals, and without `objects` looks, but removes nothing. For stores made of stores, all of which
 * must agree before one of them gives up its uploads.
 * `unseal` does the contrary and only that: writes are accepted again. For whoever purged a bucket and then failed to remove its
 * record. */
struct bucket_purge_req {
    struct arena *arena;
    struct bucket_id bucket;
    bool objects;
    bool unseal;
    bool seal;
};
struct bucket_purge_res {
    uint64_t removed; /* objects and uploads; of several copies each */
};

/* ---- the vtable ---- */

struct store;
struct store_ops {
    const char *name; /* "memory", "local", ... */
#define M(m) void (*m)(struct store *, const struct m##_req *, struct m##_res *, struct call *);
    STORE_METHODS(M) /* NULL slot = ERR_NOT_IMPLEMENTED */
#undef M
    void (*close)(struct store *); /* no calls outstanding */
};
struct store_metrics;
struct store {
    const struct store_ops *ops;
    struct loop *loop;
    struct store_metrics *metrics; /* the wrappers'; NULL until they need it */
};

/* store_obj_get(store, &req, &res, call) and so on: checks arguments, counts and times the method, answers
 * ERR_NOT_IMPLEMENTED for an empty slot. */
#define M(m) void store_##m(struct store *, const struct m##_req *, struct m##_res *, struct call *);
STORE_METHODS(M)
#undef M
void store_close(struct store *);

/* obj_copy by obj_get and obj_put on the same store, for stores (or keys) that cannot share content. */
void store_copy_by_stream(struct store *, const struct obj_copy_req *, struct obj_copy_res *, struct call *);

#endif
