/* gateway.h - one loop's front end for clients: who answers a request.
 *
 * Shape    a http_handler: what operators ask goes to control, the rest of /v1 to the native API, forms at "/" to IAM and STS,
 *          everything else is S3.
 * Owns     its s3api and native API. Everything in the environment outlives it.
 * Thread   the loop's.
 */
#ifndef SLUICE_GATEWAY_H
#define SLUICE_GATEWAY_H

#include "gateway/control.h"
#include "gateway/native.h"
#include "iam/oidc.h"
#include "s3api/s3api.h"

struct gateway_env {
    struct s3api_env s3;
    struct native_env native;
    struct control *control;
    struct oidc *oidc; /* NULL: no identity provider */
};

struct gateway;
struct gateway *gateway_new(const struct gateway_env *env);
struct http_handler *gateway_handler(struct gateway *g);
/* No requests outstanding. */
void gateway_free(struct gateway *g);

#endif
