/* admin.h - ETLs as their users see them: made, listed, stopped, started, deleted. For gateways: only meta is needed.
 *
 * Shape    records as etls.h says. Making and starting one are done when every node of the list has its sidecar ready, or one has failed, or the
 *          spec's init_timeout (and some seconds) are over: then the ETL is gone again (made), or aborted (started), and `why` tells which node and what
 *          its sidecar wrote last.
 * Owns     results are of req->arena.
 * Errors   ERR_EXISTS: the name is taken; ERR_NO_SUCH_ETL; ERR_CONFLICT: not in this stage (only an aborted one is started); ERR_INVALID_ARGUMENT
 *          and ERR_NOT_IMPLEMENTED: the spec, see why, which may be a node's; ERR_ETL: a sidecar did not get ready; ERR_UNAVAILABLE: meta, or no node runs ETLs.
 * Thread   the loop of the call.
 */
#ifndef SLUICE_ETL_ADMIN_H
#define SLUICE_ETL_ADMIN_H

#include "etl/spec.h"
#include "store/meta.h"

enum etl_stage_name { ETL_INITIALIZING, ETL_RUNNING, ETL_ABORTED };

struct etl_admin_env {
    struct loop *loop;
    struct meta *meta;
    /* The nodes that have to run a sidecar now: targets of the map, or this machine. Their ids, in the arena. */
    size_t (*nodes)(void *arg, struct arena *arena, const struct str **ids);
    void *arg;
};
/* An object that an ETL could not transform, when it was read through it. */
enum { ETL_OBJECT_ERRORS_MAX = 16 }; /* of an ETL at one node that are kept: the last ones */
struct etl_object_error {
    struct str object; /* "BUCKET/KEY" */
    struct str message;
    int status;
};
struct etl_node_state { /* "etl_at/<name>/<node>" */
    struct str node;
    struct str id;      /* of the making that this sidecar is of */
    struct str state;   /* "starting", "ready", "failed", "stopped" */
    struct str error;   /* why it is not ready, and what it wrote last; of one that is: why it was started again */
    struct str address; /* the instance's id: "resize-1" */
    bool unserved;      /* of one that has failed: the spec asks for what this node's runtime does not do */
    uint32_t restarts;
    uint64_t objects, errors, in_bytes, out_bytes, memory;
    double cpu;                                   /* cores in use */
    const struct etl_object_error *object_errors; /* oldest first */
    size_t object_error_count;
};
struct etl_info {
    struct str name, id; /* id: "etl-" and random, of this making */
    enum etl_stage_name stage;
    uint64_t created_ms;
    struct str owner;
    struct etl_spec spec;
    const struct etl_node_state *nodes;
    size_t node_count;
};

struct etl_name_req {
    struct arena *arena;
    struct str name;
};
struct etl_create_req {
    struct arena *arena;
    struct str text; /* the spec as sent */
    struct str owner;
};
struct etl_create_res {
    struct str id;
    char why[ETL_WHY_MAX]; /* also on error */
};
struct etl_list_res {
    const struct etl_info *list; /* by name */
    size_t count;
};
void etl_create(const struct etl_admin_env *env, const struct etl_create_req *req, struct etl_create_res *res,
                struct call *call);
void etl_start(const struct etl_admin_env *env, const struct etl_name_req *req, struct etl_create_res *res,
               struct call *call);
/* Done when no node has a sidecar any more, or some seconds later. */
void etl_stop(const struct etl_admin_env *env, const struct etl_name_req *req, struct call *call);
/* Stops it if it runs. */
void etl_delete(const struct etl_admin_env *env, const struct etl_name_req *req, struct call *call);
void etl_look(const struct etl_admin_env *env, const struct etl_name_req *req, struct etl_info *res, struct call *call);
void etl_list(const struct etl_admin_env *env, struct arena *arena, struct etl_list_res *res, struct call *call);

#endif
