/* etls_own.h - internal to the engine: its table, its loop, its lanes.
 *
 * Thread   `lock` guards what is in `locked`, and what sidecar.h and lane_own.h say; it is never held while something is waited for.
 */
#ifndef SLUICE_ETL_ETLS_OWN_H
#define SLUICE_ETL_ETLS_OWN_H

#include <pthread.h>

#include "etl/etls.h"
#include "etl/sidecar.h"

enum { ETL_NODE_MAX = 256 };

struct etl_bell;
struct etl_lane;
struct etls {
    struct etls_conf conf;
    char self[ETL_NODE_MAX];
    struct loop *loop;
    struct offload
        *slow; /* starts and stops of sidecars: they may take minutes, and are not to keep disk work waiting */
    struct etl_objects *objects;
    pthread_t thread;
    pthread_mutex_t lock;
    struct {
        struct sidecar *sidecars;
        unsigned count; /* of those that are not refused */
        struct etl_lane *lanes;
        unsigned removals; /* files that are being removed */
    } locked;
    unsigned incarnations;

    /* the engine's loop */
    struct etl_bell *bell;
    struct timer tick;
    struct post close;
    bool closing;
    uint64_t scan_ns, scanned_ns;
    struct op op; /* the scan */
    bool scanning, settled;
    struct arena arena;
    char after[META_KEY_MAX];
    size_t after_n;
    struct meta_list_req list_req;
    struct meta_list_res list;
    uint32_t pos;
    struct meta_put_req put_req;
    struct meta_put_res put;
};

/* The ETL of that name, counted for the caller; NULL. Any thread. */
struct sidecar *etls_find(struct etls *e, struct str name);
/* The instance of that id, if it is ready, held for the caller; NULL. Any thread. */
struct etl_instance *etls_hold(struct etls *e, struct str id);
void etls_drop(struct etls *e, struct etl_instance *instance);
/* A sidecar is gone from the table: it was the last step of its life. */
void etls_gone(struct etls *e, struct sidecar *s);
/* A scan, soon. The engine's loop. */
void etls_look_soon(struct etls *e);
/* An incarnation is gone: lanes close what they have of it; with `cut` they also end what it does. The engine's loop. */
void etls_forget(struct etls *e, struct str id, bool cut);
/* Removes a file that was handed to a sidecar. Any thread. */
void etls_remove_file(struct etls *e, const char *path);

#endif
