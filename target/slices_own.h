/* slices_own.h - internal to slices*.c: one version's slices and their places, opening one, rebuilding one.
 *
 * Thread   the loop of env.
 */
#ifndef SLUICE_TARGET_SLICES_OWN_H
#define SLUICE_TARGET_SLICES_OWN_H

#include "base/op.h"
#include "store/erasure.h"
#include "target/slices.h"

/* The slices of one version. */
struct version {
    const struct slices_env *env;
    struct bucket_id bucket, shadow;
    struct str key;
    uint64_t id;
    struct erasure_layout layout;
};
/* Borrows bucket and key. ERR_CORRUPT, ERR_NOT_IMPLEMENTED: the layout. */
MUST_USE enum err version_init(struct version *v, const struct slices_env *env, struct bucket_id bucket, struct str key,
                               struct str layout);
static inline unsigned version_slices(const struct version *v)
{
    return v->layout.data + v->layout.parity;
}
struct str version_slice_key(const struct version *v, unsigned slice, struct arena *arena);

/* Where slices belong, and where they were before the move that is going on. */
struct place {
    bool exists; /* there are as many nodes */
    bool out;    /* gets nothing now, will be brought up to date when it is back */
    char id[NODE_ID_LEN];
};
struct places {
    struct place now[REDUNDANCY_SLICES_MAX];
    struct place before[REDUNDANCY_SLICES_MAX]; /* that are not the same as now */
};
void version_places(const struct version *v, struct places *out);
/* NULL: it can't be asked. */
struct store *place_store(const struct version *v, const struct place *p);

/* Fills in a put of that slice; the caller adds body. */
void slice_put_req(const struct version *v, unsigned slice, struct arena *arena, struct body_check *check,
                   struct obj_put_req *out);

/* A range of a slice from wherever it is. ERR_NO_SUCH_KEY: from nowhere, and all nodes said so; ERR_CORRUPT: it is not as long as it
 * should be; ERR_UNAVAILABLE. `o` zeroed but for version, arena (which outlives the source), slice, offset, len > 0. */
struct slice_open {
    struct op op;
    const struct version *version;
    struct arena *arena;
    unsigned slice;
    uint64_t offset, len;
    struct source *source; /* the result */
    /* its own */
    struct places places;
    unsigned tries;
    bool again;
    enum err worst;
    struct obj_get_req req;
    struct obj_get_res res;
    struct call *whole;
};
void slice_open_run(struct slice_open *o, struct call *whole);

struct slice_opening;
/* A range of a slice out of the others. ERR_CORRUPT: too few of them are left; ERR_UNAVAILABLE: too few can be reached. Zeroed but for
 * version, arena (as above), wanted, offset, len > 0, without. */
struct slice_rebuild {
    struct op op;
    const struct version *version;
    struct arena *arena;
    unsigned wanted;
    uint64_t offset, len;
    unsigned without; /* set of slices that are no good */
    struct source *source;
    unsigned have[REDUNDANCY_SLICES_MAX]; /* what it is made of, by erasure_failed() */
    /* its own */
    struct source *sources[REDUNDANCY_SLICES_MAX];
    unsigned got;   /* of them */
    unsigned tried; /* set of slices */
    bool unreachable;
    struct slice_opening *openings[REDUNDANCY_SLICES_MAX]; /* of a round */
    unsigned round, outstanding;
    struct call *whole;
};
void slice_rebuild_run(struct slice_rebuild *r, struct call *whole);

/* Reads a slice whole and compares it with its own checksum: ERR_CORRUPT. Zeroed but for store and req. */
struct slice_check {
    struct op op;
    struct store *store;
    struct obj_get_req req;
    /* its own */
    struct obj_get_res res;
    struct hash hash;
    char *buf;
    size_t got;
    struct source_fill fill;
    struct call *whole;
};
void slice_check_run(struct slice_check *c, struct call *whole);

/* Whether a record has that slice at this node; a layout of a later format is believed to. With true *v is the version, unless its layout
 * can't be read: then v->env is NULL. */
bool slice_is_named(const struct slices_env *env, struct bucket_id bucket, const struct object_info *record,
                    const struct slices_name *name, struct version *v);

#endif
