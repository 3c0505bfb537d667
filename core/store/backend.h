/* backend.h - buckets with a remote S3 bucket behind them: what is here is a cache of what is there.
 *
 * Shape    a store around a store: methods on buckets without a backend pass through. With one (bucket_id.backend; settings in the bucket's
 *          props, backend_conf.h):
 *          - a read of what is not here fetches the whole object, once for all who want it in this process, verifies it (size, MD5 ETag,
 *            checksum) and keeps it; the one who asked is served while it comes, others once it is here. A fetch waits for its reader
 *            some seconds; one that stops reading gets the rest from here afterwards, and one that leaves doesn't end the fetch. The last
 *            byte is given away only when the object was verified.
 *          - a write is stored here first and seen once the remote has it; conditions are decided by the remote.
 *          - a delete takes place there, then here. A listing is the remote's.
 *          Objects are known by the remote's ETag and time; those of a cached copy are kept in an attribute that nobody sees.
 *          What is cached is served without asking the remote: obj_head_req.latest asks it first.
 * Errors   ERR_REMOTE_GONE, ERR_REMOTE_REFUSED besides the store's.
 * Thread   struct backends any; stores are of their loop. Key by key fetches, writes and deletes of the process take turns.
 */
#ifndef SLUICE_STORE_BACKEND_H
#define SLUICE_STORE_BACKEND_H

#include "store/buckets.h"

struct backends;
/* What all loops of a process share. `io` resolves names, `cpu` reads documents. */
struct backends *backends_new(struct buckets *buckets, struct offload *io, struct offload *cpu);
/* When no store of it is open. NULL is legal. */
void backends_free(struct backends *b);
/* Whether a fetch, a write or a delete of this key is under way. Any thread. */
bool backends_busy(struct backends *b, uint64_t uid, struct str key);

struct backend_env {
    struct backends *backends;
    struct loop *loop;
    struct store *inner; /* outlives it */
    /* The inner store passes commit_gates: a write is seen by nobody before the remote has it. Without, a write that the remote did not
     * take was seen for a moment. */
    bool gates;
};
/* Closing it ends fetches that nobody waits for. */
struct store *backend_store_new(const struct backend_env *env);

#endif
