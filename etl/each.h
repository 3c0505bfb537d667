/* each.h - each member of an archive through ETLs: a shard in, a shard out.
 *
 * Shape    the result is an archive of the same format, with the same members in their order; some are transformed ahead, at once. Done when the first one
 *          is.
 * Units    bytes of a transformed member: ETL_MEMBER_MAX, of which ETL_MEMBERS_AHEAD are in memory.
 * Owns     the result's body is the caller's to close; what `req` names outlives it, the arena included.
 * Errors   ERR_BAD_ARCHIVE, ERR_TOO_LARGE and others of arcs.h, those of etl_run(); res->text tells, and of which member. A member that fails later fails the
 *          result: it never ends early.
 * Thread   the loop's.
 */
#ifndef SLUICE_ETL_EACH_H
#define SLUICE_ETL_EACH_H

#include "archive/arcs.h"
#include "etl/door.h"

enum { ETL_MEMBER_MAX = 64 << 20, ETL_MEMBERS_AHEAD = 4 };

struct etl_each_req {
    struct arena *arena;
    struct loop *loop;
    struct etl_door *door;
    struct arcs *arcs;
    struct store *store;
    struct offload *cpu;
    const struct etl_stage *stages;
    size_t stage_count;
    struct bucket_id bucket;
    struct str key; /* of the archive */
};
void etl_each(const struct etl_each_req *req, struct etl_run_res *res, struct call *call);

#endif
