/* heard.h - changes of a bucket's record that writes go by: answered when other gateways have heard of them.
 *
 * Shape    gateways follow the records and hear of a change a moment after it is made; the answer waits that long, where there are others.
 * Owns     struct heard is the operation's, until the next step.
 */
#ifndef SLUICE_S3API_HEARD_H
#define SLUICE_S3API_HEARD_H

#include "base/loop.h"
#include "s3api/request.h"

struct heard {
    struct timer timer;
    struct call *call;
};
/* Goes on with `next` after the wait, or at once. */
enum step_next heard_then(struct s3_request *r, struct heard *h, step_fn *next);

#endif
