/* bucket.h - where buckets with redundancy can be made.
 *
 * Shape    pure checks that every way of making a bucket shares.
 * Errors   ERR_INVALID_REQUEST, ERR_NOT_IMPLEMENTED; a sentence without a full stop in `why`.
 * Thread   any.
 */
#ifndef SLUICE_CLI_BUCKET_H
#define SLUICE_CLI_BUCKET_H

#include "store/map.h"

enum { BUCKET_WHY_MAX = 256 };

/* Of a cluster with that map. */
MUST_USE enum err bucket_fits_cluster(const struct map *m, struct redundancy r, char why[BUCKET_WHY_MAX]);
/* Of one server with so many data directories. */
MUST_USE enum err bucket_fits_machine(size_t disks, struct redundancy r, char why[BUCKET_WHY_MAX]);

#endif
