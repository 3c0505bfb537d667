/* arc_format.h - the archive formats, how they are recognised and called.
 *
 * Shape    pure functions over names, MIME texts and first bytes. An archive is an ordinary object; which format it has is told by its name,
 *          unless the request says otherwise.
 * Thread   any.
 * Source   POSIX.1-2017 pax (ustar); PKWARE APPNOTE.TXT; RFC 1952; LZ4 frame format; RFC 8878.
 */
#ifndef SLUICE_ARCHIVE_ARC_FORMAT_H
#define SLUICE_ARCHIVE_ARC_FORMAT_H

#include "base/str.h"

enum arc_format { ARC_NONE, ARC_TAR, ARC_TGZ, ARC_ZIP, ARC_TAR_LZ4, ARC_TAR_ZST };

enum { ARC_MAGIC_BYTES = 512 }; /* how many of the first bytes arc_format_of_magic() wants; fewer are all there are */

/* By extension, in any case: .tar, .tgz, .tar.gz, .zip, .tar.lz4, .tar.zst. */
enum arc_format arc_format_of_name(struct str name);
/* "application/x-tar", ".tgz", "tar.lz4", "application/zip", ...: what clients put into archmime and mime. */
enum arc_format arc_format_of_mime(struct str mime);
enum arc_format arc_format_of_magic(struct str first);
/* ".tar"; empty for ARC_NONE. */
struct str arc_format_ext(enum arc_format f);
/* "application/x-tar" */
struct str arc_format_type(enum arc_format f);
/* The first "<something>.tar/" (or other extension) in a key: *archive gets the archive's key, *member what follows the slash, maybe empty.
 * False: no part of the key looks like an archive. `from`: where to go on looking, for "a.tar/b.tar/c"; 0 at first, then *archive's length + 1. */
bool arc_format_split(struct str key, size_t from, struct str *archive, struct str *member);

#endif
