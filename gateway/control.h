/* control.h - what operators and probes ask: /v1/health, /v1/metrics, and /v1/cluster where there is one.
 *
 * Shape    answers GET and HEAD without a signature; health at once, the others rendered on the io pool. /v1/health tells that the
 *          process lives, /v1/health?ready that it can serve: the difference is what a load balancer asks for.
 * Owns     nothing it is given.
 * Errors   405 for other methods; 503 from health while the server drains or is not ready, from the others when the pool is full.
 * Thread   one for all loops and the role's functions too; control_request() on the request's loop.
 * Source   Prometheus exposition format 0.0.4; Prometheus client guidelines, "Process metrics".
 */
#ifndef SLUICE_GATEWAY_CONTROL_H
#define SLUICE_GATEWAY_CONTROL_H

#include "base/buf.h"
#include "base/offload.h"
#include "http/message.h"

enum { CONTROL_WHY_MAX = 128 };

/* What a role adds. Any may be NULL. */
struct control_role {
    bool (*ready)(void *arg, char why[CONTROL_WHY_MAX]); /* without waiting; NULL = always. `why` not: a few words */
    void (*cluster)(void *arg, struct buf *json);        /* NULL = there is no /v1/cluster */
    void (*metrics)(void *arg, struct buf *out);
    void *arg;
};

struct control_conf {
    struct offload *io, *cpu; /* to show their queues; io also renders */
    struct loop *const *loops;
    unsigned loop_count;
    struct control_role role;
};

struct control;
struct control *control_new(const struct control_conf *conf);
/* No requests outstanding. */
void control_free(struct control *c);
/* From now on health says "draining". Any thread. */
void control_set_draining(struct control *c);
/* Is this request for us? With a `what` parameter /v1/cluster is the native API's. */
bool control_takes(const struct control *c, const struct http_req *req);
/* Answers a request that control_takes(). */
void control_request(struct control *c, struct http_req *req);

#endif
