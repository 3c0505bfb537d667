/* through.h - entries of archives through ETLs, for arc_pack.h and arc_batch.h: a via names stages as the query of a GET does.
 *
 * Shape    etl_through() is a `through` whose argument is a struct etl_door; where that is NULL, ETLs can't be used.
 * Owns     as arc_pack.h says.
 * Errors   those of door.h; ERR_INVALID_ARGUMENT: no stages can be so named, with a sentence.
 * Thread   the door's loop.
 */
#ifndef SLUICE_ETL_THROUGH_H
#define SLUICE_ETL_THROUGH_H

#include "archive/arc_pack.h"

void etl_through(void *door, const struct arc_through_req *req, struct arc_through_res *res, struct call *call);

#endif
