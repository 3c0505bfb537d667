/* memdata.h - what the reference store keeps: buckets, objects and uploads in ordered arrays, bytes in shared blobs.
 *
 * Shape    internal to memstore.c, memupload.c and memlist.c. An object never changes once it is in its bucket.
 * Owns     blobs and objects are counted: a reader keeps what it reads when it is overwritten or deleted.
 * Thread   the store's loop.
 */
#ifndef SLUICE_STORE_MEMDATA_H
#define SLUICE_STORE_MEMDATA_H

#include "base/op.h"
#include "store/memstore.h"

struct memblob {
    unsigned refs;
    size_t n, cap;
    char *p;
};

/* A part of an object or of an upload; an object made by a single PUT has one. */
struct mempart {
    struct part_info info;
    struct memblob *blob;
};

struct memobject {
    unsigned refs;
    struct arena arena; /* holds the strs */
    struct str key;
    struct object_info info;
    struct mempart *parts;
    uint32_t part_count;
};

struct memupload {
    struct arena arena;
    struct str key, id, initiator;
    struct object_info info; /* attrs, tags */
    enum hash_alg alg;
    enum checksum_type type;
    int64_t created_ns;
    struct mempart *parts; /* by number */
    uint32_t part_count, part_cap;
    uint64_t changes; /* of parts */
};

struct membucket {
    uint64_t uid;
    bool sealed;
    struct memobject **objects; /* by key */
    size_t object_count, object_cap;
    struct memupload **uploads; /* by key, then id */
    size_t upload_count, upload_cap;
};

struct memstore {
    struct store store;
    struct membucket **buckets; /* in order of first use */
    size_t bucket_count, bucket_cap;
};

#define MEMSTORE(s) CONTAINER(s, struct memstore, store)

struct memblob *memblob_new(void);
void memblob_unref(struct memblob *b);
/* Room for n more bytes behind its end. */
char *memblob_reserve(struct memblob *b, size_t n);
void memblob_shrink(struct memblob *b);

/* Never NULL: a uid that nobody wrote to is an empty bucket. */
struct membucket *memstore_bucket(struct memstore *m, uint64_t uid);
/* Position of the first object whose key is not before `key`. */
size_t membucket_seek(const struct membucket *b, struct str key);
/* Position of the first object at or behind `from` whose key does not start with `prefix`. */
size_t membucket_seek_past(const struct membucket *b, size_t from, struct str prefix);
struct memobject *membucket_find(const struct membucket *b, struct str key);
/* Takes `o`, replaces what has its key. */
void membucket_put(struct membucket *b, struct memobject *o);
void membucket_remove(struct membucket *b, size_t at);
size_t membucket_seek_upload(const struct membucket *b, struct str key, struct str id);
struct memupload *membucket_find_upload(const struct membucket *b, struct str key, struct str id);
/* Takes `u`. */
void membucket_add_upload(struct membucket *b, struct memupload *u);
/* Frees it. */
void membucket_remove_upload(struct membucket *b, struct memupload *u);

/* Copies key, attributes and tags of `from`; room for `parts`, which the caller fills in and which start without blobs.
 */
struct memobject *memobject_new(struct str key, const struct object_info *from, uint32_t parts);
void memobject_unref(struct memobject *o);
/* Reads bytes [offset, offset + len) of `o`, keeps it until close. With a layout there are none. */
struct source *memobject_source(struct memobject *o, uint64_t offset, uint64_t len);

/* Before it goes in the place of `current` (may be NULL): no two writes of a key have the same time, or a former one. */
void memobject_follow(struct memobject *o, const struct memobject *current);

/* The visit of a commit gate (store.h). */
struct memgate {
    struct gate_visit visit;
    struct memobject *object;
    const struct memstore *store; /* the upload it is made of, if one */
    const struct upload_complete_req *req;
    uint64_t changes;
};
/* `g` zeroed but for store, req and changes. */
void memgate_enter(struct memgate *g, struct commit_gate *gate, struct arena *arena, struct memobject *o,
                   struct call *c);
/* The object with what the gate decided: the one that was given, or another one in its place. */
struct memobject *memgate_take(struct memgate *g);
bool memgate_is_stale(const struct memgate *g);

/* Position of the first part whose number is not below. */
uint32_t memupload_seek(const struct memupload *u, uint32_t number);
/* Takes the blob, replaces the part of that number. */
void memupload_put(struct memupload *u, const struct part_info *info, struct memblob *blob);

/* Reading a body into a blob with all its hashes: the first half of a put and of a part. */
struct membody {
    struct op op;
    struct source *source;
    struct body_check *check;
    enum hash_alg checksum; /* before check->checksum, unless HASH_NONE */
    uint64_t size_max;
    struct digests *digests;
    struct memblob *blob; /* the caller may take it */
    struct source_fill fill;
    size_t got;
    struct call *whole;
};
/* Fills digests->of and blob; `b` zeroed but for source, check, checksum, size_max. Ends with membody_release(). */
void membody_read(struct membody *b, struct call *whole);
void membody_release(struct membody *b);

/* The methods in files of their own. */
void memstore_obj_import(struct store *, const struct obj_import_req *, struct obj_import_res *, struct call *);
void memstore_obj_splice(struct store *, const struct obj_splice_req *, struct obj_splice_res *, struct call *);
void memstore_obj_list(struct store *, const struct obj_list_req *, struct obj_list_res *, struct call *);
void memstore_upload_list(struct store *, const struct upload_list_req *, struct upload_list_res *, struct call *);
void memstore_upload_create(struct store *, const struct upload_create_req *, struct upload_create_res *,
                            struct call *);
void memstore_upload_part(struct store *, const struct upload_part_req *, struct upload_part_res *, struct call *);
void memstore_upload_complete(struct store *, const struct upload_complete_req *, struct upload_complete_res *,
                              struct call *);
void memstore_upload_abort(struct store *, const struct upload_abort_req *, struct upload_abort_res *, struct call *);
void memstore_part_list(struct store *, const struct part_list_req *, struct part_list_res *, struct call *);

#endif
