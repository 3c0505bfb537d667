/* private_file.h - small files beside the data that only their owner may read: keys, the node's id.
 *
 * Shape    written aside and linked into place: a crash leaves no half of a file, and one that is there is never replaced.
 * Errors   ERR_NOT_FOUND when there is none; else a sentence for a person in `why`.
 * Thread   BLOCKING: main, before loops run.
 */
#ifndef SLUICE_CLI_PRIVATE_FILE_H
#define SLUICE_CLI_PRIVATE_FILE_H

#include "base/arena.h"
#include "base/err.h"

enum { PRIVATE_FILE_MAX = 4095, PRIVATE_FILE_WHY_MAX = 512 };

/* All of it, in the arena. One that others can read is warned about. */
MUST_USE enum err private_file_read(struct arena *a, const char *path, struct str *out, char why[PRIVATE_FILE_WHY_MAX]);
/* Mode 0600, on disk when this returns. `dir` is where `path` is. */
MUST_USE enum err private_file_write(struct arena *a, struct str dir, const char *path, struct str text,
                                     char why[PRIVATE_FILE_WHY_MAX]);

#endif
