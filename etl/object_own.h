/* object_own.h - the two halves of the object endpoint: object.c (names, loans, servers), object_serve.c (requests).
 *
 * Thread   loans under their lock; all else the endpoint's loop.
 */
#ifndef SLUICE_ETL_OBJECT_OWN_H
#define SLUICE_ETL_OBJECT_OWN_H

#include <pthread.h>

#include "base/mem.h"
#include "etl/object.h"
#include "http/server.h"

enum { LOAN_CHAINS = 256 };

struct etl_objects {
    struct etl_objects_conf conf;
    unsigned servers;
    pthread_mutex_t lock;
    struct etl_loan *loans[LOAN_CHAINS]; /* guarded by lock; by the ETL's name */
};

struct etl_object_server {
    struct etl_objects *owner;
    struct http_handler handler;
    struct http_server *server;
    struct str name, secret; /* heap */
    unsigned open;           /* requests */
    struct call drained;
    bool ended; /* no connection is left */
    struct call *end;
};

/* Whether the object is at the ETL's sidecar now: to be read, or (stores) to be written. */
bool etl_object_is_lent(struct etl_objects *o, struct str etl, struct str bucket, struct str key, bool stores);
/* It was stored. False: it was given back meanwhile. */
bool etl_object_stored(struct etl_objects *o, struct str etl, struct str bucket, struct str key, uint64_t size);
/* A request is over. */
void etl_object_done(struct etl_object_server *s);

/* Where in the path the object's name begins: "/v1/etl/_object/NAME/SECRET/". ERR_ACCESS_DENIED: not this ETL's. */
MUST_USE enum err etl_object_path(const struct etl_object_server *s, struct str path, struct str *rest);
void etl_object_serve(struct http_handler *h, struct http_req *req);

#endif
