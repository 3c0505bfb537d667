/* native_transform.h - objects through ETLs in the native API: read transformed, copied transformed, transformed as they come in.
 *
 * Shape    steps that native_get, native_put and native_copy go on to when the query has etl_name; the door is the gateway's (etl/door.h).
 * Errors   what a sidecar says goes to the client: "ETL error: ...", with its status; above 499: 400, which the SDK does not repeat.
 * Thread   the request's loop.
 * Source   AIStore's inline transformation; docs/etl.md.
 */
#ifndef SLUICE_GATEWAY_NATIVE_TRANSFORM_H
#define SLUICE_GATEWAY_NATIVE_TRANSFORM_H

#include "etl/door.h"
#include "gateway/native_request.h"

bool native_transforms(const struct native_request *r);
/* Fills `run` with the stages. ERR_INVALID_ARGUMENT, ERR_NOT_IMPLEMENTED, told. */
MUST_USE enum err native_stages(struct native_request *r, struct etl_run_req *run);
/* Turns an outcome of etl_run() into an error of the native API. Returns e. */
enum err native_transform_fail(struct native_request *r, enum err e, const struct etl_run_res *res,
                               const struct native_bucket *b, struct str object);
step_fn native_get_transformed, native_copy_transformed;

/* What a body becomes: from native_put_object, before it is stored. */
struct native_ingest {
    struct etl_run_req run;
    struct etl_run_res res;
    struct source *verified;
    struct body_check check; /* of the result: nothing is declared of it */
};
/* `check` is of what comes in. The result is in->res.body, closed with the request. */
void native_ingest(struct native_request *r, struct native_ingest *in, struct body_check *check, struct call *call);

#endif
