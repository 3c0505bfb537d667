/* object.h - the endpoint that a sidecar calls back: AIS_TARGET_URL.
 *
 * Shape    GET, HEAD and PUT {AIS_TARGET_URL}/{escaped uname}: one HTTP server per instance, on a socket that only it reaches (runtime.h, listener()).
 *          The path begins with "/v1/etl/_object/NAME/SECRET/": another name or secret is refused (403). GET and HEAD (with Range) give an object only
 *          while it is being handed to this sidecar (etl_objects_lend()): what it was not handed it does not read (403). PUT stores the result of an
 *          object at the name that it was allowed for (the same, with a destination).
 * Errors   as JSON, {"message","status"}. 405: other methods; 404: no such object.
 * Thread   the engine's loop; lend and give_back: any.
 * Source   AIStore's object endpoint for ETLs.
 */
#ifndef SLUICE_ETL_OBJECT_H
#define SLUICE_ETL_OBJECT_H

#include "etl/spec.h"
#include "store/buckets.h"

struct etl_objects;
struct etl_objects_conf {
    struct loop *loop;
    struct store *all;
    struct buckets *buckets;
};
struct etl_objects *etl_objects_new(const struct etl_objects_conf *conf);
void etl_objects_free(struct etl_objects *o);

/* Serves `listen_fd` (taken) for the ETL `name`. On the loop. */
struct etl_object_server;
struct etl_object_server *etl_objects_serve(struct etl_objects *o, int listen_fd, struct str name, struct str secret);
/* Cuts its connections; done when nothing of it is left. */
void etl_objects_end(struct etl_object_server *s, struct call *call);

/* While an object is at a sidecar. The same object may be lent more than once at a time. */
struct etl_loan {
    struct etl_loan *prev, *next;
    struct etl_objects *owner;
    struct str etl; /* borrowed, as the rest, until it is given back */
    struct str src_bucket, src_key;
    struct str dst_bucket, dst_key; /* where PUT may store; empty: nowhere */
    uint64_t stored;                /* bytes that PUT stored there; read it after it was given back */
    bool done;                      /* there was such a PUT */
};
void etl_objects_lend(struct etl_objects *o, struct etl_loan *loan);
void etl_objects_give_back(struct etl_loan *loan);

/* "ais/@#/BUCKET/KEY" of a bucket without a namespace. */
struct str etl_uname(struct arena *arena, struct str bucket, struct str key);
/* The other way; ERR_INVALID_ARGUMENT. */
MUST_USE enum err etl_uname_parse(struct str uname, struct str *bucket, struct str *key);

#endif
