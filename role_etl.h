/* role_etl.h - a process's part in ETLs: of a node with disks the engine and its sidecars; of all what ETLs there are, and views of buckets.
 *
 * Shape    role_etl_open() for names and views, which is all that a gateway has; role_etl_run() for the engine.
 * Owns     all of it but what it is given.
 * Errors   a sentence for a person in `why`.
 * Thread   main; doors and views are of their loop.
 */
#ifndef SLUICE_ROLE_ETL_H
#define SLUICE_ROLE_ETL_H

#include "etl/etls.h"
#include "etl/view.h"
#include "gateway/native.h"
#include "role.h"

struct role_stores_env;
struct role_stores;
struct role_etl {
    struct etl_names *names;
    struct views *views;
    struct native_etl native; /* for the front end; its nodes are the role's to set */
    /* where sidecars run */
    struct etls *engine;
    struct loop *loop;
    struct role_stores *stores; /* of that loop */
};
MUST_USE enum err role_etl_open(struct role_etl *e, struct role *r, struct meta *meta, struct buckets *buckets,
                                char why[ROLE_WHY_MAX]);
/* `self` is what this node is called. With etl.runtime: off there are no sidecars, but the node's own transforms (builtin.h). */
MUST_USE enum err role_etl_run(struct role_etl *e, const struct role_stores_env *env, struct buckets *buckets,
                               struct str self, char why[ROLE_WHY_MAX]);
/* Before the stores, `meta` and the cluster are closed; loops and jobs are gone. */
void role_etl_stop(struct role_etl *e);
/* After `meta`. */
void role_etl_close(struct role_etl *e);

/* One loop's door to the engine; NULL: there is none. */
struct etl_door *role_etl_door(struct role_etl *e, struct loop *loop, struct store *store);
/* A store with views; `env` needs no `views`. */
struct store *role_etl_views(struct role_etl *e, const struct view_env *env);

#endif
