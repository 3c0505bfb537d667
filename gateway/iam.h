/* iam.h - the query APIs of IAM and STS: identities are made and changed, temporary credentials handed out.
 *
 * Shape    a http_handler for "POST /" with a form as its body, at the address where S3 is: a form is no request of S3's.
 *          Calls are the rows of iam_actions.def; others are refused by their names.
 * Errors   told as IAM tells them: <ErrorResponse>.
 * Thread   the loop's.
 * Source   IAM API reference (2010-05-08); STS API reference (2011-06-15).
 */
#ifndef SLUICE_GATEWAY_IAM_H
#define SLUICE_GATEWAY_IAM_H

#include "http/message.h"
#include "iam/oidc.h"
#include "s3api/cred.h"

struct iam_env {
    struct loop *loop;
    struct creds *creds; /* NULL or without identities: everything is refused */
    struct oidc *oidc;   /* NULL: no provider */
};

struct iam_api;
struct iam_api *iam_api_new(const struct iam_env *env);
struct http_handler *iam_api_handler(struct iam_api *);
/* No requests outstanding. */
void iam_api_free(struct iam_api *);
/* Whether a request is one of these APIs. */
bool iam_api_takes(const struct http_req *req);

#endif
