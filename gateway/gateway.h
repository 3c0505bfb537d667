/* gateway.h - one loop's front end: its client listeners and who answers on them.
 *
 * Shape    /v1/health and /v1/metrics go to control, everything else is S3.
 * Owns     its servers and its s3api; takes the listening descriptors. Everything else in the environment outlives it.
 * Thread   the loop's.
 */
#ifndef SLUICE_GATEWAY_H
#define SLUICE_GATEWAY_H

#include "gateway/control.h"
#include "http/server.h"
#include "s3api/s3api.h"

enum { GATEWAY_LISTENERS = 2 };

struct gateway_listener {
    int fd;                  /* from http_listen(); taken. -1 = none */
    struct tls_context *tls; /* NULL = plain */
};

struct gateway_env {
    struct s3api_env s3;
    struct control *control;
    struct http_limits limits;
    struct offload *io;
    struct gateway_listener listeners[GATEWAY_LISTENERS];
};

struct gateway;
struct gateway *gateway_new(const struct gateway_env *env);
/* Stops accepting, lets requests end, cuts what is left after timeout_ms; `call` finishes when no connection is left.
 */
void gateway_drain(struct gateway *g, uint32_t timeout_ms, struct call *call);
/* After a drain. */
void gateway_free(struct gateway *g);

#endif
