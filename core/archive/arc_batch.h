/* arc_batch.h - a batch: many objects, members and ranges asked for in one JSON document, answered as one archive.
 *
 * Shape    arc_batch_parse() reads the document of AIStore's get-batch: {"in":[{"objname","bucket","provider","uname","opaque","archpath",
 *          "start","length"}],"mime","coer","onob","strm","coloc"}. Ours: an entry may have "archregx" and "archmode" (all members that match, in
 *          the archive's order), both "etl_name", "etl_pipeline" and "etl_args" (transforms), the document "order":"ready" (whatever is ready first) and "status":true (a last member __status__.json).
 *          The caller finds the bucket of each row; arc_batch_open() makes the answer's body.
 * Owns     rows live in the arena, which outlives the body.
 * Errors   ERR_INVALID_ARGUMENT with a sentence; ERR_BUSY: come again (arc_batches.h); without "coer" the error of the first row that has
 *          one, `bad` says which. After the body has begun an error ends it: who reads it is cut off.
 * Thread   the loop's.
 */
#ifndef SLUICE_ARCHIVE_ARC_BATCH_H
#define SLUICE_ARCHIVE_ARC_BATCH_H

#include "archive/arc_batches.h"
#include "archive/arc_pack.h"
#include "base/doc.h"

enum { BATCH_ROWS_MAX = 1 << 18, BATCH_ITEMS_MAX = 1 << 20 };
#define BATCH_STATUS_NAME STR("__status__.json")
#define BATCH_MISSING     "__404__/"

struct arc_batch_row {
    struct str objname, archpath, opaque, bucket, provider, uname; /* as asked; p == NULL: absent */
    struct str pattern;
    enum arc_mode mode;
    bool selects; /* by the pattern */
    struct range range;
    uint64_t want; /* bytes of the range; 0: whatever there is */
    const struct arc_via *
        via; /* what its content passes through: "etl_name", "etl_pipeline", "etl_args" of the row, else of the document */
    /* the caller's, before it is opened: where the object is, and what it is called in names and answers */
    struct bucket_id id;
    struct str shown_bucket, shown_provider;
    /* found when it is opened */
    enum err err;
    bool looked_up;
    uint64_t size;
    struct etag etag;
    struct arc_index *index; /* of `selects`: the arena's */
    const uint32_t *members;
    uint32_t count;
};
struct arc_batch {
    struct arc_batch_row *rows;
    size_t count;
    enum arc_format format;
    bool coer, onob, strm, status, as_ready;
    bool transforms; /* one of the rows, or more */
};
MUST_USE enum err arc_batch_parse(struct arena *arena, const struct doc *body, struct arc_batch *out,
                                  char why[ARC_WHY_MAX]);

struct arc_batch_req {
    struct arena *arena;
    struct loop *loop;
    struct store *store;
    struct arcs *arcs; /* NULL: entries of archives fail with ERR_NOT_IMPLEMENTED */
    struct offload *cpu;
    struct arc_batches *batches;
    struct arc_batch *batch;
    struct str bucket; /* of the request, to be shown */
    void (*through)(void *through_arg, const struct arc_through_req *, struct arc_through_res *,
                    struct call *); /* arc_pack.h */
    void *through_arg;
};
struct arc_batch_res {
    struct source *body;
    struct str type; /* Content-Type of the answer */
    struct str id;   /* of the batch */
    size_t bad;      /* the row that failed; SIZE_MAX: none */
};
void arc_batch_open(const struct arc_batch_req *req, struct arc_batch_res *res, struct call *call);

#endif
