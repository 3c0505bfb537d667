/* transform.h - objects through ETLs for S3 clients: ?etl_name= on GetObject and PutObject, in presigned URLs, too.
 *
 * Shape    transform_wanted() tells whether the query asks for it; then get_object goes on to transform_get, and put_object has its body replaced by
 *          transform_body().
 * Errors   ETLError with what the sidecar said, and its status when it is a client's error; NoSuchETL; NotImplemented when there are no ETLs here.
 * Thread   the request's loop.
 * Source   the query of AIStore's inline transformation; docs/etl.md.
 */
#ifndef SLUICE_S3API_TRANSFORM_H
#define SLUICE_S3API_TRANSFORM_H

#include "etl/door.h"
#include "s3api/request.h"

bool transform_wanted(const struct s3_request *r);
step_fn transform_get;

struct transform_body {
    struct etl_run_req run;
    struct etl_run_res res;
    struct source *verified;
    struct body_check check; /* of the result: nothing is declared of it */
};
/* `check` is of what comes in, which may be NULL: empty. The result is t->res.body, closed with the request. */
void transform_body(struct s3_request *r, struct transform_body *t, struct source *body, struct body_check *check,
                    struct call *call);
/* Sets the message of an outcome of etl_run(). Returns e. */
enum err transform_fail(struct s3_request *r, enum err e, const struct etl_run_res *res);

#endif
