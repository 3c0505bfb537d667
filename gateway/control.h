/* control.h - what operators and probes ask: /v1/health and /v1/metrics.
 *
 * Shape    answers GET and HEAD without a signature; health at once, metrics rendered on the io pool.
 * Owns     nothing it is given.
 * Errors   405 for other methods; 503 from health while the server drains, from metrics when the pool is full.
 * Thread   one for all loops; control_request() on the request's loop.
 * Source   Prometheus exposition format 0.0.4; Prometheus client guidelines, "Process metrics".
 */
#ifndef SLUICE_GATEWAY_CONTROL_H
#define SLUICE_GATEWAY_CONTROL_H

#include "base/offload.h"
#include "http/message.h"

struct control_conf {
    struct offload *io, *cpu; /* to show their queues; io also renders */
    struct loop *const *loops;
    unsigned loop_count;
};

struct control;
struct control *control_new(const struct control_conf *conf);
/* No requests outstanding. */
void control_free(struct control *c);
/* From now on health says "draining". Any thread. */
void control_set_draining(struct control *c);
/* Is this raw path one of ours? */
bool control_takes(struct str path);
/* Answers a request that control_takes(). */
void control_request(struct control *c, struct http_req *req);

#endif
