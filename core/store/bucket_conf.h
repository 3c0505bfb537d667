/* bucket_conf.h - documents of buckets, what S3 calls their configurations (CORS, lifecycle, policy, ...): a cache over meta that answers
 * without waiting.
 *
 * Shape    a text per bucket and name, under the key "bucketconf/<uid in hex>/<name>", and what was made of it once for all requests;
 *          kept current by a meta watch.
 * Owns     a document lives as long as somebody refers to it; bucket_conf_find() lends it to an arena.
 * Errors   ERR_TOO_LARGE, ERR_UNAVAILABLE.
 * Thread   shared by all loops; calls finish on their own loop.
 */
#ifndef SLUICE_STORE_BUCKET_CONF_H
#define SLUICE_STORE_BUCKET_CONF_H

#include "store/meta.h"

enum { BUCKET_DOC_MAX = 128 << 10, BUCKET_DOC_NAME_MAX = 96 };

/* What is made of documents of one name. */
struct bucket_doc_kind {
    struct str name; /* ends in '.': of all names that begin so */
    /* From `arena`, which lives as long as the document; `text` is in it, too. NULL: it can't be understood, and was logged. It must
     * not be changed afterwards: many threads read it. */
    const void *(*parse)(struct arena *arena, struct str text);
};

struct bucket_doc {
    struct str text;
    const void *parsed; /* by its kind; NULL without one */
    uint64_t revision;  /* of meta: another one, another document */
};

struct bucket_confs;
/* Loads all and follows them. Before loops run. `kinds` outlive it. */
MUST_USE enum err bucket_confs_open(struct meta *meta, const struct bucket_doc_kind *kinds, size_t kind_count,
                                    struct bucket_confs **out);
/* When `meta` tells no more: it is closed already, or nobody writes to it. */
void bucket_confs_close(struct bucket_confs *);

/* From the cache, without waiting; NULL: the bucket has none of that name. There until the arena's end. */
const struct bucket_doc *bucket_conf_find(struct bucket_confs *, struct arena *arena, uint64_t uid, struct str name);

/* The first document of the bucket, from the cache, whose name begins with `prefix` and sorts behind `after`; its name goes to *name. Both are there
 * until the arena's end. NULL: no more. */
const struct bucket_doc *bucket_conf_next(struct bucket_confs *, struct arena *arena, uint64_t uid, struct str prefix,
                                          struct str after, struct str *name);

/* Whether any bucket has one of that name, or one that begins so when it ends in '.', from the cache. */
bool bucket_conf_any(struct bucket_confs *, struct str name);

struct bucket_conf_put_req {
    struct arena *arena;
    uint64_t uid;
    struct str name;
    struct str text; /* p == NULL: removes it; that there is none is no error */
};
struct bucket_conf_put_res {
    uint64_t revision;
};
/* Replaces whatever there is. The cache shows it before the call finishes. */
void bucket_conf_put(struct bucket_confs *, const struct bucket_conf_put_req *, struct bucket_conf_put_res *,
                     struct call *);

/* Removes all documents of a bucket that is no more. What fails is logged: nobody finds them any longer, as uids never come back. */
struct bucket_conf_purge_req {
    struct arena *arena;
    uint64_t uid;
};
struct bucket_conf_purge_res {
    uint32_t removed;
};
void bucket_conf_purge(struct meta *, const struct bucket_conf_purge_req *, struct bucket_conf_purge_res *,
                       struct call *);

#endif
