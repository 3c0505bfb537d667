/* lane_own.h - internal to lane*.c: a loop's transforms, what they read, and what they give.
 *
 * Shape    a transform (struct run) is a row of stages; what goes into the first one and what comes out of each passes a tap, which counts it and
 *          keeps its failure. It lives until the result is closed, and run_free() takes down all of it: results from the last to the first,
 *          the object, the loan, the file, the turns.
 * Thread   the lane's loop; `forgets` is under the engine's lock.
 */
#ifndef SLUICE_ETL_LANE_OWN_H
#define SLUICE_ETL_LANE_OWN_H

#include "etl/etls_own.h"

struct etl_forget {
    struct etl_forget *next;
    bool cut;
    char id[SIDECAR_ID_MAX];
};
struct etl_lane {
    struct etl_door door;
    struct etl_lane *next; /* guarded by the engine's lock */
    struct etls *engine;
    struct loop *loop;
    struct store *store;
    struct etl_wire *wire; /* NULL: it is closed */
    struct run *runs;
    struct post post;
    struct { /* guarded by the engine's lock */
        struct etl_forget *forgets;
        bool posted;
        bool closed;
    } locked;
};
/* Queues it for the lane. With the engine's lock. */
void lane_forget(struct etl_lane *l, struct str id, bool cut);

/* ---- bodies on their way: lane_tap.c ---- */

struct tap {
    struct source source;
    struct run *run; /* of the result, which ends with it; NULL: closing it does nothing */
    struct loop *loop;
    struct source *inner;
    uint64_t bytes;
    bool ended;
    enum err err;
    enum err cut; /* not ERR_OK: no more is read */
    size_t *n;
    struct call *whole;
    struct call call;
};
/* `inner` stays the caller's. */
void tap_open(struct tap *t, struct loop *loop, struct source *inner, struct run *run);
/* What is read fails from now on. */
void tap_cut(struct tap *t, enum err e);
static inline bool tap_is_complete(const struct tap *t)
{
    return t->err == ERR_OK && (t->ended || t->bytes == t->source.size);
}

/* What was read of it has failed, not only been given up by who read it. */
static inline bool tap_has_failed(const struct tap *t)
{
    return t->err != ERR_OK && t->err != ERR_CANCELLED;
}

/* Closes and gives back all that a transform has; nothing of it is outstanding. */
void run_free(struct run *r);

/* ---- an object as a file that the sidecar can read: lane_file.c ---- */

struct etl_file_req {
    struct arena *arena;
    struct str id;  /* the instance */
    struct str key; /* whose extension the file gets */
    struct source *body;
};
struct etl_file_res {
    struct str
        inside; /* its name, as the sidecar sees it; empty: the runtime has no such files, and nothing was read */
    char *path; /* heap; as we see it. Also set on error: to be removed */
    uint64_t size;
};
/* ERR_UNAVAILABLE: no such instance; ERR_NO_SPACE, ERR_IO; the body's. */
void etl_file_make(struct etls *e, const struct etl_file_req *req, struct etl_file_res *res, struct call *call);

#endif
