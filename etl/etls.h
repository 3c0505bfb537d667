/* etls.h - the ETLs of a node: follows their records, keeps a sidecar of each running, and passes objects through.
 *
 * Shape    An ETL is a record in meta, "etl/<name>": {"format":1,"id","stage","created_ms","secret","spec":{...}}, stage one of initializing,
 *          running, aborted. Every node that runs sidecars starts one as soon as the record says initializing or running, ends it when the record
 *          goes or says aborted, starts it again with back-off when it ends by itself, and tells how it is in "etl_at/<name>/<node>":
 *          {"id","state":"starting|ready|failed|stopped","error","restarts","address","objects","errors","in_bytes","out_bytes","cpu","memory"}, about
 *          once a second while that changes. Who made the record waits for all nodes to be ready and makes it running (etl_admin.h).
 * Owns     the engine owns a thread; lanes are of their loops and closed before it.
 * Errors   ERR_NO_SUCH_ETL; ERR_ETL: a sidecar said no: res->status, res->text; ERR_UNAVAILABLE: not running here (now); ERR_BUSY: too many wait;
 *          ERR_TIMEOUT; the store's errors for the object.
 * Thread   etls_open/close: main. A lane: its loop.
 */
#ifndef SLUICE_ETL_ETLS_H
#define SLUICE_ETL_ETLS_H

#include "etl/comm.h"
#include "etl/door.h"
#include "store/buckets.h"
#include "store/meta.h"
#include "store/store.h"

enum {
    ETL_RUNNING_MAX = 256,  /* ETLs of a node */
    ETL_INFLIGHT = 64,      /* transforms of one ETL at a node at a time */
    ETL_WAITING_MAX = 4096, /* more than that wait: ERR_BUSY */
};

struct etls;
struct etls_conf {
    struct meta *meta;
    struct offload *io, *cpu;
    struct etl_runtime *runtime; /* taken, unless etls_open() fails; NULL: this node runs none, and says so */
    struct str self;
    /* Which the engine runs on its thread, and what sidecars read through the object endpoint on it. All three are closed by their owner, after
     * etls_close(). */
    struct loop *loop;
    struct store *all;
    struct buckets *buckets;
};
MUST_USE enum err etls_open(const struct etls_conf *conf, struct etls **out, char why[ETL_WHY_MAX]);
/* Ends all sidecars. Lanes are closed. */
void etls_close(struct etls *e);

/* A lane: `all` is of the loop, and outlives it. */
struct etl_door *etls_lane(struct etls *e, struct loop *loop, struct store *all);

/* The log of this node's sidecar of that name. BLOCKING. ERR_NO_SUCH_ETL. */
MUST_USE enum err etls_logs(struct etls *e, struct str name, struct buf *out);

#endif
