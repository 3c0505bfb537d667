/* nodes_own.h - internal to nodes*.c: the door of a gateway.
 *
 * Thread   its loop.
 */
#ifndef SLUICE_ETL_NODES_OWN_H
#define SLUICE_ETL_NODES_OWN_H

#include "etl/nodes.h"

struct nodes {
    struct etl_door door;
    struct remote_env env;
    struct hmac key;
};

void nodes_logs(struct etl_door *d, const struct etl_logs_req *req, struct etl_logs_res *res, struct call *whole);

#endif
