/* admin_own.h - internal to admin*.c: a change of one ETL's record, and the wait for the nodes to follow.
 *
 * Thread   the loop of the call.
 */
#ifndef SLUICE_ETL_ADMIN_OWN_H
#define SLUICE_ETL_ADMIN_OWN_H

#include "base/op.h"
#include "etl/nap.h"
#include "etl/record.h"

/* What all nodes tell of an ETL, or (name empty) of all. */
struct states_req {
    struct arena *arena;
    struct meta *meta;
    struct str name;
};
struct states_res {
    struct named_state {
        struct str name;
        struct etl_node_state state;
    } * list;
    size_t count;
};
void etl_states(const struct states_req *req, struct states_res *res, struct call *call);

/* Done when all nodes have a sidecar of the making `id` ready (ERR_OK), one has failed or the time is over (ERR_ETL, with `why`), or the record is not of
 * `revision` any more (ERR_CONFLICT); or, with id empty, when none has any sidecar of that name, or some seconds later (ERR_OK). */
struct await_req {
    const struct etl_admin_env *env;
    struct str name, id;
    uint64_t revision;
    uint64_t ms;
    char *why; /* ETL_WHY_MAX */
};
void etl_await(const struct await_req *req, struct call *call);

#endif
