/* arc_unzip.h - the members of a ZIP as it passes from front to back, without its end being there first.
 *
 * Shape    fed in pieces it tells a watcher about each member. What local headers said is compared with the central directory behind them: a
 *          file whose directory says otherwise (deleted members, others' names, links) is refused at its end, after its content was given.
 *          Sizes and CRCs that stand behind the content are found there: of stored members by looking for a data descriptor that fits.
 * Units    bytes.
 * Errors   ERR_BAD_ARCHIVE with a sentence; ERR_TOO_LARGE: ARC_MEMBERS_MAX; errors of the watcher.
 * Thread   one at a time; decodes: a pool's.
 * Source   PKWARE APPNOTE.TXT 6.3.9: 4.3, 4.4.4, 4.5.3.
 */
#ifndef SLUICE_ARCHIVE_ARC_UNZIP_H
#define SLUICE_ARCHIVE_ARC_UNZIP_H

#include "archive/arc_scan.h"

enum { ARC_UNZIP_STEP = 64 << 10 }; /* content that is given, about, before arc_unzip_feed() returns */

struct arc_unzip;
struct arc_unzip *arc_unzip_new(const struct arc_watch *watch);
void arc_unzip_free(struct arc_unzip *u); /* NULL is legal */
/* Takes *used of the bytes. None, and *more false: all were wanted but it needs others, behind them. *more: again, even without input. */
MUST_USE enum err arc_unzip_feed(struct arc_unzip *u, const char *p, size_t n, size_t *used, bool *more);
/* After the last byte. */
MUST_USE enum err arc_unzip_end(struct arc_unzip *u);
const char *arc_unzip_why(const struct arc_unzip *u);

#endif
