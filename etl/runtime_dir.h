/* runtime_dir.h - the directory of a runtime that asks others for its sidecars, and the mark that these bear.
 *
 * Shape    a random number that stays in the directory: it tells this node's sidecars from those of others with the same name, which may use the
 *          same engine, also for the next process of this node.
 * Owns     the path lives in the arena.
 * Errors   a sentence in `why`.
 * Thread   any; BLOCKING.
 */
#ifndef SLUICE_ETL_RUNTIME_DIR_H
#define SLUICE_ETL_RUNTIME_DIR_H

#include "base/arena.h"
#include "base/err.h"
#include "etl/spec.h"

enum { RUNTIME_MARK_LEN = 16 };

/* The directory, made and empty but for the mark; *real does not depend on the working directory. */
MUST_USE enum err runtime_dir_take(struct arena *a, struct str dir, struct str *real, char mark[RUNTIME_MARK_LEN + 1],
                                   char why[ETL_WHY_MAX]);

#endif
