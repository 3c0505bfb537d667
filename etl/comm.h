/* comm.h - one object through one sidecar: what goes over the wire, for each communicator.
 *
 * Shape    etl_comm_run() is done when the sidecar's answer begins; its content is a source, pulled by whoever wants it, with back-pressure all the
 *          way to the object's own source.
 *            hpush        PUT /BUCKET/OBJECT, the object as body
 *            hpull, hrev  GET /ESCAPED_UNAME; the sidecar asks its node for the object (object.h)
 *            ws           one object per turn on a WebSocket at /ws: control message, then the object
 *            io           the object to the stdin of a process, its stdout is the result
 * Units    bytes, milliseconds.
 * Owns     req->body stays the caller's, and must live until the call is done and res->body is closed: the sidecar may answer before it has read
 *          everything. res->body is the caller's to close.
 * Errors   ERR_ETL: the sidecar answered with an error: res->status and res->text; ERR_UNAVAILABLE: it can't be reached, `body_taken` tells whether
 *          trying again is possible; ERR_TIMEOUT; ERR_BUSY; errors of req->body. res->body fails when the answer breaks off, never ends early.
 * Thread   a struct etl_wire is of its loop.
 * Source   AIStore's ETL communication mechanisms; RFC 6455 (WebSocket).
 */
#ifndef SLUICE_ETL_COMM_H
#define SLUICE_ETL_COMM_H

#include "base/offload.h"
#include "base/source.h"
#include "etl/runtime.h"

enum { ETL_TEXT_MAX = 64 << 10 }; /* of a sidecar's error that are passed on */

/* One loop's connections to the sidecars of this node. `find` gives the instance of an id that is running, held until `drop`; NULL: none. Any thread. */
struct etl_wire;
struct etl_wire_conf {
    struct loop *loop;
    struct offload *io;
    void *arg;
    struct etl_instance *(*find)(void *arg, struct str id);
    void (*drop)(void *arg, struct etl_instance *);
    uint32_t connections_max; /* per sidecar; 0 = 64: more transforms wait */
};
struct etl_wire *etl_wire_new(const struct etl_wire_conf *conf);
/* Whether processes of ended transforms are still being waited for. Who frees the wire and then never lets the loop turn again does so before, until
 * it is false: else what they are known by is lost. */
bool etl_wire_is_busy(const struct etl_wire *w);
/* Nothing outstanding. */
void etl_wire_free(struct etl_wire *w);
/* An instance is gone: its idle connections are closed. */
void etl_wire_forget(struct etl_wire *w, struct str id);

struct etl_comm_req {
    struct arena *arena;
    struct str id; /* the instance */
    enum etl_comm comm;
    bool worker;            /* spec.worker */
    bool pushed;            /* not a stored object, so that even with hpull it is pushed */
    struct str bucket, key; /* of the object; key names what it is where it is none */
    struct str uname;       /* "ais/@#/BUCKET/OBJECT" */
    struct str args;        /* etl_args; empty: none */
    struct str fqn;         /* a file that the sidecar can read (runtime.h, share()); then body is NULL; empty: none */
    struct str node_url;    /* Ais-Node-Url; empty: none */
    struct source *body;    /* NULL with fqn, hpull and hrev */
    uint64_t size;          /* of body; SOURCE_SIZE_UNKNOWN */
    uint32_t timeout_ms;    /* from here to the last byte of the result */
};
struct etl_comm_res {
    struct source *body;     /* NULL: none, or delivered. Its size may be unknown */
    struct str content_type; /* empty: not said */
    bool delivered;          /* 204: the sidecar has put it where node_url says */
    uint64_t delivered_size;
    int status;      /* with ERR_ETL */
    struct str text; /* the same */
    bool body_taken; /* something of req->body was read. Also set on error */
    bool retry;      /* with ERR_ETL: the sidecar asks to have it sent again (Ais-Etl-Retry-Reason) */
};
void etl_comm_run(struct etl_wire *w, const struct etl_comm_req *req, struct etl_comm_res *res, struct call *call);

#endif
