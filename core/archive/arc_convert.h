/* arc_convert.h - an archive as it passes, made into one of another format, or into one of its members.
 *
 * Shape    coders (arc_coder.h). What comes in is a TAR, a ZIP, or a TAR that is compressed in one of the ways of arc_coder.h, told by its
 *          first bytes. Out come its files in their order; directories, links to other places and devices are left out, as everywhere here.
 * Errors   ERR_BAD_ARCHIVE; ERR_NO_SUCH_MEMBER; ERR_NOT_IMPLEMENTED: it has a file that can't be given: a hard link, an encrypted one;
 *          ERR_TOO_LARGE: more than ARC_MEMBERS_MAX, or than ARC_HELD_MAX of a member whose size must be known before it is.
 *          arc_coder_why() tells.
 * Thread   a pool's.
 */
#ifndef SLUICE_ARCHIVE_ARC_CONVERT_H
#define SLUICE_ARCHIVE_ARC_CONVERT_H

#include "archive/arc_coder.h"
#include "archive/arc_format.h"

enum { ARC_HELD_MAX = 16 << 20 }; /* content of one member that is held until its ZIP tells the size */

/* ARC_TAR or ARC_ZIP, not compressed. */
struct arc_coder *arc_converter(enum arc_format format);
/* The content of the first member of that name; a leading "/" or "./" is passed over. What follows it is not looked at. */
struct arc_coder *arc_extractor(struct str member);

#endif
