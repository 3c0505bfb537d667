/* view.h - what operators are told of the cluster: as this process sees it, without asking anybody.
 *
 * Shape    the texts behind control.h's hooks, for gateways and targets. Addresses and secrets are not among them.
 * Owns     nothing it is given.
 * Thread   any.
 */
#ifndef SLUICE_GATEWAY_VIEW_H
#define SLUICE_GATEWAY_VIEW_H

#include "base/buf.h"
#include "store/members.h"

struct view {
    struct members *members;
    struct meta *meta;
    struct str self; /* id of this target; empty on a gateway */
};

/* {"epoch":n,"moving":false,"meta_reachable":true,"nodes":[{"id","zone","state","alive","weight"}...]} */
void view_json(const struct view *v, struct buf *out);
/* sluice_cluster_epoch and the like, Prometheus text. */
void view_metrics(const struct view *v, struct buf *out);
/* Whether it can serve: a gateway when a node of the map is alive and in use, a target when it has joined. `why` not: a few words. */
bool view_ready(const struct view *v, char *why, size_t why_max);

#endif
