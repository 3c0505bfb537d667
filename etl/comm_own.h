/* comm_own.h - what the communicators share: comm.c (which one, time limits, dialling), comm_http.c, comm_io.c, comm_ws.c.
 *
 * Shape    etl_comm_run() hands req, res (zeroed) and a call of its own to one of the *_run() functions. Time limits are comm.c's business: when one is
 *          over it cancels that call, or the read of res->body that is outstanding, and res->body is closed without its end. So all that a communicator
 *          must do is to end soon when its call or a read is cancelled, and to give up the exchange when its body is closed.
 * Owns     req and what it points to lives until the call is done, req->body and req->arena until res->body is closed, too. No pull of req->body may
 *          be outstanding when the call finishes, nor between the reads of res->body: who closes res->body closes req->body next.
 * Errors   as comm.h. res->body_taken is true from the first byte that is gone from req->body.
 * Thread   the wire's loop but where it says otherwise.
 */
#ifndef SLUICE_ETL_COMM_OWN_H
#define SLUICE_ETL_COMM_OWN_H

#include <pthread.h>

#include "base/mem.h"
#include "etl/comm.h"
#include "http/peer.h"

enum { ETL_CONNECTIONS_MAX = 64 /* etl_wire_conf.connections_max, when it says 0 */ };

struct etl_ws; /* comm_ws.c's */
struct etl_io; /* comm_io.c's */

struct etl_wire {
    struct etl_wire_conf conf; /* connections_max is never 0 */
    struct loop *loop;
    struct peer_pool *peers;
    struct etl_ws *ws; /* made by the first etl_ws_run(); NULL: none yet */
    struct etl_io *io; /* the same of etl_io_run() */
    struct {           /* guarded by lock */
        pthread_mutex_t lock;
        pthread_cond_t none; /* users has become 0 */
        unsigned users;
    } held;
};

/* A task of conf.io that will use the wire: hold before it is queued, let as the last thing it does, any thread. etl_wire_free() waits for them. A
 * task that was refused (ERR_BUSY) has not run: then its call lets. */
void etl_wire_hold(struct etl_wire *w);
void etl_wire_let(struct etl_wire *w);
/* A connected, non-blocking socket to the instance's port. BLOCKING: a task of conf.io that holds the wire. ERR_UNAVAILABLE: no such instance, or it
 * does not listen. */
MUST_USE enum err etl_wire_dial(struct etl_wire *w, struct str id, int *fd);

/* hpush, hpull, hrev. `address` is what the wire's peer_pool knows the instance by. */
struct str etl_wire_address(struct arena *arena, struct str id);
void etl_http_run(struct etl_wire *w, const struct etl_comm_req *req, struct etl_comm_res *res, struct call *call);

/* An answer without a length that is not chunked either: its connection's end is its end, and also what is seen when the sidecar dies. So it ends well
 * only while the sidecar still runs; else it fails, ERR_UNAVAILABLE. Takes inner; `id` lives as long. */
struct source *etl_unframed_new(struct etl_wire *w, struct str id, struct source *inner);

/* io */
void etl_io_run(struct etl_wire *w, const struct etl_comm_req *req, struct etl_comm_res *res, struct call *call);
bool etl_io_is_busy(const struct etl_wire *w);
void etl_io_close(struct etl_wire *w);

/* ws. At most conf.connections_max connections per instance, more objects wait for one. */
void etl_ws_run(struct etl_wire *w, const struct etl_comm_req *req, struct etl_comm_res *res, struct call *call);
/* The instance's idle connections are closed. */
void etl_ws_forget(struct etl_wire *w, struct str id);
/* Nothing outstanding: frees w->ws. Of no effect when that is NULL. */
void etl_ws_close(struct etl_wire *w);

#endif
