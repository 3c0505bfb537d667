/* fsck.h - offline check and repair of a data directory: `sluice fsck [--rebuild] --data DIR...`.
 *
 * Shape    BLOCKING; prints a report line per finding to stdout and a summary; needs the directory not to be in use.
 * Errors   ERR_CORRUPT: damage was found (or remains after --rebuild).
 */
#ifndef SLUICE_TARGET_FSCK_H
#define SLUICE_TARGET_FSCK_H

#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct fsck_options {
    const struct str *mountpaths;
    size_t mountpath_count;
    bool rebuild; /* salvage the index, then add what segments say and the index lacks */
    bool quick;   /* skip reading and hashing the content */
};
MUST_USE enum err fsck_run(const struct fsck_options *o);

#endif
