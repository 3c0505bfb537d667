/* promote_files.h - files of this machine that may become objects: found, opened and removed without leaving the directories allowed.
 *
 * Shape    a path is taken apart and every component opened from its parent, never through a symbolic link; "..", "." and empty ones are
 *          refused. Only regular files count. A source reads a file on the pool.
 * Owns     the caller closes sources and frees texts.
 * Errors   ERR_ACCESS_DENIED: not below a directory that is allowed, or a link on the way; ERR_NOT_FOUND; ERR_TOO_LARGE: more names than
 *          JOB_NAMES_TEXT_MAX, or too deep; ERR_INVALID_ARGUMENT: no file and no directory; ERR_IO, logged.
 * Thread   BLOCKING: offload pool only; promote_source(): the loop's.
 */
#ifndef SLUICE_TARGET_PROMOTE_FILES_H
#define SLUICE_TARGET_PROMOTE_FILES_H

#include "base/buf.h"
#include "base/source.h"

enum { PROMOTE_DEPTH_MAX = 64, PROMOTE_PATH_MAX = 4096 };

/* Where something is: `path` below one of `dirs` ("/a:/b"), `name` below that (may be empty). */
struct promote_place {
    struct str dirs, path, name;
};
/* Names of all regular files in a directory, with job_names_add(), relative to it; of a file: nothing, and *is_file. Links and everything
 * else are passed over. */
MUST_USE enum err promote_walk(const struct promote_place *p, bool recursive, struct buf *names, bool *is_file);
/* Opened for reading; *size is what it has now. */
MUST_USE enum err promote_open(const struct promote_place *p, int *fd, uint64_t *size);
/* Only while the name still means the file that `fd` is of. */
MUST_USE enum err promote_remove(const struct promote_place *p, int fd);
/* Takes fd. */
struct source *promote_source(struct loop *loop, struct offload *io, int fd, uint64_t size);

#endif
