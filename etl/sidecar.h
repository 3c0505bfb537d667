/* sidecar.h - one ETL at this node: a sidecar that is kept running, and who waits for it.
 *
 * Shape    a sidecar is of one making of its record (its id): started, asked until it is ready, looked at four times a second, started again with
 *          back-off when it ends by itself, stopped when the record is gone. One that never got ready while its ETL was being made has failed, and
 *          waits to be stopped. Each incarnation is an instance of the runtime, "<name>-<n>".
 * Owns     counted: the engine's table holds one as long as it lives, each transform another. What it is made of never changes.
 * Errors   ERR_UNAVAILABLE: it is not ready, and won't be soon; ERR_BUSY: too many wait for a turn.
 * Thread   its life is the engine's loop's; what is under the lock is anybody's.
 */
#ifndef SLUICE_ETL_SIDECAR_H
#define SLUICE_ETL_SIDECAR_H

#include "base/op.h"
#include "etl/nap.h"
#include "etl/object.h"
#include "etl/probe.h"
#include "etl/record.h"
#include "etl/runtime.h"

enum {
    SIDECAR_ID_MAX = ETL_NAME_MAX + 12,
    SIDECAR_TAIL = 2048, /* bytes of its log that go into an error */
    SIDECAR_ERROR_MAX = ETL_WHY_MAX + SIDECAR_TAIL,
};

enum sidecar_state { SIDECAR_STARTING, SIDECAR_READY, SIDECAR_FAILED, SIDECAR_STOPPING };

struct etls;

/* Somebody who waits for some of a sidecar's turns: a transform at work holds one. */
struct etl_turn {
    struct etl_turn *prev, *next; /* guarded by the lock, as the rest */
    struct sidecar *sidecar;
    unsigned count;
    bool queued, granted;
    struct call *call;
};
/* Somebody who waits until it is ready. */
struct etl_ready {
    struct etl_ready *next;
    struct sidecar *sidecar;
    bool queued;
    struct call *call;
    struct timer timer; /* the waiting loop's */
};

struct sidecar_error { /* object_errors of its record */
    char *object, *message;
    int status;
};

struct sidecar {
    struct sidecar *next; /* guarded by the lock, changed by the engine's loop alone */
    struct etls *engine;
    struct arena arena;
    struct etl_record record;
    struct str name; /* the record's */
    bool direct;     /* it wants objects as files */
    struct {         /* guarded by the engine's lock */
        unsigned refs;
        enum sidecar_state state;
        char id[SIDECAR_ID_MAX];       /* of the incarnation */
        struct etl_instance *instance; /* NULL: nobody may begin to use it */
        struct etl_instance *held;     /* the same, until nobody uses it any more */
        unsigned holders;
        unsigned inflight, waiting;
        struct etl_turn *first, *last;
        struct etl_ready *ready;
        uint64_t objects, errors, in_bytes, out_bytes;
        struct sidecar_error object_errors[ETL_OBJECT_ERRORS_MAX]; /* a ring */
        uint64_t object_error_count;                               /* of all times */
        uint64_t changes;                                          /* grows with each of the above */
        char error[SIDECAR_ERROR_MAX];
        char tail[SIDECAR_TAIL]; /* of the log of an incarnation that is gone */
        size_t tail_n;
    } locked;

    /* its life, on the engine's loop */
    struct op op;
    uint64_t revision; /* of the record as it was looked at last */
    bool listed;       /* the scan that goes on has seen its record */
    bool running;      /* it says so */
    bool refused;      /* one too many */
    bool stopping, ended;
    bool unserved; /* what it is to run is not for this node's runtime */
    bool cut;      /* who still used the instance was told to end */
    uint32_t ups, restarts;
    uint64_t began_ns, up_ns, usage_ns;
    uint64_t pause_ms, probe_ms;
    struct etl_instance *instance;
    struct etl_object_server *server;
    struct etl_nap nap;
    struct etl_probe probe;
    int status;
    char why[ETL_WHY_MAX];
    struct sidecar_task {
        struct offload_task task;
        struct sidecar *s;
        struct etl_instance *instance;
        enum err err;
        bool alive, counted;
        int fd, listener;
        uint32_t grace_ms;
        struct etl_usage usage;
        char why[ETL_WHY_MAX];
        char tail[SIDECAR_TAIL];
        size_t tail_n;
    } work;
    struct etl_usage usage;
    double cpu;

    /* what is told of it */
    struct call save;
    struct arena save_arena;
    struct meta_put_req put_req;
    struct meta_put_res put;
    uint64_t saved_changes, saving_changes, saved_ns;
    bool save_soon;
};

/* ---- its life: the engine's loop ---- */

/* Begins one of a record, which is readable. `refused`: it fails at once. It is in the engine's table until it is gone. */
struct sidecar *sidecar_start(struct etls *e, struct str record, bool refused);
void sidecar_stop(struct sidecar *s);
/* Writes its status when it has changed: at once (`soon`), or once a second. */
void sidecar_save(struct sidecar *s, bool soon);

/* ---- for lanes: any thread ---- */

void sidecar_unref(struct sidecar *s);
/* What a transform has come to. */
struct sidecar_count {
    bool ok;
    uint64_t in_bytes, out_bytes;
};
void sidecar_add(struct sidecar *s, const struct sidecar_count *c);
void sidecar_note_error(struct sidecar *s, struct str bucket, struct str key, struct str message, int status);
/* Done when it is ready, and its incarnation's id is in `id`; ERR_UNAVAILABLE: it won't be, or not in time. */
void sidecar_await(struct sidecar *s, struct etl_ready *r, uint64_t ms, struct call *call);
/* After the call is done; harmless on a zeroed one. */
void sidecar_await_end(struct etl_ready *r);
void sidecar_id(struct sidecar *s, char id[SIDECAR_ID_MAX]);

/* Done when `count` transforms more may be at work. First come, first served. */
void sidecar_turn(struct sidecar *s, struct etl_turn *t, unsigned count, struct call *call);
/* Of one that was granted, or not: then of no effect. */
void sidecar_turn_end(struct etl_turn *t);

/* Internal to sidecar*.c: tells those who wait what the state is now. With the lock. */
void sidecar_wake(struct sidecar *s);

#endif
