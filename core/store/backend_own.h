/* backend_own.h - internal to backend*.c: one loop's store, fetches, what both sides make of objects.
 *
 * Thread   that of the store's loop.
 */
#ifndef SLUICE_STORE_BACKEND_OWN_H
#define SLUICE_STORE_BACKEND_OWN_H

#include "base/mem.h"
#include "base/op.h"
#include "store/backend.h"
#include "store/backend_conf.h"
#include "store/turns.h"

struct backends {
    struct buckets *buckets;
    struct offload *io, *cpu;
    struct turns turns;     /* fetches, writes and deletes, key by key */
    struct tls_client *tls; /* guarded by turns.lock: made when first needed */
};

/* ---- a loop's store: backend.c ---- */

/* What is known of a bucket's settings; parsed again when they change. */
struct backend_bucket {
    struct backend_bucket *next;
    uint64_t uid;
    struct str props;
    struct arena arena;
    enum err err;
    struct backend_conf conf;
};
struct fetch;
struct backend {
    struct store store;
    struct backend_env env;
    struct peer_pool *peers[2]; /* plain, TLS; made when first needed */
    struct backend_bucket *buckets;
    struct fetch *fetches;
};
static inline struct backend *backend_of(struct store *s)
{
    return CONTAINER(s, struct backend, store);
}

/* One method on a bucket with a backend; what they have in common. Lives in the request's arena. */
struct backend_op {
    struct op op;
    struct backend *b;
    struct arena *arena;
    struct bucket_id bucket;
    struct str key;
    const struct backend_conf *conf; /* a copy of its own */
    struct turn claim;
    struct call *whole;
    struct s3_ask_req ask;
    struct s3_ask_res got;
};
/* Finds the settings. An error ends the call. */
MUST_USE enum err backend_op_init(struct backend_op *o, struct store *s, struct arena *arena, struct bucket_id bucket,
                                  struct str key, struct call *whole);
/* The first `o->ask` of a key of ours (or the bucket: empty). */
void backend_ask(struct backend_op *o, struct str method, struct str key, struct call *call);
void backend_ask_with(struct backend_op *o, struct call *call);
struct str backend_remote_key(struct arena *arena, const struct backend_conf *conf, struct str key);
void backend_op_cancel(void *op);
/* Released claim, finished call. */
enum step_next backend_op_done(struct backend_op *o, enum err e);

/* ---- what a cached copy is known by: backend_info.c ---- */

/* Adds the remote's ETag and time to the attributes, which have room for one more. */
void backend_mark(struct arena *arena, struct object_info *info, const struct object_info *remote);
/* Takes them off and puts them in their place. */
void backend_unmark(struct arena *arena, struct object_info *info);
/* Conditions and the range of a read, decided by what is known of the object. `info` is filled on their errors, too. */
enum err backend_decide(const struct obj_head_req *req, const struct object_info *info, struct obj_head_res *res);

/* ---- fetches: backend_fetch.c ---- */

struct fetch_req {
    struct backend *b;
    struct bucket_id bucket;
    struct str key;
    struct turn *claim;              /* held; taken over */
    struct arena *arena;             /* of the answer's headers; emptied into the fetch's own */
    const struct s3_ask_res *answer; /* of a GET without a range; its body is taken */
    const struct object_info *info;  /* what it says, with room for one more attribute */
};
/* Begins. `call` (may be NULL) finishes when the object is here, or can't be. `reader` (may be NULL): a source of `len` bytes from `offset`. */
void fetch_start(const struct fetch_req *req, struct call *call, uint64_t offset, uint64_t len, struct source **reader);
/* At the store's end. */
void fetch_drain(struct backend *b);

/* ---- writes to the remote: backend_push.c ---- */

struct push_req {
    struct backend_op *o;
    const struct object_info *info;
    const struct part_info *parts;
    uint32_t part_count;
    const struct cond *cond;
    /* The content, as a gate's visit gives it. */
    void (*read)(void *arg, const struct range *, struct arena *, struct obj_get_res *, struct call *);
    void *arg;
};
struct push_res {
    struct etag etag; /* the remote's */
};
void backend_push(const struct push_req *req, struct push_res *res, struct call *call);

#define M(m) void backend_##m(struct store *s, const struct m##_req *req, struct m##_res *res, struct call *call);
M(obj_head) M(obj_get) M(obj_put) M(obj_delete) M(obj_copy) M(obj_list) M(upload_complete)
#undef M

#endif
