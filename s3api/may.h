/* may.h - whether who sent a request is allowed what it asks for.
 *
 * Shape    s3_may_route() asks once for the permission of the route (actions.def); operations that touch more than the route's
 *          bucket and key ask s3_may() for each thing: sources of copies, the keys of DeleteObjects, what headers ask for.
 * Errors   ERR_ACCESS_DENIED.
 * Thread   the request's loop; answers without waiting.
 * Source   AWS Service Authorization Reference, Amazon S3.
 */
#ifndef SLUICE_S3API_MAY_H
#define SLUICE_S3API_MAY_H

#include "s3api/request.h"

/* After the bucket was found and before the first step of the route. */
MUST_USE enum err s3_may_route(struct s3_request *r);
/* `action` as in policies: "s3:GetObject". An empty `key` means the bucket itself; a NULL bucket no bucket at all. */
MUST_USE enum err s3_may(struct s3_request *r, struct str action, const struct bucket *b, struct str key);

#endif
