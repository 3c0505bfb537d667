/* lane_run.h - one transform.
 *
 * Shape    turns of all its ETLs first, in one order for everybody, so that no two transforms wait for one another; then stage after stage: until the
 *          sidecar is ready, the object, the sidecar's answer, whose body is what the next stage is given. A stage whose sidecar can't be
 *          reached is tried again while nothing of its body is gone, or while it can be had anew.
 * Owns     a run owns itself until its call is done with an error, or its result closed.
 * Thread   the lane's loop.
 */
#ifndef SLUICE_ETL_LANE_RUN_H
#define SLUICE_ETL_LANE_RUN_H

#include "etl/builtin.h"
#include "etl/lane_own.h"

struct hop {
    struct sidecar *sidecar; /* counted; NULL: a built-in */
    struct str name, args;
    struct etl_turn turn;    /* in the first hop of each sidecar */
    char id[SIDECAR_ID_MAX]; /* the incarnation it is sent to */
    bool sent;
    struct etl_comm_req req;
    struct etl_comm_res res;
    struct etl_builtin_req builtin_req;
    struct etl_builtin_res builtin;
    struct source *result; /* ours to close */
    struct tap out;
};

struct run {
    struct op op;
    struct run *prev, *next; /* of the lane */
    struct etl_lane *lane;
    struct arena *arena; /* outlives the result */
    struct str bucket, key;
    bool given; /* the call is done, the result lives */
    bool noted; /* its failure was */

    /* until the call is done */
    const struct etl_run_req *req;
    struct etl_run_res *res;
    struct call *whole;
    struct hop *turned; /* whose turns were asked for last */
    struct etl_ready ready;
    struct etl_nap nap;
    unsigned tries;
    uint64_t deadline_ns;
    struct etl_file_req file_req;

    /* what the first stage is given */
    struct obj_get_res got;
    struct source *input; /* the object's content, ours to close */
    struct tap in;
    bool opened; /* one of these is there */
    struct etl_loan loan;
    bool lent;
    bool filed; /* file was tried */
    struct etl_file_res file;

    size_t at, count;
    struct hop hops[];
};

void run_start(struct etl_lane *l, const struct etl_run_req *req, struct etl_run_res *res, struct call *call);
/* Whether it is at that incarnation. */
bool run_uses(const struct run *r, struct str id);
/* Ends it soon: its sidecar has to go. */
void run_cut(struct run *r);

#endif
