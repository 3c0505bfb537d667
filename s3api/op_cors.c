/* OPTIONS: a browser asks whether a page may send what it wants to. No signature comes with that. */
#include "s3api/cors.h"
#include "s3api/request.h"

step_fn preflight_options; /* routes.def */

enum step_next preflight_options(struct op *op)
{
    struct s3_request *r = S3(op);

    if (!s3_header(r, STR("origin")).n)
        return op_fail(op, reply_error(r, ERR_BAD_REQUEST, "Insufficient information. Origin request header needed."));
    if (!s3_header(r, STR("access-control-request-method")).n)
        return op_fail(op, reply_error(r, ERR_BAD_REQUEST, "Invalid Access-Control-Request-Method: null"));
    if (!r->reply.has_cors)
        return op_fail(op, reply_error(r, ERR_ACCESS_FORBIDDEN, "CORSResponse: CORS is not enabled for this bucket."));
    if (!r->reply.cors_count)
        return op_fail(
            op, reply_error(
                    r, ERR_ACCESS_FORBIDDEN,
                    "CORSResponse: This CORS request is not allowed: no rule of the bucket fits the origin, the method "
                    "and the headers."));
    return op_go(op, reply_send);
}
