/* account.h - what is counted and logged about a finished request.
 *
 * Shape    counters by action and class of status, a histogram of durations by action, one access log line when
 *          configured.
 * Thread   any; rows of metrics appear with the first request that needs them.
 */
#ifndef SLUICE_S3API_ACCOUNT_H
#define SLUICE_S3API_ACCOUNT_H

#include "base/err.h"
#include "base/str.h"

struct s3_request;
/* Path and query of the request without what makes a presigned URL work: whoever reads logs must not be able to use it. In the arena. */
struct str account_target(const struct s3_request *r);
/* `sent`: how sending the answer ended. */
void account_request(const struct s3_request *r, enum err sent);

#endif
