/* door.h - objects through ETLs, for whoever wants one transformed: a row of stages, the result of each is the body of the next.
 *
 * Shape    a stage is an ETL by its name, or a built-in transform ("@gzip", builtin.h). etl_run() is done when the result begins; it is pulled, with
 *          back-pressure all the way to the object.
 * Owns     the result's body is the caller's to close; closing it early ends the transform.
 * Errors   ERR_NO_SUCH_ETL; ERR_ETL: a sidecar said no: res->status, res->text; ERR_UNAVAILABLE: not running here (now); ERR_BUSY: too many wait;
 *          ERR_TIMEOUT; ERR_INVALID_ARGUMENT: of a built-in's arguments, with res->text; the store's errors for the object. A result that breaks off
 *          fails, it never ends early.
 * Thread   the loop of the door.
 */
#ifndef SLUICE_ETL_DOOR_H
#define SLUICE_ETL_DOOR_H

#include "http/url.h"
#include "store/store.h"

enum {
    ETL_STAGES_MAX = 16,
    ETL_ARGS_MAX = 64 << 10,
    ETL_QUERY_WHY_MAX = 256,
};

struct etl_stage {
    struct str name;
    struct str args; /* empty: none */
};
/* Either an object, which is read from the lane's store, or a body. */
struct etl_run_req {
    struct arena *arena;
    const struct etl_stage *stages;
    size_t stage_count;
    struct obj_get_req *object; /* not NULL: that object, or range of it; its conditions hold */
    struct source *body;        /* else this, not closed, alive until the result is closed */
    uint64_t size;              /* of body, or SOURCE_SIZE_UNKNOWN */
    struct str bucket, key;     /* as the sidecar is told */
};
struct etl_run_res {
    struct obj_head_res head; /* of the object, if there is one: its info is the source's, not the result's */
    struct source *body;      /* the result; never NULL on ERR_OK; its size may be unknown */
    struct str content_type;
    int status;
    struct str text; /* which ETL, and what it said */
};

/* What the sidecar of an ETL at a node wrote last. */
struct etl_logs_req {
    struct arena *arena;
    struct str name, node;
};
struct etl_logs_res {
    struct str text; /* ETL_LOG_MAX at most */
};

/* Who passes objects through: a lane of this process's engine, or of a gateway another node's. */
struct etl_door;
struct etl_door_ops {
    void (*run)(struct etl_door *, const struct etl_run_req *, struct etl_run_res *, struct call *);
    void (*logs)(struct etl_door *, const struct etl_logs_req *, struct etl_logs_res *, struct call *);
    void (*close)(struct etl_door *);
};
struct etl_door {
    const struct etl_door_ops *ops;
};
static inline void etl_run(struct etl_door *d, const struct etl_run_req *req, struct etl_run_res *res,
                           struct call *call)
{
    d->ops->run(d, req, res, call);
}
/* ERR_NO_SUCH_ETL: that node has no such sidecar; ERR_UNAVAILABLE: it can't be reached. */
static inline void etl_logs(struct etl_door *d, const struct etl_logs_req *req, struct etl_logs_res *res,
                            struct call *call)
{
    d->ops->logs(d, req, res, call);
}
static inline void etl_door_close(struct etl_door *d)
{
    if (d)
        d->ops->close(d);
}

/* What a request says: etl_name, etl_pipeline ("second,third"), etl_args for all stages, or etl_args.1, .2, ... for each. *count is 0 when there is no
 * etl_name. ERR_INVALID_ARGUMENT with a sentence in `why`. Strs borrow from the query. */
MUST_USE enum err etl_stages_of_query(struct arena *arena, const struct query_param *query, size_t n,
                                      const struct etl_stage **stages, size_t *count, char why[ETL_QUERY_WHY_MAX]);
/* Whether the name can be one of a stage: an ETL's, or '@' and a built-in's. */
bool etl_stage_name_is_valid(struct str name);

#endif
