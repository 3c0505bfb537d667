/* view.h - buckets that show another bucket through ETLs.
 *
 * Shape    a store around a store: methods on buckets that are no views pass through. A view has "view" in its props: {"source":"photos",
 *          "etl":[{"name":"resize","args":""}, ...],"prefix":""}. Its keys are the source's that begin with the prefix. What is read is
 *          transformed once, by whoever comes first, and kept as an object of the view bucket, marked by what it was made of: the source's
 *          ETag, the ids and arguments of the ETLs. So size, ETag and ranges are those of the result, and every reader has the same. When
 *          source or ETL change, the mark doesn't fit any more and it is made anew. A listing makes what has not been made yet, so that its
 *          sizes are right; when that takes long, the page is shorter.
 *          A view is read only: ERR_METHOD_NOT_ALLOWED.
 * Owns     nothing it is given.
 * Errors   those of the store and of etl_run(): what a sidecar said goes to the log (its text is not the store's to hand on), ERR_ETL.
 * Thread   struct views any; stores are of their loop.
 */
#ifndef SLUICE_ETL_VIEW_H
#define SLUICE_ETL_VIEW_H

#include "archive/arcs.h"
#include "etl/names.h"
#include "etl/view_conf.h"
#include "store/buckets.h"

/* What all loops of a process share: results are made one at a time for each key. */
struct views;
struct views *views_new(struct buckets *buckets, struct etl_names *names);
/* When no store of it is open. NULL is legal. */
void views_free(struct views *v);

struct view_env {
    struct views *views;
    struct loop *loop;
    struct store *inner;   /* outlives it */
    struct etl_door *door; /* the same; NULL: ERR_NOT_IMPLEMENTED */
    struct arcs *arcs;     /* over `inner`; NULL: no members */
    struct offload *cpu;
};
struct store *view_store_new(const struct view_env *env);

#endif
